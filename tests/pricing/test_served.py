"""What the plans of one question share."""

import pytest

from planner.errors import InputError
from planner.pricing.price_list import PriceList, Split
from planner.pricing.schedule import scheduled
from planner.pricing.served import Served
from planner.workload import Speculation, Workload
from tests.instances import tiny_graph, tiny_software, tiny_topology

GRAPH, MACHINE = tiny_graph(3), tiny_topology(4)
WORK = Workload(batch_size=9, prompt_tokens=100, output_tokens=20)


def test_a_price_list_is_made_once_and_only_when_it_is_asked_for():
    undraftable = Served(GRAPH, MACHINE, WORK.replace(speculation=Speculation(tokens=None)))
    assert undraftable.usable_bytes == PriceList(GRAPH, MACHINE).usable_bytes
    with pytest.raises(InputError, match="give one, such as 4"):
        _ = undraftable.prices
    served = Served(GRAPH, MACHINE, WORK)
    assert served.prices is served.prices


def test_batches_that_fill_the_busiest_replica_alike_have_one_schedule():
    served = Served(GRAPH, MACHINE, WORK)
    nine = served.schedule(9, 2, 2)
    assert nine == scheduled(WORK, MACHINE.software, batch_size=9, replicas=2, micro_batches=2)
    assert served.schedule(10, 2, 2) is nine
    assert served.schedule(11, 2, 2) != nine
    assert served.schedule(10, 2, 1).micro_batches == 1


def test_holdings_are_made_once_for_each_split_and_buffers_follow_the_pass():
    served = Served(GRAPH, tiny_topology(4, software=tiny_software(prefill_chunk_tokens=50)), WORK)
    held = served.holdings(Split(2))
    assert served.holdings(Split(2)) is held
    assert served.holdings(Split(1)).weight_bytes.sum() > held.weight_bytes.sum()
    one, many = served.schedule(1), served.schedule(200)
    assert served.buffer_bytes(Split(2), many) > served.buffer_bytes(Split(2), one)
    made = served.prices.holdings(Split(2), WORK, many.most_tokens)
    assert served.buffer_bytes(Split(2), many) == made.buffer_bytes
