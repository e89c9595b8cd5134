"""Near misses against what is found on paper, and against every plan there is."""

import pytest

import planner as pl
from planner.answers.misses import NearMiss
from planner.answers.results import Result
from planner.planning.misses import WORTH, improvement
from planner.scoring.plans import score_plan
from tests.clock import ticking
from tests.engine_oracle import best_of
from tests.engine_questions import Asked, questions
from tests.instances import tiny_graph, tiny_topology
from tests.lanes import mostly_slow, paired
from tests.oracle import HIGHER_IS_BETTER, kept
from tests.two_layers import ALONE_S, GRAPH, REPLICAS_S, WORK, machine


def test_the_plan_on_one_chip_is_nearly_kept_by_the_limit():
    found = pl.partition(GRAPH, machine(), WORK, minimize="chips", limits={"tpot_s": 30.0})
    assert found.score.tpot_s == pytest.approx(REPLICAS_S)
    (miss,) = found.near_misses()
    assert (miss.field, miss.objective, miss.effect) == ("chips", 1.0, 0.5)
    assert (miss.broken, miss.allowed) == ("tpot_s", 30.0)
    assert miss.reached == pytest.approx(ALONE_S)
    assert miss.beyond == pytest.approx(4.0)
    assert miss.beyond_fraction == pytest.approx(4 / 30)
    assert miss.proved


def test_each_limit_is_broken_alone_the_nearest_first():
    """On one chip a million tokens cost 12,750 USD, on two 21,000; 4 tokens come in 51 or 42 s."""
    limits = {"tpot_s": 33.0, "tokens_per_s": 0.05}
    found = pl.partition(GRAPH, machine(), WORK, minimize="usd_per_million_tokens", limits=limits)
    assert found.objective == pytest.approx(21_000)
    (miss,) = found.near_misses()
    assert (miss.broken, miss.objective) == ("tpot_s", pytest.approx(12_750))

    both = {"tpot_s": 33.0, "tokens_per_s": 4 / 43}
    found = pl.partition(GRAPH, machine(), WORK, minimize="usd_per_million_tokens", limits=both)
    assert found.near_misses() == ()  # that plan breaks both


def test_of_a_rate_what_is_too_little_breaks_its_limit():
    found = pl.partition(GRAPH, machine(), WORK, minimize="chips", limits={"tokens_per_s": 4 / 43})
    (miss,) = found.near_misses()
    assert (miss.reached, miss.plan.chips) == (pytest.approx(4 / 51), 1)
    assert miss.beyond_fraction == pytest.approx((4 / 43 - 4 / 51) / (4 / 43))


def test_an_answer_that_no_limit_holds_back_has_none():
    free = pl.partition(GRAPH, machine(), WORK, minimize="chips")
    assert free.near_misses() == ()
    idle = pl.partition(GRAPH, machine(), WORK, minimize="chips", limits={"tpot_s": 40.0})
    assert idle.near_misses() == ()


def test_of_a_feasible_answer_a_plan_that_keeps_all_limits_is_no_miss():
    """As if the search had been stopped at the worse of two plans that keep the limit."""
    best = pl.partition(GRAPH, machine(), WORK, minimize="chips", limits={"tpot_s": 40.0})
    worse = pl.partition(GRAPH, machine(), WORK, minimize="tpot_s")
    stopped = best.replace(
        plan=worse.plan, score=worse.score, objective=2.0, bound=1.0, gap=0.5, status="feasible"
    )
    assert stopped.near_misses() == ()
    higher = stopped.replace(limits=(("tpot_s", 30.0),))
    assert higher.near_misses() == ()  # below its bound nothing is known
    (miss,) = higher.replace(bound=1.5, gap=0.25).near_misses()
    assert miss.plan.chips == 1


def test_where_time_runs_out_nothing_is_told_that_was_not_found():
    graph, topology = tiny_graph(4), tiny_topology(4)
    work = pl.Workload(batch_size=4)
    fast = pl.partition(graph, topology, work, minimize="tpot_s")
    limits = {"tpot_s": fast.objective * 1.01}
    found = pl.partition(graph, topology, work, minimize="chips", limits=limits)
    with ticking(1.0):
        assert found.near_misses(time_limit_s=1.0) == ()


@pytest.mark.slow
def test_a_diffusion_model_has_near_misses_too():
    graph = pl.load_model("dit-xl-2")
    topology = pl.load_topology("hgx-h100", chips=4)
    work = pl.Workload(batch_size=4)
    fast = pl.partition(graph, topology, work, minimize="image_s")
    found = pl.partition(
        graph, topology, work, minimize="chips", limits={"image_s": fast.objective * 1.001}
    )
    (miss,) = found.near_misses()
    assert miss.score.chips < found.score.chips
    assert miss.reached > found.score.image_s
    check_is_a_miss(found, miss)


# ── Against the oracle ───────────────────────────────────────────────────────────────────────────


def check_is_a_miss(result: Result, miss: NearMiss) -> None:
    """It breaks that limit alone, is better, and says by how much."""
    score = score_plan(
        miss.plan, result.graph, result.topology, result.workload, exclude=result.exclude,
        power_scope=result.question.power_scope,
    )  # fmt: skip
    limits = dict(result.limits)
    assert float(getattr(score, miss.broken)) == pytest.approx(miss.reached)
    assert not kept(score, {miss.broken: limits.pop(miss.broken)})
    assert kept(score, limits)
    assert float(getattr(score, result.field)) == pytest.approx(miss.objective)
    assert miss.effect == pytest.approx(improvement(result, miss.objective))
    assert miss.effect >= WORTH * (1 - 1e-6)


def nearest_by_hand(asked: Asked, result: Result, name: str) -> tuple[float, float] | None:
    """What the limit's field and the objective of the near miss are, by every plan there is."""
    sign = 1 + WORTH if asked.field in HIGHER_IS_BETTER else 1 - WORTH
    others = {one: value for one, value in asked.limits.items() if one != name}
    drafted = [
        one for one in asked.plans if one.workload.speculation == result.workload.speculation
    ]
    goal = {asked.field: sign * result.objective}
    near = best_of(asked.case, drafted, asked.space, name, others | goal)
    if near is None:
        return None
    value = float(getattr(near.score, name))
    best = best_of(asked.case, drafted, asked.space, asked.field, others | {name: value})
    assert best is not None
    return value, float(getattr(best.score, asked.field))


def cases() -> list[object]:
    every = paired((2, 3, 4, 7, 8, 11), range(2))
    return mostly_slow(every, but=((4, 0), (8, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("numbers", cases(), ids=str)
def test_no_plan_that_is_so_much_better_breaks_a_limit_by_less(numbers):
    for asked in questions(*numbers):
        case = asked.case
        direction = "maximize" if asked.field in HIGHER_IS_BETTER else "minimize"
        try:
            result = pl.partition(
                *case[:3], limits=asked.limits, exclude=case.exclude, space=asked.space,
                offload=False, **{direction: asked.field},
            )  # fmt: skip
        except pl.InfeasibleError:
            continue
        told = {miss.broken: miss for miss in result.near_misses()}
        if case.exclude and not result.question.of_engine(case.topology.software):
            assert told == {}
            continue
        for name in asked.limits:
            wanted = nearest_by_hand(asked, result, name)
            assert (name in told) == (wanted is not None)
            if wanted is not None:
                assert (told[name].reached, told[name].objective) == pytest.approx(wanted, rel=1e-8)
                assert told[name].proved
                check_is_a_miss(result, told[name])
