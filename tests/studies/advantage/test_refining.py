"""Borders closer than squares stand, from plans that the solver found; and where machines end."""

import pytest

import planner as pl
from planner.studies.advantage.maps import map_grids
from planner.studies.advantage.refining import REFINED, refined

pytestmark = pytest.mark.slow  # one map, made for all
SPEEDS = (50.0, 100.0)
SIZES = (8e9, 4e10, 2e11, 8e11)


@pytest.fixture(scope="module")
def grids():
    return map_grids(("hgx-h100", "hgx-b200"), sizes=SIZES, models=())


@pytest.fixture(scope="module")
def drawn(grids):
    return grids.map(speeds=SPEEDS, draws=50)


@pytest.fixture(scope="module")
def closer(drawn, grids):
    return refined(drawn, grids, borders_at=(100.0,))


def test_a_border_lies_between_sizes_that_are_close(drawn, closer):
    (coarse,) = drawn.borders(100.0)
    (fine,) = closer.borders(100.0)
    assert (fine.below, fine.above) == (coarse.below, coarse.above) == ("hgx-b200", None)
    low, high = fine.within
    assert coarse.within[0] <= low < fine.parameters < high <= coarse.within[1]
    assert high / low <= REFINED
    # At the next speed nobody looked.
    assert closer.borders(50.0) == drawn.borders(50.0)


def test_both_sides_of_a_border_are_proved_and_plans_of_the_solver_join(closer):
    (fine,) = closer.borders(100.0)
    assert fine.is_proved
    assert closer.checks
    assert all(one.merged and -1e-9 <= one.gap < 0.05 for one in closer.checks)
    assert "sides of 1 borders" in closer.proved
    for one in closer.checks:
        if one.parameters in SIZES:
            place = closer.topologies.index(one.topology)
            value = closer.cell(one.parameters, one.tokens_per_s_per_user).values[place]
            assert value == pytest.approx(one.value)


def test_a_border_ends_where_the_solver_says_that_nothing_is_as_fast(closer, grids):
    (fine,) = closer.borders(100.0)
    graph = grids.plans_at(1, fine.within[1]).graph
    with pytest.raises(pl.InfeasibleError):
        pl.partition(
            graph, grids.topologies[1].replace(chips=64), grids.workload, minimize="energy_per_token_j",
            limits={"tpot_s": 0.01},
        )  # fmt: skip


def test_a_machine_ends_where_its_memory_does():
    made = map_grids(("groq-lpu-chain",), sizes=(8e9, 4e11, 4e12), models=())
    drawn = made.map(speeds=(10.0,), draws=5)
    (edge,) = refined(drawn, made, proved="none").edges
    assert (edge.topology, edge.chips, edge.why) == ("groq-lpu-chain", 10440, "memory full")
    assert edge.next_parameters / edge.parameters <= REFINED
    # 10,440 chips of 230 MB, of which 0.74 are usable, hold 1.78 TB.
    assert 1e12 < edge.parameters < 1.78e12


def test_a_machine_that_holds_more_than_it_serves_in_time_is_too_slow():
    made = map_grids(("hgx-h100",), sizes=(8e9, 2e11, 1.6e12), models=())
    drawn = made.map(speeds=(60.0,), draws=5)
    (edge,) = refined(drawn, made, proved="none").edges
    assert edge.why == "too slow"


def test_who_proves_is_one_of_three(drawn, grids):
    with pytest.raises(pl.InputError, match="proved must be engines, all or none"):
        refined(drawn, grids, proved="some")
