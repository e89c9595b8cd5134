"""Where the replicas of a pipeline stand on one machine, some of whose chips may be out of use.

Replicas stand in like blocks of slots. A pipeline then sees one block, in which every slot is
blocked that is out of use in any of the blocks chosen; of two choices the one with more room makes
the other useless.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import InputError
from planner.solver.chain.packing import Packing

MOST_PATTERNS = 12
"""Kinds of broken blocks of which all subsets are looked at."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Like blocks for the replicas."""

    packing: Packing
    """Of one block, with what is blocked in any."""
    budget: int
    """Slots of a block that a pipeline may take."""
    bases: tuple[int, ...]
    """First slot of each replica's block; () where they follow from the pipeline's length."""

    def starts(self, end: int, replicas: int) -> list[int]:
        """First slots of the replicas of a pipeline that takes `end` slots."""
        bases = list(self.bases) or self.packing.copies(end, replicas)
        if bases is None:
            raise AssertionError("a solution takes more chips than its replicas have")
        return bases

    def no_better(self, other: "Arrangement") -> bool:
        """Whether every pipeline that it has room for fits into the other."""
        if self.budget > other.budget:
            return False
        return {slot for slot in other.packing.blocked if slot < self.budget} <= set(
            self.packing.blocked
        )


def arranged(packing: Packing, replicas: int) -> list[Arrangement]:
    """The choices of blocks for so many replicas, none of them useless; [] where there is no
    room."""
    if not packing.blocked:
        budget = packing.widest(replicas)
        return [Arrangement(packing, budget, ())] if budget else []
    if replicas == 1:
        free = [slot for slot in range(packing.slots) if slot not in packing.blocked]
        return [Arrangement(packing, free[-1] + 1, (0,))] if free else []
    found: list[Arrangement] = []
    for size in sorted(
        {packing.padded(width) for width in range(1, packing.slots + 1)}, reverse=True
    ):
        for one in _of_size(packing, size, replicas):
            if not any(one.no_better(other) for other in found):
                found.append(one)
    return found


def _of_size(packing: Packing, size: int, replicas: int) -> list[Arrangement]:
    """Choices of blocks of one size; what lies beyond the last slot counts as blocked."""
    whole, blocked = replace(packing, blocked=()), set(packing.blocked)
    if whole.rule(size) is None:
        return []
    blocks: dict[frozenset[int], list[int]] = {}
    base = 0
    while base < packing.slots:
        missing = frozenset(
            slot for slot in range(size) if base + slot in blocked or base + slot >= packing.slots
        )
        if len(missing) < size:
            blocks.setdefault(missing, []).append(base)
        base = int(whole.start(np.array(base + size), size))
    patterns = sorted(blocks, key=lambda pattern: (len(pattern), sorted(pattern)))
    if len(patterns) > MOST_PATTERNS:
        raise InputError(
            f"exclude: {len(packing.blocked)} chips leave {len(patterns)} kinds of broken blocks for {replicas} replicas, too"
            f" many to try all choices; exclude whole units, or plan for a batch of 1"
        )
    chosen: list[Arrangement] = []
    for count in range(1, len(patterns) + 1):
        for some in itertools.combinations(patterns, count):
            union = frozenset().union(*some)
            bases = [base for pattern in patterns if pattern <= union for base in blocks[pattern]]
            if len(bases) >= replicas and len(union) < size:
                free = [slot for slot in range(size) if slot not in union]
                inside = replace(whole, slots=size, blocked=tuple(sorted(union)))
                one = Arrangement(inside, free[-1] + 1, tuple(sorted(bases)[:replicas]))
                if not any(one.no_better(other) for other in chosen):
                    chosen.append(one)
    return chosen
