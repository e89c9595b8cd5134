"""The borders of a topology, as packing sees them."""

from planner.packing import Packing
from planner.topology import Topology


def packing_of(topology: Topology) -> Packing:
    """Chips as slots; the levels as spans, of a grid also its lines, planes and so on. Messages pay at the levels' borders."""
    spans: list[int] = []
    for level in topology.levels:
        size = level.unit_chips
        for length in reversed(level.axes):
            size *= length
            if length > 1:
                spans.append(size)
    return Packing(topology.chips, tuple(spans), tuple(level.span_chips for level in topology.levels[:-1]))
