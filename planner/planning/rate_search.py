"""The greatest rate of requests that a plan can promise something at: the search over plans whose
traffic is a Poisson stream of open rate.

Every limit on a time is kept up to some rate and broken beyond it, so a form of plans is worth what
its greatest rate makes of it. A form is put aside where, at the rate that it needs to be better than
the best plan so far, even the least that its times can be break a limit; else its greatest rate is
found by halving. Cuts of several stages are bounded by the least of every load.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from planner import allowance
from planner.answers.question import PER_TOKEN, TOTALS
from planner.errors import InfeasibleError, InputError, TimeUpError
from planner.plan import Plan
from planner.planning.best import Best
from planner.planning.first_plans import MOST_TRIED, SOON_S, SOON_SHARE, likely
from planner.planning.search import CLOSE
from planner.planning.stream_search import StreamSearch
from planner.pricing.loads import Load
from planner.space.candidates import Candidates
from planner.space.engine_space import Found, Span
from planner.space.forms import Form, forms_of
from planner.space.layout import even_cut
from planner.space.streams import TOLD

MOST_CUTS = 40
"""Of a form, that are told apart at most."""
STEPS = 10
"""Halvings that tell what a form is worth at most, about."""
HALVINGS = 60
"""Of a range of rates, at most."""
SETTLED = 1e-9
"""Relative: rates no further apart are one."""
EXACT = 1 + 1e-9
"""Values closer than this are one."""
BELOW = 1 - 1e-12
"""Of a rate, so that sharing it out over replicas does not round it up beyond a limit."""


class _EnoughTried(Exception):
    """That the cuts of a form are too many to be told apart."""


class Served(NamedTuple):
    """A form, how its times are at least, and how many replicas of it there are."""

    form: Form
    load: Load
    replicas: int
    bound: float = 0.0
    """Canonical value that none of its plans is below."""


class RateSearch(StreamSearch):
    """The best plan and its rate, and what is proved about it."""

    def __init__(self, candidates: Candidates, **options: Any) -> None:
        super().__init__(candidates, **options)
        self.open: list[Served] = []
        """The next to be looked at last."""
        self.opening = math.inf
        """Bound of the form that is just being looked at."""

    def _bounds_left(self) -> list[float] | None:
        known = (self.opening, self.left)
        return [*known, *(one.bound for one in self.open)] if self.spread else None

    def _at_once(self) -> Best[Plan]:
        if not self.candidates.opens_rate:
            return super()._at_once()
        with allowance.in_part(SOON_S, SOON_SHARE) as is_limited:
            return self._any_plan() if is_limited else Best()

    def _at_last(self) -> Best[Plan]:
        if not self.candidates.opens_rate:
            return super()._at_last()
        with allowance.beyond():
            return self._any_plan()

    def _any_plan(self) -> Best[Plan]:
        """The best of a few forms, cut as the engine does; as far as time goes."""
        kept, self.best = self.best, Best()
        with suppress(TimeUpError):
            for served in self._likely():
                self._offer(served, tuple(even_cut(self.space.graph, served.form.stages)))
        found, self.best = self.best, kept
        return found

    def _likely(self) -> Iterator[Served]:
        """The forms that fit most likely."""
        inner = len(self.space.graph.inner_positions)
        for split, stages in itertools.islice(likely(self.candidates), MOST_TRIED):
            allowance.look()
            if stages > max(1, inner):
                continue
            forms = next(forms_of(self.candidates.under(split)), [])
            deep = [form for form in forms if form.stages == stages]
            # Where the engine leaves the micro-batches free, a form is of each number of them.
            yield from self._served([form for form in deep if form.in_flight in (0, stages)])

    def _run(self) -> None:
        for forms in self._with_floor(forms_of(self.candidates)):
            self.open += self._served(forms)
        # Of one stage the least times are exact, and soon give a plan that few forms can better.
        self.open.sort(key=lambda one: (one.form.stages > 1, one.bound), reverse=True)
        self.spread = True
        while self.open and time.monotonic() < self.deadline:
            if self.best.value <= self.enough:
                break
            served = self.open.pop()
            self.opening = served.bound
            if served.bound < self.goal * CLOSE:
                self._look_at(served)
            self.opening = math.inf
            self.tell(len(self.open))

    def _served(self, forms: list[Form]) -> Iterator[Served]:
        roomy = [(form, self._replicas(form)) for form in forms]
        kept = [(form, replicas) for form, replicas in roomy if replicas]
        if not kept:
            return
        loads = self.streams.loads([form for form, _ in kept])
        for (form, replicas), load in zip(kept, loads, strict=True):
            if load is not None:
                made = Served(form, load, replicas)
                # No stream is faster than what all its replicas serve with no time to spare.
                yield made._replace(bound=self._value(made, load.most_requests_per_s))

    def _replicas(self, form: Form) -> int:
        """As many as there is room for, where more of them give more; else one."""
        most = self.space.most_replicas(form)
        return most if self.space.objective in TOTALS else min(most, 1)

    # ── One form ─────────────────────────────────────────────────────────────────────────────

    def _look_at(self, served: Served) -> None:
        """The best plan of a form, where that is better than the best so far."""
        form = served.form
        if not self._may_be_better(served):
            return
        if form.stages == 1:
            self._offer(served, (0, len(self.space.graph.layers)))
            return
        least = self.streams.tightened(form, served.load.most)
        if least is None:
            return
        served = Served(form, least, served.replicas)
        if not self._may_be_better(served):
            return
        rate = self._greatest(lambda one: self._keeps_at_least(served, one), least)
        value = self._value(served, rate) if rate else math.inf
        for borders in self._cuts(form, rate, least):
            self._offer(served, borders)
            if self.best.value <= value * EXACT:
                return
        if value < self.goal * CLOSE:
            self._try_all_cuts(served._replace(bound=value))

    def _try_all_cuts(self, served: Served) -> None:
        """The best cut of a form, where that of none of its loads is."""

        tried = itertools.count(1)

        def value(load: Load) -> float:
            if next(tried) > MOST_CUTS:
                raise _EnoughTried
            return self._least_value(served, load)

        try:
            while True:
                goal = self.goal
                at_goal = served.load.at(self._rate_for(served, goal) or 1e-9)
                least, borders = self.streams.best_cut(
                    served.form, served.load, at_goal.mean_sequences, value, goal
                )
                if borders:
                    self._offer(served, borders)
                if not borders or self.goal >= goal:
                    break
        except _EnoughTried:
            self.left = min(self.left, served.bound)
            return
        # Limits that no `Load` tells, and memory, may leave a cut worse than that.
        if borders and least < self.goal * (1 - 1e-9):
            self.left = min(self.left, least)

    def _least_value(self, served: Served, load: Load) -> float:
        """Canonical value of a form with a load, no more than that; infinite where it is no better
        than the best plan."""
        low, high = self._rate_for(served, self.goal), load.most_requests_per_s
        # Most are not, which one rate tells.
        if low >= high or (low and not self._keeps_at_least(served, low, load)):
            return math.inf
        for _ in range(STEPS):
            middle = (low + high) / 2
            if self._keeps_at_least(served, middle, load):
                low = middle
            else:
                high = middle
        return self._value(served, high)

    def _may_be_better(self, served: Served) -> bool:
        """Whether the least times of a form keep all promises at the rate that it takes to be
        better than the best plan."""
        needed = self._rate_for(served, self.goal)
        if needed >= served.load.most_requests_per_s:
            return False
        return self._keeps_at_least(served, max(needed, 1e-9 * served.load.most_requests_per_s))

    def _keeps_at_least(self, served: Served, rate: float, load: Load | None = None) -> bool:
        """At a rate of each replica, with margins as small as any number in flight has them."""
        return self.streams.may(served.form, (load or served.load).at(rate))

    def _greatest(
        self,
        keeps: Callable[[float], bool],
        load: Load,
        kept: float = 0.0,
        most: float = math.inf,
    ) -> float:
        """Rate of each replica up to which all is kept, no less than one at which it is, and no more
        than the most that could be; 0: none is."""
        low, high = kept, min(most * (2 - BELOW), load.most_requests_per_s)
        if keeps(high * BELOW):
            return high * BELOW
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if keeps(middle) else (low, middle)
            if low and high <= low * (1 + SETTLED):
                break
        return low * BELOW

    def _cuts(self, form: Form, rate: float, least: Load) -> Iterator[tuple[int, ...]]:
        """The engine's own cut, and those that keep one load each as low as can be, with about so
        many in flight."""
        middle = max(1, form.in_flight, min(least.most, round(least.at(rate).mean_sequences)))
        yield from self.space.cuts_to_try(form, self.streams.moment(form, middle))

    # ── One plan ─────────────────────────────────────────────────────────────────────────────

    def _offer(self, served: Served, borders: tuple[int, ...]) -> None:
        """A plan at its greatest rate, where that is better than the best so far."""
        for parts in self.streams.micro_batches_of(served.form, served.load.most):
            self._offer_in(served, borders, parts)

    def _offer_in(self, served: Served, borders: tuple[int, ...], parts: int) -> None:
        """The same with so many micro-batches."""
        plan = self._plan(served, borders, parts)
        try:
            load = self.candidates.load_of(plan)
        except (InfeasibleError, InputError):
            return
        exact = Served(served.form, load, served.replicas)
        needed = self._rate_for(exact, self.goal)
        if needed >= load.most_requests_per_s:
            return
        if needed and not self._keeps_at_least(exact, needed):
            return
        rate = self._served_up_to(exact, plan, self._greatest_of(exact, plan, needed))
        value = self._value(exact, rate) if rate else math.inf
        if value >= self.goal:
            return
        replicas = max(served.replicas, self._wanted(rate))
        if replicas > served.replicas:
            plan = self._plan(Served(served.form, load, replicas), borders, parts)
        self.best = Best(plan.replace(requests_per_s=rate * replicas), value)

    def _served_up_to(self, served: Served, plan: Plan, rate: float) -> float:
        """A rate, or less where a plan does not serve that much: it has whole micro-batches in
        flight alone, and those of as many as fit need not be."""

        def serves(one: float) -> bool:
            return self.candidates.sequences_at(plan, one * served.replicas) > 0

        if not rate or serves(rate):
            return rate
        return min(rate, self._greatest(serves, served.load))

    def _greatest_of(self, served: Served, plan: Plan, needed: float) -> float:
        """Rate of each replica of a plan up to which it keeps all limits, beyond one that is needed;
        0: none is.

        What is asked for surely is kept up to some rate only among numbers in flight that are alike
        in how sure they are, so each such range of rates is looked at, the greatest first.
        """

        def keeps(rate: float) -> bool:
            return self._keeps(served, plan, rate)

        most = served.load.most_requests_per_s
        inside = [one for one in self._edges if 1 <= one < served.load.most]
        if inside:
            # Beyond the rate that the least margins allow nothing is kept, and below the needed one
            # nothing is of use: seldom is there an edge between them.
            most = self._greatest(
                lambda one: self._keeps_at_least(served, one), served.load, needed
            )
            if not most:
                return 0.0
            first, last = (self._sequences_at(served, plan, one) for one in (needed, most))
            inside = [one for one in inside if first <= one < last]
        edges = [needed, *(self._rate_with(served, plan, one) for one in inside)]
        for low in sorted({one for one in edges if one >= needed}, reverse=True):
            first = max(low * (2 - BELOW), 1e-9 * served.load.most_requests_per_s)
            if not keeps(first):
                continue
            return self._greatest(keeps, served.load, first, most)
        return 0.0

    def _sequences_at(self, served: Served, plan: Plan, rate: float) -> float:
        """In flight in each replica, where it is sent so many."""
        return self.candidates.sequences_at(plan, rate * served.replicas) if rate else 0.0

    @property
    def _edges(self) -> tuple[float, ...]:
        """Numbers in flight beyond which an answer may be more or less sure."""
        sure = self.candidates.question.sure
        return () if sure is None else self.space.margins.edges

    def _rate_with(self, served: Served, plan: Plan, sequences: float) -> float:
        """Of each replica, the greatest with no more than so many in flight."""

        def keeps(rate: float) -> bool:
            return self.candidates.sequences_at(plan, rate * served.replicas) <= sequences

        return self._greatest(keeps, served.load)

    def _keeps(self, served: Served, plan: Plan, rate: float) -> bool:
        """Whether a plan keeps all limits at a rate of each replica."""
        if not self.streams.keeps(served.load.at(rate)):
            return False
        if not self.streams.limits_more:
            return True
        return self.candidates.keeps_limits(plan, rate * served.replicas, TOLD)

    def _plan(self, served: Served, borders: tuple[int, ...], parts: int) -> Plan:
        found = Found(Span(served.form, served.replicas, 1, 1), served.replicas, 0.0, borders)
        return self.space.to_plan(found).replace(micro_batches=parts, batch_size=None)

    # ── Values ───────────────────────────────────────────────────────────────────────────────

    def _value(self, served: Served, rate: float) -> float:
        """Canonical, at a rate of each replica; infinite where a count that is limited is not
        reached."""
        chips = float(served.form.chips)
        per_chip = self.candidates.basis.per_chip()
        for name, limit in self.candidates.question.limits:
            worst = self.candidates.canonical(name, limit) * EXACT
            if name in PER_TOKEN and per_chip[name] * chips / rate > worst:
                return math.inf
        if self._wanted(rate) > self.space.most_replicas(served.form):
            return math.inf
        return self.streams.value_at_one(served.form) / rate

    def _wanted(self, rate: float) -> int:
        """Replicas that reach the least rates that are asked for."""
        limits = dict(self.candidates.question.limits)
        output = self.candidates.workload.output_tokens
        least = max(limits.get("requests_per_s", 0.0), limits.get("tokens_per_s", 0.0) / output)
        return max(1, math.ceil(least / rate * (1 - 1e-12)))

    def _rate_for(self, served: Served, goal: float) -> float:
        """Of each replica, at which a form is as good as a goal."""
        return self.streams.value_at_one(served.form) / goal if goal < math.inf else 0.0
