"""Where one machine's advantage over another ends as models grow."""

import itertools
import math
from collections.abc import Callable
from typing import Literal

from planner.catalogue import load_topology
from planner.dtypes import Dtype
from planner.errors import InfeasibleError, UnknownNameError
from planner.planning import Result, partition
from planner.questions import FIELDS
from planner.records import Record
from planner.studies.family import dense_family
from planner.topology import Topology
from planner.workload import Workload

ONE_REQUEST = Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)
ROOM = 4
"""Where that is more than the machine has, the solver may take so many times the chips that weights and caches fill."""
SIZES = tuple(8e9 * 10 ** (step / 8) for step in range(20))
"""Where the sign of the advantage is looked at first: 8 B to 1.9 T."""
CLOSE = 1e-3
"""Relative: how narrow the root is bracketed."""


class Point(Record):
    """Two machines at one size."""

    parameters: float
    first: float | None
    """The metric on the first machine; None where the model does not fit it."""
    second: float | None

    @property
    def advantage(self) -> float | None:
        """How many times better the first machine is; None where either has no plan."""
        return None if self.first is None or self.second is None else self.second / self.first


class Crossover(Record):
    """Where the first machine stops, or starts, being the better one."""

    first: str
    second: str
    metric: str
    params: float | None
    """Parameters at which both are equal; None where one wins throughout."""
    winner_below: str | None
    winner_above: str | None
    points: tuple[Point, ...]
    """All sizes that were priced, ascending."""


def best_plan(
    parameters: float,
    topology: Topology,
    workload: Workload,
    metric: str,
    *,
    weight_dtype: Dtype = "bf16",
    limits: dict[str, float] | None = None,
) -> Result | None:
    """The best plan of the family's model of that size on as many chips of a machine as it likes: those that it has, or
    ROOM times those that the weights and the users' caches fill; None where it fits no number of them."""
    graph = dense_family(parameters, weight_dtype=weight_dtype)
    caches = (workload.batch_size or 1) * workload.context_tokens * graph.kv_bytes_per_token
    least = math.ceil((graph.weight_bytes + caches) / topology.chip.memory[0].capacity_bytes)
    chips = min(topology.limit_chips, max(topology.chips, ROOM * least))
    direction = "minimize" if FIELDS[metric].best == "least" else "maximize"
    options = {direction: metric}
    try:
        return partition(graph, topology.replace(chips=chips), workload, limits=limits, **options)  # type: ignore[arg-type]
    except InfeasibleError:
        return None


def crossover(
    first: str | Topology,
    second: str | Topology,
    *,
    metric: str = "energy_per_token_j",
    workload: Workload | None = None,
    weight_dtype: Dtype = "bf16",
    family: Literal["dense"] = "dense",
) -> Crossover:
    """The number of parameters at which two machines, each with its best plan, cost the same for one token.

    `first` and `second` are names of the catalogue or topologies; `workload` defaults to one request of 1,024 + 256
    tokens. Sizes from 8 B to 1.9 T are scanned for the first change of sign, which is then bisected.
    """
    if metric not in FIELDS:
        raise UnknownNameError("field to compare", metric, FIELDS)
    if family != "dense":
        raise UnknownNameError("family of models", family, ("dense",))
    machines = [load_topology(one) if isinstance(one, str) else one for one in (first, second)]
    work = workload or ONE_REQUEST
    known: dict[float, Point] = {}

    def point(parameters: float) -> Point:
        if parameters not in known:
            values = [_better_low(best_plan(parameters, m, work, metric, weight_dtype=weight_dtype)) for m in machines]
            known[parameters] = Point(parameters=parameters, first=values[0], second=values[1])
        return known[parameters]

    bracket = _bracket([point(size) for size in SIZES])
    root = None if bracket is None else _bisected(point, *bracket)
    ordered = tuple(known[size] for size in sorted(known))
    below, above = _winner(ordered[0], machines), _winner(ordered[-1], machines)
    return Crossover(
        first=machines[0].name, second=machines[1].name, metric=metric, params=root, winner_below=below,
        winner_above=above, points=ordered,
    )  # fmt: skip


def _better_low(result: Result | None) -> float | None:
    """The objective so that less is better."""
    if result is None:
        return None
    return result.objective if result.direction == "minimize" else 1.0 / result.objective


def _bracket(points: list[Point]) -> tuple[float, float] | None:
    """The first two neighbouring sizes between which the advantage changes sides."""
    for before, after in itertools.pairwise(points):
        if before.advantage is None or after.advantage is None:
            continue
        if (before.advantage > 1) != (after.advantage > 1):
            return before.parameters, after.parameters
    return None


def _bisected(point: Callable[[float], Point], low: float, high: float) -> float:
    side = _wins(point(low))
    while high / low > 1 + CLOSE:
        middle = math.sqrt(low * high)
        if _wins(point(middle)) == side:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _wins(point: Point) -> bool:
    return point.advantage is not None and point.advantage > 1


def _winner(point: Point, machines: list[Topology]) -> str | None:
    if point.first is None or point.second is None:
        return None
    return machines[0].name if point.first < point.second else machines[1].name
