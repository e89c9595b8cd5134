"""A result proved once more, by OR-Tools CP-SAT from the question alone.

Of the result nothing is used but the question: neither its plan nor its value, not even as a goal
(see `planning.row_search`). Half a proof is one by one method; two that share no more than the list
of forms and the price list are a whole one.
"""

import math
import time
from dataclasses import replace
from typing import NamedTuple

from planner.answers.certificates import Certificate
from planner.answers.question import Question
from planner.errors import InputError
from planner.scoring.score import Score
from planner.space.candidates import Candidates


class Again(NamedTuple):
    """What CP-SAT found and proved, in the field's own unit."""

    value: float | None
    """Of the best plan that it found."""
    bound: float | None
    """None where it proved nothing in time."""
    rows: int


NOT_AGAIN = Again(None, None, 0)


def check_statable(certificate: Certificate) -> None:
    """An InputError where CP-SAT is told no such question."""
    software = certificate.topology.software
    remedy = "verify it without --again"
    if certificate.graph.is_diffusion:
        raise InputError(
            f"a diffusion model needs no second proof, since all its plans are scored; {remedy}"
        )
    if any(stage.offloaded for stage in certificate.plan.stages):
        raise InputError(
            f"CP-SAT cannot check plans with layers off the chips' first memory; {remedy}"
        )
    if certificate.space != "engine" or not software.engine.is_known:
        raise InputError(
            "CP-SAT checks only proofs over plans that a known engine can run, and this one is over"
            f" any plan (Certificate.space is {certificate.space!r}, on {software.name}); {remedy}"
        )


def proved_again(
    certificate: Certificate, question: Question, score: Score, time_limit_s: float | None
) -> Again:
    """What CP-SAT makes of the question; where some sequences wait, also that no plan has more of
    them in flight."""
    # OR-Tools takes longer to load than most certificates to check.
    from planner.planning.row_search import RowSearch

    graph, topology, workload = certificate.graph, certificate.topology, certificate.workload
    deadline = math.inf if time_limit_s is None else time.monotonic() + time_limit_s
    rows = 0
    if score.batch_size < (workload.batch_size or 0):
        workload = workload.seated(score.batch_size)
        more = workload.replace(batch_size=workload.next_batch, queued=0)
        asked = replace(question, objective="chips", limits=())
        room = RowSearch(Candidates(graph, topology, more, asked), time_limit_s=time_limit_s)
        room.run()
        rows = room.rows
        if room.bound < math.inf:
            return Again(None, None, rows)
    candidates = Candidates(graph, topology, workload, question)
    left_s = None if time_limit_s is None else max(0.0, deadline - time.monotonic())
    search = RowSearch(candidates, time_limit_s=left_s, nice=False)
    search.run()
    told = candidates.field_value
    found = search.best.plan is not None
    value = told(question.objective, search.best.value) if found else None
    proved = 0 < search.bound < math.inf
    bound = told(question.objective, search.bound) if proved else None
    return Again(value, bound, rows + search.rows)
