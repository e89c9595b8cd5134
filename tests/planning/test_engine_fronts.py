"""A front of the engine's space covers every plan of it within its tolerance, as an oracle lists
them, and holds no others."""

import itertools
import math
import random

import numpy as np
import pytest

import planner as pl
from planner.answers.fronts import Front
from planner.answers.question import FIELDS
from planner.planning.engine_fronts import MOST_COUNTED
from tests.clock import ticking
from tests.engine_oracle import Case, Priced, faults, held, is_small
from tests.engine_questions import MACHINES, is_asked, random_case, random_machine
from tests.instances import (
    FOLLOWING,
    fabric,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow, paired, spread
from tests.oracle import HIGHER_IS_BETTER

MOST_PLANS = 1500
SCENARIOS = 4
"""Models and workloads on each machine."""
OPEN = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
GIVEN = OPEN.replace(batch_size=6)
HALF = 0.5 * tiny_graph(4).weight_bytes
"""Memory that a layer alone does not fill, and the model does."""


def vector(score: pl.Score, front: Front) -> np.ndarray:
    """Values of which less is better; of the room left in memory, what is taken of it."""
    values = []
    for name in front.fields:
        value = float(getattr(score, name))
        if name == "memory_headroom_bytes":
            values.append(usable(front.topology) - value)
        elif name in HIGHER_IS_BETTER:
            values.append(1 / value if value else math.inf)
        else:
            values.append(value)
    return np.array(values)


def usable(topology: pl.Topology) -> float:
    software = topology.software
    memory = topology.chip.memory[0].capacity_bytes
    return memory * software.usable_memory_fraction - software.reserved_bytes


def check_covers(front: Front, plans: list[Priced]) -> None:
    """Fails where no member is, in every field, within the tolerance of a plan."""
    assert front.status == "complete"
    members = np.stack([vector(one.score, front) for one in front.members])
    for one in plans:
        most = vector(one.score, front) * (1 + front.tolerance) * (1 + 1e-9)
        assert (members <= most).all(axis=1).any(), one.plan


def check_members(front: Front) -> None:
    """Each is a plan of the engine's, costs what is said, and is not beaten by another."""
    asked = front.graph, front.topology, front.workload
    for one in front.members:
        assert pl.check_plan(one.plan, *asked, space="engine") == ()
        assert one.score == pl.score_plan(one.plan, *asked)
    vectors = [vector(one.score, front) for one in front.members]
    for one in vectors:
        assert sum(bool((other <= one).all()) for other in vectors) == 1


def valid(case: Case) -> list[Priced]:
    """All plans that the engine can be started with."""
    return [one for one in held(case, "engine") if not faults(case, one, "engine")]


# ── Against the oracle ───────────────────────────────────────────────────────────────────────────


def random_front(dice: random.Random, number: int) -> tuple[Case, tuple[str, ...]] | None:
    """A case and fields that `pareto` is asked about; None where it is not."""
    case = random_case(dice, random_machine(number))
    workload = case.workload.replace(requests_per_s=None)
    case = case._replace(exclude=(), workload=workload)
    drafting = workload.speculation
    if drafting is not None and drafting.tokens is None:
        case = case._replace(workload=workload.replace(speculation=drafting.replace(tokens=2)))
    if not case.topology.software.engine.is_known or not is_small(case, "engine", MOST_PLANS):
        return None
    fields = [name for name in FIELDS if is_asked(name, case)]
    if case.topology.power == FOLLOWING:
        fields.remove("power_w")  # an average has no proof
    return case, tuple(dice.sample(fields, dice.choice((2, 3, 4))))


def cases() -> list[object]:
    """One scenario on each of some machines, in turn; `make oracle` has all on all."""
    some_of_all = spread(paired(range(MACHINES), range(SCENARIOS)), 22)
    return mostly_slow(some_of_all, but=tuple(some_of_all[2:5]))


@pytest.mark.slow
@pytest.mark.parametrize("numbers", cases(), ids=str)
def test_every_plan_of_the_oracle_is_covered(numbers):
    dice = random.Random(f"front {numbers}")
    found = random_front(dice, numbers[0])
    if found is None:
        return
    case, fields = found
    plans = valid(case)
    tolerance = dice.choice((1e-4, 0.02, 0.2))
    try:
        front = pl.pareto(*case[:3], fields=fields, tolerance=tolerance)
    except pl.InfeasibleError:
        assert not plans
        return
    check_covers(front, plans)
    check_members(front)


def machine(chips: int = 4, *, memory: float = 1e9, **software) -> pl.Topology:
    """Chips on one switch, under an engine that keeps as many micro-batches as stages."""
    stack = tiny_software(**{"engine": tiny_engine(), "most_sequences": 8, **software})
    return tiny_topology(chips, fabric("switch", chips), software=stack, chip=tiny_chip(memory))


FRONTS = {
    "chips": (("chips", "tpot_s"), tiny_graph(4), machine(), OPEN),
    "dollars an hour": (
        ("tpot_s", "usd_per_hour", "requests_per_s"),
        tiny_graph(4),
        machine(memory=HALF),
        OPEN,
    ),
    "requests": (("ttft_s", "requests_per_s"), tiny_graph(4), machine(memory=HALF), OPEN),
    "tokens of each chip": (
        ("tokens_per_s_per_chip", "tpot_s"),
        tiny_graph(4),
        machine(memory=HALF),
        OPEN,
    ),
    "watts": (("power_w", "ttft_s", "tokens_per_s"), tiny_graph(4), machine(memory=HALF), OPEN),
    "joules": (
        ("energy_per_token_j", "tpot_s", "memory_headroom_bytes"),
        tiny_graph(4),
        machine(memory=HALF),
        OPEN,
    ),
    "a given batch": (("tpot_s", "chips", "tokens_per_s"), tiny_graph(4), machine(5), GIVEN),
    "a static batch": (
        ("ttft_s", "usd_per_million_tokens"),
        tiny_graph(4),
        machine(memory=HALF),
        GIVEN.replace(arrivals="together"),
    ),
    "experts": (("tpot_s", "tokens_per_s", "chips"), tiny_moe(3), machine(), OPEN),
    "prefill": (
        ("ttft_s", "tokens_per_s", "chips"),
        tiny_graph(4),
        machine(memory=HALF),
        OPEN.replace(phase="prefill"),
    ),
    "decode": (
        ("tpot_s", "tokens_per_s", "memory_headroom_bytes"),
        tiny_graph(4),
        machine(memory=HALF, engine=tiny_engine(micro_batches="stages + 1")),
        OPEN.replace(phase="decode"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [1e-4, 0.05])
@pytest.mark.parametrize("name", FRONTS)
def test_every_plan_of_each_kind_is_covered(name, tolerance):
    fields, graph, topology, work = FRONTS[name]
    front = pl.pareto(graph, topology, work, fields=fields, tolerance=tolerance)
    assert (front.space, front.stopped_by) == ("engine", "proof")
    plans = valid(Case(graph, topology, work))
    assert plans
    check_covers(front, plans)
    check_members(front)


# ── More chips than numbers of replicas that are looked at ───────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("fields", [("chips", "tpot_s"), ("power_w", "tokens_per_s", "tpot_s")])
@pytest.mark.parametrize("tolerance", [0.02, 0.2])
def test_on_a_large_machine_every_number_of_replicas_is_covered(fields, tolerance):
    chips = MOST_COUNTED + 6
    graph, topology = tiny_graph(2), machine(chips, most_sequences=3, most_tensor_parallel=2)
    front = pl.pareto(graph, topology, OPEN, fields=fields, tolerance=tolerance)
    check_members(front)
    plans = [one for one in many_replicas(graph, topology) if one is not None]
    assert max(one.score.chips for one in plans) == chips
    check_covers(front, plans)


def many_replicas(graph: pl.ModelGraph, topology: pl.Topology):
    """Plans of every number of replicas."""
    case = Case(graph, topology, OPEN)
    for tensor, stages in ((1, 1), (2, 1), (1, 2), (2, 2)):
        for replicas in range(1, topology.chips // (tensor * stages) + 1):
            for sequences in (1, 2, 3):
                work = OPEN.replace(batch_size=sequences * replicas)
                plan = pl.uniform_plan(
                    graph,
                    topology.replace(chips=tensor * stages * replicas),
                    tensor_parallel=tensor,
                    pipeline_parallel=stages,
                    data_parallel=replicas,
                ).replace(batch_size=sequences * replicas, micro_batches=min(stages, sequences))
                one = Priced(plan, pl.score_plan(plan, graph, topology, work), OPEN)
                yield None if faults(case, one, "engine") else one


@pytest.mark.slow
def test_on_a_large_machine_fewer_numbers_of_replicas_do():
    fields = ("chips", "tokens_per_s")
    graph, topology = tiny_graph(2), machine(2 * MOST_COUNTED, most_tensor_parallel=1)
    front = pl.pareto(graph, topology, OPEN, fields=fields, tolerance=0.2)
    held = sorted(one.score.chips for one in front.members)
    assert held[0] == 1
    assert held[-1] == topology.chips
    assert len(held) < MOST_COUNTED
    assert all(more <= fewer * 1.2 + 1 for fewer, more in itertools.pairwise(held))


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_a_front_that_runs_out_of_time_is_partial_and_its_members_are_real():
    fields, graph, topology, work = FRONTS["joules"]
    seen = set()
    for limit_s in (2, 5, 10, 20, 40, 80, 160, 1000):
        try:
            with ticking(1.0):
                front = pl.pareto(
                    graph, topology, work, fields=fields, tolerance=1e-3, time_limit_s=limit_s
                )
        except pl.NoPlanFoundError:
            continue
        check_members(front)
        assert (front.status == "complete") == (front.stopped_by == "proof")
        seen.add(front.status)
    assert "partial" in seen
    assert "complete" in seen


def test_without_time_pipelines_are_not_found_and_nothing_is_said_to_be_impossible():
    topology = machine(memory=HALF, most_tensor_parallel=1)
    with pytest.raises(pl.NoPlanFoundError, match="allow more time"):
        pl.pareto(tiny_graph(4), topology, OPEN, fields=("tpot_s", "chips"), time_limit_s=0.0)


def test_that_there_is_no_plan_is_proved():
    with pytest.raises(pl.InfeasibleError, match="does not fit"):
        pl.pareto(tiny_graph(4), machine(memory=1e3), OPEN, fields=("tpot_s", "chips"))
