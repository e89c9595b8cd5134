"""Bounds of mixes hold for every plan of the oracle, and mixes hold every plan."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from planner.planning.fronts import _question
from planner.space.candidates import Candidates
from planner.space.mixes import (
    EVERY,
    MixBounds,
    Priced,
    even_cuts,
    exact_mixes,
    joined,
    mixed_cuts,
    mixes_of,
    mixes_on,
)
from tests.instances import LISTED, random_graph, random_topology, random_workload
from tests.lanes import mostly_slow
from tests.oracle import all_plans, scored

FIELDS = ("tpot_s", "tokens_per_s", "usd_per_million_tokens", "ttft_s", "memory_headroom_bytes")


@pytest.mark.parametrize("shape", mostly_slow(LISTED, but=("switch", "chain")))
def test_no_plan_of_a_mix_is_better_than_its_bounds(shape):
    seen = case = 0
    while seen <= 10:
        dice, case = random.Random(f"mixes {shape} {case}"), case + 1
        seen += checked(random_graph(dice), random_topology(dice, shape), random_workload(dice))


def checked(graph, topology, workload) -> int:
    """How many plans were compared with the bounds of their mix; fails where one is better."""
    candidates = Candidates(graph, topology, workload, _question(FIELDS, None, "any"))
    numbers = {
        (split.tensor, split.expert): number for number, split in enumerate(candidates.splits)
    }
    widths = np.array([split.chips for split in candidates.splits])
    mixes = mixes_of(widths, topology.chips, len(graph.layers))
    row_of = {tuple(counts): row for row, counts in enumerate(mixes.counts.tolist())}
    bounds, names, seen = MixBounds(candidates, mixes), candidates.question.fields, 0
    for plan in all_plans(graph, topology, workload):
        score = scored(plan, graph, topology, workload)
        degrees = [(stage.tensor_parallel, stage.expert_parallel) for stage in plan.stages]
        if score is None or not all(one in numbers for one in degrees):
            continue
        counts = Counter(numbers[one] for one in degrees)
        row = np.array([row_of[tuple(counts[number] for number in range(len(widths)))]])
        for box in candidates.boxes():
            if box.replicas != plan.replicas:
                continue
            value = np.array(
                [candidates.canonical(name, float(getattr(score, name))) for name in names]
            )
            priced = Priced(candidates, box)
            assert (bounds.quick(priced, row)[0] <= value * (1 + 1e-9)).all()
            ranges = bounds.tight(priced, row)[0][0]
            assert (ranges <= value * (1 + 1e-9)).all(axis=1).any()
            seen += 1
    return seen


def test_where_there_are_too_many_mixes_ranges_of_chips_take_their_place():
    mixes = mixes_of(np.array([1, 2, 4, 8, 16]), 300, 100)
    assert len(mixes) < 1000
    assert (mixes.counts[mixes.exact] > 0).sum(axis=1).max() == 1
    mixed = np.flatnonzero(~mixes.exact)
    covered = {
        chips for row in mixed for chips in range(mixes.least_chips[row], mixes.most_chips[row] + 1)
    }
    assert covered == set(range(2, 301))
    assert (mixes.counts[mixed] < EVERY).all()


def test_cuts_run_every_layer_once_on_as_many_stages_as_were_asked_for():
    dice = random.Random(7)
    graph, topology, workload = (
        random_graph(dice),
        random_topology(dice, "switch"),
        random_workload(dice),
    )
    candidates = Candidates(graph, topology, workload, _question(FIELDS, None, "any"))
    priced = Priced(candidates, next(iter(candidates.boxes())))
    layers = len(graph.layers)
    cuts = even_cuts(priced.prefix[0], 2, 0)
    assert (cuts[0][0], cuts[-1][1], len(cuts)) == (0, layers, 2)
    counts = np.zeros(len(candidates.splits), dtype=np.intp)
    counts[:2] = 1
    mixed = mixed_cuts(priced, counts, float(priced.prefix.max()), [1, 0])
    assert mixed is not None
    assert [option for _, _, option in mixed] == [1, 0]
    assert (mixed[0][0], mixed[0][1], mixed[1][1]) == (0, mixed[1][0], layers)
    assert mixed_cuts(priced, counts * layers, 1.0, [1, 0]) is None


def all_mixes(widths, low, high, layers):
    """Stages under each width of mixes of several on so many chips, every number tried."""
    ranges = [range(high // width + 1) for width in widths]
    return {
        counts
        for counts in itertools.product(*ranges)
        if low <= sum(a * b for a, b in zip(counts, widths, strict=True)) <= high
        if sum(counts) <= layers and sum(count > 0 for count in counts) > 1
    }


@pytest.mark.parametrize("widths", [(1, 2, 2), (1, 3, 4), (2, 4, 6), (5, 7)])
@pytest.mark.parametrize(("low", "high", "layers"), [(2, 9, 9), (6, 6, 3), (8, 12, 5), (1, 1, 4)])
def test_mixes_on_so_many_chips_are_all_there_are(widths, low, high, layers):
    every = all_mixes(widths, low, high, layers)
    found = mixes_on(np.array(widths), low, high, layers, most=1000)
    assert sorted(map(tuple, found.tolist())) == sorted(every)
    if every:
        assert mixes_on(np.array(widths), low, high, layers, most=len(every) - 1) is None


def test_exact_mixes_are_told_for_all_options_and_joined_in_order():
    used = np.array([True, False, True])
    some = exact_mixes(np.array([[2, 1], [0, 3]]), used, np.array([1, 2, 4]))
    assert some.counts.tolist() == [[2, 0, 1], [0, 0, 3]]
    assert some.least_chips.tolist() == some.most_chips.tolist() == [6, 12]
    assert some.option.tolist() == [-1, 2]
    both = joined([some.taken(np.array([1])), some])
    assert both.counts.tolist() == [[0, 0, 3], [2, 0, 1], [0, 0, 3]]
    assert both.option.tolist() == [2, -1, 2]
    assert both.most_chips.tolist() == [12, 6, 12]
    assert both.exact.all()


def test_with_few_mixes_asked_for_ranges_hold_all_mixes_of_several_options():
    widths = np.array([1, 2, 3])
    mixes = mixes_of(widths, 7, 5, most=0)
    for counts in all_mixes(widths.tolist(), 2, 7, 5):
        chips = int(np.array(counts) @ widths)
        holds = (mixes.least_chips <= chips) & (chips <= mixes.most_chips) & ~mixes.exact
        assert holds.any(), counts
        assert (mixes.counts[holds][:, np.array(counts) > 0] > 0).all(axis=1).any(), counts
