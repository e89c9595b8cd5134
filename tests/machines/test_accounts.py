"""Machines counted on one basis before they are compared."""

import pytest

import planner as pl
from planner.machines.accounts import (
    alike,
    alike_pools,
    common_price_basis,
    counted,
    power_basis_of,
    priced,
    scopes_of,
    unlike_prices,
    what_counts,
    with_economics,
    with_licence,
    with_price,
)
from planner.machines.prices import Economics, Price, offered
from planner.machines.topology import Power, with_value
from tests.by_hand import round_machine
from tests.instances import FOLLOWING
from tests.machines.test_cluster import line
from tests.machines.test_prices import CHIP, NODE, RENTAL

GIVEN = round_machine(1, price=Price(usd_per_chip_hour=2.0, basis="given"))


def machine(*offers, **changes):
    return round_machine(1, price=offered(offers, Economics(pue=1.0)), **changes)


def test_a_machine_is_priced_on_the_basis_that_is_asked_for():
    one = machine(CHIP, NODE, RENTAL)
    hourly = {
        basis: counted(one, price_basis=basis).price.usd_per_chip_hour
        for basis in ("chip", "node", "rental")
    }
    assert hourly == pytest.approx({"chip": 0.55, "node": 1.10, "rental": 3.0})
    assert counted(one) is one
    back = priced(priced(one, "rental"), "node")
    assert back.price == one.price


def test_the_figure_of_a_price_is_that_of_its_basis():
    h100 = pl.load_topology("hgx-h100", price_basis="chip")
    (figure,) = (one for one in h100.figures if one.path == "price.usd_per_chip_hour")
    # 27,000 USD over 35,040 h, and 700 W at 0.10 USD/kWh and 1.2 at the site.
    assert figure.value == h100.price.usd_per_chip_hour
    assert figure.value == pytest.approx(27_000 / 35_040 + 0.7 * 0.10 * 1.2)
    assert "27,000 USD" in figure.note


def test_prices_of_the_catalogue_count_the_same():
    hourly = {
        name: pl.load_topology(name).price
        for name in ("hgx-h100", "hgx-h200", "hgx-b200", "mi300x-8")
    }
    assert {price.basis for price in hourly.values()} == {"node"}
    assert hourly["hgx-h100"].usd_per_chip_hour < hourly["hgx-h200"].usd_per_chip_hour
    assert hourly["hgx-h200"].usd_per_chip_hour < hourly["hgx-b200"].usd_per_chip_hour


def test_a_basis_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(pl.InputError, match=r"no price on the basis 'rental' \(known are node\)"):
        counted(machine(NODE), price_basis="rental")
    with pytest.raises(pl.InputError, match="power_basis must be drawn or provisioned"):
        counted(machine(NODE), power_basis="drawed")


def test_costs_of_the_owner_move_the_price():
    one = machine(NODE)
    assert with_economics(one, Economics(pue=1.3)).price.usd_per_chip_hour == pytest.approx(1.13)
    moved = with_value(one, "price.economics.pue", 2.0)
    assert moved.price.usd_per_chip_hour == pytest.approx(1.20)
    half = with_value(one, "price.economics.utilisation", 0.5)
    assert half.price.usd_per_chip_hour == pytest.approx(2.20)
    asked = pl.load_topology("hgx-h100", economics=pl.Economics(utilisation=0.5))
    assert asked.price.usd_per_chip_hour == pytest.approx(
        2 * pl.load_topology("hgx-h100").price.usd_per_chip_hour
    )


def test_a_price_may_be_said():
    said = pl.load_topology("hgx-h100", price="2.10 USD/h")
    assert (said.price.usd_per_chip_hour, said.price.basis) == (2.10, "given")
    assert with_price(said, "3 USD/h").price.usd_per_chip_hour == 3.0
    with pytest.raises(pl.InputError, match="give price or price_basis, not both"):
        pl.load_topology("hgx-h100", price="2.10 USD/h", price_basis="node")


def test_prices_take_the_first_basis_that_all_have():
    both = alike([machine(CHIP, NODE, RENTAL), machine(CHIP, RENTAL)])
    assert [one.price.basis for one in both] == ["rental", "rental"]
    three = [machine(CHIP, NODE), machine(NODE)]
    assert alike(three) == tuple(three)
    assert common_price_basis([machine(CHIP, NODE), machine(RENTAL)]) is None
    assert common_price_basis([machine(NODE), GIVEN]) == "node"
    assert common_price_basis([GIVEN, GIVEN]) == "given"
    assert alike([machine(CHIP, RENTAL), GIVEN])[1] == GIVEN


def test_prices_without_a_basis_in_common_are_refused_where_they_rank():
    apart = [machine(CHIP, NODE), machine(RENTAL)]
    assert alike(apart) == tuple(apart)
    with pytest.raises(
        pl.InputError, match=r"not comparable.*round \(node or chip\), round \(rental\)"
    ):
        alike(apart, must=("usd_per_million_tokens",))
    with pytest.raises(pl.InputError, match="needs the price of round, which is not known"):
        alike([machine(), machine(NODE)], must=("usd_per_sample",))


def test_what_is_not_comparable_ends_with_what_makes_it_so():
    both, bought, rented = (
        machine(*offers).replace(name=name)
        for name, offers in (("both", (NODE, RENTAL)), ("bought", (NODE,)), ("rented", (RENTAL,)))
    )
    assert unlike_prices("price", [both, bought, rented]).endswith(
        "; compare them by price_basis='node' (--price-basis node) without rented or"
        " price_basis='rental' (--price-basis rental) without bought"
    )
    assert unlike_prices("price", [bought, rented]).endswith(
        "; write the price of each into its file, all on one basis"
    )
    assert "give price='2.10 USD/h' (--price)" in unlike_prices("price", [both, machine()])


def test_a_machine_without_a_price_leaves_the_others_on_one_basis():
    silent = machine()
    made = alike([machine(CHIP, NODE), machine(NODE), silent])
    assert [one.price.basis for one in made] == ["node", "node", "unknown"]
    assert made[2] == silent


def test_watts_that_are_drawn_never_stand_beside_provisioned_ones():
    drawn, provisioned = machine(power=FOLLOWING), machine()
    assert [power_basis_of(one) for one in (drawn, provisioned)] == ["drawn", "provisioned"]
    assert power_basis_of(machine(power=Power())) == "unknown"
    both = alike([drawn, provisioned])
    assert [power_basis_of(one) for one in both] == ["provisioned"] * 2
    assert both[0].power == Power(chip_w=100.0, system_w=150.0)
    assert alike([drawn, drawn]) == (drawn, drawn)
    with pytest.raises(pl.InputError, match="only the provisioned power is known"):
        alike([drawn, provisioned], power_basis="drawn")


def test_power_counts_what_is_known_of_all():
    wall, chips = machine(), machine(power=Power(chip_w=80.0))
    assert scopes_of(wall) == ("system", "chip")
    both = alike([wall, chips], must=("energy_per_token_j",))
    assert [one.power.system_w for one in both] == [None, None]
    whole = machine(power=Power(system_w=200.0))
    with pytest.raises(pl.InputError, match=r"no scope of power is known for all.*round \(chip\)"):
        alike([whole, chips], must=("energy_per_token_j",))
    assert alike([whole, chips]) == (whole, chips)
    for blind in (machine(power=Power()), machine(power=Power(system_w=200.0))):
        with pytest.raises(pl.InputError, match=r"needs the (chip )?power of round"):
            alike(
                [chips, blind],
                must=("energy_per_token_j",),
                power_scope="chip" if blind.power.system_w else None,
            )


def test_what_a_comparison_counts_is_said_in_words():
    counts = what_counts([machine(NODE, power=FOLLOWING)] * 2)
    assert counts.words("energy_per_token_j") == "power: at the wall, as drawn"
    assert counts.words("usd_per_million_tokens") == "price: the chip and its share of the node"
    assert counts.words("chips") == ""
    assert what_counts([machine(NODE), machine(RENTAL)]).price_basis == "unknown"


def test_pools_count_alike():
    cluster = line("a", "b")
    assert alike_pools(cluster) is cluster
    first, second = cluster.pools
    mixed = cluster.replace(
        pools=(first, second.replace(topology=second.topology.replace(power=FOLLOWING)))
    )
    bases = [power_basis_of(pool.topology) for pool in alike_pools(mixed).pools]
    assert bases == ["provisioned"] * 2


@pytest.mark.parametrize("name", ["groq-lpu-chain", "groq-lpu-dragonfly", "cerebras-cs3"])
def test_lpus_and_wafers_draw_by_what_they_do_as_gpus_do(name):
    found = pl.load_topology(name)
    assert power_basis_of(found) == power_basis_of(pl.load_topology("hgx-h100")) == "drawn"
    (share,) = (one for one in found.figures if one.path == "power.idle_share")
    assert share.confidence == "guess"
    assert share.within > 1


def test_a_card_that_is_sold_one_at_a_time_is_known_to_a_factor_of_ten():
    found = pl.load_topology("groq-lpu-chain", price_basis="chip")
    (figure,) = (one for one in found.figures if one.path == "price.usd_per_chip_hour")
    assert figure.within == 10


def test_a_lease_a_licence_and_a_price_of_tokens_are_bases_of_their_own():
    watts = Power(chip_w=500.0, system_w=1000.0)
    one = machine(NODE, RENTAL, power=watts)
    leased = with_price(one, "2920 USD/month")
    # 35,040 USD over 8,760 hours, and 1 kW at 0.10 USD/kWh.
    assert leased.price.usd_per_chip_hour == pytest.approx(4.10)
    assert "lease of 35,040 USD" in next(f.note for f in leased.figures if "price" in f.path)
    assert with_licence(leased, "8760 USD/year").price.usd_per_chip_hour == pytest.approx(5.10)
    assert priced(with_licence(one, "8760 USD/year"), "rental").price.usd_per_chip_hour == 3.0
    assert common_price_basis([leased, machine(NODE)]) == "node"
    assert common_price_basis([with_price(machine(), "1 USD/month"), machine(NODE)]) is None


def test_what_is_asked_for_tokens_never_stands_beside_what_chips_cost():
    asked = with_price(machine(), "0.59/0.79 USD/Mtok")
    with pytest.raises(pl.InputError, match="usd_per_million_tokens is not comparable"):
        alike([asked, machine(NODE)], must=("usd_per_million_tokens",))
    with pytest.raises(
        pl.InputError, match="the same for every plan where tokens have a list price"
    ):
        alike([asked, asked], must=("usd_per_million_tokens",))
    assert alike([asked, asked]) == (asked, asked)
