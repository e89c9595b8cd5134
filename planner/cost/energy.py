"""Joules and dollars: everything that is held, for as long as it is held, over the tokens of all
users.

A chip draws a share of its watts while it waits. The rest follows its activity, which is how busy
its arithmetic and its memory are, weighed and added up; and it saturates, because a chip near its
power limit lowers its clock. `LINES` are tangents to 1 - exp(-activity) and the limit itself, so
that energy is the least of a few sums that only grow with time and with work: what the solver can
bound.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]

SECONDS_PER_HOUR = 3600.0

LINES = (
    *((1 - (1 + at) * math.exp(-at), math.exp(-at)) for at in (0.0, 0.5, 1.0, 2.0)),
    (1.0, 0.0),
)
"""Intercepts and slopes; the least of them is the share drawn of what is not idle."""


class Draw(NamedTuple):
    """One bound on what chips draw: watts for each that is held, and for each second of activity
    in a second."""

    held_w: float
    active_w: float

    def times(self, factor: float) -> "Draw":
        """With what is lost on the way to the chips."""
        return Draw(factor * self.held_w, factor * self.active_w)


def drawn_w(chip_w: float, idle_share: float, host_w: float) -> tuple[Draw, ...]:
    """What a chip and its share of the host draw: the least of these. [W]"""
    if idle_share == 1:
        return (Draw(chip_w + host_w, 0.0),)
    rest = 1 - idle_share
    return tuple(
        Draw(chip_w * (idle_share + rest * level) + host_w, chip_w * rest * slope)
        for level, slope in LINES
    )


def active_s(
    compute_s: Numbers, memory_s: Numbers, compute_activity: float, memory_activity: float
) -> Numbers:
    """Activity over the time of some work, from how long it would take at the peak and at the
    full bandwidth. [s]"""
    return compute_activity * compute_s + memory_activity * memory_s


def energy_j(draws: tuple[Draw, ...], held_chip_s: Numbers, active_chip_s: Numbers) -> Numbers:
    """Energy of chips that are held so long and active so long. [J]"""
    lines = [draw.held_w * held_chip_s + draw.active_w * active_chip_s for draw in draws]
    return functools.reduce(np.minimum, lines)


def usd_per_million_tokens(
    chips: Numbers, usd_per_chip_hour: Numbers, tokens_per_s: Numbers
) -> Numbers:
    """Price of a million output tokens. [USD]"""
    return 1e6 * chips * usd_per_chip_hour / SECONDS_PER_HOUR / tokens_per_s


def hourly_usd(
    purchase_usd: Numbers, lifetime_h: Numbers, power_w: Numbers, usd_per_kwh: Numbers
) -> Numbers:
    """What owning a chip costs in an hour: its price over its life, and its power, always on.
    [USD/h]"""
    return purchase_usd / lifetime_h + power_w / 1000.0 * usd_per_kwh
