"""The oracle: every way of cutting the chain, every option for every run. Only for small chains."""

import math
from collections.abc import Iterator

from planner.solver.chain.problem import ChainProblem, Solution, evaluate, packed

Cuts = tuple[tuple[int, int, int], ...]


def solve(problem: ChainProblem) -> Solution:
    """The best solution, by trying them all; the first of several that are equally good."""
    best, best_value = None, math.inf
    for cuts in all_cuts(problem):
        runs = packed(problem, cuts)
        if runs is None:
            continue
        sums, peaks = evaluate(problem, runs)
        if any(
            float(limit.measure.value(sums, peaks)) > limit.most * (1 + 1e-12)
            for limit in problem.limits
        ):
            continue
        value = float(problem.objective.value(sums, peaks))
        if value < best_value:
            best, best_value = runs, value
    return Solution(best, best_value, best_value)


def all_cuts(problem: ChainProblem, tail: int = 0) -> Iterator[Cuts]:
    """Every sequence of feasible runs from an item to the end."""
    if tail == problem.items:
        yield ()
        return
    for head in range(tail + 1, problem.items + 1):
        for option in range(problem.options):
            if problem.feasible[option, tail, head]:
                for rest in all_cuts(problem, head):
                    yield ((tail, head, option), *rest)
