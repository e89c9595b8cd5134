"""The laws that a claim is held against: each looks at a case and says what it found, or nothing
where it has no say.

Capacity, roofline and arithmetic come first and need no fitted constant; then the catalogue's
sourced figures.
"""

import math
from collections.abc import Iterator
from typing import Any, cast

from planner.cost import energy
from planner.errors import InputError
from planner.machines.topology import Figure, Topology, with_value
from planner.models.dtypes import Dtype
from planner.pricing.price_list import Step, useful_work
from planner.readers.topology_file import LIFETIME_H, USD_PER_KWH
from planner.scoring.plans import chosen_power
from planner.studies.audits.bounds import MOST_BATCH, Roof
from planner.studies.audits.cases import Case, topology_of
from planner.studies.audits.claims import Claim, Greatest, Growth, Quotient, Total
from planner.studies.audits.findings import Finding, found
from planner.units import spoken, trimmed

CLOSE = 1.05
"""Ratios within it are rounding."""
LOOSE = 1.15
"""Where a catalogue's figure is contested, from memory or derived."""
UNITS = {"bytes_per_s": "B/s", "flop_per_s": "FLOP/s", "_bytes": "B", "_w": "W", "_s": "s"}
"""By how a field's name ends; the first that fits."""
STORED: tuple[Dtype, ...] = ("bf16", "fp8", "fp4")
CAPACITY, BANDWIDTH = "chip.memory[0].capacity_bytes", "chip.memory[0].bandwidth_bytes_per_s"


def capacity(case: Case) -> Iterator[Finding]:
    """Memory must hold the weights."""
    claim = case.claim
    if not is_deployment(claim) or claim.chips is None:
        return
    fewest = {dtype: case.roof(dtype).fewest_chips for dtype in case.dtypes}
    least = min(fewest, key=lambda dtype: fewest[dtype])
    if fewest[least] <= claim.chips:
        return
    each, graph = case.topology.chip.memory[0].capacity_bytes, case.graph(least)
    stored = ", ".join(f"{case.roof(dtype).fewest_chips} in {dtype}" for dtype in STORED)
    what = claim.model or f"a dense model of {spoken(claim.parameters, '')}"
    law = (
        f"capacity: {what} takes {spoken(graph.weight_bytes, 'B')} in {least}, and {claim.chips} × {case.topology.chip.name} "
        f"hold {spoken(claim.chips * each, 'B')}; weights alone fill {stored}"
    )
    yield found(
        "needs more chips", law, tail=f"{fewest[least]:,} chips", factor=fewest[least] / claim.chips,
        source=cited(case.topology, CAPACITY), needed_chips=fewest[least],
    )  # fmt: skip


def roofline(case: Case) -> Iterator[Finding]:
    """No pass is shorter than its bytes over the bandwidth, or its operations over the peak."""
    claim = case.claim
    if not (claim.tokens_per_s or claim.tokens_per_s_per_user) or not is_deployment(claim):
        return
    yield from least_bad(_roofline(case, case.roof(dtype)) for dtype in case.dtypes)


def _roofline(case: Case, roof: Roof) -> Finding | None:
    """Of one format; None where the claim keeps under the roof."""
    claim = case.claim
    batch = claim.batch_size or (max(1, roof.most_sequences) if claim.prompt_tokens else MOST_BATCH)
    for users, value in ((batch, claim.tokens_per_s), (1, claim.tokens_per_s_per_user)):
        if value is None or value <= users / roof.decode(users).seconds * CLOSE:
            continue
        step = roof.decode(users)
        by_memory = step.memory_s >= step.compute_s
        most = users / step.seconds
        law = (
            f"{'bandwidth' if by_memory else 'FLOP'} bound: a pass of {users} takes at least {spoken(step.seconds, 's')} "
            f"on {roof.chips} × {roof.topology.chip.name} in {roof.graph.weight_dtype}, so at most {trimmed(most)} tokens/s "
            "(without speculative decoding)"
        )
        path = BANDWIDTH if by_memory else peak_path(roof)
        return found("impossible", law, factor=value / most, source=cited(roof.topology, path))
    return None


def energy_arithmetic(case: Case) -> Iterator[Finding]:
    """Joules a token × tokens a second are watts; joules a token × tokens a second and watt are
    1."""
    claim = case.claim
    joules, rate, inverse = claim.energy_per_token_j, claim.tokens_per_s, claim.tokens_per_s_per_w
    if joules and inverse and ratio_of(joules * inverse, 1.0) > CLOSE:
        law = f"energy arithmetic: {joules:g} J × {inverse:g} tokens/s/W must be 1, and is {joules * inverse:.3g}"
        yield found("impossible", law, factor=ratio_of(joules * inverse, 1.0))
    watts = (claim.power_w or 0) * (claim.chips or 0)
    if joules and rate and watts and ratio_of(joules * rate, watts) > CLOSE:
        law = f"energy arithmetic: {joules:g} J × {rate:,g} tokens/s are {trimmed(joules * rate)} W, not {watts:,g} W"
        yield found("impossible", law, factor=ratio_of(joules * rate, watts))


def scope(case: Case) -> Iterator[Finding]:
    """One chip's watts do not power the many chips that a model fills."""
    claim = case.claim
    joules = joules_of(claim)
    if joules is None or claim.tokens_per_s is None or not is_deployment(claim):
        return
    dtype = min(case.dtypes, key=lambda one: case.roof(one).fewest_chips)
    needed = case.roof(dtype).fewest_chips
    power, source = case.topology.power, cited(case.topology, "power.chip_w", "power.system_w")
    each = claim.power_w or power.chip_w or power.system_w
    if (
        each is None
        or needed <= (claim.chips or 1)
        or ratio_of(joules * claim.tokens_per_s, each * (claim.chips or 1)) > CLOSE
    ):
        return
    whole = needed * each / claim.tokens_per_s
    mine = spoken(each * (claim.chips or 1), "W")
    law = (
        f"scope: {joules:.3g} J is the {mine} of {claim.chips or 1} alone over the tokens of the {needed} chips that"
        f" {claim.model} fills in {dtype}; all of them draw {spoken(needed * each, 'W')}, {whole:.3g} J a token"
    )
    yield found("wrong scope", law, factor=whole / joules, source=source, needed_chips=needed)


def energy_floor(case: Case) -> Iterator[Finding]:
    """A token takes at least its operations at the peak, on chips that draw power meanwhile."""
    claim, joules = case.claim, joules_of(case.claim)
    if joules is None or not is_deployment(claim) or case.graph(case.dtypes[0]).is_diffusion:
        return
    floors = {dtype: floor_j(case, dtype) for dtype in case.dtypes}
    known = {dtype: floor for dtype, floor in floors.items() if floor is not None}
    if not known:
        return
    dtype = min(known, key=lambda one: known[one])
    if joules * CLOSE < known[dtype]:
        chip = case.topology.chip
        law = (
            f"FLOP bound: one token of {claim.model} keeps a {chip.name} busy at its peak in {dtype} for so long that it"
            f" draws at least {known[dtype]:.3g} J; {joules:.3g} J is claimed"
        )
        yield found(
            "impossible",
            law,
            factor=known[dtype] / joules,
            source=cited(case.topology, "power.chip_w", "power.system_w"),
        )


def floor_j(case: Case, dtype: Dtype) -> float | None:
    """The joules of a token's operations alone; None where the power is not known."""
    draws, _ = chosen_power(
        case.topology, None if case.topology.power.chip_w is None else case.claim.scope
    )
    if not draws:
        return None
    graph, chip = case.graph(dtype), case.topology.chip
    flop, _ = useful_work(graph, Step(1, 1, case.context_tokens, True))
    busy_s = flop / chip.peak_flop_per_s(graph.multiplied_in)
    return float(energy.energy_j(draws, busy_s, case.topology.power.compute_activity * busy_s))


def bottleneck(case: Case) -> Iterator[Finding]:
    """What binds follows from bytes over bandwidth against operations over peak."""
    claim = case.claim
    if claim.bound_by is None or not is_deployment(claim):
        return
    roof = case.roof(case.dtypes[0], 1)
    ridge = f"of {case.topology.chip.name}"
    source = cited(case.topology, BANDWIDTH)
    if roof.graph.is_diffusion:
        step = roof.sample_step()
        share = step.compute_s / step.memory_s
        binds = "compute" if share > 1 else "memory"
        law = f"roofline {ridge}: a denoising step takes {share:.3g} times as long for its operations as for its bytes"
        if binds == claim.bound_by:
            yield found("plausible", law, source=source)
        else:
            yield found("impossible", law, factor=max(share, 1 / share), source=source)
        return
    turns = _turning_point(roof)
    where = "at every batch" if turns is None else f"below a batch of {turns}"
    law = f"roofline {ridge}: decode is bound by memory {where}, by compute beyond, at {roof.context_tokens:g} tokens of context"
    batch = claim.batch_size
    if batch is None and turns is not None:
        sign, least = ("<", None) if claim.bound_by == "memory" else (">=", turns)
        yield found(
            "plausible at batch", law, tail=f"{sign} {turns}", source=source, least_batch=least
        )
        return
    binds = "memory" if turns is None or (batch or 1) < turns else "compute"
    yield found("plausible" if binds == claim.bound_by else "impossible", law, source=source)


def _turning_point(roof: Roof) -> int | None:
    """The least batch at which a pass takes longer for its operations than for its bytes; None
    where none does."""
    low, high = 0, MOST_BATCH
    if roof.decode(high).compute_s <= roof.decode(high).memory_s:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        step = roof.decode(middle)
        low, high = (low, middle) if step.compute_s > step.memory_s else (middle, high)
    return high


def sums(case: Case) -> Iterator[Finding]:
    """Totals, quotients, growth and the greatest of several: what is computed must be what is
    said."""
    said = case.claim.arithmetic
    if said is None:
        return
    if isinstance(said, Greatest):
        yield _greatest(said)
        return
    value, words = _computed(said)
    spoken_value = said.value
    off = (
        ratio_of(1 + value, 1 + spoken_value)
        if isinstance(said, Growth)
        else ratio_of(value, spoken_value)
    )
    law = f"arithmetic: {words} = {value:.4g}, and {spoken_value:g} is said"
    if off > (1.01 if isinstance(said, Growth) else CLOSE):
        factor = ratio_of(value, spoken_value)
        yield found("impossible", law, factor=factor)
    else:
        yield found("no opinion", f"{law}: it adds up, and nothing else here can be priced")


def _computed(said: Total | Quotient | Growth) -> tuple[float, str]:
    if isinstance(said, Total):
        return sum(said.parts), " + ".join(f"{part:g}" for part in said.parts)
    if isinstance(said, Quotient):
        return said.first / said.second, f"{said.first:g} / {said.second:g}"
    grown = (said.last / said.first) ** (1 / said.years) - 1
    return grown, f"({said.last:g} / {said.first:g})^(1/{said.years:g}) - 1"


def _greatest(said: Greatest) -> Finding:
    factors = {
        name: last / first
        for name, first, last in zip(said.names, said.first, said.last, strict=True)
    }
    points = {
        name: last - first
        for name, first, last in zip(said.names, said.first, said.last, strict=True)
    }
    best, most = (max(one, key=lambda name: one[name]) for one in (factors, points))
    law = f"arithmetic: {best} grew most by factor ({factors[best]:.3g}×), {most} by points ({points[most]:+g})"
    if said.winner in (best, most):
        return found("no opinion", f"{law}: it adds up, and nothing else here can be priced")
    return found("impossible", law, factor=factors[best] / factors[said.winner])


def machine_figure(case: Case) -> Iterator[Finding]:
    """A machine's own figure, against the catalogue's with its source."""
    claim = case.claim
    if claim.figure:
        yield _figure(case, claim.figure, cast(float, claim.value))
    watts = claim.power_w
    if watts is not None and claim.topology is not None and not is_deployment(claim):
        known = {
            name: one
            for name in ("chip_w", "system_w")
            if (one := getattr(case.topology.power, name)) is not None
        }
        if known:
            nearest = min(known, key=lambda name: ratio_of(known[name], watts))
            yield _figure(case, f"power.{nearest}", watts)
    if claim.model is not None and claim.parameters is not None:
        graph = case.graph("bf16")
        off = ratio_of(graph.parameters, claim.parameters)
        law = f"{claim.model} has {spoken(graph.parameters, '')} parameters in the catalogue"
        yield found(
            "plausible" if off <= CLOSE else "disagrees with its source", law, factor=off if off > CLOSE else None,
            source=f"{graph.source} ({graph.confidence})",
        )  # fmt: skip


def wiring(case: Case) -> Iterator[Finding]:
    """How many hops lie between two chips of a node."""
    claim = case.claim
    if claim.hops is None or claim.topology is None or not case.topology.levels:
        return
    level = case.topology.levels[0]
    most = max(level.hops(0, unit) for unit in range(level.units))
    wires = (
        f"{level.units} × {case.topology.chip.name} by {level.fabric.shape} ({level.fabric.name})"
    )
    law = f"wiring: {wires} are at most {most} hop{'s' * (most > 1)} apart"
    source = cited(case.topology, "fabrics[0].bandwidth_bytes_per_s")
    off = claim.hops / most
    yield (
        found("disagrees with its source", law, factor=off, source=source)
        if off > 1
        else found("plausible", law, source=source)
    )


def purchase(case: Case) -> Iterator[Finding]:
    """What a chip costs to buy, as the hourly price that the catalogue keeps."""
    claim = case.claim
    if (
        claim.purchase_usd is None
        or claim.topology is None
        or case.topology.price.basis != "purchase"
    ):
        return
    known, power = cast(float, case.topology.price.usd_per_chip_hour), case.topology.power
    hourly = float(
        energy.hourly_usd(
            claim.purchase_usd, LIFETIME_H, power.system_w or power.chip_w or 0.0, USD_PER_KWH
        )
    )
    off = ratio_of(hourly, known)
    law = f"price: {claim.purchase_usd:,g} USD over four years, with power, are {hourly:.3g} USD/h; the catalogue has {known:.3g}"
    source = cited(case.topology, "price.usd_per_chip_hour")
    if off <= LOOSE:
        yield found("plausible", law, source=source)
    else:
        yield found("disagrees with its source", law, factor=off, source=source)


def _figure(case: Case, path: str, value: float) -> Finding:
    topology, claim = case.topology, case.claim
    many = claim.chips or 1
    published = value_at(topology, path)
    if published is None:
        return found("no opinion", f"catalogue: {path} of {topology.name} is not published")
    known = many * published
    figure = figure_at(topology, path)
    ratio = ratio_of(known, value)
    source = cited(topology, path)
    times = "" if many == 1 else f" on {many} chips"
    law = f"catalogue: {path} of {topology.name} is {figure_text(path, known)}{times}, and {figure_text(path, value)} is claimed"
    if figure is not None and figure.note:
        law += f" ({figure.note})"
    if ratio <= (CLOSE if figure is not None and figure.confidence in "AB" else LOOSE):
        return found("plausible", law, source=source)
    if path.startswith("fabrics") and ratio_of(value, 2 * known) <= CLOSE:
        return found(
            "wrong scope",
            f"both directions counted: {law}, per direction",
            factor=ratio,
            source=source,
        )
    if (
        "flop_per_s" in path
        and claim.sparsity is not None
        and topology.chip.skips
        and value > known
    ):
        density = known / value
        return found(
            "plausible",
            f"{law}; it skips zeros, so this takes weights of a density of at most {density:.0%}",
            source=source,
        )
    return found("disagrees with its source", law, factor=ratio, source=source)


def consistency(case: Case) -> Iterator[Finding]:
    """What one claim says of a machine, put to another claim on it."""
    claim = case.claim
    if claim.topology is None:
        return
    telling = [
        one
        for one in (*case.others, claim)
        if one.topology is not None and (one.figure or joules_of(one))
    ]
    for other in telling if claim.tokens_per_s or joules_of(claim) else ():
        if topology_of(other.topology).name != case.topology.name:
            continue
        if other.figure and claim.tokens_per_s and (claim.batch_size or claim.name == other.name):
            yield from _under_figure(case, other)
        mine, theirs = joules_of(claim), joules_of(other)
        if (
            claim is not other
            and claim.model == other.model
            and claim.model
            and mine
            and theirs
            and ratio_of(mine, theirs) > CLOSE
        ):
            law = f"energy arithmetic: {mine:.3g} J a token here, {theirs:.3g} J in claim {other.name}, of one model and machine"
            yield found(
                "inconsistent",
                law,
                tail=f"with claim {other.name}",
                factor=ratio_of(mine, theirs),
                other=other.name,
            )
    if claim.ends_at_parameters is not None:
        yield from _beyond_end(case)


def _under_figure(case: Case, other: Claim) -> Iterator[Finding]:
    """The roofline of a machine that has the figure that another claim gives it."""
    machine = with_value(case.topology, other.figure, cast(float, other.value))
    changed = Case(case.claim.replace(topology=machine), known={})
    for finding in roofline(changed):
        law = f"with {other.figure} = {figure_text(other.figure, cast(float, other.value))} of claim {other.name}, {finding.law}"
        yield found(
            "inconsistent",
            law,
            tail=f"with claim {other.name}",
            factor=finding.factor,
            other=other.name,
        )


def _beyond_end(case: Case) -> Iterator[Finding]:
    """Prices that show an advantage where another claim says that there is none left."""
    claim, name = case.claim, case.topology.name
    beyond = [
        one
        for one in case.others
        if one.usd_per_million_tokens
        and one.topology
        and (one.parameters or 0) > (claim.ends_at_parameters or 0)
    ]
    for ours in (one for one in beyond if topology_of(one.topology).name == name):
        for theirs in (
            one
            for one in beyond
            if one.over is None and one.parameters == ours.parameters and one is not ours
        ):
            gain = cast(float, theirs.usd_per_million_tokens) / cast(
                float, ours.usd_per_million_tokens
            )
            if gain > CLOSE:
                law = (
                    f"claims {ours.name} and {theirs.name}: at {spoken(ours.parameters, '')} parameters {name} is {gain:.2g}× "
                    f"cheaper than {topology_of(theirs.topology).name}, beyond where its advantage is said to end"
                )
                yield found(
                    "inconsistent",
                    law,
                    tail=f"with claim {ours.name}",
                    factor=gain,
                    other=ours.name,
                )
                return


def figure_text(path: str, value: float) -> str:
    """A figure with the unit of its field."""
    return spoken(
        value, next((unit for ending, unit in UNITS.items() if path.endswith(ending)), "")
    )


def is_deployment(claim: Claim) -> bool:
    """Whether it speaks of a model on a machine."""
    return (
        claim.topology is not None
        and (claim.model is not None or claim.parameters is not None)
        and not claim.figure
    )


def joules_of(claim: Claim) -> float | None:
    """For one token, given or turned over."""
    return claim.energy_per_token_j or (
        1 / claim.tokens_per_s_per_w if claim.tokens_per_s_per_w else None
    )


def peak_path(roof: Roof) -> str:
    """Of the peak that the model's matmuls have."""
    peak = roof.topology.chip.peak_flop_per_s(roof.graph.multiplied_in)
    number = next(n for n, one in enumerate(roof.topology.chip.peaks) if one.flop_per_s == peak)
    return f"chip.peaks[{number}].flop_per_s"


def ratio_of(one: float, other: float) -> float:
    """How far apart two figures are: at least 1."""
    return max(one / other, other / one) if one > 0 and other > 0 else math.inf


def least_bad(findings: Iterator[Finding | None]) -> Iterator[Finding]:
    """Of findings in each format, the kindest; nothing where one format passes."""
    rows = list(findings)
    if rows and all(row is not None for row in rows):
        yield min((row for row in rows if row is not None), key=lambda row: row.factor or 0)


def value_at(topology: Topology, path: str) -> float | None:
    """The figure of a topology by its path; None where it is not published."""
    place: Any = topology
    try:
        for key in path.replace("[", ".").replace("]", "").split("."):
            place = place[int(key)] if key.isdecimal() else getattr(place, key)
    except (AttributeError, IndexError, TypeError):
        place = path
    if place is not None and (isinstance(place, bool) or not isinstance(place, int | float)):
        raise InputError(f"Claim.figure: topology {topology.name!r} has no figure at {path!r}")
    return place


def figure_at(topology: Topology, path: str) -> Figure | None:
    """Where that field's value comes from."""
    return next((figure for figure in topology.figures if figure.path == path), None)


def cited(topology: Topology, *paths: str) -> str:
    """'GROQN (B)': the source of the first of these fields that has one."""
    figure = next((one for path in paths if (one := figure_at(topology, path)) is not None), None)
    return "" if figure is None else f"{figure.source} ({figure.confidence})"
