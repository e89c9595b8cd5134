"""Why a plan is the best: what binds, what more would buy, and what other shapes cost."""

import pytest

import planner as pl
from planner.machines.engine import Engine
from planner.plan import shape_name, ways_of
from planner.planning.engine_search import AS_GOOD
from planner.planning.reasons import changes_of
from planner.pricing.served import Served
from tests.clock import ticking
from tests.instances import (
    fabric,
    tiny_chip,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow
from tests.oracle import HIGHER_IS_BETTER, all_plans, kept, scored_as

WITH_ENGINE = tiny_software(
    engine=Engine(
        version="1.2", like_stages=True, decoder_on_each_stage=True, micro_batches="stages"
    )
)
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
    served = Served(graph, topology, WORK)
    for plan in all_plans(graph, topology, WORK):
        score = scored_as(plan, served)
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_shape_without_room_says_how_much_it_needs():
    graph, topology = tiny_graph(4), tiny_topology(4, chip=tiny_chip(1e8))
    reasons = pl.partition(graph, topology, pl.Workload(), minimize="tpot_s").why()
    refused = {one.shape: one.refused for one in reasons.alternatives}
    assert "MB on each chip at least; tiny has 90 MB to fill" in refused["one chip"]


@pytest.mark.slow
def test_shares_of_the_time_add_up_and_name_the_fabric():
    graph, topology = tiny_graph(2), two_nodes()
    reasons = pl.partition(graph, topology, WORK, minimize="tpot_s").why()
    times = [one.share_fraction for one in reasons.binding if one.counts == "time"]
    assert sum(times) == pytest.approx(1, abs=0.05)
    assert any("bus" in one.resource or "network" in one.resource for one in reasons.binding)


def test_without_time_nothing_is_said_to_be_proved():
    result = pl.partition(tiny_graph(2), two_nodes(), WORK, minimize="tpot_s")
    reasons = result.why(time_limit_s=0.0)
    assert reasons.prices
    assert reasons.alternatives
    for price in reasons.prices:
        assert (price.objective, price.effect, price.proved) == (None, None, False)
    for one in reasons.alternatives:
        assert (one.plan, one.proved, one.refused) == (None, False, "not answered in time")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "tick_s"), [("engine", 1e-2), pytest.param("any", 1e-3, marks=pytest.mark.slow)]
)
def test_a_time_limit_is_kept_and_no_question_is_passed_over(space, tick_s):
    machine = two_nodes().replace(software=WITH_ENGINE)
    open_work = WORK.replace(batch_size=None)
    result = pl.partition(
        tiny_graph(3), machine, open_work, minimize="usd_per_million_tokens", space=space
    )
    whole = result.why()
    with ticking(tick_s) as clock:
        reasons = result.why(time_limit_s=0.1)
    # Once time has run out, each question looks at the clock a few times at most.
    questions = len(reasons.prices) + len(reasons.alternatives)
    assert clock.call_count <= 0.1 / tick_s + 3 * (questions + 1)
    assert {one.change for one in reasons.prices} == {one.change for one in whole.prices}
    assert {one.shape for one in whole.alternatives} <= {one.shape for one in reasons.alternatives}
    unanswered = [one for one in reasons.prices if not one.proved and not one.effect]
    assert unanswered
    assert all(one.effect is None and one.objective is None for one in unanswered)
    assert reasons.prices[-len(unanswered) :] == tuple(unanswered)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tpot_s", "tokens_per_s", "usd_per_million_tokens"])
@pytest.mark.parametrize("graph", [tiny_graph(3), tiny_moe(2)], ids=["dense", "experts"])
def test_shapes_are_of_the_plans_that_the_result_was_chosen_from(graph, field):
    machine = two_nodes().replace(software=WITH_ENGINE)
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    result = pl.partition(graph, machine, WORK, **{direction: field})
    best: dict[str, float] = {}
    for plan in all_plans(graph, machine, WORK):
        if pl.check_plan(plan, graph, machine, WORK, space="engine"):
            continue
        value, name = getattr(pl.score_plan(plan, graph, machine, WORK), field), _shape(plan)
        better = max if field in HIGHER_IS_BETTER else min
        best[name] = better(value, best.get(name, value))
    told = result.why().alternatives
    assert {one.shape for one in told if one.plan is not None} == best.keys() - {
        _shape(result.plan)
    }
    for one in told:
        assert one.proved
        if one.plan is not None:
            assert pl.check_plan(one.plan, graph, machine, WORK, space="engine") == ()
            assert _shape(one.plan) == one.shape
            assert one.objective == pytest.approx(best[one.shape], rel=AS_GOOD)


def _shape(plan):
    return shape_name(ways_of(plan))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, None])
def test_a_shape_with_replicas_has_two_of_them_at_least(batch):
    machine = two_nodes().replace(software=WITH_ENGINE)
    work = WORK.replace(batch_size=batch)
    reasons = pl.partition(tiny_graph(2), machine, work, minimize="tpot_s").why()
    for one in reasons.alternatives:
        if one.plan is not None:
            assert (one.plan.replicas > 1) == ("replicas" in one.shape)


@pytest.mark.slow
def test_a_better_plan_that_turns_up_is_explained_and_not_listed_below_a_worse_one():
    graph, machine = tiny_graph(2), two_nodes()
    best = pl.partition(graph, machine, WORK, minimize="tpot_s")
    plan = pl.uniform_plan(graph, machine)
    assert ways_of(plan) != ways_of(best.plan)
    score = pl.score_plan(plan, graph, machine, WORK)
    worse = best.replace(plan=plan, score=score, objective=score.tpot_s, status="feasible")
    reasons = worse.why()
    assert reasons.better is not None
    assert ways_of(reasons.better) == ways_of(best.plan)
    assert (reasons.objective, reasons.shape) == (
        pytest.approx(best.objective, rel=1e-9),
        _shape(best.plan),
    )
    assert not reasons.proved
    told = {one.shape: one for one in reasons.alternatives}
    assert reasons.shape not in told
    assert told["one chip"].plan == plan
    assert told["one chip"].effect == pytest.approx(score.tpot_s / best.objective - 1)
    assert all(one.effect >= 0 for one in reasons.alternatives if one.effect is not None)
    assert best.why().better is None
    assert best.why().proved


def test_plans_around_excluded_chips_are_explained_around_them():
    graph, machine = tiny_graph(2), two_nodes().replace(software=WITH_ENGINE)
    result = pl.partition(graph, machine, WORK, minimize="tpot_s", exclude=(1,))
    others = [one.plan for one in result.why().alternatives if one.plan is not None]
    assert others
    for plan in others:
        assert pl.check_plan(plan, graph, machine, WORK, exclude=(1,)) == ()


def test_where_no_rules_are_known_a_plan_around_excluded_chips_is_not_explained():
    result = pl.partition(tiny_graph(2), two_nodes(), WORK, minimize="tpot_s", exclude=(1,))
    with pytest.raises(
        pl.InputError, match="only where the rules of the software's engine are known"
    ):
        result.why()


def test_diffusion_models_are_refused_in_one_sentence():
    graph, topology = pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=1)
    result = pl.partition(graph, topology, pl.Workload(batch_size=1))
    with pytest.raises(pl.InputError, match="diffusion model"):
        result.why()


@pytest.mark.slow
@pytest.mark.parametrize("engine", [Engine(), WITH_ENGINE.engine], ids=["any", "engine"])
def test_shapes_are_told_under_limits_on_percentiles(engine):
    """Also those that do not keep them, of which it is asked how much memory they would need."""
    stream = pl.Workload(requests_per_s=100.0, prompt_tokens=64, output_tokens=8)
    topology = two_nodes().replace(software=tiny_software(engine=engine))
    free = pl.partition(tiny_graph(4), topology, stream, minimize="chips")
    limits = {"ttft_p99_s": 0.8 * free.score.ttft_p99_s}
    result = pl.partition(tiny_graph(4), topology, stream, minimize="chips", limits=limits)
    told = {one.shape: one for one in result.why().alternatives}
    assert (free.score.chips, result.score.chips) == (1, 2)
    assert told["one chip"].refused == "no plan of this shape fits and keeps the limits"
    assert told["one chip"].proved
