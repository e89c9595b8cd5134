"""The problem that the solvers share: cut a chain of items into runs, choose an option for each,
pack them into slots.

A run covers items `tail` to `head` - 1 under one option, which takes `widths[option]` slots. Runs
are packed in order: each begins at the first slot where its option may begin. A run uses resources,
given as prefix sums over the items; they make up *sums* (added over the runs, and over the links
between consecutive runs) and *peaks* (the largest over both). A measure is built of sums and peaks
and grows with each of them; one is minimised, others may have limits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.solver.chain.packing import Crossings, Packing

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Cuts = tuple[tuple[int, int, int], ...]
"""Runs by first item, first item beyond and option, without their slots."""

TOLERANCE = 1e-12
"""Relative: objectives closer than this are one."""


class Line(NamedTuple):
    """A straight line over the whole of a measure: it rises, from no less than zero."""

    slope: float
    start: float


class Way(NamedTuple):
    """A sum (None: none), and peaks that are added to it, all by number."""

    sum: int | None
    peaks: tuple[int, ...] = ()

    def of(self, sums: Floats, peaks: Floats) -> Floats:
        """Of one or many (sums, peaks), each along the last axis."""
        loads = peaks[..., list(self.peaks)].sum(axis=-1)
        return np.asarray(loads if self.sum is None else sums[..., self.sum] + loads)


class Larger(NamedTuple):
    """weight × the largest of a sum, a peak, both by number, and some more ways of adding up."""

    sum: int
    peak: int
    weight: float
    more: tuple[Way, ...] = ()

    @property
    def beside_sum(self) -> tuple[Way, ...]:
        """What may be larger than the sum."""
        return (Way(None, (self.peak,)), *self.more)

    def of(self, sums: Floats, peaks: Floats) -> Floats:
        """Before the weight, of one or many (sums, peaks), each along the last axis."""
        largest = np.maximum(sums[..., self.sum], peaks[..., self.peak])
        for way in self.more:
            largest = np.maximum(largest, way.of(sums, peaks))
        return np.asarray(largest)


class Curve(NamedTuple):
    """A function of a peak, by number, that only grows."""

    peak: int
    of: Callable[[Floats], float | Floats]


@dataclass(frozen=True, slots=True)
class Measure:
    """total = sums·X + peaks·Y + weight × the largest of what each pair names + f(Y[peak]) for
    each curve; whole = total × (X[held], no less than `least_held`, where there is one).

    The value is scale × whole, or the least of the `lines` over that; where it is `averaged`, it is
    divided by the total. An average does not grow with the total: bounds take the most that this
    can become.
    """

    sums: Floats
    """Weights, none negative, shape (sums,)."""
    peaks: Floats
    """Weights, none negative, shape (peaks,)."""
    larger: tuple[Larger, ...] = ()
    curves: tuple[Curve, ...] = ()
    held: int | None = None
    """The number of a sum by which the whole is multiplied."""
    scale: float = 1.0
    lines: tuple[Line, ...] = ()
    averaged: bool = False
    least_held: float = 0.0
    """What the sum that is held counts for at least."""

    def value(self, sums: Floats, peaks: Floats) -> Floats:
        """Of one or many (sums, peaks), each along the last axis."""
        total = sums @ self.sums + self.of_peaks(peaks)
        for pair in self.larger:
            total = total + pair.weight * pair.of(sums, peaks)
        whole = total
        if self.held is not None:
            whole = total * np.maximum(sums[..., self.held], self.least_held)
        value = self.lined(self.scale * whole)
        if not self.averaged:
            return value
        # Where bounds take all sums and peaks to be nothing there is nothing to average.
        return np.divide(value, total, out=np.zeros(np.shape(total)), where=np.asarray(total) > 0)

    def lined(self, scaled: Floats, over: float | Floats = 1.0) -> Floats:
        """The least of the lines over a scaled whole; of one that is averaged over so much
        already, their average."""
        if not self.lines:
            return scaled
        return np.asarray(
            np.min([line.slope * scaled + line.start / over for line in self.lines], axis=0)
        )

    def unlined(self, value: float) -> float:
        """The largest scaled whole over which the lines reach no more than that value."""
        return max(((value - line.start) / line.slope for line in self.lines), default=value)

    def of_peaks(self, peaks: Floats) -> Floats:
        """The part that depends on peaks alone."""
        total = peaks @ self.peaks
        for curve in self.curves:
            total = total + curve.of(peaks[..., curve.peak])
        return np.asarray(total)

    def as_sums(self, *, but: Larger | None = None, way: Way | None = None) -> Floats:
        """Weights of the sums where the larger of every pair is taken to be its sum, but of one
        the sum of that way: never more than the measure."""
        weights = self.sums.copy()
        for pair in self.larger:
            number: int | None = pair.sum
            if pair is but:
                number = None if way is None else way.sum
            if number is not None:
                weights[number] += pair.weight
        return weights


class Limit(NamedTuple):
    """A measure, and what it may be at most."""

    measure: Measure
    most: float


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """Arrays; see the module."""

    prefix: Floats
    """Resources of items 0 to i - 1 under each option, shape (options, items + 1, resources)."""
    feasible: NDArray[np.bool_]
    """Whether a run may go from tail to head under an option, shape (options, items + 1, items +
    1)."""
    run_sums: Floats
    """What a unit of each resource adds to each sum, shape (options, sums, resources)."""
    run_sums_fixed: Floats
    """What a run adds to each sum besides, shape (options, sums)."""
    run_peaks: Floats
    """What a unit of each resource adds to a run's load on each peak, shape (options, peaks,
    resources)."""
    run_peaks_fixed: Floats
    """What a run adds to its load on each peak besides, shape (options, peaks)."""
    link_sums: Floats
    """What a link in front of an item adds to each sum, by the option of the run before it and the
    kind of link that it is, shape (items + 1, options, kinds, sums)."""
    link_peaks: Floats
    """The load of that link on each peak, shape (items + 1, options, kinds, peaks)."""
    widths: Ints
    """Slots of each option, shape (options,)."""
    packing: Packing
    crossings: Crossings
    """Which kind of link leads from a run to the next."""
    budget: int
    """The last run ends at this slot at the latest."""
    objective: Measure
    limits: tuple[Limit, ...] = ()

    @property
    def items(self) -> int:
        return int(self.prefix.shape[1]) - 1

    @property
    def options(self) -> int:
        return int(self.prefix.shape[0])

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The objective, then what is limited."""
        return (self.objective, *(limit.measure for limit in self.limits))

    def of_options(self, chosen: Ints) -> "ChainProblem":
        """The same with some of the options alone."""
        own = (
            "prefix",
            "feasible",
            "run_sums",
            "run_sums_fixed",
            "run_peaks",
            "run_peaks_fixed",
            "widths",
        )
        links = {name: getattr(self, name)[:, chosen] for name in ("link_sums", "link_peaks")}
        return replace(self, **links, **{name: getattr(self, name)[chosen] for name in own})


class Run(NamedTuple):
    """Items tail to head - 1 under an option, in slots from `start` on."""

    tail: int
    head: int
    option: int
    start: int


@dataclass(frozen=True, slots=True)
class Solution:
    """What was found, and what was proved about it."""

    runs: tuple[Run, ...] | None
    objective: float
    """Of the runs; infinite where there are none."""
    bound: float
    """Proved: no solution is below it. Infinite: proved that there is none."""
    cut_off: int = 0
    """Labels that beams left out on the way."""


def evaluate(problem: ChainProblem, runs: tuple[Run, ...]) -> tuple[Floats, Floats]:
    """Sums and peaks of a solution, from the definition."""
    sums = np.zeros(problem.run_sums.shape[1])
    peaks = np.zeros(problem.run_peaks.shape[1])
    kinds = problem.crossings.kinds
    classes = problem.crossings.classes(problem.widths)
    for number, run in enumerate(runs):
        used = problem.prefix[run.option, run.head] - problem.prefix[run.option, run.tail]
        sums += problem.run_sums[run.option] @ used + problem.run_sums_fixed[run.option]
        peaks = np.maximum(
            peaks, problem.run_peaks[run.option] @ used + problem.run_peaks_fixed[run.option]
        )
        end = run.start + int(problem.widths[run.option])
        if number + 1 < len(runs):
            kind = kinds[classes[run.option], classes[runs[number + 1].option], end]
            sums += problem.link_sums[run.head, run.option, kind]
            peaks = np.maximum(peaks, problem.link_peaks[run.head, run.option, kind])
    return sums, peaks


def packed(problem: ChainProblem, cuts: Cuts) -> tuple[Run, ...] | None:
    """Runs (tail, head, option) with their slots; None where they do not fit into the budget."""
    runs, offset = [], 0
    for tail, head, option in cuts:
        width = int(problem.widths[option])
        start = int(problem.packing.start(np.array(offset), width))
        offset = start + width
        runs.append(Run(tail, head, option, start))
    return tuple(runs) if offset <= problem.budget else None


@dataclass(slots=True)
class Incumbent:
    """The best solution so far of a problem."""

    problem: ChainProblem
    value: float = math.inf
    cuts: Cuts | None = None
    """None where the value is known from elsewhere."""

    @property
    def goal(self) -> float:
        """What a better solution must stay below."""
        return self.value - TOLERANCE * abs(self.value) if math.isfinite(self.value) else self.value

    def offer(self, cuts: Cuts) -> None:
        """Take a solution as the best if it is one."""
        runs = packed(self.problem, cuts) if cuts and cuts[-1][1] == self.problem.items else None
        if runs is None:
            return
        sums, peaks = evaluate(self.problem, runs)
        if any(
            float(limit.measure.value(sums, peaks)) > limit.most * (1 + TOLERANCE)
            for limit in self.problem.limits
        ):
            return
        value = float(self.problem.objective.value(sums, peaks))
        if value < self.goal:
            self.value, self.cuts = value, cuts

    def solution(self, proved: float, cut_off: int = 0) -> Solution:
        """With what was proved about it."""
        if self.cuts is None:
            return Solution(None, math.inf, proved, cut_off)
        runs = packed(self.problem, self.cuts)
        return Solution(runs, self.value, min(proved, self.value), cut_off)
