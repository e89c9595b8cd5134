"""Each square has the cheapest plan that is fast enough, its border moves with doubt, and pictures
say what they show."""

import itertools
import time

import numpy as np
import pytest

import planner as pl
from planner.studies.advantage import maps
from planner.studies.advantage.maps import (
    AdvantageMap,
    MapGrids,
    advantage_map,
    checked,
    map_grids,
    measured_systems,
    stair_of,
)

NAMES = ("hgx-h100", "groq-lpu-chain", "cerebras-cs3")
SIZES, SPEEDS = tuple(np.geomspace(8e9, 4e11, 5)), tuple(np.geomspace(10, 3000, 12))


@pytest.fixture(scope="module")
def grids() -> MapGrids:
    return map_grids(NAMES, sizes=SIZES, models=["llama-3.1-70b"])


@pytest.fixture(scope="module")
def drawn(grids) -> AdvantageMap:
    return grids.map(speeds=SPEEDS)


def test_a_square_has_the_least_value_of_all_plans_that_are_fast_enough(grids, drawn):
    for size, cell in itertools.product(range(len(SIZES)), (0, 4, 8)):
        row = drawn.rows[size * len(SPEEDS) + cell]
        for value, column in zip(row.values, grids.grids, strict=True):
            fast = column[size].tpot_s <= 1 / row.tokens_per_s_per_user
            least = column[size].energy_per_token_j[fast].min(initial=np.inf)
            assert (np.inf if value is None else value) == least


def test_the_winner_is_the_cheapest_and_the_advantage_is_over_the_next(drawn):
    for cell in drawn.rows:
        there = sorted(value for value in cell.values if value is not None)
        if not there:
            assert (cell.winner, cell.chips, cell.likely_share) == (None, None, None)
            continue
        assert cell.values[drawn.topologies.index(cell.winner)] == there[0]
        assert cell.advantage == (there[1] / there[0] if len(there) > 1 else None)
        assert cell.tpot_s <= 1 / cell.tokens_per_s_per_user


def test_what_is_reached_at_one_speed_is_reached_at_every_lower_one(drawn):
    reached = drawn.winners() >= 0
    assert (reached[:-1] >= reached[1:]).all()
    assert reached[0].all()
    assert not reached[-1].any()


def test_deep_inside_a_winner_is_surer_than_at_its_border(drawn):
    shares = [cell.likely_share for cell in drawn.rows if cell.likely_share is not None]
    assert max(shares) > 0.97
    assert 0.2 < min(shares) < 0.8
    near = min((cell for cell in drawn.rows if cell.advantage), key=lambda cell: cell.advantage)
    assert near.likely_share < 0.75


def test_a_border_lies_inside_its_interval(drawn):
    for speed in SPEEDS[:8]:
        for border in drawn.borders(speed):
            assert border.below != border.above
            assert (border.interval[0] or 0) <= border.parameters <= (border.interval[1] or 1e15)
    assert any(drawn.borders(speed) for speed in SPEEDS)


def test_a_real_model_changes_sides_near_where_the_family_does(drawn):
    switch = next(one for one in drawn.switches if one.after is not None)
    below = drawn.cell(switch.parameters, switch.tokens_per_s_per_user / 2.5)
    above = drawn.cell(switch.parameters, switch.tokens_per_s_per_user * 2.5)
    assert (switch.model, below.winner, above.winner) == (
        "llama-3.1-70b",
        switch.before,
        switch.after,
    )


def test_fewer_users_in_flight_cost_no_less(grids, drawn):
    capped = grids.map(speeds=SPEEDS, most_users=8)
    for free, few in zip(drawn.rows, capped.rows, strict=True):
        assert few.users is None or few.users <= 8
        for one, other in zip(free.values, few.values, strict=True):
            assert other is None or one <= other


@pytest.mark.slow
def test_uniform_plans_are_close_to_what_is_proved_of_all_plans(drawn, grids):
    checks = checked(drawn, grids, 3)
    assert checks
    assert all(-1e-9 < one.gap < 0.15 for one in checks if one.status == "optimal")
    assert any(one.status == "optimal" for one in checks)
    proved = sum(one.status == "optimal" for one in checks)
    assert f"on {proved} cells checked" in drawn.replace(checks=checks).proved


def test_a_redraw_from_grids_prices_no_plan_anew(grids, monkeypatch):
    grids.map("usd_per_million_tokens", speeds=SPEEDS)
    monkeypatch.setattr(maps, "plan_grid", None)
    begin = time.process_time()
    for users in (1, 64):
        grids.map("usd_per_million_tokens", speeds=SPEEDS, most_users=users, draws=100).svg()
    assert time.process_time() - begin < 2.0  # a fifth of a second on a free core


def test_another_version_of_a_machine_takes_its_place(grids, drawn):
    slow = pl.with_value(pl.load_topology("groq-lpu-chain"), "fabrics[1].latency_s", 1e-4)
    moved = grids.varying(slow).map(speeds=SPEEDS)
    for one, other in zip(moved.rows, drawn.rows, strict=True):
        assert one.values[0] == other.values[0]
        assert one.values[1] is None or one.values[1] >= other.values[1]
    assert moved.rows != drawn.rows


def test_some_of_the_machines_make_a_map_of_their_own(grids, drawn):
    two = grids.only("hgx-h100", "groq-lpu-chain").map(speeds=SPEEDS)
    assert [cell.values for cell in two.rows] == [cell.values[:2] for cell in drawn.rows]
    assert "groq-lpu-chain" in {cell.winner for cell in two.rows}
    with pytest.raises(pl.UnknownNameError, match="machine of this map"):
        grids.only("groq")


def test_a_stair_falls_with_speed_and_ends_at_the_fastest_plan(grids):
    stair = stair_of(grids.grids[0][0], "energy_per_token_j")
    assert (np.diff(stair.speeds) < 0).all()
    assert (np.diff(stair.values) < 0).all()
    value, place = stair.at(np.array([2 * stair.speeds[0], stair.speeds[0]]))
    assert np.isinf(value[0])
    assert place[0] == -1
    assert value[1] == stair.values[0]


def test_measured_systems_are_the_quickest_rows_of_the_published_table():
    found = {(one.topology, one.model): one for one in measured_systems("dense", NAMES)}
    assert found["cerebras-cs3", "llama-3.1-70b"].tokens_per_s_per_user == pytest.approx(
        450, rel=0.01
    )
    assert found["hgx-h100", "qwen3-14b"].energy_per_token_j == pytest.approx(0.7061, rel=1e-3)
    assert all(one.source for one in found.values())
    assert {one.model for one in measured_systems("moe", NAMES)} >= {"gpt-oss-120b"}


def test_a_map_is_a_table_a_page_a_sentence_and_json(drawn):
    assert len(drawn.to_frame()) == len(SIZES) * len(SPEEDS)
    assert AdvantageMap.from_json(drawn.to_json()) == drawn
    assert "uniform plans only" in str(drawn)
    assert drawn._repr_html_().startswith("<svg")
    assert sum(drawn.share(name) for name in NAMES) == pytest.approx(1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"topologies": ("hgx-h100", "hgx-h100")}, "each once"),
        ({"family": "sparse"}, "family of models"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(asked, said):
    with pytest.raises(pl.InputError, match=said):
        map_grids(**asked)


def test_a_metric_that_no_map_has_gets_the_nearest(grids):
    with pytest.raises(pl.UnknownNameError, match="energy_per_token_j"):
        grids.map("energy")


def test_one_call_prices_draws_and_checks():
    drawn = advantage_map(
        ["cerebras-cs3"], "chips", family="moe", sizes=(3e10, 2e11), speeds=(30, 100), checks=1
    )
    assert drawn.family == "moe"
    assert {cell.winner for cell in drawn.rows} == {"cerebras-cs3"}
    assert all(cell.values == (cell.chips,) for cell in drawn.rows)
    assert drawn.uncertainties[0].metric_half_width == 0.0


def test_plans_are_those_that_engines_run_unless_any_is_asked_for():
    asked = {"sizes": (7e10,), "models": ()}
    engine = map_grids(("hgx-h100",), **asked)
    free = map_grids(("hgx-h100",), **asked, space="any")
    assert [one.grids[0][0].space for one in (engine, free)] == ["engine", "any"]

    # Some of the plans of a free map cannot be started, all of the other's can.
    grid = free.grids[0][0]
    some = np.argwhere(np.isfinite(grid.tpot_s))[::5000].tolist()
    faults = [grid.plan(tuple(place)) for place in some]
    work = engine.workload
    assert any(pl.check_plan(plan, grid.graph, grid.topology, work) for plan in faults)
    assert not any(
        pl.check_plan(plan, grid.graph, grid.topology, work, space="any") for plan in faults
    )
    grid = engine.grids[0][0]
    some = np.argwhere(np.isfinite(grid.tpot_s))[::2000].tolist()
    plans = [grid.plan(tuple(place)) for place in some]
    assert plans
    assert not any(pl.check_plan(plan, grid.graph, grid.topology, work) for plan in plans)


def test_a_map_says_among_which_plans_and_one_without_that_is_of_any(drawn):
    assert drawn.space == "engine"
    assert "plans that the engines run" in str(drawn)
    old = {name: value for name, value in drawn.model_dump(mode="json").items() if name != "space"}
    read = AdvantageMap.model_validate(old)
    assert read.space == "any"
    assert "any plan" in str(read)


def test_what_keeps_its_grids_keeps_its_space():
    free = map_grids(("hgx-h100",), sizes=(8e9,), models=(), space="any")
    again = free.varying(pl.load_topology("hgx-h100"))
    assert again.grids[0][0].space == free.map(speeds=(50.0,), draws=10).space == "any"


# ── What is counted ──────────────────────────────────────────────────────────────────────────────

FEW = {"sizes": (8e9, 7e10), "models": ()}


def test_machines_are_ranked_by_what_is_known_of_the_power_of_all():
    made = map_grids(("h200-nvl", "hgx-h100"), **FEW)
    assert [one.power.system_w for one in made.topologies] == [None, None]
    ranked = made.map(speeds=SPEEDS)
    assert (ranked.power_scope, ranked.power_basis) == ("chip", "drawn")
    assert "power: chips alone, as drawn" in str(ranked)
    assert "Power: chips alone, as drawn" in ranked.svg()


def test_watts_drawn_are_not_ranked_beside_provisioned_ones():
    made = map_grids(("gb200-nvl72", "article-wse3"), power_scope="chip", **FEW)
    ranked = made.map(speeds=SPEEDS)
    assert (ranked.power_scope, ranked.power_basis) == ("chip", "provisioned")
    assert "power: chips alone, as provisioned" in str(ranked)
    with pytest.raises(pl.InputError, match="must be chip or system, not 'facility'"):
        map_grids(("gb200-nvl72",), power_scope="facility", **FEW)


def test_a_machine_whose_power_or_price_is_not_known_does_not_lose_but_is_refused():
    made = map_grids(("tpu-v6e", "groq-lpu-chain"), **FEW)
    with pytest.raises(pl.InputError, match="power of tpu-v6e, which is not published"):
        made.map(speeds=SPEEDS)
    with pytest.raises(pl.InputError, match=r"tpu-v6e \(rental\) and groq-lpu-chain \(node"):
        made.map("usd_per_million_tokens", speeds=SPEEDS)
    assert made.map("chips", speeds=SPEEDS).counts == ""


def test_a_map_of_dollars_says_what_they_pay_for(grids):
    ranked = grids.map("usd_per_million_tokens", speeds=SPEEDS)
    assert ranked.price_basis == "node"
    assert "price: the chip and its share of the node" in str(ranked)
    rented = map_grids(("tpu-v6e", "hgx-h100"), **FEW).map("usd_per_million_tokens", speeds=SPEEDS)
    assert rented.price_basis == "rental"


def test_machines_of_unlike_bases_are_not_ranked_by_a_map_of_their_own(grids):
    other = grids.topologies[0].replace(price=pl.load_topology("tpu-v6e").price)
    mixed = grids.varying(other)
    with pytest.raises(pl.InputError, match="no basis on which the prices of all"):
        mixed.map("usd_per_million_tokens", speeds=SPEEDS)
    again = grids.varying(pl.load_topology("hgx-h100", price_basis="chip"))
    with pytest.raises(pl.InputError, match="on unlike bases"):
        again.map("usd_per_million_tokens", speeds=SPEEDS)
