"""Where no plan holds all sequences that are asked for: how many the best ones hold, and the same
question with so many in flight and the others waiting.

A plan that holds more is preferred to one that holds fewer, whatever else it does: a field such as
the time per token would else be best where all but one wait. So the most that any plan holds is
found first; it is exact, since what holds a number of sequences holds any smaller one. All plans
that hold so many have as many in flight, and their wait is the same number of cycles.
"""

import math
import sys
import time

from planner.answers.results import Result
from planner.errors import NoPlanFoundError, TimeUpError
from planner.planning.engine_search import search_of
from planner.planning.refusals import smallest_chips
from planner.planning.search import Engine
from planner.pricing.holdings import largest
from planner.space.candidates import Candidates
from planner.workload import Workload

ANY_VALUE = sys.float_info.max
"""A value that any plan betters: the first one ends a search."""


def seated_spaces(
    every: list[Candidates], deadline: float = math.inf, engine: Engine = "auto"
) -> list[Candidates] | None:
    """The spaces of one question, each with as many sequences in flight as some plan of any of them
    holds, the others queued; None where one holds all of them, or none holds a single one.

    A NoPlanFoundError says that the clock ran out before that was known.
    """
    asked = every[0].workload.batch_size
    if asked is None or asked == 1:
        return None
    most = largest(lambda sequences: holds(every, sequences, deadline, engine), asked)
    if most in (0, asked):
        return None
    return [_with_workload(space, space.workload.seated(most)) for space in every]


def holds(
    every: list[Candidates], sequences: int, deadline: float = math.inf, engine: Engine = "auto"
) -> bool:
    """Whether a plan of one of some spaces holds so many sequences at once."""
    return any(_holds(space, sequences, deadline, engine) for space in every)


def waits(found: Result) -> bool:
    """Whether more clients of an answer wait for a place than were asked to."""
    return found.score.queued > found.workload.queued


def chips_that_seat(found: Result) -> int | None:
    """The fewest chips of the same machine on which nobody does; None where no number is enough."""
    space = Candidates(found.graph, found.topology, found.workload, found.question)
    return smallest_chips(space)


def _holds(space: Candidates, sequences: int, deadline: float, engine: Engine) -> bool:
    workload = space.workload.replace(batch_size=sequences, queued=0)
    left_s = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
    search = search_of(
        space.on(space.topology, workload, "chips"),
        engine=engine,
        nice=False,
        enough=ANY_VALUE,
        time_limit_s=left_s,
    )
    search.run()
    if search.best.plan is not None:
        return True
    if search.interrupted:
        raise TimeUpError(interrupted=True)
    if search.bound < math.inf:
        raise NoPlanFoundError(
            f"time ran out before it was known whether {sequences} sequences of {space.graph.name}"
            f" fit on {space.place} at once; nothing is proved: allow more time"
        )
    return False


def _with_workload(space: Candidates, workload: Workload) -> Candidates:
    return Candidates(space.graph, space.topology, workload, space.question, exclude=space.exclude)
