"""What chips hold, by hand."""

import pytest

from planner.plan import ChipRange, Plan, Stage
from planner.pricing.holdings import largest, layers_of, ledger_of, most_sequences
from planner.pricing.price_list import PriceList
from planner.pricing.schedule import scheduled
from planner.workload import Workload
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology


def one_stage(graph, chips: int = 1, **changes) -> Plan:
    names = tuple(layer.name for layer in graph.layers)
    return Plan(
        stages=(
            Stage(layers=names, groups=(ChipRange(first=0, count=chips),), tensor_parallel=chips),
        ),
        **changes,
    )


def ledger(graph, batch: int = 1, **changes):
    topology, plan = tiny_topology(1), one_stage(graph)
    work = Workload(batch_size=batch, **changes)
    at = scheduled(work, topology.software, batch_size=batch, replicas=1, micro_batches=1)
    return ledger_of(PriceList(graph, topology), plan.stages[0], at)


def test_one_chip_holds_all_weights():
    graph = tiny_graph()
    assert ledger(graph).weight_bytes == graph.weight_bytes


def test_every_sequence_leaves_its_own_cache():
    graph = tiny_graph()
    sizes = {"prompt_tokens": 100, "output_tokens": 28, "arrivals": "together"}
    one, four = (ledger(graph, batch, **sizes).kv_bytes for batch in (1, 4))
    assert one == 128 * graph.kv_bytes_per_token
    assert four == 4 * one


def test_tied_weights_are_held_once_by_a_chip_that_has_both():
    graph = tiny_graph(tied_embedding=True)
    table = 8192 * 1024 * 2
    assert graph.tied_layers == ((3, 0),)
    assert ledger(graph).weight_bytes == graph.weight_bytes
    assert ledger(tiny_graph()).weight_bytes - ledger(graph).weight_bytes == table


def test_what_may_be_filled_is_the_usable_share_less_what_is_reserved():
    software = tiny_software(usable_memory_fraction=0.9, reserved_bytes=1e8)
    assert PriceList(
        tiny_graph(), tiny_topology(1, software=software)
    ).usable_bytes == pytest.approx(8e8)


def test_an_open_batch_holds_as_many_sequences_as_fit():
    graph, work = tiny_graph(), Workload(batch_size=None, prompt_tokens=900, output_tokens=100)
    cache = 1000 * graph.kv_bytes_per_token
    topology = tiny_topology(1, chip=tiny_chip((graph.weight_bytes + 10.5 * cache) / 0.9))
    prices, plan = PriceList(graph, topology), one_stage(graph)
    fitting = most_sequences(prices, plan, work)
    assert 9 <= fitting <= 10  # activations take a little
    for sequences, holds in ((fitting, True), (fitting + 1, False)):
        at = scheduled(work, topology.software, batch_size=sequences, replicas=1, micro_batches=1)
        assert (ledger_of(prices, plan.stages[0], at).headroom_bytes >= 0) == holds


@pytest.mark.parametrize("true_most", [0, 1, 2, 3, 7, 64, 99, 100])
def test_the_largest_that_fits_is_found_whatever_it_is(true_most):
    assert largest(lambda number: number <= true_most, 100) == true_most


def test_layers_are_found_by_name():
    graph = tiny_graph()
    stage = Stage(layers=("decoder.1", "head"), groups=(ChipRange(first=0, count=1),))
    assert layers_of(stage, graph).tolist() == [2, 3]
