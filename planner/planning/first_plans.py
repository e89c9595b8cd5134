"""A plan at once: of those that engines make from degrees alone, the first few that fit, and the
best of them.

A search that was cut off before it had a plan gives one of these: nothing is proved of it, but
that there is one.
"""

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from planner import allowance
from planner.errors import InputError, TimeUpError
from planner.plan import ChipRange, Plan
from planner.planning.best import Best
from planner.planning.floors import may_stand
from planner.pricing.engines import deepest, engine_faults, in_flight
from planner.pricing.price_list import Split
from planner.space.candidates import Candidates
from planner.space.degrees import uniform_plan

MOST_TRIED = 24
"""Plans, at most."""
SPARE = 1.15
"""Memory for weights, caches and buffers, over that for weights alone, that a plan is thought to
need."""
NARROWER = 0.8
"""Of the width of a split: others between it and that much of it are too like it to be tried."""
HALF_AS_WIDE = 0.6
"""The same of a search among few splits."""
SOON_S, SOON_SHARE = 0.2, 0.1
"""What a first plan may take of the time there is: seconds, and a share."""


def first_plan(candidates: Candidates) -> Best[Plan]:
    """The best of a few uniform plans, none where none of them keeps all limits; within the little
    time that there is beyond a limit."""
    best: Best[Plan] = Best()
    with allowance.beyond():
        _try(candidates, best)
    return best


def soon(candidates: Candidates) -> Best[Plan]:
    """The same in a part of the time that is left; none where there is no limit to it, since a
    search will end with a better one."""
    best: Best[Plan] = Best()
    with allowance.in_part(SOON_S, SOON_SHARE) as is_limited:
        if is_limited:
            _try(candidates, best)
    return best


def few_splits(candidates: Candidates) -> Candidates:
    """The same plans under a few splits that are unlike, among which a fair plan is soon found."""
    usable = [split for split in candidates.splits if may_stand(candidates, split)]
    chosen: set[Split] = set()
    for of_experts in (False, True):
        alike = [split for split in usable if (split.expert > split.tensor) == of_experts]
        chosen |= set(_unlike(candidates, alike, HALF_AS_WIDE))
    few = copy.copy(candidates)
    few.offer(tuple(split for split in usable if split in chosen))
    return few


def _try(candidates: Candidates, best: Best[Plan]) -> None:
    """Let the best of the first few plans be known, as far as time goes."""
    if candidates.opens_rate or candidates.graph.is_diffusion:
        return
    with suppress(TimeUpError):
        for plan in itertools.islice(_plans(candidates), MOST_TRIED):
            value = candidates.allowed_value(plan)
            if value < best.value:
                best.plan, best.value = plan, value


def _plans(candidates: Candidates) -> Iterator[Plan]:
    """Of the likely splits."""
    for split, stages in likely(candidates):
        yield from _with_replicas(candidates, split, stages)


def likely(candidates: Candidates) -> Iterator[tuple[Split, int]]:
    """Splits and stages, the likeliest to fit first: the fewest stages that have room for the
    weights, on as many chips as share a fabric; then fewer chips in more stages; then more
    stages."""
    splits = list(_unlike(candidates, candidates.splits, NARROWER))
    for deeper in (1, 2, 4):
        for split in splits:
            stages = deeper * _stages(candidates, split)
            if split.chips * stages > candidates.topology.chips:
                continue
            if stages <= deepest(candidates.graph, candidates.topology.software):
                yield split, stages


def _unlike(candidates: Candidates, splits: Sequence[Split], narrower: float) -> Iterator[Split]:
    """Of some splits those that are not much alike, the widest first that stay on one fabric."""
    levels = candidates.topology.levels
    inside = levels[0].span_chips if levels else 1
    ranked = sorted(
        splits,
        key=lambda split: (split.chips > inside, -split.chips, split.expert > split.tensor),
    )
    widest = math.inf
    for split in ranked:
        # Beyond the fabric widths begin anew.
        is_narrower = split.chips <= narrower * widest or split.chips > widest
        if is_narrower or split.chips == widest:
            widest = split.chips
            yield split


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
            placed = _around(plan, candidates) if candidates.exclude else plan
            if placed is not None:
                yield from _as_asked(placed, candidates)


def _as_asked(plan: Plan, candidates: Candidates) -> Iterator[Plan]:
    """A plan with the batch and of the space that are asked for, where it is one of that space."""
    workload, software = candidates.workload, candidates.topology.software
    if candidates.of_engine and any(engine_faults(plan, candidates.graph, software)):
        return
    is_open = workload.batch_size is None and workload.requests_per_s is None
    if is_open and workload.phase != "prefill":
        plan = plan.replace(batch_size=plan.replicas)
    yield plan.replace(space="engine" if candidates.of_engine else "any")


def _around(plan: Plan, candidates: Candidates) -> Plan | None:
    """The same on chips that may be used, with as many replicas as there is room for."""
    packing = replace(candidates.packing, blocked=tuple(sorted(set(candidates.exclude))))
    replicas: list[list[ChipRange]] = []
    offset = 0
    for _ in range(plan.replicas):
        groups = []
        for stage in plan.stages:
            first = int(packing.start(np.array(offset), stage.group_chips))
            offset = first + stage.group_chips
            groups.append(ChipRange(first=first, count=stage.group_chips))
        if offset > packing.slots:
            break
        replicas.append(groups)
    if not replicas:
        return None
    pairs = zip(plan.stages, zip(*replicas, strict=True), strict=True)
    return plan.replace(stages=tuple(stage.replace(groups=groups) for stage, groups in pairs))
