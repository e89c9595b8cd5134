"""Families leave out no plan that keeps the limits and is better than the goal."""

import math
import random

import pytest

from planner.answers.question import Question
from planner.planning.engine_search import FreeSearch
from planner.planning.search import Search
from planner.space.candidates import Candidates
from planner.space.families import FEW_MIXES, whole_family
from tests.instances import LISTED, random_graph, random_topology, random_workload
from tests.lanes import EVERYTHING, mostly_slow, paired, some

OBJECTIVES = ("usd_per_million_tokens", "tokens_per_s", "tpot_s", "mfu_fraction")


def asked(dice: random.Random, shape: str, *, is_open: bool) -> Candidates:
    """A random question whose limits some plans keep and others break."""
    graph, topology = random_graph(dice), random_topology(dice, shape)
    workload = random_workload(dice)
    if is_open:
        workload = workload.replace(batch_size=None, requests_per_s=None, queued=0)
    objective = dice.choice(OBJECTIVES)
    free = Search(Candidates(graph, topology, workload, Question(objective, ())))
    free.run()
    limits: list[tuple[str, float]] = []
    if free.best.plan is not None:
        score = free.candidates.score(free.best.plan)
        for name in ("ttft_s", "tpot_s"):
            if name != objective and getattr(score, name) is not None:
                limits.append((name, getattr(score, name) * dice.choice((0.5, 0.8, 0.95, 1.5))))
    return Candidates(graph, topology, workload, Question(objective, tuple(limits)))


WAYS = paired(LISTED, [(is_open, few) for few in (0, FEW_MIXES) for is_open in (False, True)])
"""A shape of fabric, whether the batch is open, and how many mixes are bounded one by one."""


@pytest.mark.parametrize("asked_for", mostly_slow(WAYS, but=(WAYS[0],)), ids=str)
def test_boxes_bounded_by_mixes_hold_the_best_plan_of_boxes_bounded_by_problems(asked_for):
    shape, (is_open, few) = asked_for
    for case in (3, 0, 1)[: some(1, 3)]:
        candidates = asked(random.Random(f"families {shape} {case}"), shape, is_open=is_open)
        plain, mixed = Search(candidates), FreeSearch(candidates, few_mixes=few)
        plain.run()
        mixed.run()
        assert mixed.best.value == pytest.approx(plain.best.value, rel=1e-9)
        assert mixed.bound <= plain.best.value * (1 + 1e-9)
        assert mixed.stopped_by == plain.stopped_by == "proof"
        if mixed.best.plan is not None:
            assert candidates.allowed_value(mixed.best.plan) == pytest.approx(mixed.best.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "drawn_by", [*LISTED, "switch 4"] if EVERYTHING else ["switch 4", "ring", "torus", "dragonfly"]
)
def test_the_best_plan_of_a_box_is_no_better_than_its_family_at_any_depth(drawn_by):
    candidates = asked(random.Random(f"bounds {drawn_by}"), drawn_by.split()[0], is_open=True)
    plain = Search(candidates)
    plain.run()
    if plain.best.plan is None:
        return
    todo = [(box, whole_family(candidates, box, 0)) for box in candidates.boxes()]
    least = math.inf
    while todo:
        box, family = todo.pop()
        family = family.narrowed(box, math.inf)
        if not len(family.mixes):
            continue
        told = family.one_by_one().narrowed(box, math.inf, closely=True)
        if box.single:
            least = min(least, told.bound)
        else:
            todo += [(half, family) for half in box.halves()]
    assert least <= plain.best.value * (1 + 1e-9)
