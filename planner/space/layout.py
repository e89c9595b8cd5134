"""The borders of a topology, as packing sees them; where even pipelines are cut and where their
stages stand."""

from collections.abc import Sequence

import numpy as np

from planner.machines.topology import Topology
from planner.solver.chain.packing import Packing


def packing_of(topology: Topology) -> Packing:
    """Chips as slots; the levels as spans, of a grid also its lines, planes and so on. Messages
    pay at the levels' borders."""
    spans: list[int] = []
    for level in topology.levels:
        size = level.unit_chips
        for length in reversed(level.axes):
            size *= length
            if length > 1:
                spans.append(size)
    return Packing(
        topology.chips, tuple(spans), tuple(level.span_chips for level in topology.levels[:-1])
    )


def starts_of(packing: Packing, widths: Sequence[int]) -> tuple[list[int], int]:
    """First chips of stages of such widths, one after the other, inside the borders where they
    fit; and where they end."""
    starts: list[int] = []
    offset = 0
    for width in widths:
        starts.append(
            int(packing.start(np.array(offset), width)) if packing.rule(width) else offset
        )
        offset = starts[-1] + width
    return starts, offset


def even_borders(layers: int, stages: int) -> list[int]:
    """The first layer of each stage but the first: equally many layers in each, what is left
    over in those before the last."""
    counts = np.full(stages, layers // stages)
    counts[stages - 1 - layers % stages : stages - 1] += 1
    return [int(border) for border in np.cumsum(counts)[:-1]]
