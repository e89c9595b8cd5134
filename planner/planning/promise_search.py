"""The least that a percentile can be under a stream of requests: the search over plans that are
asked for one.

With more replicas each is sent fewer requests, so a form holds as many as there is room for. Its
times at least bound all cuts; of one stage they are exact.
"""

import heapq
import itertools
import math
import time
from typing import Any

from planner.answers.question import PER_TOKEN
from planner.errors import InfeasibleError, InputError
from planner.plan import Plan
from planner.planning.best import Best
from planner.planning.search import CLOSE
from planner.planning.stream_search import StreamSearch
from planner.pricing.loads import PERCENTILES, Load
from planner.space.candidates import Candidates
from planner.space.engine_space import Found, Span
from planner.space.forms import Form, forms_of, parts
from planner.space.streams import TOLD

HARDLY = 1e-6
"""Share of what a plan serves that is hardly any: of an open rate of which nothing is asked."""


class PromiseSearch(StreamSearch):
    """The plan with the least percentile, and what is proved about it."""

    def __init__(self, candidates: Candidates, **options: Any) -> None:
        super().__init__(candidates, **options)
        self.asked = PERCENTILES[candidates.question.objective]
        self.open: list[tuple[float, int, Form, Load]] = []
        """The least first: what it is, a number, and what it is of."""
        self.numbers = itertools.count()

    def _bounds_left(self) -> list[float] | None:
        return [self.left, *(one[0] for one in self.open[:1])] if self.spread else None

    def _run(self) -> None:
        for forms in self._with_floor(forms_of(self.candidates, in_ranges=True)):
            self._add([form for form in forms if self.space.most_replicas(form)], 0.0)
        self.spread = True
        while self.open and time.monotonic() < self.deadline:
            bound, _, form, load = self.open[0]
            if bound >= self.goal * CLOSE or self.best.value <= self.enough:
                break
            if form.is_range:
                # Its bound is no more than those of its parts.
                self._add(parts(form), bound)
            else:
                self._look_at(form, load, bound)
            # Nothing that was added is below it, or came before it.
            heapq.heappop(self.open)
            self.tell(len(self.open))

    def _add(self, forms: list[Form], bound: float) -> None:
        """Put forms of one split, none of them below a bound, among those that are open."""
        forms = self.streams.fitting(forms)
        if not forms:
            return
        for form, load in zip(forms, self.streams.loads(forms), strict=True):
            least = math.inf if load is None else max(bound, self._least(form, load))
            if load is not None and least < math.inf:
                heapq.heappush(self.open, (least, next(self.numbers), form, load))

    def _look_at(self, form: Form, load: Load, bound: float) -> None:
        """The best plan of a form among the cuts that are tried."""
        if form.stages == 1:
            self._offer(form, load, (0, len(self.space.graph.layers)))
            if self.space.question.sure is not None and bound < self.goal * CLOSE:
                # Among others in flight, as fewer replicas have them, the same may be surer.
                self.left = min(self.left, bound)
            return
        least = self.streams.tightened(form, load.most)
        if least is None:
            return
        bound = max(bound, self._least(form, least))
        if bound >= self.goal * CLOSE:
            return
        at = self.streams.moment(form, max(1, form.in_flight))
        for borders in self.space.cuts_to_try(form, at):
            self._offer(form, load, borders)
        if bound < self.goal * CLOSE:
            self.left = min(self.left, bound)

    def _rate(self, form: Form, load: Load) -> float:
        """Of each replica: what is given, else the least that limits ask for."""
        replicas = self.space.most_replicas(form)
        if not self.candidates.opens_rate:
            return self.space.rate / replicas
        rate = HARDLY * load.most_requests_per_s
        output = self.space.workload.output_tokens
        per_chip = self.candidates.basis.per_chip()
        for name, limit in self.space.question.limits:
            if name in ("tokens_per_s", "requests_per_s"):
                wanted = limit / output if name == "tokens_per_s" else limit
                rate = max(rate, wanted / replicas)
            if name in PER_TOKEN:
                worst = self.candidates.canonical(name, limit)
                rate = max(rate, per_chip[name] * form.chips / worst)
        return rate

    def _least(self, form: Form, load: Load) -> float:
        """The percentile where a form has such times; infinite where a promise is broken."""
        busy = load.at(self._rate(form, load))
        margins = self.streams.margins(form, busy)
        fewest = self.streams.with_fewest_places(form, busy)
        if fewest.most < busy.most:
            return self._least_with_any_places(form, busy, fewest)
        places = [busy]
        if form.stages > 1 and self.asked.field != "ttft_s":
            places += self.streams.with_fewer_places(busy)
        kept = [one for one in places if self.streams.keeps(one, margins)]
        return min((one.percentile(*self.asked) for one in kept), default=math.inf)

    def _least_with_any_places(self, form: Form, most: Load, fewest: Load) -> float:
        """The same of a range of micro-batches that leave unlike numbers of places."""
        if not self.streams.may(form, most):
            return math.inf
        field, probability = self.asked
        if field == "ttft_s":
            return most.percentile(field, probability)
        # A request takes no less than its later tokens.
        later = [fewest, *self.streams.with_fewer_places(fewest)] if form.stages > 1 else [fewest]
        least = min(one.percentile("tpot_s", probability) for one in later)
        return least if field == "tpot_s" else least * most.later_tokens

    def _offer(self, form: Form, load: Load, borders: tuple[int, ...]) -> None:
        """A plan, where it is better than the best so far."""
        replicas = self.space.most_replicas(form)
        found = Found(Span(form, replicas, 1, 1), replicas, 0.0, borders)
        for number in self.streams.micro_batches_of(form, load.most):
            plan = self.space.to_plan(found).replace(micro_batches=number, batch_size=None)
            if self._takes(form, plan):
                return

    def _takes(self, form: Form, plan: Plan) -> bool:
        """Whether a plan keeps all limits; the best so far where none was better."""
        try:
            exact = self.candidates.load_of(plan)
        except (InfeasibleError, InputError):
            return False
        busy = exact.at(self._rate(form, exact))
        if not self.streams.keeps(busy):
            return False
        value = busy.percentile(*self.asked)
        rate = busy.requests_per_s * plan.replicas
        if value >= self.goal:
            return False
        if self.streams.limits_more and not self.candidates.keeps_limits(plan, rate, TOLD):
            return False
        if self.candidates.opens_rate:
            plan = plan.replace(requests_per_s=rate)
        self.best = Best(plan, value)
        return True
