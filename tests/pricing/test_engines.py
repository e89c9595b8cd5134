"""Each rule of an engine says what it is against, in a sentence, and nothing where there is no
fault."""

import pytest

from planner.machines.engine import Engine
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.engines import engine_faults, in_flight, micro_batch_fault, split_fault
from planner.pricing.price_list import Split
from tests.instances import tiny_engine, tiny_graph, tiny_moe, tiny_software

GRAPH = tiny_graph(4)
NAMES = GRAPH.names
"""Embedding, four decoder layers, head."""


def software(**rules):
    return tiny_software(engine=tiny_engine(**rules))


def piped(*cuts, graph=GRAPH, degrees=({},)):
    """A plan of one chip a stage, or of as many as its degrees need; the degrees go round."""
    borders = [0, *cuts, len(graph.layers)]
    stages = []
    first = 0
    for number in range(len(borders) - 1):
        shares = degrees[number % len(degrees)]
        chips = max([1, *shares.values()])
        stage = Stage(
            layers=graph.names[borders[number] : borders[number + 1]],
            groups=(ChipRange(first=first, count=chips),),
            **shares,
        )
        stages.append(stage)
        first += chips
    return Plan(stages=tuple(stages))


def faults(plan, engine, graph=GRAPH):
    return list(engine_faults(plan, graph, engine))


# ── In flight ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "stages", "sequences", "wanted"),
    [
        ("any", 4, 9, None),
        ("any", 1, 9, None),
        ("stages", 4, 9, 4),
        ("stages", 4, 3, 3),
        ("stages + 1", 4, 9, 5),
        ("stages + 1", 4, 4, 4),
        ("sequences", 4, 9, 9),
        ("stages", 1, 9, 1),
        ("stages + 1", 1, 9, 1),
        ("sequences", 1, 9, 1),
    ],
)
def test_micro_batches_in_flight_by_hand(rule, stages, sequences, wanted):
    assert in_flight(tiny_engine(micro_batches=rule), stages, sequences) == wanted


def test_other_micro_batches_are_a_fault_that_says_which_there_are():
    plan = piped(3).replace(micro_batches=3)
    assert micro_batch_fault(plan, software(), 8) == (
        "plain keeps 2 micro-batches of 8 sequences in flight over 2 stages, not 3"
    )
    one_more = software(micro_batches="stages + 1")
    assert micro_batch_fault(plan, one_more, 8) is None
    assert micro_batch_fault(plan, tiny_software(), 8) is None


def test_no_more_micro_batches_count_than_there_are_sequences():
    plan = piped(3).replace(micro_batches=7)
    assert micro_batch_fault(plan, software(), 2) is None
    assert micro_batch_fault(plan, software(micro_batches="sequences"), 7) is None
    assert "keeps 9 micro-batches" in micro_batch_fault(
        plan, software(micro_batches="sequences"), 9
    )


# ── Splits ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pipeline_may_be_too_deep():
    engine = software(most_stages=3)
    assert split_fault(engine, Split(), 3) is None
    assert split_fault(engine, Split(), 4) == "plain cuts a model into at most 3 stages, not 4"


def test_some_engines_split_no_layers_in_pipelines():
    engine = software(tensor_in_pipelines=False)
    assert split_fault(engine, Split(tensor=2), 1) is None
    assert split_fault(engine, Split(), 2) is None
    assert split_fault(engine, Split(tensor=2), 3) == (
        "plain splits layers over chips in one stage only; make tensor_parallel 1, not 2, over 3"
        " stages"
    )


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [("any", (1, 2, 4, 8), ()), ("none", (1,), (2, 4, 8)), ("all ranks", (1, 8), (2, 4))],
)
def test_experts_are_shared_over_as_many_ranks_as_the_engine_takes(allowed, good, bad):
    # Two tensor ranks, sequences over four: eight ranks.
    engine = software(experts=allowed)
    for ways in good:
        assert split_fault(engine, Split(2, ways, attention=4), 1) is None
    for ways in bad:
        assert "expert_parallel" in split_fault(engine, Split(2, ways, attention=4), 1)


def test_shares_of_experts_and_sequences_have_their_sentences():
    split = Split(2, 4, attention=4)
    assert split_fault(software(experts="none"), split, 1) == (
        "plain has no expert_parallel; it must be 1, not 4"
    )
    assert split_fault(software(experts="all ranks"), split, 1) == (
        "plain has expert_parallel over all 8 ranks of a stage or over one, not 4"
    )
    assert split_fault(software(attention="none"), split, 1) == (
        "plain has no attention data parallel; it must be 1, not 4"
    )
    assert split_fault(software(attention="all ranks"), split, 1) == (
        "plain has attention data parallel over all 8 ranks of a stage or over one, not 4"
    )
    assert split_fault(software(attention="all ranks"), Split(1, 4, attention=4), 1) is None


# ── Plans ────────────────────────────────────────────────────────────────────────────────────────


def test_stages_that_are_split_otherwise_are_told():
    plan = piped(3, degrees=({"tensor_parallel": 2}, {"tensor_parallel": 4}))
    assert faults(plan, software()) == [
        "plain splits all stages alike, and these are split 2 tensor × 1 expert ways and"
        " 4 tensor × 1 expert ways"
    ]
    assert faults(plan, software(like_stages=False)) == []
    assert faults(piped(3, degrees=({"tensor_parallel": 2},)), software()) == []


def test_each_unlike_split_is_held_against_the_rules():
    plan = piped(3, degrees=({}, {"tensor_parallel": 2}))
    (fault,) = faults(plan, software(like_stages=False, tensor_in_pipelines=False))
    assert "in one stage only" in fault


def test_a_stage_without_a_decoder_layer_is_named():
    engine = software()
    assert faults(piped(1), engine) == [
        "stage 0 has no decoder layer; plain puts the embedding with the first of them and the head"
        " with the last"
    ]
    (fault,) = faults(piped(2, 5), engine)
    assert fault.startswith("stage 2 has no decoder layer")
    assert faults(piped(2, 4), engine) == []
    assert faults(piped(1), software(decoder_on_each_stage=False)) == []


def test_one_stage_alone_needs_no_decoder_layer():
    assert faults(piped(), software()) == []


def test_experts_over_some_ranks_of_a_real_stage():
    graph = tiny_moe(2)
    plan = piped(graph=graph, degrees=({"tensor_parallel": 4, "expert_parallel": 2},))
    (fault,) = faults(plan, software(experts="all ranks"), graph)
    assert "over all 4 ranks of a stage or over one, not 2" in fault
    whole = piped(graph=graph, degrees=({"tensor_parallel": 4, "expert_parallel": 4},))
    assert faults(whole, software(experts="all ranks"), graph) == []


def test_an_engine_of_which_nothing_is_known_takes_every_plan():
    plan = piped(1, 3, degrees=({}, {"tensor_parallel": 4}))
    assert faults(plan, tiny_software()) == []
    assert split_fault(tiny_software(), Split(2, 4, attention=4), 9) is None
    assert not Engine().is_known
