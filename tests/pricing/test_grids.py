"""A grid of decode steps is what `score_plan` says of each of its points."""

import numpy as np
import pytest

import planner as pl
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_topology

BATCHES, CONTEXTS = [1, 3, 8], [60.0, 110.0]


@pytest.mark.parametrize("graph", [tiny_graph(3), tiny_moe(2), tiny_graph(2, window_tokens=80)])
def test_every_point_is_the_tpot_of_the_uniform_plan(graph):
    topology = tiny_topology(4, chip=tiny_chip(1e11))
    grid = pl.decode_grid_s(
        graph, topology, tensor_parallel=[1, 2, 4], batch_sizes=BATCHES, context_tokens=CONTEXTS
    )
    for d, degree in enumerate((1, 2, 4)):
        plan = pl.uniform_plan(graph, topology, tensor_parallel=degree)
        for b, batch in enumerate(BATCHES):
            for c, context in enumerate(CONTEXTS):
                work = pl.Workload(
                    batch_size=batch, prompt_tokens=int(context) - 10, output_tokens=20, arrivals="together"
                )  # fmt: skip
                score = pl.score_plan(plan, graph, topology, work)
                assert grid[d, b, c] == pytest.approx(score.tpot_s, rel=1e-12)


def test_the_shape_is_degrees_by_batches_by_contexts():
    topology = tiny_topology(4)
    grid = pl.decode_grid_s(
        tiny_graph(2), topology, tensor_parallel=[1, 4], batch_sizes=np.arange(1, 6), context_tokens=np.linspace(1, 9, 7)
    )  # fmt: skip
    assert grid.shape == (2, 5, 7)
    assert (np.diff(grid, axis=1) >= 0).all()
    assert (np.diff(grid, axis=2) >= 0).all()


@pytest.mark.parametrize(
    ("degrees", "batches", "word"),
    [([3], [1], "tensor_parallel = 3"), ([8], [1], "tensor_parallel = 8"), ([1], [0], "batch")],
)
def test_a_grid_that_makes_no_sense_is_refused(degrees, batches, word):
    with pytest.raises(pl.InputError, match=word):
        pl.decode_grid_s(
            tiny_graph(2), tiny_topology(4), tensor_parallel=degrees, batch_sizes=batches, context_tokens=[1.0]
        )  # fmt: skip
