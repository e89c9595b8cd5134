"""`partition` against a list of all plans that shares nothing with it: no space, no lowering, no search,
and none of what the other oracles leave out.

`make test` asks a few questions of small lists, `make oracle` all of them.
"""

import itertools
import random
from typing import Any

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.machines.engine import Engine, Space
from planner.space.candidates import Candidates
from planner.space.forms import forms_of as forms_of_the_space
from tests.every_plan import (
    MOST,
    Asked,
    Degrees,
    Listed,
    bare_plans,
    best_of,
    degrees_of,
    every_plan,
    filled,
    kept_in_flight,
    places_of,
    runs,
    stands_well,
)
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.lanes import EVERYTHING, spread

LIKE = {"version": "1", "like_stages": True, "decoder_on_each_stage": True}
ENGINES = (
    Engine(**LIKE, micro_batches="stages + 1", experts="all ranks", whole_blocks=True),
    Engine(**LIKE, micro_batches="stages", attention="all ranks", redundant_experts=True),
    Engine(
        **LIKE, micro_batches="sequences", tensor_in_pipelines=False, experts="none", attention="none"
    ),
    Engine(**LIKE, micro_batches="one", most_stages=2),
    Engine(),
)  # fmt: skip
"""As docs/engines.md has them of vLLM, SGLang and TensorRT-LLM, llama.cpp; one with few stages, one
without rules."""
QUESTIONS = 600
FEW = 40
MOST_PLANS = 3000 if EVERYTHING else 120
NEAR = 1e-3
""""A plan that holds fewer chips is taken where it is within 0.1 %"."""
SHAPES = ("switch", "full-mesh", "ring", "chain")


def question(number: int) -> Asked:
    """A model of one to four decoder layers on one to six chips."""
    dice = random.Random(f"every plan {number}")
    engine = dice.choice(ENGINES)
    space: Space = dice.choice(("engine", "engine", "any"))
    is_ruled = engine.like_stages and space == "engine"
    chips = dice.choice((2, 3, 4, 4, 5, 6)) if is_ruled else dice.choice((1, 2, 2, 3, 3, 4))
    graph = _model(dice, dice.choice((2, 3, 4)) if is_ruled else dice.choice((1, 2)))
    software = tiny_software(
        engine=engine,
        most_sequences=dice.choice((2, 3, 5)),
        pads_heads=dice.random() < 0.2,
        most_tensor_parallel=dice.choice((2, 1_000_000)),
        prefill_chunk_tokens=dice.choice((64, 4096)),
        step_overhead_s=dice.choice((0.0, 1e-5)),
        packs_prompts=dice.random() < 0.5,
    )
    room = graph.weight_bytes * dice.choice((0.5, 0.8, 1.5, 3.0, 8.0))
    machine = tiny_topology(chips, *_fabrics(dice, chips), software=software, chip=tiny_chip(room))
    return Asked(graph, machine, _work(dice), space)


def _model(dice: random.Random, layers: int) -> pl.ModelGraph:
    heads = dice.choice((2, 4, 6))
    changes: dict[str, Any] = {
        "heads": heads,
        "kv_heads": dice.choice([count for count in (1, 2, 3) if heads % count == 0]),
        "hidden": 256,
        "head_dim": 64,
        "ffn": 1024,
        "vocabulary": dice.choice((500, 20_000)),
        "tied_embedding": dice.random() < 0.3,
    }
    if dice.random() < 0.4:
        width = dice.choice((128, 512))
        changes |= {"experts": dice.choice((3, 4)), "experts_active": 2, "expert_ffn": width}
        changes["dense_first"] = dice.choice((0, 1))
        if not changes["dense_first"]:
            changes["ffn"] = 0
    graph = tiny_graph(layers, **changes)
    return graph.replace(weight_block=64) if dice.random() < 0.4 else graph


def _fabrics(dice: random.Random, chips: int) -> list[pl.Fabric]:
    """One level, or units of two or three chips under a slower one."""
    quick = {
        "bandwidth_bytes_per_s": dice.choice((1e9, 3e11)),
        "latency_s": dice.choice((0.0, 2e-5)),
    }
    slow = {"bandwidth_bytes_per_s": dice.choice((1e8, 5e9)), "latency_s": 1e-4}
    units = [count for count in (2, 3) if count < chips]
    if not units or dice.random() < 0.3:
        return [fabric(dice.choice((*SHAPES, "links")), max(chips, 2), **quick)]
    count = dice.choice(units)
    inner = fabric(dice.choice((*SHAPES, "links")), count, **quick)
    return [inner, fabric(dice.choice(SHAPES), max(2, -(-chips // count)), **slow)]


def _work(dice: random.Random) -> pl.Workload:
    phase = dice.choice(("both", "both", "prefill", "decode"))
    drafting = None
    if phase != "prefill" and dice.random() < 0.25:
        draft = tiny_graph(1, hidden=64, heads=1, kv_heads=1, head_dim=64, ffn=128, vocabulary=500)
        drafting = pl.Speculation(
            tokens=dice.choice((2, None)), acceptance_rate=0.7, draft=dice.choice((None, draft))
        )
    return pl.Workload(
        phase=phase,
        batch_size=None if phase == "prefill" or dice.random() < 0.4 else dice.choice((1, 2, 3)),
        prompt_tokens=dice.choice((8, 200)),
        output_tokens=dice.choice((2, 20) if phase == "decode" else (1, 2, 20)),
        speculation=drafting,
        arrivals=dice.choice(("steady", "together")) if phase == "both" else "steady",
    )


def fields_of(asked: Asked) -> list[str]:
    """What may be asked of a phase."""
    known = ["chips", "memory_headroom_bytes", "usd_per_million_tokens"]
    if asked.workload.phase != "decode":
        known.append("ttft_s")
    if asked.workload.phase != "prefill":
        known += ["tokens_per_s", "energy_per_token_j"]
        known += ["tpot_s", "tokens_per_s_per_user"] if asked.workload.output_tokens > 1 else []
    return known


def is_small(asked: Asked) -> bool:
    """Whether few enough plans are to be priced."""
    every = (one for bare in bare_plans(asked) for one in filled(asked, bare))
    return sum(1 for _ in itertools.islice(every, MOST_PLANS + 1)) <= MOST_PLANS


def chosen() -> list[int]:
    """Questions of this run."""
    return spread(range(QUESTIONS), FEW)


@pytest.mark.slow
@pytest.mark.parametrize("number", chosen())
def test_no_plan_of_all_that_there_are_is_better(number):
    asked = question(number)
    if not is_small(asked):
        return
    found = every_plan(asked)
    dice = random.Random(f"asked of {number}")
    for field in dice.sample(fields_of(asked), 2):
        check_agrees(asked, found, field, {})
    field, other = dice.sample(fields_of(asked), 2)
    values = sorted((float(getattr(one.score, other)) for one in found), reverse=other in MOST)
    if values and values[0] > 0:
        check_agrees(asked, found, field, {other: values[len(values) // 3]})


def check_agrees(asked: Asked, found: list[Listed], field: str, limits: dict[str, float]) -> None:
    """The bound is the best of all plans, and the plan that is found is one of them."""
    best = best_of(found, field, limits)
    sense = "maximize" if field in MOST else "minimize"
    both = asked.graph, asked.topology
    try:
        result = pl.partition(
            *both, asked.workload, limits=limits, space=asked.space, **{sense: field}
        )
    except pl.InfeasibleError:
        assert best is None, (field, limits)
        return
    assert best is not None, (field, limits, result.plan)
    value = float(getattr(best.score, field))
    assert result.status == "optimal"
    assert result.bound == pytest.approx(value, rel=1e-9), (field, limits, best.plan, result.plan)
    assert result.objective == pytest.approx(value, rel=NEAR), (field, limits)
    assert pl.check_plan(best.plan, *both, best.workload, space=asked.space) == ()
    # A prefill pool has one prompt at a time, whether its plan says so or not.
    alone = {"batch_size": None} if asked.workload.phase == "prefill" else {}
    assert result.plan.replace(space="any", **alone) in {one.plan for one in found}


@pytest.mark.parametrize("number", spread(range(QUESTIONS), 12))
def test_forms_of_the_space_are_those_of_the_list(number):
    """Degrees, stages and the most replicas; of any plan the degrees."""
    asked = question(number)
    asked = asked._replace(graph=asked.graph.replace(weight_block=None))
    question_asked = question_of("chips", None, None, None, space=asked.space)
    roomy = asked.topology.replace(chip=tiny_chip(1e12))
    work = pl.Workload(batch_size=None)
    space = Candidates(asked.graph, roomy, work, question_asked)
    # To split each expert is never slower than to share whole ones out among tensor ranks, so that
    # the space has these only where no engine splits them.
    mine = {one for one in degrees_of(asked) if one.expert == 1 or one.expert > one.tensor}
    engine = asked.topology.software.engine
    if asked.space == "any" or not engine.like_stages:
        assert {(one.tensor, one.expert, one.attention) for one in space.splits} == mine
        return
    rooms: dict[tuple[Degrees, int], int] = {}
    for forms in forms_of_the_space(space):
        for form in forms:
            split = Degrees(form.split.tensor, form.split.expert, form.split.attention)
            rooms[split, form.stages] = form.most_replicas
    assert rooms == _rooms(asked, mine)


def in_blocks() -> tuple[pl.ModelGraph, pl.Topology]:
    """Experts 256 wide in blocks of 128: four tensor ranks take whole ones, or nothing."""
    graph = tiny_graph(2, ffn=0, experts=8, experts_active=2, expert_ffn=256, kv_heads=8)
    machine = tiny_topology(4, software=tiny_software(engine=ENGINES[0]))
    return graph.replace(weight_block=128), machine


def test_whole_experts_among_tensor_ranks_are_searched_where_splitting_them_cuts_blocks():
    graph, machine = in_blocks()
    work = pl.Workload(batch_size=1, prompt_tokens=64, output_tokens=8)
    sliced = pl.uniform_plan(graph, machine, tensor_parallel=4)
    (broken, *_) = pl.check_plan(sliced, graph, machine, work)
    assert "cannot split a block of 128 weights" in str(broken)
    whole = pl.uniform_plan(graph, machine, tensor_parallel=4, expert_parallel=4)
    assert pl.check_plan(whole, graph, machine, work) == ()
    found = pl.partition(graph, machine, work, minimize="tpot_s")
    assert found.objective == pytest.approx(pl.score_plan(whole, graph, machine, work).tpot_s)
    stage = found.plan.stages[0]
    assert (stage.tensor_parallel, stage.expert_parallel, stage.group_chips) == (4, 4, 4)
    again = pl.partition(graph, machine, work, minimize="tpot_s", solver="cp-sat")
    assert again.objective == pytest.approx(found.objective)
    assert pl.verify(found.certificate()).confirmed


@pytest.mark.parametrize(("batch", "parts"), [(2, 2), (3, 3)])
def test_one_stage_of_one_chip_cuts_a_batch_where_that_leaves_more_room(batch, parts):
    graph = tiny_graph(1)
    machine = tiny_topology(1, software=tiny_software(engine=Engine()))
    work = pl.Workload(phase="decode", batch_size=batch, prompt_tokens=200, output_tokens=20)
    found = pl.partition(graph, machine, work, maximize="memory_headroom_bytes")
    whole = pl.score_plan(pl.uniform_plan(graph, machine), graph, machine, work)
    assert (found.plan.micro_batches, len(found.plan.stages)) == (parts, 1)
    assert found.objective > whole.memory_headroom_bytes


def _rooms(asked: Asked, every: set[Degrees]) -> dict[tuple[Degrees, int], int]:
    """How many replicas have room, of each number of stages that a model can be cut into."""
    chips, layers = asked.topology.chips, asked.graph.layers
    engine = asked.topology.software.engine
    decoders = sum(layer.kind not in ("embedding", "head") for layer in layers)
    found = {}
    for degrees, stages in itertools.product(every, range(1, decoders + 1)):
        widths = [degrees.chips] * stages
        if sum(widths) > chips or not runs(engine, degrees, stages):
            continue
        counts = range(1, chips // sum(widths) + 1)
        most = max((n for n in counts if any(places_of(asked.topology, widths, n))), default=0)
        if most:
            found[degrees, stages] = most
    return found


# ── The list itself ──────────────────────────────────────────────────────────────────────────────


def two_of_three() -> pl.Topology:
    """Two nodes of three chips."""
    return tiny_topology(6, fabric("switch", 3), fabric("switch", 2))


@pytest.mark.parametrize(
    ("count", "firsts"),
    [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 1, 3, 4]), (3, [0, 3]), (4, [0]), (5, [0]), (6, [0])],
)
def test_groups_stand_in_a_node_that_can_hold_them_and_wider_ones_begin_with_one(count, firsts):
    machine = two_of_three()
    within = range(6 - count + 1)
    assert [first for first in within if stands_well(machine, first, count)] == firsts


def test_cards_whose_links_are_listed_stand_in_pairs():
    machine = tiny_topology(6, fabric("links", 6))
    # Three cards are more than a pair, and begin with one.
    assert [first for first in range(4) if stands_well(machine, first, 3)] == [0, 2]
    assert [first for first in range(5) if stands_well(machine, first, 2)] == [0, 2, 4]


def test_two_stages_of_two_chips_stand_in_one_node_each():
    assert list(places_of(two_of_three(), [2, 2], 1)) == [((0, 3),)]
    # Two replicas of a stage each: like ones, in any two places that do not overlap.
    assert len(list(places_of(two_of_three(), [2], 2))) == 4
    assert list(places_of(two_of_three(), [3], 2)) == [((0,), (3,))]


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        ("one", [1, 1, 1]),
        ("stages", [2, 3, 3]),
        ("stages + 1", [2, 4, 4]),
        ("sequences", [2, 4, 9]),
    ],
)
def test_an_engine_keeps_as_many_micro_batches_as_its_page_says(rule, counts):
    engine = Engine(**LIKE, micro_batches=rule)
    assert [kept_in_flight(engine, 3, sequences) for sequences in (2, 4, 9)] == counts
    assert kept_in_flight(engine, 1, 9) == 1


def test_two_layers_on_two_chips_have_four_plans_of_an_engine():
    machine = tiny_topology(2, software=tiny_software(engine=ENGINES[0]))
    asked = Asked(tiny_graph(2), machine, pl.Workload(batch_size=1), "engine")
    shapes = {
        (one.replicas, tuple((len(stage.layers), stage.tensor_parallel) for stage in one.stages))
        for one in bare_plans(asked)
    }
    # The embedding stands with the first layer, the head with the second.
    assert shapes == {(1, ((4, 1),)), (2, ((4, 1),)), (1, ((4, 2),)), (1, ((2, 1), (2, 1)))}


def test_experts_are_shared_out_over_all_ranks_or_by_their_tensor_ranks():
    graph = tiny_graph(1, ffn=0, experts=4, experts_active=2, expert_ffn=512, heads=2, kv_heads=2)
    asked = Asked(graph, tiny_topology(4), pl.Workload(batch_size=1), "any")
    assert set(degrees_of(asked)) == {
        (1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 1, 1), (2, 2, 1), (2, 4, 2)
    }  # fmt: skip
