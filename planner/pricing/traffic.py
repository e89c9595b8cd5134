"""How many bytes a plan moves, by where: each memory of its chips, the host's, and each fabric.

Memory: what chips read and write in the passes of a cycle, as it is priced. Fabrics: what chips
take in at the least, whichever algorithm a collective runs by: of an all-reduce each tensor once
(in a ring it comes nearly twice, through switches that add up once), of a gather or an exchange all
but the chip's own share, level by level as in `collectives`. Messages of a draft model are left
out.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.machines.topology import Topology
from planner.plan import Stage
from planner.pricing.collectives import EXCHANGES, Copies, Numbers, Spans
from planner.pricing.denoising import Sampling, whole_samples
from planner.pricing.deployment import Deployment
from planner.pricing.holdings import (
    handovers_of,
    kind_counts_of,
    offloaded_counts_of,
    split_of,
)
from planner.pricing.price_list import PriceList, Reach, Split, Step, reach_of
from planner.pricing.schedule import Schedule
from planner.pricing.served import Served
from planner.pricing.timing import Timing, handed_on, hops_along, passes_of_cycle

Floats = NDArray[np.float64]


class Place(NamedTuple):
    """Where bytes are moved."""

    tier: str
    """A memory's name, or a fabric's."""
    kind: str
    """ "memory", "host" or "fabric"."""


class Moved(NamedTuple):
    """Bytes of all chips that a plan holds, for what one replica after the other does in a
    cycle, or for a batch of samples. [B]"""

    decode_bytes: float
    """In decode passes; of a diffusion model in the steps of its denoiser."""
    prefill_bytes: float
    """In passes of prompts; of a diffusion model in what runs once."""


class Volumes:
    """Stands where `Collectives` does, and says bytes: what a chip takes in over one fabric in a
    collective, at the least; or what it sends where an all-reduce is a reduce-scatter and an
    all-gather."""

    def __init__(self, levels: Sequence[int], *, in_two_halves: bool = False) -> None:
        self.levels = levels
        """Of the fabric: one, or those of a list of links."""
        self.reduced = 2.0 if in_two_halves else None
        """Of an all-reduce, in gathers of the same bytes; None: each tensor once."""

    def seconds(
        self, kind: str, spans: Spans, tensor_bytes: Numbers, copies: Copies | None = None
    ) -> Numbers:
        """Bytes, in place of seconds."""
        ranks = math.prod(spans[level] for level in self.levels)
        if ranks == 1:
            return 0.0 * tensor_bytes
        others = (ranks - 1) / ranks
        if kind == "all_to_all" or kind in EXCHANGES:
            times = 1.0 if copies is None else copies.of_levels[self.levels[0]]
            return times * others * tensor_bytes
        within = math.prod(spans[: self.levels[0]])
        share = others if kind in ("all_gather", "reduce_scatter") else 1.0
        if kind == "all_reduce" and self.reduced is not None:
            share = self.reduced * others
        return share * tensor_bytes / within


def fabric_levels(topology: Topology) -> list[tuple[str, tuple[int, ...]]]:
    """Each fabric with its levels: of a list of links several, else one."""
    listed = [number for number, level in enumerate(topology.levels) if level.wiring is not None]
    found = [(topology.levels[0].fabric.name, tuple(listed))] if listed else []
    return found + [
        (level.fabric.name, (number,))
        for number, level in enumerate(topology.levels)
        if level.wiring is None
    ]


def token_traffic(deployment: Deployment, at: Schedule, timing: Timing) -> dict[Place, Moved]:
    """What all replicas of a plan for a language model move in a cycle."""
    one, full, decodes = passes_of_cycle(at)
    steps = at.prefill, at.packed, at.decode
    often = np.array([[0.0, one], [0.0, full], [decodes, 0.0]])
    moved = np.stack(
        [timing.prefill.moved_bytes, timing.packed.moved_bytes, timing.decode.moved_bytes]
    )
    found: dict[Place, Floats] = {}
    layers = _Layers()
    plan = deployment.plan
    for number, (served, stage) in enumerate(zip(deployment.each, plan.stages, strict=True)):
        _add_memory(found, served.prices, stage, steps, moved[:, number], often)
        counts = kind_counts_of(stage, served.graph)
        layers.add(served.prices, split_of(stage), stage, counts)
    layers.add_fabrics(found, steps, often)
    tokens = np.array([step.tokens for step in steps])
    for fabric, handed in _handed_over(deployment).items():
        _add(found, Place(fabric, "fabric"), handed * tokens @ often)
    return {place: Moved(*(plan.replicas * total).tolist()) for place, total in found.items()}


def sample_traffic(deployment: Deployment, at: Schedule, sampling: Sampling) -> dict[Place, Moved]:
    """What all replicas of a plan for a diffusion model move for a batch of samples."""
    stage, prices = deployment.plan.stages[0], deployment.served.prices
    graph = prices.graph
    found: dict[Place, Floats] = {}
    parts = (
        (at.prefill, split_of(stage), None, sampling.step_moved_bytes, [float(graph.steps), 0.0]),
        (whole_samples(graph, at.sequences), Split(), 1, sampling.once_moved_bytes, [0.0, 1.0]),
    )
    for step, split, runs, moved, often in parts:
        which = graph.runs_of_kinds(runs)
        times = np.array([often])
        _add_memory(found, prices, stage, [step], np.array([moved]), times, split, which)
        layers = _Layers()
        layers.add(prices, split, stage, which * kind_counts_of(stage, graph))
        layers.add_fabrics(found, [step], times)
    replicas = deployment.plan.replicas
    return {place: Moved(*(replicas * total).tolist()) for place, total in found.items()}


def _add(found: dict[Place, Floats], place: Place, total: Floats) -> None:
    if total.any():
        found[place] = found.get(place, np.zeros(2)) + total


def _add_memory(
    found: dict[Place, Floats],
    prices: PriceList,
    stage: Stage,
    steps: Sequence[Step],
    moved_bytes: Floats,
    often: Floats,
    split: Split | None = None,
    which: Floats | None = None,
) -> None:
    """What the chips of a group move in steps of which each is run so often: of all that, shape
    (steps,), what lies in their second memory or their host's is counted there."""
    chips = stage.group_chips
    near = moved_bytes
    first = prices.topology.chip.memory[0].name
    if stage.offloaded:
        away = offloaded_counts_of(stage, prices.graph)
        away = away if which is None else which * away
        tier = prices.offloaded.tier
        far = prices.offloaded.far_bytes(split or split_of(stage), steps) @ away
        read = np.array([not prices.offloaded.computes(step) for step in steps])
        near = near - far * read
        own = len(prices.topology.chip.memory) > 1
        _add(found, Place(tier.name, "memory" if own else "host"), chips * far @ often)
        handovers = handovers_of(stage, prices.graph)
        handed = np.array([prices.offloaded.handed_bytes(step, handovers) for step in steps])
        _add(found, Place(f"link to {tier.name}", "fabric"), handed @ often)
    _add(found, Place(first, "memory"), chips * near @ often)


class _Layers:
    """How many layers of each kind stand on groups that are alike: what one of them takes in over
    fabrics is worked out once."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, Split, Reach], tuple[PriceList, Floats]] = {}

    def add(self, prices: PriceList, split: Split, stage: Stage, counts: Floats) -> None:
        """The layers of a stage, so many of each kind."""
        if split.chips == 1 and split.expert == 1:
            return
        reach = reach_of(prices.topology, split, stage.groups[0].first)
        key = id(prices), split, reach
        _, before = self._counts.get(key, (prices, 0.0 * counts))
        self._counts[key] = prices, before + counts

    def add_fabrics(self, found: dict[Place, Floats], steps: Sequence[Step], often: Floats) -> None:
        """What their chips take in over each fabric, in steps of which each is run so often."""
        for (_, split, reach), (prices, counts) in self._counts.items():
            spanned = [max(units) for units in zip(*reach, strict=True)]
            for name, levels in fabric_levels(prices.topology):
                if math.prod(spanned[level] for level in levels) == 1:
                    continue
                taken = prices.crossing_bytes(split, steps, reach, Volumes(levels))
                _add(found, Place(name, "fabric"), split.chips * (taken @ counts) @ often)


def _handed_over(deployment: Deployment) -> dict[str, float]:
    """Bytes for one token that stages hand on to the next, by the fabric that they cross; from
    pool to pool of a cluster by the links between them."""
    stages = deployment.plan.stages
    handed = handed_on(deployment.plan, deployment.served.graph).tolist()
    found: dict[str, float] = {}
    for fabric, each in zip(_onward(deployment.each, stages), handed, strict=False):
        if fabric is not None and each:
            found[fabric] = found.get(fabric, 0.0) + each
    return found


def _onward(each: Sequence[Served], stages: Sequence[Stage]) -> Iterator[str | None]:
    """What lies between each stage and the next; None where both have a chip in common."""
    placed = [(one, stage.groups[0]) for one, stage in zip(each, stages, strict=True)]
    for number, (_, pool) in enumerate(itertools.groupby(placed, lambda one: id(one[0]))):
        if number:
            yield "links between pools"
        served, groups = zip(*pool, strict=True)
        levels = served[0].topology.levels
        hops = hops_along(served[0].topology, groups)
        for (sender, receiver), (level, _) in zip(itertools.pairwise(groups), hops, strict=True):
            is_shared = sender.last == receiver.first or sender.first == receiver.last
            yield None if is_shared or level is None else levels[level].fabric.name
