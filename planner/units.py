"""Quantities: text with a unit is read once, here; inside, every figure is an SI float with its
unit in its name.

GB is 10⁹ bytes and GiB 2³⁰; Gb/s is 10⁹ bit/s. A figure without its unit is refused, since half of
all published bandwidths are off by a factor of 8 (bits) or 2 (both directions).
"""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from numbers import Real
from typing import Annotated, NamedTuple

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
Several = Annotated[
    Sequence[Annotated[float, Field(gt=0, le=1e18)]], Field(min_length=1, max_length=10_000)
]
"""Figures above 0, of which there are some."""
OrInfinity = Annotated[float, Field(allow_inf_nan=True)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""Of random numbers: as large as the solver's own."""
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
    "dollars per year": {
        "USD/year": (1.0, False),
        "$/year": (1.0, False),
        "USD/month": (12.0, False),
        "$/month": (12.0, False),
    },
    "dollars per million tokens": {"USD/Mtok": (1.0, False), "$/Mtok": (1.0, False)},
    "dollars": {"USD": (1.0, False), "$": (1.0, False)},
    "dollars per kilowatt-hour": {"USD/kWh": (1.0, False), "$/kWh": (1.0, False)},
    "shares": {"%": (0.01, False)},
}
EXAMPLES = {
    "bytes": "80 GB",
    "bytes per second": "450 GB/s",
    "operations per second": "989 TFLOP/s",
    "seconds": "2 us",
    "watts": "700 W",
    "joules": "5 pJ",
    "dollars per hour": "3.00 USD/h",
    "dollars per year": "4500 USD/year",
    "dollars per million tokens": "0.79 USD/Mtok",
    "dollars": "27000 USD",
    "dollars per kilowatt-hour": "0.10 USD/kWh",
    "shares": "40 %",
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
    return _float_of(number) * prefix * factor


def _float_of(number: str) -> float:
    return float(number.replace(",", "").replace("_", ""))


def _scale_of(unit: str, dimension: str) -> tuple[float, float] | None:
    """What the prefix of a unit and its base stand for; None: it is no unit of the dimension."""
    for base, (factor, prefixed) in DIMENSIONS[dimension].items():
        if not unit.endswith(base):
            continue
        prefix = unit.removesuffix(base)
        if not prefix or (prefixed and prefix in PREFIXES):
            return PREFIXES[prefix], factor
    return None


# ── Figures whose unit is told by their name ────────────────────────────────────────────────────


class Gauge(NamedTuple):
    """What a figure is measured in."""

    words: str
    """Such as "seconds"."""
    example: str
    dimension: str | None = None
    """Whose units it takes; None: it is counted."""
    counted: tuple[str, ...] = ()
    """What may stand behind a count, and behind k, M, G or T for thousands of it and so on."""


GAUGES = {
    "s": Gauge("seconds", "30 ms", "seconds"),
    "bytes": Gauge("bytes", "8 GiB", "bytes"),
    "w": Gauge("watts", "10 kW", "watts"),
    "j": Gauge("joules", "500 mJ", "joules"),
    "hour": Gauge("dollars per hour", "100 USD/h", "dollars per hour"),
    "usd": Gauge("dollars", "0.5 USD", "dollars"),
    "kwh": Gauge("dollars per kilowatt-hour", "0.10 USD/kWh", "dollars per kilowatt-hour"),
    "fraction": Gauge("shares", "40 %", "shares"),
}
"""Of names whose last such word this is."""
RATE = re.compile(r"(?:.*_)?(?P<what>[a-z]+)_per_s(?:_per_(?P<each>[a-z]+))?(?:_.*)?")
COUNTED = re.compile(r"(?P<prefix>[KMGT]i|[kKMGT]?)\s*(?P<unit>.*)")


def gauge_of(name: str) -> Gauge:
    """What a figure of that name is measured in: `ttft_s` in seconds, `tokens_per_s` in tokens per
    second, `chips` in chips."""
    if rate := RATE.fullmatch(name):
        what, each = rate["what"], rate["each"]
        words, unit = f"{what} per second", f"{what}/s"
        units = ["/s", "1/s", unit, f"{what[:3]}/s"]
        if each is not None:
            words, unit = f"{words} per {each}", f"{unit}/{each}"
            units += [unit, f"{what[:3]}/s/{each}"]
        return Gauge(words, f"1.5k {unit}", None, tuple(units))
    words_of = reversed(name.split("_"))
    known = next((GAUGES[word] for word in words_of if word in GAUGES), None)
    return known or Gauge(name.replace("_", " "), "64", None, (name, name.removesuffix("s")))


def parse_figure(given: object, name: str, field: str) -> float:
    """The SI value of a positive figure: a number in the unit that its `name` tells, or text with a
    unit of that kind, such as "30 ms" for `tpot_s` or "10k" for `tokens_per_s`.

    `field` is named in the InputError that anything else raises.
    """
    gauge = gauge_of(name)
    value = math.nan
    if isinstance(given, str):
        value = _figure_in(given, gauge)
    elif not isinstance(given, bool) and isinstance(given, Real):
        with suppress(OverflowError):
            value = float(given)
    if math.isfinite(value) and value > 0:
        return value
    # Python refuses to write out a whole number of thousands of digits.
    told = "a number of hundreds of digits"
    if not isinstance(given, int) or abs(given) < MOST_WHOLE:
        told = repr(shortened(given)) if isinstance(given, str) else shortened(given)
    raise InputError(
        f"{field} is measured in {gauge.words}: give a positive number of them, or one with its"
        f" unit, such as {gauge.example!r}, not {told}"
    )


def _figure_in(text: str, gauge: Gauge) -> float:
    """What a text says in SI; not a number where it says nothing of the kind."""
    match = QUANTITY.fullmatch(text[:100])
    if match is None:
        return math.nan
    number, unit = _float_of(match[1]), match[2] or ""
    if not unit:
        return number
    if gauge.dimension is not None:
        prefix, factor = _scale_of(unit, gauge.dimension) or (math.nan, math.nan)
        return number * prefix * factor
    counted = COUNTED.fullmatch(unit)
    if counted is None or counted["unit"] not in ("", *gauge.counted):
        return math.nan
    return number * PREFIXES[counted["prefix"]]


def parse_count(given: str, counted: str, field: str) -> int:
    """A whole number of something, such as "128k" (128,000) or "128Ki tokens" (131,072) of
    `counted` "tokens".

    `field` is named in the InputError that anything else raises.
    """
    match = QUANTITY.fullmatch(given[:100])
    unit = None if match is None else COUNTED.fullmatch(match[2] or "")
    value = math.nan
    known = ("", counted, counted.removesuffix("s"))
    if match is not None and unit is not None and unit["unit"] in known:
        value = _float_of(match[1]) * PREFIXES[unit["prefix"]]
    if not math.isfinite(value) or not value.is_integer():
        raise InputError(
            f"{field} must be a whole number, not {shortened(given)!r}; give one such as 64 or 128k"
        )
    return int(value)


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
    if value == 0 or unit == "%":
        return f"{value:.{digits}g} {unit}".strip()
    if not unit:
        # A count is told whole.
        return f"{value:,.0f}" if float(value).is_integer() else trimmed(value, digits)
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
