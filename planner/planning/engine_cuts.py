"""CP-SAT's word on where the layers of an engine's plan are cut.

The problem of one form and one batch is stated once more, in the arrays of `Candidates` that the
free search solves, with one split and as many runs as there are stages: nothing of it is shared with
`solver.chain.cuts`.
"""

import itertools
from dataclasses import replace

from planner.solver.chain import cpsat
from planner.solver.chain.problem import ChainProblem
from planner.space.boxes import Box
from planner.space.engine_space import EngineSpace, Found


def cut_by_cpsat(
    space: EngineSpace, found: Found, time_limit_s: float, seed: int
) -> tuple[Found, float]:
    """The plan of the same form and batch with the cut that CP-SAT finds, and the canonical value
    that it proves no cut to be below; the plan that was found, and its value, where CP-SAT cannot
    state the problem."""
    problem = problem_of(space, found)
    if problem is None or not cpsat.supports(problem):
        return found, found.value
    hint = tuple((tail, head, 0) for tail, head in itertools.pairwise(found.borders))
    solution = cpsat.solve(
        problem,
        hint=hint,
        time_limit_s=max(0.0, time_limit_s),
        seed=seed,
        runs=found.span.form.stages,
    )
    if solution.runs is None or solution.objective >= found.value:
        return found, solution.bound
    borders = (0, *(run.head for run in solution.runs))
    return found._replace(borders=borders, value=solution.objective), solution.bound


def problem_of(space: EngineSpace, found: Found) -> ChainProblem | None:
    """The solver's arrays for all cuts of a form at one batch; None where they do not know where
    its stages stand, since some chips are out of use."""
    if space.candidates.exclude:
        return None
    batch = space.batch_of([found.span], last=False)
    micro_batches, each = int(batch.micro_batches[0]), int(batch.micro_sequences[0])
    settled = space.rate or space.workload.phase == "prefill"
    whole = None if settled else found.replicas * int(batch.sequences[0])
    given = space.batch_size if space.batch_size is not None else whole
    box = Box(found.replicas, given, (micro_batches, micro_batches), (each, each))
    problem = space.candidates.under(found.span.form.split).to_problem(box)
    if problem is None:
        return None
    return replace(problem, feasible=problem.feasible & space.may_run)
