"""A front covers every plan of the space within its tolerance, and holds real plans only."""

import random

import numpy as np
import pytest

import planner as pl
from planner.answers.fronts import Front
from planner.answers.question import FIELDS
from planner.models.graph import ModelGraph
from planner.pricing.served import Served
from tests.instances import (
    CONSTANT,
    LISTED,
    random_graph,
    random_topology,
    random_workload,
    tiny_graph,
    tiny_topology,
)
from tests.lanes import mostly_slow, some
from tests.oracle import HIGHER_IS_BETTER, all_plans, scored_as
from tests.report.test_fronts import front_of_a_node

TRIPLES = (
    ("tpot_s", "tokens_per_s", "usd_per_million_tokens"),
    ("ttft_s", "tpot_s", "memory_headroom_bytes"),
    ("energy_per_token_j", "request_s", "chips"),
    ("mfu_fraction", "tokens_per_s_per_user", "power_w"),
    ("usd_per_hour", "requests_per_s", "ttft_s"),
    ("tokens_per_s_per_chip", "tpot_s"),
)


def vector(score: pl.Score, fields: tuple[str, ...]) -> np.ndarray:
    """Values of which less is better; the room left in memory as its negative."""
    values = [float(getattr(score, name)) for name in fields]
    return np.array(
        [
            -v if "headroom" in n else 1 / v if n in HIGHER_IS_BETTER else v
            for n, v in zip(fields, values, strict=True)
        ]
    )


def covers_all(
    front: Front, graph: ModelGraph, topology: pl.Topology, workload: pl.Workload
) -> int:
    """How many plans the oracle has; fails where one of them is not covered."""
    usable = (
        topology.chip.memory[0].capacity_bytes * topology.software.usable_memory_fraction
        - topology.software.reserved_bytes
    )
    members = np.stack([vector(one.score, front.fields) for one in front.members])
    room = np.array([usable if "headroom" in name else 0.0 for name in front.fields])
    served = Served(graph, topology, workload)
    count = 0
    for plan in all_plans(graph, topology, workload):
        score = scored_as(plan, served)
        if score is None:
            continue
        count += 1
        other = vector(score, front.fields) + room
        assert (members + room <= other * (1 + front.tolerance) * (1 + 1e-9)).all(axis=1).any(), (
            plan
        )
    for one in front.members:
        assert one.score == pl.score_plan(one.plan, graph, topology, workload)
        assert pl.check_plan(one.plan, graph, topology, workload) == ()
    return count


@pytest.mark.parametrize(
    "is_open", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["fixed", "open"]
)
@pytest.mark.parametrize("shape", mostly_slow(LISTED, but=("chain",)))
def test_every_plan_of_the_exhaustive_oracle_is_covered(shape, is_open):
    found = case = 0
    while found < some(1, 3):
        dice, case = random.Random(f"front {shape} {is_open} {case}"), case + 1
        graph, topology, workload = (
            random_graph(dice),
            random_topology(dice, shape),
            random_workload(dice),
        )
        if is_open:
            workload = workload.replace(batch_size=None)
            topology = topology.replace(software=topology.software.replace(most_sequences=6))
        fields = dice.choice(TRIPLES)
        if "power_w" in fields:  # an average has no proof
            topology = topology.replace(power=CONSTANT)
        try:
            front = pl.pareto(
                graph, topology, workload, fields=fields, tolerance=dice.choice((1e-4, 0.02, 0.2))
            )
        except pl.InfeasibleError:
            continue
        assert front.status == "complete"
        found += covers_all(front, graph, topology, workload) > 0


@pytest.mark.slow
@pytest.mark.parametrize("is_open", [False, True], ids=["fixed", "open"])
def test_every_plan_with_drafted_tokens_is_covered(is_open):
    dice = random.Random(f"drafts {is_open}")
    graph, topology, workload = tiny_graph(2), tiny_topology(3), random_workload(dice)
    draft = pl.Speculation(draft=graph.cut(1), tokens=2, acceptance_rate=0.8)
    workload = workload.replace(speculation=draft, batch_size=None if is_open else 3)
    topology = topology.replace(software=topology.software.replace(most_sequences=4))
    front = pl.pareto(graph, topology, workload, fields=TRIPLES[0], tolerance=0.01)
    assert front.status == "complete"
    assert covers_all(front, graph, topology, workload)


@pytest.mark.slow
def test_no_member_is_better_than_another_in_every_field():
    front = front_of_a_node()
    vectors = [vector(one.score, front.fields) for one in front.members]
    assert len(vectors) > 3
    for one in vectors:
        assert sum((other <= one).all() for other in vectors) == 1


@pytest.mark.slow
def test_the_ends_of_a_front_are_the_best_plans_for_each_field():
    front = front_of_a_node(tolerance=0.01)
    for name in front.fields:
        direction = "maximize" if FIELDS[name].best == "most" else "minimize"
        best = pl.partition(
            front.graph, front.topology, front.workload, **{direction: name}
        ).objective
        values = [getattr(one.score, name) for one in front.members]
        reached = max(values) if direction == "maximize" else min(values)
        assert reached == pytest.approx(best, rel=0.01)


@pytest.mark.slow
def test_a_narrower_tolerance_never_has_fewer_plans_to_tell_apart():
    assert len(front_of_a_node(tolerance=0.005).members) >= len(
        front_of_a_node(tolerance=0.2).members
    )


@pytest.mark.slow
def test_70_b_on_8_chips_is_complete():
    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    front = pl.pareto(
        graph, pl.load_topology("hgx-h100", chips=8), pl.Workload(batch_size=None), tolerance=0.1
    )
    assert front.status == "complete"
    assert 1 in {len(one.plan.stages) for one in front.members}
    assert len({one.score.batch_size for one in front.members}) > 10


def test_without_time_a_front_is_partial_or_none_was_found():
    with pytest.raises(pl.NoPlanFoundError, match="allow more time"):
        front_of_a_node(time_limit_s=0.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fields": ("tpot_s",)}, "two or more"),
        ({"fields": ("tpot_s", "tpots")}, "nearest names"),
        ({"tolerance": 0.0}, "tolerance must lie"),
        ({"fields": ("tpot_s", "power_w")}, "cannot prove power_w"),
        ({"requests_per_s": 1.0}, "leave Workload.requests_per_s out"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(options, said):
    with pytest.raises(pl.InputError, match=said) as caught:
        front_of_a_node(**options)
    assert "\n" not in str(caught.value)


def test_no_plan_at_all_says_why():
    with pytest.raises(pl.InfeasibleError, match="does not fit"):
        pl.pareto(tiny_graph(400), tiny_topology(1), pl.Workload(batch_size=None))
