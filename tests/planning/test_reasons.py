"""Why a plan is the best: what binds, what more would buy, and what other shapes cost."""

import pytest

import planner as pl
from planner.plan import shape_name, ways_of
from planner.planning.reasons import changes_of
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_moe, tiny_topology
from tests.lanes import mostly_slow
from tests.oracle import HIGHER_IS_BETTER, all_plans, kept, scored

WORK = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=8)


def two_nodes() -> pl.Topology:
    slow = fabric("switch", 2, name="network", bandwidth_bytes_per_s=1e9, latency_s=1e-5)
    return tiny_topology(4, fabric("switch", 2, name="bus"), slow)


@pytest.mark.parametrize(
    "field",
    mostly_slow(
        ["tpot_s", "tokens_per_s", "usd_per_million_tokens", "memory_headroom_bytes"],
        but=("tpot_s",),
    ),
)
@pytest.mark.parametrize("graph", [tiny_graph(2), tiny_moe(1)], ids=["dense", "experts"])
def test_the_best_plan_of_each_shape_is_the_oracles(graph, field):
    topology = two_nodes()
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    result = pl.partition(graph, topology, WORK, **{direction: field})
    best: dict[str, float] = {}
    for plan in all_plans(graph, topology, WORK):
        score = scored(plan, graph, topology, WORK)
        if score is not None:
            value, name = getattr(score, field), shape_name(ways_of(plan))
            better = max if field in HIGHER_IS_BETTER else min
            best[name] = better(value, best.get(name, value))
    told = {one.shape: one for one in result.why().alternatives}
    assert len(told) >= 2
    for shape, one in told.items():
        assert one.proved
        assert (one.objective is None) == (shape not in best)
        if one.objective is not None:
            assert one.objective == pytest.approx(best[shape], rel=1e-9)
            assert one.effect >= -1e-9
            assert shape_name(ways_of(one.plan)) == shape


def test_shadow_prices_are_what_a_new_plan_on_the_changed_machine_gains():
    graph, topology = tiny_graph(2), two_nodes()
    result = pl.partition(graph, topology, WORK, minimize="tpot_s")
    told = {one.change: one for one in result.why().prices}
    for words, machine in changes_of(topology):
        again = pl.partition(graph, machine, WORK, minimize="tpot_s")
        assert told[words].objective == pytest.approx(again.objective, rel=1e-9)
        assert told[words].effect == pytest.approx(1 - again.objective / result.objective, abs=1e-9)
        assert told[words].proved
    assert told["doubling the bandwidth of HBM"].effect > 0.02
    assert told["one more GB of HBM on each chip"].effect == 0
    assert [one.effect for one in result.why().prices] == sorted(
        (one.effect for one in told.values()), reverse=True
    )


def test_memory_that_is_full_binds_and_has_a_price():
    graph, topology = tiny_graph(2), tiny_topology(1, chip=tiny_chip(1.2e8))
    result = pl.partition(graph, topology, pl.Workload(batch_size=None), maximize="tokens_per_s")
    reasons = result.why()
    assert reasons.binding[0].counts == "memory"
    assert reasons.binding[0].share_fraction > 0.97
    assert reasons.prices[0].change == "one more GB of HBM on each chip"
    assert reasons.prices[0].effect > 0.1


def test_a_limit_that_is_reached_binds_and_limits_hold_for_every_shape():
    graph, topology = tiny_graph(2), two_nodes()
    fastest = pl.partition(graph, topology, WORK, minimize="tpot_s").objective
    limits = {"tpot_s": fastest * 1.0001}
    result = pl.partition(graph, topology, WORK, minimize="usd_per_million_tokens", limits=limits)
    reasons = result.why()
    assert [one.resource for one in reasons.binding if one.counts == "limit"] == ["limit on tpot_s"]
    for one in reasons.alternatives:
        assert one.plan is None or kept(pl.score_plan(one.plan, graph, topology, WORK), limits)
    assert any(
        one.refused == "no plan of this shape fits and keeps the limits"
        for one in reasons.alternatives
    )


def test_a_shape_without_room_says_how_much_it_needs():
    graph, topology = tiny_graph(4), tiny_topology(4, chip=tiny_chip(1e8))
    reasons = pl.partition(graph, topology, pl.Workload(), minimize="tpot_s").why()
    refused = {one.shape: one.refused for one in reasons.alternatives}
    assert "MB on each chip at least; tiny has 90 MB to fill" in refused["one chip"]


def test_shares_of_the_time_add_up_and_name_the_fabric():
    graph, topology = tiny_graph(2), two_nodes()
    reasons = pl.partition(graph, topology, WORK, minimize="tpot_s").why()
    times = [one.share_fraction for one in reasons.binding if one.counts == "time"]
    assert sum(times) == pytest.approx(1, abs=0.05)
    assert any("bus" in one.resource or "network" in one.resource for one in reasons.binding)


def test_without_time_nothing_is_said_to_be_proved():
    result = pl.partition(tiny_graph(2), two_nodes(), WORK, minimize="tpot_s")
    reasons = result.why(time_limit_s=0.0)
    assert all(one.effect >= 0 for one in reasons.prices)
    refusals = [one for one in reasons.alternatives if not one.proved]
    assert refusals
    assert all(one.plan is None and "time" in one.refused for one in refusals)


def test_diffusion_models_are_refused_in_one_sentence():
    graph, topology = pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=1)
    result = pl.partition(graph, topology, pl.Workload(batch_size=1))
    with pytest.raises(pl.InputError, match="diffusion model"):
        result.why()
