"""A plan at once: of those that engines make from degrees alone, the first few that fit, and the
best of them.

A search that was cut off before it had a plan gives one of these: nothing is proved of it, but
that there is one.
"""

import itertools
import math
from collections.abc import Iterator
from contextlib import suppress

from planner import allowance
from planner.errors import InputError, TimeUpError
from planner.plan import Plan
from planner.planning.best import Best
from planner.pricing.engines import deepest, engine_faults, in_flight
from planner.pricing.price_list import Split
from planner.space.candidates import Candidates
from planner.space.degrees import uniform_plan

MOST_TRIED = 24
"""Plans, at most."""
SPARE = 1.15
"""Memory for weights, caches and buffers, over that for weights alone, that a plan is thought to
need."""


def first_plan(candidates: Candidates) -> Best[Plan]:
    """The best of a few uniform plans, none where none of them keeps all limits; within the little
    time that there is beyond a limit."""
    best: Best[Plan] = Best()
    if candidates.opens_rate or candidates.exclude or candidates.graph.is_diffusion:
        return best
    with allowance.beyond(), suppress(TimeUpError):
        for plan in itertools.islice(_plans(candidates), MOST_TRIED):
            value = candidates.allowed_value(plan)
            if value < best.value:
                best = Best(plan, value)
    return best


def _plans(candidates: Candidates) -> Iterator[Plan]:
    """Uniform plans, the likeliest to fit first: the fewest stages that have room for the weights,
    on as many chips as share a fabric; then fewer tensor ranks in more stages; then more stages."""
    for deeper in (1, 2, 4):
        for split in _splits(candidates):
            stages = deeper * _stages(candidates, split)
            if split.chips * stages > candidates.topology.chips:
                continue
            if stages > deepest(candidates.graph, candidates.topology.software):
                continue
            yield from _with_replicas(candidates, split, stages)


def _splits(candidates: Candidates) -> Iterator[Split]:
    """Those of the candidates, the widest first that stay on one fabric."""
    levels = candidates.topology.levels
    inside = levels[0].span_chips if levels else 1
    yield from sorted(
        candidates.splits,
        key=lambda split: (split.chips > inside, -split.chips, split.expert > split.tensor),
    )


def _stages(candidates: Candidates, split: Split) -> int:
    """As many as the weights are thought to need."""
    held = SPARE * candidates.graph.weight_bytes
    return max(1, math.ceil(held / (split.chips * candidates.prices.usable_bytes)))


def _with_replicas(candidates: Candidates, split: Split, stages: int) -> Iterator[Plan]:
    """A plan with as many replicas as there is room for, and with one."""
    workload, software = candidates.workload, candidates.topology.software
    batch = workload.batch_size
    most = candidates.topology.chips // (split.chips * stages)
    if batch is not None:
        most = min(most, batch)
    for replicas in dict.fromkeys((most, 1)):
        sequences = replicas if batch is None else batch
        turns = in_flight(software.engine, stages, math.ceil(sequences / replicas))
        with suppress(InputError):
            plan = uniform_plan(
                candidates.graph,
                candidates.topology,
                tensor_parallel=split.tensor,
                pipeline_parallel=stages,
                expert_parallel=split.expert,
                data_parallel=replicas * split.attention,
                sequence_parallel=split.sequence,
                micro_batches=turns or 1,
                offloaded_layers=0,
            )
            if candidates.of_engine and any(engine_faults(plan, candidates.graph, software)):
                continue
            is_open = batch is None and workload.requests_per_s is None
            if is_open and workload.phase != "prefill":
                plan = plan.replace(batch_size=replicas)
            yield plan.replace(space="engine" if candidates.of_engine else "any")
