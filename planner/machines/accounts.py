"""On what basis machines are counted, so that like stands beside like: what their power counts,
whether it is drawn or provisioned, and what their price pays for.

A basis is chosen once, before anything is planned: it makes another version of the machine.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from planner.errors import InputError, check_word, listed, told
from planner.machines.cluster import Cluster
from planner.machines.prices import (
    BASES,
    BASIS_WORDS,
    LICENSED,
    Economics,
    Price,
    check_basis,
    given_price,
    licensed,
    offered,
    repriced,
)
from planner.machines.topology import Figure, PowerScope, Topology

PowerBasis = Literal["drawn", "provisioned"]
POWER_BASES: tuple[PowerBasis, ...] = ("drawn", "provisioned")
BASIS_PATH = "price.usd_per_chip_hour"
SCOPE_WORDS = {
    "chip": "chips alone",
    "system": "at the wall",
    "facility": "at the site, with its losses and cooling",
    "unknown": "not published",
}
POWER_WORDS = {"drawn": "as drawn", "provisioned": "as provisioned", "unknown": "unlike bases"}
ENERGY_FIELDS = ("energy_per_token_j", "energy_per_sample_j", "power_w")
PRICE_FIELDS = ("usd_per_million_tokens", "usd_per_hour", "usd_per_sample")


def power_basis_of(topology: Topology) -> Literal["drawn", "provisioned", "unknown"]:
    """Whether what a machine draws follows what it does, or is what was provisioned for it."""
    power = topology.power
    if power.chip_w is None and power.system_w is None:
        return "unknown"
    return "provisioned" if power.idle_share == 1 else "drawn"


def counted(
    topology: Topology, *, price_basis: str | None = None, power_basis: str | None = None
) -> Topology:
    """The machine with the price of one basis, and the watts of one; None leaves them as they
    are. An InputError says what is known of it."""
    check_basis(price_basis)
    check_power_basis(power_basis)
    if price_basis is not None:
        topology = priced(topology, price_basis)
    if power_basis == "provisioned":
        topology = _provisioned(topology)
    if power_basis == "drawn" and power_basis_of(topology) == "provisioned":
        raise InputError(
            f"of {topology.name} only the provisioned power is known, not what it draws; give"
            " power_basis='provisioned' (--power-basis provisioned)"
        )
    return topology


def check_power_basis(basis: str | None, field: str = "power_basis") -> None:
    """Refuse what is no basis of watts, with those that are nearest."""
    check_word(basis, POWER_BASES, field)


def priced(topology: Topology, basis: str) -> Topology:
    """The machine with its price on another basis."""
    check_basis(basis)
    price = topology.price
    if price.basis == basis:
        return topology
    if price.offer(basis) is None:
        known = "none is known" if not price.bases else f"known are {listed(price.bases, 'and')}"
        raise InputError(
            f"{topology.name} has no price on the basis {told(basis)} ({known}); take one of these,"
            " or give price='2.10 USD/h' (--price)"
        )
    licence = price.licence_usd_per_chip_year
    return _with_price(topology, offered(price.offers, price.economics, basis, licence))


def with_economics(topology: Topology, economics: Economics) -> Topology:
    """The machine whose owner has other costs."""
    return _with_price(topology, repriced(topology.price, economics))


def with_price(topology: Topology, text: str, field: str = "price") -> Topology:
    """The machine at a price that somebody says: "2.10 USD/h" for each chip, a lease
    ("20000 USD/month", power besides) or a list price for tokens ("0.59/0.79 USD/Mtok")."""
    power = topology.power
    watts = power.system_w or power.chip_w or 0.0
    return _with_price(topology, given_price(topology.price, text, field, power_w=watts))


def with_licence(topology: Topology, text: str, field: str = "licence") -> Topology:
    """The machine whose software costs "4500 USD/year" for each chip, on top of what is bought or
    leased."""
    return _with_price(topology, licensed(topology.price, text, field))


def _with_price(topology: Topology, price: Price) -> Topology:
    """With the figure of the price that is taken now, and where it comes from."""
    kept = tuple(figure for figure in topology.figures if figure.path != BASIS_PATH)
    figure = price_figure(price)
    figures = kept if figure is None else (*kept, figure)
    return topology.replace(price=price, figures=figures)


def price_figure(price: Price) -> Figure | None:
    """Where the hourly price comes from; None where there is none."""
    hourly = price.usd_per_chip_hour
    if hourly is None:
        return None
    offer = price.offer(price.basis)
    if offer is None:
        return Figure(
            path=BASIS_PATH, value=hourly, source="", confidence="stated", note="as asked for"
        )
    notes = [offer.note]
    if offer.purchase_usd is not None:
        assumed = price.economics
        notes.insert(
            0,
            f"{offer.purchase_usd:,.0f} USD over {assumed.lifetime_years:g} years, power at"
            f" {assumed.usd_per_kwh:.2f} USD/kWh, PUE {assumed.pue:g}",
        )
    if offer.lease_usd_per_chip_year is not None:
        notes.insert(0, f"a lease of {offer.lease_usd_per_chip_year:,.0f} USD a year")
    if price.licence_usd_per_chip_year and offer.basis in LICENSED:
        notes.append(f"software at {price.licence_usd_per_chip_year:,.0f} USD a year")
    return Figure(
        path=BASIS_PATH,
        value=hourly,
        source=offer.source,
        confidence=offer.confidence,
        note="; ".join(note for note in notes if note),
        within=offer.within,
    )


def _provisioned(topology: Topology) -> Topology:
    """The machine that draws always what was provisioned for it."""
    power = topology.power
    if power_basis_of(topology) != "drawn":
        return topology
    always = power.replace(
        idle_share=1.0, compute_activity=0.0, memory_activity=0.0, host_share=1.0
    )
    paths = [f"power.{name}" for name in ("idle_share", "compute_activity", "memory_activity")]
    return _without_figures(topology.replace(power=always), [*paths, "power.host_share"])


def _without_figures(topology: Topology, paths: Sequence[str]) -> Topology:
    kept = tuple(figure for figure in topology.figures if figure.path not in paths)
    return topology.replace(figures=kept)


def alike(
    topologies: Sequence[Topology],
    *,
    must: Sequence[str] = (),
    price_basis: str | None = None,
    power_basis: str | None = None,
    power_scope: PowerScope | None = None,
) -> tuple[Topology, ...]:
    """The machines on one basis for all, where all are known on one; they are left as they are
    where there is none, unless a field of `must` hangs on it: then an InputError says why not.

    What is asked for is taken; else what all have in common: of prices the first of `BASES`, of
    watts those drawn, else those provisioned, at the wall, else of the chips alone.
    """
    machines = alike_machines(topologies, price_basis, power_basis, must=must)
    if power_scope is None:
        machines = _alike_in_scope(machines, must)
    else:
        _refuse_unlike_scope(machines, must, power_scope)
    if power_scope == "chip":
        machines = [_chips_alone(one) for one in machines]
    return tuple(machines)


def alike_machines(
    topologies: Sequence[Topology],
    price_basis: str | None = None,
    power_basis: str | None = None,
    *,
    must: Sequence[str] = (),
) -> list[Topology]:
    """Machines that serve together, counted on one basis where all are known on one; where not all
    prices are, an InputError says so if a field of `must` hangs on them."""
    machines = [
        counted(one, price_basis=price_basis, power_basis=power_basis) for one in topologies
    ]
    return _alike_in_basis(_alike_in_price(machines, must))


def alike_pools(
    cluster: Cluster, *, price_basis: str | None = None, power_basis: str | None = None
) -> Cluster:
    """The cluster whose pools are counted on one basis, where all are known on one."""
    machines = alike_machines(
        [pool.topology for pool in cluster.pools], price_basis=price_basis, power_basis=power_basis
    )
    pools = tuple(
        pool.replace(topology=machine)
        for pool, machine in zip(cluster.pools, machines, strict=True)
    )
    return cluster if pools == cluster.pools else cluster.replace(pools=pools)


def common_power_basis(
    topologies: Sequence[Topology],
) -> Literal["drawn", "provisioned", "unknown"]:
    """What the watts of all are, where they are the same."""
    bases = {power_basis_of(one) for one in topologies}
    return bases.pop() if len(bases) == 1 else "unknown"


def common_price_basis(topologies: Sequence[Topology]) -> str | None:
    """On which the prices of all are known; None: on none. What was given goes with any."""
    shared = [one.price for one in topologies if one.price.basis != "given"]
    if len({price.basis for price in shared}) == 1:
        basis = shared[0].basis
        return None if basis == "unknown" else basis
    if not shared:
        return "given"
    return next((basis for basis in BASES if all(basis in one.bases for one in shared)), None)


def _alike_in_price(machines: list[Topology], must: Sequence[str]) -> list[Topology]:
    basis = common_price_basis(machines)
    counted_in = next((name for name in must if name in PRICE_FIELDS), None)
    if basis == "token" and counted_in is not None:
        raise InputError(
            f"{counted_in} is the same for every plan where tokens have a list price; give the price"
            " of a chip instead, such as price='2.10 USD/h' (--price)"
        )
    if basis is None and counted_in is not None:
        raise InputError(unlike_prices(counted_in, machines))
    if basis is None:
        # One without a price does not keep the others from being counted alike.
        basis = common_price_basis([one for one in machines if one.price.basis != "unknown"])
    if basis not in BASES:
        return machines
    return [
        one if one.price.basis in ("given", "unknown") else priced(one, basis) for one in machines
    ]


def unlike_prices(field: str, machines: Sequence[Topology]) -> str:
    """Why a price cannot be set beside another."""
    unpriced = [one.name for one in machines if one.price.basis == "unknown"]
    if unpriced:
        return (
            f"{field} needs the price of {listed(unpriced)}, which is not known; write it into the"
            " machine's file, or give price='2.10 USD/h' (--price)"
        )
    known = ", ".join(f"{one.name} ({listed(one.price.bases, 'or')})" for one in machines)
    return (
        f"{field} is not comparable: no price basis is known for all machines: {known};"
        f" {_largest_basis(machines)}"
    )


def _largest_basis(machines: Sequence[Topology]) -> str:
    """What makes the prices of as many machines as possible comparable."""
    able = {basis: [one for one in machines if basis in one.price.bases] for basis in BASES}
    most = max(map(len, able.values()))
    if most < 2:
        return "write the price of each into its file, all on one basis"
    said = []
    for basis, known in able.items():
        others = listed([one.name for one in machines if one not in known], "or")
        if len(known) == most:
            said.append(f"price_basis='{basis}' (--price-basis {basis}) without {others}")
    return f"compare them by {listed(said, 'or')}"


def _alike_in_basis(machines: list[Topology]) -> list[Topology]:
    bases = {power_basis_of(one) for one in machines}
    if {"drawn", "provisioned"} <= bases:
        return [_provisioned(one) for one in machines]
    return machines


class Counted(NamedTuple):
    """What figures that stand side by side count."""

    power_scope: str
    power_basis: str
    price_basis: str

    def words(self, field: str) -> str:
        """Of a field, in words; none where it counts neither watts nor dollars."""
        if field in ENERGY_FIELDS and self.power_scope != "unknown":
            return f"power: {SCOPE_WORDS[self.power_scope]}, {POWER_WORDS[self.power_basis]}"
        if field in PRICE_FIELDS and self.price_basis != "unknown":
            return f"price: {BASIS_WORDS[self.price_basis]}"
        return ""


def what_counts(topologies: Sequence[Topology]) -> Counted:
    """What the figures of all count, where they count the same; else unknown."""
    scopes = {next(iter(scopes_of(one)), "unknown") for one in topologies}
    prices = {one.price.basis for one in topologies}
    return Counted(
        power_scope=scopes.pop() if len(scopes) == 1 else "unknown",
        power_basis=common_power_basis(topologies),
        price_basis=prices.pop() if len(prices) == 1 else "unknown",
    )


def scopes_of(topology: Topology) -> tuple[PowerScope, ...]:
    """In which a machine's power is known, the widest first."""
    known: list[PowerScope] = []
    if topology.power.system_w is not None:
        known.append("system")
    if topology.power.chip_w is not None:
        known.append("chip")
    return tuple(known)


def _alike_in_scope(machines: list[Topology], must: Sequence[str]) -> list[Topology]:
    known = [scopes_of(one) for one in machines]
    wanted: tuple[PowerScope, ...] = ("system", "chip")
    common = next((scope for scope in wanted if all(scope in one for one in known)), None)
    if common == "chip":
        return [_chips_alone(one) for one in machines]
    field = next((name for name in must if name in ENERGY_FIELDS), None)
    if common is None and field is not None:
        raise InputError(unlike_scopes(field, machines))
    return machines


def _chips_alone(topology: Topology) -> Topology:
    if topology.power.system_w is None or topology.power.chip_w is None:
        return topology
    alone = topology.power.replace(system_w=None, host_share=1.0)
    return _without_figures(topology.replace(power=alone), ["power.system_w", "power.host_share"])


def unlike_scopes(field: str, machines: Sequence[Topology]) -> str:
    silent = [one.name for one in machines if not scopes_of(one)]
    if silent:
        return (
            f"{field} needs the power of {listed(silent)}, which is not published; write it into the"
            " machine's file"
        )
    known = ", ".join(f"{one.name} ({listed(scopes_of(one))})" for one in machines)
    return (
        f"{field} is not comparable: no scope of power is known for all machines: {known}; write"
        " the missing watts into a file, or leave a machine out"
    )


def _refuse_unlike_scope(
    machines: Sequence[Topology], must: Sequence[str], scope: PowerScope
) -> None:
    field = next((name for name in must if name in ENERGY_FIELDS), None)
    wanted = "system" if scope == "facility" else scope
    silent = [one.name for one in machines if wanted not in scopes_of(one)]
    if field is not None and silent:
        raise InputError(
            f"{field} needs the {scope} power of {listed(silent)}, which is not published; write it"
            " into the machine's file"
        )
