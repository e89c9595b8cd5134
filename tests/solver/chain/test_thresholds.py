"""Thresholds and labels against the exhaustive solver, on the very problems that `partition`
poses."""

import random
from dataclasses import replace

import numpy as np
import pytest

from planner.answers.question import FIELDS, question_of
from planner.solver.chain import exhaustive, thresholds
from planner.solver.chain.labels import LAST_BEAM
from planner.solver.chain.packing import Packing
from planner.solver.chain.problem import ChainProblem, Measure, evaluate, packed
from planner.space.candidates import Candidates
from tests.instances import LISTED, random_graph, random_topology, random_workload
from tests.lanes import mostly_slow, some
from tests.solver.chain.tangles import ALMOST, BEAMS, chains
from tests.solver.posed import problems


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", LISTED)
def test_the_chain_search_finds_what_the_exhaustive_search_finds(shape, field):
    for problem in problems(shape, field, 3):
        best, found = exhaustive.solve(problem), thresholds.solve(problem)
        assert (best.runs is None) == (found.runs is None)
        assert found.objective == pytest.approx(best.objective, rel=1e-9)
        if found.runs is not None:
            assert found.bound == pytest.approx(found.objective, rel=1e-9)


@pytest.mark.slow
def test_an_incumbent_that_is_already_best_is_proved_and_not_improved():
    for problem in problems("switch", "tpot_s", 6):
        best = exhaustive.solve(problem)
        if best.runs is not None:
            again = thresholds.solve(problem, incumbent=best.objective)
            assert again.bound == pytest.approx(best.objective, rel=1e-9)


def test_a_search_that_is_stopped_still_proves_a_bound():
    for problem in problems("switch", "tpot_s", 5):
        best = exhaustive.solve(problem)
        stopped = thresholds.solve(problem, stop=lambda: True)
        assert stopped.bound <= best.objective * (1 + 1e-12)
        assert stopped.objective >= best.objective * (1 - 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("beam", BEAMS)
@pytest.mark.parametrize("alike", [False, True])
def test_a_narrow_beam_proves_no_more_than_is_true(alike, beam):
    cut_off = open_ = missed = 0
    for problem, best in chains(alike=alike):
        found = thresholds.solve(problem, first_beam=beam, last_beam=beam)
        cut_off += found.cut_off > 0
        open_ += found.bound < best / ALMOST
        missed += found.objective > best * ALMOST
        assert found.bound <= best * ALMOST
        assert best <= found.objective * ALMOST
        assert found.cut_off or found.bound == found.objective
    assert cut_off > 0.8 * len(chains(alike=alike))
    assert open_ >= cut_off / 2
    assert missed or beam > 1


@pytest.mark.slow
@pytest.mark.parametrize("alike", [False, True])
def test_a_beam_that_widens_from_one_label_proves_the_best_of_all(alike):
    for problem, best in chains(alike=alike):
        found = thresholds.solve(problem, first_beam=1)
        assert found.cut_off > 0
        assert found.objective == pytest.approx(best, rel=1e-9)
        assert found.bound == found.objective


@pytest.mark.slow
@pytest.mark.parametrize("beam", BEAMS)
def test_what_is_known_to_be_best_bounds_a_narrow_beam_too(beam):
    """An incumbent just above the best is beaten or left open; the best itself is never said to be
    beaten."""
    for problem, best in chains(alike=True):
        found = thresholds.solve(problem, incumbent=best, first_beam=beam, last_beam=beam)
        assert found.runs is None
        assert found.bound <= best
        above = thresholds.solve(problem, incumbent=best * 1.001, first_beam=beam, last_beam=beam)
        assert above.bound <= best * ALMOST
        assert above.runs is None or above.objective == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("last_beam", [0, 1, LAST_BEAM])
@pytest.mark.parametrize("alike", mostly_slow([False, True], but=(True,)))
def test_halved_ranges_of_peaks_leave_nothing_out(alike, last_beam):
    """With slots in plenty the search goes by thresholds first, and by labels where it was asked
    to."""
    posed = chains(alike=alike, budget=thresholds.FEW_SLOTS + 4)
    proved = 0
    for problem, best in posed:
        found = thresholds.solve(problem, first_beam=1, last_beam=last_beam)
        proved += found.bound == found.objective
        assert found.bound <= best * ALMOST
        assert best <= found.objective * ALMOST
    if last_beam == LAST_BEAM:
        assert proved == len(posed)
    else:
        assert proved < len(posed)


def test_a_quick_look_sets_labels_only_where_they_are_few():
    problem, best = chains(alike=True)[0]
    few = thresholds.solve(problem, first_beam=2, last_beam=0)
    assert few.cut_off > 0
    many = thresholds.solve(
        replace(problem, budget=thresholds.FEW_SLOTS + 1), last_beam=0, most_nodes=1
    )
    assert many.cut_off == 0
    assert few.bound <= best * ALMOST
    assert many.bound <= best * ALMOST


@pytest.mark.slow
def test_every_box_of_a_question_is_bounded_and_solved_as_the_exhaustive_search_does():
    """With ranges, ties and limits: what single boxes do not show."""
    dice = random.Random("boxes")
    for _ in range(12):
        graph, topology, workload = (
            random_graph(dice),
            random_topology(dice, "switch"),
            random_workload(dice),
        )
        question = question_of(
            "energy_per_token_j", None, {"tpot_s": 10 ** dice.uniform(-4.5, -2)}, None
        )
        candidates = Candidates(graph, topology, workload, question)
        for box in candidates.boxes():
            problem = candidates.to_problem(box)
            if problem is not None:
                best, found, quick = (
                    exhaustive.solve(problem),
                    thresholds.solve(problem),
                    thresholds.solve(problem, last_beam=0, most_nodes=3),
                )
                assert found.objective == pytest.approx(best.objective, rel=1e-9)
                assert quick.bound <= best.objective * (1 + 1e-12)
                assert quick.objective >= best.objective * (1 - 1e-12)


@pytest.mark.slow
def test_hundreds_of_layers_on_a_hundred_thousand_chips_are_proved():
    """Two options of one and of four slots: the bottleneck against the sum, where links cost and
    slots are plenty."""
    items, rng = some(400, 1000), np.random.default_rng(7)
    work = rng.uniform(0.5, 1.5, items)
    prefix = np.stack([np.concatenate([[0.0], np.cumsum(work * share)]) for share in (1.0, 0.4)])[
        ..., None
    ]
    links = np.zeros((items + 1, 2, 1, 1))
    links[1:-1] = 0.05
    widths = np.array([1, 4])
    packing = Packing(100_000, (100_000,))
    problem = ChainProblem(
        prefix=prefix,
        feasible=np.stack([np.triu(np.ones((items + 1, items + 1), dtype=bool), 1)] * 2),
        run_sums=np.ones((2, 1, 1)),
        run_sums_fixed=np.zeros((2, 1)),
        run_peaks=np.ones((2, 1, 1)),
        run_peaks_fixed=np.zeros((2, 1)),
        link_sums=links,
        link_peaks=0.0 * links,
        widths=widths,
        packing=packing,
        crossings=packing.crossings(widths),
        budget=100_000,
        objective=Measure(np.array([1.0]), np.array([30.0])),
    )
    found = thresholds.solve(problem)
    assert found.runs is not None
    assert found.bound == pytest.approx(found.objective, rel=1e-9)
    equal = tuple((tail, min(tail + 20, items), 1) for tail in range(0, items, 20))
    assert found.objective < float(
        problem.objective.value(*evaluate(problem, packed(problem, equal)))
    )
