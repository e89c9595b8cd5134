"""What crossing from pool to pool takes."""

import numpy as np
import pytest

from planner.errors import InputError
from planner.pricing.crossing import crossing_s
from tests.machines.test_cluster import line


def test_small_messages_take_the_quick_path_and_large_ones_the_wide_one():
    cluster = line("a", "b", "c")
    seconds = crossing_s(cluster, 0, 2, np.array([0.0, 1e3, 1e9]))
    overhead = cluster.pools[0].topology.software.hop_overhead_s
    assert seconds - overhead == pytest.approx([2e-5, 2e-5 + 1e-6, 1e-3 + 0.25])


def test_pools_that_nothing_joins_are_named():
    cluster = line("a", "b").replace(links=())
    with pytest.raises(InputError, match="no path goes from 'a' to 'b'; join them by a link"):
        crossing_s(cluster, 0, 1, 1.0)


def test_the_sender_pays_for_its_software():
    cluster = line("a", "b")
    slow = cluster.pools[0].topology
    slow = slow.replace(software=slow.software.replace(hop_overhead_s=5.0))
    uneven = cluster.replace(pools=(cluster.pools[0].replace(topology=slow), cluster.pools[1]))
    overheads = [
        float(crossing_s(uneven, *ends, 0.0) - crossing_s(cluster, *ends, 0.0))
        for ends in ((0, 1), (1, 0))
    ]
    assert overheads == pytest.approx([5.0 - 1e-6, 0.0])
