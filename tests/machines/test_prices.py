"""Prices by hand: a purchase over its life with its power, and a rent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.machines.prices import (
    Economics,
    Offer,
    Price,
    check_basis,
    given_price,
    licensed,
    offered,
    repriced,
)

# 35,040 USD over the 35,040 hours of four years: 1 USD/h; 1 kW at 0.10 USD/kWh: 0.10 USD/h.
NODE = Offer(basis="node", purchase_usd=35_040.0, power_w=1000.0)
CHIP = Offer(basis="chip", purchase_usd=17_520.0, power_w=500.0)
RENTAL = Offer(basis="rental", rent_usd_per_chip_hour=3.0)
PLAIN = Economics(pue=1.0)


@pytest.mark.parametrize(
    ("offer", "changes", "usd"),
    [
        (NODE, {"pue": 1.0}, 1.10),
        (NODE, {}, 1.12),
        (NODE, {"pue": 1.3}, 1.13),
        (NODE, {"pue": 1.0, "utilisation": 0.5}, 2.20),
        (NODE, {"pue": 1.3, "utilisation": 0.5}, 2.26),
        (NODE, {"pue": 1.0, "lifetime_years": 2.0}, 2.10),
        (NODE, {"pue": 1.0, "usd_per_kwh": 0.2}, 1.20),
        (CHIP, {"pue": 1.0}, 0.55),
        (CHIP, {}, 0.56),
        (RENTAL, {}, 3.0),
        (RENTAL, {"pue": 1.3, "lifetime_years": 2.0, "usd_per_kwh": 0.2}, 3.0),
        (RENTAL, {"utilisation": 0.5}, 6.0),
    ],
)
def test_an_hour_of_a_chip_by_hand(offer, changes, usd):
    assert offer.usd_per_chip_hour(Economics(**changes)) == pytest.approx(usd)


@pytest.mark.slow
@given(st.floats(0.01, 1), st.floats(1, 3), st.floats(1, 20), st.floats(0, 2))
def test_who_pays_more_never_pays_less(utilisation, pue, years, usd_per_kwh):
    assumed = Economics(
        utilisation=utilisation, pue=pue, lifetime_years=years, usd_per_kwh=usd_per_kwh
    )
    hourly = NODE.usd_per_chip_hour(assumed)
    dearer = NODE.replace(purchase_usd=2 * (NODE.purchase_usd or 0))
    assert dearer.usd_per_chip_hour(assumed) > hourly
    assert NODE.usd_per_chip_hour(assumed.replace(pue=pue + 0.5)) >= hourly
    assert NODE.usd_per_chip_hour(assumed.replace(lifetime_years=years / 2)) > hourly
    halved = NODE.usd_per_chip_hour(assumed.replace(utilisation=utilisation / 2))
    assert halved == pytest.approx(2 * hourly)


def test_the_site_takes_its_part_of_the_power_and_none_of_the_purchase():
    at_one, at_most = (NODE.usd_per_chip_hour(Economics(pue=pue)) for pue in (1.0, 1.3))
    assert at_most - at_one == pytest.approx(0.3 * 0.10)


def test_the_node_goes_before_rent_and_rent_before_the_chip():
    assert offered((CHIP, NODE, RENTAL), PLAIN).basis == "node"
    assert offered((CHIP, RENTAL), PLAIN).basis == "rental"
    assert offered((CHIP,), PLAIN).basis == "chip"
    assert offered((), PLAIN) == Price(economics=PLAIN)
    assert offered((CHIP, NODE, RENTAL), PLAIN).bases == ("node", "rental", "chip")
    assert offered((CHIP, NODE), PLAIN, "chip").usd_per_chip_hour == pytest.approx(0.55)
    assert offered((CHIP,), PLAIN, "rental").usd_per_chip_hour is None


def test_a_price_that_is_given_is_taken_as_it_is():
    price = given_price(offered((CHIP, NODE), PLAIN), "2.10 USD/h")
    assert (price.usd_per_chip_hour, price.basis) == (2.10, "given")
    assert price.bases == ("node", "chip")
    idle = repriced(price, Economics(utilisation=0.5, pue=2.0))
    assert idle.usd_per_chip_hour == pytest.approx(4.20)
    assert given_price(price, "3 USD/h").usd_per_chip_hour == 3.0


@pytest.mark.parametrize("text", ["2.10 EUR/h", "2.10 USD", "2.10", "cheap", "-1 USD/h"])
def test_a_price_in_another_unit_is_refused(text):
    with pytest.raises(pl.InputError, match=r"price|dollars"):
        given_price(Price(), text)


def test_a_price_by_itself_follows_the_use_of_the_machine():
    alone = Price(usd_per_chip_hour=3.6, basis="rental")
    assert repriced(alone, Economics(utilisation=0.5)).usd_per_chip_hour == pytest.approx(7.2)
    assert repriced(Price(), Economics(pue=2.0)).usd_per_chip_hour is None


def test_an_offer_is_a_purchase_or_a_rent():
    for paid in ({}, {"purchase_usd": 1.0, "rent_usd_per_chip_hour": 1.0}):
        with pytest.raises(pl.InputError, match="purchase_usd, rent_usd_per_chip_hour"):
            Offer(basis="chip", **paid)


@pytest.mark.parametrize("changes", [{"pue": 0.9}, {"utilisation": 0.0}, {"lifetime_years": 0.0}])
def test_costs_that_cannot_be_are_refused(changes):
    with pytest.raises(pl.InputError, match=next(iter(changes))):
        Economics(**changes)


def test_a_purchase_of_an_older_record_is_a_node():
    assert Price(usd_per_chip_hour=1.0, basis="purchase").basis == "node"


def test_a_wrong_basis_is_refused_with_the_nearest():
    check_basis(None)
    with pytest.raises(pl.InputError, match="not 'rentel'; did you mean rental"):
        check_basis("rentel")


# 35,040 USD a year over 8,760 hours: 4 USD/h; 1 kW at 0.10 USD/kWh: 0.10 USD/h.
LEASE = Offer(basis="lease", lease_usd_per_chip_year=35_040.0, power_w=1000.0)
ASKED = Offer(basis="token", usd_per_million_input_tokens=0.5, usd_per_million_output_tokens=0.8)


@pytest.mark.parametrize(
    ("offer", "changes", "usd"),
    [
        (LEASE, {"pue": 1.0}, 4.10),
        (LEASE, {"pue": 1.0, "lifetime_years": 2.0}, 4.10),
        (LEASE, {"pue": 1.0, "utilisation": 0.5}, 8.20),
        # A fee of two years' hours in two years: 1 USD/h more.
        (LEASE.replace(lease_fee_usd=17_520.0, lease_years=2.0), {"pue": 1.0}, 5.10),
    ],
)
def test_an_hour_of_a_lease_by_hand(offer, changes, usd):
    assert offer.usd_per_chip_hour(Economics(**changes)) == pytest.approx(usd)


def test_a_list_price_for_tokens_pays_for_the_prompts_and_for_no_hour():
    # A million output tokens, and four of prompts: 0.8 + 4 × 0.5.
    assert ASKED.usd_per_million_tokens(1024, 256) == pytest.approx(2.8)
    assert LEASE.usd_per_million_tokens(1024, 256) is None
    with pytest.raises(pl.InputError, match="no hour"):
        ASKED.usd_per_chip_hour(PLAIN)
    price = offered((ASKED,), PLAIN)
    assert (price.basis, price.usd_per_chip_hour) == ("token", None)


def test_software_is_paid_for_on_top_of_what_is_bought_or_leased_and_not_of_rent():
    # 8,760 USD a year: 1 USD/h.
    for offer, usd in ((NODE, 2.10), (CHIP, 1.55), (LEASE, 5.10), (RENTAL, 3.0)):
        price = offered((offer,), PLAIN, licence_usd=8760.0)
        assert price.usd_per_chip_hour == pytest.approx(usd), offer.basis
        halved = repriced(price, PLAIN.replace(utilisation=0.5))
        assert halved.usd_per_chip_hour == pytest.approx(2 * usd), offer.basis
    added = licensed(offered((NODE,), PLAIN), "730 USD/month")
    assert added.usd_per_chip_hour == pytest.approx(2.10)
    assert licensed(added, "0 USD/year").usd_per_chip_hour == pytest.approx(1.10)


def test_what_somebody_says_is_an_hour_a_lease_or_a_token_by_its_unit():
    known = offered((NODE, RENTAL), PLAIN)
    leased = given_price(known, "2920 USD/month", power_w=1000.0)
    assert leased.basis == "lease"
    assert leased.usd_per_chip_hour == pytest.approx(4.10)
    assert given_price(known, "35,040 USD/year").usd_per_chip_hour == pytest.approx(4.0)
    both = given_price(known, "0.59/0.79 USD/Mtok").offer("token")
    assert (both.usd_per_million_input_tokens, both.usd_per_million_output_tokens) == (0.59, 0.79)
    alike = given_price(known, "3 USD/Mtok").offer("token")
    assert alike.usd_per_million_tokens(100, 100) == pytest.approx(6.0)
    with pytest.raises(
        pl.InputError, match="--price needs a number and a unit of dollars per year"
    ):
        given_price(known, "many USD/month", "--price")
    with pytest.raises(pl.InputError, match="must lie between 0 and"):
        given_price(known, "-1 USD/Mtok")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"basis": "lease", "purchase_usd": 1.0}, "lease_usd_per_chip_year and the basis"),
        ({"basis": "node", "lease_usd_per_chip_year": 1.0}, "go together"),
        ({"basis": "token", "rent_usd_per_chip_hour": 1.0}, "go together"),
        ({"basis": "node"}, "one of them"),
        (
            {"basis": "lease", "lease_usd_per_chip_year": 1.0, "lease_fee_usd": 1.0},
            "lease_years is missing",
        ),
    ],
)
def test_an_offer_that_says_two_things_is_refused(fields, named):
    with pytest.raises(pl.InputError, match=named):
        Offer(**fields)
