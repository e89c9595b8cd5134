"""`partition_operators`: any DAG of operators on its devices, for throughput or latency; and
simple rules to compare with."""

import math
import time
from collections.abc import Callable, Iterable

from planner import allowance
from planner.answers.proof import gap_between
from planner.answers.results import Mode, Spread
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, PlannerError
from planner.guards import guarded
from planner.models.operator_graph import OperatorGraph
from planner.solver.dag import portfolio
from planner.solver.dag.problem import GraphProblem, Placement, faults, latency, loads
from planner.units import PositiveBytes, Seed


@guarded
@allowance.allowing
def partition_operators(
    graph: OperatorGraph,
    *,
    mode: Mode = "throughput",
    contiguous: bool = True,
    most_copies: int = 1,
    time_limit_s: float = 60.0,
    memory_limit_bytes: PositiveBytes | None = None,
    seed: Seed = 0,
) -> Spread:
    """The best devices for the operators of a graph.

    Throughput: the least largest load of a device, where outputs that cross its border count once
    for each producer; `contiguous` asks that forward edges order the devices, as in a pipeline;
    there a stage may be replicated over up to `most_copies` devices of one class, which take
    samples in turn where that pays. Latency: the least time of one sample, where each device that
    pays for transfers runs one contiguous piece, and hosts run operators side by side.

    InfeasibleError: proved that the devices do not hold the graph. NoPlanFoundError: nothing was
    found in time.
    """
    if not time_limit_s > 0:
        raise InputError(f"time_limit_s must be above 0, not {time_limit_s}")
    _check_copies(most_copies, contiguous and mode == "throughput")
    solve = _solver_for(mode, contiguous)
    started = time.monotonic()
    problem = graph.to_problem().replicated(most_copies)
    placement = solve(problem, time_limit_s=time_limit_s, seed=seed)
    if placement.device is None:
        raise _none_found(problem, placement.bound, time_limit_s)
    names = _names(graph, problem, placement.device)
    used = loads(problem, placement.device)
    places = sorted(set(placement.device))
    gap = gap_between(placement.objective, placement.bound)
    optimal = gap <= portfolio.ACCURACY
    return Spread(
        devices=tuple(names[place] for place in placement.device),
        mode=mode,
        contiguous=contiguous or mode == "latency",
        status="optimal" if optimal else "feasible",
        objective=placement.objective,
        bound=placement.bound,
        gap=gap,
        loads=tuple((names[place], float(used[place])) for place in places),
        elapsed_s=time.monotonic() - started,
        stopped_by="proof" if optimal else "interrupt" if allowance.is_interrupted() else "time",
    )


def _check_copies(most_copies: int, in_stages: bool) -> None:
    if most_copies < 1:
        raise InputError(f"most_copies must be at least 1, not {most_copies}")
    if most_copies > 1 and not in_stages:
        raise InputError(
            "most_copies above 1 is for contiguous stages and throughput; leave it out"
        )


def _solver_for(mode: Mode, contiguous: bool) -> Callable[..., Placement]:
    if mode == "latency":
        return portfolio.soonest
    if mode == "throughput":
        return portfolio.contiguous if contiguous else portfolio.free
    raise InputError(f"mode must be throughput or latency, not {mode!r}")


def _none_found(problem: GraphProblem, bound: float, time_limit_s: float) -> PlannerError:
    """That nothing fits, where the bound proves it; else that time ran out."""
    if math.isinf(bound):
        there = problem.counts > 0  # no devices of unlimited memory hold nothing
        return InfeasibleError(
            "the operators do not fit into the memory of the devices, however they are placed",
            resource="memory",
            demand=float(problem.sizes.sum()),
            capacity=float((problem.capacity[there] * problem.counts[there]).sum()),
        )
    return NoPlanFoundError(
        f"no assignment was found in {time_limit_s:g} s; give more time_limit_s"
    )


def _names(graph: OperatorGraph, problem: GraphProblem, device: Iterable[int]) -> dict[int, str]:
    """Of the devices that are used: those of a class are given out in the order of their first
    operators."""
    names: dict[int, str] = {}
    if not problem.copies or max(problem.copies) == 1:
        return dict(enumerate(graph.device_names))
    given = [0] * len(graph.devices)
    for place in dict.fromkeys(device):
        kind, copies = problem.groups[problem.devices[place]]
        first, name = given[kind], graph.devices[kind].name
        given[kind] += copies
        names[place] = f"{name}{first}"
        if copies > 1:
            names[place] += f"…{name}{first + copies - 1}"
    return names


@guarded
def rules_of_thumb(graph: OperatorGraph, *, mode: Mode = "throughput") -> dict[str, float]:
    """What simple rules reach, to compare `partition_operators` with: contiguous stages of equal
    numbers of operators, equal bytes or equal times, and a greedy filling. Infinite where the rule
    breaks a limit."""
    problem = graph.to_problem()
    throughput = mode == "throughput"
    reached = {}
    for name, device in portfolio.by_rules(problem).items():
        if faults(problem, device, contiguous=throughput):
            reached[name] = math.inf
        elif throughput:
            reached[name] = float(loads(problem, device).max())
        else:
            reached[name] = latency(problem, device)
    return reached
