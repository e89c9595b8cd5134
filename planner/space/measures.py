"""The columns of the solver's arrays, and how a field of `Score` is measured by them."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.cost.queueing import queue_s
from planner.pricing.schedule import Schedule
from planner.solver.chain.problem import Curve, Larger, Measure

Floats = NDArray[np.float64]


# Sums, in pairs for the low and the high end of a box; then what is held.
DECODE, PREFILL, CHIPS, FILL = 0, 2, 4, 5


SUMS = 6


# Peaks, likewise: a stage's turn for one token of all sequences, with and without others' prompts;
# a prefill pass; others' prompts in a cycle; then memory, and the work of a prompt where requests
# come at a rate.
TURN, ROUND, CHUNK, OTHERS, NEEDED, QUEUE = 0, 2, 4, 6, 8, 9


PEAKS = 10


# Resources of a layer, likewise; then the bytes that it holds, and what a request waits for just
# once.
RESOURCES = 6


HELD, ONCE = 4, 5


def measure_of(
    *,
    sums: dict[int, float] | None = None,
    peaks: dict[int, float] | None = None,
    larger: tuple[Larger, ...] = (),
    curves: tuple[Curve, ...] = (),
    held: int | None = None,
    scale: float = 1.0,
) -> Measure:
    weights, heights = np.zeros(SUMS), np.zeros(PEAKS)
    for number, weight in (sums or {}).items():
        weights[number] = weight
    for number, weight in (peaks or {}).items():
        heights[number] = weight
    return Measure(weights, heights, larger, curves, held, scale)


class Clock(NamedTuple):
    """Which sums and peaks tell the time under a schedule: those of one end of a box, turns
    maybe of the other."""

    at: Schedule
    end: int
    turn: int
    requests_per_s: float
    """That come to a replica; 0 where the batch is given."""

    def time(
        self,
        rounds: float,
        *,
        others: float = 0.0,
        queued: bool = True,
        held: int | None = None,
        scale: float = 1.0,
    ) -> Measure:
        """To the first token, and so many rounds of decode passes, with the wait for the prompts
        before it or without.

        Passes in fractions stand for any number up to theirs: of those only the slowest stage's
        work is certain.
        """
        at, decode, queue = self.at, DECODE + self.end, queued and self.requests_per_s > 0
        once = 1.0 if at.prefill_passes == int(at.prefill_passes) else 0.0
        return measure_of(
            sums={PREFILL + self.end: once},
            peaks={
                CHUNK + self.end: max(0.0, at.prefill_passes - once),
                OTHERS + self.end: others + at.burst_share,
            },
            larger=(
                Larger(decode, ROUND + self.turn, at.waiting_share),
                Larger(decode, TURN + self.turn, float(rounds)),
            ),
            curves=(Curve(QUEUE, partial(queue_s, requests_per_s=self.requests_per_s)),)
            if queue
            else (),
            held=held,
            scale=scale,
        )

    def cycle(self, *, held: int | None = None, scale: float = 1.0) -> Measure:
        """In which a replica serves as many requests as it has in flight; of a prefill pool one
        prompt."""
        if self.at.workload.phase == "prefill":
            return measure_of(peaks={QUEUE: 1.0}, held=held, scale=scale)
        others = 0.0 if self.at.later_tokens else 1.0
        return self.time(self.at.rounds, others=others, queued=False, held=held, scale=scale)
