"""Every rule of a plan bites, and says by how much."""

import pytest

import planner as pl
from planner.plan import ChipRange, Plan, Stage
from planner.scoring.checking import check_plan
from planner.workload import Workload
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

GRAPH = tiny_graph()
NAMES = tuple(layer.name for layer in GRAPH.layers)


def stage(layers, *groups, **degrees) -> Stage:
    ranges = tuple(ChipRange(first=first, count=count) for first, count in groups)
    return Stage(layers=tuple(layers), groups=ranges, **degrees)


def broken(plan: Plan, graph=GRAPH, topology=None, **workload) -> tuple[str, str]:
    """The first rule that a plan breaks, and its sentence."""
    first = check_plan(plan, graph, topology or tiny_topology(4), Workload(**workload))[0]
    assert "\n" not in first.message
    assert str(first) == first.message
    return first.rule, first.message


def test_a_valid_plan_breaks_no_rule():
    plan = Plan(
        stages=(
            stage(NAMES[:2], (0, 2), tensor_parallel=2),
            stage(NAMES[2:], (2, 2), tensor_parallel=2),
        )
    )
    assert check_plan(plan, GRAPH, tiny_topology(4), Workload()) == ()


def test_a_layer_left_out_is_named():
    rule, message = broken(Plan(stages=(stage(NAMES[:-1], (0, 1)),)))
    assert (rule, "head" in message) == ("layers", True)


def test_a_layer_run_twice_is_named():
    rule, message = broken(Plan(stages=(stage(NAMES, (0, 1)), stage(NAMES[-1:], (1, 1)))))
    assert (rule, "head" in message) == ("layers", True)


def test_an_unknown_layer_is_named():
    rule, message = broken(Plan(stages=(stage((*NAMES, "extra"), (0, 1)),)))
    assert (rule, "'extra'" in message) == ("layers", True)


def test_an_edge_that_goes_back_breaks_the_order():
    rule, _ = broken(Plan(stages=(stage(NAMES[2:], (0, 1)), stage(NAMES[:2], (1, 1)))))
    assert rule == "order"


def test_a_chip_that_does_not_exist_is_named():
    rule, message = broken(Plan(stages=(stage(NAMES, (4, 1)),)))
    assert (rule, "chip 4" in message) == ("chips", True)


def test_two_groups_on_one_chip_are_refused():
    rule, message = broken(
        Plan(stages=(stage(NAMES[:2], (0, 2), tensor_parallel=2), stage(NAMES[2:], (1, 1))))
    )
    assert (rule, "chip 1" in message) == ("chips", True)


@pytest.mark.parametrize(
    ("graph", "degrees", "chips", "words"),
    [
        (GRAPH, {"tensor_parallel": 3}, 3, "does not divide the 8 heads"),
        (
            tiny_graph(heads=24, kv_heads=6),
            {"tensor_parallel": 4},
            4,
            "neither divides nor is a multiple of the 6",
        ),
        (GRAPH, {"expert_parallel": 2}, 2, "has no experts"),
        (tiny_moe(), {"expert_parallel": 3}, 3, "does not divide the 8 experts"),
        (tiny_moe(), {"tensor_parallel": 2, "expert_parallel": 8}, 4, "must be a multiple of it"),
    ],
)
def test_a_degree_that_does_not_divide_is_explained(graph, degrees, chips, words):
    names = [layer.name for layer in graph.layers]
    rule, message = broken(Plan(stages=(stage(names, (0, chips), **degrees),)), graph)
    assert (rule, words in message) == ("degrees", True), message


def test_software_that_pads_heads_splits_them_unevenly():
    topology = tiny_topology(4, chip=tiny_chip(1e10), software=tiny_software(pads_heads=True))
    plan = Plan(stages=(stage(NAMES, (0, 3), tensor_parallel=3),))
    assert check_plan(plan, GRAPH, topology, Workload()) == ()


def test_software_that_does_not_split_layers_is_named():
    topology = tiny_topology(4, software=tiny_software(most_tensor_parallel=1))
    rule, message = broken(
        Plan(stages=(stage(NAMES, (0, 2), tensor_parallel=2),)), topology=topology
    )
    assert (rule, "plain" in message) == ("degrees", True)


def test_memory_says_demand_and_capacity():
    topology = tiny_topology(1, chip=tiny_chip(1e7))
    violation = check_plan(Plan(stages=(stage(NAMES, (0, 1)),)), GRAPH, topology, Workload())[0]
    assert violation.rule == "memory"
    assert violation.demand > GRAPH.weight_bytes
    assert violation.capacity == pytest.approx(0.9e7)


def test_more_sequences_than_the_software_takes_are_refused():
    topology = tiny_topology(1, software=tiny_software(most_sequences=2))
    rule, _ = broken(
        Plan(stages=(stage(NAMES, (0, 1)),)), topology=topology, batch_size=3, prompt_tokens=1
    )
    assert rule == "sequences"


def test_scoring_a_broken_plan_says_the_same():
    with pytest.raises(pl.InputError, match="no stage runs 'head'"):
        pl.score_plan(
            Plan(stages=(stage(NAMES[:-1], (0, 1)),)), GRAPH, tiny_topology(4), Workload()
        )
