"""Where the replicas of a pipeline stand on one machine, some of whose chips may be out of use.

Replicas stand in like blocks of slots. A pipeline then sees one block, in which every slot is
blocked that is out of use in any of the blocks chosen; of two choices the one with more room makes
the other useless.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner import allowance
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
        in_reach = {slot for slot in other.packing.blocked if slot < self.budget}
        return in_reach <= set(self.packing.blocked)


def arranged(
    packing: Packing, replicas: int, known: dict[int, "Blocks"] | None = None
) -> list[Arrangement]:
    """The choices of blocks for so many replicas, none of them useless; [] where there is no
    room. `known` keeps the blocks of each size, which are the same for any number of replicas."""
    known = {} if known is None else known
    if not packing.blocked:
        budget = packing.widest(replicas)
        return [Arrangement(packing, budget, ())] if budget else []
    if replicas == 1:
        return _of_one(packing)
    found: list[Arrangement] = []
    # A block of so many slots or more leaves too few of them.
    widest = (packing.slots - 1) // (replicas - 1)
    sizes = {packing.padded(width) for width in range(1, widest + 1)}
    for size in sorted(sizes, reverse=True):
        allowance.look()
        if size not in known:
            known[size] = _blocks(packing, size)
        _keep_useful(found, _of_size(packing, size, replicas, known[size]))
    return found


def _of_one(packing: Packing) -> list[Arrangement]:
    """One replica has all slots, from the first to the last that is free."""
    free = [slot for slot in range(packing.slots) if slot not in packing.blocked]
    return [Arrangement(packing, free[-1] + 1, (0,))] if free else []


def _keep_useful(kept: list[Arrangement], more: Iterable[Arrangement]) -> None:
    """Those too that none of the kept makes useless."""
    for one in more:
        if not any(one.no_better(other) for other in kept):
            kept.append(one)


Pattern = frozenset[int]
"""Slots of a block that are out of use."""

Blocks = dict[Pattern, list[int]]
"""First slots of the blocks of a size, by what is out of use in them."""


def _of_size(packing: Packing, size: int, replicas: int, blocks: Blocks) -> list[Arrangement]:
    """Choices of blocks of one size."""
    if len(blocks) > MOST_PATTERNS:
        raise InputError(
            f"exclude: {len(packing.blocked)} chips leave {len(blocks)} kinds of broken blocks for"
            f" {replicas} replicas, too many to try all choices; exclude whole units,"
            " or plan for a batch of 1"
        )
    chosen: list[Arrangement] = []
    _keep_useful(chosen, _choices(packing, size, replicas, blocks))
    return chosen


def _blocks(packing: Packing, size: int) -> Blocks:
    """The blocks of a size; what lies beyond the last slot counts as blocked."""
    whole = replace(packing, blocked=())
    if whole.rule(size) is None:
        return {}
    blocked = [slot for slot in packing.blocked if slot < packing.slots]
    blocks: Blocks = {}
    base = 0
    while base < packing.slots:
        beyond = range(max(0, packing.slots - base), size)
        broken = (slot - base for slot in blocked if base <= slot < base + size)
        missing = frozenset([*broken, *beyond])
        if len(missing) < size:
            blocks.setdefault(missing, []).append(base)
        base = int(whole.start(np.array(base + size), size))
    return blocks


def _choices(packing: Packing, size: int, replicas: int, blocks: Blocks) -> Iterator[Arrangement]:
    """Every set of patterns that has blocks enough: what is out of use in one of them is out of
    use in all."""
    patterns = sorted(blocks, key=lambda pattern: (len(pattern), sorted(pattern)))
    for count in range(1, len(patterns) + 1):
        for some in itertools.combinations(patterns, count):
            allowance.look()
            union = frozenset().union(*some)
            bases: list[int] = []
            for pattern in patterns:
                if pattern <= union:
                    bases += blocks[pattern]
            if len(bases) >= replicas and len(union) < size:
                free = [slot for slot in range(size) if slot not in union]
                inside = replace(packing, slots=size, blocked=tuple(sorted(union)))
                yield Arrangement(inside, free[-1] + 1, tuple(sorted(bases)[:replicas]))
