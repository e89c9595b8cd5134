"""Certificates: a result written out so that anyone can check it, and the check, which knows
nothing of the solver.

The plan is checked rule by rule and scored again. The bound is proved anew, by one plain recursion
over (layer, chips) in place of labels: in each box of batches, and for each range of the longest
turn (or other largest load), runs that would take longer are left out, and the cheapest way to the
end, on each number of chips, is a bound for all plans of that range. Box and range are cut in two
until each is at least as dear as the bound. What this cannot confirm in time it says. It shares
with the solver the price list and the arrays that `candidates` makes of it, and nothing else.
"""

import heapq
import itertools
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.certificates import Certificate, Verdict
from planner.answers.proof import AS_GOOD
from planner.answers.question import ASKED, SAMPLE_FIELDS, Question, question_of
from planner.errors import InputError, TimeUpError, shortened
from planner.guards import guarded
from planner.planning.again import NOT_AGAIN, Again, check_statable, proved_again
from planner.planning.cutting_off import cut_off
from planner.planning.engine_proof import EngineProof
from planner.planning.likeness import likenesses_of
from planner.planning.rate_proof import RateProof
from planner.planning.sampling_proof import best_sample_value
from planner.pricing.loads import PERCENTILES
from planner.readers.files import read_text
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.solver.chain.problem import ChainProblem, Floats, Ints, Measure
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.units import PositiveBytes

CLOSE = 1e-6
"""Relative: figures closer than this are one."""
RANGES = 200
"""Ranges of the largest load into which a box of one batch is cut at most."""
FEW_RANGES = 6
"""The same for a larger box, which is cut in two where that is not enough."""
MOST_STATES = 2_000_000
"""Layers × chips up to which the recursion is run."""


@guarded
@allowance.allowing
def verify(
    certificate: Certificate | str | Path,
    *,
    time_limit_s: float | None = 60.0,
    memory_limit_bytes: PositiveBytes | None = None,
    again: bool = False,
) -> Verdict:
    """Check a certificate, or the one in a file, without the solver; `again` lets OR-Tools CP-SAT prove its bound too, in
    as much time (see `planning.again`).

    An InputError in one sentence says what is false: a rule that the plan breaks, a limit that it
    misses, an objective that is not its score, a bound that the plan itself beats or that its
    status contradicts. A bound that is not refuted but cannot be confirmed (in time, or by this
    method) is told as such: `confirmed` is False and `checked` says how far.
    """
    started = time.monotonic()
    certificate = _read(certificate)
    question = _question(certificate)
    with allowance.freely():
        score = _check_answer(certificate)
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    if again:
        check_statable(certificate)
    checked, boxes = _checked_in_time(certificate, question, score, deadline)
    confirmed = checked is not None and not _better(certificate, checked, certificate.bound)
    is_late = not confirmed and (allowance.is_up() or time.monotonic() >= deadline)
    second = _again(certificate, question, score, time_limit_s) if again else NOT_AGAIN
    if second.value is not None and _better(certificate, second.value, certificate.bound):
        raise InputError(
            f"Certificate.bound is {certificate.bound:.9g}, and OR-Tools CP-SAT found a plan that is"
            f" better: {second.value:.9g}"
        )
    is_as_good = second.bound is not None and not _better(
        certificate, second.bound, certificate.bound
    )
    return Verdict(
        again_bound=second.bound,
        again_confirmed=is_as_good,
        again_rows=second.rows,
        field=certificate.field,
        objective=certificate.objective,
        bound=certificate.bound,
        checked_bound=certificate.bound if confirmed else checked,
        confirmed=confirmed,
        boxes=boxes,
        is_late=is_late,
        asked=_asked(certificate),
        likenesses=likenesses_of(certificate.graph, certificate.topology, certificate.workload),
        space=certificate.space,
        elapsed_s=time.monotonic() - started,
    )


def _checked_in_time(
    certificate: Certificate, question: Question, score: Score, deadline: float
) -> tuple[float | None, int]:
    """What is proved anew until the time is up; nothing where that came too early."""
    found: list[tuple[float | None, int]] = []
    cut_off(lambda: found.append(_checked_bound(certificate, question, score, deadline)), deadline)
    return found[0] if found else (None, 0)


def _again(
    certificate: Certificate, question: Question, score: Score, time_limit_s: float | None
) -> Again:
    """The same by CP-SAT, which has as much time of its own."""
    found: list[Again] = []
    with allowance.apart(time_limit_s):
        cut_off(
            lambda: found.append(proved_again(certificate, question, score, time_limit_s)), math.inf
        )
    return found[0] if found else NOT_AGAIN


def _read(given: Certificate | str | Path) -> Certificate:
    if isinstance(given, Certificate):
        return given
    return Certificate.from_json(read_text(Path(given), "a certificate"))


def _asked(certificate: Certificate) -> str:
    """The question that the bound is an answer to, in a line."""
    at = certificate
    limits = [f"{name} {_at_most(name, at)} {value:.6g}" for name, value in at.limits]
    sure = [] if at.sure is None else [f"kept with a probability of {at.sure:g}"]
    load = at.workload.model_dump(mode="json", exclude={"speculation"}, exclude_defaults=True)
    served = ", ".join(f"{name} {value}" for name, value in load.items())
    parts = [
        f"{at.direction} {at.field} of {shortened(at.graph.name)}",
        f"on {at.topology.chips} x {shortened(at.topology.name)}"
        f" ({shortened(at.topology.software.name)})",
        f"for {served or 'one request'}",
        *limits,
        *sure,
        f"space {at.space}",
    ]
    return "; ".join(parts)


def _at_most(name: str, certificate: Certificate) -> str:
    fields = SAMPLE_FIELDS if certificate.graph.is_diffusion else ASKED
    return "at most" if fields[name].best == "least" else "at least"


def _checked_bound(
    certificate: Certificate, question: Question, score: Score, deadline: float
) -> tuple[float | None, int]:
    """A bound on the field that is proved anew, as far as that is possible, and the boxes that
    were looked at; where some sequences wait, also that no plan has more of them in flight."""
    graph, topology, workload = certificate.graph, certificate.topology, certificate.workload
    if any(stage.offloaded for stage in certificate.plan.stages):
        return None, 0  # plans with layers elsewhere are scored one by one: there is no bound
    if graph.is_diffusion:
        return best_sample_value(certificate, deadline), 1
    boxes = 0
    if score.batch_size < (workload.batch_size or 0):
        workload = workload.seated(score.batch_size)
        more = workload.replace(batch_size=workload.next_batch, queued=0)
        asked = replace(question, objective="chips", limits=())
        # Every plan has fewer chips than this claim, so that it stands where there is no plan.
        claim = 2.0 * topology.chips
        room = _proof(Candidates(graph, topology, more, asked), claim)
        if room.least(deadline) < claim:
            return None, room.boxes
        boxes = room.boxes
    candidates = Candidates(graph, topology, workload, question)
    scattered = certificate.field in PERCENTILES and workload.is_stream
    if scattered or (question.scatters and not candidates.of_engine):
        # No bound of a box tells how times scatter under a stream; nor, where any plan is allowed,
        # under clients.
        return None, boxes
    proof = _proof(candidates, candidates.canonical(certificate.field, certificate.bound))
    if candidates.averages:
        # An average does not grow with what it is over, as the recursion needs it.
        return None, boxes
    reached = proof.least(deadline)
    boxes += proof.boxes
    if reached <= 0:
        return None, boxes
    return candidates.field_value(certificate.field, reached), boxes


def _proof(candidates: Candidates, claim: float) -> "EngineProof | RateProof | Proof":
    if candidates.opens_rate:
        return RateProof(candidates, claim)
    alike = candidates.of_engine or candidates.question.scatters
    return EngineProof(candidates, claim) if alike else Proof(candidates, claim)


def _better(certificate: Certificate, one: float, other: float) -> bool:
    """Whether a value of the field is better than another, by more than rounding."""
    sign = 1 if certificate.direction == "minimize" else -1
    return sign * (one - other) < -CLOSE * abs(other)


def _question(certificate: Certificate) -> Question:
    wanted = {certificate.direction: certificate.field}
    asked = question_of(
        wanted.get("minimize"),
        wanted.get("maximize"),
        dict(certificate.limits),
        certificate.power_scope,
        diffusion=certificate.graph.is_diffusion,
        space=certificate.space,
        sure=certificate.sure,
    )
    return replace(asked, sequence_parallel=certificate.sequence_parallel)


def _check_answer(certificate: Certificate) -> Score:
    """Everything that needs no search; the score of the plan."""
    at = certificate
    broken = check_plan(at.plan, at.graph, at.topology, at.workload, space=at.space)
    if broken:
        raise InputError(f"Certificate.plan breaks a rule: {broken[0].message}")
    score = score_plan(at.plan, at.graph, at.topology, at.workload, power_scope=at.power_scope)
    reached = getattr(score, at.field)
    if reached is None or not math.isclose(reached, at.objective, rel_tol=CLOSE):
        raise InputError(
            f"Certificate.objective is {at.objective:.9g}, but {at.field} of its plan is {reached}"
        )
    _check_limits(at, score)
    if _better(at, at.objective, at.bound):
        raise InputError(
            f"Certificate.bound is {at.bound:.9g}, and its own plan is better: {at.objective:.9g}"
        )
    within = AS_GOOD if at.space == "engine" else CLOSE
    if at.status == "optimal" and not math.isclose(at.objective, at.bound, rel_tol=within):
        raise InputError(
            f"Certificate.status is optimal, but objective {at.objective:.9g}"
            f" and bound {at.bound:.9g} differ"
        )
    return score


def _check_limits(certificate: Certificate, score: Score) -> None:
    fields = SAMPLE_FIELDS if certificate.graph.is_diffusion else ASKED
    sure = certificate.sure
    for name, value in certificate.limits:
        if name in PERCENTILES and score.stays_within(name, value * (1 + CLOSE), sure):
            continue
        kept = getattr(score, name) if sure is None else score.sure(name, sure)
        sign = 1 if fields[name].best == "least" else -1
        if kept is None or sign * (kept - value) > CLOSE * abs(value):
            raise InputError(
                f"Certificate.plan misses its limit: {name} is {kept}, allowed {value:.9g}"
            )


# ── The bound ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Proof:
    """That no plan has a canonical value below a claim, or how far that can be shown."""

    candidates: Candidates
    claim: float
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
            if problem.items * problem.budget > MOST_STATES:
                return 0.0
            ranges = _ranges_of(box)
            try:
                bound = max(known, BoxProof(problem, claim).least(ranges, deadline))
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


def _ranges_of(box: Box) -> int:
    """Into how many ranges the largest load of a box is cut at most."""
    return RANGES if box.single else FEW_RANGES


class BoxProof:
    """The same for one problem.

    A measure grows with sums and with peaks, and the least sums and the least peaks are seldom
    those of one plan: short turns cost chips. So the peaks are given ranges. In one range every run
    that loads a peak more than the range allows is left out, the peak counts at its low end, and
    the least sum over the runs that remain is found by `_least`. The least over all ranges bounds
    every plan, and the narrower they are, the closer it comes.
    """

    def __init__(self, problem: ChainProblem, claim: float) -> None:
        self.problem, self.claim = problem, claim
        columns = sum(part.shape[1] for part in (problem.run_sums, problem.run_peaks))
        columns += problem.prefix.shape[2]
        allowance.ask_for_bytes(
            8.0 * columns * problem.options * (problem.items + 1) ** 2,
            f"checking a problem of {problem.items:,} layers and {problem.options:,} ways of"
            " splitting a stage",
            "certify a plan of space 'engine', or of fewer layers",
        )
        run = problem.prefix[:, None, :, :] - problem.prefix[:, :, None, :]
        self.sums = (
            np.einsum("othr,osr->oths", run, problem.run_sums)
            + problem.run_sums_fixed[:, None, None]
        )
        """Of every run, shape (options, tails, heads, sums)."""
        self.peaks = (
            np.einsum("othr,oqr->othq", run, problem.run_peaks)
            + problem.run_peaks_fixed[:, None, None]
        )
        behind = np.concatenate([problem.link_sums, problem.link_peaks], axis=3).swapaxes(0, 1)
        behind = behind.reshape(problem.options, -1)
        if (
            not problem.crossings.is_even
        ):  # then what a link crosses depends on the width of the run before it
            behind = np.concatenate([behind, problem.widths[:, None]], axis=1)
        _, alike, likeness = np.unique(behind, axis=0, return_index=True, return_inverse=True)
        self.alike, self.likeness = alike.tolist(), likeness.reshape(-1)
        """One option for each kind of link behind a run, and the kind of each option."""
        self.chips = np.arange(problem.budget + 1)
        self.places = [_places(problem, option) for option in range(problem.options)]
        self.classes = problem.crossings.classes(problem.widths)
        self.fewest = np.zeros((len(self.chips), self.peaks.shape[3]))
        """Least peaks of plans that end before each chip, shape (chips + 1, peaks)."""
        for peak in np.flatnonzero(
            sum(
                (self._heights(measure) for measure in problem.measures),
                np.zeros(self.peaks.shape[3]),
            )
        ):
            links = problem.link_peaks[..., peak]
            self.fewest[:, peak] = self._least(
                self.peaks[..., peak], links, problem.feasible, together=np.maximum
            )
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
        values, enough = self._values(self.problem.objective, allowed, peaks)
        for limit in self.problem.limits:
            kept = self._values(limit.measure, allowed, peaks)[0] <= limit.most * (1 + 1e-9)
            values, enough = (
                np.where(kept, values, np.inf),
                np.where(kept[:, None], enough, -np.inf),
            )
        return float(values.min()), enough.max(axis=0)

    def _values(
        self, measure: Measure, allowed: NDArray[np.bool_], peaks: Floats
    ) -> tuple[Floats, Floats]:
        """Bounds of a measure for plans that end before each chip, shape (chips + 1,), and the
        loads that would do, (…, peaks): every pair taken as its sum, one as another of its
        ways, the heaviest as its peak, or all."""
        pairs = sorted(
            (pair for pair in measure.larger if pair.weight), key=lambda pair: -pair.weight
        )
        known = np.where(np.isfinite(peaks), peaks, 0.0)
        held = measure.scale if measure.held is None else measure.scale * self.held[measure.held]
        weights, heights = measure.as_sums(), measure.peaks.copy()
        curved = measure.of_peaks(known) - known @ heights
        cost = known @ heights + curved + self._priced(weights, allowed)
        for pair in pairs:
            for way in pair.more:
                loads = known @ heights + pair.weight * known[:, list(way.peaks)].sum(axis=1)
                rest = self._priced(measure.as_sums(but=pair, way=way), allowed)
                cost = np.maximum(cost, loads + curved + rest)
        for taken in (pairs[:1], pairs[1:]):
            for pair in taken:
                weights[pair.sum] -= pair.weight
                heights[pair.peak] += pair.weight
            by_peak = (
                known @ heights + curved + self._priced(weights.clip(0.0), allowed)
                if taken
                else cost
            )
            cost = np.maximum(cost, by_peak)
        values = np.where(np.isfinite(peaks).all(axis=1), measure.lined(cost * held), np.inf)
        finite = np.where(np.isfinite(values), by_peak * held, 0.0)
        steep = np.reshape(held, (-1, 1)) * np.where(heights > 0, heights, np.inf)
        enough = known + (measure.unlined(self.claim) - finite)[:, None] / np.where(
            steep > 0, steep, np.inf
        )
        return values, np.where(np.isfinite(values)[:, None], enough, -np.inf)

    def _multiplier(self, number: int) -> Floats:
        least = self._priced(
            np.arange(len(self.problem.objective.sums)) == number, self.problem.feasible
        )
        return np.where(np.isfinite(least), least, 1.0)

    def _priced(self, weights: Floats, allowed: NDArray[np.bool_]) -> Floats:
        links = self.problem.link_sums @ weights
        return self._least(self.sums @ weights, links, allowed, together=np.add)

    def _least(
        self, runs: Floats, links: Floats, allowed: NDArray[np.bool_], *, together: np.ufunc
    ) -> Floats:
        """The least total of runs, and of links (behind each option, over each border) between
        them, from the first layer to the last that ends before each chip, shape (chips + 1,): a
        plain recursion over layers and chips."""
        problem = self.problem
        best = np.full((len(self.alike), problem.items + 1, len(self.chips)), np.inf)
        best[0, 0, 0] = 0.0
        for head in range(1, problem.items + 1):
            allowance.look()
            for option, place in enumerate(self.places):
                tails = np.flatnonzero(allowed[option, :head, head])
                if not len(tails) or not len(place.ends):
                    continue
                ways = [
                    together(
                        best[number, tails, : len(place.ends)],
                        links[tails, one][:, place.kinds[self.classes[one]]],
                    )
                    for number, one in enumerate(self.alike)
                ]
                totals = together(np.minimum.reduce(ways), runs[option, tails, head][:, None]).min(
                    axis=0
                )
                np.minimum.at(best[self.likeness[option], head], place.ends, totals)
        return np.asarray(best[:, problem.items].min(axis=0))


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
