"""That no plan on a cluster is better than a claim: shown anew, with nothing of the search.

Plans on one pool alone are bounded as those on a machine are. Of plans on several pools each box is
bounded by the recursion of `box_proof`, over layers and over where the last run stands: on which
pool, before which chip, behind which other pools. So every link counts as it is between just those
places, and no pool is used twice.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.question import Question
from planner.planning.box_proof import BoxProof, Proof
from planner.planning.engine_proof import EngineProof
from planner.solver.chain.placed import Link, Place, PlacedProblem
from planner.solver.chain.problem import Floats, Ints
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterBox, ClusterCandidates

MOST_PLACES = 20_000
"""Places of a last run, with all that was used before it, up to which the recursion is run."""
MOST_TOGETHER = 100_000
"""Arcs, times weighings, that are gone through at once."""


class Shown(NamedTuple):
    """What was shown."""

    value: float | None
    """No plan is better than this, in the field's own unit; None: nothing was shown."""
    boxes: int


def shown_on_pools(
    candidates: ClusterCandidates, field: str, bound: float, deadline: float
) -> Shown:
    """How much of a bound on a field can be shown until a deadline on the monotonic clock."""
    if _is_beyond(candidates.question, candidates.each[0]):
        return Shown(None, 0)
    if candidates.question.space == "any":
        # Some batches that engines have are not among those of any form.
        narrow = shown_on_pools(candidates.of("engine"), field, bound, deadline)
        if narrow.value is None:
            return narrow
        wide = _shown_of_several(candidates, field, bound, deadline)
        return _worse(candidates, field, narrow, wide)
    alone = _shown_alone(candidates, field, bound, deadline)
    several = _shown_of_several(candidates, field, bound, deadline)
    return _worse(candidates, field, alone, several)


def _is_beyond(question: Question, each: Candidates) -> bool:
    """Whether the recursion says nothing: of times that scatter, and of averages."""
    return question.scatters or each.averages


def _worse(candidates: ClusterCandidates, field: str, one: Shown, other: Shown) -> Shown:
    """What holds of the plans of both."""
    boxes = one.boxes + other.boxes
    if one.value is None or other.value is None:
        return Shown(None, boxes)
    least = min(candidates.canonical(field, value) for value in (one.value, other.value))
    return Shown(candidates.field_value(field, least), boxes)


def _shown_alone(candidates: ClusterCandidates, field: str, bound: float, deadline: float) -> Shown:
    """Of the plans that an engine can be started with on one pool; pools that are joined to no
    other of their engine are then done with."""
    shown = Shown(bound, 0)
    for head, pool in enumerate(candidates.cluster.pools):
        each = candidates.each[head]
        is_known = each.of_engine and pool.free_chips
        if not is_known or candidates.cluster.twin_before[head] is not None:
            continue
        gone = tuple(sorted(set(pool.exclude)))
        alone = Candidates(each.graph, each.topology, each.workload, each.question, exclude=gone)
        proof = EngineProof(alone, alone.canonical(field, bound))
        least = proof.least(deadline)
        value = alone.field_value(field, least) if least > 0 else None
        shown = _worse(candidates, field, shown, Shown(value, proof.boxes))
        if shown.value is None:
            return shown
        if len(candidates.like(head)) == 1:
            candidates.settled.add(head)
    return shown


def _shown_of_several(
    candidates: ClusterCandidates, field: str, bound: float, deadline: float
) -> Shown:
    """Of all plans that are left."""
    proof: Proof[ClusterBox, PlacedProblem] = Proof(
        candidates, candidates.canonical(field, bound), posed_on_pools
    )
    least = proof.least(deadline)
    if least <= 0:
        return Shown(None, proof.boxes)
    return Shown(candidates.field_value(field, least), proof.boxes)


def posed_on_pools(problem: PlacedProblem, claim: float) -> BoxProof | None:
    """The proof of one box; None where it would be too large."""
    ways = _Pools(problem)
    if not ways.is_whole:
        return None
    return BoxProof(problem.chain, claim, ways, problem.plus)


class _Stand(NamedTuple):
    """Where the last run stands, and what was used before it."""

    place: Place
    option: int
    """Of the last run: the first of those that are alike to whatever follows."""
    owners: int
    """Bits of the pools used so far, its own among them."""
    runs: int
    """So far, where their number is given."""


class _Arcs(NamedTuple):
    """From each stand to the next one under an option, and the link between, in the order of where
    they lead."""

    sources: Ints
    options: Ints
    links: Ints
    reached: Ints
    """Where they lead, each once."""
    firsts: Ints
    """The first arc to each of these."""


START = _Stand(Place(-1, 0, 0), -1, 0, 0)


class _Pools:
    """Pools of which each is used once at most, in any order; on a pool a run stands as near to the
    one before it as it may."""

    def __init__(self, problem: PlacedProblem) -> None:
        self.problem = problem
        self.numbers = {START: 0}
        """Of the stands that can be reached."""
        self._alike = _alike(problem)
        self._link_numbers: dict[int, int] = {}
        self._links = [_no_link(problem)]
        arcs = self._walk()
        self.is_whole = arcs is not None
        """Whether there are not too many stands."""
        self.arcs = _arcs(arcs or [])
        self.ends = len(self.numbers)
        """A plan may end at any stand; at those where it has too few runs it costs without end."""
        self.link_sums = np.stack([link.sums for link in self._links])
        self.link_peaks = np.stack([link.peaks for link in self._links])
        runs = problem.runs
        self._is_end = np.array([runs in (None, stand.runs) for stand in self.numbers])

    def least(
        self, runs: Floats, links: Floats, allowed: NDArray[np.bool_], *, together: np.ufunc
    ) -> Floats:
        """The least total of runs and of links between them, by where the last one stands, shape
        (weighings, ends): a plain recursion over layers and stands."""
        # Runs that are not allowed cost without end, so that no arc need be asked twice.
        runs = np.where(allowed, runs, np.inf)
        if len(runs) * len(self.arcs.sources) <= MOST_TOGETHER:
            return self._least(runs, links, allowed, together)
        each = zip(runs[:, None], links[:, None], strict=True)
        return np.concatenate([self._least(*one, allowed, together) for one in each])

    def _least(
        self, runs: Floats, links: Floats, allowed: NDArray[np.bool_], together: np.ufunc
    ) -> Floats:
        arcs, items = self.arcs, self.problem.chain.items
        best = np.full((len(runs), items + 1, self.ends), np.inf)
        best[:, 0, 0] = 0.0
        may_begin: NDArray[np.bool_] = np.logical_or.reduce(allowed[np.unique(arcs.options)])
        behind = links[:, arcs.links].swapaxes(1, 2)
        for head in range(1, items + 1 if len(arcs.sources) else 0):
            allowance.look()
            tails = np.flatnonzero(may_begin[:head, head])
            if not len(tails):
                continue
            low, high = int(tails[0]), int(tails[-1]) + 1
            before = best[:, low:high].take(arcs.sources, axis=2)
            own = runs[:, :, low:high, head].take(arcs.options, axis=1).swapaxes(1, 2)
            totals = together(together(before, behind[:, low:high]), own).min(axis=1)
            best[:, head, arcs.reached] = np.minimum.reduceat(totals, arcs.firsts, axis=1)
        return np.where(self._is_end, best[:, items], np.inf)

    def _walk(self) -> list[list[tuple[int, int, int]]] | None:
        """The arcs of each option; None where there are too many stands."""
        options = range(self.problem.chain.options)
        arcs: list[list[tuple[int, int, int]]] = [[] for _ in options]
        todo = deque([START])
        while todo:
            allowance.look()
            stand = todo.popleft()
            for option in options:
                after = self._after(stand, option)
                link = None if after is None else self._link(stand, after)
                if after is None or link is None:
                    continue
                if after not in self.numbers:
                    if len(self.numbers) == MOST_PLACES:
                        return None
                    self.numbers[after] = len(self.numbers)
                    todo.append(after)
                arcs[option].append((self.numbers[stand], self.numbers[after], link))
        return arcs

    def _after(self, stand: _Stand, option: int) -> _Stand | None:
        """Where a run under an option stands behind another; None where it may not."""
        problem = self.problem
        number = int(problem.ground_of[option])
        ground = problem.grounds[number]
        width = int(problem.chain.widths[option])
        stays = stand.place.ground == number
        was_left = not stays and (stand.owners >> ground.owner) & 1
        is_last = problem.runs is not None and stand.runs == problem.runs
        if was_left or is_last or ground.packing.rule(width) is None:
            return None
        behind = stand.place.first + stand.place.width if stays else 0
        first = int(ground.packing.start(np.array(behind), width))
        if first + width > ground.budget:
            return None
        runs = 0 if problem.runs is None else stand.runs + 1
        owners = stand.owners | 1 << ground.owner
        return _Stand(Place(number, first, width), self._alike[option], owners, runs)

    def _link(self, stand: _Stand, after: _Stand) -> int | None:
        """The number of the link between two stands; None where no path leads there."""
        if stand is START:
            return 0
        link = self.problem.link(stand.option, stand.place, after.place)
        if link is None:
            return None
        if id(link) not in self._link_numbers:
            self._link_numbers[id(link)] = len(self._links)
            self._links.append(link)
        return self._link_numbers[id(link)]


def _alike(problem: PlacedProblem) -> list[int]:
    """Of each option the first that stands on the same ground, as wide, with the same links behind
    it."""
    keys = list(zip(problem.ground_of, problem.chain.widths, problem.link_class, strict=True))
    return [keys.index(key) for key in keys]


def _no_link(problem: PlacedProblem) -> Link:
    """In front of the first run."""
    chain = problem.chain
    sums = np.zeros((chain.items + 1, chain.run_sums.shape[1]))
    return Link(sums, np.zeros((chain.items + 1, chain.run_peaks.shape[1])))


def _arcs(every: list[list[tuple[int, int, int]]]) -> _Arcs:
    """Of the arcs of each option."""
    rows = [
        (target, source, option, link)
        for option, arcs in enumerate(every)
        for source, target, link in arcs
    ]
    targets, sources, options, links = np.array(sorted(rows), dtype=np.intp).reshape(-1, 4).T
    reached, firsts = np.unique(targets, return_index=True)
    return _Arcs(sources, options, links, reached, firsts)
