"""What every search over plans under a Poisson stream of requests keeps: its forms and the least
that their times can be, the bound of what it could not decide, and what ended it."""

import math
from collections.abc import Callable
from functools import cached_property

from planner.answers.proof import StoppedBy
from planner.planning.limited import LimitedCourse
from planner.planning.search import CLOSE, Progress
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace
from planner.space.streams import Streams


class StreamSearch(LimitedCourse):
    """A search over forms of plans, each bounded by the least that its times can be."""

    engine_value = math.inf
    """Of a wider space alone; see `FreeSearch`."""

    def __init__(
        self,
        candidates: Candidates,
        *,
        time_limit_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        enough: float = -math.inf,
        hopeless: float = math.inf,
    ) -> None:
        super().__init__(
            candidates,
            time_limit_s=time_limit_s,
            progress=progress,
            enough=enough,
            hopeless=hopeless,
        )
        self.left = math.inf
        """Bound of what could not be decided."""
        self.spread = False
        """Whether all forms are among those that are open."""

    @cached_property
    def space(self) -> EngineSpace:
        """Made while the clock runs: of a large machine that takes a while."""
        return EngineSpace(self.candidates)

    @cached_property
    def streams(self) -> Streams:
        """Likewise."""
        return Streams(self.space)

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.interrupted:
            return "interrupt"
        if self.bound >= self.goal * CLOSE:
            return "proof"
        return "beam" if self.left < self.goal * CLOSE else "time"
