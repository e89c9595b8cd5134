"""The borders that packing sees in a machine."""

import itertools
import math

import numpy as np
import pytest

from planner.plan import ChipRange
from planner.pricing.timing import hop_between
from planner.solver.chain.packing import Packing
from planner.space.layout import crossings_of, even_borders, packing_of, starts_of
from tests.instances import SHAPES, fabric, tiny_topology


def test_nodes_of_a_cluster_have_borders_that_cost():
    cluster = tiny_topology(32, fabric("switch", 8), fabric("switch", 4))
    assert packing_of(cluster) == Packing(32, (8, 32), (8,))


def test_three_levels_have_two_kinds_of_borders():
    racks = tiny_topology(64, fabric("switch", 4), fabric("full-mesh", 8), fabric("switch", 2))
    assert packing_of(racks) == Packing(64, (4, 32, 64), (4, 32))


def test_lines_and_planes_of_a_grid_have_borders_that_cost_nothing():
    assert packing_of(tiny_topology(16, fabric("torus", 16, dimensions=(4, 4)))) == Packing(
        16, (4, 16), ()
    )
    cube = tiny_topology(24, fabric("mesh", 24, dimensions=(2, 3, 4)))
    assert packing_of(cube) == Packing(24, (4, 12, 24), ())


def test_lines_of_nodes_are_whole_nodes():
    pods = tiny_topology(32, fabric("switch", 4), fabric("torus", 8, dimensions=(2, 4)))
    assert packing_of(pods) == Packing(32, (4, 16, 32), (4,))


def test_axes_of_one_make_no_borders():
    assert packing_of(tiny_topology(8, fabric("torus", 8, dimensions=(1, 8)))) == Packing(
        8, (8,), ()
    )


def test_a_node_that_is_not_full_keeps_its_borders():
    assert packing_of(tiny_topology(12, fabric("switch", 8), fabric("switch", 4))) == Packing(
        12, (8, 16), (8,)
    )
    assert packing_of(tiny_topology(6, fabric("switch", 8), fabric("switch", 4))) == Packing(
        6, (6,), ()
    )


def test_a_chip_alone_has_no_borders():
    assert packing_of(tiny_topology(1)) == Packing(1, (), ())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_unit_holds_all_chips_and_each_is_a_multiple_of_the_one_before(shape):
    packing = packing_of(tiny_topology(11, fabric("switch", 2), fabric(shape, 6)))
    assert packing.spans[-1] >= packing.slots == 11
    assert all(larger % smaller == 0 for smaller, larger in itertools.pairwise(packing.spans))
    assert set(packing.borders) <= set(packing.spans)


def test_stages_stand_one_after_the_other_inside_borders_that_can_hold_them():
    packing = packing_of(tiny_topology(16, fabric("switch", 4), fabric("chain", 4)))
    assert starts_of(packing, [1, 3, 2, 3]) == ([0, 1, 4, 8], 11)
    assert starts_of(packing, [6, 2, 6]) == ([0, 6, 8], 14)  # six begin where a unit does


@pytest.mark.parametrize(
    ("layers", "stages", "borders"),
    [(8, 4, [2, 4, 6]), (8, 3, [3, 6]), (7, 1, []), (9, 4, [2, 4, 7])],
)
def test_layers_that_are_left_over_go_to_the_stages_before_the_last(layers, stages, borders):
    assert even_borders(layers, stages) == borders


GRIDS = (
    (fabric("torus", 12, dimensions=(3, 4)),),
    (fabric("torus", 24, dimensions=(4, 6), wraps_from=4),),
    (fabric("mesh", 18, dimensions=(2, 3, 3)),),
    (fabric("full-mesh", 2), fabric("torus", 6, dimensions=(2, 3))),
    (fabric("ring", 4), fabric("dragonfly", 3)),
    (fabric("mesh", 6, dimensions=(2, 3)), fabric("chain", 3)),
    (fabric("links", 8),),
    (fabric("links", 6), fabric("switch", 2)),
    (fabric("links", 10),),
)


@pytest.mark.parametrize(
    "fabrics", GRIDS, ids=lambda fabrics: " of ".join(one.shape for one in fabrics)
)
def test_links_of_the_search_go_as_far_as_the_hops_of_the_score(fabrics):
    topology = tiny_topology(math.prod(one.units for one in fabrics), *fabrics)
    packing = packing_of(topology)
    widths = np.array([1, 2, 3, 4, 6])
    crossings = crossings_of(topology, packing, widths)
    seen = set()
    for (one, before), (other, after) in itertools.product(enumerate(widths.tolist()), repeat=2):
        for end in range(before, topology.chips):
            start = int(packing.start(np.array(end), after))
            if start + after <= topology.chips:
                sender = ChipRange(first=end - before, count=before)
                receiver = ChipRange(first=start, count=after)
                kind = crossings.kinds[one, other, end]
                hop = (crossings.borders[kind], crossings.hops[kind])
                assert hop == hop_between(topology, sender, receiver)
                seen.add(hop)
    assert len(seen) >= len(fabrics)


def test_a_stage_that_skips_the_rest_of_a_line_takes_a_longer_hop():
    """Chips 0 to 3 lie in a line, 4 to 7 come back beside them: from 1 to 7 it is one step across
    and one along."""
    topology = tiny_topology(12, fabric("torus", 12, dimensions=(3, 4), wraps_from=16))
    crossings = crossings_of(topology, packing_of(topology), np.array([1, 4]))
    assert [crossings.hops[crossings.kinds[0, 1, end]] for end in (1, 2, 3, 4)] == [1, 2, 2, 1]
    assert not crossings.is_even
