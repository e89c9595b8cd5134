"""Models no two of whose layers need be alike, against every plan that there is."""

import random

import numpy as np
import pytest

import planner as pl
from planner.models.graph import ModelGraph
from tests import engine_questions
from tests.engine_questions import questions
from tests.instances import tiny_engine, tiny_software, tiny_topology
from tests.lanes import mostly_slow, some
from tests.test_engine_plans import check_agrees
from tests.unlike import sharing_graph, unlike_graph

CASES = tuple((machine, 0) for machine in range(60, some(72, 90)))


@pytest.mark.parametrize("numbers", mostly_slow(CASES, but=((66, 0), (71, 0))), ids=str)
def test_the_best_plan_of_unlike_layers_is_that_of_the_oracle(numbers, monkeypatch):
    monkeypatch.setattr(engine_questions, "random_model", unlike_graph)
    for asked in questions(*numbers):
        # A pool of prompts that keeps up with a rate is not always told on the fewest chips.
        if asked.case.workload.phase != "prefill" or asked.case.workload.requests_per_s is None:
            check_agrees(asked)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_graph_of_unlike_layers_comes_back_from_json_and_is_planned_alike(seed):
    graph = unlike_graph(random.Random(seed), 4)
    again = ModelGraph.from_json(graph.to_json())
    assert again == graph
    machine = tiny_topology(4)
    work = pl.Workload(batch_size=3, prompt_tokens=200, output_tokens=8)
    one = pl.partition(graph, machine, work, minimize="tpot_s")
    assert pl.score_plan(one.plan, again, machine, work) == one.score
    assert one.score.tpot_s == one.objective == one.bound


# ── Caches that layers share ─────────────────────────────────────────────────────────────────────


def test_no_stage_begins_between_a_layer_that_lends_its_cache_and_one_that_reads_it():
    # decoder.0 and .1 keep caches of their own, .2 and .3 read that of .1.
    graph = sharing_graph((False, False, True, True))
    machine = tiny_topology(4)
    work = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=4)
    whole = pl.uniform_plan(graph, machine)
    assert pl.check_plan(whole, graph, machine, work) == ()
    with pytest.raises(pl.InputError, match=r"'decoder\.2' reads the cache of 'decoder\.1', which"):
        pl.uniform_plan(graph, machine, pipeline_parallel=2)
    apart = cut_before(whole, graph, 3)
    rules = [one.rule for one in pl.check_plan(apart, graph, machine, work)]
    assert rules == ["caches"]
    together = cut_before(whole, graph, 2)
    assert pl.check_plan(together, graph, machine, work) == ()
    assert graph.may_begin.tolist() == [True, True, True, False, False, True, True]


def cut_before(whole: pl.Plan, graph: ModelGraph, place: int) -> pl.Plan:
    """A plan of two stages, the second of which begins with that layer."""
    stages = [
        whole.stages[0].replace(layers=layers, groups=(pl.ChipRange(first=number, count=1),))
        for number, layers in enumerate((graph.names[:place], graph.names[place:]))
    ]
    return whole.replace(stages=tuple(stages), micro_batches=1)


@pytest.mark.parametrize("field", ["tokens_per_s", "tpot_s"])
def test_plans_of_any_form_are_cut_where_no_cache_is_shared(field):
    # Layers of which one chip does not hold all: some cut there must be.
    graph = sharing_graph((False, False, True, False))
    machine = tiny_topology(4)
    memory = machine.chip.memory[0].replace(capacity_bytes=0.75 * graph.weight_bytes)
    machine = machine.replace(chip=machine.chip.replace(memory=(memory,)))
    machine = machine.replace(software=tiny_software(most_tensor_parallel=1))
    work = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=4)
    direction = {"maximize": field} if field == "tokens_per_s" else {"minimize": field}
    result = pl.partition(graph, machine, work, space="any", **direction)
    assert result.status == "optimal"
    assert len(result.plan.stages) > 1
    starts = np.cumsum([0, *(len(stage.layers) for stage in result.plan.stages)])
    assert graph.may_begin[starts].all()
    assert not graph.may_begin[3]


def test_an_engine_keeps_a_model_whose_layers_share_caches_in_one_stage():
    graph = sharing_graph((False, True, False, False))
    machine = tiny_topology(4, software=tiny_software(engine=tiny_engine()))
    work = pl.Workload(prompt_tokens=64, output_tokens=4)
    result = pl.partition(graph, machine, work, maximize="tokens_per_s")
    assert (result.status, len(result.plan.stages)) == ("optimal", 1)
    # The cut would leave lender and borrower together, and is still one that no engine makes.
    whole = pl.uniform_plan(graph, machine)
    (broken,) = pl.check_plan(cut_before(whole, graph, 3), graph, machine, work)
    assert broken.rule == "engine"
    assert "layers share caches, as decoder.1 of sharing reads that of decoder.0" in broken.message
