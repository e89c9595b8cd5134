"""Batches cut into any number of micro-batches between two: what their steps take at least.

Of as many sequences cut into more micro-batches each pass takes less, and so do prompts that share
one with others or are met in it, so those figures are the ones of the most. What a turn of all
micro-batches takes only grows with their number, since a pass takes the less for each sequence the
more it has: it is the one of the fewest, in fractions of sequences. And the fewer start in a round
of a micro-batch, the more prompts get a pass of their own, and the more are waited for by ranks
that have none: those are the ones of the fewest, too.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.pricing.price_list import Split
from planner.pricing.timing import Hop
from planner.space.moments import Batch, Meter, Moments

Floats = NDArray[np.float64]


def moments_between(
    meter: Meter,
    split: Split,
    fewest: Batch,
    most: Batch,
    *,
    hops: Collection[Hop],
    handed: Floats,
) -> Moments:
    """As of the most micro-batches, with as many of them (not a whole number) as make a turn no
    longer than any number does; `hops` are the links that a form may have, `handed` what a stage
    may hand on for each token.

    Of one number of micro-batches it is exact.
    """
    quick = meter.moments(split, most)
    if (fewest.micro_batches == most.micro_batches).all():
        return quick
    busy = meter.moments(split, fewest)
    sizes = fewest.sequences / fewest.micro_batches
    shared = meter.moments(split, fewest._replace(micro_sequences=sizes), relaxed=True)

    # How many times as long a pass of the fewest takes, of the piece of which that is least.
    longer = [_over(shared.decode, quick.decode).min(axis=0), _over(shared.host_s, quick.host_s)]
    longer += [_links_longer(meter, hop, handed, shared, quick) for hop in hops]
    times = np.min(longer, axis=0)
    turns = fewest.micro_batches * np.where(np.isfinite(times), np.maximum(1.0, times), 1.0)
    return replace(
        quick,
        batch=most._replace(micro_batches=turns),
        lost=busy.lost,
        joined=busy.joined,
        is_range=True,
    )


def _over(some: Floats, others: Floats) -> Floats:
    infinite = np.full(np.shape(some), np.inf)
    return np.asarray(np.divide(some, others, out=infinite, where=others > 0))


def _links_longer(
    meter: Meter, hop: Hop, handed: Floats, shared: Moments, quick: Moments
) -> Floats:
    """The same of a link; infinite where a single layer takes longer than it at everything, so
    that it never is what a turn waits for."""
    least = np.full(np.shape(quick.host_s), np.inf)
    for sent in np.unique(handed).tolist():
        tokens = quick.decode_tokens, quick.prefill_tokens, quick.packed_tokens
        each = [meter.link_s(hop, sent, one) for one in tokens]
        added = np.asarray(quick.at.added(each[1], each[2]))
        heavier = (quick.decode >= each[0]) & (quick.prefill >= each[1]) & (quick.more >= added)
        longer = _over(meter.link_s(hop, sent, shared.decode_tokens), each[0])
        least = np.minimum(least, np.where(heavier.any(axis=0), np.inf, longer))
    return least
