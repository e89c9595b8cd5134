"""Nouns and verdicts as text."""

from planner.answers.certificates import Likeness, Verdict
from planner.errors import listed
from planner.machines.cluster import Cluster, Pool
from planner.machines.engine import Space
from planner.machines.topology import Fabric, Topology, described
from planner.models.graph import ENDS, Layer, ModelGraph
from planner.report.words import field_text
from planner.units import spoken

WIDE = {"bf16", "fp16", "fp32"}

CHOSEN_FROM: dict[Space, str] = {
    "engine": "plans that the machine's software can run, as far as its rules are known",
    "any": "any plan",
}


def graph_text(graph: ModelGraph) -> str:
    """A model in a few lines."""
    kinds = _kinds_said(graph)
    remembered = graph.state_bytes_per_sequence
    state = f" and {spoken(remembered, 'B')} of state a sequence" if remembered else ""
    pruned = f", pruned {graph.sparsity}" if graph.sparsity else ""
    open_format = any(getattr(operator, "natively", False) for operator in graph.operators)
    natively = ", or in 4 bit where chip and stack can" if open_format else ""
    weights = f"{graph.weight_dtype} ({spoken(graph.weight_bytes, 'B')})"
    cache = f"{graph.kv_dtype} ({spoken(graph.kv_bytes_per_token, 'B')} a token{state})"
    lines = [
        f"{graph.name}: {graph.parameters / 1e9:,.4g} B parameters,"
        f" {graph.parameters_active / 1e9:,.4g} B active; weights {weights}, KV cache {cache},"
        f" matmuls {graph.activation_dtype}{natively}{pruned}",
        f"layers: {kinds}",
        f"source: {graph.source or 'none'} ({graph.confidence or 'no confidence stated'})",
        *reading_lines(graph),
    ]
    return "\n".join(lines)


MOST_KINDS = 6
"""Kinds of layers that are listed one by one."""


def _kinds_said(graph: ModelGraph) -> str:
    """How many layers there are of each kind; of many kinds by their names alone."""
    if len(graph.kinds) <= MOST_KINDS:
        return ", ".join(f"{len(kind)} × {kind[0].kind}" for kind in graph.kinds)
    layers: dict[str, int] = {}
    unlike: dict[str, int] = {}
    for kind in graph.kinds:
        name = kind[0].kind
        layers[name] = layers.get(name, 0) + len(kind)
        unlike[name] = unlike.get(name, 0) + 1
    said = []
    for name, count in layers.items():
        sorts = f" of {unlike[name]} sorts" if unlike[name] > 1 else ""
        said.append(f"{count} × {name}{sorts}")
    return ", ".join(said)


def reading_lines(graph: ModelGraph) -> list[str]:
    """How a model was read, where that is not plain, and in what formats its ends are stored."""
    return [*graph.remarks, *_stored_line(graph)]


def _stored_line(graph: ModelGraph) -> list[str]:
    """Formats of the weights, where they are fewer than 16 bits or more than one."""
    ends: dict[str, float] = {}
    inner: dict[str, float] = {}
    for kind, count in zip(graph.kinds, graph.kind_counts, strict=True):
        totals = ends if kind[0].kind in ENDS else inner
        for dtype, size in _matrices(kind[0]).items():
            totals[dtype] = totals.get(dtype, 0.0) + count * size
    if graph.is_diffusion or not inner or not ends or set(ends) | set(inner) <= WIDE:
        return []
    if set(ends) == set(inner):
        return [f"weights are {listed(inner, 'and')}, embedding and head too"]
    whole = sum(inner.values())
    shares = sorted(inner.items(), key=lambda pair: -pair[1])
    said = [f"{dtype} ({100 * size / whole:.3g} % of the bytes)" for dtype, size in shares]
    layers = listed(said, "and") if len(said) > 1 else next(iter(inner))
    return [f"weights of the layers are {layers}, embedding and head {listed(ends, 'and')}"]


def _matrices(layer: Layer) -> dict[str, float]:
    """Bytes of a layer's matrices in each format; routers are too small to be named. [B]"""
    found: dict[str, float] = {}
    for operator in layer.operators:
        dtype = getattr(operator, "weight_dtype", None)
        is_matrix = operator.kind != "pointwise" and operator.name != "router"
        if dtype is not None and is_matrix and operator.weight_bytes:
            found[dtype] = found.get(dtype, 0.0) + operator.weight_bytes
    return found


def topology_text(topology: Topology) -> str:
    """A machine in a few lines."""
    chip = topology.chip
    tier = chip.memory[0]
    capacity = f"{spoken(tier.capacity_bytes, 'B')} of {tier.name}"
    bandwidth = spoken(tier.bandwidth_bytes_per_s, "B/s")
    peaks = ", ".join(f"{spoken(peak.flop_per_s, 'FLOP/s')} {peak.dtype}" for peak in chip.peaks)
    power = topology.power
    price = topology.price
    lines = [
        f"{topology.name}: {described(topology)}; software {topology.software.name}",
        f"{chip.name}: {capacity} at {bandwidth}; {peaks}",
        *map(_fabric_line, topology.fabrics),
        f"power for each chip: {spoken(power.chip_w, 'W')} alone,"
        f" {spoken(power.system_w, 'W')} at the wall;"
        f" price: {spoken(price.usd_per_chip_hour, 'USD/h')} ({price.basis})",
        *_rack_lines(topology),
    ]
    return "\n".join(lines)


def _rack_lines(topology: Topology) -> list[str]:
    """How densely it draws power where it stands, where that is known."""
    rack = topology.rack
    if rack is None:
        return []
    dense = []
    if rack.density_w_per_rack_unit is not None:
        dense.append(f"{spoken(rack.density_w_per_rack_unit, 'W')} a U of {rack.rack_units:g} U")
    if rack.density_w_per_m2 is not None:
        dense.append(f"{spoken(rack.density_w_per_m2, 'W')} a square metre")
    chips = "1 chip" if rack.chips == 1 else f"{rack.chips} chips"
    return [", ".join([f"rack or box of {chips}: {spoken(rack.power_w, 'W')}", *dense])]


def _fabric_line(fabric: Fabric) -> str:
    bandwidth = spoken(fabric.bandwidth_bytes_per_s, "B/s")
    line = f"{fabric.name}: {bandwidth} per direction, {spoken(fabric.latency_s, 's')} a hop"
    if not fabric.links:
        return line
    own = sum(link.bandwidth_bytes_per_s is not None for link in fabric.links)
    return f"{line}; {len(fabric.links)} links, {own} of another width"


def cluster_text(cluster: Cluster) -> str:
    """Pools and what joins them, in a few lines."""
    count = len(cluster.pools)
    lines = [f"{cluster.name}: {count} pool{'s' * (count > 1)}"]
    for pool in cluster.pools:
        lines.append(f"{pool.name}: {described(pool.topology)}{_excluded_words(pool)}")
    for link in cluster.links:
        bandwidth = spoken(link.bandwidth_bytes_per_s, "B/s")
        one, other = link.between
        latency = spoken(link.latency_s, "s")
        lines.append(f"{one} to {other}: {bandwidth} per direction, {latency} from end to end")
    return "\n".join(lines)


def _excluded_words(pool: Pool) -> str:
    if not pool.exclude:
        return ""
    return f"; {len(set(pool.exclude))} of its chips are excluded"


def verdict_text(verdict: Verdict) -> str:
    """For a terminal."""
    objective = field_text(verdict.field, verdict.objective)
    lines = [
        "plan: keeps every rule and limit",
        f"objective: {verdict.field} = {objective}, scored again",
        f"bound: {field_text(verdict.field, verdict.bound)}{_standing(verdict)}",
        *_again_lines(verdict),
        f"chosen from: {CHOSEN_FROM[verdict.space]}",
        f"question: {verdict.asked}",
    ]
    for one in verdict.likenesses:
        lines += _likeness_lines(one)
    return "\n".join(lines)


def _likeness_lines(one: Likeness) -> list[str]:
    """Whether it is the catalogue's, and in what it is not."""
    head = f"{one.what}: {one.name}, digest {one.digest}"
    if one.is_entry:
        return [f"{head}, as in the catalogue"]
    if not one.difference_count:
        return [f"{head}; the catalogue has none of that name, so this is somebody's own"]
    count = one.difference_count
    told = "1 difference" if count == 1 else f"{count:,} differences"
    lines = [f"{head}; NOT the catalogue's of that name: {told}"]
    lines += [f"  {line}" for line in one.differences]
    more = count - len(one.differences)
    return [*lines, f"  and {more:,} more"] if more else lines


def _again_lines(verdict: Verdict) -> list[str]:
    """What a second solver makes of the bound, where it was asked."""
    if verdict.again_bound is None:
        asked = verdict.again_rows > 0
        late = ["again: OR-Tools CP-SAT proved nothing in time; allow more (--time-limit)"]
        return late if asked else []
    second = field_text(verdict.field, verdict.again_bound)
    by_second = f"{second} by OR-Tools CP-SAT, among {verdict.again_rows:,} rows"
    if not verdict.again_confirmed:
        return [f"again: not confirmed in time; so far {by_second}"]
    if not verdict.confirmed:
        return [f"proved again: {by_second}"]
    first = field_text(verdict.field, verdict.bound)
    return [f"proved twice: {first} without a solver; {by_second}"]


def _standing(verdict: Verdict) -> str:
    """On what the bound rests."""
    if verdict.confirmed:
        boxes = f" in {verdict.boxes} boxes of batches" if verdict.boxes > 1 else ""
        return f", proved again without the solver{boxes}"
    if verdict.is_late:
        return (
            " rests on the solver alone: there was no time to check it; allow more (--time-limit)"
        )
    if verdict.checked_bound is None:
        return " rests on the solver alone; this method cannot check a machine of this size"
    checked = field_text(verdict.field, verdict.checked_bound)
    share = abs(verdict.bound - verdict.checked_bound) / abs(verdict.bound)
    return f" rests on the solver; without it, {checked} is proved, {100 * share:.2g} % from it"
