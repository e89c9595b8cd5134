"""Each square has the cheapest plan that is fast enough, its border moves with doubt, and pictures
say what they show."""

import itertools

import numpy as np
import pytest

import planner as pl
from planner.studies.advantage import stairs
from planner.studies.advantage.captions import caption_of
from planner.studies.advantage.maps import (
    AdvantageMap,
    MapGrids,
    advantage_map,
    checked,
    map_grids,
)

pytestmark = pytest.mark.slow  # one map, made for all
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
            grid = column[size].grid
            fast = grid.tpot_s <= 1 / row.tokens_per_s_per_user
            least = grid.energy_per_token_j[fast].min(initial=np.inf)
            assert (np.inf if value is None else value) == least


def test_the_winner_is_the_cheapest_and_the_advantage_is_over_the_next(drawn):
    for cell in drawn.rows:
        there = sorted(value for value in cell.values if value is not None)
        if not there:
            assert (cell.winner, cell.chips, cell.advantage) == (None, None, None)
            assert cell.likely_share > 0.4  # of draws, those in which nobody is fast enough
            assert set(cell.reasons) <= {"too slow", "does not fit"}
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
    shares = [cell.likely_share for cell in drawn.rows if cell.winner is not None]
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


def test_uniform_plans_are_close_to_what_is_proved_of_all_plans(drawn, grids):
    checks = checked(drawn, grids, 3)
    assert checks
    # Wafers come in few sizes, and at 400 B in 16 bit unlike stages save a fifth.
    optimal = [one for one in checks if one.status == "optimal"]
    assert all(-1e-9 < one.gap < 0.25 for one in optimal)
    assert all(one.gap < 0.05 for one in optimal if one.topology == "hgx-h100")
    assert any(one.status == "optimal" for one in checks)
    proved = sum(one.status == "optimal" for one in checks)
    assert f"on {proved} cells checked" in drawn.replace(checks=checks).proved


def test_a_redraw_from_grids_prices_no_plan_anew(grids, monkeypatch):
    grids.map("usd_per_million_tokens", speeds=SPEEDS)
    monkeypatch.setattr(stairs, "plan_grid", None)
    for users in (1, 64):
        grids.map("usd_per_million_tokens", speeds=SPEEDS, most_users=users, draws=100).svg()


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
        ({"family": "sparse"}, "family must be 'dense' or 'moe'"),
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
    assert [one.grids[0][0].grid.space for one in (engine, free)] == ["engine", "any"]

    # Some of the plans of a free map cannot be started, all of the other's can.
    grid = free.grids[0][0].grid
    some = np.argwhere(np.isfinite(grid.tpot_s))[::5000].tolist()
    faults = [grid.plan(tuple(place)) for place in some]
    work = engine.workload
    assert any(pl.check_plan(plan, grid.graph, grid.topology, work) for plan in faults)
    assert not any(
        pl.check_plan(plan, grid.graph, grid.topology, work, space="any") for plan in faults
    )
    grid = engine.grids[0][0].grid
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
    assert again.grids[0][0].grid.space == free.map(speeds=(50.0,), draws=10).space == "any"


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


def test_a_machine_whose_power_or_price_is_not_known_does_not_lose_but_is_refused():
    made = map_grids(("tpu-v6e", "groq-lpu-chain"), **FEW)
    with pytest.raises(pl.InputError, match="power of tpu-v6e, which is not published"):
        made.map(speeds=SPEEDS)
    with pytest.raises(pl.InputError, match=r"tpu-v6e \(rental\), groq-lpu-chain \(node or chip\)"):
        made.map("usd_per_million_tokens", speeds=SPEEDS)
    assert made.map("chips", speeds=SPEEDS).counts == ""


def test_a_machine_of_unknown_power_may_be_drawn_as_one_that_might_win():
    made = map_grids(("tpu-v6e", "groq-lpu-chain"), unknown="draw", **FEW)
    ranked = made.map(speeds=(10.0, 40.0, 3000.0), draws=20)
    assert ranked.unknown == ("tpu-v6e",)
    slow = ranked.cell(8e9, 10.0)
    assert (slow.winner, slow.unknown, slow.likely_share) == (None, ("tpu-v6e",), None)
    assert slow.reasons == ("unknown", None)
    assert slow.values[0] is None
    assert slow.values[1] > 0
    # Where nobody is fast enough, that is known all the same.
    assert ranked.cell(8e9, 3000.0).unknown == ()
    assert ranked.winners()[0, 0] == -2
    assert ranked.winners()[2, 0] == -1
    total = ranked.share("tpu-v6e") + ranked.share("groq-lpu-chain") + ranked.unknown_share
    assert total == pytest.approx(1)
    assert ranked.share("tpu-v6e") == 0
    assert "% not known" in str(ranked)


def test_a_family_of_one_size_is_a_map_and_one_of_none_is_refused():
    ranked = advantage_map(
        ("hgx-h100", "cerebras-cs3"), sizes=(7e10,), speeds=(50.0,), models=(), proved="none"
    )
    assert len(ranked.rows) == 1
    assert ranked.borders(50.0) == ranked.lines == ranked.edges == ()
    assert ranked.svg().startswith("<")
    with pytest.raises(pl.InputError, match="sizes must be a list"):
        map_grids(sizes=())


def test_each_machine_takes_the_nearest_format_that_it_multiplies(drawn):
    formats = {side.topology: side.weight_dtype for side in drawn.sides}
    assert formats == {"hgx-h100": "fp8", "groq-lpu-chain": "int8", "cerebras-cs3": "bf16"}
    stored = map_grids(("cerebras-cs3",), sizes=(7e10,), models=(), formats="stored")
    assert stored.grids[0][0].graph.weight_bytes == pytest.approx(7e10, rel=0.05)
    nearest = map_grids(("cerebras-cs3",), sizes=(7e10,), models=())
    assert nearest.grids[0][0].graph.weight_bytes == pytest.approx(1.4e11, rel=0.05)
    with pytest.raises(pl.InputError, match="neither bf16 nor any wider format"):
        map_grids(("upmem-pim",), sizes=(8e9,), models=(), weight_dtype="bf16")


def test_drafts_and_pools_change_what_a_square_costs_as_they_should():
    few = {"topologies": ("hgx-h100", "cerebras-cs3"), "sizes": (7e10,), "models": ()}
    asked = {"speeds": (50.0, 200.0), "draws": 20}
    plain = map_grids(**few).map(**asked)
    best = map_grids(**few, drafts="best").map(**asked)
    for one, other in zip(plain.rows, best.rows, strict=True):
        for before, after in zip(one.values, other.values, strict=True):
            assert before is None or after <= before
    assert plain.cell(7e10, 200.0).reasons[0] == "too slow"
    assert best.cell(7e10, 200.0).values[0] is not None
    assert best.cell(7e10, 50.0).drafts in ("eagle3", "draft-model")

    pooled = map_grids(**few, pools=True).map(**asked)
    assert [side.has_pools for side in pooled.sides] == [True, False]
    assert pooled.rows[0].values[1] == plain.rows[0].values[1]
    assert pooled.rows[0].values[0] < plain.rows[0].values[0]
    assert "One pool on cerebras-cs3" in " ".join(caption_of(pooled))


def test_machines_that_wait_pay_for_it_in_joules_and_dollars(grids):
    asked = {"speeds": SPEEDS, "draws": 20}
    busy = map_grids(("hgx-h100",), **FEW).map(**asked)
    half = map_grids(("hgx-h100",), utilisation=0.5, **FEW)
    chip = half.topologies[0]
    waiting = half.map(**asked)
    for one, other in zip(busy.rows, waiting.rows, strict=True):
        if one.values[0] is not None:
            assert one.values[0] < other.values[0] < 2 * one.values[0]
    dollars = map_grids(("hgx-h100",), **FEW).map("usd_per_million_tokens", **asked)
    twice = half.map("usd_per_million_tokens", **asked)
    assert twice.rows[0].values[0] == pytest.approx(2 * dollars.rows[0].values[0])
    assert chip.price.economics.utilisation == 0.5


def test_joules_at_the_site_are_a_factor_for_all(grids):
    site = map_grids(NAMES[:2], power_scope="facility", pue=1.4, **FEW)
    wall = map_grids(NAMES[:2], **FEW)
    one, other = (made.map(speeds=SPEEDS, draws=20) for made in (site, wall))
    assert one.power_scope == "facility"
    for at_site, at_wall in zip(one.rows, other.rows, strict=True):
        for more, less in zip(at_site.values, at_wall.values, strict=True):
            assert less is None or more == pytest.approx(1.4 * less)


def test_a_rate_that_comes_is_served_by_copies(grids):
    asked = {"speeds": (20.0, 50.0), "draws": 20}
    free = grids.map(**asked)
    few, many = (grids.map(**asked, requests_per_s=rate) for rate in (0.01, 1000.0))
    for one, other, another in zip(free.rows, few.rows, many.rows, strict=True):
        for full, idle, busy in zip(one.values, other.values, another.values, strict=True):
            if full is not None:
                assert full <= busy * (1 + 1e-9)
                assert busy <= idle
    assert many.rows[0].chips > few.rows[0].chips
    assert "a load of 1000 requests/s" in caption_of(many)[0]


def test_a_map_of_dollars_says_what_they_pay_for(grids):
    ranked = grids.map("usd_per_million_tokens", speeds=SPEEDS)
    assert ranked.price_basis == "node"
    assert "price: the chip and its share of the node" in str(ranked)
    rented = map_grids(("tpu-v6e", "hgx-h100"), **FEW).map("usd_per_million_tokens", speeds=SPEEDS)
    assert rented.price_basis == "rental"


def test_machines_of_unlike_bases_are_not_ranked_by_a_map_of_their_own(grids):
    other = grids.topologies[0].replace(price=pl.load_topology("tpu-v6e").price)
    mixed = grids.varying(other)
    with pytest.raises(pl.InputError, match="no price basis is known for all machines"):
        mixed.map("usd_per_million_tokens", speeds=SPEEDS)
    again = grids.varying(pl.load_topology("hgx-h100", price_basis="chip"))
    with pytest.raises(pl.InputError, match="on unlike bases"):
        again.map("usd_per_million_tokens", speeds=SPEEDS)
