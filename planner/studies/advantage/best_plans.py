"""`best_plan`: the best of all plans for one model of a family on one machine, with as many chips as
it likes."""

import math

from planner.answers.question import FIELDS, Limits
from planner.answers.results import Result
from planner.errors import InfeasibleError
from planner.machines.engine import Space
from planner.machines.topology import PowerScope, Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.studies.advantage.family import Family, member
from planner.workload import Workload

ONE_REQUEST = Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)
ROOM = 4
"""Where that is more than the machine has, the solver may take so many times the chips that
weights and caches fill."""


def best_plan(
    parameters: float,
    topology: Topology,
    workload: Workload,
    metric: str,
    *,
    weight_dtype: Dtype = "bf16",
    limits: Limits | None = None,
    family: Family = "dense",
    space: Space = "engine",
    power_scope: PowerScope | None = None,
    time_limit_s: float | None = None,
) -> Result | None:
    """The best plan of the family's model of that size on as many chips of a machine as it
    likes: those that it has, or ROOM times those that the weights and the users' caches fill;
    None where it fits no number of them; a NoPlanFoundError where time ends first."""
    graph = member(family, parameters, weight_dtype)
    machine = with_room(graph, topology, workload)
    return best_on(
        graph,
        machine,
        workload,
        metric,
        limits=limits,
        space=space,
        power_scope=power_scope,
        time_limit_s=time_limit_s,
    )


def best_on(
    graph: ModelGraph,
    machine: Topology,
    workload: Workload,
    metric: str,
    *,
    limits: Limits | None = None,
    space: Space = "engine",
    power_scope: PowerScope | None = None,
    time_limit_s: float | None = None,
) -> Result | None:
    """The best plan on a machine as it stands; None where there is none."""
    is_least = FIELDS[metric].best == "least"
    try:
        return partition(
            graph,
            machine,
            workload,
            minimize=metric if is_least else None,
            maximize=None if is_least else metric,
            limits=limits,
            space=space,
            power_scope=power_scope,
            time_limit_s=time_limit_s,
        )
    except InfeasibleError:
        return None


def with_room(graph: ModelGraph, topology: Topology, workload: Workload) -> Topology:
    """The machine with as many chips as the model and its users may want of it."""
    caches = (workload.batch_size or 1) * workload.context_tokens * graph.kv_bytes_per_token
    least = math.ceil((graph.weight_bytes + caches) / topology.chip.memory[0].capacity_bytes)
    return topology.replace(chips=min(topology.limit_chips, max(topology.chips, ROOM * least)))
