"""Placed labels against trying everything, on the very problems that `partition_cluster` poses."""

import functools
import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest

from planner.answers.question import question_of
from planner.solver.chain import exhaustive, placed
from planner.solver.chain.packing import Packing
from planner.solver.chain.placed import Ground, Link, Place, PlacedProblem, PlacedRun
from planner.solver.chain.problem import ChainProblem, Measure
from planner.space.cluster_candidates import ClusterCandidates
from tests.instances import random_cluster, random_graph, random_workload
from tests.lanes import mostly_slow, paired
from tests.oracle import HIGHER_IS_BETTER
from tests.solver.chain.tangles import ALMOST, BEAMS, all_placed, pools
from tests.solver.posed import packed_in


def problems(field: str, count: int, *, anywhere: bool = False):
    """Single boxes of random cases."""
    case = 0
    while count:
        dice, case = random.Random(f"places {field} {case}"), case + 1
        graph, cluster, workload = random_graph(dice), random_cluster(dice), random_workload(dice)
        direction = ("", field) if field in HIGHER_IS_BETTER else (field, "")
        candidates = ClusterCandidates(
            graph, cluster, workload, question_of(*direction, None, None), anywhere=anywhere
        )
        box = next((box for box in candidates.boxes() if box.single), None)
        problem = None if box is None else candidates.to_problem(box)
        if problem is not None and len(problem.grounds) < 4:
            count -= 1
            yield problem


def best_of_all(problem: PlacedProblem) -> float:
    """The least value of any solution, from the definitions."""
    best = math.inf
    for cuts in exhaustive.all_cuts(problem.chain):
        for starts in itertools.product(*(_starts(problem, option) for _, _, option in cuts)):
            runs = tuple(
                PlacedRun(
                    *cut,
                    Place(int(problem.ground_of[cut[2]]), start, int(problem.chain.widths[cut[2]])),
                )
                for cut, start in zip(cuts, starts, strict=True)
            )
            if _allowed(problem, runs):
                best = min(best, float(problem.value(0, *placed.evaluate(problem, runs))))
    return best


def _starts(problem: PlacedProblem, option: int) -> list[int]:
    ground = problem.grounds[problem.ground_of[option]]
    width = int(problem.chain.widths[option])
    return [start for start in ground.packing.starts(width) if start + width <= ground.budget]


def _allowed(problem: PlacedProblem, runs: tuple[PlacedRun, ...]) -> bool:
    visits = [number for number, _ in itertools.groupby(run.place.ground for run in runs)]
    owners = [problem.grounds[number].owner for number in visits]
    if len(set(owners)) < len(owners):
        return False
    used = [
        (run.place.ground, slot)
        for run in runs
        for slot in range(run.place.first, run.place.first + run.place.width)
    ]
    if len(set(used)) < len(used):
        return False
    pairs = list(itertools.pairwise(runs))
    if any(problem.link(one.option, one.place, other.place) is None for one, other in pairs):
        return False
    if problem.anywhere:
        return True
    free = dict.fromkeys(visits, 0)
    for run in runs:
        packing = problem.grounds[run.place.ground].packing
        if run.place.first != int(packing.start(free[run.place.ground], run.place.width)):
            return False
        free[run.place.ground] = run.place.first + run.place.width
    return True


@pytest.mark.parametrize(
    "field",
    mostly_slow(["tpot_s", "usd_per_million_tokens", "memory_headroom_bytes"], but=("tpot_s",)),
)
@pytest.mark.parametrize("anywhere", [False, True])
def test_labels_find_what_trying_everything_finds(field, anywhere):
    feasible = 0
    for problem in problems(field, 5, anywhere=anywhere):
        best, found = best_of_all(problem), placed.solve(problem)
        feasible += found.runs is not None
        assert found.objective == pytest.approx(best, rel=1e-9)
        assert found.bound == pytest.approx(best, rel=1e-9)
        assert placed.root_bound(problem) <= best * (1 + 1e-12)
    assert feasible


@pytest.mark.slow
def test_a_search_that_is_stopped_still_proves_a_bound():
    for problem in problems("request_s", 5):
        best = placed.solve(problem)
        other = placed.solve(problem, stop=lambda: True)
        assert other.bound <= best.objective * (1 + 1e-12)
        assert other.objective >= best.objective * (1 - 1e-12)


@pytest.mark.slow
def test_trying_everything_in_two_ways_finds_the_same():
    for anywhere in (False, True):
        for problem in problems("tpot_s", 3, anywhere=anywhere):
            values = [
                float(problem.value(0, *placed.evaluate(problem, runs)))
                for runs in all_placed(problem)
            ]
            assert min(values, default=math.inf) == best_of_all(problem)


WAYS = list(itertools.product([False, True], repeat=2))
POOLS = pytest.mark.parametrize(("anywhere", "uniform"), WAYS)


@pytest.mark.slow
@pytest.mark.parametrize(("pools_are", "beam"), paired(WAYS, BEAMS))
def test_a_narrow_beam_proves_no_more_than_is_true(pools_are, beam):
    anywhere, uniform = pools_are
    cut_off = open_ = missed = 0
    for problem, best in pools(anywhere=anywhere, uniform=uniform):
        found = placed.solve(problem, first_beam=beam, last_beam=beam)
        cut_off += found.cut_off > 0
        open_ += found.bound < best / ALMOST
        missed += found.objective > best * ALMOST
        assert found.bound <= best * ALMOST
        assert best <= found.objective * ALMOST
    assert cut_off == len(pools(anywhere=anywhere, uniform=uniform))
    assert open_ >= cut_off / 2
    assert missed or beam > 1


@pytest.mark.slow
def test_a_crowd_that_is_thinned_before_it_is_compared_counts_as_left_out(monkeypatch):
    monkeypatch.setattr(placed, "CROWD", 1)
    for problem, best in pools(anywhere=False, uniform=True):
        found = placed.solve(problem, first_beam=2, last_beam=2)
        assert found.cut_off > 0
        assert found.bound <= best * ALMOST


@pytest.mark.slow
@POOLS
def test_a_beam_that_leaves_nothing_out_proves_the_best_of_all(anywhere, uniform):
    for problem, best in pools(anywhere=anywhere, uniform=uniform):
        found = placed.solve(problem, first_beam=10_000, last_beam=10_000)
        assert found.cut_off == 0
        assert found.objective == pytest.approx(best, rel=1e-9)
        assert found.bound == found.objective


@pytest.mark.slow
def test_a_beam_that_widens_from_one_label_proves_the_best_of_all():
    for problem, best in pools(anywhere=False, uniform=False):
        found = placed.solve(problem, first_beam=1)
        assert found.cut_off > 0
        assert found.objective == pytest.approx(best, rel=1e-9)
        assert found.bound == found.objective


def test_an_incumbent_that_is_already_best_is_proved_and_not_improved():
    for problem in problems("tpot_s", 4):
        best = placed.solve(problem)
        if best.runs is not None:
            again = placed.solve(problem, incumbent=best.objective)
            assert (again.runs, again.bound) == (None, pytest.approx(best.objective, rel=1e-9))


# ── By hand: a start that is cheaper by 0.5 must not drop one that goes on better ──


def small_pool(
    grounds, options, steps, *, link=lambda *_: 0.0, link_class=None, **more
) -> PlacedProblem:
    """Every run is one item. Options are (ground, width, cost); steps name the options that may
    take each item; a link costs what `link` says of the option before it and of both places, None
    where there is none."""
    ground_of, widths, costs = (np.array(column) for column in zip(*options, strict=True))
    count, items = len(options), len(steps)
    feasible = np.zeros((count, items + 1, items + 1), dtype=bool)
    for item, allowed in enumerate(steps):
        feasible[allowed, item, item + 1] = True
    free = np.zeros((items + 1, count, 1, 1))

    @functools.cache
    def made(option: int, before: Place, behind: Place) -> Link | None:
        cost = link(option, before, behind)
        return (
            None if cost is None else Link(np.full((items + 1, 1), cost), np.zeros((items + 1, 1)))
        )

    budget = sum({ground.owner: ground.budget for ground in grounds}.values())
    chain = ChainProblem(
        prefix=np.zeros((count, items + 1, 1)),
        feasible=feasible,
        run_sums=np.zeros((count, 1, 1)),
        run_sums_fixed=costs[:, None].astype(float),
        run_peaks=np.zeros((count, 1, 1)),
        run_peaks_fixed=np.zeros((count, 1)),
        link_sums=free,
        link_peaks=free,
        **packed_in(Packing(budget, (budget,)), widths),
        budget=budget,
        objective=Measure(np.array([1.0]), np.array([0.0])),
    )
    classes = np.zeros(count, dtype=np.intp) if link_class is None else np.array(link_class)
    return PlacedProblem(chain, tuple(grounds), ground_of, classes, made, (np.zeros(1),), **more)


def ground(owner: int, *, budget: int = 4, uniform: bool = True) -> Ground:
    return Ground(Packing(budget, (budget,)), budget, owner, uniform=uniform)


NARROW_OR_WIDE = [(0, 1, 1.0), (0, 2, 1.5), (0, 1, 0.0)]
"""The first item on a slot for 1.0, or on two for 1.5; the second on a slot for nothing."""
WIDE_OR_NARROW = [(0, 2, 1.0), (0, 1, 1.5), (0, 1, 0.0)]


def behind_one_slot_dear(option: int, before: Place, behind: Place) -> float:
    return 5.0 if before.width == 1 else 0.0


def behind_first_option_dear(option: int, before: Place, behind: Place) -> float:
    return 5.0 if option == 0 else 0.0


def dear_on_slot_one(option: int, place: Place) -> np.ndarray:
    return np.array([0.0, 5.0, 10.0]) * (place.first == 1)


CASES = {
    "links depend on the place": small_pool(
        [ground(0, uniform=False)], NARROW_OR_WIDE, [[0, 1], [2]], link=behind_one_slot_dear
    ),
    "links depend on the place, anywhere": small_pool(
        [ground(0, uniform=False)],
        NARROW_OR_WIDE,
        [[0, 1], [2]],
        link=behind_one_slot_dear,
        anywhere=True,
    ),
    "links depend on the option": small_pool(
        [ground(0)],
        [(0, 1, 1.0), (0, 1, 1.5), (0, 1, 0.0)],
        [[0, 1], [2]],
        link=behind_first_option_dear,
        link_class=[0, 1, 1],
    ),
    "work depends on the place": small_pool(
        [ground(0)], NARROW_OR_WIDE, [[0, 1], [2]], placed=dear_on_slot_one
    ),
    "there is no room behind": small_pool(
        [ground(0, budget=2), ground(1)], WIDE_OR_NARROW, [[0, 1], [2]]
    ),
    "there is no room behind, anywhere": small_pool(
        [ground(0, budget=2), ground(1)], WIDE_OR_NARROW, [[0, 1], [2]], anywhere=True
    ),
    "an owner is used up": small_pool(
        [ground(0), ground(1)],
        [(0, 1, 1.0), (1, 1, 1.5), (1, 1, 0.0), (0, 1, 0.0)],
        [[0, 1], [2], [3]],
    ),
    "the other ground of an owner is needed": small_pool(
        [ground(0), ground(0)], [(0, 1, 1.0), (1, 1, 1.5), (1, 1, 0.0)], [[0, 1], [2]]
    ),
}


@pytest.mark.parametrize("problem", CASES.values(), ids=CASES)
def test_a_cheaper_start_does_not_drop_one_that_goes_on_better(problem):
    found = placed.solve(problem)
    assert [run.option for run in found.runs][:2] == [1, 2]
    assert found.objective == found.bound == 1.5
    assert (
        min(
            float(problem.value(0, *placed.evaluate(problem, runs))) for runs in all_placed(problem)
        )
        == 1.5
    )


def test_of_two_starts_that_go_on_alike_the_dearer_is_dropped():
    """Dominance does its work: with the second start no worse placed but dearer, a beam of one
    label is enough."""
    problem = small_pool([ground(0)], [(0, 1, 1.0), (0, 2, 1.5), (0, 1, 0.0)], [[0, 1], [2]])
    found = placed.solve(problem, first_beam=1, last_beam=1)
    assert (found.cut_off, found.objective, found.bound) == (0, 1.0, 1.0)


# ── So many runs ─────────────────────────────────────────────────────────────────────────────────


@functools.cache
def least_by_runs(number: int, *, anywhere: bool, uniform: bool) -> dict[int, float]:
    """The least value of the solutions with each number of runs."""
    problem, _ = pools(anywhere=anywhere, uniform=uniform)[number]
    least: dict[int, float] = {}
    for runs in all_placed(problem):
        value = float(problem.value(0, *placed.evaluate(problem, runs)))
        least[len(runs)] = min(value, least.get(len(runs), math.inf))
    return least


@pytest.mark.slow
@pytest.mark.parametrize(("number", "pools_are"), paired(range(4), WAYS))
def test_of_exactly_so_many_runs_the_best_is_found(number, pools_are):
    anywhere, uniform = pools_are
    problem, best = pools(anywhere=anywhere, uniform=uniform)[number]
    least = least_by_runs(number, anywhere=anywhere, uniform=uniform)
    assert min(least.values()) == best
    for count in range(1, problem.chain.items + 2):
        wanted = least.get(count, math.inf)
        asked = replace(problem, runs=count)
        for options in ({}, {"first_beam": 1}):
            found = placed.solve(asked, **options)
            assert found.objective == pytest.approx(wanted, rel=1e-9)
            assert found.bound == pytest.approx(wanted, rel=1e-9)
            assert (found.runs is None) == (wanted == math.inf)
            assert found.runs is None or len(found.runs) == count
        assert placed.root_bound(asked) <= wanted * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("beam", BEAMS)
def test_a_beam_that_cuts_off_runs_of_a_number_claims_no_more_than_is_true(beam):
    problem, _ = pools(anywhere=False, uniform=False)[0]
    for count, wanted in least_by_runs(0, anywhere=False, uniform=False).items():
        found = placed.solve(replace(problem, runs=count), first_beam=beam, last_beam=beam)
        assert found.bound <= wanted * (1 + 1e-12)
        assert found.objective >= wanted * (1 - 1e-12)
