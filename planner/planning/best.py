"""The best plan of a search so far."""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

from planner.plan import Plan

N = TypeVar("N", bound=Plan)


@dataclass
class Best(Generic[N]):
    """The best plan so far, and its canonical value."""

    plan: N | None = None
    value: float = math.inf
