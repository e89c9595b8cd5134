"""The search over the plans that an engine can be started with: best first over forms and ranges of
batches, each bounded, cut in parts, and at last settled with the best cut of the layers.

Of plans that are as good, the one that a person would take: fewer chips, then better in the other
fields, then nearest to the engine's own cut, then fewer settings.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from planner import allowance
from planner.answers.proof import AS_GOOD, StoppedBy
from planner.errors import InfeasibleError, InputError, TimeUpError
from planner.machines.cluster import PooledPlan, PooledStage
from planner.machines.engine import Space
from planner.plan import Plan, Stage, Way
from planner.planning.best import Best
from planner.planning.first_plans import first_plan, soon
from planner.planning.limited import LimitedCourse
from planner.planning.polishing import polished
from planner.planning.promise_search import PromiseSearch
from planner.planning.range_search import RangeSearch, ReplicaSearch
from planner.planning.rate_search import RateSearch
from planner.planning.search import CLOSE, NARROW, ClusterSearch, Engine, Progress, Search
from planner.pricing.loads import PERCENTILES
from planner.pricing.price_list import Split
from planner.scoring.score import Score
from planner.solver.chain import thresholds
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace, Found, Span
from planner.space.families import FEW_MIXES, Family, whole_family
from planner.space.forms import Form
from planner.space.layout import even_cut
from planner.space.streams import Streams
from planner.space.uniform import plan_grid

if TYPE_CHECKING:
    from planner.planning.row_search import RowSearch

EQUAL = 1 + 1e-9
"""Values closer than this are one, where plans hold as many chips."""
GRIDDED = (
    "ttft_s",
    "tpot_s",
    "tokens_per_s",
    "requests_per_s",
    "tokens_per_s_per_chip",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "usd_per_hour",
    "chips",
)
"""Fields that a grid of uniform plans prices."""
MOST_ALIKE = 16
"""Chips up to which plans without rules, but with one split, are searched as an engine's are."""
NARROW_SHARE, ROOT_SHARE, GRID_SHARE = 0.35, 0.9, 0.3
"""Of the time that is left, that may go to plans of an engine, then to bounds of all boxes, and then
to a grid of uniform plans, before plans of any form are looked at."""
ALONE_SHARE = 0.4
"""Of the time, that may go to a plan at once on each kind of pool alone."""
SELDOM = 8
"""Of wide boxes every so manieth is worth looking for a plan in."""
MOST_GUESSED, LOOKS = 6, 50
"""Spans of which a plan is guessed, at most, and how many times as many are looked through."""
ABOUT = 0.05
"""Relative: batches that are not told apart in a guess."""
SPREAD_SHARE, GUESS_SHARE = 0.6, 0.5
"""Of the time of a search among few splits, or that is left, what telling spans apart may take, and
then guesses."""
MOST_RIVALS = 40
"""Plans that are compared field by field, at most."""


class EngineSearch(LimitedCourse):
    """The best plan of the engine's space, and what is proved about it."""

    candidates: Candidates

    def __init__(
        self,
        candidates: Candidates,
        *,
        time_limit_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        enough: float = -math.inf,
        hopeless: float = math.inf,
        ways: frozenset[Way] | None = None,
        nice: bool = True,
    ) -> None:
        """`enough` is a canonical value that need not be bettered, `hopeless` one above which
        none is of use; `ways` leaves only plans that use more than one chip in just these;
        `nice`: of plans that are as good, the one that a person would take."""
        super().__init__(
            candidates,
            time_limit_s=time_limit_s,
            progress=progress,
            enough=enough,
            hopeless=hopeless,
        )
        self.ways = ways
        self.refused: set[tuple[Form, int]] = set()
        """Forms, and numbers of replicas, that were found to break what is promised."""
        self.nice = nice
        self.found: Found | None = None
        self.engine_value = math.inf
        """Of a wider space alone; see `FreeSearch`."""
        self.open: list[tuple[float, int, Span]] = []
        self.numbers = itertools.count()
        self.least = math.inf
        """The proved least value, once there is one; the plan that is taken may be within `AS_GOOD`
        of it where it holds fewer chips."""
        self.opening = math.inf
        """Bound of the span that is just being taken apart; infinite in between."""
        self.left = math.inf
        """Bound of what could not be decided."""
        self.spread = False
        """Whether all plans are in `open`."""

    @cached_property
    def space(self) -> EngineSpace:
        """Made while the clock runs: of a large machine that takes a while."""
        in_ranges = self.candidates.question.scatters
        return EngineSpace(self.candidates, self.ways, in_ranges=in_ranges)

    @cached_property
    def streams(self) -> Streams:
        """Likewise."""
        return Streams(self.space)

    @property
    def as_good(self) -> float:
        """How far apart plans may be that are as good, relative to a canonical value; not at all
        for room in memory, of which that value says what is taken."""
        is_room = self.candidates.question.objective == "memory_headroom_bytes"
        return 0.0 if is_room else AS_GOOD

    def _bounds_left(self) -> list[float] | None:
        known = (self.least, self.opening, self.left)
        return [*known, *(bound for bound, _, _ in self.open[:1])] if self.spread else None

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.interrupted:
            return "interrupt"
        enough = min(self.goal, self.least) * CLOSE
        if self.bound >= enough:
            return "proof"
        is_last = not self.open or self.open[0][0] >= enough
        return "beam" if self.left < enough and is_last else "time"

    def _soon(self) -> Best[Plan]:
        # Of plans that use some ways alone none is known at once.
        return super()._soon() if self.ways is None else Best()

    def _at_last(self) -> Best[Plan]:
        return super()._at_last() if self.ways is None else Best()

    def _like(self, candidates: Candidates, **options: Any) -> "EngineSearch":
        return EngineSearch(
            candidates, enough=self.enough, hopeless=self.hopeless, nice=False, **options
        )

    def _run(self) -> None:
        engine = self.candidates.topology.software.engine
        if engine.micro_batches == "any" and not self.candidates.exclude:
            # Every number of micro-batches makes a form of its own: thousands without a plan.
            self.best = uniform_start(self.candidates, "engine")
        self._spread_out()
        if self.left_s is not None:
            # Best first, a plan is found late; a search that ends with a proof has no use for it.
            self.spare = min(self.spare, self._guessed(), key=lambda one: one.value)
        self._work_off()

    def _run_as_part(self) -> None:
        with suppress(TimeUpError), allowance.in_part(math.inf, SPREAD_SHARE):
            self._spread_out()
        self.best = self._guessed()
        self._work_off()

    def _spread_out(self) -> None:
        """Put all plans in spans."""
        for bound, span in self._with_floor(self.space.spans()):
            self._push(bound, span)
        self.spread = True

    def _work_off(self) -> None:
        """Span by span, the most promising first."""
        while self.open and time.monotonic() < self.deadline:
            bound, _, span = self.open[0]
            if bound >= self.goal * CLOSE or self.best.value <= self.enough:
                break
            self._open(span, self._offer)
            self.tell(len(self.open))
        if self.nice and self.found is not None and self.bound >= self.best.value * CLOSE:
            self._take_nicest()

    def _push(self, bound: float, span: Span) -> None:
        heapq.heappush(self.open, (bound, next(self.numbers), span))

    # ── Guessing ─────────────────────────────────────────────────────────────────────────────

    def _guessed(self) -> Best[Plan]:
        """The best of a few plans of the spans that promise most, cut as the engine cuts, as far as
        a part of the time goes."""
        best: Best[Plan] = Best()
        with suppress(TimeUpError), allowance.in_part(math.inf, GUESS_SHARE):
            for span in self._promising():
                found = self._evenly_cut(span)
                if found is None or found.value >= best.value:
                    continue
                plan = self.space.to_plan(found)
                value = self.candidates.allowed_value(plan)
                if value < best.value:
                    best = Best(plan, value)
        return best

    def _promising(self) -> Iterator[Span]:
        """Of the open spans, those of the least bounds, one of each number of stages of a split."""
        seen: set[tuple[Split, int]] = set()
        for _, _, span in heapq.nsmallest(LOOKS * MOST_GUESSED, self.open):
            key = span.form.split, span.form.stages
            if key not in seen and len(seen) < MOST_GUESSED:
                seen.add(key)
                yield span

    def _evenly_cut(self, span: Span) -> Found | None:
        """The best plan of a span whose layers are cut evenly, among its first batch, the last, and
        about the largest that keeps all limits."""
        if self.space.counts_replicas:
            return self._fewest_replicas(span)
        form = span.form
        if form.is_range:
            likely = max(form.fewest, min(form.stages, form.in_flight))
            span = span._replace(form=replace(form, fewest=0, in_flight=likely))
        borders = (
            self._own_cut(form.stages) if form.stages > 1 else (0, len(self.space.graph.layers))
        )
        if not borders:
            return None

        def of(number: int) -> Found | None:
            allowance.look()
            return self.space.with_cut(span._replace(first=number, last=number), borders)

        known = [one for one in (of(span.first), of(span.last)) if one is not None]
        low, high = span.first, span.last
        while len(known) == 1 and high - low > max(1, ABOUT * high):
            middle = (low + high) // 2
            found = of(middle)
            if found is None:
                high = middle
            else:
                low = middle
                known = [min(*known, found, key=lambda one: one.value)]
        return min(known, key=lambda one: one.value, default=None)

    # ── Opening spans ────────────────────────────────────────────────────────────────────────

    def _open(self, span: Span, offer: Callable[[Found], None]) -> None:
        """Take the first span apart, or settle it. Its bound counts until its parts are in and what
        was found is offered, so that a stop in between claims nothing."""
        self.opening = self.open[0][0]
        parts: list[tuple[float, Span]] = []
        if self.space.counts_replicas:
            found = self._fewest_replicas(span)
        elif not self._may_keep(span.form, span.replicas):
            found = None
        elif span.single and not span.form.is_range:
            # What is worse than all that counts as good is of no use, and quickly put aside.
            found = self._allowed(self.space.settled(span, self.goal * (1 + self.as_good) * EQUAL))
        else:
            found = None
            parts = self.space.tightened(self.space.parts(span))
        heapq.heappop(self.open)
        for bound, part in parts:
            self._push(bound, part)
        if found is not None:
            offer(found)
        if self.space.undecided:
            self.left = min(self.left, self.opening)
            self.space.undecided = False
        self.opening = math.inf

    def _offer(self, found: Found) -> None:
        if found.value < self.goal:
            self.found = found
            self.best = Best(self.space.to_plan(found), found.value)

    def _fewest_replicas(self, span: Span) -> Found | None:
        """The fewest replicas of a form that keep up with the rate and the limits: with more of
        them each has less to do."""
        high = self._useful_replicas(span.form)
        best = self._kept(span._replace(replicas=high)) if high else None
        return None if best is None else self._fewer(best, span, math.inf)

    def _useful_replicas(self, form: Form) -> int:
        """No more than there is room for, or than are as good as the best plan so far."""
        most = self.space.most_replicas(form)
        each = self.space.per_chip[self.space.objective] * form.chips
        if self.candidates.basis.is_filled(self.space.objective) or self.goal == math.inf:
            return most
        return min(most, math.floor(self.goal * (1 + self.as_good) * EQUAL / each))

    def _fewer(self, known: Found, span: Span, goal: float) -> Found:
        """The plan of a form with the fewest replicas, no more than one that is known, whose value
        is below a goal."""
        low, high = 0, known.replicas
        while high - low > 1:
            middle = (low + high) // 2
            found = self._kept(span._replace(replicas=middle), goal)
            if found is None:
                low = middle
            else:
                high, known = middle, found
        return known

    def _kept(self, span: Span, goal: float = math.inf) -> Found | None:
        """A plan of a span that keeps the limits, with the fewest sequences in flight and a value
        below a goal."""
        if not self._may_keep(span.form, span.replicas):
            return None
        if span.single:
            return self._allowed(self.space.settled(span, goal))
        for bound, part in self.space.tightened(self.space.parts(span)):
            found = self._kept(part, goal) if bound < goal else None
            if found is not None:
                return found
        return None

    # ── What is promised ─────────────────────────────────────────────────────────────────────

    def _may_keep(self, form: Form, replicas: int) -> bool:
        """Whether so many replicas of a form (0: as many as there is room for) keep the percentiles
        that are limited, were every time the least that it can be."""
        if (form, replicas) in self.refused:
            return False
        return self.streams.may_keep(form, replicas)

    def _allowed(self, found: Found | None) -> Found | None:
        """A plan that was found, or the same with another cut, where one keeps what no bound of a
        span tells: percentiles, and how sure they are."""
        if found is None or not self.candidates.question.scatters:
            return found
        cuts = [found]
        if found.span.form.stages > 1:
            cuts += self.space.recut(found, self._own_cut(found.span.form.stages), math.inf)
        values = [self.candidates.allowed_value(self.space.to_plan(one)) for one in cuts]
        value = min(values)
        if value < math.inf:
            if value > found.value * EQUAL:
                # What a span tells of later tokens' percentiles is no more than a bound.
                self.left = min(self.left, found.value)
            return cuts[values.index(value)]._replace(value=value)
        if found.span.form.stages > 1 or (self.space.rate and self.candidates.question.sure):
            # Other cuts may keep it; or fewer replicas, if it is surer with more in flight in each.
            self.left = min(self.left, found.value, self.opening)
        if self.space.rate:
            # How many are in flight is the rate's to say, whatever the span.
            self.refused.add((found.span.form, found.span.replicas))
        return None

    # ── Plans that are as good ───────────────────────────────────────────────────────────────

    def _take_nicest(self) -> None:
        """Of the plans that are as good as the best, the one that a person would take."""
        assert self.found is not None
        self.least = self.best.value
        if self.space.rate and not self.space.counts_replicas:
            self._take_fewer()
        rivals = [self.found, *self._rivals()]
        fewest = min(self._chips(one) for one in rivals)
        least = min(one.value for one in rivals if self._chips(one) == fewest)
        alike = [one for one in rivals if self._chips(one) == fewest and one.value <= least * EQUAL]
        every = [other for one in alike for other in (one, *self._other_cuts(one))]
        scored = [(one, self._scored(one)) for one in every]
        known = [(one, score) for one, score in scored if score is not None]
        if not known:
            return
        nicest, _ = min(known, key=lambda pair: self._niceness(*pair))
        self.found = nicest
        self.best = Best(self.space.to_plan(nicest), nicest.value)

    def _take_fewer(self) -> None:
        """At a rate all replicas were taken, since each then has the least to do: as few of them as
        are as good."""
        assert self.found is not None
        whole = self.space.whole(self.found.span)
        goal = self.best.value * (1 + self.as_good)
        self.found = self._fewer(self.found, whole, goal)

    @staticmethod
    def _chips(found: Found) -> int:
        return found.replicas * found.span.form.chips

    def _rivals(self) -> Iterator[Found]:
        """Plans of other spans that hold fewer chips and are as good, or as many and are equal."""
        assert self.found is not None
        least, chips = self.best.value, self._chips(self.found)
        kept: list[tuple[float, int, Span]] = []
        seen = 0
        while self.open and self.open[0][0] <= least * (1 + self.as_good) and seen < MOST_RIVALS:
            bound, _, span = self.open[0]
            held = max(1, span.replicas) * span.form.chips
            may_be = held < chips or (held == chips and bound <= least * EQUAL)
            if not may_be or time.monotonic() >= self.deadline:
                kept.append(heapq.heappop(self.open))
                continue
            found: list[Found] = []
            self._open(span, found.append)
            seen += bool(found)
            for one in found:
                fewer = self._chips(one) < chips and one.value <= least * (1 + self.as_good)
                if fewer or (self._chips(one) == chips and one.value <= least * EQUAL):
                    yield one
        for entry in kept:
            heapq.heappush(self.open, entry)

    def _other_cuts(self, found: Found) -> Iterator[Found]:
        """The same with other cuts that are as good."""
        if found.span.form.stages > 1:
            yield from self.space.recut(found, self._own_cut(found.span.form.stages), EQUAL)

    def _own_cut(self, stages: int) -> tuple[int, ...]:
        """Where engines cut a model by themselves; () where it has too few layers for that."""
        graph = self.candidates.graph
        return tuple(even_cut(graph, stages)) if stages <= len(graph.inner_positions) else ()

    def _scored(self, found: Found) -> Score | None:
        try:
            return self.candidates.score(self.space.to_plan(found))
        except (InfeasibleError, InputError):
            return None

    def _niceness(self, found: Found, score: Score) -> tuple[float, ...]:
        """Less is nicer: waits and price of what is not asked for, as one product; how far the
        cut is from the engine's own; degrees that are not 1."""
        fields = [score.ttft_s, score.tpot_s, score.tokens_per_s and 1 / score.tokens_per_s]
        others = sum(math.log(one) for one in fields if one)
        own = self._own_cut(found.span.form.stages)
        moved = sum(abs(a - b) for a, b in zip(found.borders, own, strict=False))
        split = found.span.form.split
        degrees = (split.tensor, split.expert, split.sequence, found.span.form.stages)
        settings = sum(degree > 1 for degree in degrees)
        return round(others, 6), float(moved), float(settings), float(found.replicas)


def uniform_start(candidates: Candidates, space: Space) -> Best[Plan]:
    """The best uniform plan of a space, where a grid of them can be priced: long searches then have
    a fair plan from the first moment on."""
    fields = candidates.question.fields
    if candidates.workload.batch_size is not None or not set(fields) <= set(GRIDDED):
        return Best()
    try:
        grid = plan_grid(
            candidates.graph,
            candidates.topology,
            candidates.workload,
            power_scope=candidates.question.power_scope,
            space=space,
        )
    except (InfeasibleError, InputError):
        return Best()
    values = candidates.canonical_array(fields[0], grid.value(fields[0]))
    for name, value in candidates.limits:
        reached = candidates.canonical_array(name, grid.value(name))
        values = np.where(reached <= candidates.canonical(name, value), values, np.inf)
    place = np.unravel_index(int(np.argmin(values)), values.shape)
    if not np.isfinite(values[place]):
        return Best()
    plan = grid.plan((int(place[0]), int(place[1]), int(place[2])))
    value = candidates.allowed_value(plan)
    return Best(plan, value) if value < math.inf else Best()


class FreeSearch(Search):
    """The search over plans of any form, from the best one that the engine can be started with."""

    engine_value = math.inf
    """Canonical, of that one; infinite where there is none, it is not proved, or no rules are
    known."""

    def __init__(self, candidates: Candidates, **options: Any) -> None:
        """`options` as those of `Search`; `few_mixes`: up to how many are told one by one from the
        start."""
        engine, seed = options.pop("engine", "auto"), options.pop("seed", 0)
        self.few_mixes = options.pop("few_mixes", FEW_MIXES)
        super().__init__(candidates, engine=engine, seed=seed, **options)
        self.families: dict[Box, Family] = {}
        """Of boxes that are open."""
        self.tried: set[tuple[tuple[int, int], tuple[Stage, ...]]] = set()
        """Stages of which the best batch was looked for, by the micro-batches allowed."""
        # Averages have no bound by mixes; under a rate batches follow from plans.
        at_a_rate = candidates.workload.requests_per_s is not None
        self.by_mixes = engine == "auto" and not at_a_rate and not candidates.averages

    def _closed(self, bound: float, box: Box) -> list[tuple[float, Box]]:
        """Bound a box by its mixes; what they leave of a narrow one, by its problem too."""
        if not self.by_mixes:
            return super()._closed(bound, box)
        is_narrow = box.ratio <= NARROW
        family = self._family(box).narrowed(box, self.goal, closely=is_narrow)
        if family.is_ranged and is_narrow:
            family = family.one_by_one().narrowed(box, self.goal, closely=True)
        lower = max(bound, family.bound)
        self._try(box, family)
        if lower >= self.goal * CLOSE:
            children = []
        elif box.single:
            children = self._solved(lower, box, family.candidates)
        else:
            children = [(lower, half) for half in box.halves()]
        self.families |= {half: family for _, half in children}
        self.families.pop(box, None)
        return children

    def _family(self, box: Box) -> Family:
        return self.families.get(box) or whole_family(self.candidates, box, self.few_mixes)

    def _solved(self, bound: float, box: Box, candidates: Candidates) -> list[tuple[float, Box]]:
        """What the problem of a box leaves of it, with the options of some candidates alone."""
        whole, self.candidates = self.candidates, candidates
        try:
            return super()._closed(bound, box)
        finally:
            self.candidates = whole

    def _root_bound(self, box: Box, known: float) -> float:
        """The same by its mixes."""
        if known > 0.0 or not self.by_mixes:
            return super()._root_bound(box, known)
        return self._family(box).narrowed(box, self.goal).bound

    def _try(self, box: Box, family: Family) -> None:
        """Look for the best batch of the plans that a box's most promising mix holds."""
        if box.ratio > NARROW and self.done % SELDOM:
            return
        for cuts in family.promising(box):
            runs = family.candidates.placed(cuts, box.replicas)
            if runs is None:
                continue
            plan = family.candidates.to_plan(box, runs)
            key = box.micro_batches, plan.stages
            if key not in self.tried:
                self.tried.add(key)
                self._offer(box, plan, math.inf)

    def _run(self) -> None:
        software = self.candidates.topology.software
        # An engine chooses its own number of micro-batches.
        if software.engine.is_known and self.candidates.question.micro_batches is None:
            self._start()
        if self.left_s is not None:
            self._bound_soon()
        self._start_from(self._uniform())
        super()._run()

    def _bound_soon(self) -> None:
        """Bounds from relaxations of whole boxes, which are soon told and not far off, where there
        is time for those of all boxes: a search that is cut off then proves something."""
        least = math.inf
        with suppress(TimeUpError), allowance.until(self._share(ROOT_SHARE)):
            for box in self.candidates.boxes():
                allowance.look()
                problem = self.candidates.to_problem(box)
                if problem is not None:
                    least = min(least, self.solver.root_bound(problem))
            self.floor = max(self.floor, least)

    def _uniform(self) -> Best[Plan]:
        """A plan to start from, where a grid of them is priced soon."""
        with suppress(TimeUpError), allowance.until(self._share(GRID_SHARE)):
            return uniform_start(self.candidates, "any")
        return Best()

    def _share(self, share: float) -> float:
        """When so much of the time that is left will have passed."""
        now = time.monotonic()
        return math.inf if self.left_s is None else now + share * self.left_s

    def _soon(self) -> Best[Plan]:
        # Where rules are known the best plan of an engine is looked for first, and one at once.
        is_known = self.candidates.topology.software.engine.is_known
        return Best() if is_known else soon(self.candidates)

    def early(self) -> Best[Plan]:
        if not self.candidates.topology.software.engine.is_known:
            return super().early()
        return EngineSearch(self.candidates.of("engine"), time_limit_s=self.left_s).early()

    def _at_last(self) -> Best[Plan]:
        return first_plan(self.candidates)

    def _start(self) -> None:
        left_s = None if self.left_s is None else NARROW_SHARE * self.left_s
        narrow = EngineSearch(self.candidates.of("engine"), time_limit_s=left_s, nice=False)
        narrow.run()
        if narrow.best.value < self.best.value:
            self.best = narrow.best
        if narrow.stopped_by == "proof":
            self.engine_value = min(narrow.best.value, narrow.least)
        # Of the wider space, the bounds at the root are all that is wanted after Ctrl-C.
        self.interrupted |= narrow.interrupted
        allowance.look()

    def _start_from(self, known: Best[Plan]) -> None:
        """Take a plan, or what small changes make of it, as the best if it is."""
        if known.plan is None:
            return
        if self.by_mixes:
            known = polished(self.candidates, known.plan, allowance.is_up)
        if known.value < self.best.value:
            self.best = known


AnySearch: TypeAlias = "EngineSearch | FreeSearch | RateSearch | PromiseSearch | RowSearch"


def search_of(
    candidates: Candidates,
    *,
    engine: Engine = "auto",
    seed: int = 0,
    nice: bool = True,
    **options: Any,
) -> AnySearch:
    """The search over the plans of a question: those that the software's engine can be started
    with, where its rules are known, or any; `engine` "cp-sat" leaves the former to OR-Tools alone
    (an InputError says what it cannot state)."""
    if candidates.workload.is_stream and candidates.question.objective in PERCENTILES:
        return PromiseSearch(candidates, **options)
    ranged = candidates.topology.software.engine.micro_batches == "any"
    if candidates.opens_rate:
        return (RangeSearch if ranged else RateSearch)(candidates, **options)
    if ranged and _counts_replicas(candidates):
        return ReplicaSearch(candidates, **options)
    if candidates.of_engine and engine == "cp-sat":
        # OR-Tools takes longer to load than most questions to answer.
        from planner.planning.row_search import RowSearch

        return RowSearch(candidates, seed=seed, nice=nice, **options)
    if candidates.of_engine or candidates.question.scatters or _are_alike(candidates, engine):
        return EngineSearch(candidates, nice=nice, **options)
    return FreeSearch(candidates, engine=engine, seed=seed, **options)


def _counts_replicas(candidates: Candidates) -> bool:
    """Whether percentiles are to be kept at a rate that is given by as few whole chips as can
    be."""
    basis, objective = candidates.basis, candidates.question.objective
    asked = candidates.workload.is_stream and candidates.question.scatters
    return asked and objective in basis.per_chip() and not basis.is_filled(objective)


def _are_alike(candidates: Candidates, engine: Engine) -> bool:
    """Whether all stages are split alike since there is one way only, on few chips and of no engine
    that is known: every number of micro-batches is then a form, and soon looked at."""
    return (
        not candidates.topology.software.engine.is_known
        and len(candidates.splits) == 1
        and candidates.topology.chips <= MOST_ALIKE
        and not candidates.averages
        # One stage alone might be cut into micro-batches only to read its weights more often.
        and "mbu_fraction" not in candidates.question.fields
        and candidates.question.micro_batches is None
        and engine == "auto"
    )


class EngineClusterSearch(ClusterSearch):
    """The search over plans on a cluster: first on each pool alone, which is quick, then on several
    pools of one engine together; over plans of any form, from the best one of engines."""

    def _run(self) -> None:
        candidates = self.candidates
        if self.left_s is not None:
            self.floor = self.loose_bound()
        if candidates.question.space == "any":
            self._start()
        for head in self._heads():
            if candidates.each[head].of_engine:
                self._look_at(head)
        super()._run()

    def _heads(self) -> Iterator[int]:
        """A pool of each kind: on others of it plans are the same, wherever these stand."""
        for head in dict.fromkeys(self.candidates.cluster.kinds):
            if self.candidates.cluster.pools[head].free_chips:
                yield head

    def early(self) -> Best[PooledPlan]:
        # No search follows, so that all the time is for this.
        heads = list(self._heads())
        with allowance.until(self.deadline):
            known = self._any_alone(heads, lambda alone, _: soon(alone))
            better = self._any_alone(heads, self._early_alone)
        return better if better.value < known.value else known

    def _soon(self) -> Best[PooledPlan]:
        heads = list(self._heads())
        known = self._any_alone(heads, lambda alone, _: soon(alone))
        with allowance.in_part(math.inf, ALONE_SHARE) as is_limited:
            better = self._any_alone(heads, self._early_alone) if is_limited else known
        return better if better.value < known.value else known

    def _at_last(self) -> Best[PooledPlan]:
        return self._any_alone(list(self._heads()), lambda one, _: first_plan(one))

    def _early_alone(self, alone: Candidates, share: float) -> Best[Plan]:
        """A plan on one pool, in a share of the time."""
        if not alone.topology.software.engine.is_known:
            return Best()
        with allowance.in_part(math.inf, share):
            return EngineSearch(alone.of("engine"), time_limit_s=allowance.left_s()).early()

    def _any_alone(
        self, heads: list[int], any_of: Callable[[Candidates, float], Best[Plan]]
    ) -> Best[PooledPlan]:
        """The best of the plans that are soon known of one pool alone, each in its share of the
        time that is left."""
        best: Best[PooledPlan] = Best()
        with suppress(TimeUpError):
            for number, head in enumerate(heads):
                share = 1.0 / (len(heads) - number)
                known = self._as_pooled(head, any_of(self._alone(head), share).plan)
                if known.value < best.value:
                    best = known
        return best

    def loose_bound(self) -> float:
        """What no plan is below, soon told however many pools there are."""
        least = math.inf
        for box in self.candidates.loose_boxes():
            problem = self.candidates.to_loose_problem(box)
            if problem is not None:
                least = min(least, thresholds.root_bound(problem))
        return least

    def _start(self) -> None:
        """The best plan that an engine can be started with, where rules are known."""
        pools = self.candidates.cluster.pools
        if not any(pool.topology.software.engine.is_known for pool in pools):
            return
        narrow = EngineClusterSearch(self.candidates.of("engine"), time_limit_s=self.left_s)
        narrow.best = self.best
        narrow.run()
        self.best = narrow.best
        if narrow.bound < narrow.goal * CLOSE:
            # Of their plans not all are among those of any form: batches that fill micro-batches
            # in part are not.
            self.left.append(narrow.bound)
        self.interrupted |= narrow.interrupted
        allowance.look()

    def _alone(self, head: int) -> Candidates:
        """The plans on one pool alone."""
        each, pool = self.candidates.each[head], self.candidates.cluster.pools[head]
        excluded = tuple(sorted(set(pool.exclude)))
        return Candidates(each.graph, each.topology, each.workload, each.question, exclude=excluded)

    def _as_pooled(self, head: int, plan: Plan | None) -> Best[PooledPlan]:
        """A plan on one pool alone, and its worth."""
        if plan is None:
            return Best()
        on_pool = pooled(plan, self.candidates.cluster.pools[head].name)
        return Best(on_pool, self.candidates.allowed_value(on_pool))

    def _look_at(self, head: int) -> None:
        """The best plan on one pool alone."""
        candidates, each = self.candidates, self.candidates.each[head]
        search = EngineSearch(self._alone(head), time_limit_s=self.left_s, nice=False)
        search.run()
        known = self._as_pooled(head, search.best.plan)
        if known.value < self.best.value:
            self.best = known
        if len(candidates.like(head)) == 1 and not candidates.anywhere:
            candidates.settled.add(head)
            if search.bound < search.goal:
                question = candidates.question
                told = each.field_value(question.objective, search.bound)
                self.left.append(candidates.canonical(question.objective, told))
        self.interrupted |= search.interrupted
        allowance.look()


def pooled(plan: Plan, pool: str) -> PooledPlan:
    """A plan on a topology as one on a pool of a cluster."""
    stages = tuple(
        PooledStage(pool=pool, **{name: getattr(stage, name) for name in Stage.model_fields})
        for stage in plan.stages
    )
    fields = {name: getattr(plan, name) for name in Plan.model_fields if name != "stages"}
    return PooledPlan(stages=stages, **fields)
