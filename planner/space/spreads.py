"""What no plan of a mix can beat, however its layers are spread over its options: every number of
layers under each option by itself.

Sums and peaks are then told of one spread, where bounds of mixes tell each of the best one for it.
"""

import itertools
import math

import numpy as np

from planner import allowance
from planner.solver.chain.problem import Cuts, Floats, Ints
from planner.space.measures import Sum
from planner.space.mixes import MixBounds, Priced

MOST_SPREADS = 20_000
"""Of a mix that are told one by one."""


def spreads_of(
    bounds: MixBounds, priced: Priced, row: int, *, most: int = MOST_SPREADS
) -> tuple[Floats, Ints]:
    """Canonical lower bounds of every spread of an exact mix, shape (spreads, fields), infinite
    where it does not fit; and the layers of which there are many under each option in use, shape
    (spreads, used). Without spreads where they are too many; nothing is known then."""
    mixes = bounds.mixes
    allowance.look()
    used = np.flatnonzero(mixes.counts[row])
    stages = mixes.counts[row, used]
    layers = _every(_fewest(priced, stages), _most(bounds, priced, used, stages), priced, most)
    if layers is None:
        return np.zeros((1, len(priced.measures))), np.zeros((0, len(used)), np.intp)
    sums, peaks = bounds.totals(priced, np.array([row]))
    outer = priced.outer_sums(mixes.counts[[row]] > 0)
    told = layers @ priced.inner_sums[used] + outer
    told[:, Sum.CHIPS] = sums[0, Sum.CHIPS]
    # Some stage under an option has no fewer of its layers than the mean, and those are whole.
    largest = -(-layers // stages)[:, :, None] * priced.inner_loads[used]
    loads = (largest + priced.peaks_fixed[used]).max(axis=1)
    return bounds.of_totals(priced, np.maximum(told, sums), np.maximum(loads, peaks)), layers


def _fewest(priced: Priced, stages: Ints) -> Ints:
    """Layers of which there are many that so many stages have at least: no stage is empty, and the
    other layers leave no more than so many without one."""
    outer = priced.counts.sum() - priced.inner
    return np.maximum(stages - int(outer), 0)


def _most(bounds: MixBounds, priced: Priced, used: Ints, stages: Ints) -> Ints:
    """That they have room for."""
    each = np.floor(bounds.memory_room(priced)[used] * (1 + 1e-9))
    return np.minimum(stages * np.minimum(each, priced.inner), priced.inner).astype(np.intp)


def _every(fewest: Ints, most: Ints, priced: Priced, limit: int) -> Ints | None:
    """All numbers of layers under each option within those ranges that add up to all layers; None
    where they are too many."""
    inner = int(priced.inner)
    ranges = [
        range(max(low, inner - int(most.sum() - high)), high + 1)
        for low, high in zip(fewest.tolist(), most.tolist(), strict=True)
    ]
    if math.prod(len(one) for one in ranges[:-1]) > limit:
        return None
    first = np.zeros((1, 0), np.intp)
    for one in ranges[:-1]:
        more = np.array(one, np.intp)
        again = np.repeat(first, len(more), axis=0)
        first = np.concatenate([again, np.tile(more, len(first))[:, None]], axis=1)
    last = inner - first.sum(axis=1)
    inside = (last >= fewest[-1]) & (last <= most[-1])
    return np.asarray(np.concatenate([first, last[:, None]], axis=1)[inside])


def cuts_of(priced: Priced, layers: Ints, stages: Ints, options: Ints) -> Cuts | None:
    """A pipeline with so many layers of which there are many under each option, stages of one
    option as alike as can be; options come in the order given, other layers where they stand. None
    where a stage would be left without a layer."""
    sizes = [
        (whole + (number < more), option)
        for option, (whole, more), count in zip(
            options.tolist(),
            (
                divmod(one, count)
                for one, count in zip(layers.tolist(), stages.tolist(), strict=True)
            ),
            stages.tolist(),
            strict=True,
        )
        for number in range(count)
    ]
    places = np.flatnonzero(priced.is_many)
    taken = np.cumsum([size for size, _ in sizes])
    if min(size for size, _ in sizes) < 1 or taken[-1] != len(places):
        return None
    ends = [*(places[taken[:-1] - 1] + 1).tolist(), len(priced.is_many)]
    cuts = itertools.pairwise([0, *ends])
    return tuple((low, high, sizes[number][1]) for number, (low, high) in enumerate(cuts))
