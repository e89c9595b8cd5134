"""Where an advantage changes sides over sizes: looked for in strides, then bracketed, then halved."""

import itertools
import math
from collections.abc import Callable

SIZES = tuple(8e9 * 10 ** (step / 8) for step in range(20))
"""Where the sign of the advantage is looked at first: 8 B to 1.9 T."""
STRIDE = 3
"""Of those sizes, one in so many is priced first."""
CLOSE = 1e-3
"""Relative: how narrow the root is bracketed."""
Advantage = Callable[[float], float | None]
"""Of one machine over another at a size; None where either holds no model of it."""


def bracket_of(advantage: Advantage) -> tuple[float, float] | None:
    """The first two neighbouring sizes between which the advantage changes sides, looked for STRIDE
    sizes at a time; all of the strides are priced, for the picture."""
    there = held_by_both(lambda place: advantage(SIZES[place]) is not None)
    for before, after in itertools.pairwise(there):
        low, high = before, after
        if _wins(advantage(SIZES[low])) == _wins(advantage(SIZES[high])):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if _wins(advantage(SIZES[middle])) == _wins(advantage(SIZES[low])):
                low = middle
            else:
                high = middle
        return SIZES[low], SIZES[high]
    return None


def held_by_both(is_held: Callable[[int], bool]) -> list[int]:
    """Places in SIZES that both machines hold, ascending, STRIDE apart, and next to where a machine
    begins or ends to hold them one by one; none of them is held beyond the first that is not."""
    last = len(SIZES) - 1
    there: list[int] = []
    for place in sorted({*range(0, last, STRIDE), last}):
        if is_held(place):
            there.append(place)
        elif there:
            break
    # What both hold may lie between two strides.
    there = there or [place for place in range(last) if is_held(place)]
    while there and there[0] > 0 and is_held(there[0] - 1):
        there.insert(0, there[0] - 1)
    while there and there[-1] < last and is_held(there[-1] + 1):
        there.append(there[-1] + 1)
    return there


def bracket_near(advantage: Advantage, bracket: tuple[float, float]) -> tuple[float, float] | None:
    """Neighbouring sizes as near as can be to a bracket between which the advantage changes
    sides."""
    places = range(len(SIZES) - 1)
    nearest = SIZES.index(bracket[0])
    for place in sorted(places, key=lambda one: abs(one - nearest)):
        low, high = SIZES[place], SIZES[place + 1]
        ends = advantage(low), advantage(high)
        if None not in ends and _wins(ends[0]) != _wins(ends[1]):
            return low, high
    return None


def bisected(advantage: Advantage, low: float, high: float) -> float:
    """A root to within CLOSE: on both sides of where a straight line on logarithmic axes has it,
    then in the middle."""
    side = _wins(advantage(low))
    while high / low > 1 + CLOSE:
        left, right = (math.log(advantage(size) or 1.0) for size in (low, high))
        guess = low * (high / low) ** (left / (left - right))
        middle = math.sqrt(low * high)
        for probe in (guess * (1 - CLOSE / 2.1), guess * (1 + CLOSE / 2.1), middle):
            if not low < probe < high or high / low <= 1 + CLOSE:
                continue
            if _wins(advantage(probe)) == side:
                low = probe
            else:
                high = probe
    return math.sqrt(low * high)


def _wins(advantage: float | None) -> bool:
    return advantage is not None and advantage > 1
