"""Which plans a pair of machines has to choose from."""

import itertools

import numpy as np
import pytest

import planner as pl
from planner.pricing.holdings import StageHoldings
from planner.pricing.pairs import Pair, pair_pass
from planner.space.pairs import (
    MOST_MICRO_BATCHES,
    attention_options,
    attention_way,
    cuts_of,
    experts_options,
    experts_way,
    fits,
    paired_plan,
    points_of,
)
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

WORK = pl.Workload(phase="decode", batch_size=None, prompt_tokens=100, output_tokens=20)


def paired(graph=None, work=WORK, chips=(4, 8), memory_bytes=(1e9, 1e9), **software):
    machines = [
        tiny_topology(count, chip=tiny_chip(size), software=tiny_software(**software))
        for count, size in zip(chips, memory_bytes, strict=True)
    ]
    return Pair(graph or tiny_moe(3), work, *machines)


def test_attention_is_split_as_its_heads_allow():
    pair = paired(chips=(9, 2))
    assert [one.tensor for one in attention_options(pair)] == [1, 2, 4, 8]


def test_layers_are_cut_so_that_the_fullest_stage_holds_the_least():
    graph = pl.load_model("deepseek-v3")
    feeding = Pair(graph, WORK, *[pl.load_topology("hgx-h200")] * 2).experts.graph
    cuts = {len(cut) - 1: cut for cut in cuts_of(feeding)}
    # Three dense layers weigh less than one with experts, so that 59 stages are as full as 61.
    assert max(cuts) == 59
    assert cuts[59][:3] == [0, 3, 4]
    assert cuts[1] == [0, 61]
    for cut in cuts.values():
        assert cut == sorted(set(cut))


@pytest.mark.parametrize("weights", [(3, 1, 2, 2), (1, 1, 1, 1, 1), (5, 1, 1), (1, 1, 6)])
def test_cuts_are_the_best_of_all(weights):
    layers = [tiny_graph(1, ffn=1024 * one).layers[1].replace(name=f"{number}")
              for number, one in enumerate(weights)]  # fmt: skip
    graph = tiny_graph(1).replace(
        layers=tuple(layers), edges=tuple(itertools.pairwise(one.name for one in layers))
    )
    each = [one.weight_bytes for one in layers]
    best = {}
    for stages in range(1, len(each) + 1):
        for inner in itertools.combinations(range(1, len(each)), stages - 1):
            cut = [0, *inner, len(each)]
            fullest = max(sum(each[a:b]) for a, b in itertools.pairwise(cut))
            best[stages] = min(fullest, best.get(stages, fullest))
    distinct = {
        stages
        for stages in best
        if all(best[stages] < best[fewer] for fewer in best if fewer < stages)
    }
    found = {
        len(cut) - 1: max(sum(each[a:b]) for a, b in itertools.pairwise(cut))
        for cut in cuts_of(graph)
    }
    assert found == pytest.approx({stages: best[stages] for stages in distinct})


def test_a_stage_has_as_few_chips_as_hold_so_many_experts_each():
    pair = paired(tiny_moe(1), chips=(1, 16))
    found = {(one.chips, one.plan.stages[0].tensor_parallel) for one in experts_options(pair)}
    # Of 8 experts: 8, 4, 3, 2 or 1 on each chip... and of each but one chip both layouts.
    assert found == {(1, 1), (2, 1), (2, 2), (3, 1), (3, 3), (4, 1), (4, 4), (8, 1), (8, 8)}


def test_a_dense_stage_divides_its_widths():
    pair = paired(tiny_graph(1, ffn=96), chips=(1, 7))
    assert sorted(one.chips for one in experts_options(pair)) == [1, 2, 3, 4, 6]


def test_layouts_that_do_not_hold_their_weights_are_left_out():
    pair = paired(tiny_moe(2), memory_bytes=(1e9, 35e6))
    # A layer's experts are 50 MB, so that a chip has no room for a whole one.
    options = experts_options(pair)
    assert options
    for one in options:
        for stage in one.plan.stages:
            at = pair.experts.schedule(1)
            assert StageHoldings(pair.experts, stage).ledger(at).headroom_bytes >= 0
    assert min(one.chips for one in options) == 4


def test_an_open_batch_fills_all_micro_batches():
    points = points_of(paired(), 3, 5)
    assert np.all(points.batch == 3 * points.micro_batches * points.sequences[points.column])
    assert points.seated.max() == 5
    assert len(points.column) == 5 + 2 + 1 + 1 + 1


def test_a_given_batch_is_cut_every_way():
    points = points_of(paired(work=WORK.replace(batch_size=7)), 2, 64)
    assert points.micro_batches.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert points.together.tolist() == [7, 4, 3, 2, 2, 2, 1]
    assert points.sequences.tolist() == [4, 2, 2, 1, 1, 1, 1]
    assert set(points.seated) == {4}
    assert len(points_of(paired(work=WORK.replace(batch_size=99)), 2, 64).column) == (
        MOST_MICRO_BATCHES
    )


@pytest.mark.slow
@pytest.mark.parametrize("graph", [tiny_moe(3), tiny_graph(3)])
@pytest.mark.parametrize("batch", [None, 7])
def test_arrays_say_what_the_price_of_each_plan_says(graph, batch):
    pair = paired(graph, WORK.replace(batch_size=batch), layer_overhead_s=1e-5, layer_occupancy=0.3)
    for attention, replicas in zip(attention_options(pair), (1, 2, 1), strict=True):
        points = points_of(pair, replicas, attention.most_sequences)
        mine = attention_way(pair, attention, replicas, points.sequences)
        for experts in experts_options(pair):
            theirs = experts_way(pair, experts, points.together)
            for way in {0, len(points.column) // 2, len(points.column) - 1}:
                plan = paired_plan(
                    pair, attention, experts, replicas,
                    int(points.micro_batches[way]), int(points.batch[way]),
                )  # fmt: skip
                priced = pair_pass(pair, plan, 1e9, 0.0)
                at = points.column[way]
                assert mine.busy_s[at] == pytest.approx(priced.busy_s["attention"])
                assert mine.pass_s[at] == pytest.approx(priced.attention.sum())
                assert theirs.busy_s[at] == pytest.approx(priced.busy_s["experts"])
                assert theirs.pass_s[at] == pytest.approx(priced.experts.sum())


def test_what_fits_is_what_both_ledgers_hold():
    pair = paired(chips=(2, 8), memory_bytes=(60e6, 40e6))
    for attention in attention_options(pair):
        points = points_of(pair, 1, 64)
        for experts in experts_options(pair)[:3]:
            said = fits(pair, attention, experts, points)
            for way in range(0, len(said), 7):
                plan = paired_plan(
                    pair, attention, experts, 1,
                    int(points.micro_batches[way]), int(points.batch[way]),
                )  # fmt: skip
                left = []
                for half, served in (
                    (plan.attention, pair.attention),
                    (plan.experts, pair.experts),
                ):
                    at = served.schedule(plan.batch_size, half.replicas, plan.micro_batches)
                    left += [
                        StageHoldings(served, one).ledger(at).headroom_bytes for one in half.stages
                    ]
                assert said[way] == (min(left) >= 0)
