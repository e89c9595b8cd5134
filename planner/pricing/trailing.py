"""Decode passes behind prompts: what a round takes where a micro-batch trails a prompt of others
through the pipeline.

A stage works on one thing at a time and stops for nothing, so a micro-batch that catches up with a
prompt stays behind it to the last stage: idle time takes in no prompt that is longer than it is.
The rounds that meet a prompt take as long as that needs to go through, all others as long as they
would alone. An event simulation in the tests agrees within a tenth.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from planner.cost import pipeline
from planner.pricing.collectives import Numbers
from planner.pricing.schedule import Schedule


class Trail(NamedTuple):
    """What a round of decode passes takes where those that meet a prompt of others trail it
    through the pipeline; figures, or arrays of plans."""

    met_share: Numbers
    """Of the rounds, those that meet one; the largest of all stages."""
    passing_s: Numbers
    """All stages and links one after the other, in the rounds that meet none."""
    quiet_s: Numbers
    """The turn of all micro-batches at the slowest stage, in the same rounds."""
    held_up_s: Numbers
    """In the others: each layer, and each link, for the token or for the first chunk of the
    prompt, whichever takes longer, one after the other."""
    behind_s: Numbers
    """In the others, at the stage that adds most: chunks behind the first one, and the pass that
    comes behind a prompt of its own micro-batch, or the chunk, whichever is shorter."""

    @property
    def round_s(self) -> Numbers:
        """Of decode passes, on average; nothing where no prompt is met."""
        round_s = pipeline.cycle_s(self.passing_s, self.quiet_s) + self.held_up_s + self.behind_s
        return np.where(np.asarray(self.met_share) > 0, round_s, 0.0)


def met_share(at: Schedule, others: Numbers) -> Numbers:
    """Share of the rounds of decode passes in which a prompt is under way, of so many others that
    start at any time while a request decodes. [1]"""
    if not at.later_tokens:
        return 0.0 * others
    return -np.expm1(-at.software.interruption_share * others / at.rounds)


def fresh_share(at: Schedule, others: Numbers, micro_batches: Numbers) -> Numbers:
    """Of the prompts of so many others, those that a pass of their own would be launched for; the
    rest join one that runs anyway. [1]

    In a round of a micro-batch y of them start on average, and it meets one in 1 - exp(-y) of the
    rounds; passes are no fewer than their tokens fill.
    """
    if at.packs == 1 or not at.later_tokens:
        return 1.0 + 0.0 * others
    started = at.software.interruption_share * others / at.rounds / micro_batches
    each = np.maximum(started, 1e-12)
    return np.maximum(1.0 / at.packs, -np.expm1(-each) / each)


def synchronised(
    at: Schedule, others: Numbers, attention_parallel: Numbers, micro_batches: Numbers
) -> Numbers:
    """Of so many prompts of others on each of the ranks that share out the sequences, how many
    hold up a request: ranks meet at the experts of every layer, so that a pass waits for the one
    with the most prompts. [1]

    In a pass y of them start on a rank on average, by chance. Of r ranks the one with the most has
    about y + c·√y, with c the largest of r normal deviates (G. Blom 1958); no more than all ranks
    together, r·y, and no fewer than one where any has one, 1 - exp(-r·y). Within a fifth of the
    exact sum for up to 16 ranks. Where a scheduler holds prompts back until each rank has one, they
    run side by side, and each holds up a request no more than its own rank's do.
    """
    alone = np.all(np.equal(attention_parallel, 1)) or at.software.balances_prompts
    if alone or not at.later_tokens:
        return others
    largest = _largest_of(attention_parallel)
    started = at.software.interruption_share * others / at.rounds / micro_batches
    each = np.maximum(started, 1e-12)
    most = each + np.minimum((attention_parallel - 1.0) * each, largest * np.sqrt(each))
    held_up = np.maximum(most, -np.expm1(-attention_parallel * each)) / each
    return np.asarray(others * held_up)


def _largest_of(deviates: Numbers) -> Numbers:
    """Of so many normal deviates, the largest, about."""
    each, places = np.unique(deviates, return_inverse=True)
    largest = [NormalDist().inv_cdf((many - 0.375) / (many + 0.25)) for many in each.tolist()]
    return np.asarray(np.array(largest)[places].reshape(np.shape(deviates)))


def first_share(at: Schedule, others: Numbers) -> Numbers:
    """The same of prompts that stand in a queue together: they fill passes. [1]"""
    return np.clip(1.0 / np.maximum(others, 1e-12), 1.0 / at.packs, 1.0)


def chunks_behind(at: Schedule, others: Numbers, micro_batches: Numbers) -> tuple[Numbers, Numbers]:
    """Chunks of others' prompts behind the first one that a round meets, on average over all
    rounds: the rest of that prompt, and of the prompts beyond one those that start with it, as the
    ones of one micro-batch do; of these a pass takes several. [1]"""
    if not at.later_tokens:
        return 0.0 * others, 0.0 * others
    met = met_share(at, others)
    each = at.software.interruption_share * others / at.rounds
    rest = met * (at.prefill_passes - 1.0)
    return rest, at.prefill_passes * (each - met) / micro_batches


def behind_s(
    at: Schedule,
    others: Numbers,
    micro_batches: Numbers,
    *,
    chunk_s: Numbers,
    more_s: Numbers,
    quicker_s: Numbers,
) -> Numbers:
    """What a stage adds to a round behind the first chunk that it meets, on average over all
    rounds; `more_s` is what a prompt adds to a pass of others, `quicker_s` a pass or a chunk,
    whichever is shorter. [s]"""
    own = met_share(at, others / micro_batches)
    rest, beyond = chunks_behind(at, others, micro_batches)
    return rest * chunk_s + beyond * more_s + own * quicker_s
