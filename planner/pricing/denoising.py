"""How the steps of a diffusion model add up in time: one step of the denoiser, and a whole batch
of samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.pricing.holdings import offloaded_counts_of, split_of
from planner.pricing.price_list import (
    CAUSES,
    OffloadedPrices,
    PriceList,
    Reach,
    Split,
    Step,
    host_s,
    reach_of,
    useful_work,
    utilisation,
)
from planner.pricing.schedule import Schedule

Floats = NDArray[np.float64]

COLLECTIVE, OVERHEAD = CAUSES.index("collective"), CAUSES.index("overhead")
NEXT_TO_NOTHING = 1e-9
"""Of a step's tokens."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a batch of samples waits, and for what."""

    step: Floats
    """One step by cause, shape (causes,)."""
    once: Floats
    """Text encoding and decoding of the whole batch likewise."""
    steps: int
    step_flop: float
    """On each chip."""
    step_moved_bytes: float
    """Between each chip and its memory."""
    once_moved_bytes: float = 0.0
    """The same while texts are encoded and samples decoded."""

    @property
    def step_s(self) -> float:
        return float(self.step.sum())

    @property
    def once_s(self) -> float:
        return float(self.once.sum())

    @property
    def image_s(self) -> float:
        """Until the batch is ready. [s]"""
        return self.once_s + self.steps * self.step_s


def sampling_of(prices: PriceList, plan: Plan, at: Schedule) -> Sampling:
    """The sampling of the slowest replica.

    A group of chips shares out the denoiser. Texts are encoded and samples decoded whole on every
    chip, as serving frameworks do; the empty prompt of guidance is encoded beforehand. The next
    batch starts when this one is ready.
    """
    stage = plan.stages[0]
    split = split_of(stage)
    reaches = {reach_of(prices.topology, split, group.first) for group in stage.groups}
    return max(
        (_sampled(prices, stage, at, reach) for reach in reaches),
        key=lambda sampling: sampling.image_s,
    )


def _sampled(prices: PriceList, stage: Stage, at: Schedule, reach: Reach) -> Sampling:
    graph = prices.graph
    split = split_of(stage)
    away = offloaded_counts_of(stage, graph)
    in_steps, once = graph.runs_of_kinds(None), graph.runs_of_kinds(1)
    step, whole = at.prefill, whole_samples(graph, at.sequences)
    parts: list[tuple[PriceList | OffloadedPrices, Floats]] = [(prices, prices.counts - away)]
    if stage.offloaded:
        parts.append((prices.offloaded, away))
    stepped, apart = np.zeros((2, len(CAUSES)))
    work = np.zeros(3)
    for listed, counts in parts:
        (one,) = listed.prices_of_steps(split, [step], reach)
        (other,) = listed.prices_of_steps(Split(), [whole], reach)
        stepped += one.seconds @ (counts * in_steps)
        apart += other.seconds @ (counts * once)
        stepped[OVERHEAD] += listed.latent_s(step) @ (counts * in_steps)
        apart[OVERHEAD] += listed.latent_s(whole) @ (counts * once)
        work += (
            one.flop @ (counts * in_steps),
            one.moved_bytes @ (counts * in_steps),
            other.moved_bytes @ (counts * once),
        )
    if prices.topology.software.launches_ahead:
        # Of a step of next to nothing what is left is the host's: launches of collectives here.
        empty = step._replace(tokens=step.tokens * NEXT_TO_NOTHING)
        launched_s = 0.0
        for listed, counts in parts:
            (none,) = listed.prices_of_steps(split, [empty], reach)
            launched_s += float(none.seconds[COLLECTIVE] @ (counts * in_steps))
        stepped = launched_ahead(stepped, launched_s)
    host = float(host_s(prices.topology.software, 0))
    stepped[OVERHEAD] += host
    if once.any():
        apart[OVERHEAD] += host
    return Sampling(
        step=stepped,
        once=apart,
        steps=graph.steps,
        step_flop=float(work[0]),
        step_moved_bytes=float(work[1]),
        once_moved_bytes=float(work[2]),
    )


def launched_ahead(step: Floats, collectives_s: float) -> Floats:
    """A step by cause, shape (causes,), of which the host launches everything ahead: the chip
    waits where that takes longer than its work. `collectives_s` of the step's collectives is what
    launching them takes. [s]"""
    host = step[OVERHEAD] + collectives_s
    ahead = step.copy()
    ahead[COLLECTIVE] -= collectives_s
    ahead[OVERHEAD] = 0.0
    ahead[OVERHEAD] = max(0.0, host - float(ahead.sum()))
    return ahead


def whole_samples(graph: ModelGraph, samples: int) -> Step:
    """The pass that encodes texts or decodes samples: each sample once, whatever the guidance."""
    return Step(
        samples * graph.tokens_per_sample, float(samples), graph.tokens_per_sample / 2, False
    )


def sample_active_chip_s(prices: PriceList, at: Schedule) -> float:
    """What the power of a replica's chips follows until a batch is ready, however the work is
    split. [s]"""
    step = prices.active_chip_s(at.prefill)
    once = prices.active_chip_s(whole_samples(prices.graph, at.sequences), runs_per_sample=1)
    return prices.graph.steps * step + once


def sample_utilisation(
    prices: PriceList, plan: Plan, at: Schedule, image_s: float
) -> dict[str, float]:
    """MFU and MBU until a batch is ready: what the samples need however they are split, over
    what the chips could do."""
    graph = prices.graph
    step = useful_work(graph, at.prefill, runs_per_sample=None)
    once = useful_work(graph, whole_samples(graph, at.sequences), runs_per_sample=1)
    flop = graph.steps * step[0] + once[0]
    moved = graph.steps * step[1] + once[1]
    return utilisation(prices, image_s * plan.chips / plan.replicas, (flop, moved))
