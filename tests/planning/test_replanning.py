"""`replan` against an oracle that tries every place for every stage, and what must hold of every
answer."""

import itertools
import math
import random

import pytest

import planner as pl
from planner.errors import InfeasibleError, InputError
from planner.plan import ChipRange, Plan, Stage
from planner.planning.replanning import moving_s
from planner.scoring.plans import score_plan
from tests.clock import ticking
from tests.instances import (
    ENGINES,
    fabric,
    tiny_chip,
    tiny_graph,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow, some
from tests.oracle import all_cuts, all_splits, may_begin


def part(position: int, count: int) -> set[int]:
    """Which of 840 slices of a layer a chip of a group holds."""
    return set(range(840 * position // count, 840 * (position + 1) // count))


def bytes_sent(before, after, graph, topology, lost) -> float:
    """From the definition: slice by slice, chip by chip, under the weights that `score_plan`
    reports."""
    held: dict[tuple[int, str], set[int]] = {}
    for stage in before.stages:
        for group in stage.groups:
            for position, chip in enumerate(range(group.first, group.last + 1)):
                for name in stage.layers if chip not in lost else ():
                    held[chip, name] = part(position, group.count)
    sent = 0.0
    for stage in after.stages:
        for group in stage.groups:
            for position, chip in enumerate(range(group.first, group.last + 1)):
                wanted = part(position, group.count)
                for name in stage.layers:
                    missing = wanted - held.get((chip, name), set())
                    sent += weight(graph, topology, stage, name) * len(missing) / len(wanted)
    return sent


def weight(graph, topology, stage, name) -> float:
    """Bytes of a layer on each chip of a stage, from the operators."""
    layer = next(layer for layer in graph.layers if layer.name == name)
    return sum(
        float(operator.demand(stage.tensor_parallel, stage.expert_parallel).held_weight_bytes)
        for operator in layer.operators
    )


def every_plan(graph, topology, excluded, batch_size):
    """Pipelines of one replica whose stages stand anywhere."""
    names = [layer.name for layer in graph.layers]
    splits = all_splits(graph, topology)
    for cuts in all_cuts(len(names)):
        for degrees in itertools.product(splits, repeat=len(cuts) - 1):
            places = [
                [
                    n
                    for n in range(topology.chips - max(split) + 1)
                    if may_begin(topology, n, max(split))
                ]
                for split in degrees
            ]
            for starts in itertools.product(*places):
                chips = [
                    chip
                    for n, split in zip(starts, degrees, strict=True)
                    for chip in range(n, n + max(split))
                ]
                if len(set(chips)) < len(chips) or set(chips) & set(excluded):
                    continue
                stages = tuple(
                    Stage(
                        layers=tuple(names[a:b]),
                        groups=(ChipRange(first=n, count=max(split)),),
                        tensor_parallel=split[0],
                        expert_parallel=split[1],
                    )
                    for a, b, n, split in zip(cuts, cuts[1:], starts, degrees, strict=False)
                )
                for micro_batches in range(1, batch_size + 1):
                    yield Plan(stages=stages, micro_batches=micro_batches)


@pytest.mark.slow
@pytest.mark.parametrize("case", range(10))
def test_the_fewest_bytes_are_moved_as_the_oracle_finds(case):
    dice = random.Random(f"replan {case}")
    graph = tiny_graph(dice.choice((1, 2)), heads=2, kv_heads=2, ffn=2048)
    topology = tiny_topology(
        4,
        *(
            (fabric(dice.choice(("switch", "chain", "ring")), 4),)
            if case % 2
            else (fabric("switch", 2), fabric("switch", 2))
        ),
        chip=tiny_chip(dice.choice((30e6, 45e6, 90e6))),
        software=tiny_software(),
    )
    work = pl.Workload(batch_size=1, prompt_tokens=100, output_tokens=dice.choice((2, 20)))
    field, worse = dice.choice(("tpot_s", "ttft_s", "chips")), dice.choice((0.0, 0.3, math.inf))
    before = pl.partition(graph, topology, work, minimize=field)
    lost = (dice.choice([stage.groups[0].first for stage in before.plan.stages]),)
    try:
        found = pl.replan(before, lost=lost, worse=worse)
    except InfeasibleError:
        pytest.skip("nothing fits any more")
    best = least = math.inf
    for plan in every_plan(graph, topology, lost, 1):
        try:
            value = getattr(score_plan(plan, graph, topology, work, exclude=lost), field)
        except (InfeasibleError, InputError):
            continue
        least = min(least, value)
        if value <= found.best.objective * (1 + max(worse, 1e-9)):
            best = min(best, bytes_sent(before.plan, plan, graph, topology, lost))
    assert found.best.objective == pytest.approx(least, rel=1e-9)
    assert found.status == found.best.status == "optimal"
    assert found.moved_bytes == pytest.approx(best, rel=1e-9, abs=1e-6)
    assert found.moved_bytes == pytest.approx(
        bytes_sent(before.plan, found.result.plan, graph, topology, lost), abs=1e-6
    )
    assert found.moved_bound_bytes == found.moved_bytes
    assert found.result.objective <= found.best.objective * (1 + max(worse, 1e-9))
    assert pl.check_plan(found.result.plan, graph, topology, work, exclude=lost) == ()


def four_in_a_row():
    """Four stages on four of eight chips."""
    graph, topology = (
        tiny_graph(6),
        tiny_topology(
            8,
            fabric("switch", 8),
            chip=tiny_chip(90e6),
            software=tiny_software(most_tensor_parallel=1),
        ),
    )
    return graph, topology, pl.partition(graph, topology, pl.Workload(), minimize="chips")


@pytest.mark.slow
def test_a_spare_chip_takes_over_and_nothing_else_moves():
    graph, topology, before = four_in_a_row()
    found = pl.replan(before, lost=(1,))
    stage = before.plan.stages[1]
    assert {move.chip for move in found.moves} <= set(range(before.plan.chips, 8))
    assert [move.layers for move in found.moves] == [stage.layers]
    assert found.moved_bytes == pytest.approx(before.score.stages[1].weight_bytes)
    assert found.moves[0].sources == ()
    assert found.result.objective == before.objective
    in_order = pl.partition(graph, topology, pl.Workload(), minimize="chips", exclude=(1,)).plan
    assert pl.moved_bytes(before.plan, in_order, graph, topology, (1,)) > 2 * found.moved_bytes


@pytest.mark.slow
def test_moving_takes_as_long_as_the_chip_that_receives_the_most():
    _, topology, before = four_in_a_row()
    found = pl.replan(before, lost=(1,))
    link = topology.fabrics[0]
    wanted = (
        found.moved_bytes / link.bandwidth_bytes_per_s
        + link.latency_s
        + topology.software.hop_overhead_s
    )
    assert found.moving_s == pytest.approx(wanted)
    assert moving_s((), topology) == 0.0


def test_a_plan_that_loses_no_chip_it_uses_stays_where_it_is():
    _, _, before = four_in_a_row()
    found = pl.replan(before, lost=(7,))
    assert (found.moved_bytes, found.moves, found.moving_s) == (0.0, (), 0.0)
    assert found.result.plan.stages == before.plan.stages


@pytest.mark.slow
def test_what_is_lost_twice_stays_lost():
    _, _, before = four_in_a_row()
    again = pl.replan(pl.replan(before, lost=(1,)).result, lost=(0,))
    assert again.result.exclude == (0, 1)
    used = {
        chip
        for stage in again.result.plan.stages
        for group in stage.groups
        for chip in range(group.first, group.last + 1)
    }
    assert not used & {0, 1}


def test_what_replan_needs_is_said_in_one_sentence():
    _, _, before = four_in_a_row()
    with pytest.raises(InputError, match=r"^lost: name at least one chip"):
        pl.replan(before, lost=())
    with pytest.raises(InputError, match=r"^worse must be a share of at least 0"):
        pl.replan(before, lost=(1,), worse=-0.1)
    with pytest.raises(InputError, match="8 is not one of them"):
        pl.replan(before, lost=(8,))


@pytest.mark.slow
def test_the_bound_of_a_replanned_result_never_exceeds_its_objective():
    graph, topology = (
        pl.load_model("llama-3.1-8b", weight_dtype="bf16"),
        pl.load_topology("hgx-h100", chips=8),
    )
    before = pl.partition(graph, topology, pl.Workload(batch_size=8), minimize="tpot_s")
    for worse in (0.0, 0.2):
        with ticking(0.05):
            found = pl.replan(before, lost=(3,), worse=worse, time_limit_s=100)
        assert found.best.bound <= found.result.bound <= found.result.objective
        assert found.moved_bound_bytes <= found.moved_bytes


def test_chips_that_share_out_a_sequence_hold_the_same():
    graph, machine = tiny_graph(2), tiny_topology(4)
    shared = pl.uniform_plan(graph, machine, sequence_parallel=2)
    alone = pl.uniform_plan(graph, machine)
    moved = alone.replace(stages=(alone.stages[0].replace(groups=(ChipRange(first=1, count=1),)),))
    assert pl.moved_bytes(shared, moved, graph, machine, lost=(0,)) == 0
    assert pl.moved_bytes(moved, shared, graph, machine) == pytest.approx(graph.weight_bytes)
    both = pl.uniform_plan(graph, machine, tensor_parallel=2, sequence_parallel=2)
    assert pl.moved_bytes(both, both, graph, machine) == 0
    split = pl.uniform_plan(graph, machine, tensor_parallel=2)
    later = split.replace(stages=(split.stages[0].replace(groups=(ChipRange(first=2, count=2),)),))
    assert pl.moved_bytes(both, later, graph, machine, lost=(0, 1)) == 0


# ── Plans that an engine can be started with ─────────────────────────────────────────────────────


def engine_case(case: int):
    """A plan of an engine on four chips, what of it is lost, and how much worse another may be."""
    dice = random.Random(f"engine replan {case}")
    graph = tiny_graph(dice.choice((2, 3)), heads=2, kv_heads=2, ffn=2048)
    engine = list(ENGINES.values())[case % len(ENGINES)]
    fabrics = (
        (fabric(dice.choice(("switch", "chain")), 4),)
        if case % 2
        else (fabric("switch", 2), fabric("switch", 2))
    )
    memory = dice.choice((0.5, 0.7, 1.5)) * graph.weight_bytes
    # Without tensor ranks what does not fit one chip is a pipeline.
    software = tiny_software(engine=engine, most_tensor_parallel=dice.choice((1, 4)))
    topology = tiny_topology(4, *fabrics, chip=tiny_chip(memory), software=software)
    work = pl.Workload(batch_size=1, prompt_tokens=100, output_tokens=dice.choice((2, 20)))
    field = dice.choice(("tpot_s", "ttft_s", "chips"))
    before = pl.partition(graph, topology, work, minimize=field)
    lost = (dice.choice([stage.groups[0].first for stage in before.plan.stages]),)
    return before, lost, dice.choice((0.0, 0.3, math.inf))


@pytest.mark.parametrize("case", mostly_slow(range(some(6, 18)), but=(0, 1, 2, 3)))
def test_of_an_engines_plans_the_one_that_moves_the_fewest_bytes_is_taken(case):
    before, lost, worse = engine_case(case)
    graph, topology, work = before.graph, before.topology, before.workload
    best = least = math.inf
    scored = []
    for plan in every_plan(graph, topology, lost, 1):
        if pl.check_plan(plan, graph, topology, work, exclude=lost, space="engine"):
            continue
        value = getattr(score_plan(plan, graph, topology, work, exclude=lost), before.field)
        scored.append((value, bytes_sent(before.plan, plan, graph, topology, lost)))
        least = min(least, value)
    try:
        found = pl.replan(before, lost=lost, worse=worse)
    except InfeasibleError:
        assert not scored
        return
    allowed = found.best.objective * (1 + max(worse, 1e-9))
    best = min(moved for value, moved in scored if value <= allowed)
    assert found.best.objective == pytest.approx(least, rel=1e-9)
    assert found.status == found.best.status == "optimal"
    assert found.moved_bytes == pytest.approx(best, rel=1e-9, abs=1e-6)
    assert found.moved_bytes == found.moved_bound_bytes
    assert found.result.space == "engine"
    assert found.result.objective <= allowed
    for plan in (found.result.plan, found.best.plan):
        assert pl.check_plan(plan, graph, topology, work, exclude=lost, space="engine") == ()


@pytest.mark.slow
def test_some_of_an_engines_pipelines_are_mended_by_moving_a_part():
    parts = set()
    for case in range(18):
        before, lost, worse = engine_case(case)
        try:
            found = pl.replan(before, lost=lost, worse=worse)
        except InfeasibleError:
            continue
        if len(before.plan.stages) > 1:
            parts.add(0 < found.moved_bytes < before.graph.weight_bytes)
    assert True in parts
