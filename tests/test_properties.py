"""Laws that hold of every plan and every machine, whatever their figures."""

import math
import random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import planner as pl
from planner.answers.question import FIELDS
from planner.machines.topology import Topology
from planner.plan import ChipRange, Plan
from planner.scoring.score import Score
from tests.clock import ticking
from tests.instances import (
    LISTED,
    SHAPES,
    fabric,
    random_graph,
    random_topology,
    random_workload,
    tiny_chip,
    tiny_graph,
    tiny_topology,
)
from tests.oracle import HIGHER_IS_BETTER, all_plans, scored

EASY = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SEEDS = st.integers(0, 10_000)
QUICKENED = [name for name in FIELDS if name != "power_w"]
"""Fields that quicker links or memory never worsen; a chip that waits less draws more on
average."""
TIMES = ("ttft_s", "tpot_s", "request_s", "energy_per_token_j", "usd_per_million_tokens")


def best(graph, topology, workload, field) -> float:
    """The optimum, so that less is better; infinite where nothing fits."""
    direction = {"maximize": field} if field in HIGHER_IS_BETTER else {"minimize": field}
    try:
        value = pl.partition(graph, topology, workload, **direction).objective
    except pl.InfeasibleError:
        return float("inf")
    return -value if field in HIGHER_IS_BETTER else value


def case(seed: int, shape: str | None = None):
    dice = random.Random(f"property {seed}")
    return (
        random_graph(dice),
        random_topology(dice, shape or dice.choice(SHAPES)),
        random_workload(dice),
    )


def no_worse(after: float, before: float) -> bool:
    return after <= before + 1e-9 * abs(before) if before != float("inf") else True


@pytest.mark.slow
@EASY
@given(SEEDS, st.sampled_from(QUICKENED), st.floats(1.01, 100.0), st.integers(0, 1))
def test_more_bandwidth_between_chips_never_worsens_the_optimum(seed, field, factor, level):
    graph, topology, workload = case(seed)
    assume(level < len(topology.fabrics))
    fabrics = list(topology.fabrics)
    fabrics[level] = fabrics[level].replace(
        bandwidth_bytes_per_s=factor * fabrics[level].bandwidth_bytes_per_s
    )
    wider = topology.replace(fabrics=tuple(fabrics))
    assert no_worse(best(graph, wider, workload, field), best(graph, topology, workload, field))


@pytest.mark.slow
@EASY
@given(SEEDS, st.sampled_from(QUICKENED), st.floats(0.0, 0.99), st.integers(0, 1))
def test_less_latency_between_chips_never_worsens_the_optimum(seed, field, factor, level):
    graph, topology, workload = case(seed)
    assume(level < len(topology.fabrics))
    fabrics = list(topology.fabrics)
    fabrics[level] = fabrics[level].replace(latency_s=factor * fabrics[level].latency_s)
    nearer = topology.replace(fabrics=tuple(fabrics))
    assert no_worse(best(graph, nearer, workload, field), best(graph, topology, workload, field))


@pytest.mark.slow
@EASY
@given(
    SEEDS,
    st.sampled_from([name for name in QUICKENED if name not in ("mbu_fraction", "mfu_fraction")]),
    st.floats(1.01, 50.0),
)
def test_more_memory_bandwidth_never_worsens_the_optimum(seed, field, factor):
    graph, topology, workload = case(seed)
    tier = topology.chip.memory[0]
    faster = pl.with_value(
        topology, "chip.memory[0].bandwidth_bytes_per_s", factor * tier.bandwidth_bytes_per_s
    )
    assert no_worse(best(graph, faster, workload, field), best(graph, topology, workload, field))


@pytest.mark.slow
@EASY
@given(SEEDS, st.sampled_from(list(FIELDS)), st.floats(1.01, 50.0))
def test_more_memory_never_worsens_the_optimum(seed, field, factor):
    """Of a layer that lies in a region of its chip, messages have as far to go as before: a shorter
    way would be quicker, and so draw more."""
    graph, topology, workload = case(seed)
    tier = topology.chip.memory[0]
    larger = pl.with_value(topology, "chip.memory[0].capacity_bytes", factor * tier.capacity_bytes)
    software = topology.software
    as_far = software.replace(layer_crossing_s=math.sqrt(factor) * software.layer_crossing_s)
    larger = larger.replace(software=as_far)
    assert no_worse(best(graph, larger, workload, field), best(graph, topology, workload, field))


@pytest.mark.slow
@EASY
@given(
    SEEDS,
    st.sampled_from(list(FIELDS)),
    st.sampled_from(("switch", "full-mesh", "chain", "dragonfly")),
)
def test_another_chip_never_worsens_the_optimum(seed, field, shape):
    """Not so on a ring, a torus or a mesh: with another chip they are wired otherwise, and are
    another machine."""
    graph, topology, workload = case(seed, shape)
    chips = topology.chips
    grown = Topology.from_fields(
        {**topology.model_dump(), "fabrics": [fabric(shape, 8)], "chips": min(chips, 4) + 1}
    )
    before = grown.replace(chips=min(chips, 4))
    assert no_worse(best(graph, grown, workload, field), best(graph, before, workload, field))


@pytest.mark.slow
@EASY
@given(SEEDS, st.sampled_from(list(FIELDS)))
def test_the_bound_is_never_better_than_any_plan(seed, field):
    graph, topology, workload = case(seed)
    direction = {"maximize": field} if field in HIGHER_IS_BETTER else {"minimize": field}
    try:
        with ticking(1.0):
            result = pl.partition(graph, topology, workload, time_limit_s=10, **direction)
    except (pl.InfeasibleError, pl.NoPlanFoundError):
        return
    sign = -1 if field in HIGHER_IS_BETTER else 1
    dice = random.Random(seed)
    for plan in all_plans(graph, topology, workload):
        if dice.random() < 0.1 and (score := scored(plan, graph, topology, workload)) is not None:
            value = sign * getattr(score, field)
            assert sign * result.bound <= value + 1e-9 * abs(value)


@pytest.mark.slow
@EASY
@given(SEEDS)
def test_the_same_input_gives_the_same_plan_byte_for_byte(seed):
    graph, topology, workload = case(seed)
    try:
        one = pl.partition(graph, topology, workload, minimize="tpot_s")
    except pl.InfeasibleError:
        return
    other = pl.partition(
        pl.ModelGraph.from_json(graph.to_json()),
        pl.Topology.from_json(topology.to_json()),
        workload,
        minimize="tpot_s",
    )
    assert one.plan.to_json() == other.plan.to_json()
    assert one.score.to_json() == other.score.to_json()


@pytest.mark.slow
@EASY
@given(SEEDS)
def test_renaming_chips_layers_and_machines_changes_no_figure(seed):
    graph, topology, workload = case(seed)
    names = {layer.name: f"block-{number}" for number, layer in enumerate(reversed(graph.layers))}

    def renamed(layer):
        operators = [
            operator.replace(tied_to=names[operator.tied_to])
            if getattr(operator, "tied_to", "")
            else operator
            for operator in layer.operators
        ]
        return layer.replace(name=names[layer.name], operators=tuple(operators))

    other_graph = graph.replace(
        name="other",
        layers=tuple(renamed(layer) for layer in graph.layers),
        edges=tuple((names[a], names[b]) for a, b in graph.edges),
    )
    other_machine = topology.replace(name="other", chip=topology.chip.replace(name="other"))
    assert best(other_graph, other_machine, workload, "tpot_s") == best(
        graph, topology, workload, "tpot_s"
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", LISTED)
@pytest.mark.parametrize("units", [2, 4])
def test_relabelling_chips_along_a_symmetry_of_the_machine_changes_no_score(shape, units):
    """Turned round end for end, every machine here is the same machine."""
    graph, workload = tiny_graph(2), pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=4)
    topology = tiny_topology(units, fabric(shape, units), chip=tiny_chip(4e8))
    for plan in list(all_plans(graph, topology, workload))[::3]:
        score = scored(plan, graph, topology, workload)
        turned = scored(mirrored(plan, topology.chips), graph, topology, workload)
        assert (score is None) == (turned is None)
        if score is not None:
            assert figures(turned) == pytest.approx(figures(score), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["switch", "full-mesh", "dragonfly", "ring"])
def test_moving_all_stages_on_by_one_node_changes_no_score(shape):
    graph, workload = tiny_graph(2), pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=4)
    topology = tiny_topology(8, fabric("full-mesh", 2), fabric(shape, 4, bandwidth_bytes_per_s=5e9))
    for plan in all_plans(graph, topology.replace(chips=4), workload):
        moved = shifted(plan, lambda chip: (chip + 2) % 8)
        score, after = (scored(one, graph, topology, workload) for one in (plan, moved))
        if score is not None:
            assert figures(after) == pytest.approx(figures(score), rel=1e-12)


def mirrored(plan: Plan, chips: int) -> Plan:
    """The plan with chip n where chip chips - 1 - n was."""
    return shifted(plan, lambda chip: chips - 1 - chip)


def shifted(plan: Plan, at) -> Plan:
    def group(old: ChipRange) -> ChipRange:
        return ChipRange(first=min(at(old.first), at(old.last)), count=old.count)

    stages = tuple(
        stage.replace(groups=tuple(group(old) for old in stage.groups)) for stage in plan.stages
    )
    return plan.replace(stages=stages)


def figures(score: Score) -> list[float]:
    return [float(getattr(score, name)) for name in FIELDS]


@pytest.mark.slow
@EASY
@given(SEEDS, st.floats(1.01, 20.0))
def test_a_given_plan_is_never_slower_with_faster_parts(seed, factor):
    graph, topology, workload = case(seed)
    plans = list(all_plans(graph, topology, workload))
    plan = plans[seed % len(plans)]
    before = scored(plan, graph, topology, workload)
    assume(before is not None)
    paths = [
        "chip.memory[0].bandwidth_bytes_per_s",
        "chip.peaks[0].flop_per_s",
        "fabrics[0].bandwidth_bytes_per_s",
    ]
    faster = pl.with_value(topology, paths[seed % 3], factor * {
        0: topology.chip.memory[0].bandwidth_bytes_per_s, 1: topology.chip.peaks[0].flop_per_s,
        2: topology.fabrics[0].bandwidth_bytes_per_s,
    }[seed % 3])  # fmt: skip
    after = pl.score_plan(plan, graph, faster, workload)
    assert all(getattr(after, name) <= getattr(before, name) * (1 + 1e-12) for name in TIMES)


@pytest.mark.slow
@EASY
@given(SEEDS)
def test_the_breakdowns_sum_to_the_totals(seed):
    graph, topology, workload = case(seed)
    plans = list(all_plans(graph, topology, workload))
    score = scored(plans[seed % len(plans)], graph, topology, workload)
    assume(score is not None)
    assert sum(part.total_s for part in score.breakdown) == pytest.approx(score.tpot_s, rel=1e-9)
    assert sum(part.total_s for part in score.prefill_breakdown) == pytest.approx(
        score.ttft_s, rel=1e-9
    )
    assert (
        min(
            min(part.model_dump().values()) for part in (*score.breakdown, *score.prefill_breakdown)
        )
        >= 0.0
    )
