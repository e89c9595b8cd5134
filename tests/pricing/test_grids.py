"""A grid of decode steps is what `score_plan` says of each of its points."""

import numpy as np
import pytest

import planner as pl
from tests.by_hand import chain, layer, matmul, round_machine
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

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
    [
        ([3], [1], "tensor_parallel = 3"),
        ([8], [1], "tensor_parallel = 8"),
        ([0], [1], "tensor_parallel = 0"),
        ([1], [0], "batch"),
        ([1], [1, 0], "batch"),
        ([1], [[1]], "batch"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(degrees, batches, word):
    with pytest.raises(pl.InputError, match=word):
        pl.decode_grid_s(
            tiny_graph(2), tiny_topology(4), tensor_parallel=degrees, batch_sizes=batches, context_tokens=[1.0]
        )  # fmt: skip


@pytest.mark.parametrize("contexts", [[-1.0], [1.0, -1.0], [[1.0]]])
def test_contexts_that_make_no_sense_are_refused(contexts):
    with pytest.raises(pl.InputError, match="context_tokens"):
        pl.decode_grid_s(
            tiny_graph(2),
            tiny_topology(4),
            tensor_parallel=[1],
            batch_sizes=[1],
            context_tokens=contexts,
        )


def test_a_grid_by_hand():
    graph, machine = chain(layer("a", matmul(split="inputs"))), round_machine(2)
    grid = pl.decode_grid_s(
        graph, machine, tensor_parallel=[1, 2], batch_sizes=[1, 2], context_tokens=[0.0]
    )
    # A launch; 100 + 30 n B on one chip; on two 50 + 25 n B each, and a sum of 20 n B: 1 s + 2 × (1
    # + n) s.
    assert grid[..., 0].tolist() == [[1 + 13.0, 1 + 16.0], [1 + 7.5 + 5, 1 + 10.0 + 7]]


def test_a_degree_that_the_software_has_no_collective_for_is_refused():
    lonely = tiny_topology(4, software=tiny_software(collectives=()))
    with pytest.raises(pl.InputError, match="plain has no all_reduce over 2 chips of tiny"):
        pl.decode_grid_s(
            tiny_graph(2), lonely, tensor_parallel=[2], batch_sizes=[1], context_tokens=[1.0]
        )
