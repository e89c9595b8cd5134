"""`disaggregate_attention` against all plans one by one, and laws."""

import contextlib
import itertools
import math
import random

import pytest

import planner as pl
from planner.answers.question import FIELDS
from planner.machines.topology import Price
from planner.planning.pairing import ASKED, disaggregate_attention
from planner.pricing.pairs import Pair
from planner.scoring.disaggregated import Link
from planner.scoring.pairs import score_pairing
from tests.by_hand import plan_of, stage
from tests.clock import ticking
from tests.instances import (
    CONSTANT,
    FOLLOWING,
    fabric,
    tiny_chip,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)

LINK = Link(bandwidth_bytes_per_s=1e9, latency_s=1e-5)
WORK = pl.Workload(phase="decode", batch_size=None, prompt_tokens=100, output_tokens=20)


def machine(chips, memory_bytes=1e9, power=CONSTANT, **software):
    return tiny_topology(
        chips,
        fabric("switch", 2, bandwidth_bytes_per_s=100e9),
        fabric("switch", 4, bandwidth_bytes_per_s=5e9, latency_s=2e-5),
        chip=tiny_chip(memory_bytes),
        software=tiny_software(**{"most_sequences": 4, **software}),
        power=power,
    )


def every_cut(graph):
    """For each number of stages the cut, filled from the first on, whose fullest stage holds the
    least, where no fewer stages hold as little."""
    each = [round(layer.weight_bytes) for layer in graph.layers]
    least = math.inf
    for stages in range(1, len(each) + 1):
        cuts = [
            [0, *inner, len(each)]
            for inner in itertools.combinations(range(1, len(each)), stages - 1)
        ]
        fullest, later = min(
            (max(sum(each[a:b]) for a, b in itertools.pairwise(cut)), [-one for one in cut])
            for cut in cuts
        )
        if fullest < least:
            least = fullest
            yield [-one for one in later]


def every_plan(graph, work, attention, experts):
    """All plans of the space, put together anew."""
    pair = Pair(graph, work, attention, experts)
    first, second = pair.attention.graph, pair.experts.graph
    routed = second.splits().get("experts")
    counts = {math.ceil(routed[0] / each) for each in range(1, 9)} if routed else {1, 2, 4, 8}
    for tensor, replicas in itertools.product((1, 2, 4, 8), range(1, attention.chips + 1)):
        if tensor * replicas > attention.chips:
            continue
        batches = [work.batch_size] if work.batch_size else range(1, 4 * replicas + 1)
        for cut, chips, straight in itertools.product(every_cut(second), counts, (False, True)):
            if chips * (len(cut) - 1) > experts.chips or (straight and not routed):
                continue
            stages = [
                stage(
                    *second.names[a:b], first=number * chips, chips=chips,
                    tensor_parallel=1 if straight else chips, expert_parallel=chips if routed else 1,
                )
                for number, (a, b) in enumerate(itertools.pairwise(cut))
            ]  # fmt: skip
            for batch, micro in itertools.product(
                batches, range(1, 5 if not work.batch_size else 9)
            ):
                if batch < micro or (not work.batch_size and batch % (micro * replicas)):
                    continue
                mine = stage(*first.names, chips=tensor, replicas=replicas, apart=tensor,
                             tensor_parallel=tensor)  # fmt: skip
                yield pl.PairedPlan(
                    attention=plan_of(mine, micro_batches=micro),
                    experts=plan_of(*stages, micro_batches=micro),
                    batch_size=batch,
                )


def scores_of(graph, work, machines):
    found = []
    for plan in every_plan(graph, work, *machines.values()):
        try:
            found.append(score_pairing(plan, graph, work, link=LINK, **machines))
        except pl.InfeasibleError:
            continue
    return found


def keeps(score, limits):
    for name, value in limits.items():
        reached = getattr(score, name)
        worse = reached > value * (1 + 1e-9)
        if FIELDS[name].best == "most":
            worse = reached < value * (1 - 1e-9)
        if worse:
            return False
    return True


CASES = {
    "experts": (tiny_moe(2), WORK),
    "dense": (tiny_graph(2), WORK.replace(batch_size=5)),
    "mixed": (
        tiny_graph(3, dense_first=1, experts=4, experts_active=2, expert_ffn=512),
        WORK.replace(batch_size=3),
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    graph, work = CASES[request.param]
    machines = {
        "attention": machine(2, 80e6, FOLLOWING),
        "experts": machine(4, 60e6, FOLLOWING, layer_overhead_s=2e-5),
    }
    machines["experts"] = machines["experts"].replace(
        price=Price(usd_per_chip_hour=0.2, basis="rental")
    )
    return graph, work, machines, scores_of(graph, work, machines)


@pytest.mark.slow
@pytest.mark.parametrize("field", ASKED)
def test_the_plan_is_as_good_as_the_best_of_all(case, field):
    graph, work, machines, scores = case
    most = FIELDS[field].best == "most"
    dice = random.Random(f"{graph.name} {field}")
    asked = {"maximize" if most else "minimize": field}
    limits = {}
    for kept in (None, "tpot_s", "tokens_per_s", "energy_per_token_j"):
        if kept is not None:
            limits = {kept: getattr(dice.choice(scores), kept)}
        values = [getattr(score, field) for score in scores if keeps(score, limits)]
        result = disaggregate_attention(graph, work, link=LINK, limits=limits, **asked, **machines)
        assert result.objective == pytest.approx(max(values) if most else min(values), rel=1e-9)
        assert (result.status, result.gap) == ("optimal", 0)
        assert keeps(result.score, limits)


def test_the_objective_is_the_score_of_the_plan(case):
    graph, work, machines, _ = case
    result = disaggregate_attention(graph, work, link=LINK, maximize="tokens_per_s", **machines)
    again = score_pairing(result.plan, graph, work, link=LINK, **machines)
    assert again == result.score
    assert result.objective == again.tokens_per_s


def test_an_answer_survives_json(case):
    graph, work, machines, _ = case
    result = disaggregate_attention(graph, work, link=LINK, **machines)
    assert pl.Pairing.from_json(result.to_json()) == result


def test_of_plans_as_good_the_one_with_the_fewest_chips_is_taken():
    graph = tiny_moe(2)
    machines = {"attention": machine(1, sequence_overhead_s=1.0), "experts": machine(8)}
    result = disaggregate_attention(graph, WORK, link=LINK, maximize="tokens_per_s", **machines)
    # The host of the attention sets the pace once there are two micro-batches, whatever is bought.
    assert result.score.slowest == "attention"
    assert result.score.chips == 2


def test_a_wider_link_is_never_worse():
    graph = tiny_moe(2)
    machines = {"attention": machine(2), "experts": machine(4)}
    best = math.inf
    for bandwidth in (1e6, 1e8, 1e10, 1e14):
        link = Link(bandwidth_bytes_per_s=bandwidth)
        found = disaggregate_attention(graph, WORK, link=link, minimize="tpot_s", **machines)
        assert found.objective <= best
        best = found.objective


def test_over_an_endless_link_two_like_machines_are_as_fast_as_one():
    # One chip does both halves one after the other; two, on a link that takes no time, do the same
    # halves: no operator is added and none is left out.
    graph, work = tiny_moe(2), WORK.replace(batch_size=1)
    one = machine(1)
    link = Link(bandwidth_bytes_per_s=1e19)
    pair = disaggregate_attention(graph, work, link=link, attention=one, experts=one)
    alone = pl.partition(graph, one, work, minimize="tpot_s", space="any")
    assert pair.score.tpot_s == pytest.approx(alone.score.tpot_s)
    assert pair.score.request_s == pytest.approx(alone.score.request_s)
    assert pair.score.tokens_per_s == pytest.approx(alone.score.tokens_per_s)


def test_two_micro_batches_hide_the_time_of_the_other_machine():
    graph = tiny_moe(2)
    machines = {"attention": machine(1), "experts": machine(1)}
    link = Link(bandwidth_bytes_per_s=1e12)
    work = WORK.replace(batch_size=4)
    best = disaggregate_attention(graph, work, link=link, maximize="tokens_per_s", **machines)
    assert best.plan.micro_batches > 1
    single = best.plan.replace(
        attention=best.plan.attention.replace(micro_batches=1),
        experts=best.plan.experts.replace(micro_batches=1),
    )
    alone = score_pairing(single, graph, work, link=link, **machines)
    assert alone.slowest == "its own way"
    assert best.score.tokens_per_s > alone.tokens_per_s


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"minimize": "ttft_s"}, "ttft_s cannot be optimised or limited for a pair of machines; ask for tpot_s"),
     ({"minimize": "tpot_s", "limits": {"mfu_fraction": 0.1}}, "mfu_fraction cannot be optimised or limited for a pair"),
     ({"minimize": "energy_per_token_j"}, "energy_per_token_j needs the power of both machines"),
     ({"minimize": "usd_per_hour"}, "usd_per_hour needs the price")],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(changes, words):
    silent = machine(2).replace(power=CONSTANT.replace(chip_w=None, system_w=None), price=Price())
    with pytest.raises(pl.InputError, match=words):
        disaggregate_attention(
            tiny_moe(2), WORK, link=LINK, attention=machine(2), experts=silent, **changes
        )


def test_why_there_is_no_plan_is_said():
    graph = tiny_moe(2)
    with pytest.raises(pl.InfeasibleError, match=r"^the experts machine is too small: 2 chips"):
        disaggregate_attention(
            graph, WORK, link=LINK, attention=machine(2), experts=machine(2, 20e6)
        )
    with pytest.raises(pl.InfeasibleError, match=r"^the attention machine is too small: 2 chips"):
        disaggregate_attention(
            graph, WORK, link=LINK, attention=machine(2, 1e6), experts=machine(2)
        )
    with pytest.raises(
        pl.InfeasibleError, match=r"^it is proved that no pair of plans keeps tpot_s"
    ):
        disaggregate_attention(
            graph,
            WORK,
            link=LINK,
            attention=machine(2),
            experts=machine(2),
            limits={"tpot_s": 1e-9},
        )


@pytest.mark.slow
def test_a_search_that_is_stopped_says_what_it_has_proved():
    graph = tiny_moe(2)
    machines = {"attention": machine(4), "experts": machine(8)}
    fast = disaggregate_attention(graph, WORK, link=LINK, minimize="tpot_s", **machines)
    asked = {
        "link": LINK,
        "maximize": "tokens_per_s",
        "limits": {"tpot_s": 1.1 * fast.objective},
        **machines,
    }
    best = disaggregate_attention(graph, WORK, **asked)
    stopped = []
    for limit_s in range(20, 80, 4):
        with ticking(1.0), contextlib.suppress(pl.NoPlanFoundError):
            stopped.append(disaggregate_attention(graph, WORK, time_limit_s=limit_s, **asked))
    assert "time" in {one.stopped_by for one in stopped}
    for early in stopped:
        assert early.objective <= best.objective * (1 + 1e-12)
        assert best.objective <= early.bound * (1 + 1e-12)


def test_where_no_time_is_left_nothing_is_said_to_be_proved():
    with pytest.raises(pl.NoPlanFoundError, match="nothing is proved: allow more time"):
        disaggregate_attention(
            tiny_moe(2), WORK, link=LINK, attention=machine(2), experts=machine(4), time_limit_s=0.0
        )
