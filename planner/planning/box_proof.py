"""That no plan in any form is better than a claim: shown anew, by one plain recursion over layers and
chips, with nothing of the search.

In each box of batches, and for each range of the longest turn (or other largest load), runs that
would take longer are left out, and the cheapest way to the end, on each number of chips, is a bound
for all plans of that range. Box and range are cut in two until each is at least as dear as the
claim.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.errors import TimeUpError
from planner.solver.chain.problem import ChainProblem, Floats, Ints, Larger, Measure

CLOSE = 1e-6
"""Relative: figures closer than this are one."""
RANGES = 200
"""Ranges of the largest load into which a box of one batch is cut at most."""
FEW_RANGES = 6
"""The same for a larger box, which is cut in two where that is not enough."""
MOST_STATES = 2_000_000
"""Layers × chips up to which the recursion is run."""


class AnyParts(Protocol):
    """A set of plans that can be cut in two."""

    @property
    def single(self) -> bool:
        """Whether it is of one batch."""

    def halves(self) -> Iterator[Self]:
        """It, cut in two."""


AnyBox = TypeVar("AnyBox", bound=AnyParts)
AnyProblem = TypeVar("AnyProblem")
Posed_co = TypeVar("Posed_co", covariant=True)


class Space(Protocol[AnyBox, Posed_co]):
    """Plans in boxes, as arrays."""

    def boxes(self) -> Iterator[AnyBox]:
        """All plans."""

    def to_problem(self, box: AnyBox) -> Posed_co | None:
        """The arrays of a box; None where it holds no plan."""


class Ways(Protocol):
    """How runs may follow one another, and where they end."""

    ends: int
    """Places where a plan may end."""
    link_sums: Floats
    """What the links between runs add, their last axis the sums."""
    link_peaks: Floats
    """Likewise, the peaks."""

    def least(
        self, runs: Floats, links: Floats, allowed: NDArray[np.bool_], *, together: np.ufunc
    ) -> Floats:
        """The least total of runs and of links between them, by where the last one ends, under
        several weighings, along the first axis of runs and of links, at once; shape (weighings,
        ends)."""


@dataclass
class Proof(Generic[AnyBox, AnyProblem]):
    """That no plan has a canonical value below a claim, or how far that can be shown."""

    candidates: "Space[AnyBox, AnyProblem]"
    claim: float
    pose: "Callable[[AnyProblem, float], BoxProof | None]"
    """The proof of one box; None where it would be too large."""
    boxes: int = 0

    def least(self, deadline: float) -> float:
        """The least bound over all boxes: the claim where all is shown."""
        numbers = itertools.count()
        todo = [(0.0, next(numbers), box) for box in self.candidates.boxes()]
        reached = self.claim
        claim = self.claim * (1 - CLOSE)
        while todo and time.monotonic() < deadline:
            known, _, box = heapq.heappop(todo)
            self.boxes += 1
            problem = self.candidates.to_problem(box)
            if problem is None:
                continue
            ranges = RANGES if box.single else FEW_RANGES
            try:
                posed = self.pose(problem, claim)
                if posed is None:
                    return 0.0
                bound = max(known, posed.least(ranges, deadline))
            except TimeUpError:
                return min([reached, known, *(one for one, _, _ in todo)])
            if bound >= claim:
                continue
            if box.single:
                reached = min(reached, bound)
                continue
            for half in box.halves():
                heapq.heappush(todo, (bound, next(numbers), half))
        return min([reached, *(known for known, _, _ in todo)])


def posed_in_a_row(problem: ChainProblem, claim: float) -> "BoxProof | None":
    """The proof of one box of plans on one machine; None where it would be too large."""
    if problem.items * problem.budget > MOST_STATES:
        return None
    return BoxProof(problem, claim)


class BoxProof:
    """The same for one problem.

    A measure grows with sums and with peaks, and the least sums and the least peaks are seldom
    those of one plan: short turns cost chips. So the peaks are given ranges. In one range every run
    that loads a peak more than the range allows is left out, the peak counts at its low end, and
    the least sum over the runs that remain is found by the `ways` that they may follow one another.
    The least over all ranges bounds every plan, and the narrower they are, the closer it comes.
    """

    def __init__(
        self,
        problem: ChainProblem,
        claim: float,
        ways: "Ways | None" = None,
        plus: tuple[Floats, ...] = (),
    ) -> None:
        """`ways` say how runs may follow one another, in a row of chips where nothing is said;
        `plus` holds weights of sums that are added to each measure, the objective's first."""
        self.problem, self.claim, self.plus = problem, claim, plus
        columns = sum(part.shape[1] for part in (problem.run_sums, problem.run_peaks))
        columns += problem.prefix.shape[2]
        allowance.ask_for_bytes(
            8.0 * columns * problem.options * (problem.items + 1) ** 2,
            f"checking a problem of {problem.items:,} layers and {problem.options:,} ways of"
            " splitting a stage",
            "certify a plan of space 'engine', or of fewer layers",
        )
        run = problem.prefix[:, None, :, :] - problem.prefix[:, :, None, :]
        self.sums = run @ problem.run_sums.swapaxes(1, 2)[:, None]
        self.sums += problem.run_sums_fixed[:, None, None]
        """Of every run, shape (options, tails, heads, sums)."""
        self.peaks = run @ problem.run_peaks.swapaxes(1, 2)[:, None]
        self.peaks += problem.run_peaks_fixed[:, None, None]
        self.ways: Ways = Row(problem) if ways is None else ways
        self.fewest = np.zeros((self.ways.ends, self.peaks.shape[3]))
        """Least peaks of plans by where they end, shape (ends, peaks)."""
        of_any = sum((self._heights(one) for one in problem.measures), self.fewest[0])
        counted = np.flatnonzero(of_any)
        if len(counted):
            loads = np.moveaxis(self.peaks[..., counted], -1, 0)
            links = np.moveaxis(self.ways.link_peaks[..., counted], -1, 0)
            self.fewest[:, counted] = self.ways.least(
                loads, links, problem.feasible, together=np.maximum
            ).T
        self.held = {
            measure.held: self._multiplier(measure.held)
            for measure in problem.measures
            if measure.held is not None
        }
        """The least that a sum which multiplies a measure can be."""
        self.used = np.flatnonzero(self._heights(problem.objective))
        """The peaks whose ranges are looked at."""

    @staticmethod
    def _heights(measure: Measure) -> Floats:
        heights = measure.peaks.copy()
        for pair in measure.larger:
            for way in pair.beside_sum:
                heights[list(way.peaks)] += pair.weight
        return heights

    def least(self, most_ranges: int, deadline: float = math.inf) -> float:
        """The least bound over all ranges, up to the claim; infinite where no plan fits or keeps
        the limits."""
        lows = self.fewest.min(axis=0)
        if not np.isfinite(lows).all():
            return math.inf
        highs = np.where(self.problem.feasible[..., None], self.peaks, 0.0).max(axis=(0, 1, 2))
        heights, numbers = self._heights(self.problem.objective), itertools.count()
        highs = np.maximum(lows, highs) * (1 + CLOSE)
        bound, enough = self._bound(lows, highs)
        todo = [(bound, next(numbers), lows, highs, enough)]
        for _ in range(most_ranges):
            bound, _, lows, highs, enough = todo[0]
            widths = np.where(
                highs > lows * (1 + CLOSE / 4), heights * (np.minimum(highs, 4 * lows) - lows), 0.0
            )
            if bound >= self.claim or not widths.any() or time.monotonic() >= deadline:
                break
            peak = int(widths.argmax())
            low, high = float(lows[peak]), float(highs[peak])
            # Above `enough` the peak alone brings the range to the claim, so that only the part
            # below is left; where that would cut off next to nothing, the range is halved.
            middle = math.sqrt(max(low, 1e-9 * high) * high)
            if low < enough[peak] <= 0.98 * high:
                middle = enough[peak]
            unit = np.arange(len(lows)) == peak
            heapq.heappop(todo)
            for part in (
                (lows, np.where(unit, middle, highs)),
                (np.where(unit, middle, lows), highs),
            ):
                least, enough = self._bound(*part)
                heapq.heappush(todo, (max(bound, least), next(numbers), *part, enough))
        return todo[0][0]

    def _bound(self, lows: Floats, highs: Floats) -> tuple[float, Floats]:
        """For plans whose largest loads lie in these ranges; and from which load on each peak
        would bring it to the claim."""
        beyond = (self.peaks[..., self.used] > highs[self.used]).any(axis=3)
        allowed, peaks = self.problem.feasible & ~beyond, np.maximum(self.fewest, lows)
        measures = self.problem.measures
        # Ways are looked for under all weighings at once, which share most of the work.
        asked = [[*_weighings(one), *self._added(number)] for number, one in enumerate(measures)]
        least = iter(self._priced(np.array([one for each in asked for one in each]), allowed))
        found = []
        for number, (measure, each) in enumerate(zip(measures, asked, strict=True)):
            costs = [next(least) for _ in each]
            values, enough = self._values(measure, costs, peaks)
            found.append((values + costs[-1] if self._added(number) else values, enough))
        (values, enough), *limited = found
        for (reached, _), limit in zip(limited, self.problem.limits, strict=True):
            kept = reached <= limit.most * (1 + 1e-9)
            values, enough = (
                np.where(kept, values, np.inf),
                np.where(kept[:, None], enough, -np.inf),
            )
        return float(values.min()), enough.max(axis=0)

    def _added(self, number: int) -> list[Floats]:
        """The weights of what is added to a measure, the objective first; none where nothing
        is."""
        return [self.plus[number]] if self.plus and self.plus[number].any() else []

    def _values(
        self, measure: Measure, costs: Sequence[Floats], peaks: Floats
    ) -> tuple[Floats, Floats]:
        """Bounds of a measure for plans by where they end, shape (ends,), and the
        loads that would do, (…, peaks): every pair taken as its sum, one as another of its
        ways, the heaviest as its peak, or all; from what sums cost at least under `_weighings`."""
        given = iter(costs)
        pairs = _heaviest_first(measure)
        known = np.where(np.isfinite(peaks), peaks, 0.0)
        held = measure.scale if measure.held is None else measure.scale * self.held[measure.held]
        heights = measure.peaks.copy()
        curved = measure.of_peaks(known) - known @ heights
        cost = known @ heights + curved + next(given)
        for pair in pairs:
            for way in pair.more:
                loads = known @ heights + pair.weight * known[:, list(way.peaks)].sum(axis=1)
                cost = np.maximum(cost, loads + curved + next(given))
        by_peak = cost
        for taken in _as_peaks(pairs):
            for pair in taken:
                heights[pair.peak] += pair.weight
            by_peak = known @ heights + curved + next(given)
            cost = np.maximum(cost, by_peak)
        if len(pairs) < 2:
            by_peak = cost
        values = np.where(np.isfinite(peaks).all(axis=1), measure.lined(cost * held), np.inf)
        finite = np.where(np.isfinite(values), by_peak * held, 0.0)
        steep = np.reshape(held, (-1, 1)) * np.where(heights > 0, heights, np.inf)
        enough = known + (measure.unlined(self.claim) - finite)[:, None] / np.where(
            steep > 0, steep, np.inf
        )
        return values, np.where(np.isfinite(values)[:, None], enough, -np.inf)

    def _multiplier(self, number: int) -> Floats:
        weights = np.arange(len(self.problem.objective.sums)) == number
        (least,) = self._priced(weights[None].astype(float), self.problem.feasible)
        return np.where(np.isfinite(least), least, 1.0)

    def _priced(self, weights: Floats, allowed: NDArray[np.bool_]) -> Floats:
        """The least cost of sums under several weighings, shape (weighings, ends)."""
        runs = np.array([self.sums @ each for each in weights])
        links = np.array([self.ways.link_sums @ each for each in weights])
        return self.ways.least(runs, links, allowed, together=np.add)


def _heaviest_first(measure: Measure) -> list[Larger]:
    """The pairs of a measure that count."""
    return sorted((pair for pair in measure.larger if pair.weight), key=lambda one: -one.weight)


def _as_peaks(pairs: list[Larger]) -> list[list[Larger]]:
    """Which pairs are taken as their peaks besides those before: the heaviest, then all others."""
    return [taken for taken in (pairs[:1], pairs[1:]) if taken]


def _weighings(measure: Measure) -> list[Floats]:
    """The weights of sums that bounds of a measure ask about, in the order of `_values`."""
    pairs, weights = _heaviest_first(measure), measure.as_sums()
    asked = [weights.copy()]
    asked += [measure.as_sums(but=pair, way=way) for pair in pairs for way in pair.more]
    for taken in _as_peaks(pairs):
        for pair in taken:
            weights[pair.sum] -= pair.weight
        asked.append(weights.clip(0.0))
    return asked


class Row:
    """Chips in a row: a run stands as near to the one before it as it may, and a plan ends before a
    chip."""

    def __init__(self, problem: ChainProblem) -> None:
        self.problem = problem
        self.link_sums, self.link_peaks = problem.link_sums, problem.link_peaks
        behind = np.concatenate([problem.link_sums, problem.link_peaks], axis=3).swapaxes(0, 1)
        behind = behind.reshape(problem.options, -1)
        if (
            not problem.crossings.is_even
        ):  # then what a link crosses depends on the width of the run before it
            behind = np.concatenate([behind, problem.widths[:, None]], axis=1)
        _, alike, likeness = np.unique(behind, axis=0, return_index=True, return_inverse=True)
        self.alike, self.likeness = alike.tolist(), likeness.reshape(-1)
        """One option for each kind of link behind a run, and the kind of each option."""
        self.ends = problem.budget + 1
        self.places = [_places(problem, option) for option in range(problem.options)]
        self.classes = problem.crossings.classes(problem.widths)

    def least(
        self, runs: Floats, links: Floats, allowed: NDArray[np.bool_], *, together: np.ufunc
    ) -> Floats:
        """The least total of runs, and of links (behind each option, over each border) between
        them, from the first layer to the last that ends before each chip, shape (weighings, chips +
        1): a plain recursion over layers and chips."""
        problem = self.problem
        best = np.full((len(runs), len(self.alike), problem.items + 1, self.ends), np.inf)
        best[:, 0, 0, 0] = 0.0
        for head in range(1, problem.items + 1):
            allowance.look()
            for option, place in enumerate(self.places):
                tails = np.flatnonzero(allowed[option, :head, head])
                if not len(tails) or not len(place.ends):
                    continue
                ways = [
                    together(
                        best[:, number, tails, : len(place.ends)],
                        links[:, tails, one][:, :, place.kinds[self.classes[one]]],
                    )
                    for number, one in enumerate(self.alike)
                ]
                own = runs[:, option, tails, head][:, :, None]
                totals = together(np.minimum.reduce(ways), own).min(axis=1)
                _lower(best[:, self.likeness[option], head], place.ends, totals)
        return np.asarray(best[:, :, problem.items].min(axis=1))


def _lower(best: Floats, places: Ints, totals: Floats) -> None:
    """Let columns be no more than totals, of which several may be of one place."""
    rows = np.arange(len(best))[:, None]
    np.minimum.at(best, (rows, places), totals)


class _Places(NamedTuple):
    """Where a run under one option goes behind each number of chips."""

    ends: Ints
    """The chip behind it; as many as fit."""
    kinds: Ints
    """Of the link to it, by the width of the run before it, shape (widths, ends)."""


def _places(problem: ChainProblem, option: int) -> _Places:
    width = int(problem.widths[option])
    offsets = np.arange(problem.budget + 1)
    starts = problem.packing.start(offsets, width)
    fits = starts + width <= problem.budget
    following = problem.crossings.classes(problem.widths)[option]
    kinds = problem.crossings.kinds[:, following, : problem.budget + 1]
    return _Places((starts + width)[fits], kinds[:, fits])
