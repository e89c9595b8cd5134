"""No plan is better than the best spread of its mix, and spreads are all there are."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from planner.planning.fronts import _question
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.mixes import MixBounds, Priced, exact_mixes
from planner.space.spreads import cuts_of, spreads_of
from tests.instances import (
    random_graph,
    random_topology,
    random_workload,
    tiny_chip,
    tiny_graph,
    tiny_topology,
)
from tests.lanes import mostly_slow
from tests.oracle import all_plans, scored

FIELDS = ("tpot_s", "tokens_per_s", "usd_per_million_tokens", "ttft_s", "memory_headroom_bytes")


def asked(graph, topology, workload) -> Candidates:
    return Candidates(graph, topology, workload, _question(FIELDS, None, "any"))


def known_plans(candidates):
    """Plans of the oracle with their mixes' options and numbers of stages, and what they reach."""
    numbers = {(one.tensor, one.expert): number for number, one in enumerate(candidates.splits)}
    for plan in all_plans(candidates.graph, candidates.topology, candidates.workload):
        score = scored(plan, candidates.graph, candidates.topology, candidates.workload)
        degrees = [(stage.tensor_parallel, stage.expert_parallel) for stage in plan.stages]
        if score is not None and all(one in numbers for one in degrees):
            counts = Counter(numbers[one] for one in degrees)
            yield plan, [counts[number] for number in range(len(numbers))], score


@pytest.mark.parametrize("shape", mostly_slow(("switch", "chain", "ring", "mesh"), but=("chain",)))
def test_no_plan_is_better_than_every_spread_of_its_mix(shape):
    seen = case = 0
    while seen <= 60:
        dice, case = random.Random(f"spreads {shape} {case}"), case + 1
        topology, workload = random_topology(dice, shape), random_workload(dice)
        candidates = asked(random_graph(dice), topology, workload)
        names, widths = candidates.question.fields, candidates.widths[: len(candidates.splits)]
        known: dict[tuple[Box, tuple[int, ...]], np.ndarray] = {}
        for plan, counts, score in known_plans(candidates):
            values = [candidates.canonical(name, float(getattr(score, name))) for name in names]
            for box in candidates.boxes():
                if box.replicas != plan.replicas:
                    continue
                key = box, tuple(counts)
                if key not in known:
                    used = np.ones(len(widths), dtype=bool)
                    bounds = MixBounds(candidates, exact_mixes(np.array([counts]), used, widths))
                    known[key] = spreads_of(bounds, Priced(candidates, box), 0)[0]
                better = (known[key] <= np.array(values) * (1 + 1e-9)).all(axis=1)
                assert better.any(), (plan, values)
                seen += 1


def six_layers() -> tuple[MixBounds, Priced]:
    """Two stages on a chip and one on two, of six layers that differ from embedding and head."""
    topology = tiny_topology(4, chip=tiny_chip(4e9))
    candidates = asked(tiny_graph(6), topology, random_workload(random.Random(1)))
    counts = np.array([[2, 1, *[0] * (len(candidates.splits) - 2)]])
    used = np.ones(len(candidates.splits), dtype=bool)
    widths = candidates.widths[: len(candidates.splits)]
    bounds = MixBounds(candidates, exact_mixes(counts, used, widths))
    return bounds, Priced(candidates, next(iter(candidates.boxes())))


def test_spreads_are_all_ways_of_sharing_out_the_layers():
    bounds, priced = six_layers()
    assert priced.is_many.tolist() == [False, *[True] * 6, False]
    _, layers = spreads_of(bounds, priced, 0)
    # Embedding and head leave no more than two of the stages without a layer.
    assert sorted(map(tuple, layers.tolist())) == [(n, 6 - n) for n in range(7)]


def test_of_too_many_spreads_nothing_is_known():
    bounds, priced = six_layers()
    found, layers = spreads_of(bounds, priced, 0, most=6)
    assert (found.tolist(), len(layers)) == ([[0.0] * len(FIELDS)], 0)


def test_cuts_run_every_layer_once_with_stages_of_an_option_alike():
    _, priced = six_layers()
    options, stages = np.array([1, 0]), np.array([1, 2])
    cuts = cuts_of(priced, np.array([3, 3]), stages, options)
    assert cuts == ((0, 4, 1), (4, 6, 0), (6, 8, 0))
    assert cuts_of(priced, np.array([5, 1]), stages, options) is None
    assert all(before[1] == after[0] for before, after in itertools.pairwise(cuts))
