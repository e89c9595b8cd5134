"""A grid of uniform plans is what `score_plan` says of each of them, and what it leaves out does
not fit."""

import math
import random
import time

import numpy as np
import pytest

import planner as pl
from planner.machines.prices import repriced
from planner.machines.topology import Power
from planner.pricing.price_list import Split
from planner.space.layout import packing_of
from planner.space.uniform import PlanGrid, plan_grid
from planner.space.uniform_shapes import Ground, Shape, cuts_of, shapes_of
from planner.workload import MOST_DRAFTED, Speculation
from tests.by_hand import chain, head, layer, matmul, round_machine
from tests.instances import (
    CONSTANT,
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
    "power_w",
)
DRAFT = tiny_graph(1, hidden=256, ffn=512, heads=2, kv_heads=1)
PHASES = ("both", "prefill", "decode")


def assert_equal_to_scores(grid: PlanGrid, dice: random.Random, samples: int) -> None:
    fits = [tuple(place) for place in np.argwhere(np.isfinite(grid.tpot_s)).tolist()]
    for place in dice.sample(fits, min(samples, len(fits))):
        plan = grid.plan(place)
        score = pl.score_plan(plan, grid.graph, grid.topology, grid.workload_at(place))
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
    # What repeats an earlier number of micro-batches has its price there.
    alike = grid.micro_batches[:, :, None] == grid.micro_batches[:, None, :]
    is_new = alike.argmax(axis=2) == np.arange(alike.shape[2])
    without = np.isinf(grid.tpot_s) & is_new[:, None, :]
    rest = [tuple(place) for place in np.argwhere(without).tolist()]
    for place in dice.sample(rest, min(samples, len(rest))):
        broken = pl.check_plan(grid.plan(place), grid.graph, grid.topology, grid.workload_at(place))
        assert {one.rule for one in broken} <= {"memory", "sequences"}
        assert broken


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_of_default_turns_that_are_alike_the_first_alone_has_a_price():
    # On one stage most shares come to one micro-batch; what is asked for is priced each time.
    shapes = [Shape(Split(), 1), Shape(Split(), 2)]
    asked = {"shapes": shapes, "micro_sequences": [1], "space": "any"}
    grid = plan_grid(tiny_graph(2), tiny_topology(2), WORK, **asked)
    turns = [set(np.flatnonzero(np.isfinite(row)).tolist()) for row in grid.tpot_s[:, 0]]
    for row, found in zip(grid.micro_batches.tolist(), turns, strict=True):
        assert found == {row.index(many) for many in row}
    twice = plan_grid(tiny_graph(2), tiny_topology(2), WORK, turns=(0.0, 1.0), **asked)
    assert np.isfinite(twice.tpot_s[0]).all()


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


@pytest.mark.slow
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
    [({"arrivals": "together"}, "steady"), ({"requests_per_s": 2.0}, "requests_per_s")],
)
def test_workloads_of_another_kind_are_refused(work, said):
    with pytest.raises(pl.InputError, match=said):
        plan_grid(tiny_graph(2), tiny_topology(4), pl.Workload(**work))


def test_weights_that_no_shape_holds_are_refused():
    with pytest.raises(pl.InfeasibleError, match="no uniform pipeline"):
        plan_grid(tiny_graph(400), tiny_topology(1), WORK)


# ── Drafts, pools, and hours without work ─────────────────────────────────────────────────────────


def drafts_of(graph: pl.ModelGraph) -> list[Speculation]:
    """One of each sort: a model of its own, a head of one layer, looked up, and one that is kept
    always."""
    return [
        Speculation(draft=DRAFT, tokens=3, acceptance_rate=0.5),
        Speculation(draft=graph.cut(1), tokens=2, kind="mtp"),
        Speculation(draft=graph.cut(1), tokens=5, kind="eagle3"),
        Speculation(tokens=4, kind="ngram"),
        Speculation(draft=tiny_moe(1), tokens=1, acceptance_rate=1.0),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("graph", [tiny_graph(5), tiny_moe(3), tiny_graph(4, tied_embedding=True)])
@pytest.mark.parametrize("case", range(5))
def test_with_every_draft_and_in_every_pool_a_point_is_the_score_of_its_plan(graph, phase, case):
    dice = random.Random(f"drafts {phase} {case} {graph.name} {len(graph.layers)}")
    topology = random_topology(dice, dice.choice(LISTED)).replace(power=FOLLOWING)
    topology = topology.replace(
        chip=tiny_chip(dice.choice((1.5, 2.5, 5.0)) * graph.weight_bytes),
        software=topology.software.replace(
            draft_overhead_s=dice.choice((0.0, 2e-4)), handover_rounds=dice.choice((0.0, 1.0))
        ),
        divisible=dice.random() < 0.3,
    )
    work = WORK.replace(
        phase=phase,
        output_tokens=dice.choice((2, 20)),
        transfer_s=2e-3 if phase == "decode" else 0.0,
        speculation=dice.choice([None, *drafts_of(graph)] if case else drafts_of(graph)),
    )
    sizes = None if phase == "prefill" else [1, 2, 3, 8, 40]
    grid = plan_grid(graph, topology, work, micro_sequences=sizes, space="any")
    assert_equal_to_scores(grid, dice, 12)
    assert_rest_does_not_fit(grid, dice, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "machine", "phase", "speculation"),
    [
        ("llama-3.1-70b", "hgx-h100", "both", {"draft": "llama-3.2-1b", "tokens": 3}),
        ("llama-3.1-70b", "groq-lpu-chain", "both", {"draft": "llama-3.2-1b", "tokens": 4}),
        ("llama-3.1-70b", "cerebras-cs3", "both", {"tokens": 6, "kind": "ngram"}),
        ("qwen3-30b-a3b", "hgx-b200", "both", {"draft": "own", "tokens": 2, "kind": "mtp"}),
        ("qwen3-30b-a3b", "hgx-b200", "decode", {"draft": "own", "tokens": 4, "kind": "eagle3"}),
        ("qwen3-30b-a3b", "hgx-b200", "prefill", {"draft": "own", "tokens": 4, "kind": "eagle3"}),
        ("llama-3.1-70b", "hgx-h100", "prefill", None),
        ("llama-3.1-405b", "cerebras-cs3", "prefill", None),
        ("llama-3.1-70b", "groq-lpu-chain", "decode", None),
    ],
)
def test_real_models_draft_and_stand_in_pools_on_real_machines(model, machine, phase, speculation):
    topology = pl.load_topology(machine)
    chips = 16 if machine == "hgx-b200" else topology.limit_chips
    graph = pl.load_model(model, weight_dtype="fp8")
    if speculation is not None:
        name = speculation.get("draft")
        draft = graph.cut(1) if name == "own" else name and pl.load_model(name, weight_dtype="fp8")
        speculation = Speculation(**{**speculation, "draft": draft})
    grid = plan_grid(
        graph,
        topology.replace(chips=chips),
        pl.Workload(batch_size=None, phase=phase, speculation=speculation),
        micro_sequences=None if phase == "prefill" else [1, 6, 64],
    )
    assert_equal_to_scores(grid, random.Random(f"{model} {machine} {phase}"), 5)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tpot_s", "tokens_per_s", "energy_per_token_j"])
def test_an_open_number_of_drafted_tokens_is_the_best_one_of_each_plan(field):
    graph, topology = tiny_graph(3), tiny_topology(4, power=FOLLOWING)
    asked = Speculation(draft=DRAFT, tokens=None, acceptance_rate=0.8)
    numbers = [None, *(asked.replace(tokens=tokens) for tokens in range(1, MOST_DRAFTED + 1))]
    each = np.array(
        [plan_grid(graph, topology, WORK.replace(speculation=one)).value(field) for one in numbers]
    )
    found = plan_grid(graph, topology, WORK.replace(speculation=asked), drafted_for=field)
    best = each.max(axis=0) if field == "tokens_per_s" else each.min(axis=0)
    assert np.array_equal(found.value(field), best)
    assert len(np.unique(found.drafted)) > 3
    places = np.take_along_axis(each, found.drafted[None], axis=0)[0]
    assert np.array_equal(found.value(field), places)
    assert_equal_to_scores(found, random.Random(field), 10)


def test_of_a_prefill_pool_an_open_number_is_none():
    work = WORK.replace(phase="prefill", speculation=Speculation(draft=DRAFT, tokens=None))
    grid = plan_grid(tiny_graph(3), tiny_topology(4), work)
    assert not grid.drafted.any()
    assert grid.workload_at((0, 0, 0)).speculation is None
    assert grid.tpot_s.shape == (len(grid.shapes), 1, 1)


def test_a_field_that_nothing_drafts_for_is_refused():
    with pytest.raises(pl.InputError, match="drafted_for must be"):
        plan_grid(tiny_graph(2), tiny_topology(4), WORK, drafted_for="chips")


def test_kept_tokens_by_hand():
    # A pass verifies four tokens of one sequence, of which 1 + 1/2 + 1/4 + 1/8 are kept: matmul and
    # head read 100 B each and move 30 B a token at 10 B/s, and are launched in 1 s.
    graph = chain(layer("a", matmul()), layer("c", head(), kind="head"))
    work = pl.Workload(
        batch_size=None,
        prompt_tokens=6,
        output_tokens=5,
        speculation=Speculation(tokens=3, acceptance_rate=0.5),
    )
    grid = plan_grid(
        graph,
        round_machine(1),
        work,
        shapes=[Shape(Split(), 1)],
        micro_sequences=[1],
        turns=[1.0],
    )
    round_s = 2 * (1 + (100 + 4 * 30) / 10)
    assert grid.tpot_s[0, 0, 0] == pytest.approx(round_s / 1.875)
    # A prompt of six tokens: 28 s + 1 s, and its one row of the head 13 s + 1 s; half a round
    # before it.
    ttft_s = 29 + 14 + round_s / 2
    assert grid.ttft_s[0, 0, 0] == pytest.approx(ttft_s)
    assert grid.requests_per_s[0, 0, 0] == pytest.approx(1 / (ttft_s + 4 * round_s / 1.875))


def test_pools_by_hand():
    graph = chain(layer("a", matmul()), layer("c", head(), kind="head"))
    work = pl.Workload(batch_size=None, prompt_tokens=6, output_tokens=5)
    asked = {"shapes": [Shape(Split(), 1)]}
    decode = plan_grid(
        graph,
        round_machine(1),
        work.replace(phase="decode", transfer_s=7.0),
        micro_sequences=[2],
        turns=[1.0],
        **asked,
    )
    # Two sequences in each pass, no prompts: 2 × (1 + 16) s, half of that before the first.
    assert decode.tpot_s[0, 0, 0] == pytest.approx(34.0)
    assert decode.ttft_s[0, 0, 0] == pytest.approx(7 + 17)
    assert decode.requests_per_s[0, 0, 0] == pytest.approx(2 / (24 + 4 * 34))

    prefill = plan_grid(graph, round_machine(1), work.replace(phase="prefill"), **asked)
    assert prefill.requests_per_s.item() == pytest.approx(1 / 43)
    # 150 W and 3.6 USD an hour for 43 s.
    assert prefill.energy_per_request_j.item() == pytest.approx(150 * 43)
    assert prefill.usd_per_request.item() == pytest.approx(0.001 * 43)
    assert prefill.batch_size.item() == 1


def one_plan(power: Power, **changes) -> PlanGrid:
    """Four chips, two ways by two stages."""
    topology = tiny_topology(4, power=power, **changes)
    return plan_grid(
        tiny_graph(4),
        topology,
        WORK,
        shapes=[Shape(Split(tensor=2), 2)],
        micro_sequences=[1, 4],
        turns=[1.0],
    )


def test_hours_without_work_by_hand():
    # A chip idles at 20 W of its 100 W; of the 50 W around it, hosts and fans draw 25 W.
    grid = one_plan(FOLLOWING)
    assert np.allclose(grid.idle_w, 4 * (20 + 25))
    quarter = grid.at_utilisation(0.25)
    more = quarter.energy_per_token_j - grid.energy_per_token_j
    assert more == pytest.approx(3 * 180 / grid.tokens_per_s)
    # What always draws all of its watts takes four times the joules.
    constant = one_plan(CONSTANT)
    assert np.allclose(constant.idle_w, constant.power_w)
    assert constant.at_utilisation(0.25).energy_per_token_j == pytest.approx(
        4 * constant.energy_per_token_j
    )


def test_a_share_of_the_hours_changes_joules_alone_and_is_taken_once():
    grid = one_plan(FOLLOWING)
    half = grid.at_utilisation(0.5)
    assert half.utilisation == 0.5
    for field in ("tpot_s", "tokens_per_s", "power_w", "usd_per_million_tokens"):
        assert np.array_equal(half.value(field), grid.value(field)), field
    again = half.at_utilisation(0.5)
    assert np.array_equal(again.energy_per_token_j, half.energy_per_token_j)
    assert half.at_utilisation(1.0).energy_per_token_j == pytest.approx(grid.energy_per_token_j)


def test_dollars_of_hours_without_work_are_the_owners_economics():
    topology = pl.load_topology("hgx-h100")
    shape = [Shape(Split(tensor=8), 1)]
    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    price = topology.price
    quarter = topology.replace(
        price=repriced(price, price.economics.replace(utilisation=price.economics.utilisation / 4))
    )
    grids = [
        plan_grid(graph, machine, pl.Workload(batch_size=None), shapes=shape)
        for machine in (topology, quarter)
    ]
    assert grids[1].usd_per_million_tokens == pytest.approx(4 * grids[0].usd_per_million_tokens)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(pl.InputError, match="share must lie above 0 and be at most 1"):
        one_plan(CONSTANT).at_utilisation(share)


def test_joules_that_are_not_known_stay_so():
    grid = one_plan(Power()).at_utilisation(0.5)
    assert np.isinf(grid.energy_per_token_j).all()
    assert np.isinf(grid.power_w).all()
    assert np.isinf(grid.idle_w).all()


@pytest.mark.slow
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
