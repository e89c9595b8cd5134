"""planner: spread a model over a machine, price it in seconds, joules and dollars, and prove that
no better spread exists.

    import planner as pl

    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    topology = pl.load_topology("hgx-h100", chips=8)
    workload = pl.Workload(batch_size=8, prompt_tokens=1024, output_tokens=256)
    print(pl.partition(graph, topology, workload, minimize="tpot_s"))

Names load when they are first used, so that importing the package is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    PlannerError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from planner.answers.certificates import Certificate, ClusterCertificate, Verdict
    from planner.answers.fronts import Front
    from planner.answers.results import (
        ClusterResult,
        Disaggregation,
        Fleet,
        Move,
        Pairing,
        Replanning,
        Result,
        Spread,
    )
    from planner.answers.sizings import SizedMachine, Sizing
    from planner.catalogue import (
        cluster_names,
        load_cluster,
        load_model,
        load_topology,
        model_names,
        software_names,
        topology_names,
    )
    from planner.launches.commands import read_command
    from planner.launches.launch import Launch, Reading
    from planner.launches.scoring import CommandScore, score_command
    from planner.machines.cluster import Cluster, Pool, PooledPlan, PooledStage, PoolLink
    from planner.machines.prices import Economics
    from planner.machines.software import Software
    from planner.machines.topology import Chip, Fabric, MemoryTier, Topology, with_value
    from planner.models.graph import Layer, ModelGraph
    from planner.models.operator_graph import DeviceClass, Operator, OperatorGraph
    from planner.plan import ChipRange, PairedPlan, Plan, Stage
    from planner.planning.certificates import verify
    from planner.planning.clusters import partition_cluster
    from planner.planning.disaggregation import disaggregate
    from planner.planning.fleets import partition_fleet
    from planner.planning.fronts import pareto
    from planner.planning.pairing import disaggregate_attention
    from planner.planning.partitioning import partition
    from planner.planning.placement import partition_operators, rules_of_thumb
    from planner.planning.replanning import moved_bytes, replan
    from planner.planning.sizing import fewest_chips
    from planner.pricing.collectives import collective_s
    from planner.pricing.grids import decode_grid_s
    from planner.readers.operator_file import load_operators
    from planner.scoring.checking import Violation, check_plan
    from planner.scoring.clusters import check_pooled_plan, score_pooled_plan
    from planner.scoring.disaggregated import DisaggregatedScore, Link, score_disaggregated
    from planner.scoring.pairs import PairedScore, score_pairing
    from planner.scoring.plans import score_plan
    from planner.scoring.score import Score
    from planner.space.degrees import uniform_plan
    from planner.space.uniform import PlanGrid, plan_grid
    from planner.workload import Speculation, Workload

__version__ = "0.1.0"

_HOMES = {
    "planner.answers.certificates": (
        "Certificate",
        "ClusterCertificate",
        "Verdict",
    ),
    "planner.answers.fronts": ("Front",),
    "planner.answers.results": (
        "ClusterResult",
        "Disaggregation",
        "Fleet",
        "Move",
        "Pairing",
        "Replanning",
        "Result",
        "Spread",
    ),
    "planner.answers.sizings": (
        "SizedMachine",
        "Sizing",
    ),
    "planner.catalogue": (
        "cluster_names",
        "load_cluster",
        "load_model",
        "load_topology",
        "model_names",
        "software_names",
        "topology_names",
    ),
    "planner.launches.commands": ("read_command",),
    "planner.launches.launch": (
        "Launch",
        "Reading",
    ),
    "planner.launches.scoring": (
        "CommandScore",
        "score_command",
    ),
    "planner.machines.cluster": (
        "Cluster",
        "Pool",
        "PoolLink",
        "PooledPlan",
        "PooledStage",
    ),
    "planner.machines.prices": ("Economics",),
    "planner.machines.software": ("Software",),
    "planner.machines.topology": (
        "Chip",
        "Fabric",
        "MemoryTier",
        "Topology",
        "with_value",
    ),
    "planner.models.graph": (
        "Layer",
        "ModelGraph",
    ),
    "planner.models.operator_graph": (
        "DeviceClass",
        "Operator",
        "OperatorGraph",
    ),
    "planner.plan": (
        "ChipRange",
        "PairedPlan",
        "Plan",
        "Stage",
    ),
    "planner.planning.certificates": ("verify",),
    "planner.planning.clusters": ("partition_cluster",),
    "planner.planning.disaggregation": ("disaggregate",),
    "planner.planning.fleets": ("partition_fleet",),
    "planner.planning.fronts": ("pareto",),
    "planner.planning.pairing": ("disaggregate_attention",),
    "planner.planning.partitioning": ("partition",),
    "planner.planning.placement": (
        "partition_operators",
        "rules_of_thumb",
    ),
    "planner.planning.replanning": (
        "moved_bytes",
        "replan",
    ),
    "planner.planning.sizing": ("fewest_chips",),
    "planner.pricing.collectives": ("collective_s",),
    "planner.pricing.grids": ("decode_grid_s",),
    "planner.readers.operator_file": ("load_operators",),
    "planner.scoring.checking": (
        "Violation",
        "check_plan",
    ),
    "planner.scoring.clusters": (
        "check_pooled_plan",
        "score_pooled_plan",
    ),
    "planner.scoring.disaggregated": (
        "DisaggregatedScore",
        "Link",
        "score_disaggregated",
    ),
    "planner.scoring.pairs": (
        "PairedScore",
        "score_pairing",
    ),
    "planner.scoring.plans": ("score_plan",),
    "planner.scoring.score": ("Score",),
    "planner.space.uniform": (
        "PlanGrid",
        "plan_grid",
    ),
    "planner.space.degrees": ("uniform_plan",),
    "planner.workload": (
        "Speculation",
        "Workload",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Certificate",
    "Chip",
    "ChipRange",
    "Cluster",
    "ClusterCertificate",
    "ClusterResult",
    "CommandScore",
    "DeviceClass",
    "DisaggregatedScore",
    "Disaggregation",
    "Economics",
    "Fabric",
    "Fleet",
    "Front",
    "InfeasibleError",
    "InputError",
    "Launch",
    "Layer",
    "Link",
    "MemoryTier",
    "ModelGraph",
    "Move",
    "NoPlanFoundError",
    "Operator",
    "OperatorGraph",
    "PairedPlan",
    "PairedScore",
    "Pairing",
    "Plan",
    "PlanGrid",
    "PlannerError",
    "Pool",
    "PoolLink",
    "PooledPlan",
    "PooledStage",
    "Reading",
    "Replanning",
    "Result",
    "Score",
    "SizedMachine",
    "Sizing",
    "Software",
    "Speculation",
    "Spread",
    "Stage",
    "Topology",
    "UnknownNameError",
    "Verdict",
    "Violation",
    "Workload",
    "check_plan",
    "check_pooled_plan",
    "cluster_names",
    "collective_s",
    "decode_grid_s",
    "disaggregate",
    "disaggregate_attention",
    "fewest_chips",
    "load_cluster",
    "load_model",
    "load_operators",
    "load_topology",
    "model_names",
    "moved_bytes",
    "pareto",
    "partition",
    "partition_cluster",
    "partition_fleet",
    "partition_operators",
    "plan_grid",
    "read_command",
    "replan",
    "rules_of_thumb",
    "score_command",
    "score_disaggregated",
    "score_pairing",
    "score_plan",
    "score_pooled_plan",
    "software_names",
    "topology_names",
    "uniform_plan",
    "verify",
    "with_value",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
