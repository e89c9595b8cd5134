"""The columns of the solver's arrays, and how a request's time is measured by them.

A box of plans has two ends, so what differs between them has a column for each: `Sum.DECODE_LOW`
and `Sum.DECODE_HIGH`. `Sum.DECODE.at(end)` names the one of an end.
"""

from enum import IntEnum
from functools import partial
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from planner.cost.queueing import queue_s
from planner.pricing.schedule import Schedule
from planner.solver.chain.problem import Curve, Larger, Measure, Way

Floats = NDArray[np.float64]


class Column(IntEnum):
    """A column of an array, by name."""

    def at(self, end: int) -> Self:
        """Of a pair, the column of the low (0) or the high (1) end of a box."""
        pair = self.name.removesuffix("_LOW")
        return type(self)[f"{pair}_HIGH" if end else f"{pair}_LOW"]


class Sum(Column):
    """What is added up over the stages of a plan and the links between them."""

    DECODE_LOW = DECODE = 0
    """A decode pass through all stages. [s]"""
    DECODE_HIGH = 1
    PREFILL_LOW = PREFILL = 2
    """A pass of a prompt through all stages, with what a request waits for just once. [s]"""
    PREFILL_HIGH = 3
    CHIPS = 4
    """That a replica holds."""
    FILL = 5
    """Chips that a replica holds, of each the share that is filled."""
    TRAIL = 6
    """A decode pass through all stages, of which some meet others' prompts and trail them; of the
    low end. [s]"""
    HELD_UP = 7
    """Of that, the passes that meet a prompt. [s]"""


class Peak(Column):
    """What is largest over the stages of a plan and the links between them."""

    TURN_LOW = TURN = 0
    """A stage's work for one token of all sequences, others' prompts included. [s]"""
    TURN_HIGH = 1
    ROUND_LOW = ROUND = 2
    """The same without others' prompts. [s]"""
    ROUND_HIGH = 3
    CHUNK_LOW = CHUNK = 4
    """A pass of a prompt through one stage. [s]"""
    CHUNK_HIGH = 5
    OTHERS_LOW = OTHERS = 6
    """Others' prompts in a cycle. [s]"""
    OTHERS_HIGH = 7
    NEEDED = 8
    """Memory of a chip. [B]"""
    QUEUE = 9
    """The work of one prompt, for which others queue where requests come at a rate. [s]"""
    QUIET_LOW = QUIET = 10
    """A stage's work for one token of all sequences, in rounds that meet no prompt. [s]"""
    QUIET_HIGH = 11
    BEHIND = 12
    """What comes behind the first chunk of others' prompts that a round meets; of the low end.
    [s]"""


class Resource(Column):
    """What a layer uses."""

    DECODE_LOW = DECODE = 0
    """A decode pass. [s]"""
    DECODE_HIGH = 1
    PREFILL_LOW = PREFILL = 2
    """A pass of a prompt. [s]"""
    PREFILL_HIGH = 3
    HELD = 4
    """Weights and caches on each chip. [B]"""
    ONCE = 5
    """What a request waits for just once. [s]"""
    SLOWER = 6
    """A decode pass or a pass of a prompt, whichever takes longer; of the low end. [s]"""
    QUICKER = 7
    """The same, whichever is shorter. [s]"""
    MORE_LOW = MORE = 8
    """What a prompt adds to a pass that takes others too. [s]"""
    MORE_HIGH = 9
    LATENT = 10
    """What a decode pass waits while the chips are free for others. [s]"""
    PROMPT_LATENT = 11
    """The same of a pass of a prompt. [s]"""


class ClusterSum(Column):
    """Sums that clusters count, behind those of `Sum`: each pool has its own prices and peaks."""

    DOLLARS = len(Sum)
    """What the chips held cost. [USD/h]"""
    WATTS = len(Sum) + 1
    """What the chips held draw idle. [W]"""
    FLOPS = len(Sum) + 2
    """What the chips held could compute. [FLOP/s]"""
    BANDWIDTH = len(Sum) + 3
    """What the chips held could read. [B/s]"""
    ACTIVE = len(Sum) + 4
    """Of what is active, above idle. [J]"""
    MOVED = len(Sum) + 5
    """Weights that chips must be sent. [B]"""


class ClusterResource(Column):
    """What a layer uses that clusters count, behind those of `Resource`."""

    ACTIVE = len(Resource)
    """Above idle. [J]"""


SUMS = len(Sum)
PEAKS = len(Peak)
RESOURCES = len(Resource)
CLUSTER_SUMS = SUMS + len(ClusterSum)
CLUSTER_RESOURCES = RESOURCES + len(ClusterResource)


def measure_of(
    *,
    sums: dict[Sum, float] | None = None,
    peaks: dict[Peak, float] | None = None,
    larger: tuple[Larger, ...] = (),
    curves: tuple[Curve, ...] = (),
    held: Sum | None = None,
    scale: float = 1.0,
) -> Measure:
    """A measure of the columns that are named."""
    weights = np.zeros(SUMS)
    for total, weight in (sums or {}).items():
        weights[total] = weight
    heights = np.zeros(PEAKS)
    for peak, weight in (peaks or {}).items():
        heights[peak] = weight
    return Measure(weights, heights, larger, curves, held, scale)


class Clock(NamedTuple):
    """Which sums and peaks tell the time under a schedule: those of one end of a box, turns
    maybe of the other."""

    at: Schedule
    end: int
    turn: int
    requests_per_s: float
    """That come to a replica; 0 where the batch is given."""
    waiting_share: float | None = None
    """Rounds that a first token waits for at least, in all of a box: alone it is handed out at
    once, so that these grow with the batch. None: as under the schedule."""

    def turns(self, weight: float) -> Larger:
        """So many rounds of decode passes, others' prompts included.

        A round ends when the last stage is done with the first micro-batch, or the slowest stage
        with all of them and the prompts of others, or whoever trails those prompts: see
        `pricing.trailing.Trail`. Trails are told at the low end alone, for that is where they are
        shortest whatever else shrinks with the batch.
        """
        decode = Sum.DECODE.at(self.end)
        turn = Peak.TURN.at(self.turn)
        met = self.at.later_tokens and self.at.others_prefills(1) > 0
        if not met:
            return Larger(decode, turn, weight)
        trail = Way(Sum.TRAIL, (Peak.BEHIND,))
        held_up = Way(Sum.HELD_UP, (Peak.BEHIND, Peak.QUIET.at(self.turn)))
        own = decode if self.end else Sum.TRAIL  # at one end the trail is never shorter
        return Larger(own, turn, weight, (trail, held_up))

    def time(
        self,
        rounds: float,
        *,
        others: float = 0.0,
        queued: bool = True,
        waited: float = 0.0,
        held: Sum | None = None,
        scale: float = 1.0,
    ) -> Measure:
        """To the first token, and so many rounds of decode passes, with the wait for the prompts
        before it or without; and before all that so many cycles in which others end.

        Passes in fractions stand for any number up to theirs: of those only the slowest stage's
        work is certain.
        """
        at = self.at
        # The first pass of a prompt runs through all stages; each later one comes behind it, and
        # adds what the slowest stage takes.
        whole = at.pool_prompts > 1 or at.prefill_passes == int(at.prefill_passes)
        once = 1.0 if whole else 0.0
        often = 1.0 + waited
        passes = {
            Peak.CHUNK.at(self.end): often * max(0.0, at.prefill_passes - once),
            Peak.OTHERS.at(self.end): others + often * at.burst_share + waited * at.late_share,
        }
        # A round ends when the last stage is done with the first micro-batch, or the slowest stage
        # with all of them: whichever is later.
        decode = Sum.DECODE.at(self.end)
        rounds_waited = at.waiting_share if self.waiting_share is None else self.waiting_share
        round_ = Larger(decode, Peak.ROUND.at(self.turn), often * rounds_waited)
        turns = self.turns(float(rounds + waited * at.rounds))
        curves: tuple[Curve, ...] = ()
        if queued and self.requests_per_s > 0:
            behind = partial(queue_s, requests_per_s=self.requests_per_s)
            curves = (Curve(Peak.QUEUE, behind),)
        return measure_of(
            sums={Sum.PREFILL.at(self.end): often * once},
            peaks=passes,
            larger=(round_, turns),
            curves=curves,
            held=held,
            scale=scale,
        )

    def cycle(self, *, held: Sum | None = None, scale: float = 1.0) -> Measure:
        """In which a replica serves as many requests as it has in flight; of a prefill pool one
        prompt."""
        if self.at.workload.phase == "prefill":
            return measure_of(peaks={Peak.QUEUE: 1.0}, held=held, scale=scale)
        return self.time(
            self.at.rounds, others=self.at.late_share, queued=False, held=held, scale=scale
        )
