"""Problems of boxes of plans, and splits."""

import math

import numpy as np
import pytest

import planner as pl
from planner.answers.question import question_of
from planner.machines.engine import Engine
from planner.solver.chain import exhaustive
from planner.space.boxes import Box
from planner.space.candidates import Candidates, splits_of
from planner.space.layout import packing_of
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology
from tests.oracle import HIGHER_IS_BETTER


def candidates(graph=None, topology=None, field="tpot_s", limits=None, **work) -> Candidates:
    return Candidates(
        graph or tiny_graph(),
        topology or tiny_topology(4),
        pl.Workload(**work),
        question_of(*((None, field) if field in HIGHER_IS_BETTER else (field, None)), limits, None),
    )


def least_of(several: Candidates, box: Box) -> float:
    """Of all plans of a box; each box on the way is checked against its own."""
    problem = several.to_problem(box)
    bound = math.inf if problem is None else exhaustive.solve(problem).objective
    reached = bound
    if not box.single:
        reached = min((least_of(several, half) for half in box.halves()), default=math.inf)
    assert bound <= reached * (1 + 1e-12)
    return reached


@pytest.mark.parametrize("field", ["mbu_fraction", "memory_headroom_bytes", "tokens_per_s"])
@pytest.mark.parametrize("box", [Box(2, None, (3, 3), (2, 2)), Box(2, 12, (3, 3), (2, 2))])
def test_a_plan_of_one_stage_keeps_the_micro_batches_that_its_box_was_solved_for(field, box):
    asked = candidates(tiny_graph(1), tiny_topology(2), batch_size=box.batch_size, field=field)
    solution = exhaustive.solve(asked.to_problem(box))
    plan = asked.to_plan(box, solution.runs)
    assert (len(plan.stages), plan.micro_batches) == (1, 3)
    score = pl.score_plan(plan, asked.graph, asked.topology, asked.workload)
    assert asked.canonical(field, getattr(score, field)) == pytest.approx(
        solution.objective, rel=1e-12
    )


def test_a_box_bounds_all_its_plans():
    several = candidates(batch_size=6, field="energy_per_token_j")
    (box, *_) = [box for box in several.boxes() if box.replicas == 1]
    bound = exhaustive.solve(several.to_problem(box)).objective
    singles, todo = [], [box]
    while todo:
        one = todo.pop()
        if one.single:
            singles.append(exhaustive.solve(several.to_problem(one)).objective)
        else:
            todo += one.halves()
    assert len(singles) > 3
    assert bound <= min(singles) * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "field",
    [
        "tokens_per_s",
        "energy_per_token_j",
        "usd_per_million_tokens",
        "mfu_fraction",
        "mbu_fraction",
    ],
)
@pytest.mark.parametrize("handover_rounds", [0.0, 16.0])
def test_where_the_batch_is_open_a_box_bounds_all_its_plans_whatever_memory_leaves_of_it(
    field, handover_rounds
):
    software = tiny_software(
        burst_share=0.1, interruption_share=0.9, handover_rounds=handover_rounds
    )
    topology = tiny_topology(2, chip=tiny_chip(80e6), software=software)
    several = candidates(
        tiny_graph(2), topology, field, batch_size=None, prompt_tokens=256, output_tokens=2
    )
    (box, *_) = [box for box in several.boxes() if box.replicas == 1]
    assert 4 < box.all_sequences[1] < box.micro_batches[1] * box.micro_sequences[1]

    assert math.isfinite(least_of(several, box))


@pytest.mark.slow
@pytest.mark.parametrize("field", ["ttft_s", "tpot_s", "request_s", "tokens_per_s", "mbu_fraction"])
@pytest.mark.parametrize("waits", [{}, {"layer_overhead_s": 1e-4, "layer_occupancy": 0.3}])
@pytest.mark.parametrize("packs", [True, False])
def test_a_box_of_a_settled_batch_bounds_all_ways_of_cutting_it(field, waits, packs):
    software = tiny_software(
        burst_share=0.1, interruption_share=0.9, packs_prompts=packs, handover_rounds=1.5, **waits
    )
    topology = tiny_topology(3, chip=tiny_chip(1e10), software=software)
    several = candidates(tiny_moe(2), topology, field, batch_size=11, output_tokens=20)
    (box, *_) = [box for box in several.boxes() if box.replicas == 1]

    assert box.every_cut
    assert math.isfinite(least_of(several, box))


def test_more_micro_batches_that_are_as_large_may_be_better():
    """Nine sequences are cut in three or in four, three in the largest. The stages are free for
    most of a pass, so that a fourth turn takes no time; and of the prompts of others those that
    start with one of a micro-batch's own, and that it runs behind, are fewer."""
    software = tiny_software(layer_overhead_s=1e-4, layer_occupancy=0.0, interruption_share=0.9)
    graph = tiny_graph(4)
    topology = tiny_topology(2, chip=tiny_chip(1e10), software=software)
    work = pl.Workload(batch_size=9, prompt_tokens=8, output_tokens=20)
    plan = pl.uniform_plan(graph, topology, pipeline_parallel=2)
    three, four = (
        pl.score_plan(plan.replace(micro_batches=parts), graph, topology, work) for parts in (3, 4)
    )
    assert four.tpot_s < three.tpot_s
    result = pl.partition(graph, topology, work, minimize="tpot_s", space="any")
    assert result.bound <= four.tpot_s


@pytest.mark.parametrize(
    ("wait_s", "occupancy", "output_tokens"), [(2e-5, 0.0, 20), (2e-5, 0.3, 20), (1e-4, 0.3, 5)]
)
def test_waits_of_rounds_that_trail_a_prompt_are_those_of_the_score(
    wait_s, occupancy, output_tokens
):
    """Two stages have four turns, which take longer than a pass with all its waits; whoever meets
    a prompt trails it, and waits in each layer besides."""
    software = tiny_software(
        layer_overhead_s=wait_s, layer_occupancy=occupancy, interruption_share=0.9,
        most_tensor_parallel=1, prefill_chunk_tokens=4096,
    )  # fmt: skip
    graph = tiny_graph(2)
    topology = tiny_topology(2, chip=tiny_chip(0.8 * graph.weight_bytes), software=software)
    traffic = {"batch_size": 4, "prompt_tokens": 500, "output_tokens": output_tokens}
    asked, box = candidates(graph, topology, **traffic), Box(1, 4, (4, 4), (1, 1))
    solution = exhaustive.solve(asked.to_problem(box))
    plan = asked.to_plan(box, solution.runs)
    assert len(plan.stages) == 2
    score = pl.score_plan(plan, graph, topology, asked.workload)
    assert solution.objective == pytest.approx(score.tpot_s, rel=1e-12)


def test_more_sequences_than_all_chips_can_hold_are_in_no_box():
    """Every plan that fits is within the bound on what a replica can hold, and some come near."""
    several = candidates(
        topology=tiny_topology(2, chip=tiny_chip(80e6)), field="energy_per_token_j", batch_size=None
    )
    (box, *_) = [box for box in several.boxes() if box.replicas == 1]
    plan = pl.uniform_plan(several.graph, several.topology, tensor_parallel=2)
    fitting = several.most_sequences(plan)
    assert fitting <= box.all_sequences[1] < 1.2 * fitting


def test_options_take_as_many_sequences_as_their_ranks_do():
    """Two each on four ranks: of nine sequences no option runs any layer, of eight only the one
    with four ranks, of two all."""
    few = tiny_topology(4, chip=tiny_chip(1e10), software=tiny_software(most_sequences=2))
    able = candidates(graph=tiny_moe(), topology=few, batch_size=8)
    assert able.most_taken == 8
    ranks = [split.attention for split in able.options]
    for sequences, expected in ((9, set()), (8, {4}), (4, {2, 4}), (2, {1, 2, 4})):
        box = Box(1, sequences, (1, 1), (sequences, sequences))
        ends = (able.schedule(box, 0), able.schedule(box, 1))
        runs = able.lowered(ends, sequences).feasible.any(axis=(1, 2))
        assert {rank for rank, any_run in zip(ranks, runs, strict=True) if any_run} == expected


def test_splits_divide_the_heads_whether_they_fill_nodes_or_not():
    topology = tiny_topology(6, fabric("switch", 3), fabric("switch", 2))
    splits = splits_of(tiny_graph(), topology, packing_of(topology))
    assert [split.tensor for split in splits] == [1, 2, 4]


def test_software_that_pads_heads_has_splits_up_to_a_head_for_each_chip():
    topology = tiny_topology(12, software=tiny_software(pads_heads=True))
    splits = splits_of(tiny_graph(heads=8), topology, packing_of(topology))
    assert [split.tensor for split in splits] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_experts_may_be_spread_beyond_the_tensor_group():
    topology = tiny_topology(8)
    splits = splits_of(tiny_moe(), topology, packing_of(topology))
    assert {(split.tensor, split.expert) for split in splits} == {
        (1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (1, 4), (1, 8), (2, 4), (2, 8), (4, 8),
    }  # fmt: skip


def test_software_that_holds_experts_twice_has_splits_over_any_number_of_ranks():
    twice = tiny_software(engine=Engine(redundant_experts=True))
    for topology, more in ((tiny_topology(3, software=twice), {(1, 3)}), (tiny_topology(3), set())):
        splits = splits_of(tiny_moe(), topology, packing_of(topology))
        expected = {(1, 1), (2, 1), (1, 2)} | more
        assert {(split.tensor, split.expert) for split in splits} == expected


def test_whole_experts_inside_a_tensor_group_count_only_where_slower_may_be_better():
    topology = tiny_topology(4)
    plain = splits_of(tiny_moe(), topology, packing_of(topology))
    slower = set(splits_of(tiny_moe(), topology, packing_of(topology), within=True)) - set(plain)
    assert {(split.tensor, split.expert, split.attention) for split in slower} == {
        (2, 2, 1),
        (4, 2, 1),
        (4, 4, 1),
    }


def test_software_that_never_splits_layers_gets_pipelines_only():
    topology = tiny_topology(4, software=tiny_software(most_tensor_parallel=1))
    assert [split.tensor for split in splits_of(tiny_graph(), topology, packing_of(topology))] == [
        1
    ]


def test_what_is_not_published_cannot_be_optimised():
    from planner.machines.topology import Power, Price

    blind = tiny_topology(4, power=Power(), price=Price())
    with pytest.raises(pl.InputError, match="power of tiny"):
        candidates(topology=blind, field="energy_per_token_j")
    with pytest.raises(pl.InputError, match="price of tiny"):
        candidates(topology=blind, field="usd_per_million_tokens")


def test_a_graph_that_is_no_chain_is_refused():
    graph = tiny_graph(2)
    skip = (graph.layers[0].name, graph.layers[2].name)
    with pytest.raises(pl.InputError, match="not a chain"):
        candidates(graph.replace(edges=(*graph.edges, skip)))


@pytest.mark.parametrize("chips", [4, 7, 8, 12])
@pytest.mark.parametrize("heads", [2, 8])
def test_plans_on_fewer_chips_than_count_leave_room_for_more_replicas(chips, heads):
    topology = tiny_topology(chips, fabric("switch", 4), fabric("switch", 3))
    graph = tiny_graph(2, heads=heads, kv_heads=2)
    asked = candidates(graph, topology, "usd_per_million_tokens", batch_size=None, output_tokens=20)
    packing, counted = asked.packing, set()
    widths = {split.chips for split in asked.splits}
    for box in asked.boxes():
        more = [count for count in asked.open_replicas() if count > box.replicas]
        least = asked.fewest_chips_of(box)
        counted.add(least)
        todo, seen = [(0, 0)], set()
        while todo:
            end, taken = todo.pop()
            for width in widths:
                block = int(packing.start(np.array(end), width)) + width, taken + width
                if block[0] <= packing.slots and block not in seen:
                    seen.add(block)
                    todo.append(block)
        for end, taken in seen:
            assert taken >= least or packing.room(end) >= min(more)
        crowded = [taken for end, taken in seen if more and packing.room(end) < min(more)]
        assert least == (min(crowded) if crowded else 1)
    assert len(counted) > 1
