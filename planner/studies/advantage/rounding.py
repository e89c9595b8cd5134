"""How many digits of a number its interval allows."""

import math

WIDE = 2.0
"""Ratios from which on one digit is told."""
NARROW = 1.1
FINEST = 3


def digits_within(ratio: float, narrow: float = NARROW) -> int:
    """Significant digits worth telling of what is known within a ratio: 1 beyond WIDE, 2 beyond
    `narrow`, else FINEST."""
    return 1 if ratio > WIDE else 2 if ratio > narrow else FINEST


def digits_of(value: float, low: float, high: float) -> int:
    """Significant digits worth telling: 1 where the interval reaches further than WIDE times
    either way, 2 beyond NARROW, else 3.

    An end that is not there (0, infinite, no number) is as far as can be.
    """
    if not (value > 0 and 0 < low <= high < math.inf):
        return 1
    return digits_within(max(value / low, high / value))


def rounded(value: float, digits: int) -> float:
    """To so many significant digits; what has none, such as infinity, as it is."""
    if not value or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def size_text(parameters: float, digits: int) -> str:
    """'204 B' of 2.038e11 with three digits, '1,200 B' of 1.1812e12 with two; 'any number' of what
    has no end."""
    if not math.isfinite(parameters):
        return "any number"
    billions = rounded(parameters / 1e9, digits)
    return f"{billions:,.0f} B" if billions >= 10 else f"{billions:,g} B"
