"""How far a question is, told from the process that works on it."""

from planner.doors.telling import so_far_told
from planner.planning.search import Progress
from planner.studies.sweeps.workers import tell

PAUSE_S = 0.25
"""Between what is told."""


class Herald:
    """Tells what a search says of itself, not too often."""

    def __init__(self, field: str, where: str = "") -> None:
        self._field = field
        self._where = where
        self._next_s = PAUSE_S

    def __call__(self, progress: Progress) -> None:
        if progress.elapsed_s >= self._next_s:
            self._next_s = progress.elapsed_s + PAUSE_S
            tell(so_far_told(self._field, progress.objective, progress.bound, self._where))
