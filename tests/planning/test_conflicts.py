"""Which limits no plan keeps, and how near plans come to them."""

import math

import pytest

import planner as pl
from planner.answers.question import Question
from planner.planning.conflicts import beyond_limits
from planner.space.candidates import Candidates
from tests.engine_oracle import Case, best_of, priced
from tests.engine_questions import ENGINES, Asked, questions
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.lanes import mostly_slow, paired
from tests.oracle import HIGHER_IS_BETTER
from tests.two_layers import ALONE_S, GRAPH, REPLICAS_S, WORK, machine


def refusal(limits: dict[str, float], work: pl.Workload = WORK, **options) -> pl.InfeasibleError:
    with pytest.raises(pl.InfeasibleError) as caught:
        pl.partition(GRAPH, machine(), work, limits=limits, **{"minimize": "chips", **options})
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_least_that_plans_reach_is_told_beside_the_limit():
    error = refusal({"tpot_s": 20.0})
    assert str(error).startswith(
        "tpot_s cannot be under 28 s on 2 × round (limit 20 s): the least is 28 s with 2 × (one"
        " chip)"
    )
    assert (error.resource, error.demand) == ("limit on tpot_s", 20.0)
    assert error.capacity == pytest.approx(REPLICAS_S)


def test_the_other_limits_are_kept_in_what_is_nearest():
    error = refusal({"tpot_s": 20.0, "chips": 1})
    assert "the least is 28 s" in str(error)
    assert "where chips at most 1 is kept, the least for tpot_s is 34 s with one chip" in str(error)
    assert error.capacity == pytest.approx(ALONE_S)


def test_of_limits_that_fail_together_each_is_told_with_the_other_kept():
    error = refusal({"tpot_s": 30.0, "chips": 1}, minimize="usd_per_million_tokens")
    assert "each of the limits on chips and tpot_s can be kept by itself, but no plan" in str(error)
    assert "where tpot_s at most 30 s is kept, the least for chips is 2 with 2 × " in str(error)
    assert "where chips at most 1 is kept, the least for tpot_s is 34 s with one chip" in str(error)
    assert error.resource == "limits together"


def test_a_limit_that_has_no_part_in_it_is_not_blamed():
    error = refusal({"tpot_s": 30.0, "chips": 1, "power_w": 1e6}, minimize="usd_per_million_tokens")
    said = "each of the limits on chips at most 1 and tpot_s at most 30 s can be kept by itself"
    assert str(error).startswith(said)


def test_of_a_rate_the_most_is_told():
    """Two sequences of two tokens each, the first of which takes half a pass: 4 in 14 + 28 s."""
    error = refusal({"tokens_per_s": 1.0})
    assert str(error).startswith(
        "tokens_per_s cannot be over 0.09524 tokens/s on 2 × round (limit 1 tokens/s)"
    )
    assert error.capacity == pytest.approx(4 / 42)


def test_a_limit_that_is_missed_by_a_hair_is_told_from_what_is_reached():
    error = refusal({"tpot_s": REPLICAS_S * (1 - 1e-6)})
    assert "under 28 s on 2 × round (limit 27.99997 s)" in str(error)


def test_where_no_time_is_left_the_limits_alone_are_told():
    question = Question("chips", (("chips", 1.0), ("tpot_s", 30.0)), space="engine")
    space = Candidates(GRAPH, machine(), WORK, question)
    error = beyond_limits([space], deadline=-math.inf)
    # Nothing is told of either alone: that was not found out.
    assert str(error) == "no plan on 2 × round keeps chips at most 1 and tpot_s at most 30 s"


# ── Against the oracle ───────────────────────────────────────────────────────────────────────────


def tightened(asked: Asked) -> tuple[dict[str, float], str, float] | None:
    """Limits one of which no plan keeps beside the others, that one, and what is nearest to it by
    the oracle; None where the question has none that could be tightened."""
    for name in asked.limits:
        others = {one: value for one, value in asked.limits.items() if one != name}
        best = best_of(asked.case, asked.plans, asked.space, name, others)
        if best is None:
            continue
        value = float(getattr(best.score, name))
        if value <= 0:
            continue
        limit = value * (1.05 if name in HIGHER_IS_BETTER else 0.95)
        return {**others, name: limit}, name, value
    return None


def cases() -> list[object]:
    every = paired((2, 3, 4, 7, 8, 11), range(2))
    return mostly_slow(every, but=((2, 0), (4, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("numbers", cases(), ids=str)
def test_no_plan_lies_beyond_what_is_told_to_be_nearest(numbers):
    told = 0
    for asked in questions(*numbers):
        tight = tightened(asked)
        if tight is None:
            continue
        limits, name, nearest = tight
        case = asked.case
        direction = "maximize" if asked.field in HIGHER_IS_BETTER else "minimize"
        with pytest.raises(pl.InfeasibleError) as caught:
            pl.partition(
                *case[:3],
                limits=limits,
                exclude=case.exclude,
                space=asked.space,
                offload=False,
                **{direction: asked.field},
            )
        error = caught.value
        if error.resource == f"limit on {name}":
            assert error.capacity == pytest.approx(nearest, rel=1e-9)
            told += 1
        elif error.resource.startswith("limit on"):
            continue  # one of the others was beyond all plans before
        else:
            assert error.resource in ("limits together", "rate of requests")
    assert told or numbers not in ((2, 0), (3, 0))


# ── Rates ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("engine", [0, 1])
def test_the_most_that_is_served_is_that_of_the_best_of_all_plans(engine):
    graph = tiny_graph(2)
    software = tiny_software(engine=ENGINES[engine], most_sequences=5)
    topology = tiny_topology(3, software=software, chip=tiny_chip(3 * graph.weight_bytes))
    with pytest.raises(pl.InfeasibleError, match="requests a second, and no plan serves") as caught:
        pl.partition(graph, topology, pl.Workload(requests_per_s=1e5), minimize="chips")
    most = caught.value.capacity

    def served(rate: float) -> bool:
        case = Case(graph, topology, pl.Workload(requests_per_s=rate))
        return best_of(case, priced(case, "engine"), "engine", "chips", {}) is not None

    assert served(most * (1 - 1e-6))
    assert not any(served(most * share) for share in (1.0011, 1.01, 1.1, 1.5, 3.0))


@pytest.mark.slow
def test_a_limit_at_a_rate_says_which_rate_would_do():
    work = pl.Workload(prompt_tokens=10, output_tokens=2, requests_per_s=0.01)
    best = pl.partition(GRAPH, machine(), work, minimize="tpot_s").objective
    error = refusal({"tpot_s": 110.0}, work)
    assert error.resource == "limit on tpot_s"
    assert error.capacity == pytest.approx(best)
    assert "with 0.0075 requests/s" in str(error)
