"""`partition` in the space of the engine and in that of all plans, against an oracle that shares no
code with it; and what must hold of every engine's optimum.

`make test` asks some of the questions, `make oracle` all of them.
"""

import itertools
import random

import pytest

import planner as pl
from planner.answers.results import Result
from planner.machines.engine import Space
from planner.pricing.engines import in_flight
from planner.scoring.plans import score_plan
from tests.by_hand import chain, layer, matmul, round_machine
from tests.engine_oracle import Case, Priced, best_of, engine_plans, faults, plans_of, priced
from tests.engine_questions import (
    ENGINES,
    MACHINES,
    SCENARIOS,
    Asked,
    is_asked,
    is_free,
    questions,
    random_case,
    random_machine,
)
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology
from tests.lanes import EVERYTHING, mostly_slow
from tests.oracle import HIGHER_IS_BETTER, kept

FEW = (2, 3, 4, 7, 8, 11)
"""Machines of the usual suite, one with each kind of rules."""
NEAR = 1e-3
"""By how much a plan may be worse than the best where it holds fewer chips, or is better in the
other fields."""
VLLM = ENGINES[0]


def answered(case: Case, space: Space, field: str, limits: dict[str, float]) -> Result | None:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition(
            *case[:3], limits=limits, exclude=case.exclude, space=space, **{direction: field}
        )
    except pl.InfeasibleError:
        return None


def check_agrees(asked: Asked) -> bool:
    """Whether there is a plan; fails where the planner and the oracle disagree."""
    case, space, field = asked.case, asked.space, asked.field
    best = best_of(case, asked.plans, space, field, asked.limits)
    result = answered(case, space, field, asked.limits)
    assert (best is None) == (result is None)
    if best is None or result is None:
        return False
    value = float(getattr(best.score, field))
    check_proof(result, value, field)
    check_plan_of(result, case, space, field, asked.limits)
    if space == "engine" and case.topology.software.engine.is_known:
        check_fewest_chips(result, asked, value)
    return True


def check_proof(result: Result, best: float, field: str) -> None:
    """The bound is the best there is, and the plan is within a thousandth of it."""
    assert result.status == "optimal"
    assert result.bound == pytest.approx(best, rel=1e-9)
    worse = best - result.objective if field in HIGHER_IS_BETTER else result.objective - best
    assert -1e-9 * abs(best) <= worse <= NEAR * abs(best)


def check_plan_of(
    result: Result, case: Case, space: Space, field: str, limits: dict[str, float]
) -> None:
    """The plan is one of the space, costs what is said, and keeps the limits."""
    graph, topology, workload = case.graph, case.topology, result.workload
    assert faults(case, Priced(result.plan, result.score, workload), space) == ()
    score = score_plan(result.plan, graph, topology, workload, exclude=case.exclude)
    assert score == result.score or case.exclude
    assert getattr(score, field) == pytest.approx(result.objective, rel=1e-9)
    assert kept(score, limits)


def check_fewest_chips(result: Result, asked: Asked, best: float) -> None:
    """No plan that is as good holds fewer chips."""
    far = NEAR * (1 - 1e-6) * abs(best)
    as_good = [
        one.score.chips
        for one in asked.plans
        if kept(one.score, asked.limits)
        and abs(float(getattr(one.score, asked.field)) - best) <= far
        and not faults(asked.case, one, "engine")
    ]
    assert result.score.chips <= min(as_good)


def cases() -> list[object]:
    """Machines and scenarios; a few of them are quick."""
    every = itertools.product(range(MACHINES), range(SCENARIOS))
    few = [(machine, place % 2) for place, machine in enumerate(FEW)]
    return mostly_slow(every if EVERYTHING else few, but=((2, 0), (4, 0), (8, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("numbers", cases(), ids=str)
def test_the_best_plan_of_a_space_is_that_of_the_oracle(numbers):
    for asked in questions(*numbers):
        check_agrees(asked)


def is_asked_of_both(asked: Asked) -> bool:
    """Whether a question can be asked in both spaces."""
    return all(is_free(name, asked.case) for name in (asked.field, *asked.limits))


@pytest.mark.slow
@pytest.mark.parametrize("numbers", cases(), ids=str)
def test_no_engine_reaches_what_no_plan_reaches(numbers):
    asked = next((one for one in questions(*numbers) if is_asked_of_both(one)), None)
    if asked is None:
        return  # none of these is planned for under any plans
    case, field, limits = asked.case, asked.field, asked.limits
    bound, free = (answered(case, space, field, limits) for space in ("engine", "any"))
    if bound is None:
        return
    if free is None:  # plans that hold more are preferred, though none keeps the limits
        free = answered(case, "any", "ttft_s", {})
        assert free is not None
        assert bound.score.queued > free.score.queued
    if bound.score.queued > free.score.queued:
        return  # whatever else those reach
    more = bound.objective - free.bound
    slack = 1e-9 * abs(free.bound)
    assert more <= slack if field in HIGHER_IS_BETTER else more >= -slack


# ── The oracle itself ────────────────────────────────────────────────────────────────────────────


def two_layers(chips: int, engine: int, **changes) -> Case:
    """Two like decoder layers of one matmul each: 100 B of weights, 14 s for one token."""
    graph = chain(layer("first", matmul()), layer("second", matmul()))
    topology = round_machine(chips, software={"engine": ENGINES[engine], **changes})
    work = pl.Workload(phase="decode", batch_size=2, prompt_tokens=10, output_tokens=2)
    return Case(graph, topology, work)


def shape_of(plan: pl.Plan) -> tuple[object, ...]:
    """Replicas, micro-batches, and layers × tensor degree of each stage."""
    stages = tuple((len(stage.layers), stage.tensor_parallel) for stage in plan.stages)
    return plan.replicas, plan.micro_batches, stages


def test_of_two_layers_on_two_chips_an_engine_runs_four_plans():
    plans = [shape_of(plan) for plan in engine_plans(two_layers(2, 0))]
    assert sorted(plans) == [
        (1, 1, ((2, 1),)),
        (1, 1, ((2, 2),)),
        (1, 2, ((1, 1), (1, 1))),  # as many micro-batches as there are sequences
        (2, 1, ((2, 1),)),
    ]  # fmt: skip


def test_an_open_batch_has_any_number_of_sequences_in_as_many_micro_batches_as_are_kept():
    case = two_layers(2, 0, most_tensor_parallel=1, most_sequences=7)
    case = case._replace(workload=case.workload.replace(batch_size=None))
    pipelines = [plan for plan in engine_plans(case) if len(plan.stages) == 2]
    assert [(plan.micro_batches, plan.batch_size) for plan in pipelines] == [
        (1, 1), (2, 2), (3, 3), (3, 4), (3, 5), (3, 6), (3, 7)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("software", "chips", "tpot_s", "plan"),
    [
        # A pass of one sequence: 100 + 10 + 20 B at 10 B/s, and a launch: 14 s a layer.
        ({"most_tensor_parallel": 1}, 2, 28.0, (2, 1, ((2, 1),))),
        # Both sequences on the one chip: 100 + 2 × 30 B at 10 B/s, and a launch: 17 s a layer.
        ({"most_tensor_parallel": 1}, 1, 34.0, (1, 1, ((2, 1),))),
        # 150 B on a chip hold one layer: 14 + 14 s, and 20 B over a link: 2 + 1 + 1 s.
        (
            {"most_tensor_parallel": 1, "usable_memory_fraction": 0.18},
            2,
            32.0,
            (1, 2, ((1, 1), (1, 1))),
        ),
    ],
)
def test_the_oracle_finds_what_is_found_on_paper(software, chips, tpot_s, plan):
    case = two_layers(chips, 0, **software)
    best = best_of(case, priced(case, "engine"), "engine", "tpot_s", {})
    assert best is not None
    assert best.score.tpot_s == pytest.approx(tpot_s)
    assert shape_of(best.plan) == plan
    result = answered(case, "engine", "tpot_s", {})
    assert result is not None
    assert (result.bound, shape_of(result.plan)) == (pytest.approx(tpot_s), plan)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine.is_known])
@pytest.mark.parametrize("work", [{"batch_size": 5}, {"batch_size": None}])
@pytest.mark.parametrize("graph", [tiny_graph(3), tiny_moe(3)], ids=["dense", "moe"])
def test_of_all_plans_an_engine_runs_those_that_check_plan_lets_through(engine, work, graph):
    software = tiny_software(engine=engine, most_sequences=5)
    topology = tiny_topology(3, software=software)
    case = Case(graph, topology, pl.Workload(**work))
    every = list(plans_of(case, "any"))
    mine = {said(plan) for plan in engine_plans(case) if passes(plan, case, "any")}
    through = {said(plan) for plan in every if passes(plan, case, "engine")}
    assert through == mine
    assert 0 < len(mine) < len(every) / 2


def passes(plan: pl.Plan, case: Case, space: Space) -> bool:
    """Whether a plan is one of a space, and fits."""
    return pl.check_plan(plan, *case[:3], space=space) == ()


def said(plan: pl.Plan) -> str:
    """All that a plan states."""
    return plan.model_dump_json()


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine.is_known])
def test_micro_batches_are_those_of_the_engine(engine):
    case = two_layers(3, ENGINES.index(engine), most_sequences=9)
    case = case._replace(workload=case.workload.replace(batch_size=None))
    for plan in engine_plans(case):
        sequences = plan.batch_size // plan.replicas
        assert plan.micro_batches == in_flight(engine, len(plan.stages), sequences)


# ── What must hold of every engine's optimum ─────────────────────────────────────────────────────


def bounds(case: Case, field: str, limits: dict[str, float]) -> float:
    """The best that is proved, the less the better; infinite where there is no plan."""
    result = answered(case, "engine", field, limits)
    if result is None:
        return float("inf")
    assert result.status == "optimal"
    return -result.bound if field in HIGHER_IS_BETTER else result.bound


def no_worse(one: float, other: float) -> bool:
    """Whether one value is at most the other, but for the last digits."""
    return one <= other + 1e-9 * abs(other) if abs(other) < float("inf") else True


def units_of_four(chips: int, engine: int, memory: float) -> pl.Topology:
    """Chips in units of four, the last of them not whole."""
    slow = {"bandwidth_bytes_per_s": 5e8, "latency_s": 5e-5}
    software = tiny_software(engine=ENGINES[engine], most_sequences=12)
    return tiny_topology(
        chips, fabric("switch", 4), fabric("switch", 3, **slow), software=software,
        chip=tiny_chip(memory),
    )  # fmt: skip


GROWING = ("ttft_s", "tpot_s", "tokens_per_s", "usd_per_million_tokens", "chips")


@pytest.mark.parametrize("field", GROWING)
@pytest.mark.parametrize("engine", mostly_slow([0, 1, 2, 3], but=(0,)))
@pytest.mark.parametrize("batch", [6, None])
def test_a_larger_machine_never_gets_a_worse_answer(field, engine, batch):
    graph = tiny_graph(
        5, dense_first=1, ffn=2048, heads=6, kv_heads=2, head_dim=64, experts=4, experts_active=2,
        expert_ffn=512,
    )  # fmt: skip
    work = pl.Workload(batch_size=batch, prompt_tokens=100, output_tokens=20)
    limits = {} if field == "ttft_s" else {"ttft_s": 0.1}
    memory = 0.4 * graph.weight_bytes
    machines = [units_of_four(chips, engine, memory) for chips in range(1, 10)]
    reached = [bounds(Case(graph, machine, work), field, limits) for machine in machines]
    assert reached[0] == float("inf") > reached[-1]
    assert all(no_worse(more, fewer) for fewer, more in itertools.pairwise(reached))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, MACHINES, 5))
def test_quicker_links_and_more_memory_never_make_it_worse(number):
    dice = random.Random(f"quicker {number}")
    case = random_case(dice, random_machine(number))
    topology = case.topology
    links = tuple(
        link.replace(bandwidth_bytes_per_s=2 * link.bandwidth_bytes_per_s)
        for link in topology.fabrics
    )
    memory = topology.chip.memory[0]
    roomy = memory.replace(capacity_bytes=1.5 * memory.capacity_bytes)
    for field in [name for name in ("ttft_s", "tpot_s", "chips") if is_asked(name, case)]:
        before = bounds(case, field, {})
        quicker = case._replace(topology=topology.replace(fabrics=links))
        larger = case._replace(
            topology=topology.replace(chip=topology.chip.replace(memory=(roomy,)))
        )
        assert no_worse(bounds(quicker, field, {}), before)
        assert no_worse(bounds(larger, field, {}), before)


@pytest.mark.parametrize("number", range(2, MACHINES, 8))
def test_names_change_nothing(number):
    case = random_case(random.Random(f"names {number}"), random_machine(number))
    case = case._replace(
        graph=tiny_graph(4, experts=4, experts_active=2, expert_ffn=512, dense_first=1, ffn=2048)
    )
    field = "request_s" if is_asked("request_s", case) else "ttft_s"
    named = {layer.name: f"part {place}" for place, layer in enumerate(case.graph.layers)}
    layers = tuple(layer.replace(name=named[layer.name]) for layer in case.graph.layers)
    edges = tuple((named[one], named[other]) for one, other in case.graph.edges)
    renamed = case.graph.replace(name="another", layers=layers, edges=edges)
    machine = case.topology.replace(name="elsewhere")
    assert bounds(case._replace(graph=renamed, topology=machine), field, {}) == bounds(
        case, field, {}
    )
