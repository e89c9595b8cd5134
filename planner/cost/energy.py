"""Joules and dollars: everything that is held, for as long as it is held, over the tokens of all users."""

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]

SECONDS_PER_HOUR = 3600.0


def held_power_w(chips: Numbers, power_w_per_chip: Numbers) -> Numbers:
    """Power of every chip of the deployment. [W]"""
    return chips * power_w_per_chip


def energy_per_token_j(power_w: Numbers, tokens_per_s: Numbers) -> Numbers:
    """Energy for one output token. [J]"""
    return power_w / tokens_per_s


def usd_per_million_tokens(chips: Numbers, usd_per_chip_hour: Numbers, tokens_per_s: Numbers) -> Numbers:
    """Price of a million output tokens. [USD]"""
    return 1e6 * chips * usd_per_chip_hour / SECONDS_PER_HOUR / tokens_per_s


def hourly_usd(purchase_usd: Numbers, lifetime_h: Numbers, power_w: Numbers, usd_per_kwh: Numbers) -> Numbers:
    """What owning a chip costs in an hour: its price over its life, and its power, always on. [USD/h]"""
    return purchase_usd / lifetime_h + power_w / 1000.0 * usd_per_kwh
