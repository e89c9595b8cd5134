"""How far a way over PCIe leads, from where devices hang in the tree of bridges."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from planner.readers.machines.seen import LinkKind, SeenLink

MOST_PAIRS = 100_000
"""Beyond, a description is of no computer."""


class Hung(NamedTuple):
    """A device, and what it hangs below."""

    name: str
    numa: str
    """The NUMA node, by any name."""
    root: str
    """The bridge of the processor; "" where that is not told from the NUMA node."""
    bridges: tuple[str, ...]
    """Those between that and the device, the nearest to the root first."""


def ways_between(hung: Sequence[Hung], others: Sequence[Hung] = ()) -> Iterator[SeenLink]:
    """How each of some devices reaches each other, and each of `others`."""
    pairs = itertools.chain(itertools.combinations(hung, 2), itertools.product(hung, others))
    for one, other in itertools.islice(pairs, MOST_PAIRS):
        yield SeenLink(
            between=(one.name, other.name),
            kind=way_between(one, other),
            text=f"{'/'.join(one.bridges)} and {'/'.join(other.bridges)}",
        )


def way_between(one: Hung, other: Hung) -> LinkKind:
    """As `nvidia-smi` would say it."""
    if one.numa != other.numa:
        return "sys"
    if one.root != other.root:
        return "node"
    shared = len(_shared(one.bridges, other.bridges))
    if not shared:
        return "phb"
    # Below the bridge that both share: a switch has a port for each of its devices.
    below = max(len(one.bridges), len(other.bridges)) - shared
    return "pix" if below <= 1 else "pxb"


def _shared(one: Sequence[str], other: Sequence[str]) -> list[str]:
    pairs = zip(one, other, strict=False)
    return [here for here, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
