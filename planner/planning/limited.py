"""What every search over plans of one machine does where its time is limited: a plan at once, a
better one among few ways of splitting a stage, and a bound of all plans where telling them apart
takes long.

None of it touches what a search finds and proves when it comes to its end.
"""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from planner import allowance
from planner.errors import TimeUpError
from planner.plan import Plan
from planner.planning.best import Best
from planner.planning.first_plans import few_splits, first_plan, soon
from planner.planning.floors import floor_of
from planner.planning.search import Course
from planner.space.candidates import Candidates

T = TypeVar("T")

FEW_S, FEW_SHARE = 0.6, 0.3
"""What a search among few splits may take of the time that is left: seconds, and a share."""
FLOOR_AFTER, FLOOR_SHARE = 0.1, 0.9
"""Shares of the time that is left: how long plans are told apart before a bound of all is looked
for, and how long that may take."""


class LimitedCourse(Course[Plan]):
    """A search over plans of one machine."""

    candidates: Candidates
    is_part = False
    """Whether it searches on behalf of another, which knows a plan and a bound of its own."""

    def early(self) -> Best[Plan]:
        # No search follows, so that all the time is for few splits.
        with allowance.until(self.deadline), suppress(TimeUpError):
            return self._among_few(math.inf, 1.0)
        return Best()

    def _soon(self) -> Best[Plan]:
        known = self._at_once()
        better = self._among_few(FEW_S, FEW_SHARE)
        return better if better.value < known.value else known

    def _at_once(self) -> Best[Plan]:
        """The best of the first few plans that come to mind."""
        return soon(self.candidates)

    def _at_last(self) -> Best[Plan]:
        return first_plan(self.candidates)

    def _among_few(self, most_s: float, share: float) -> Best[Plan]:
        """The best plan of few splits, as far as a part of the time goes; none where there is no
        limit to it."""
        with allowance.in_part(most_s, share) as is_limited:
            if not is_limited:
                return Best()
            few = self._like(few_splits(self.candidates), time_limit_s=allowance.left_s())
            few.is_part = True
            with suppress(TimeUpError):
                few._run_as_part()
            return few.best

    def _run_as_part(self) -> None:
        """Find a plan for the search that this one is a part of."""
        self._run()

    def _like(self, candidates: Candidates, **options: Any) -> "LimitedCourse":
        """A search like this one over other plans."""
        return type(self)(candidates, enough=self.enough, hopeless=self.hopeless, **options)

    def _with_floor(self, told: Iterable[T]) -> Iterator[T]:
        """All that is told apart, one after the other; where that takes long, a bound of all plans
        is found in between."""
        left_s = None if self.is_part or self.floor else self.left_s
        after = None if left_s is None else time.monotonic() + FLOOR_AFTER * left_s
        for one in told:
            if after is not None and time.monotonic() >= after:
                after = None
                self._find_floor()
            yield one

    def _find_floor(self) -> None:
        """A bound of all plans, as far as a part of the time goes."""
        left_s = self.left_s
        assert left_s is not None
        with suppress(TimeUpError), allowance.until(time.monotonic() + FLOOR_SHARE * left_s):
            self.floor = max(self.floor, floor_of(self.candidates))
