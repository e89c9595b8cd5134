"""The laws that a claim is held against: each looks at a case and says what it found, or nothing
where it has no say.

Capacity, roofline and arithmetic come first and need no fitted constant; then the catalogue's
sourced figures.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, cast

from planner.cost import energy
from planner.errors import InputError, told
from planner.machines.prices import BASIS_WORDS, HOURS_PER_YEAR
from planner.machines.topology import Figure, Topology, with_value
from planner.models.dtypes import Dtype
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.price_list import Step, useful_work
from planner.scoring.plans import chosen_power
from planner.studies.audits.bounds import MOST_BATCH, Roof
from planner.studies.audits.cases import Case, topology_of
from planner.studies.audits.claims import Claim, Greatest, Growth, Quotient, Total
from planner.studies.audits.findings import Finding, Verdict, found
from planner.units import spoken, trimmed

CLOSE = 1.05
"""Ratios within it are rounding."""
LOOSE = 1.15
"""Where a catalogue's figure is contested, from memory or derived."""
UNITS = {"bytes_per_s": "B/s", "flop_per_s": "FLOP/s", "_bytes": "B", "_w": "W", "_s": "s"}
"""By how a field's name ends; the first that fits."""
STORED: tuple[Dtype, ...] = ("bf16", "fp8", "fp4")
CAPACITY = "chip.memory[0].capacity_bytes"
BANDWIDTH = "chip.memory[0].bandwidth_bytes_per_s"
WATTS = ("power.chip_w", "power.system_w")
IT_ADDS_UP = "that is right, and the claim has nothing else that can be checked"


def capacity(case: Case) -> Iterator[Finding]:
    """Memory must hold the weights."""
    claim = case.claim
    if not is_deployment(claim) or claim.chips is None:
        return
    fewest = {dtype: case.roof(dtype).fewest_chips for dtype in case.dtypes}
    least = min(fewest, key=lambda dtype: fewest[dtype])
    if fewest[least] <= claim.chips:
        return
    graph = case.graph(least)
    each = case.topology.chip.memory[0].capacity_bytes
    stored = ", ".join(
        f"{counted(case.roof(dtype).fewest_chips, 'chip')} in {dtype}" for dtype in STORED
    )
    what = claim.model or f"a dense model of {parameters_of(claim.parameters)} parameters"
    law = (
        f"capacity: the weights of {what} take {spoken(graph.weight_bytes, 'B')} in {least}, and"
        f" the memory of {claim.chips} × {case.topology.chip.name} is"
        f" {spoken(claim.chips * each, 'B')}; the weights alone need {stored}"
    )
    yield found(
        "needs more chips",
        law,
        tail=f"{fewest[least]:,} chips",
        figure=f"{fewest[least]:,} chips",
        factor=fewest[least] / claim.chips,
        source=cited(case.topology, CAPACITY),
        needed_chips=fewest[least],
    )


def roofline(case: Case) -> Iterator[Finding]:
    """No pass is shorter than its bytes over the bandwidth, or its operations over the peak."""
    claim = case.claim
    if not (claim.tokens_per_s or claim.tokens_per_s_per_user) or not is_deployment(claim):
        return
    yield from least_bad(_roofline(case, case.roof(dtype)) for dtype in case.dtypes)


def _roofline(case: Case, roof: Roof) -> Finding | None:
    """Of one format; None where the claim keeps under the roof."""
    claim = case.claim
    # Where no cache is told of, any number of sequences fits beside the weights.
    most_users = max(1, roof.most_sequences) if claim.prompt_tokens else MOST_BATCH
    batch = claim.batch_size or most_users
    for users, value in ((batch, claim.tokens_per_s), (1, claim.tokens_per_s_per_user)):
        if value is None:
            continue
        step = roof.decode(users)
        most = users / step.seconds
        if value <= most * CLOSE:
            continue
        by_memory = step.memory_s >= step.compute_s
        law = (
            f"{'bandwidth' if by_memory else 'FLOP'} bound: a decode pass of"
            f" {counted(users, 'sequence')} takes at least {spoken(step.seconds, 's')} on"
            f" {roof.chips} × {roof.topology.chip.name} in {roof.graph.weight_dtype}, so at most"
            f" {trimmed(most)} tokens/s are possible (without speculative decoding)"
        )
        path = BANDWIDTH if by_memory else peak_path(roof)
        return found(
            "impossible",
            law,
            factor=value / most,
            source=cited(roof.topology, path),
            figure=f"at most {trimmed(most)} tokens/s",
        )
    return None


def energy_arithmetic(case: Case) -> Iterator[Finding]:
    """Joules a token × tokens a second are watts; joules a token × tokens a second and watt are
    1."""
    claim = case.claim
    joules, rate = claim.energy_per_token_j, claim.tokens_per_s
    inverse = claim.tokens_per_s_per_w
    if joules and inverse:
        one = joules * inverse
        if ratio_of(one, 1.0) > CLOSE:
            law = (
                f"energy arithmetic: {joules:g} J × {inverse:g} tokens/s/W must be 1, but is"
                f" {one:.3g}"
            )
            yield found("impossible", law, factor=ratio_of(one, 1.0), figure=f"{1 / inverse:.2g} J")
    watts = (claim.power_w or 0) * (claim.chips or 0)
    if joules and rate and watts:
        drawn = joules * rate
        if ratio_of(drawn, watts) > CLOSE:
            law = (
                f"energy arithmetic: {joules:g} J a token × {rate:,g} tokens/s are"
                f" {trimmed(drawn)} W, not {watts:,g} W"
            )
            figure = f"{trimmed(drawn)} W"
            yield found("impossible", law, factor=ratio_of(drawn, watts), figure=figure)


def scope(case: Case) -> Iterator[Finding]:
    """One chip's watts do not power the many chips that a model fills."""
    claim = case.claim
    joules = joules_of(claim)
    if joules is None or claim.tokens_per_s is None or not is_deployment(claim):
        return
    dtype = min(case.dtypes, key=lambda one: case.roof(one).fewest_chips)
    needed = case.roof(dtype).fewest_chips
    held = claim.chips or 1
    power = case.topology.power
    each = claim.power_w or power.chip_w or power.system_w
    if each is None or needed <= held:
        return
    if ratio_of(joules * claim.tokens_per_s, each * held) > CLOSE:
        return
    whole = needed * each / claim.tokens_per_s
    law = (
        f"scope: {joules:.3g} J a token counts the {spoken(each * held, 'W')} of"
        f" {counted(held, 'chip')}, but {claim.model} in {dtype} needs {needed} chips; these draw"
        f" {spoken(needed * each, 'W')}, which is {whole:.3g} J a token"
    )
    yield found(
        "wrong scope",
        law,
        figure=f"{whole:.3g} J a token",
        factor=whole / joules,
        source=cited(case.topology, *WATTS),
        needed_chips=needed,
    )


def energy_floor(case: Case) -> Iterator[Finding]:
    """A token takes at least its operations at the peak, on chips that draw power meanwhile."""
    claim = case.claim
    joules = joules_of(claim)
    if joules is None or not is_deployment(claim) or case.graph(case.dtypes[0]).is_diffusion:
        return
    floors = {dtype: floor_j(case, dtype) for dtype in case.dtypes}
    known = {dtype: floor for dtype, floor in floors.items() if floor is not None}
    if not known:
        return
    dtype = min(known, key=lambda one: known[one])
    if joules * CLOSE >= known[dtype]:
        return
    law = (
        f"FLOP bound: the operations of one token of {claim.model}, at the peak of a"
        f" {case.topology.chip.name} in {dtype}, take at least {known[dtype]:.3g} J;"
        f" the claim says {joules:.3g} J"
    )
    source = cited(case.topology, *WATTS)
    yield found(
        "impossible",
        law,
        factor=known[dtype] / joules,
        source=source,
        figure=f"at least {known[dtype]:.3g} J",
    )


def floor_j(case: Case, dtype: Dtype) -> float | None:
    """The joules of a token's operations alone; None where the power is not known."""
    power_scope = None if case.topology.power.chip_w is None else case.claim.scope
    draws, _ = chosen_power(case.topology, power_scope)
    if not draws:
        return None
    graph = case.graph(dtype)
    flop, _ = useful_work(graph, Step(1, 1, case.context_tokens, True))
    busy_s = flop / peak_flop_per_s(graph, case.topology)
    return float(energy.energy_j(draws, busy_s, case.topology.power.compute_activity * busy_s))


def bottleneck(case: Case) -> Iterator[Finding]:
    """What binds follows from bytes over bandwidth against operations over peak."""
    claim = case.claim
    if claim.bound_by is None or not is_deployment(claim):
        return
    roof = case.roof(case.dtypes[0], 1)
    yield _of_a_sample(case, roof) if roof.graph.is_diffusion else _of_decode(case, roof)


def _of_a_sample(case: Case, roof: Roof) -> Finding:
    """What binds a denoising step, at any batch."""
    step = roof.sample_step()
    share = step.compute_s / step.memory_s
    law = (
        f"roofline of {case.topology.chip.name}: the operations of a denoising step take"
        f" {share:.3g} times as long as its bytes"
    )
    source = cited(case.topology, BANDWIDTH)
    binds = "compute" if share > 1 else "memory"
    figure = f"{binds}-bound, {max(share, 1 / share):.3g} times"
    if binds == case.claim.bound_by:
        return found("plausible", law, source=source, figure=figure)
    return found("impossible", law, factor=max(share, 1 / share), source=source, figure=figure)


def _of_decode(case: Case, roof: Roof) -> Finding:
    """What binds a decode pass: memory below a batch, arithmetic from there on."""
    claim = case.claim
    turns = _turning_point(roof)
    where = "at every batch"
    if turns is not None:
        where = f"below a batch of {turns}, and compute-bound from there on"
    law = (
        f"roofline of {case.topology.chip.name}: at {roof.context_tokens:g} tokens of context,"
        f" decode is memory-bound {where}"
    )
    source = cited(case.topology, BANDWIDTH)
    if claim.batch_size is None and turns is not None:
        by_memory = claim.bound_by == "memory"
        return found(
            "plausible at batch",
            law,
            tail=f"< {turns}" if by_memory else f">= {turns}",
            figure=f"compute-bound from {turns} users",
            source=source,
            least_batch=None if by_memory else turns,
        )
    binds = "memory" if turns is None or (claim.batch_size or 1) < turns else "compute"
    verdict: Verdict = "plausible" if binds == claim.bound_by else "impossible"
    return found(verdict, law, source=source, figure=f"{binds}-bound")


def _turning_point(roof: Roof) -> int | None:
    """The least batch at which a pass takes longer for its operations than for its bytes; None
    where none does."""

    def is_compute_bound(batch: int) -> bool:
        step = roof.decode(batch)
        return step.compute_s > step.memory_s

    if not is_compute_bound(MOST_BATCH):
        return None
    low = 0
    high = MOST_BATCH
    while high - low > 1:
        middle = (low + high) // 2
        if is_compute_bound(middle):
            high = middle
        else:
            low = middle
    return high


def sums(case: Case) -> Iterator[Finding]:
    """Totals, quotients, growth and the greatest of several: what is computed must be what is
    said."""
    said = case.claim.arithmetic
    if said is None:
        return
    if isinstance(said, Greatest):
        yield _greatest(said)
    if not isinstance(said, Total | Quotient | Growth):
        return
    value, words = _computed(said)
    law = f"arithmetic: {words} = {value:.4g}; the claim says {said.value:g}"
    is_off = ratio_of(value, said.value) > CLOSE
    if isinstance(said, Growth):
        # What grows by 1 % a year instead of 2 % is not off by a factor of 2.
        is_off = ratio_of(1 + value, 1 + said.value) > 1.01
    if is_off:
        yield found("impossible", law, factor=ratio_of(value, said.value), figure=f"{value:.4g}")
    else:
        yield found("no opinion", f"{law}: {IT_ADDS_UP}", figure=f"{value:.4g}")


def _computed(said: Total | Quotient | Growth) -> tuple[float, str]:
    if isinstance(said, Total):
        return sum(said.parts), " + ".join(f"{part:g}" for part in said.parts)
    if isinstance(said, Quotient):
        return said.first / said.second, f"{said.first:g} / {said.second:g}"
    grown = (said.last / said.first) ** (1 / said.years) - 1
    return grown, f"({said.last:g} / {said.first:g})^(1/{said.years:g}) - 1"


def _greatest(said: Greatest) -> Finding:
    series = dict(zip(said.names, zip(said.first, said.last, strict=True), strict=True))
    factors = {name: last / first for name, (first, last) in series.items()}
    points = {name: last - first for name, (first, last) in series.items()}
    best, most = (max(one, key=lambda name: one[name]) for one in (factors, points))
    law = (
        f"arithmetic: {best} has the largest factor of growth ({factors[best]:.3g}×),"
        f" {most} the largest difference ({points[most]:+g})"
    )
    if said.winner in (best, most):
        return found("no opinion", f"{law}: {IT_ADDS_UP}")
    factor = factors[best] / factors[said.winner]
    return found("impossible", law, factor=factor, figure=f"{best}, or {most}")


def machine_figure(case: Case) -> Iterator[Finding]:
    """A machine's own figure, against the catalogue's with its source."""
    claim = case.claim
    if claim.figure:
        yield _figure(case, claim.figure, cast(float, claim.value))
    if claim.power_w is not None and claim.topology is not None and not is_deployment(claim):
        yield from _watts(case, claim.power_w)
    if claim.model is not None and claim.parameters is not None:
        yield _parameters(case, claim.model, claim.parameters)


def _watts(case: Case, claimed: float) -> Iterator[Finding]:
    """Against those of the chip or of the system, whichever are nearer: a claim seldom says."""
    power = case.topology.power
    known = {path: getattr(power, path.removeprefix("power.")) for path in WATTS}
    told = {path: watts for path, watts in known.items() if watts is not None}
    if told:
        nearest = min(told, key=lambda path: ratio_of(told[path], claimed))
        yield _figure(case, nearest, claimed)


def _parameters(case: Case, model: str, claimed: float) -> Finding:
    graph = case.graph("bf16")
    law = (
        f"catalogue: {model} has {parameters_of(graph.parameters)} parameters;"
        f" the claim says {parameters_of(claimed)}"
    )
    source = f"{graph.source} ({graph.confidence})"
    off = ratio_of(graph.parameters, claimed)
    figure = f"{parameters_of(graph.parameters)} parameters"
    if off <= CLOSE:
        return found("plausible", law, source=source, figure=figure)
    return found("disagrees with its source", law, factor=off, source=source, figure=figure)


def wiring(case: Case) -> Iterator[Finding]:
    """How many hops lie between two chips of a node."""
    claim = case.claim
    if claim.hops is None or claim.topology is None or not case.topology.levels:
        return
    level = case.topology.levels[0]
    most = max(level.hops(0, unit) for unit in range(level.units))
    wires = f"{level.units} × {case.topology.chip.name} ({level.fabric.name}, {level.fabric.shape})"
    hops = "hop" if most == 1 else "hops"
    law = f"wiring: among {wires}, two chips are at most {most} {hops} apart"
    source = cited(case.topology, "fabrics[0].bandwidth_bytes_per_s")
    off = claim.hops / most
    figure = f"{most} {hops}"
    if off > 1:
        yield found("disagrees with its source", law, factor=off, source=source, figure=figure)
    else:
        yield found("plausible", law, source=source, figure=figure)


def lease(case: Case) -> Iterator[Finding]:
    """What a year of a chip is said to be leased for, beside what it costs to own one: a price may
    lie above a cost, and not far from it where others sell."""
    claim = case.claim
    if claim.lease_usd_per_year is None or claim.topology is None:
        return
    bought = case.topology.price.offer("node") or case.topology.price.offer("chip")
    if bought is None or bought.purchase_usd is None:
        yield found("no opinion", f"price: no price of {case.topology.name} is published")
        return
    years = bought.purchase_usd / claim.lease_usd_per_year
    assumed = case.topology.price.economics
    hourly = bought.usd_per_chip_hour(assumed)
    owned = hourly * HOURS_PER_YEAR
    law = (
        f"price: the claim says a lease of {claim.lease_usd_per_year:,.0f} USD a year; to own the"
        f" machine ({bought.purchase_usd:,.0f} USD) costs {owned:,.0f} USD a year over"
        f" {assumed.lifetime_years:g} years, with its power; the lease has paid for it after"
        f" {years:.2g} years"
    )
    off = ratio_of(claim.lease_usd_per_year, owned)
    width = bought.within or LOOSE
    source = f"{bought.source} ({bought.confidence})"
    figure = f"{owned / 1e6:.2g} M USD a year"
    if off <= width:
        yield found("plausible", law, source=source, figure=figure)
    else:
        yield found("implausible", law, factor=off, source=source, figure=figure)


def purchase(case: Case) -> Iterator[Finding]:
    """What a chip costs to buy, beside what the catalogue has."""
    claim = case.claim
    if claim.purchase_usd is None or claim.topology is None:
        return
    bought = [
        (offer.purchase_usd, offer.basis)
        for offer in case.topology.price.offers
        if offer.purchase_usd is not None
    ]
    if not bought:
        return
    # A claim does not say what its price pays for: the nearest of what the catalogue has.
    known, basis = min(bought, key=lambda one: ratio_of(claim.purchase_usd or 0.0, one[0]))
    law = (
        f"price: the claim says {claim.purchase_usd:,g} USD; the catalogue has {known:,g} USD for"
        f" {BASIS_WORDS[basis]}"
    )
    source = cited(case.topology, "price.usd_per_chip_hour")
    off = ratio_of(claim.purchase_usd, known)
    figure = f"{known:,g} USD"
    if off <= LOOSE:
        yield found("plausible", law, source=source, figure=figure)
    else:
        yield found("disagrees with its source", law, factor=off, source=source, figure=figure)


def _figure(case: Case, path: str, value: float) -> Finding:
    """A claimed figure beside the published one."""
    topology = case.topology
    published = value_at(topology, path)
    if published is None:
        return found("no opinion", f"catalogue: {path} of {topology.name} is not published")
    many = case.claim.chips or 1
    known = many * published
    times = "" if many == 1 else f" on {many} chips"
    figure = figure_at(topology, path)
    note = f" ({figure.note})" if figure is not None and figure.note else ""
    law = (
        f"catalogue: {path} of {topology.name} is {figure_text(path, known)}{times}{note};"
        f" the claim says {figure_text(path, value)}"
    )

    is_firm = figure is not None and figure.confidence in "AB"
    if ratio_of(known, value) <= (CLOSE if is_firm else LOOSE):
        figure_found = figure_text(path, known)
        return found("plausible", law, source=cited(topology, path), figure=figure_found)
    return _misread(case, path, known, value, law)


def _misread(case: Case, path: str, known: float, value: float, law: str) -> Finding:
    """A figure that is off, by the reading of it that explains most: a link's two directions, a
    peak that counts zeros; else it is wrong."""
    source = cited(case.topology, path)
    off = ratio_of(known, value)
    figure = figure_text(path, known)
    if path.startswith("fabrics") and ratio_of(value, 2 * known) <= CLOSE:
        both = f"the claim counts both directions of a link, the catalogue one: {law}"
        return found("wrong scope", both, factor=off, source=source, figure=figure)
    if "flop_per_s" in path and value > known and _may_skip(case):
        density = known / value
        sparse = (
            f"{law}; the chip skips zeros, so this needs weights with a density of at most"
            f" {density:.0%}"
        )
        return found("plausible", sparse, source=source, figure=figure)
    return found("disagrees with its source", law, factor=off, source=source, figure=figure)


def _may_skip(case: Case) -> bool:
    """Whether the claim is about pruned weights, and the chip skips any zeros."""
    return case.claim.sparsity is not None and bool(case.topology.chip.skips)


def consistency(case: Case) -> Iterator[Finding]:
    """What one claim says of a machine, put to another claim on it."""
    claim = case.claim
    if claim.topology is None:
        return
    if claim.tokens_per_s or joules_of(claim):
        for other in (*case.others, claim):
            if other.topology is None or not (other.figure or joules_of(other)):
                continue
            if topology_of(other.topology).name == case.topology.name:
                yield from _beside(case, other)
    if claim.ends_at_parameters is not None:
        yield from _beyond_end(case)


def _beside(case: Case, other: Claim) -> Iterator[Finding]:
    """Of two claims on one machine (or one claim and itself), what cannot be said of both."""
    claim = case.claim
    if other.figure and claim.tokens_per_s and (claim.batch_size or claim.name == other.name):
        yield from _under_figure(case, other)
    if claim is not other and claim.model and claim.model == other.model:
        yield from _of_one_model(joules_of(claim), joules_of(other), other)


def _of_one_model(mine: float | None, theirs: float | None, other: Claim) -> Iterator[Finding]:
    """Joules for a token of one model on one machine, here and in another claim."""
    if mine and theirs and ratio_of(mine, theirs) > CLOSE:
        law = (
            f"energy arithmetic: for the same model and machine, this claim says {mine:.3g} J a"
            f" token and claim {other.name} says {theirs:.3g} J"
        )
        yield _against(other, law, ratio_of(mine, theirs))


def _under_figure(case: Case, other: Claim) -> Iterator[Finding]:
    """The roofline of a machine that has the figure that another claim gives it."""
    value = cast(float, other.value)
    machine = with_value(case.topology, other.figure, value)
    changed = Case(case.claim.replace(topology=machine), known={})
    said = f"{other.figure} is {figure_text(other.figure, value)}, as claim {other.name} says"
    for finding in roofline(changed):
        yield _against(other, f"if {said}: {finding.law}", finding.factor)


def _beyond_end(case: Case) -> Iterator[Finding]:
    """Prices that show an advantage where another claim says that there is none left."""
    name = case.topology.name
    for ours, theirs in itertools.permutations(_priced_beyond(case), 2):
        if topology_of(ours.topology).name != name or theirs.over is not None:
            continue
        if theirs.parameters != ours.parameters:
            continue
        gain = cast(float, theirs.usd_per_million_tokens) / cast(float, ours.usd_per_million_tokens)
        if gain > CLOSE:
            law = (
                f"claims {ours.name} and {theirs.name}: at {parameters_of(ours.parameters)} parameters"
                f" {name} is {gain:.2g}× cheaper than {topology_of(theirs.topology).name}, although"
                f" its advantage is said to end at {parameters_of(case.claim.ends_at_parameters)}"
            )
            yield _against(ours, law, gain).replace(figure=f"{gain:.2g} times cheaper")
            return


def _priced_beyond(case: Case) -> list[Claim]:
    """Other claims that give a price for a model larger than where the advantage is said to end."""
    end = case.claim.ends_at_parameters or 0
    priced = [one for one in case.others if one.usd_per_million_tokens and one.topology]
    return [one for one in priced if (one.parameters or 0) > end]


def _against(other: Claim, law: str, factor: float | None) -> Finding:
    """What cannot stand beside another claim."""
    tail = f"with claim {other.name}"
    return found("inconsistent", law, tail=tail, factor=factor, other=other.name)


def figure_text(path: str, value: float) -> str:
    """A figure with the unit of its field."""
    unit = next((unit for ending, unit in UNITS.items() if path.endswith(ending)), "")
    return spoken(value, unit)


def parameters_of(number: float | None) -> str:
    """As people write it: "70 B", "1.8 T"; B is 10⁹."""
    return spoken(number, "parameters").removesuffix("parameters").replace("G", "B")


def counted(number: int, noun: str) -> str:
    """Such as "1 chip" and "1,024 chips"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def is_deployment(claim: Claim) -> bool:
    """Whether it speaks of a model on a machine."""
    names_model = claim.model is not None or claim.parameters is not None
    return claim.topology is not None and names_model and not claim.figure


def joules_of(claim: Claim) -> float | None:
    """For one token, given or turned over."""
    if claim.energy_per_token_j:
        return claim.energy_per_token_j
    return 1 / claim.tokens_per_s_per_w if claim.tokens_per_s_per_w else None


def peak_path(roof: Roof) -> str:
    """Of the peak that the model's matmuls have."""
    peak = peak_flop_per_s(roof.graph, roof.topology)
    number = next(n for n, one in enumerate(roof.topology.chip.peaks) if one.flop_per_s == peak)
    return f"chip.peaks[{number}].flop_per_s"


def ratio_of(one: float, other: float) -> float:
    """How far apart two figures are: at least 1."""
    return max(one / other, other / one) if one > 0 and other > 0 else math.inf


def least_bad(findings: Iterator[Finding | None]) -> Iterator[Finding]:
    """Of findings in each format, the kindest; nothing where one format passes."""
    rows = list(findings)
    refusals = [row for row in rows if row is not None]
    if refusals and len(refusals) == len(rows):
        yield min(refusals, key=lambda row: row.factor or 0)


def value_at(topology: Topology, path: str) -> float | None:
    """The figure of a topology by its path; None where it is not published."""
    place: Any = topology
    try:
        for key in path.replace("[", ".").replace("]", "").split("."):
            place = place[int(key)] if key.isdecimal() else getattr(place, key)
    except (AttributeError, IndexError, TypeError):
        place = path
    if place is None or (isinstance(place, int | float) and not isinstance(place, bool)):
        return place
    raise InputError(f"Claim.figure: topology {topology.name!r} has no figure at {told(path)}")


def figure_at(topology: Topology, path: str) -> Figure | None:
    """Where that field's value comes from."""
    return next((figure for figure in topology.figures if figure.path == path), None)


def cited(topology: Topology, *paths: str) -> str:
    """'GROQN (B)': the source of the first of these fields that has one."""
    known = [figure for path in paths if (figure := figure_at(topology, path)) is not None]
    return f"{known[0].source} ({known[0].confidence})" if known else ""
