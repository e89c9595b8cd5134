"""Where the stages of uniform pipelines stand."""

import itertools

from planner.pricing.price_list import Split
from planner.space.uniform_shapes import Ground, Shape, shapes_of
from tests.instances import tiny_graph, tiny_topology


def test_stages_of_a_shape_stand_side_by_side():
    ground = Ground(tiny_topology(4))
    stands = ground.stands(Shape(Split(2, 1, 1, 1), 2))
    assert [stand.start for stand in stands] == [0, 2]
    assert ground.end(Shape(Split(2, 1, 1, 1), 2)) == 4


def test_every_shape_of_a_machine_stands_on_it_without_overlap():
    topology = tiny_topology(4)
    ground = Ground(topology)
    shapes = list(shapes_of(tiny_graph(), ground))
    assert shapes
    for shape in shapes:
        stands = ground.stands(shape)
        assert ground.end(shape) <= topology.chips
        for one, other in itertools.pairwise(stands):
            assert one.start + one.split.chips <= other.start


def test_stages_that_price_alike_share_a_code():
    stands = Ground(tiny_topology(4)).stands(Shape(Split(1, 1, 1, 1), 4))
    first, *_, last = stands
    assert first.hop != last.hop
    assert first.code != last.code
