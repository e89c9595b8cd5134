"""Labels alone, with no thresholds before them, against the exhaustive solver."""

import math
from dataclasses import replace

import numpy as np
import pytest

from planner.answers.question import FIELDS
from planner.solver.chain import exhaustive, labels
from planner.solver.chain.bounds import relaxed
from planner.solver.chain.labels import Stopped, labelled, widened
from planner.solver.chain.problem import ChainProblem, Incumbent, Line, Measure
from planner.space.layout import crossings_of, packing_of
from tests.instances import fabric, tiny_topology
from tests.solver.chain.tangles import ALMOST, BEAMS, LATE_BORDERS, chains, dear_link, late_border
from tests.solver.posed import on_grids, problems


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", ["switch", "chain", "torus"])
def test_labels_alone_find_what_the_exhaustive_search_finds(shape, field):
    for problem in problems(shape, field, 2):
        best, found = exhaustive.solve(problem), Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found)
        assert found.value == pytest.approx(best.objective, rel=1e-9)
        assert proved.bound >= found.goal


@pytest.mark.slow
def test_labels_see_how_far_a_link_goes():
    solved = 0
    for problem in on_grids(24):
        best, found = exhaustive.solve(problem), Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found)
        assert found.value == pytest.approx(best.objective, rel=1e-12)
        assert proved.bound >= found.goal
        solved += math.isfinite(best.objective)
    assert solved > 12


def beside_a_line(allowed: dict[tuple[int, int, int], float]) -> ChainProblem:
    """Three items on 3 × 4 slots; the runs allowed are (tail, head, slots), with what they cost; a
    hop costs 1. The third item takes four slots: a line. From chip 0, from 3, and from 0 and 1
    together that is one hop; from 1 alone and from 2 alone, two.
    """
    topology = tiny_topology(12, fabric("mesh", 12, dimensions=(3, 4)))
    packing = packing_of(topology)
    widths = np.array([1, 2, 3, 4])
    crossings = crossings_of(topology, packing, widths)
    links = np.zeros((4, 4, len(crossings.hops), 1))
    links[1:-1, :, :, 0] = crossings.hops
    feasible = np.zeros((4, 4, 4), dtype=bool)
    prefix = np.zeros((4, 4, 1))
    for (tail, head, slots), cost in {**allowed, (2, 3, 4): 0.0}.items():
        feasible[slots - 1, tail, head] = True
        prefix[slots - 1, head:] = prefix[slots - 1, tail] + cost
    return ChainProblem(
        prefix=prefix,
        feasible=feasible,
        run_sums=np.ones((4, 1, 1)),
        run_sums_fixed=np.zeros((4, 1)),
        run_peaks=np.zeros((4, 1, 1)),
        run_peaks_fixed=np.zeros((4, 1)),
        link_sums=links,
        link_peaks=0.0 * links,
        widths=widths,
        packing=packing,
        crossings=crossings,
        budget=12,
        objective=Measure(np.ones(1), np.zeros(1)),
    )


@pytest.mark.parametrize(
    ("allowed", "cuts", "value"),
    [
        # 1 + 1 slots are cheaper than 3 + 1, and end earlier; but from the second slot it is two
        # hops to the next line.
        ({(0, 1, 1): 1.0, (0, 1, 3): 1.5, (1, 2, 1): 0.0}, ((0, 1, 2), (1, 2, 0), (2, 3, 3)), 3.5),
        # 1 + 1 slots are cheaper than 2, and end where those do; but 2 slots have an end that is
        # one hop away.
        ({(0, 1, 1): 0.0, (1, 2, 1): 0.0, (0, 2, 2): 1.5}, ((0, 2, 1), (2, 3, 3)), 2.5),
    ],
)
def test_a_start_that_is_cheaper_so_far_stays_beside_one_with_shorter_links_to_come(
    allowed, cuts, value
):
    problem = beside_a_line(allowed)
    found = Incumbent(problem)
    labelled(problem, relaxed(problem), found)
    assert (found.cuts, found.value) == (cuts, value)


def test_labels_that_are_stopped_prove_what_the_relaxations_do():
    for problem in problems("switch", "request_s", 4):
        found = Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found, stop=lambda: True)
        assert proved.bound <= exhaustive.solve(problem).objective * (1 + 1e-12)
        assert math.isinf(found.value)


@pytest.mark.slow
@pytest.mark.parametrize("beam", BEAMS)
@pytest.mark.parametrize("alike", [False, True])
def test_a_narrow_beam_proves_no_more_than_is_true(alike, beam):
    cut_off = missed = 0
    for problem, best in chains(alike=alike):
        found = Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found, first_beam=beam, last_beam=beam)
        cut_off += proved.cut_off > 0
        missed += found.value > best * ALMOST
        assert min(proved.bound, found.value) <= best * ALMOST
        assert best <= found.value * ALMOST
    assert cut_off == len(chains(alike=alike))
    assert missed or beam > 1


@pytest.mark.slow
def test_a_crowd_that_is_thinned_before_it_is_compared_counts_as_left_out(monkeypatch):
    monkeypatch.setattr(labels, "CROWD", 1)
    for problem, best in chains(alike=True):
        found = Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found, first_beam=2, last_beam=2)
        assert proved.cut_off > 0
        assert min(proved.bound, found.value) <= best * ALMOST


@pytest.mark.slow
@pytest.mark.parametrize("alike", [False, True])
def test_a_beam_that_leaves_nothing_out_proves_the_best_of_all(alike):
    for problem, best in chains(alike=alike):
        found = Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found, first_beam=10_000, last_beam=10_000)
        assert proved.cut_off == 0
        assert proved.bound >= found.goal
        assert found.value == pytest.approx(best, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("alike", [False, True])
def test_a_beam_that_widens_from_one_label_ends_with_a_proof(alike):
    for problem, best in chains(alike=alike):
        found = Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found, first_beam=1)
        assert proved.cut_off > 0
        assert proved.bound >= found.goal
        assert found.value == pytest.approx(best, rel=1e-9)


@LATE_BORDERS
def test_a_start_that_is_ahead_does_not_win_by_less_than_a_border_may_cost(in_peak, uneven):
    problem = late_border(in_peak=in_peak, uneven=uneven)
    found = Incumbent(problem)
    proved = labelled(problem, relaxed(problem), found)
    assert found.value == exhaustive.solve(problem).objective == 1.5
    assert [option for _, _, option in found.cuts] == [0, 2, 3, 3]
    assert proved.bound >= found.goal


def test_a_cheaper_start_does_not_win_over_one_with_a_cheaper_link_behind_it():
    found = Incumbent(dear_link())
    proved = labelled(found.problem, relaxed(found.problem), found)
    assert (found.value, found.cuts) == (1.5, ((0, 1, 1), (1, 2, 2)))
    assert proved.bound >= found.goal


def test_where_an_average_counts_a_shorter_link_behind_it_is_no_reason_to_drop_another():
    """(total × 2 runs + 10) / total: the longer the total the better, so the link for 5 is welcome."""
    problem = dear_link()
    links = np.zeros((3, 3, 1, 2))
    links[1, 0, 0, 0] = 5.0
    problem = replace(
        problem,
        run_sums_fixed=np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]),
        link_sums=links,
        objective=Measure(
            np.array([1.0, 0.0]), np.zeros(1), held=1, lines=(Line(1.0, 10.0),), averaged=True
        ),
    )
    found = Incumbent(problem)
    labelled(problem, relaxed(problem), found)
    assert found.value == exhaustive.solve(problem).objective == (6 * 2 + 10) / 6


def test_of_two_starts_that_go_on_alike_the_dearer_is_dropped():
    """Dominance does its work: a beam of one label is enough, and leaves nothing out."""
    problem = dear_link()
    found = Incumbent(replace(problem, link_sums=0.0 * problem.link_sums))
    proved = labelled(found.problem, relaxed(found.problem), found, first_beam=1, last_beam=1)
    assert found.value == 1.0
    assert (proved.cut_off, proved.bound) == (0, math.inf)


class Passes:
    """A search that says what it was told to say."""

    def __init__(self, proves: dict[int, float], goal: float = 10.0) -> None:
        self.proves, self.goal, self.root_bound = proves, goal, 1.0
        self.beams: list[int] = []

    def run(self, beam: int) -> float:
        self.beams.append(beam)
        if beam not in self.proves:
            raise Stopped
        return self.proves[beam]


@pytest.mark.parametrize(
    ("proves", "last_beam", "beams", "bound"),
    [
        ({1: 2.0, 8: 3.0, 64: 10.0}, 512, [1, 8, 64], 10.0),  # until the goal is reached
        ({1: math.inf}, 512, [1], math.inf),  # until nothing is left out
        ({1: 2.0, 8: 3.0, 64: 4.0}, 64, [1, 8, 64], 4.0),  # the last beam is one that is tried
        ({1: 2.0, 8: 3.0}, 63, [1, 8], 3.0),
        ({1: 5.0, 8: 3.0}, 8, [1, 8], 5.0),  # what was proved stays proved
        ({1: 0.5}, 1, [1], 1.0),
        ({1: 2.0}, 512, [1, 8], 2.0),  # the second pass is stopped
    ],
)
def test_beams_widen_until_there_is_a_proof_or_the_last_of_them(proves, last_beam, beams, bound):
    search = Passes(proves)
    assert widened(search, 1, last_beam) == bound
    assert search.beams == beams


def test_no_beam_is_wider_than_the_last():
    search = Passes({3: 2.0})
    assert widened(search, 64, 3) == 2.0
    assert search.beams == [3]
    none = Passes({})
    assert widened(none, 64, 0) == 1.0
    assert none.beams == []
