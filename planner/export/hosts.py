"""Which chips of which node an engine's ranks stand on."""

import itertools
import math
from typing import NamedTuple

from planner.launches.launch import Launch


class Seat(NamedTuple):
    """Consecutive ranks of one engine on one node."""

    node: int
    chips: tuple[int, ...]
    """By their number on the node, in the order of ranks."""


def devices_of(launch: Launch) -> tuple[tuple[int, ...], ...]:
    """The chips of each engine; where nobody named them, the first."""
    if launch.devices is not None:
        return launch.devices
    each = launch.replica_chips
    return tuple(tuple(range(each * one, each * (one + 1))) for one in range(launch.replicas))


def nodes_of(launch: Launch) -> list[int]:
    """The nodes that hold any of its chips."""
    return sorted({_node(launch, chip) for chips in devices_of(launch) for chip in chips})


def node_count(launch: Launch) -> int:
    """How many those are."""
    return len(nodes_of(launch))


def seats_of(launch: Launch, chips: tuple[int, ...], *, whole_stages: bool = False) -> list[Seat]:
    """Where the ranks of one engine stand, given by its chips in their order. Engines fill nodes
    with equally many ranks: where they are not spread so, a node counts as several, such that it
    holds whole tensor groups, or a group whole nodes; `whole_stages`: likewise of stages."""
    runs = [
        (node, [chip for _, chip in run])
        for node, run in itertools.groupby(
            ((_node(launch, chip), chip) for chip in chips), key=lambda pair: pair[0]
        )
    ]
    each = math.gcd(*(len(run) for _, run in runs))
    group = launch.stage_ranks if whole_stages else launch.tensor_parallel
    if each % group and group % each:
        each = math.gcd(each, group)
    width = launch.chips_per_node or max(chips) + 1
    return [
        Seat(node, tuple(chip % width for chip in run[first : first + each]))
        for node, run in runs
        for first in range(0, len(run), each)
    ]


def _node(launch: Launch, chip: int) -> int:
    return chip // launch.chips_per_node if launch.chips_per_node else 0
