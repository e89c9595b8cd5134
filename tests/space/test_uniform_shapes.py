"""Where the stages of uniform pipelines stand."""

import itertools

from planner.pricing.price_list import Split
from planner.space.uniform_shapes import Ground, Shape, is_runnable, shapes_of
from tests.instances import tiny_chip, tiny_engine, tiny_graph, tiny_software, tiny_topology


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


def test_depth_counts_stages_of_embedding_and_head():
    assert Shape(Split(), 3).depth == 3
    assert Shape(Split(), 3, ends=Split(tensor=2)).depth == 5


def test_ends_stand_apart_only_where_no_rule_is_against_it():
    apart = Shape(Split(tensor=2), 2, ends=Split(tensor=2))
    wider = apart._replace(ends=Split(tensor=4))
    software = {
        "none": tiny_software(),
        "alike": tiny_software(engine=tiny_engine(decoder_on_each_stage=False)),
        "decoders": tiny_software(engine=tiny_engine()),
        "shallow": tiny_software(engine=tiny_engine(decoder_on_each_stage=False, most_stages=3)),
    }
    runs = {
        name: tuple(is_runnable(shape, tiny_graph(), one) for shape in (apart, wider))
        for name, one in software.items()
    }
    assert runs == {
        "none": (True, True),
        "alike": (True, False),
        "decoders": (False, False),
        "shallow": (False, False),
    }


def test_shapes_are_those_that_the_engine_runs_or_any():
    engine = tiny_engine(tensor_in_pipelines=False, most_stages=2)
    software = tiny_software(engine=engine)
    # Memory so small that embedding and head would like to stand apart.
    graph = tiny_graph(4)
    topology = tiny_topology(8, chip=tiny_chip(0.3 * graph.weight_bytes), software=software)
    every = set(shapes_of(graph, Ground(topology), "any"))
    runnable = set(shapes_of(graph, Ground(topology)))
    assert runnable == {shape for shape in every if is_runnable(shape, graph, software)}
    assert runnable
    assert all(shape.depth == 1 or shape.split.tensor == 1 for shape in runnable)
    assert {shape.depth for shape in every} > {shape.depth for shape in runnable}
