"""A grid of uniform plans is what `score_plan` says of each of them, and what it leaves out does
not fit."""

import math
import random
import time

import numpy as np
import pytest

import planner as pl
from planner.pricing.price_list import Split
from planner.space.layout import packing_of
from planner.space.uniform import PlanGrid, plan_grid
from planner.space.uniform_shapes import Ground, Shape, cuts_of, shapes_of
from tests.instances import (
    ENGINES,
    FOLLOWING,
    LISTED,
    fabric,
    random_topology,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)

WORK = pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)
FIELDS = (
    "ttft_s",
    "tpot_s",
    "tokens_per_s",
    "requests_per_s",
    "tokens_per_s_per_chip",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "usd_per_hour",
)


def assert_equal_to_scores(grid: PlanGrid, dice: random.Random, samples: int) -> None:
    fits = [tuple(place) for place in np.argwhere(np.isfinite(grid.tpot_s)).tolist()]
    for place in dice.sample(fits, min(samples, len(fits))):
        plan = grid.plan(place)
        score = pl.score_plan(
            plan, grid.graph, grid.topology, grid.workload.replace(batch_size=None)
        )
        for field in FIELDS:
            value = getattr(score, field)
            assert grid.value(field)[place] == (
                math.inf if value is None else pytest.approx(value, rel=1e-12)
            ), field
        assert (score.chips, score.batch_size) == (
            grid.value("chips")[place],
            grid.batch_size[place],
        )
    assert fits


def assert_rest_does_not_fit(grid: PlanGrid, dice: random.Random, samples: int) -> None:
    rest = [tuple(place) for place in np.argwhere(np.isinf(grid.tpot_s)).tolist()]
    for place in dice.sample(rest, min(samples, len(rest))):
        broken = pl.check_plan(
            grid.plan(place), grid.graph, grid.topology, grid.workload.replace(batch_size=None)
        )
        assert {one.rule for one in broken} <= {"memory", "sequences"}
        assert broken


@pytest.mark.parametrize("shape", LISTED)
@pytest.mark.parametrize(
    "graph", [tiny_graph(5), tiny_moe(3), tiny_graph(4, window_tokens=80, tied_embedding=True)]
)
def test_every_point_is_the_score_of_its_plan_and_what_has_none_does_not_fit(graph, shape):
    dice = random.Random(f"uniforms {shape} {graph.name}")
    topology = random_topology(dice, shape).replace(power=FOLLOWING)
    topology = topology.replace(chip=tiny_chip(dice.choice((1.3, 2.0, 4.0)) * graph.weight_bytes))
    work = WORK.replace(output_tokens=dice.choice((1, 20)))
    grid = plan_grid(graph, topology, work, micro_sequences=[1, 2, 3, 8, 40])
    assert_equal_to_scores(grid, dice, 20)
    assert_rest_does_not_fit(grid, dice, 10)


@pytest.mark.parametrize(
    ("model", "machine"),
    [
        ("llama-3.1-70b", "groq-lpu-chain"),
        ("llama-3.1-70b", "hgx-h100"),
        ("qwen3-30b-a3b", "hgx-b200"),
        ("llama-3.1-405b", "cerebras-cs3"),
        ("llama-3.1-8b", "article-lpu"),
    ],
)
def test_real_models_on_real_machines_too(model, machine):
    topology = pl.load_topology(machine)
    graph = pl.load_model(model, weight_dtype="fp8")
    grid = plan_grid(
        graph,
        topology.replace(chips=topology.limit_chips),
        pl.Workload(),
        micro_sequences=[1, 6, 64],
    )
    assert_equal_to_scores(grid, random.Random(f"{model} {machine}"), 6)


def test_a_shape_without_ends_is_the_uniform_plan_of_engines():
    graph, topology = tiny_graph(5), tiny_topology(16, fabric("switch", 4), fabric("chain", 4))
    shape = Shape(Split(tensor=2), 3)
    grid = plan_grid(graph, topology, WORK, shapes=[shape], micro_sequences=[4], turns=[1.0])
    plan = pl.uniform_plan(graph, topology, tensor_parallel=2, pipeline_parallel=3)
    assert grid.plan((0, 0, 0)) == plan.replace(batch_size=12, space="engine")


def test_more_replicas_change_neither_times_nor_joules_nor_dollars():
    graph, topology = tiny_graph(4), tiny_topology(8, fabric("switch", 8), power=FOLLOWING)
    grid = plan_grid(
        graph, topology, WORK, shapes=[Shape(Split(tensor=2), 2)], micro_sequences=[3], turns=[1.0]
    )
    twice = pl.uniform_plan(
        graph, topology, tensor_parallel=2, pipeline_parallel=2, data_parallel=2
    )
    score = pl.score_plan(twice, graph, topology, WORK.replace(batch_size=12))
    for field in ("ttft_s", "tpot_s", "energy_per_token_j", "usd_per_million_tokens"):
        assert grid.value(field)[0, 0, 0] == pytest.approx(getattr(score, field), rel=1e-12)
    assert score.tokens_per_s == pytest.approx(2 * grid.tokens_per_s[0, 0, 0], rel=1e-12)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("graph", [tiny_graph(5), tiny_moe(3)], ids=["dense", "experts"])
def test_every_plan_is_one_that_the_engine_can_be_started_with(graph, engine):
    topology = tiny_topology(
        6, software=tiny_software(engine=engine), chip=tiny_chip(graph.weight_bytes)
    )
    grid = plan_grid(graph, topology, WORK, micro_sequences=[1, 2, 5])
    places = [tuple(place) for place in np.argwhere(np.isfinite(grid.tpot_s)).tolist()]
    for place in places:
        assert pl.check_plan(grid.plan(place), graph, topology, WORK) == ()
    assert {grid.plan(place).space for place in places} == {"engine"}
    # Pipelines are among them, and batches of one request, and of several in each micro-batch.
    assert max(grid.shapes[shape].depth for shape, _, _ in places) > 1
    assert {int(grid.batch_size[place]) for place in places} >= {1, 2, 5}


def test_micro_batches_are_those_that_the_engine_keeps():
    # Three stages and one more: 1 to 3 sequences, each by itself, or 4 micro-batches of any size.
    engine = tiny_engine(micro_batches="stages + 1")
    topology = tiny_topology(3, software=tiny_software(engine=engine))
    grid = plan_grid(
        tiny_graph(3), topology, WORK, shapes=[Shape(Split(), 3)], micro_sequences=[1, 2, 7]
    )
    found = {
        (int(grid.micro_batches[0, turn]), int(grid.micro_sequences[size]))
        for _, size, turn in np.argwhere(np.isfinite(grid.tpot_s)).tolist()
    }
    assert found == {(1, 1), (2, 1), (3, 1), (4, 1), (4, 2), (4, 7)}


def test_a_shape_that_the_engine_cannot_run_has_no_price_but_in_any_space():
    engine = tiny_engine(tensor_in_pipelines=False)
    topology = tiny_topology(4, software=tiny_software(engine=engine))
    shapes = [Shape(Split(tensor=2), 2), Shape(Split(tensor=2), 1)]
    asked = {"shapes": shapes, "micro_sequences": [1]}
    grid = plan_grid(tiny_graph(4), topology, WORK, **asked)
    assert np.isinf(grid.tpot_s[0]).all()
    assert np.isfinite(grid.tpot_s[1]).any()
    free = plan_grid(tiny_graph(4), topology, WORK, **asked, space="any")
    assert np.isfinite(free.tpot_s[0]).any()
    assert (grid.space, free.space) == ("engine", "any")


def test_any_space_prices_what_a_software_without_rules_has():
    known = tiny_topology(4, software=tiny_software(engine=tiny_engine()))
    free = plan_grid(tiny_graph(4), known, WORK, space="any")
    unknown = plan_grid(tiny_graph(4), tiny_topology(4), WORK)
    assert free.shapes == unknown.shapes
    assert np.array_equal(free.micro_batches, unknown.micro_batches)
    assert np.array_equal(free.tpot_s, unknown.tpot_s)


@pytest.mark.parametrize(
    ("model", "machine", "chips", "software"),
    [
        ("llama-3.1-70b", "hgx-h100", 8, "vllm"),
        ("llama-3.1-70b", "hgx-h100", 16, "sglang"),
        ("qwen3-30b-a3b", "hgx-b200", 8, "vllm"),
        ("llama-3.1-8b", "hgx-h100", 8, "tensorrt-llm"),
    ],
)
def test_the_best_of_a_grid_is_near_the_proved_best_and_never_below(
    model, machine, chips, software
):
    graph = pl.load_model(model, weight_dtype="fp8")
    topology = pl.load_topology(machine, chips=chips, software=software)
    work = pl.Workload(batch_size=None)
    grid = plan_grid(graph, topology, work)
    gaps = []
    for slower in (1.3, 2, 3, 5):
        most_s = slower * float(grid.tpot_s.min())
        dollars = np.where(grid.tpot_s <= most_s, grid.usd_per_million_tokens, np.inf).min()
        best = pl.partition(
            graph, topology, work, minimize="usd_per_million_tokens", limits={"tpot_s": most_s}
        )
        gaps.append(dollars / best.bound - 1)  # a plan of fewer chips may stand above it
    assert min(gaps) > -1e-9
    assert max(gaps) < 0.06


def test_small_memories_put_embedding_and_head_on_stages_of_their_own():
    lpus = pl.load_topology("groq-lpu-chain", chips=2048)
    apart = [
        shape
        for shape in shapes_of(pl.load_model("llama-3.1-70b", weight_dtype="fp8"), Ground(lpus))
        if shape.ends
    ]
    assert apart
    assert {cuts_of(pl.load_model("llama-3.1-70b"), shape)[1] for shape in apart} == {1}


def test_stages_stand_inside_borders():
    topology = tiny_topology(16, fabric("switch", 4), fabric("chain", 4))
    stands = Ground(topology).stands(Shape(Split(tensor=3), 3))
    assert [stand.start for stand in stands] == [0, 4, 8]
    assert packing_of(topology).room(Ground(topology).end(Shape(Split(tensor=3), 3))) == 1


@pytest.mark.parametrize(
    ("work", "said"),
    [({"arrivals": "together"}, "steady"), ({"phase": "decode", "output_tokens": 2}, "phase")],
)
def test_workloads_of_another_kind_are_refused(work, said):
    with pytest.raises(pl.InputError, match=said):
        plan_grid(tiny_graph(2), tiny_topology(4), pl.Workload(**work))


def test_weights_that_no_shape_holds_are_refused():
    with pytest.raises(pl.InfeasibleError, match="no uniform pipeline"):
        plan_grid(tiny_graph(400), tiny_topology(1), WORK)


def test_a_fine_grid_prices_many_plans_a_second():
    topology = pl.load_topology("hgx-h100", chips=64)
    graph = pl.load_model("llama-3.1-8b", weight_dtype="fp8")
    plan_grid(graph, topology, pl.Workload(), micro_sequences=[1])
    begin = time.process_time()
    grid = plan_grid(graph, topology, pl.Workload(), micro_sequences=range(1, 513))
    assert grid.tpot_s.size / (time.process_time() - begin) > 5e4  # over a million on a free core


def test_each_rank_of_a_shape_takes_as_many_sequences_as_its_software_allows():
    """Three each: a shape over four ranks takes twelve, and what the grid leaves out has no
    score."""
    graph = tiny_moe()
    software = tiny_software(most_sequences=3)
    topology = tiny_topology(4, chip=tiny_chip(1e10), software=software)
    work = pl.Workload(prompt_tokens=16, output_tokens=4)
    grid = plan_grid(graph, topology, work, micro_sequences=range(1, 14), turns=(1.0,))
    opened = work.replace(batch_size=None)  # the plan states its batch
    most: dict[int, int] = {}
    for place in np.ndindex(grid.tpot_s.shape):
        shape = grid.shapes[place[0]]
        fits = bool(np.isfinite(grid.tpot_s[place]))
        sequences = int(grid.batch_size[place])
        assert fits == (sequences <= 3 * shape.split.attention)
        assert fits == (pl.check_plan(grid.plan(place), graph, topology, opened) == ())
        if fits:
            ranks = shape.split.attention
            most[ranks] = max(most.get(ranks, 0), sequences)
    assert most == {1: 3, 2: 6, 4: 12}
