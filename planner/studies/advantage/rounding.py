"""How many digits of a number its interval allows."""

import math

WIDE = 2.0
NARROW = 1.1


def digits_of(value: float, low: float, high: float) -> int:
    """Significant digits worth telling: 1 where the interval reaches further than WIDE times
    either way, 2 beyond NARROW, else 3.

    An end that is not there (0, infinite, no number) is as far as can be.
    """
    if not (value > 0 and 0 < low <= high < math.inf):
        return 1
    widest = max(value / low, high / value)
    if widest > WIDE:
        return 1
    return 2 if widest > NARROW else 3


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
