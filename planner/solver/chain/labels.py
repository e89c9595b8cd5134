"""Exact on chains: label setting over items, with beams that widen until nothing is left out.

A label is the start of a solution: which item it has reached, the slots taken, its sums and peaks.
Of two labels at one item, the one that is no worse in everything makes the other useless. Labels
whose lower bound reaches the best solution known are dropped. A pass keeps at most `beam` labels at
each item and remembers the least bound of those that it leaves out: that is a proved bound, and a
pass that leaves none out is exact [1].

Packing in order takes each later run no further when it starts earlier, and crosses at most one
border of each kind more; so a label that starts earlier makes another useless when it wins by that
much (`_slack`). On a grid of several axes a run may also leave slots free in front of it, and then
the link to it is longer: any of those to come may be (`_detours`).

[1] W. Zhang, "Complete anytime beam search", AAAI 1998.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.errors import TimeUpError
from planner.solver.chain.bounds import Relaxed
from planner.solver.chain.paths import Rest, alone, run_costs, run_loads
from planner.solver.chain.problem import (
    TOLERANCE,
    ChainProblem,
    Cuts,
    Floats,
    Incumbent,
    Ints,
    Limit,
)

ROUNDING = 1e-14
FIRST_BEAM = 64
"""Labels that the first pass keeps at one item."""
WIDENING = 8
CROWD = 16
LAST_BEAM = FIRST_BEAM * WIDENING**4
"""Labels at one item beyond which the search gives up on exactness."""


class Stopped(Exception):
    """Time is up, or somebody asked to stop."""


class Proved(NamedTuple):
    """What passes over the labels say."""

    bound: float
    """No solution is below it; the incumbent's goal or more where nothing better is left."""
    cut_off: int
    """Labels that beams left out, over all passes."""


def labelled(
    problem: ChainProblem,
    relaxed: Relaxed,
    best: Incumbent,
    *,
    first_beam: int = FIRST_BEAM,
    last_beam: int = LAST_BEAM,
    stop: Callable[[], bool] = lambda: False,
) -> Proved:
    """Offer solutions to the incumbent; and what is proved.

    The first pass keeps `first_beam` labels at one item. The search ends without proof when it
    would need more than `last_beam`, or when `stop` says so.
    """
    search = _Search(problem, relaxed, best, stop)
    bound = widened(search, first_beam, last_beam)
    return Proved(bound, search.cut_off)


class Beamed(Protocol):
    """A search that keeps so many labels at each item."""

    @property
    def goal(self) -> float:
        """What a better solution must stay below."""
        ...

    @property
    def root_bound(self) -> float: ...
    def run(self, beam: int) -> float:
        """One pass; the least bound of what it left out."""
        ...


def refuse_to_hold(held_bytes: float) -> None:
    """Stop where the labels of a pass take more memory than is allowed."""
    if held_bytes > allowance.memory_limit_bytes():
        raise Stopped


def widened(search: Beamed, first_beam: int, last_beam: int) -> float:
    """What is proved when a search has run with beams that widen until nothing worth having is
    left out, or `last_beam`."""
    proved = search.root_bound
    beam = min(first_beam, last_beam)
    try:
        while proved < search.goal and 0 < beam <= last_beam:
            proved = max(proved, search.run(beam))
            beam *= WIDENING
    except (Stopped, TimeUpError):
        pass
    return proved


@dataclass
class _Labels:
    """Starts of solutions that have reached one item."""

    slots: Ints
    sums: Floats
    peaks: Floats
    parent: Ints
    """Number of the label before, -1 for the first."""
    option: Ints
    """Of the run that led here, -1 for none."""

    def __len__(self) -> int:
        return len(self.slots)

    def taken(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "_Labels":
        return _Labels(
            self.slots[chosen],
            self.sums[chosen],
            self.peaks[chosen],
            self.parent[chosen],
            self.option[chosen],
        )


def _joined(parts: list[_Labels]) -> _Labels:
    if len(parts) == 1:
        return parts[0]
    return _Labels(
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.sums for part in parts]),
        np.concatenate([part.peaks for part in parts]),
        np.concatenate([part.parent for part in parts]),
        np.concatenate([part.option for part in parts]),
    )


@dataclass
class _Opened:
    """Labels with the link to a next run of one option already paid, waiting for that run's end."""

    slots: list[Ints] = field(default_factory=list)
    sums: list[Floats] = field(default_factory=list)
    peaks: list[Floats] = field(default_factory=list)
    loads: list[Floats] = field(default_factory=list)
    number: list[Ints] = field(default_factory=list)

    def bytes_at(self, item: int) -> int:
        """That what waits at an item takes."""
        columns = self.slots, self.sums, self.peaks, self.loads, self.number
        return sum(column[item].nbytes for column in columns)


class _Search:
    def __init__(
        self, problem: ChainProblem, relaxed: Relaxed, best: Incumbent, stop: Callable[[], bool]
    ) -> None:
        self.problem, self.bounds, self.best, self.stop = problem, relaxed.bounds, best, stop
        self.used_sums, self.used_peaks = used_criteria(problem)
        self.longer_sums, self.longer_peaks = _lengthening(problem)
        self.slots_left = relaxed.narrow.cost
        self.weighed = weighed_peaks(problem)
        self.run_costs, self.run_loads = run_costs(problem), run_loads(problem)
        spans = problem.packing.spans
        self.shift = spans[-2] if len(spans) > 1 else 1
        self.slack = _slack(problem)
        self.detours = _detours(problem)
        self.classes = problem.crossings.classes(problem.widths)
        self.worst_link = problem.link_peaks.max(axis=(0, 1, 2))
        self.cut_off = 0

    @property
    def goal(self) -> float:
        return self.best.goal

    @property
    def root_bound(self) -> float:
        return float(self._lower(0, _first(self.problem))[0])

    def run(self, beam: int) -> float:
        """One pass with at most `beam` labels at each item; the least bound of what was left
        out."""
        problem, left_out = self.problem, math.inf
        opened = [_Opened() for _ in range(problem.options)]
        history: list[tuple[int, _Labels]] = []
        count = 0
        held_bytes = 0
        for item in range(problem.items + 1):
            if self.stop():
                raise Stopped
            labels = _first(problem) if item == 0 else self._arriving(item, opened)
            if labels is None:
                for one in opened:
                    _open_none(one, problem)
                history.append((count, _nothing(problem)))
                continue
            if item == problem.items:
                self._finish(labels, history)
                continue
            labels, dropped = self._chosen(item, labels, beam)
            left_out = min(left_out, dropped)
            for option in range(problem.options):
                self._open(item, labels, option, opened[option], count)
            held_bytes += sum(one.bytes_at(item) for one in opened)
            refuse_to_hold(held_bytes)
            history.append((count, labels))
            count += len(labels)
        return left_out

    def _arriving(self, item: int, opened: list[_Opened]) -> _Labels | None:
        """All labels that a run can bring to an item, below the goal."""
        arrivals: list[_Labels] = []
        for option, waiting in enumerate(opened):
            labels = self._by_one(item, option, waiting)
            if labels is None:
                continue
            alive = self._alive(item, labels)
            if alive.any():
                arrivals.append(labels.taken(alive))
        return _joined(arrivals) if arrivals else None

    def _by_one(self, item: int, option: int, waiting: _Opened) -> _Labels | None:
        """Those that a run under one option brings, from every item where it may begin."""
        tails = np.flatnonzero(self.problem.feasible[option, :item, item]).tolist()
        if not tails:
            return None
        slots = np.concatenate([waiting.slots[tail] for tail in tails])
        if not len(slots):
            return None
        sums = np.concatenate([waiting.sums[tail] for tail in tails])
        loads = np.concatenate([waiting.loads[tail] for tail in tails])
        peaks = np.concatenate([waiting.peaks[tail] for tail in tails])
        number = np.concatenate([waiting.number[tail] for tail in tails])
        return _Labels(
            slots,
            sums + self.run_costs[option, item],
            np.maximum(peaks, loads + self.run_loads[option, item]),
            number,
            np.full(len(slots), option),
        )

    def _alive(self, item: int, labels: _Labels) -> NDArray[np.bool_]:
        alive = np.asarray(labels.slots + self.slots_left[item] <= self.problem.budget)
        if not alive.any():
            return alive
        alive &= self._lower(item, labels) < self.best.goal
        for bound, limit in zip(self.bounds[1:], self.problem.limits, strict=True):
            value = bound.value(item, labels.slots, labels.sums, labels.peaks)
            alive &= value <= limit.most * (1 + TOLERANCE)
        return alive

    def _lower(self, item: int, labels: _Labels) -> Floats:
        return self.bounds[0].value(item, labels.slots, labels.sums, labels.peaks)

    def _chosen(self, item: int, labels: _Labels, beam: int) -> tuple[_Labels, float]:
        """The labels worth keeping, at most `beam`; and the least bound of those beyond.

        Comparing all with all is what costs, so a crowd is thinned by its bounds first.
        """
        labels, crowded_out = self._best_of(item, labels, CROWD * beam)
        labels, beyond = self._best_of(item, self._undominated(item, labels), beam)
        return labels, min(crowded_out, beyond)

    def _best_of(self, item: int, labels: _Labels, most: int) -> tuple[_Labels, float]:
        if len(labels) <= most:
            return labels, math.inf
        self.cut_off += len(labels) - most
        lower = self._lower(item, labels)
        order = np.argsort(lower, kind="stable")
        return labels.taken(np.sort(order[:most])), float(lower[order[most]])

    def _undominated(self, item: int, labels: _Labels) -> _Labels:
        link_class, no_worse = _link_classes(self.problem, item)
        kind = link_class[labels.option]
        peaks = self._peaks_that_matter(item, labels)
        criteria = np.concatenate(
            [labels.sums[:, self.used_sums], labels.peaks[:, self.used_peaks]], axis=1
        )
        longer = np.concatenate(
            [-labels.sums[:, self.longer_sums], -peaks[:, self.longer_peaks]], axis=1
        )
        no_worse = no_worse & no_worse.T if longer.shape[1] else no_worse
        criteria = np.concatenate([criteria, longer], axis=1)
        harmless = np.concatenate(
            [labels.sums[:, self.used_sums], peaks[:, self.used_peaks], longer], axis=1
        )
        if longer.shape[1]:  # as long in everything: rounding must not tell labels apart
            harmless = harmless + ROUNDING * np.abs(harmless)
        order = np.lexsort((*criteria.T[::-1], kind, labels.slots))
        labels, kind, criteria, harmless = (
            labels.taken(order),
            kind[order],
            criteria[order],
            harmless[order],
        )
        unlike = np.full(
            longer.shape[1], np.inf
        )  # where an average counts, only like places compare
        more = self.slack + (self.problem.items - item) * self.detours
        slack = np.concatenate([more[self.used_sums], np.zeros(int(self.used_peaks.sum())), unlike])
        floor = np.concatenate(
            [np.full(int(self.used_sums.sum()), -np.inf), self.worst_link[self.used_peaks], unlike]
        )
        kept = []
        alive = np.ones(len(labels), dtype=bool)
        for index in range(len(labels)):
            if not alive[index]:
                continue
            allowance.look()
            kept.append(index)
            later = slice(index + 1, None)
            like = (labels.slots[later] - labels.slots[index]) % self.shift == 0
            mine = criteria[index]
            strict = np.maximum(mine + slack, floor)
            worse = np.where(like[:, None], harmless[later] >= mine, harmless[later] >= strict).all(
                axis=1
            )
            alive[later] &= ~(worse & no_worse[kind[index], kind[later]])
        return labels.taken(np.array(kept))

    def _peaks_that_matter(self, item: int, labels: _Labels) -> Floats:
        """Each label's peaks, raised to what the sum that they are weighed against will reach in
        any case."""
        peaks = labels.peaks.copy()
        for peak, (number, rest) in self.weighed.items():
            peaks[:, peak] = np.maximum(peaks[:, peak], labels.sums[:, number] + rest.cost[item])
        return peaks

    def _open(self, item: int, labels: _Labels, option: int, opened: _Opened, count: int) -> None:
        """Pay the link from each label to a next run under an option, and place that run."""
        problem = self.problem
        width = int(problem.widths[option])
        start = problem.packing.start(labels.slots, width)
        end = start + width
        fits = end <= problem.budget
        if item == 0:
            sums, peaks = labels.sums, labels.peaks
        else:
            before = self.classes[labels.option]
            kind = problem.crossings.kinds[before, self.classes[option], labels.slots]
            sums = labels.sums + problem.link_sums[item, labels.option, kind]
            peaks = np.maximum(labels.peaks, problem.link_peaks[item, labels.option, kind])
        sums = sums + problem.run_sums_fixed[option] - self.run_costs[option, item]
        opened.slots.append(end[fits])
        opened.sums.append(sums[fits])
        opened.peaks.append(peaks[fits])
        loads = problem.run_peaks_fixed[option] - self.run_loads[option, item]
        opened.loads.append(np.broadcast_to(loads, peaks.shape)[fits])
        opened.number.append(count + np.flatnonzero(fits))

    def _finish(self, labels: _Labels, history: list[tuple[int, _Labels]]) -> None:
        """Offer the best of the labels that have reached the end."""
        values = self.problem.objective.value(labels.sums, labels.peaks)
        order = np.lexsort((labels.slots, values))
        for index in order[:8]:
            cuts = _traced(int(index), labels, history)
            self.best.offer(cuts)


def used_criteria(problem: ChainProblem) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which sums and peaks any measure looks at."""
    sums, peaks = (
        np.zeros(problem.run_sums.shape[1], dtype=bool),
        np.zeros(problem.run_peaks.shape[1], dtype=bool),
    )
    for measure in problem.measures:
        sums |= measure.as_sums() > 0
        peaks |= measure.peaks > 0
        ways = [way for pair in measure.larger for way in pair.beside_sum]
        for way in ways:
            if way.sum is not None:
                sums[way.sum] = True
        for peak in (
            *(peak for way in ways for peak in way.peaks),
            *(curve.peak for curve in measure.curves),
        ):
            peaks[peak] = True
        if measure.held is not None:
            sums[measure.held] = True
    return sums, peaks


def _lengthening(problem: ChainProblem) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which sums and peaks make a measure better as they grow: those of an average's total."""
    averages = tuple(
        replace(measure, held=None, lines=(), averaged=False)
        for measure in problem.measures
        if measure.averaged
    )
    if not averages:
        return np.zeros(problem.run_sums.shape[1], dtype=bool), np.zeros(
            problem.run_peaks.shape[1], dtype=bool
        )
    return used_criteria(
        replace(
            problem,
            objective=averages[0],
            limits=tuple(Limit(one, math.inf) for one in averages[1:]),
        )
    )


def weighed_peaks(problem: ChainProblem) -> dict[int, tuple[int, Rest]]:
    """Peaks that no measure sees but as the larger of the two beside one sum: that sum, and the
    least that it still grows."""
    pairs: dict[int, set[int]] = {}
    for measure in problem.measures:
        for peak in (
            *np.flatnonzero(measure.peaks > 0).tolist(),
            *(curve.peak for curve in measure.curves),
            *(peak for pair in measure.larger for way in pair.more for peak in way.peaks),
        ):
            pairs.setdefault(peak, set()).add(-1)
        for pair in measure.larger:
            pairs.setdefault(pair.peak, set()).add(pair.sum)
    found = {}
    for peak, sums in pairs.items():
        if len(sums) == 1 and -1 not in sums:
            number = next(iter(sums))
            found[peak] = number, alone(problem, number)
    return found


def _slack(problem: ChainProblem) -> Floats:
    """The most that links may add to each sum for a start that is packed earlier, shape (sums,):
    one border of each kind where all links cost alike, else unlimited."""
    inside = problem.link_sums[1:-1][:, :, problem.crossings.nearest]
    if inside.size and (inside == inside[:1]).all():
        return np.asarray(np.abs(np.diff(inside, axis=2)).sum(axis=2).max(axis=(0, 1)))
    return np.full(problem.run_sums.shape[1], np.inf if inside.size and inside.any() else 0.0)


def _detours(problem: ChainProblem) -> Floats:
    """The most that a link which is not the nearest across its border adds to each sum, shape
    (sums,)."""
    crossings = problem.crossings
    nearest = crossings.nearest[np.unique(crossings.borders, return_inverse=True)[1]]
    inside = problem.link_sums[1:-1]
    return np.asarray((inside - inside[:, :, nearest]).max(axis=(0, 1, 2), initial=0.0))


def _link_classes(problem: ChainProblem, item: int) -> tuple[Ints, NDArray[np.bool_]]:
    """For each option (and for none, the last) the class of the link behind it; and whether a link
    of one class is nowhere worse than one of another, shape (classes, classes). A class that is no
    worse has the lower number."""
    links = np.concatenate([problem.link_sums[item], problem.link_peaks[item]], axis=2).reshape(
        problem.options, -1
    )
    if not problem.crossings.is_even:
        # How long a link is depends on the width of the run before it: only like widths compare.
        links = np.concatenate([links, problem.widths[:, None], -problem.widths[:, None]], axis=1)
    links = np.concatenate([links, np.zeros((1, links.shape[1]))])
    rows, inverse = np.unique(links, axis=0, return_inverse=True)
    order = np.argsort(rows.sum(axis=1), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    rows = rows[order]
    return rank[inverse.reshape(-1)], np.asarray((rows[:, None] <= rows[None]).all(axis=2))


def _first(problem: ChainProblem) -> _Labels:
    return _Labels(
        np.zeros(1, dtype=np.intp),
        np.zeros((1, problem.run_sums.shape[1])),
        np.zeros((1, problem.run_peaks.shape[1])),
        np.full(1, -1),
        np.full(1, -1),
    )


def _nothing(problem: ChainProblem) -> _Labels:
    return _first(problem).taken(np.zeros(0, dtype=np.intp))


def _open_none(opened: _Opened, problem: ChainProblem) -> None:
    none = _nothing(problem)
    opened.slots.append(none.slots)
    opened.sums.append(none.sums)
    opened.peaks.append(none.peaks)
    opened.loads.append(none.peaks)
    opened.number.append(none.parent)


def _traced(index: int, labels: _Labels, history: list[tuple[int, _Labels]]) -> Cuts:
    """The runs that led to a label at the end."""
    starts = np.array([count for count, _ in history])
    cuts, head = [], len(history)
    option, parent = int(labels.option[index]), int(labels.parent[index])
    while parent >= 0:
        tail = int(np.searchsorted(starts, parent, side="right")) - 1
        while len(history[tail][1]) == 0:
            tail -= 1
        cuts.append((tail, head, option))
        first, before = history[tail]
        option, parent, head = (
            int(before.option[parent - first]),
            int(before.parent[parent - first]),
            tail,
        )
    return tuple(reversed(cuts))
