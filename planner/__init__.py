"""planner: spread a model over a machine, price it in seconds, joules and dollars, and prove that no better spread exists.

    import planner as pl

    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    topology = pl.load_topology("hgx-h100", chips=8)
    workload = pl.Workload(batch_size=8, prompt_tokens=1024, output_tokens=256)
    print(pl.partition(graph, topology, workload, minimize="tpot_s"))

Names load when they are first used, so that importing the package is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from planner.errors import InfeasibleError, InputError, NoPlanFoundError, PlannerError, UnknownNameError

if TYPE_CHECKING:
    from planner.catalogue import (
        cluster_names,
        load_cluster,
        load_model,
        load_topology,
        model_names,
        software_names,
        topology_names,
    )
    from planner.machines.cluster import Cluster, Pool, PooledPlan, PooledStage, PoolLink
    from planner.machines.topology import Chip, Fabric, MemoryTier, Software, Topology, with_value
    from planner.models.graph import Layer, ModelGraph
    from planner.models.operator_graph import DeviceClass, Operator, OperatorGraph
    from planner.plan import ChipRange, Plan, Stage
    from planner.planning.certificates import Certificate, Verdict, verify
    from planner.planning.clusters import ClusterResult, partition_cluster
    from planner.planning.disaggregation import Disaggregation, disaggregate
    from planner.planning.fleets import Fleet, partition_fleet
    from planner.planning.fronts import Front, pareto
    from planner.planning.partitioning import Result, partition, uniform_plan
    from planner.planning.placement import Spread, partition_operators, rules_of_thumb
    from planner.planning.replanning import Move, Replanning, moved_bytes, replan
    from planner.pricing.grids import decode_grid_s
    from planner.readers.operator_file import load_operators
    from planner.scoring.checking import Violation, check_plan
    from planner.scoring.clusters import check_pooled_plan, score_pooled_plan
    from planner.scoring.disaggregated import DisaggregatedScore, Link, score_disaggregated
    from planner.scoring.plans import Score, collective_s, score_plan
    from planner.space.uniform import PlanGrid, plan_grid
    from planner.workload import Speculation, Workload

__version__ = "0.1.0"

_HOMES = {
    "planner.planning.certificates": ("Certificate", "Verdict", "verify"),
    "planner.scoring.checking": ("Violation", "check_plan"),
    "planner.planning.fleets": ("Fleet", "partition_fleet"),
    "planner.planning.fronts": ("Front", "pareto"),
    "planner.planning.disaggregation": ("Disaggregation", "disaggregate"),
    "planner.catalogue": (
        "cluster_names",
        "load_cluster",
        "load_model",
        "load_topology",
        "model_names",
        "software_names",
        "topology_names",
    ),
    "planner.machines.cluster": ("Cluster", "Pool", "PoolLink", "PooledPlan", "PooledStage"),
    "planner.planning.clusters": ("ClusterResult", "partition_cluster"),
    "planner.models.graph": ("Layer", "ModelGraph"),
    "planner.pricing.grids": ("decode_grid_s",),
    "planner.models.operator_graph": ("DeviceClass", "Operator", "OperatorGraph"),
    "planner.plan": ("ChipRange", "Plan", "Stage"),
    "planner.planning.partitioning": ("Result", "partition", "uniform_plan"),
    "planner.readers.operator_file": ("load_operators",),
    "planner.scoring.disaggregated": ("DisaggregatedScore", "Link", "score_disaggregated"),
    "planner.scoring.clusters": ("check_pooled_plan", "score_pooled_plan"),
    "planner.planning.replanning": ("Move", "Replanning", "moved_bytes", "replan"),
    "planner.scoring.plans": ("Score", "collective_s", "score_plan"),
    "planner.planning.placement": ("Spread", "partition_operators", "rules_of_thumb"),
    "planner.machines.topology": ("Chip", "Fabric", "MemoryTier", "Software", "Topology", "with_value"),
    "planner.space.uniform": ("PlanGrid", "plan_grid"),
    "planner.workload": ("Speculation", "Workload"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Certificate", "Chip", "ChipRange", "Cluster", "ClusterResult", "DeviceClass", "DisaggregatedScore", "Disaggregation",
    "Fabric", "Fleet", "Front", "InfeasibleError", "InputError", "Layer", "Link", "MemoryTier", "ModelGraph", "Move",
    "NoPlanFoundError", "Operator", "OperatorGraph", "Plan", "PlanGrid", "PlannerError", "Pool", "PoolLink", "PooledPlan",
    "PooledStage", "Replanning", "Result", "Score", "Software", "Speculation", "Spread", "Stage", "Topology", "UnknownNameError",
    "Verdict", "Violation", "Workload", "check_plan", "check_pooled_plan", "cluster_names", "collective_s", "decode_grid_s",
    "disaggregate", "load_cluster", "load_model", "load_operators", "load_topology", "model_names", "moved_bytes", "pareto",
    "partition", "partition_cluster", "partition_fleet", "partition_operators", "plan_grid", "replan", "rules_of_thumb",
    "score_disaggregated",
    "score_plan", "score_pooled_plan", "software_names", "topology_names", "uniform_plan", "verify", "with_value",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    import_module("planner.report.text")  # so that records know how to show themselves
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
