"""Plans with layers off the chips: found only where nothing fits without, and proved by scoring
all of them."""

import itertools

import pytest

from planner.errors import InfeasibleError, InputError
from planner.planning.certificates import verify
from planner.planning.offloading import MOST_BATCHES
from planner.planning.partitioning import partition
from planner.scoring.plans import score_plan
from planner.space.degrees import uniform_plan
from planner.workload import Workload
from tests.instances import tiny_graph
from tests.space.test_offloading import GRAPH, LAYER, TABLE, machine

ASKED = {"prompt_tokens": 100, "output_tokens": 20, "arrivals": "together"}
SHORT = GRAPH.weight_bytes - TABLE - 2.5 * LAYER


def test_the_fewest_layers_leave_and_the_score_says_the_same():
    topology, work = machine(SHORT), Workload(batch_size=2, **ASKED)
    found = partition(GRAPH, topology, work, minimize="tpot_s")
    away = len(found.plan.stages[0].offloaded)
    assert found.status == "optimal"
    assert found.objective == score_plan(found.plan, GRAPH, topology, work).tpot_s
    fewer = uniform_plan(GRAPH, topology, offloaded_layers=away - 1)
    with pytest.raises(InfeasibleError, match="to fill"):
        score_plan(fewer, GRAPH, topology, work)


@pytest.mark.parametrize("mode", ["streams", "layers"])
@pytest.mark.parametrize("field", ["tpot_s", "ttft_s", "request_s"])
def test_no_uniform_plan_with_layers_elsewhere_is_better_of_those_with_as_few(mode, field):
    topology, work = machine(0.6 * GRAPH.weight_bytes, mode), Workload(batch_size=3, **ASKED)
    found = partition(GRAPH, topology, work, minimize=field)
    values = []
    for away in range(len(GRAPH.layers) + 1):
        try:
            plan = uniform_plan(GRAPH, topology, offloaded_layers=away)
            values.append(getattr(score_plan(plan, GRAPH, topology, work), field))
        except InfeasibleError:
            assert not values  # one more never makes what fits too large
    assert found.objective == pytest.approx(values[0])
    assert all(less <= more * (1 + 1e-12) for less, more in itertools.pairwise(values))


def test_chips_that_hold_everything_leave_nothing_behind():
    found = partition(GRAPH, machine(SHORT, chips=2), Workload(batch_size=2, **ASKED))
    assert not any(stage.offloaded for stage in found.plan.stages)


def test_an_open_batch_takes_what_fits_beside_the_fewest():
    topology, work = machine(SHORT), Workload(batch_size=None, **ASKED)
    most = partition(GRAPH, topology, work, maximize="tokens_per_s")
    one = partition(GRAPH, topology, work, minimize="tpot_s")
    assert one.score.batch_size == 1
    assert 1 < most.score.batch_size <= MOST_BATCHES
    assert len(most.plan.stages[0].offloaded) == len(one.plan.stages[0].offloaded)
    more = most.plan.replace(batch_size=most.score.batch_size + 1)
    with pytest.raises(InfeasibleError):
        score_plan(more, GRAPH, topology, work)


def test_it_can_be_refused_as_before():
    with pytest.raises(InfeasibleError, match="does not fit 1 × tiny") as plain:
        partition(GRAPH, machine(SHORT, "none"), Workload(batch_size=2, **ASKED))
    with pytest.raises(InfeasibleError) as refused:
        partition(GRAPH, machine(SHORT), Workload(batch_size=2, **ASKED), offload=False)
    assert refused.value.resource == plain.value.resource


def test_limits_that_only_chips_could_keep_are_named():
    with pytest.raises(
        InfeasibleError, match="only with layers in the memory of board, and no such plan keeps"
    ):
        partition(GRAPH, machine(SHORT), Workload(batch_size=2, **ASKED), limits={"tpot_s": 1e-9})


def test_a_host_that_is_short_too_is_named():
    topology = machine(SHORT)
    tight = topology.host.processor.memory[0].replace(capacity_bytes=1e3)
    processor = topology.host.processor.replace(memory=(tight,))
    topology = topology.replace(host=topology.host.replace(processor=processor))
    with pytest.raises(
        InfeasibleError, match="it does not fit with layers in the memory of board either"
    ):
        partition(GRAPH, topology, Workload(batch_size=2, **ASKED))


def test_what_was_scored_one_by_one_has_no_other_proof():
    found = partition(GRAPH, machine(SHORT), Workload(batch_size=2, **ASKED))
    verdict = verify(found.certificate())
    assert (verdict.confirmed, verdict.checked_bound) == (False, None)
    with pytest.raises(InputError, match="here the chips' memory is too small, and"):
        found.why()


def test_the_text_says_how_many_and_where():
    found = partition(GRAPH, machine(SHORT), Workload(batch_size=2, **ASKED))
    away = len(found.plan.stages[0].offloaded)
    told = str(found)
    assert f"{away} of 10 layers are kept in the memory of board" in told
    assert "not all of them fit in the HBM of the chips" in told
    assert "no plan with all layers on them fits" in told
    assert f"one chip, {away} layers off the chips" in told


def test_tied_embeddings_are_held_on_both_sides():
    tied = tiny_graph(8, tied_embedding=True)
    topology = machine(tied.weight_bytes + 1e7)
    plan = uniform_plan(tied, topology, offloaded_layers=1)
    (stage,) = score_plan(plan, tied, topology, Workload(batch_size=1, **ASKED)).stages
    assert stage.offloaded_bytes == TABLE
    assert stage.weight_bytes == tied.weight_bytes  # the head still reads its own copy
