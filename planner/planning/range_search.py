"""The search over plans that differ in how many micro-batches are in flight, where an engine leaves
that free: first ranges of them, cut up where they may hold a plan that is better.

A range is worth no more than the rate up to which the least that its times can be keep all
promises; the best of those is looked at first. At a rate that is given, what counts is how few
replicas each of which keeps its promises at its share of it.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

from planner.errors import InfeasibleError, InputError
from planner.planning.best import Best
from planner.planning.rate_search import RateSearch, Served
from planner.planning.search import CLOSE
from planner.space.candidates import Candidates
from planner.space.forms import Form, forms_of, parts

MOST_TRIED = 8
"""Forms of which all cuts are told apart, at most."""
Known = Literal["room", "promises", "cuts"]
"""What a bound counts: what is served with no time to spare; what is promised; the least that each
load of any cut can be."""

GUESSES = 2
"""Cuts of a guessed plan."""
FAR = 0.98
"""Of the best value so far: ranges that may hold a better one yet are worth a guess."""


class RangeSearch(RateSearch):
    """The best plan at the greatest rate, or at one that is given, and what is proved about it."""

    def __init__(self, candidates: Candidates, **options: Any) -> None:
        super().__init__(candidates, **options)
        self.queue: list[tuple[float, int, Served, Known]] = []
        """Bound, number, form, and what the bound counts."""
        self.numbers = itertools.count()
        self.tried = 0
        """Forms all of whose cuts were told apart."""

    def _bounds_left(self) -> list[float] | None:
        first = [one[0] for one in self.queue[:1]]
        return [self.opening, self.left, *first] if self.spread else None

    def _run(self) -> None:
        for forms in self._with_floor(forms_of(self.candidates, in_ranges=True)):
            for served in self._served(forms):
                self._push(served, "room")
        self.spread = True
        while self.queue and not self._is_over():
            bound, _, served, known = self.queue[0]
            if bound >= self.goal * CLOSE or self.best.value <= self.enough:
                break
            self.opening = bound
            heapq.heappop(self.queue)
            self._open(served, known)
            self.opening = math.inf
            self.tell(len(self.queue))

    def _is_over(self) -> bool:
        return time.monotonic() >= self.deadline

    def _push(self, served: Served, known: Known) -> None:
        if served.bound < self.goal * CLOSE:
            heapq.heappush(self.queue, (served.bound, next(self.numbers), served, known))

    def _served(self, forms: list[Form]) -> Iterator[Served]:
        kept = self.streams.fitting(forms)
        for served in super()._served(kept) if kept else ():
            most = self.streams.most_in_rounds_per_s(served.form, served.load.most)
            bound = self._value(served, min(most, served.load.most_requests_per_s))
            yield served._replace(bound=max(served.bound, bound))

    def _open(self, served: Served, known: Known) -> None:
        """Tell what a form is worth at most; then cut it up, or find its best plan."""
        if known == "room":
            value = self._least_value(served, served.load)
            self._push(served._replace(bound=max(served.bound, value)), "promises")
        elif served.form.is_range:
            if served.bound < self.goal * FAR:
                self._guess(served)
            for part in self._served(parts(served.form)):
                # What holds of a range holds of its parts.
                self._push(part._replace(bound=max(part.bound, served.bound)), "room")
        elif known == "promises":
            self._look_at(served)
        elif self.tried < MOST_TRIED:
            self.tried += 1
            super()._try_all_cuts(served)
        else:
            self.left = min(self.left, served.bound)

    def _try_all_cuts(self, served: Served) -> None:
        """That takes long: later, where no other form is worth more."""
        self._push(served, "cuts")

    def _guess(self, served: Served) -> None:
        """A plan of a range, so that few others need a look: with a micro-batch for each stage, or
        as near to that as can be."""
        form = served.form
        likely = max(form.fewest, min(form.stages, form.in_flight))
        single = replace(form, fewest=0, in_flight=likely)
        for one in self._served([single]):
            if not self._may_be_better(one):
                continue
            rate = self._rate_for(one, self.goal) or one.load.most_requests_per_s / 2
            for borders in itertools.islice(self._cuts(single, rate, one.load), GUESSES):
                self._offer(one, borders)


class ReplicaSearch(RangeSearch):
    """The plan with the fewest replicas of its form that keep up with a rate, where that makes what
    is asked for best."""

    def _each(self, served: Served) -> float:
        """Canonical value of a replica."""
        objective = self.space.objective
        return self.candidates.basis.per_chip()[objective] * served.form.chips

    def _value(self, served: Served, rate: float) -> float:
        """Canonical, of as many replicas as are sent no more than a rate each."""
        replicas = self._wanted(rate)
        if replicas > self.space.most_replicas(served.form):
            return math.inf
        return self._each(served) * replicas

    def _wanted(self, rate: float) -> int:
        return max(1, math.ceil(self.space.rate / rate * (1 - 1e-12)))

    def _most_of_use(self, served: Served, goal: float) -> int:
        """Replicas of a form that are worth more than a goal."""
        most = self.space.most_replicas(served.form)
        if goal == math.inf:
            return most
        return min(most, math.ceil(goal * CLOSE / self._each(served)) - 1)

    def _rate_for(self, served: Served, goal: float) -> float:
        """Of each replica, at which a form is better than a goal."""
        replicas = self._most_of_use(served, goal)
        return self.space.rate / replicas if replicas > 0 else math.inf

    def _offer(self, served: Served, borders: tuple[int, ...]) -> None:
        """As few replicas as keep all promises, where that is better than the best so far."""
        most = self._most_of_use(served, self.goal)
        if most < 1:
            return
        number = self.streams.micro_batches_of(served.form, served.load.most)[0]
        plan = self._plan(served, borders, number)
        try:
            # One alone might have more to do than it can, which leaves nothing to be told.
            several = self._plan(served._replace(replicas=most), borders, number)
            load = self.candidates.load_of(several)
        except (InfeasibleError, InputError):
            return
        if load.most < 1:
            return
        exact = served._replace(load=load, replicas=1)

        def keeps(replicas: int) -> bool:
            return self._keeps(exact, plan, self.space.rate / replicas)

        fewest = _fewest(keeps, 1, most)

        def value(replicas: int) -> float:
            several = self._plan(exact._replace(replicas=replicas), borders, number)
            return self.candidates.allowed_value(several)

        fewest = _fewest(lambda one: value(one) < math.inf, fewest, most)
        if fewest > most:
            return
        found = self._plan(exact._replace(replicas=fewest), borders, number)
        self.best = min(self.best, Best(found, value(fewest)), key=lambda one: one.value)


def _fewest(keeps: Callable[[int], bool], low: int, high: int) -> int:
    """The fewest of some numbers with which all is kept, as with all above it; beyond the last of
    them where it is with none."""
    if low > high or keeps(low):
        return low
    if not keeps(high):
        return high + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high
