"""Laws of what is no plan: sourced figures of things that the catalogue does not carry, distances
on a chip, areas of a die, look-ups, racks, and what a chip is said to be made for."""

import math
from collections.abc import Iterator
from typing import cast

from planner.machines.topology import Figure, Topology
from planner.studies.audits.cases import Case, topology_of
from planner.studies.audits.claims import Area, Distance, Known, Lookup
from planner.studies.audits.findings import Finding, Verdict, found
from planner.units import spoken, trimmed

CLOSE = 1.05
"""Ratios within it are rounding."""
BITS_PER_MBIT = 1e6


def known(case: Case) -> Iterator[Finding]:
    """A figure, or words, beside what a source says."""
    said = case.claim.known
    if said is None:
        return
    source = f"{said.source} ({said.confidence})"
    if said.agrees is not None:
        verdict: Verdict = "plausible" if said.agrees else "disagrees with its source"
        yield found(verdict, f"source: {said.words}", source=source, figure=said.what)
        return
    claimed, low, high = (cast(float, one) for one in (said.claimed, said.low, said.high))
    between = _told(said, low) if low == high else f"{_told(said, low)} to {_told(said, high)}"
    words = f" ({said.words})" if said.words else ""
    law = f"source: {said.what}: {between}{words}; the claim says {_told(said, claimed)}"
    off = max(low / claimed, claimed / high)
    if off <= CLOSE:
        yield found("plausible", law, source=source, figure=between)
    else:
        yield found("disagrees with its source", law, factor=off, source=source, figure=between)


def _told(said: Known, value: float) -> str:
    if said.unit.startswith("USD"):
        return f"{value:,g} {said.unit}"
    return spoken(value, said.unit) if said.unit else f"{value:,.15g}"


def distances(case: Case) -> Iterator[Finding]:
    """How far one core of a mesh lies from another: two thirds of a side on average in each of two
    directions, so (2/3) √n hops for n cores in a square, and twice a side at the most."""
    said = case.claim.arithmetic
    if not isinstance(said, Distance):
        return
    mean = 2 / 3 * math.sqrt(said.cores) * said.cycles_per_hop
    most = 2 * (math.sqrt(said.cores) - 1) * said.cycles_per_hop
    law = (
        f"distance: at {counted_cycles(said.cycles_per_hop)} for each hop, {said.cores:,.0f} cores"
        f" in a square mesh are {mean:,.0f} cycles apart on average and {most:,.0f} at the most;"
        f" the claim says {said.value:g}"
    )
    figure = f"{mean:,.0f} cycles"
    if mean <= said.value * CLOSE:
        yield found("plausible", law, figure=figure)
    else:
        yield found("impossible", law, factor=mean / said.value, figure=figure)


def counted_cycles(number: float) -> str:
    """Such as "1 cycle"."""
    return f"{number:g} cycle" if number == 1 else f"{number:g} cycles"


def areas(case: Case) -> Iterator[Finding]:
    """What share of a die so much memory takes, cells and their periphery."""
    said = case.claim.arithmetic
    if not isinstance(said, Area):
        return
    taken_mm2 = 8 * said.memory_bytes / BITS_PER_MBIT * said.cell_mm2_per_mbit
    share = taken_mm2 / said.die_mm2
    law = (
        f"area: {spoken(said.memory_bytes, 'B')} at {said.cell_mm2_per_mbit:g} mm² a Mbit take"
        f" {trimmed(taken_mm2)} of the die's {said.die_mm2:g} mm², which is {share:.0%}; the claim"
        f" says {said.value:.0%}"
    )
    figure = f"{share:.0%} of the die"
    off = max(share / said.value, said.value / share)
    # A share of a die is told in round figures, and the density of arrays differs by half.
    if off <= 1.5:
        yield found("plausible", law, figure=figure)
    else:
        yield found("implausible", law, factor=off, figure=figure)


def lookups(case: Case) -> Iterator[Finding]:
    """Of n rows that are summed up where they lie one leaves, and n indices come: the share saved
    is 1 - 1/n - index / row, nothing where one row is looked up."""
    said = case.claim.arithmetic
    if not isinstance(said, Lookup):
        return
    indices = said.index_bytes / said.row_bytes
    left = 1 - said.value - indices
    law = (
        f"traffic: if the memory sums up n rows of {spoken(said.row_bytes, 'B')}, one row leaves it"
        f" and n indices enter it, so 1 - 1/n - {indices:.2g} of the bytes are saved"
    )
    if left <= 0:
        yield found(
            "impossible", f"{law}: never {said.value:.0%}", figure=f"at most {1 - indices:.0%}"
        )
        return
    fewest = math.ceil(1 / left)
    law += (
        f"; {said.value:.0%} needs {fewest} rows or more, and a language model looks up one row"
        " for a token"
    )
    tail = f"{fewest} rows or more are summed up"
    yield found("plausible if", law, tail=tail, figure=f"{fewest} rows a look-up")


def purposes(case: Case) -> Iterator[Finding]:
    """What is made specifically for one thing is not made specifically for another."""
    said = case.claim.purposes
    if len(said) < 2:
        return
    law = (
        "words: the same chip is said to be made specifically for"
        f" {' and specifically for '.join(said)}"
    )
    yield found("inconsistent", law, figure=f"{len(said)} purposes")


def architectures(case: Case) -> Iterator[Finding]:
    """What family a machine's chips are of."""
    claim = case.claim
    if not claim.architecture or claim.topology is None:
        return
    chip = case.topology.chip
    law = (
        f"catalogue: the architecture of the {chip.name} in {case.topology.name} is"
        f" {chip.architecture!r}; the claim says {claim.architecture!r}"
    )
    is_same = chip.architecture.lower() == claim.architecture.lower()
    verdict: Verdict = "plausible" if is_same else "disagrees with its source"
    yield found(
        verdict, law, source=f"the catalogue's entry of {chip.name}", figure=chip.architecture
    )


def racks(case: Case) -> Iterator[Finding]:
    """Power for each U of height, beside that of other machines."""
    claim = case.claim
    if not claim.denser_than or claim.topology is None:
        return
    density = _density(case.topology)
    others = {name: _density(topology_of(name)) for name in claim.denser_than}
    if density is None or None in others.values():
        silent = [name for name, one in others.items() if one is None]
        yield found(
            "no opinion",
            f"racks: the height of {', '.join(silent) or claim.topology} in a rack is not known",
        )
        return
    each = {name: cast(float, one) for name, one in others.items()}
    densest = max(each, key=lambda name: each[name])
    beside = ", ".join(f"{name} {spoken(one, 'W')}" for name, one in each.items())
    law = f"racks: for each rack unit (U), {case.topology.name} draws {spoken(density, 'W')}; {beside}"
    source = _sourced(case.topology)
    figure = f"{spoken(density, 'W')} a U"
    if density > each[densest] * CLOSE:
        yield found("plausible", law, source=source, figure=figure)
    else:
        factor = each[densest] / density
        yield found("implausible", law, factor=factor, source=source, figure=figure)


def _density(topology: Topology) -> float | None:
    return None if topology.rack is None else topology.rack.density_w_per_rack_unit


def _sourced(topology: Topology) -> str:
    figures: tuple[Figure, ...] = () if topology.rack is None else topology.rack.figures
    return f"{figures[0].source} ({figures[0].confidence})" if figures else ""
