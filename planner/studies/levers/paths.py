"""Figures by path: what a machine and a workload state in numbers, and each of them changed.

Paths are those of the records: "chip.memory[0].bandwidth_bytes_per_s", "fabrics[1].latency_s",
"chips" of the machine, "workload.batch_size" of the workload. `[*]` stands for every place of a
list.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from planner.errors import InputError, UnknownNameError, shortened
from planner.machines.topology import Figure, Topology, with_value
from planner.scoring.doubts import SPREADS, STEP
from planner.units import parse_quantity, spoken
from planner.workload import Workload

Change = float | str
"""A new value (1e12, "450 GB/s"), or what becomes of the old: "x2", "+10 %", "-20 %"."""

UNITS = (
    ("_bytes_per_s", "bytes per second", "B/s"),
    ("_flop_per_s", "operations per second", "FLOP/s"),
    ("_bytes", "bytes", "B"),
    ("_s", "seconds", "s"),
    ("_w", "watts", "W"),
    ("_usd_per_chip_hour", "dollars per hour", "USD/h"),
)
"""By how a field's name ends, the first that fits: what it is a number of, and its unit."""
TIMES = re.compile(r"\s*[x×]\s*([\d.]+(?:e[-+]?\d+)?)\s*")
PERCENT = re.compile(r"\s*([-+][\d.]+)\s*%\s*")
Figures = Iterable[str] | Mapping[str, tuple[float, float] | float]
"""Paths or patterns; or each with its (low, high), or with a relative spread."""
MOST_WRITTEN_OUT = 1e7
"""Larger counts are rounded."""
SHARES = ("_share", "_fraction", "_efficiency", "_occupancy")
UNTOLD = ("figures", "software.residuals", "price.offers")
"""Sources, what is known of our own errors, and prices on other bases: no figures of the
machine."""


class Range(NamedTuple):
    """A figure, and from where to where it may lie."""

    path: str
    value: float
    low: float
    high: float
    confidence: str = ""
    source: str = ""


def figures_of(topology: Topology, workload: Workload) -> dict[str, float | None]:
    """All figures by path; None where one may be given and is not."""
    machine = _leaves(topology.model_dump(exclude={"figures"}), "")
    asked = _leaves(workload.model_dump(), "workload")
    return {path: value for path, value in (*machine, *asked) if not path.startswith(UNTOLD)}


def _leaves(value: Any, path: str) -> list[tuple[str, float | None]]:
    if isinstance(value, dict):
        parts = [(f"{path}.{name}" if path else name, part) for name, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{path}[{number}]", part) for number, part in enumerate(value)]
    else:
        return [(path, value)] if value is None or _is_number(value) else []
    return [leaf for place, part in parts for leaf in _leaves(part, place)]


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def paths_like(pattern: str, figures: Mapping[str, float | None]) -> list[str]:
    """The paths that a pattern stands for; an UnknownNameError names the nearest."""
    wanted = re.compile(re.escape(str(pattern)).replace(re.escape("[*]"), r"\[\d+\]"))
    found = [path for path in figures if wanted.fullmatch(path)]
    if not found:
        raise UnknownNameError("figure", str(pattern), figures)
    return found


def changed(
    topology: Topology, workload: Workload, changes: Mapping[str, Change]
) -> tuple[Topology, Workload]:
    """Machine and workload with figures changed, validated."""
    figures = figures_of(topology, workload)
    for pattern, change in changes.items():
        for path in paths_like(pattern, figures):
            value = new_value(path, figures[path], change)
            if path.startswith("workload."):
                workload = workload.replace(**{path.removeprefix("workload."): value})
            else:
                topology = with_value(topology, path, value)
    return topology, workload


def new_value(path: str, old: float | None, change: Change) -> float:
    """What a change makes of a figure; rounded where it was whole."""
    value = float(change) if _is_number(change) else _read(path, old, str(change))
    is_count = isinstance(old, int)
    if is_count and value <= 0:
        raise InputError(
            f"{path} is {old}; its change must give a number above 0, not {shortened(str(change))!r}"
        )
    return max(1, round(value)) if is_count else value


def check_whole(
    topology: Topology, workload: Workload, changes: Mapping[str, Change]
) -> Mapping[str, Change]:
    """Changes, of which none says of a count that it is no whole number; a share of one may end
    there, and is rounded."""
    figures = figures_of(topology, workload)
    for pattern, change in changes.items():
        said = _plain_number(change)
        if said is None or said.is_integer():
            continue
        whole = [path for path in paths_like(pattern, figures) if isinstance(figures[path], int)]
        if whole:
            raise InputError(f"{whole[0]} must be a whole number, not {shortened(str(change))}")
    return changes


def _plain_number(change: Change) -> float | None:
    """A change that is a number alone; None: another."""
    try:
        return float(change)
    except ValueError:
        return None


def _read(path: str, old: float | None, change: str) -> float:
    wrong = InputError(
        f"the change of {path} must be a number, 'x2' or '+10 %', not {shortened(change)!r}"
    )
    try:
        factor = _factor(change)
    except ValueError:
        raise wrong from None
    if factor is not None:
        if old is None:
            raise InputError(
                f"{path} has no value that {shortened(change)!r} could change; give a number"
            )
        return old * factor
    # "+4" could be four, or four more.
    if change.strip()[:1] in ("+", "-"):
        raise wrong
    number = _plain_number(change)
    if number is not None:
        return number
    dimension, _ = _kind(path)
    if not dimension:
        raise wrong
    return parse_quantity(change, dimension, path)


def _factor(change: str) -> float | None:
    """By what "x2" or "+10 %" multiplies; None of any other text."""
    if times := TIMES.fullmatch(change):
        return float(times[1])
    if percent := PERCENT.fullmatch(change):
        return 1 + float(percent[1]) / 100
    return None


def figure_text(path: str, value: float) -> str:
    """A figure as a person reads it: figure_text("fabrics[0].latency_s", 3e-7) is '300 ns'; a count
    is written out."""
    unit = unit_of(path)
    if not unit and float(value).is_integer() and abs(value) < MOST_WRITTEN_OUT:
        return f"{value:,.0f}"
    return spoken(value, unit)


def unit_of(path: str) -> str:
    """'B/s'; empty of a bare number."""
    return _kind(path)[1]


def _kind(path: str) -> tuple[str, str]:
    """Dimension and unit; both empty of a bare number."""
    name = f"_{path.rpartition('.')[2]}"
    for ending, dimension, unit in UNITS:
        if name.endswith(ending):
            return dimension, unit
    return "", ""


def ranges_of(
    topology: Topology, workload: Workload, figures: Figures | None = None
) -> list[Range]:
    """From where to where figures may lie: as given, (low, high) or a relative spread; else as
    their confidence says. None: every figure of the machine whose source is told. An end of a
    spread that the machine refuses stays where it is."""
    known = figures_of(topology, workload)
    told = {figure.path: figure for figure in topology.figures}
    given = [path for path in told if known.get(path)] if figures is None else figures
    ranges = []
    for pattern, by in _spelled_out(given).items():
        for path in paths_like(pattern, known):
            value = _above_0(path, known[path])
            figure = told.get(path)
            low, high = _ends(topology, workload, path, value, _spread_of(figure, by))
            if not 0 < low <= high:
                raise InputError(
                    f"the range of {path} must be two numbers above 0, the lower first, not {by}"
                )
            grade, source = ("", "") if figure is None else (figure.confidence, figure.source)
            ranges.append(Range(path, value, low, high, grade, source))
    return ranges


def _above_0(path: str, value: float | None) -> float:
    if value is None or value <= 0:
        raise InputError(
            f"{path} is {value}; a figure that is to be moved must have a value above 0"
        )
    return value


def _spelled_out(figures: Figures) -> Mapping[str, tuple[float, float] | float | None]:
    """Each path, or pattern, with the range that was given; None where none was."""
    if isinstance(figures, Mapping):
        return figures
    return dict.fromkeys([figures] if isinstance(figures, str) else figures)


def _spread_of(
    figure: Figure | None, by: tuple[float, float] | float | None
) -> tuple[float, float] | float:
    """What was given, else what the figure's confidence leaves open."""
    if by is not None:
        return by
    if figure is None:
        return STEP
    return SPREADS[figure.confidence] if figure.within is None else figure.within - 1


def _ends(
    topology: Topology,
    workload: Workload,
    path: str,
    value: float,
    spread: tuple[float, float] | float,
) -> tuple[float, float]:
    """The ends of a range. Those that a spread makes are tried on the machine."""
    if isinstance(spread, Sequence):
        low, high = spread
        return low, high
    most = 1.0 if path.endswith(SHARES) else math.inf
    ends = [value / (1 + spread), min(value * (1 + spread), most)]
    for place, end in enumerate(ends):
        try:
            changed(topology, workload, {path: end})
        except InputError:
            ends[place] = value
    return ends[0], ends[1]
