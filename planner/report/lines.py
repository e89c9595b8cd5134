"""Records in one line each: what stands in the brackets of their `repr`."""

from planner.answers.certificates import Certificate, ClusterCertificate, Verdict
from planner.answers.fronts import Front
from planner.answers.misses import NearMiss
from planner.answers.proof import Answer
from planner.answers.reasons import Reasons
from planner.answers.results import (
    ClusterResult,
    Disaggregation,
    Fleet,
    Pairing,
    Replanning,
    Result,
)
from planner.answers.sizings import SizedMachine, Sizing
from planner.errors import listed
from planner.machines.cluster import Cluster
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import PairedPlan, Plan
from planner.report.plans import plan_line
from planner.report.words import field_text
from planner.scoring.disaggregated import DisaggregatedScore
from planner.scoring.pairs import PairedScore
from planner.scoring.score import Score
from planner.units import spoken, trimmed

MOST_NAMED = 4
"""Machines of a sizing, or pools of a cluster, that are named."""


def result_line(result: Result) -> str:
    """ "optimal, tpot_s = 6.8 ms, TP8, llama-3.1-8b on 8 × H100 of hgx-h100"."""
    where = f"{result.graph.name} on {_chips(result.topology)}"
    return f"{_found(result)}, {plan_line(result.plan)}, {where}"


def cluster_result_line(result: ClusterResult) -> str:
    return (
        f"{_found(result)}, {plan_line(result.plan)}, {result.graph.name} on {result.cluster.name}"
    )


def disaggregation_line(result: Disaggregation) -> str:
    prefill = f"prefill {plan_line(result.prefill_plan)} on {_chips(result.prefill_topology)}"
    decode = f"decode {plan_line(result.decode_plan)} on {_chips(result.decode_topology)}"
    return f"{_found(result)}, {result.graph.name}, {prefill}, {decode}"


def pairing_line(result: Pairing) -> str:
    attention = f"attention on {_chips(result.attention_topology)}"
    experts = f"feed-forward parts on {_chips(result.experts_topology)}"
    return f"{_found(result)}, {result.graph.name}, {attention}, {experts}"


def fleet_line(found: Fleet) -> str:
    count = len(found.deployments)
    return (
        f"{_found(found)}, {count} deployment{'s' * (count != 1)} of {found.graph.name} on"
        f" {found.cluster.name}, {found.chips} chips"
    )


def replanning_line(found: Replanning) -> str:
    return (
        f"without chips {listed(found.result.exclude)}, {spoken(found.moved_bytes, 'B')} moved,"
        f" then {result_line(found.result)}"
    )


def certificate_line(one: Certificate) -> str:
    reached = f"{one.field} = {field_text(one.field, one.objective)}"
    return f"{one.status}, {reached}, {one.graph.name} on {_chips(one.topology)}"


def cluster_certificate_line(one: ClusterCertificate) -> str:
    reached = f"{one.field} = {field_text(one.field, one.objective)}"
    return f"{one.status}, {reached}, {one.graph.name} on {one.cluster.name}"


def verdict_line(verdict: Verdict) -> str:
    said = "confirmed" if verdict.confirmed else "not confirmed"
    return f"{said}, {verdict.field} = {field_text(verdict.field, verdict.objective)}"


def front_line(front: Front) -> str:
    fields = " and ".join(front.fields)
    count = len(front.members)
    return (
        f"{front.status}, {count} plan{'s' * (count != 1)}, {fields}, {front.graph.name} on"
        f" {_chips(front.topology)}"
    )


def sizing_line(sizing: Sizing) -> str:
    shown = [_sized(one) for one in sizing.machines[:MOST_NAMED]]
    more = len(sizing.machines) - len(shown)
    rest = [f"{more} more"] if more else []
    return f"{sizing.graph.name}, {', '.join([*shown, *rest])}"


def _sized(one: SizedMachine) -> str:
    return f"{one.machine}: {one.status if one.chips is None else f'{one.chips} chips'}"


def reasons_line(reasons: Reasons) -> str:
    binds = [one.resource for one in reasons.binding[:2]]
    reached = f"{reasons.field} = {field_text(reasons.field, reasons.objective)}"
    return f"{reached}, {reasons.shape}, limited by {listed(binds)}"


def near_miss_line(miss: NearMiss) -> str:
    reached = f"{miss.field} = {field_text(miss.field, miss.objective)}"
    broken = f"{miss.broken} = {field_text(miss.broken, miss.reached)}"
    return f"{reached}, {plan_line(miss.plan)}, breaks {broken}"


def score_line(score: Score) -> str:
    """The times and the rate, chips and sequences."""
    names = ("ttft_s", "tpot_s", "tokens_per_s")
    if score.step_s is not None:
        names = ("step_s", "image_s", "samples_per_s")
    return _figures(score, names)


def disaggregated_score_line(score: DisaggregatedScore) -> str:
    return _figures(score, ("ttft_s", "tpot_s", "tokens_per_s"))


def paired_score_line(score: PairedScore) -> str:
    return _figures(score, ("tpot_s", "tokens_per_s"))


def _figures(score: Score | DisaggregatedScore | PairedScore, names: tuple[str, ...]) -> str:
    figures = [f"{name} = {field_text(name, getattr(score, name))}" for name in names]
    return ", ".join([*figures, f"{score.chips} chips, {score.batch_size:,} in flight"])


def graph_line(graph: ModelGraph) -> str:
    billions = f"{trimmed(graph.parameters / 1e9)} B parameters"
    return f"{graph.name}, {billions}, {len(graph.layers)} layers, weights {graph.weight_dtype}"


def topology_line(topology: Topology) -> str:
    return f"{_chips(topology)}, software {topology.software.name}"


def cluster_line(cluster: Cluster) -> str:
    shown = [f"{one.name}: {_chips(one.topology)}" for one in cluster.pools[:MOST_NAMED]]
    more = len(cluster.pools) - len(shown)
    return ", ".join([cluster.name, *shown, *([f"{more} more pools"] if more else [])])


def paired_plan_line(plan: PairedPlan) -> str:
    return (
        f"attention {plan_line(plan.attention)}, feed-forward parts {plan_line(plan.experts)},"
        f" {plan.batch_size:,} sequences in {plan.micro_batches} micro-batches"
    )


def whole_plan_line(plan: Plan) -> str:
    return f"{plan_line(plan)}, {plan.chips} chips, micro_batches={plan.micro_batches}"


def _found(result: Answer) -> str:
    return f"{result.status}, {result.field} = {field_text(result.field, result.objective)}"


def _chips(topology: Topology) -> str:
    return f"{topology.chips} × {topology.chip.name} of {topology.name}"
