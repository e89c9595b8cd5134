"""Quantities: text with a unit is read once, here; inside, every figure is an SI float with its
unit in its name.

GB is 10⁹ bytes and GiB 2³⁰; Gb/s is 10⁹ bit/s. A figure without its unit is refused, since half of
all published bandwidths are off by a factor of 8 (bits) or 2 (both directions).
"""

import math
import re
from typing import Annotated

from pydantic import Field

from planner.errors import InputError, shortened

Seconds = Annotated[float, Field(ge=0, le=1e7)]
Bytes = Annotated[float, Field(ge=0, le=1e18)]
PositiveBytes = Annotated[float, Field(gt=0, le=1e18)]
BytesPerS = Annotated[float, Field(gt=0, le=1e19)]
FlopPerS = Annotated[float, Field(gt=0, le=1e21)]
Watts = Annotated[float, Field(ge=0, le=1e8)]
Joules = Annotated[float, Field(ge=0, le=1e12)]
Dollars = Annotated[float, Field(ge=0, le=1e9)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Degree = Annotated[int, Field(ge=1, le=1_000_000)]

PREFIXES = {"": 1.0, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3} | {
    "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip

# Base units of each dimension and their factor to SI; a prefix may stand before those marked True.
DIMENSIONS: dict[str, dict[str, tuple[float, bool]]] = {
    "bytes": {"B": (1.0, True), "byte": (1.0, True), "bytes": (1.0, True)},
    "bytes per second": {
        "B/s": (1.0, True),
        "Bps": (1.0, True),
        "b/s": (0.125, True),
        "bit/s": (0.125, True),
    },
    "operations per second": {
        "FLOP/s": (1.0, True),
        "FLOPS": (1.0, True),
        "OP/s": (1.0, True),
        "OPS": (1.0, True),
    },
    "seconds": {"s": (1.0, True), "min": (60.0, False), "h": (3600.0, False)},
    "watts": {"W": (1.0, True)},
    "joules": {"J": (1.0, True)},
    "dollars per hour": {"USD/h": (1.0, False), "$/h": (1.0, False)},
    "dollars": {"USD": (1.0, False), "$": (1.0, False)},
}
EXAMPLES = {
    "bytes": "80 GB",
    "bytes per second": "450 GB/s",
    "operations per second": "989 TFLOP/s",
    "seconds": "2 us",
    "watts": "700 W",
    "joules": "5 pJ",
    "dollars per hour": "3.00 USD/h",
    "dollars": "27000 USD",
}

QUANTITY = re.compile(
    r"\s*"
    r"([-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)"
    r"\s*"
    r"([^\d\s.,_].*?)?"
    r"\s*"
)
"""A number, thousands apart by commas or underscores if at all, and its unit."""
MOST_WHOLE = 10**300


def parse_quantity(text: object, dimension: str, field: str) -> float:
    """The SI value of text such as "450 GB/s".

    `dimension` is a key of DIMENSIONS; `field` is named in the InputError that a missing or wrong
    unit raises.
    """
    wanted = f"{field} needs a number and a unit of {dimension}, such as {EXAMPLES[dimension]!r}"
    # Python refuses to write out a whole number of thousands of digits.
    if isinstance(text, int) and abs(text) >= MOST_WHOLE:
        raise InputError(f"{wanted}; a number of hundreds of digits is not one")
    given = str(text) if isinstance(text, int | float | str) else ""
    match = QUANTITY.fullmatch(given[:100])
    if match is None:
        raise InputError(f"{wanted}; {shortened(text)!r} is not one")

    number, unit = match.groups()
    if not unit:
        raise InputError(f"{wanted}; {shortened(text)!r} has no unit")
    scale = _scale_of(unit, dimension)
    if scale is None:
        raise InputError(f"{wanted}; the unit of {shortened(text)!r} is not one of {dimension}")
    prefix, factor = scale
    return float(number.replace(",", "").replace("_", "")) * prefix * factor


def _scale_of(unit: str, dimension: str) -> tuple[float, float] | None:
    """What the prefix of a unit and its base stand for; None: it is no unit of the dimension."""
    for base, (factor, prefixed) in DIMENSIONS[dimension].items():
        if not unit.endswith(base):
            continue
        prefix = unit.removesuffix(base)
        if not prefix or (prefixed and prefix in PREFIXES):
            return PREFIXES[prefix], factor
    return None


SCALES = (
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
)


def spoken(value: float | None, unit: str, digits: int = 3) -> str:
    """A figure as a person reads it: spoken(1.2e-3, "s") is '1.2 ms'."""
    if value is None:
        return "not known"
    if value == 0 or unit in ("", "%"):
        return f"{value:.{digits}g} {unit}".strip()
    # Nobody says kiloseconds.
    largest = 1.0 if unit == "s" else 1e18
    for scale, prefix in SCALES:
        if scale <= largest and abs(value) >= scale * (1 - 0.5 * 10**-digits):
            return f"{trimmed(value / scale, digits)} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"


def trimmed(value: float, digits: int = 3) -> str:
    """`digits` significant digits, thousands apart, no exponent for figures that a person would
    write out."""
    if value != 0 and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    rounded = float(f"{value:.{digits}g}")
    decimals = digits
    if 0 < abs(value) < 1:
        decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{rounded:,.{decimals}f}".rstrip("0").rstrip(".")
