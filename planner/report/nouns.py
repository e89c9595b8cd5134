"""Nouns and verdicts as text."""

from planner.answers.certificates import Verdict
from planner.machines.topology import Topology, described
from planner.models.graph import ModelGraph
from planner.report.words import field_text
from planner.units import spoken


def graph_text(graph: ModelGraph) -> str:
    """A model in a few lines."""
    kinds = ", ".join(
        f"{count} × {kind[0].kind}"
        for kind, count in zip(graph.kinds, graph.kind_counts, strict=True)
    )
    remembered = graph.state_bytes_per_sequence
    state = f" and {spoken(remembered, 'B')} of state a sequence" if remembered else ""
    pruned = f", pruned {graph.sparsity}" if graph.sparsity else ""
    return "\n".join(
        (
            f"{graph.name}: {graph.parameters / 1e9:,.4g} B parameters, {graph.parameters_active / 1e9:,.4g} B active;"
            f" weights {graph.weight_dtype} ({spoken(graph.weight_bytes, 'B')}), KV cache {graph.kv_dtype}"
            f" ({spoken(graph.kv_bytes_per_token, 'B')} a token{state}), matmuls {graph.activation_dtype}{pruned}",
            f"layers: {kinds}",
            f"source: {graph.source or 'none'} ({graph.confidence or 'no confidence stated'})",
        )
    )


def topology_text(topology: Topology) -> str:
    """A machine in a few lines."""
    chip, tier = topology.chip, topology.chip.memory[0]
    peaks = ", ".join(f"{spoken(peak.flop_per_s, 'FLOP/s')} {peak.dtype}" for peak in chip.peaks)
    lines = [
        f"{topology.name}: {described(topology)}; software {topology.software.name}",
        f"{chip.name}: {spoken(tier.capacity_bytes, 'B')} of {tier.name} at {spoken(tier.bandwidth_bytes_per_s, 'B/s')}; {peaks}",
        *(
            f"{fabric.name}: {spoken(fabric.bandwidth_bytes_per_s, 'B/s')} per direction, {spoken(fabric.latency_s, 's')} a hop"
            for fabric in topology.fabrics
        ),
        f"power for each chip: {spoken(topology.power.chip_w, 'W')} alone, {spoken(topology.power.system_w, 'W')} at the wall;"
        f" price: {spoken(topology.price.usd_per_chip_hour, 'USD/h')} ({topology.price.basis})",
    ]
    return "\n".join(lines)


def verdict_text(verdict: Verdict) -> str:
    """For a terminal."""
    objective, bound = (
        field_text(verdict.field, verdict.objective),
        field_text(verdict.field, verdict.bound),
    )
    lines = [
        "plan: keeps every rule and limit",
        f"objective: {verdict.field} = {objective}, scored again",
    ]
    if verdict.confirmed:
        lines.append(
            f"bound: {bound}, proved again without the solver in {verdict.boxes} boxes of batches"
        )
    elif verdict.checked_bound is None:
        lines.append(
            f"bound: {bound} rests on the solver alone; this method cannot check a machine of this size"
        )
    else:
        share = abs(verdict.bound - verdict.checked_bound) / abs(verdict.bound)
        lines.append(
            f"bound: {bound} rests on the solver; without it, {field_text(verdict.field, verdict.checked_bound)} is proved,"
            f" {100 * share:.2g} % from it"
        )
    return "\n".join(lines)
