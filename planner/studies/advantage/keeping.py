"""What is kept of the plans of a grid: the pipelines that stand on the stairs of some loads.

Of the plans of one model on a thousand GPUs, hundreds of thousands, a stair has some dozens; the
grids of sixteen sizes fill gigabytes, what is left of them some megabytes. Stairs of these loads,
and what follows from them, are the same to the bit.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.studies.advantage.stairs import Load, Plans, Way, stair_of

Ints = NDArray[np.intp]


def kept_for(plans: Plans | None, loads: Sequence[Load] | None) -> Plans | None:
    """The same plans without pipelines that no stair of these loads stands on; None: any load may
    come, so that all are kept. Pools of prompts stay whole: each of their shapes is one plan."""
    if plans is None or loads is None:
        return plans
    stairs = [stair_of(plans, load) for load in loads]
    ways = []
    for number, way in enumerate(plans.ways):
        places = [stair.place[stair.ways == number] for stair in stairs]
        # The fastest plan says how fast a machine is, also where its metric is not known.
        places += [_fastest(way, load) for load in loads]
        ways.append(_with_plans_at(way, np.concatenate(places)))
    return replace(plans, ways=tuple(ways))


def _fastest(way: Way, load: Load) -> Ints:
    """Of the plans that have no more users than they may; nothing where there is none."""
    grid = way.grid
    may = grid.batch_size <= (load.most_users or math.inf)
    tpot_s = np.where(may, grid.tpot_s, math.inf).ravel()
    best = int(np.argmin(tpot_s))
    return np.array([best] if math.isfinite(tpot_s[best]) else [], dtype=np.intp)


def _with_plans_at(way: Way, places: Ints) -> Way:
    each = math.prod(way.grid.tpot_s.shape[1:])
    return replace(way, grid=way.grid.of_shapes(np.unique(places // each)))
