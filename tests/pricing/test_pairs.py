"""What a pass of a pair of machines takes: by hand, and against an event simulation."""

import heapq
import itertools

import pytest

import planner as pl
from planner.cost import pipeline
from planner.models.operators import Experts
from planner.plan import PairedPlan
from planner.pricing.pairs import Pair, forms_of, pair_pass
from planner.pricing.price_list import Split
from tests.by_hand import (
    attention,
    chain,
    head,
    layer,
    matmul,
    plan_of,
    round_machine,
    stage,
)

WORK = pl.Workload(phase="decode", batch_size=2, prompt_tokens=3, output_tokens=2)
"""A mean context of 4 tokens."""
OUTPUT = matmul(name="output", inputs=10, outputs=5, split="inputs")
ROUTED = Experts(
    name="experts",
    experts=4,
    experts_active=2,
    inputs=5,
    hidden=1,
    matrices=2,
    weight_dtype="bf16",
    compute_dtype="bf16",
)


def two_layers(*feeding):
    parts = feeding or (matmul(name="up"),)
    return chain(
        layer("a", attention(), OUTPUT, *parts),
        layer("b", attention(), OUTPUT, *parts),
        layer("c", head(), kind="head"),
    )


def paired(batch=2, micro_batches=1, *, replicas=1, tensor=1, experts=None):
    mine = stage(
        "a", "b", "c", chips=tensor, replicas=replicas, apart=tensor, tensor_parallel=tensor
    )
    stages = experts or (stage("a"), stage("b", first=1))
    return PairedPlan(
        attention=plan_of(mine, micro_batches=micro_batches),
        experts=plan_of(*stages, micro_batches=micro_batches),
        batch_size=batch,
    )


def made(graph=None, work=WORK, **software):
    machine = round_machine(4, software=software)
    return Pair(graph or two_layers(), work, machine, machine)


def test_a_pass_by_hand():
    # Two sequences: attention moves 2 × (160 + 40 + 40) B, its output 100 + 60, the head 100 + 60.
    # At 10 B/s and 1 s a launch that is 49, 17 and 17 s; a feed-forward matmul takes 17 s too.
    way = pair_pass(made(), paired(), 10.0, 2.0)
    assert way.attention.sum() == pytest.approx(2 * (49 + 17) + 17)
    assert way.experts.sum() == pytest.approx(2 * 17)
    # 2 tokens of 20 B, four times: 4 s and a latency of 2 s each.
    assert way.link_s == pytest.approx(4 * (4 + 2))
    assert way.busy_s == pytest.approx({"attention": 149, "experts": 17, "link": 8})
    assert way.pass_s == pytest.approx(207)
    assert way.round_s(1) == pytest.approx(207)
    assert way.round_s(2) == pytest.approx(2 * 149)


def test_micro_batches_and_replicas_share_out_the_sequences():
    pair = made(work=WORK.replace(batch_size=10))
    assert pair.passes_of(10, 4, 1) == (3, 10)
    assert pair.passes_of(10, 4, 3) == (1, 4)
    alone = pair_pass(pair, paired(10), 10.0, 0.0)
    shared = pair_pass(pair, paired(10, replicas=2), 10.0, 0.0)
    assert shared.attention.sum() < alone.attention.sum()
    assert shared.experts.sum() == alone.experts.sum()


def test_a_stage_of_both_layers_is_busy_with_both():
    way = pair_pass(made(), paired(experts=(stage("a", "b"),)), 10.0, 0.0)
    assert way.busy_s["experts"] == pytest.approx(34)


def test_what_comes_back_is_gathered_by_a_tensor_group():
    narrow = pair_pass(made(), paired(), 10.0, 0.0)
    wide = pair_pass(made(), paired(tensor=2), 10.0, 0.0)
    collective = wide.attention[2]
    assert narrow.attention[2] == 0
    # Of each layer, all-reduce of the output (2 × 10 B): 1 + 2 × 1 + 2 s; all-gather of what comes
    # back (2 × 20 B): 1 + 1 + 2 s. The head gathers 2 × 20 B: 1 + 1 + 2 s.
    assert collective == pytest.approx(2 * (5 + 4) + 4)


def test_tokens_go_to_as_many_chips_as_hold_their_experts():
    pair = made(two_layers(ROUTED))
    # Of 4 experts on 2 chips, 2 chosen: both on one chip in 2 of 6 cases.
    assert pair.copies(Split(expert=2, attention=2)) == pytest.approx([2 * (1 - 1 / 6)])
    assert pair.copies(Split(tensor=2, expert=2)).tolist() == [1.0]
    straight = stage("a", "b", chips=2, expert_parallel=2)
    once = stage("a", "b", chips=2, tensor_parallel=2, expert_parallel=2)
    there, back = pair.sent_bytes(plan_of(straight))
    assert there == back == pytest.approx(2 * 20 * 5 / 3)
    assert pair.sent_bytes(plan_of(once)) == (40, 40)


def test_nothing_is_exchanged_among_chips_that_are_reached_over_the_link():
    pair = made(two_layers(ROUTED))
    straight = paired(experts=(stage("a", "b", chips=2, expert_parallel=2),))
    once = paired(experts=(stage("a", "b", chips=2, tensor_parallel=2, expert_parallel=2),))
    assert pair_pass(pair, straight, 10.0, 0.0).experts[2] == 0
    assert pair_pass(pair, once, 10.0, 0.0).experts[2] > 0


def test_tokens_go_out_in_the_format_that_they_are_multiplied_in():
    narrow = two_layers(matmul(name="up", weight_dtype="fp8", compute_dtype="fp8"))
    assert made(narrow).there_bytes.tolist() == [20]
    quantised = made(narrow, quantised_dispatch=True)
    assert 10 <= quantised.there_bytes[0] < 20
    assert quantised.back_bytes.tolist() == [20]


def test_stages_alike_have_one_form():
    pair = made()
    ((form, times),) = forms_of(paired().experts, pair.experts)
    assert (form.layer_counts, times) == ((1.0,), 2)


def test_each_machine_takes_its_own_overhead_of_a_layer():
    plain, waiting = made(), made(layer_overhead_s=10.0, layer_occupancy=0.2)
    first, second = (pair_pass(pair, paired(), 10.0, 0.0) for pair in (plain, waiting))
    assert second.pass_s - first.pass_s == pytest.approx(4 * 10)
    assert second.busy_s["experts"] - first.busy_s["experts"] == pytest.approx(0.2 * 10)
    assert second.busy_s["attention"] - first.busy_s["attention"] == pytest.approx(2 * 0.2 * 10)


def simulated_round_s(visits, micro_batches, rounds=60):
    """Mean time of a round of micro-batches that visit resources in turn, first come, first served;
    of the last rounds."""
    free = {}
    ends = []
    waiting = [(0.0, number, 0) for number in range(micro_batches)]
    steps = len(visits)
    while waiting:
        ready, number, step = heapq.heappop(waiting)
        name, taken = visits[step % steps]
        done = max(ready, free.get(name, 0.0)) + taken
        free[name] = done
        if number == 0 and (step + 1) % steps == 0:
            ends.append(done)
        if step + 1 < steps * rounds:
            heapq.heappush(waiting, (done, number, step + 1))
    half = len(ends) // 2
    return (ends[-1] - ends[half]) / (len(ends) - 1 - half)


def looped(layers, attention_s, experts_s, link_s, *, own_chips):
    """Of each layer: attention, out, feed-forward part, back."""
    visits = []
    for number in range(layers):
        stage_of = f"experts {number if own_chips else 0}"
        visits += [
            ("attention", attention_s), ("out", link_s), (stage_of, experts_s), ("back", link_s),
        ]  # fmt: skip
    busy = {}
    for name, taken in visits:
        busy[name] = busy.get(name, 0.0) + taken
    return visits, sum(taken for _, taken in visits), max(busy.values())


@pytest.mark.parametrize("own_chips", [True, False])
@pytest.mark.parametrize("micro_batches", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(
    "times", [(2.0, 4.0, 1.0), (5.0, 1.0, 0.5), (1.0, 1.0, 3.0), (3.0, 3.0, 0.0)]
)
def test_micro_batches_of_layers_alike_come_round_as_priced(times, micro_batches, own_chips):
    visits, pass_s, slowest_s = looped(4, *times, own_chips=own_chips)
    priced = float(pipeline.cycle_s(pass_s, micro_batches * slowest_s))
    assert simulated_round_s(visits, micro_batches) == pytest.approx(priced, rel=1e-6)


@pytest.mark.parametrize(("fed", "most"), [((1.0, 1.0, 4.0, 4.0, 4.0, 4.0), 1.15),
                                           ((1.0,) * 3 + (3.0,) * 58, 1.02)])  # fmt: skip
@pytest.mark.parametrize("micro_batches", [2, 3, 5])
def test_where_layers_differ_first_come_first_served_is_a_little_slower(micro_batches, fed, most):
    visits = list(
        itertools.chain.from_iterable(
            [("attention", 2.0), ("out", 0.5), ("experts", each), ("back", 0.5)] for each in fed
        )
    )
    busy = {}
    for name, taken in visits:
        busy[name] = busy.get(name, 0.0) + taken
    pass_s = sum(taken for _, taken in visits)
    priced = float(pipeline.cycle_s(pass_s, micro_batches * max(busy.values())))
    ran = simulated_round_s(visits, micro_batches)
    assert priced * (1 - 1e-9) <= ran <= most * priced
