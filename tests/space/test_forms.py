"""Forms of the engine's plans: none beyond its rules, the chips and the borders; and how batches of a
form are numbered."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.answers.question import question_of
from planner.machines.engine import Engine
from planner.models.graph import ENDS
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.engines import in_flight, split_fault
from planner.space.candidates import Candidates
from planner.space.forms import Batches, forms_of
from tests.instances import (
    ENGINES,
    fabric,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)

PLENTY = tiny_chip(1e12)


def forms(graph, topology, exclude=()):
    question = question_of("tpot_s", None, None, None, space="engine")
    work = pl.Workload(batch_size=None)
    candidates = Candidates(graph, topology, work, question, exclude=exclude)
    return list(itertools.chain.from_iterable(forms_of(candidates)))


def machine(chips, *fabrics, engine=None, **changes):
    software = tiny_software(engine=engine or tiny_engine(), **changes)
    return tiny_topology(chips, *fabrics, software=software, chip=PLENTY)


# ── Batches ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "most", "held"),
    [
        # Of 2, 3, 7 and 9 sequences over three stages: micro-batches, and the largest of them.
        ("one", 1, [(1, 2), (1, 3), (1, 7), (1, 9)]),
        ("stages", 3, [(2, 1), (3, 1), (3, 3), (3, 3)]),
        ("stages + 1", 4, [(2, 1), (3, 1), (4, 2), (4, 3)]),
        ("sequences", None, [(2, 1), (3, 1), (7, 1), (9, 1)]),
    ],
)
def test_sequences_are_cut_into_what_the_engine_keeps_in_flight(rule, most, held):
    batches = Batches(tiny_engine(micro_batches=rule), 3)
    assert batches.most_in_flight == most
    assert [batches.holding(sequences) for sequences in (2, 3, 7, 9)] == held


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_one_stage_takes_all_sequences_at_once(engine):
    batches = Batches(engine, 1)
    assert batches.most_in_flight == 1
    assert batches.holding(9) == (1, 9)


@pytest.mark.slow
@given(st.sampled_from(list(ENGINES.values())), st.integers(1, 9), st.integers(1, 200))
def test_every_batch_is_cut_as_the_engine_says(engine, stages, sequences):
    micro_batches, largest = Batches(engine, stages).holding(sequences)
    assert in_flight(engine, stages, sequences) == micro_batches
    assert micro_batches * (largest - 1) < sequences <= micro_batches * largest


# ── Forms ────────────────────────────────────────────────────────────────────────────────────────


def told(found):
    return {(form.split.tensor, form.split.chips, form.stages) for form in found}


def test_four_chips_and_three_layers_by_hand():
    # A stage needs a decoder layer: three at most. Tensor 2 has room for two stages, 4 for one.
    found = forms(tiny_graph(3), machine(4, fabric("switch", 4)))
    plain = {one for one in told(found) if one[0] == one[1]}
    assert plain == {(1, 1, 1), (1, 1, 2), (1, 1, 3), (2, 2, 1), (2, 2, 2), (4, 4, 1)}
    rooms = {(form.split.tensor, form.stages): form.most_replicas for form in found}
    assert rooms == {(1, 1): 4, (1, 2): 2, (1, 3): 1, (2, 1): 2, (2, 2): 1, (4, 1): 1}


def test_an_engine_that_cuts_only_unsplit_layers_has_no_other_pipelines():
    engine = tiny_engine(tensor_in_pipelines=False)
    found = forms(tiny_graph(3), machine(4, fabric("switch", 4), engine=engine))
    assert {one for one in told(found) if one[2] > 1} == {(1, 1, 2), (1, 1, 3)}
    assert {one for one in told(found) if one[2] == 1} == {(1, 1, 1), (2, 2, 1), (4, 4, 1)}


def test_an_engine_cuts_a_model_no_further_than_it_can():
    found = forms(tiny_graph(6), machine(6, fabric("switch", 6), engine=tiny_engine(most_stages=2)))
    assert {form.stages for form in found} == {1, 2}


def test_ends_may_stand_alone_where_no_rule_is_against_it():
    engine = tiny_engine(decoder_on_each_stage=False)
    graph = tiny_graph(2)
    found = forms(graph, machine(6, fabric("switch", 6), engine=engine))
    assert max(form.stages for form in found) == len(graph.layers) == 4


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("graph", [tiny_graph(4), tiny_moe(3)], ids=["dense", "experts"])
@pytest.mark.parametrize("chips", [3, 8])
def test_every_form_keeps_rules_chips_and_borders(graph, engine, chips):
    topology = machine(chips, fabric("switch", 4), fabric("chain", 2), engine=engine)
    found = forms(graph, topology)
    assert found
    inner = [number for number, layer in enumerate(graph.layers) if layer.kind not in ENDS]
    packing = Candidates(
        graph, topology, pl.Workload(), question_of("tpot_s", None, None, None)
    ).packing
    for form in found:
        assert split_fault(graph, topology.software, form.split, form.stages) is None
        assert form.stages <= len(inner)
        bases = form.bases_of(packing, form.most_replicas)
        borders = [0, *inner[1 : form.stages], len(graph.layers)]
        plan = plan_of(form, graph, bases, borders)
        assert pl.check_plan(plan, graph, topology, pl.Workload(batch_size=1)) == ()
        for start in form.starts:
            is_within = start // 4 == (start + form.split.chips - 1) // 4
            assert is_within or start % 4 == 0


def plan_of(form, graph, bases, borders):
    stages = tuple(
        Stage(
            layers=graph.names[tail:head],
            groups=tuple(ChipRange(first=base + start, count=form.split.chips) for base in bases),
            tensor_parallel=form.split.tensor,
            expert_parallel=form.split.expert,
        )
        for (tail, head), start in zip(itertools.pairwise(borders), form.starts, strict=True)
    )
    return Plan(stages=stages)


def test_forms_keep_clear_of_chips_that_are_out_of_use():
    found = forms(tiny_graph(3), machine(4, fabric("switch", 4)), exclude=(1,))
    assert found
    for form in found:
        bases = form.bases or (0,)
        for base, start in itertools.product(bases, form.starts):
            assert not base + start <= 1 < base + start + form.split.chips
    # Chips 0, 2 and 3 are left: three stages of one chip, or one stage of two chips behind.
    assert {(form.split.tensor, form.stages, form.starts) for form in found} >= {
        (1, 3, (0, 2, 3)),
        (2, 1, (2,)),
    }


def test_stages_that_stand_alike_are_one_form_with_room_for_the_most_replicas():
    found = forms(tiny_graph(2), machine(8, fabric("switch", 4), fabric("chain", 2)), exclude=(1,))
    places = [(form.split, form.starts) for form in found]
    assert len(places) == len(set(places))
    # Seven chips are left: as many replicas of one stage of one chip.
    (single,) = (form for form in found if form.split.chips == 1 and form.starts == (0,))
    assert single.most_replicas == 7
    assert len(set(single.bases)) == 7
    assert 1 not in single.bases


def test_room_for_more_replicas_than_there_are_is_our_fault():
    topology = machine(4, fabric("switch", 4))
    form = forms(tiny_graph(3), topology)[-1]
    packing = Candidates(
        tiny_graph(3), topology, pl.Workload(), question_of("tpot_s", None, None, None)
    ).packing
    with pytest.raises(AssertionError, match="no room"):
        form.bases_of(packing, 5)


def test_an_engine_without_rules_leaves_micro_batches_open():
    assert in_flight(Engine(), 3, 7) is None
