"""Stairs are the same of what is kept of the plans as of all of them."""

import math

import numpy as np
import pytest

import planner as pl
from planner.errors import InputError
from planner.machines.prices import Price
from planner.space.uniform import plan_grid
from planner.studies.advantage.keeping import kept_for
from planner.studies.advantage.maps import map_grids
from planner.studies.advantage.stairs import Load, Plans, Way, shapes_on, stair_of
from planner.workload import Speculation
from tests.instances import FOLLOWING, fabric, tiny_moe, tiny_topology

WORK = pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)
JOULES = "energy_per_token_j"
LOADS = (Load(JOULES), Load(JOULES, 1), Load("chips"), Load(JOULES, None, 50.0))


def plans(**topology) -> Plans:
    graph = tiny_moe(3)
    machine = tiny_topology(8, fabric("switch", 4), fabric("chain", 2), **topology)
    ngram = Speculation(draft=None, tokens=2, kind="ngram")
    works = {"none": WORK, "ngram": WORK.replace(speculation=ngram)}
    asked = {"micro_sequences": [1, 3, 8], "space": "any"}
    ways = [Way(name, plan_grid(graph, machine, one, **asked)) for name, one in works.items()]
    return Plans(graph, tuple(ways))


@pytest.mark.parametrize("load", LOADS)
def test_stairs_of_what_is_kept_are_those_of_all(load):
    every = plans(power=FOLLOWING)
    kept = kept_for(every, LOADS)
    before, after = stair_of(every, load), stair_of(kept, load)
    for name in ("speeds", "values", "chips", "users", "ways"):
        assert getattr(before, name).tolist() == getattr(after, name).tolist(), name
    assert before.fastest == after.fastest
    speed = 0.5 * before.fastest
    assert shapes_on(every, before, load, speed) == shapes_on(kept, after, load, speed)


def test_what_no_stair_stands_on_is_not_kept():
    every = plans(power=FOLLOWING)
    one = kept_for(every, LOADS[:1])
    for way, whole in zip(one.ways, every.ways, strict=True):
        assert set(way.grid.shapes) < set(whole.grid.shapes)
        assert way.grid.tpot_s.shape == (len(way.grid.shapes), *whole.grid.tpot_s.shape[1:])
        for number, shape in enumerate(way.grid.shapes):
            place = whole.grid.shapes.index(shape)
            assert np.array_equal(way.grid.tpot_s[number], whole.grid.tpot_s[place])
            assert way.grid.chips[number] == whole.grid.chips[place]


def test_the_fastest_is_kept_also_where_nobody_knows_its_price():
    every = plans(price=Price())
    load = Load("usd_per_million_tokens", 1)
    kept = kept_for(every, (load,))
    assert stair_of(kept, load).fastest == stair_of(every, load).fastest > 0
    assert not len(stair_of(kept, load).speeds)


def test_all_are_kept_for_any_load_and_none_of_none():
    every = plans()
    assert kept_for(every, None) is every
    assert kept_for(None, LOADS) is None


@pytest.mark.slow
def test_a_load_that_was_not_named_is_refused():
    grids = map_grids(
        ("cerebras-cs3",), sizes=(8e9,), models=(), loads=(Load(JOULES), Load(JOULES, 1))
    )
    assert math.isfinite(grids.map(speeds=(10.0,), draws=1, most_users=1).rows[0].values[0])
    with pytest.raises(InputError, match="loads: "):
        grids.map(speeds=(10.0,), draws=1, most_users=2)
