"""CP-SAT's choice of a row and a cut, against every cut of every row."""

import itertools
import random

import numpy as np
import pytest

from planner.solver.rows.choice import ChoiceModel, Rows
from planner.solver.rows.costs import Cost, Way, longest_of

HALF_A_MILLIONTH = 5e-7


def random_rows(seed):
    """Two peaks, up to four segments, up to three rows; the second peak is memory."""
    dice = np.random.default_rng(seed)
    count = int(dice.integers(1, 4))
    segments = int(dice.integers(1, 5))
    sizes = dice.integers(1, 5, segments)
    stages = int(dice.integers(1, min(4, sizes.sum()) + 1))
    loads = dice.uniform(0.1, 1.0, (2, segments, count)) * dice.choice([1.0, 1e-6, 1e9])
    whole = np.einsum("g,pgr->pr", sizes, loads)
    most = np.full((2, count), np.inf)
    most[1] = whole[1] * dice.uniform(0.3, 1.1)
    turn = Way(np.zeros(count), {0: dice.uniform(1, 4, count)})
    passing = Way(whole[0] * dice.uniform(0.2, 2.0, count), {})
    drawn = Cost(Way(whole[0] * dice.uniform(0, 1, count), {0: dice.uniform(0, 1, count)}))
    objective = longest_of([turn, passing]).times(dice.uniform(0.5, 2, count)).plus(drawn)
    limit = Cost(Way(np.zeros(count), {0: np.ones(count)}))
    return Rows(
        stages=stages,
        sizes=sizes,
        inner=np.ones(segments, dtype=bool),
        loads=loads,
        last=0.1 * loads[:, 0],
        floor=0.5 * loads[:, 0],
        most=most,
        objective=objective,
        limits=((limit, float(whole[0].max() * dice.uniform(0.3, 1.0))),),
        least=np.zeros(count),
    )


def every_value(rows):
    """Of every cut of every row that keeps all limits."""
    layers = int(rows.sizes.sum())
    segment = np.repeat(np.arange(len(rows.sizes)), rows.sizes)
    for cut in itertools.combinations(range(1, layers), rows.stages - 1):
        borders = (0, *cut, layers)
        counts = np.array(
            [np.bincount(segment[:end], minlength=len(rows.sizes)) for end in borders]
        )
        for row in range(len(rows.least)):
            peaks = rows.peaks_of(row, counts)
            each = np.tile(peaks[:, None], len(rows.least))
            kept = all(cost.value(each)[row] <= most for cost, most in rows.limits)
            if kept and (peaks <= rows.most[:, row]).all():
                yield float(rows.objective.value(each)[row])


@pytest.mark.parametrize("seed", range(30))
def test_the_choice_is_the_best_of_all_cuts_and_its_bound_no_better(seed):
    rows = random_rows(seed)
    best = min(every_value(rows), default=np.inf)
    choice = ChoiceModel(rows, np.inf).solve(60.0, seed)
    assert (choice.row is None) == (best == np.inf)
    assert choice.bound <= best
    if choice.row is not None:
        assert choice.bound >= best * (1 - HALF_A_MILLIONTH)
        peaks = np.tile(rows.peaks_of(choice.row, choice.counts)[:, None], len(rows.least))
        assert rows.objective.value(peaks)[choice.row] == pytest.approx(best, rel=HALF_A_MILLIONTH)


@pytest.mark.slow
def test_some_of_the_random_rows_have_no_cut_and_most_have():
    found = [min(every_value(random_rows(seed)), default=np.inf) for seed in range(30)]
    assert 0 < sum(value == np.inf for value in found) < 15


def test_nothing_is_found_below_a_goal_that_no_cut_reaches():
    rows = next(rows for rows in map(random_rows, range(30)) if list(every_value(rows)))
    best = min(every_value(rows))
    assert ChoiceModel(rows, 0.999 * best).solve(60.0, 0).row is None
    assert ChoiceModel(rows, 1.001 * best).solve(60.0, 0).row is not None


def test_a_cut_that_is_left_out_is_not_chosen_again():
    rows = next(rows for rows in map(random_rows, range(30)) if len(set(every_value(rows))) > 1)
    first, second = sorted(set(every_value(rows)))[:2]
    model = ChoiceModel(rows, np.inf)
    choice = model.solve(60.0, 0)
    seen = 0
    while choice.value < (first + second) / 2 and seen < 50:
        model.forbid(choice.row, choice.counts)
        choice = model.solve(60.0, 0)
        seen += 1
    assert 0 < seen < 50
    assert choice.value == pytest.approx(second, rel=HALF_A_MILLIONTH)


def test_a_clock_that_has_run_out_proves_nothing_false():
    dice = random.Random("clock")
    rows = random_rows(dice.randrange(30))
    choice = ChoiceModel(rows, np.inf).solve(0.0, 0)
    assert choice.bound <= min(every_value(rows), default=np.inf)
