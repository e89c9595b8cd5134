"""A sweep that is killed goes on where it was."""

import pytest

from benchmarks.sweeps import dask_table, killed_often, small_cells, table
from planner.studies import sweep


@pytest.mark.slow
def test_small_cells_differ():
    assert len(sweep(cells=small_cells(12), file=None, progress=False).rows) == 12


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_with_the_same_table(tmp_path):
    cells = small_cells(200)
    found, left = killed_often(cells, kills=2, folder=tmp_path, seed=3)
    assert 0 < left < 200
    assert found == table(sweep(cells=cells, file=None, progress=False))


@pytest.mark.slow
def test_a_cluster_of_processes_makes_the_same_table():
    pytest.importorskip("distributed")
    cells = small_cells(20)
    assert dask_table(cells) == table(sweep(cells=cells, file=None, progress=False))
