"""The best cut of a chain into runs is the best of all cuts."""

import itertools
import math
import random

import numpy as np
import pytest

from planner.solver.chain.cuts import NO_CUT, Chain, all_reached, best_cut, bottlenecks
from tests.lanes import mostly_slow


def plain_chain(each, runs, links=None, limits=None):
    """Of what every item loads on each peak, shape (peaks, items), for runs that are alike; a run
    beyond a limit of a peak may not be."""
    each = np.array(each, dtype=float)
    peaks, items = each.shape
    before = np.concatenate([np.zeros((peaks, 1)), np.cumsum(each, axis=1)], axis=1)
    loads = before[:, None, :] - before[:, :, None]
    places = np.arange(items + 1)
    may_be = places > places[:, None]
    if limits is not None:
        may_be = may_be & (loads <= np.array(limits)[:, None, None]).all(axis=0)
    behind = np.zeros((peaks, items + 1)) if links is None else np.array(links, dtype=float)
    return Chain([np.where(may_be, loads, np.inf)] * runs, [behind] * (runs - 1))


def cuts_of(chain):
    """Every cut, the long way round."""
    items = chain.loads[0].shape[1] - 1
    for inner in itertools.combinations(range(1, items), len(chain.loads) - 1):
        yield (0, *inner, items)


def whole(peaks):
    return float(peaks.sum())


def random_chain(dice):
    """One to three peaks, up to eight items and five runs, some links and limits."""
    peaks = dice.choice((1, 2, 3))
    items = dice.randint(1, 8)
    runs = dice.randint(1, min(5, items))
    each = [[dice.choice((0, 1, 2, 3, 5, 8)) for _ in range(items)] for _ in range(peaks)]
    links = [[dice.choice((0, 0, 4, 9)) for _ in range(items + 1)] for _ in range(peaks)]
    limits = [dice.choice((6, 12, 40, math.inf)) for _ in range(peaks)]
    return plain_chain(each, runs, links, limits)


def random_value(dice, peaks):
    """A value that grows with every peak, now and then with a limit."""
    weights = np.array([dice.choice((0.0, 1.0, 3.0)) for _ in range(peaks)])
    limit = dice.choice((10.0, 25.0, math.inf))
    is_largest = dice.random() < 0.3

    def value(loads):
        if loads[-1] > limit:
            return math.inf
        weighed = weights * loads
        return 1.0 + float(weighed.max() if is_largest else weighed.sum())

    return value


# ── By hand ──────────────────────────────────────────────────────────────────────────────────────


def test_four_items_in_two_runs_by_hand():
    # 1 2 3 4 | cut behind the third: 6 and 4; behind the second: 3 and 7.
    chain = plain_chain([[1, 2, 3, 4]], 2)
    cut = best_cut(chain, whole)
    assert cut.borders == (0, 3, 4)
    assert cut.value == 6
    assert cut.peaks.tolist() == [6]


def test_a_link_moves_the_cut():
    # In front of item 3 a link takes 10, in front of item 2 it takes 1: 3 | 7 is best now.
    chain = plain_chain([[1, 2, 3, 4]], 2, links=[[0, 1, 1, 10, 0]])
    cut = best_cut(chain, whole)
    assert (cut.borders, cut.value) == ((0, 2, 4), 7)


def test_two_peaks_that_want_different_cuts_by_hand():
    # Of the first peak 6 | 1 1 is best (6), of the second 1 1 | 6 (6); together:
    # behind the first: (6, 7), behind the second: (7, 6).
    chain = plain_chain([[6, 1, 1], [1, 1, 6]], 2)
    least, cuts = bottlenecks(chain)
    assert least.tolist() == [6, 6]
    assert cuts == [(0, 1, 3), (0, 2, 3)]
    assert best_cut(chain, lambda peaks: 2 * peaks[0] + peaks[1]).borders == (0, 1, 3)
    assert best_cut(chain, lambda peaks: peaks[0] + 2 * peaks[1]).borders == (0, 2, 3)
    # No cut reaches 6 and 6, though each peak does by itself.
    assert best_cut(chain, whole).value == 13


def test_runs_that_differ_are_told_apart():
    # The second run is on slower chips.
    slow = plain_chain([[2, 2, 2, 2]], 1).loads[0]
    fast = plain_chain([[1, 1, 1, 1]], 1).loads[0]
    chain = Chain([fast, slow], [np.zeros((1, 5))])
    assert best_cut(chain, whole).borders == (0, 3, 4)


def test_nothing_is_found_where_no_cut_keeps_the_limits():
    chain = plain_chain([[5, 5]], 2, limits=[4])
    least, cuts = bottlenecks(chain)
    assert least.tolist() == [math.inf]
    assert cuts == [()]
    assert best_cut(chain, whole) == NO_CUT
    reached = all_reached(chain, 100)
    assert reached is not None
    assert not len(reached)


def test_nothing_is_found_that_is_not_below_the_goal():
    chain = plain_chain([[1, 2, 3, 4]], 2)
    assert best_cut(chain, whole, goal=6.0) == NO_CUT
    assert best_cut(chain, whole, goal=6.1).value == 6


def test_one_run_takes_all():
    chain = plain_chain([[1, 2], [3, 4]], 1)
    assert best_cut(chain, whole).borders == (0, 2)
    assert bottlenecks(chain)[1] == [(0, 2), (0, 2)]


def test_tops_leave_out_runs_and_links_beyond_them():
    chain = plain_chain([[6, 1, 1], [1, 1, 6]], 2)
    least, cuts = bottlenecks(chain, np.array([6.5, math.inf]))
    assert least.tolist() == [6, 7]
    assert cuts == [(0, 1, 3), (0, 1, 3)]
    linked = plain_chain([[1, 2, 3, 4]], 2, links=[[0, 0, 0, 10, 0]])
    assert bottlenecks(linked, np.array([9.0]))[1] == [(0, 2, 4)]


# ── Against all cuts ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", mostly_slow(range(240), but=tuple(range(30))))
def test_the_best_cut_is_the_best_of_all(seed):
    dice = random.Random(f"cuts {seed}")
    chain = random_chain(dice)
    value = random_value(dice, len(chain.loads[0]))
    every = [chain.peaks_of(borders) for borders in cuts_of(chain)]
    least = min((value(peaks) for peaks in every if np.isfinite(peaks).all()), default=math.inf)
    cut = best_cut(chain, value)
    assert cut.value == pytest.approx(least, rel=1e-12)
    if cut.borders:
        assert value(chain.peaks_of(cut.borders)) == cut.value
        assert chain.peaks_of(cut.borders).tolist() == cut.peaks.tolist()
    else:
        assert least == math.inf


@pytest.mark.parametrize("seed", mostly_slow(range(100), but=tuple(range(20))))
def test_each_peak_by_itself_is_the_least_of_all_cuts(seed):
    dice = random.Random(f"bottlenecks {seed}")
    chain = random_chain(dice)
    peaks = len(chain.loads[0])
    tops = np.array([dice.choice((8.0, 15.0, math.inf)) for _ in range(peaks)])
    every = [chain.peaks_of(borders) for borders in cuts_of(chain)]
    kept = [one for one in every if np.isfinite(one).all() and (one <= tops).all()]
    least, cuts = bottlenecks(chain, tops)
    for number in range(peaks):
        assert least[number] == min((one[number] for one in kept), default=math.inf)
        if cuts[number]:
            reached = chain.peaks_of(cuts[number])
            assert reached[number] == least[number]
            assert (reached <= tops).all()
        else:
            assert not kept


@pytest.mark.parametrize("seed", mostly_slow(range(100), but=tuple(range(20))))
def test_all_reached_are_those_of_all_cuts(seed):
    chain = random_chain(random.Random(f"peaks {seed}"))
    every = {tuple(chain.peaks_of(borders)) for borders in cuts_of(chain)}
    found = all_reached(chain, 100_000)
    assert found is not None
    assert len(found) == len(set(map(tuple, found.peaks)))
    assert set(map(tuple, found.peaks)) == {
        peaks for peaks in every if all(map(math.isfinite, peaks))
    }
    for peaks, borders in zip(found.peaks, found.borders, strict=True):
        assert chain.peaks_of(borders).tolist() == peaks.tolist()
    assert found.added.shape == (len(found), 0)


@pytest.mark.parametrize("seed", mostly_slow(range(50), but=tuple(range(10))))
def test_sums_over_links_are_told_apart_too(seed):
    dice = random.Random(f"sums {seed}")
    chain = random_chain(dice)
    items = chain.loads[0].shape[1] - 1
    adds = [np.array([[dice.random() for _ in range(items + 1)]]) for _ in chain.links]
    every = set()
    for borders in cuts_of(chain):
        peaks = chain.peaks_of(borders)
        inner = borders[1:-1]
        added = sum(float(one[0, head]) for one, head in zip(adds, inner, strict=True))
        if np.isfinite(peaks).all():
            every.add((tuple(peaks), round(added, 12)))
    found = all_reached(chain, 100_000, adds)
    assert found is not None
    sums = found.added.sum(axis=1)
    assert {
        (tuple(peaks), round(float(total), 12))
        for peaks, total in zip(found.peaks, sums, strict=True)
    } == every


def test_too_many_peaks_are_given_up():
    dice = random.Random("many peaks")
    each = [[dice.random() for _ in range(12)] for _ in range(2)]
    assert all_reached(plain_chain(each, 4), 20) is None
