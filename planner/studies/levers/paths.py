"""Figures by path: what a machine and a workload state in numbers, and each of them changed.

Paths are those of the records: "chip.memory[0].bandwidth_bytes_per_s", "fabrics[1].latency_s",
"chips" of the machine, "workload.batch_size" of the workload. `[*]` stands for every place of a
list.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from planner.errors import InputError, UnknownNameError, shortened
from planner.machines.topology import Topology, with_value
from planner.scoring.doubts import SPREADS, STEP
from planner.units import parse_quantity, spoken
from planner.workload import Workload

Change = float | str
"""A new value (1e12, "450 GB/s"), or what becomes of the old: "x2", "+10 %", "-20 %"."""

UNITS = (
    ("_bytes_per_s", "bytes per second", "B/s"), ("_flop_per_s", "operations per second", "FLOP/s"),
    ("_bytes", "bytes", "B"), ("_s", "seconds", "s"), ("_w", "watts", "W"), ("_usd_per_chip_hour", "dollars per hour", "USD/h"),
)  # fmt: skip
SHARES = ("_share", "_fraction", "_efficiency")
UNTOLD = ("figures", "software.residuals")
"""Sources, and what is known of our own errors: no figures of the machine."""


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
    asked = _leaves(workload.model_dump(), "workload.")
    return {path: value for path, value in (*machine, *asked) if not path.startswith(UNTOLD)}


def _leaves(value: Any, path: str) -> list[tuple[str, float | None]]:
    if isinstance(value, dict):
        dot = "." if path and not path.endswith(".") else ""
        return [
            leaf for name, part in value.items() for leaf in _leaves(part, f"{path}{dot}{name}")
        ]
    if isinstance(value, list | tuple):
        return [
            leaf for number, part in enumerate(value) for leaf in _leaves(part, f"{path}[{number}]")
        ]
    is_figure = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    return [(path, value)] if is_figure else []


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
    """What a change makes of a figure; whole where it was."""
    is_value = isinstance(change, int | float) and not isinstance(change, bool)
    value = float(change) if is_value else _read(path, old, str(change))
    return max(1, round(value)) if isinstance(old, int) else value


def _read(path: str, old: float | None, change: str) -> float:
    factor = re.fullmatch(r"\s*[x×]\s*([\d.]+(?:e[-+]?\d+)?)\s*", change)
    share = re.fullmatch(r"\s*([-+][\d.]+)\s*%\s*", change)
    if factor or share:
        if old is None:
            raise InputError(
                f"{path} has no value that {shortened(change)!r} could change; give a number"
            )
        try:
            return old * (
                float(factor[1]) if factor else 1 + float(share[1]) / 100 if share else 1.0
            )
        except ValueError:
            pass
    dimension = _kind(path)[0]
    if dimension and not (factor or share):
        return parse_quantity(change, dimension, path)
    raise InputError(
        f"the change of {path} must be a number, 'x2' or '+10 %', not {shortened(change)!r}"
    )


def figure_text(path: str, value: float) -> str:
    """A figure as a person reads it: figure_text("fabrics[0].latency_s", 3e-7) is '300 ns'."""
    return spoken(value, unit_of(path))


def unit_of(path: str) -> str:
    """'B/s'; empty of a bare number."""
    return _kind(path)[1]


def _kind(path: str) -> tuple[str, str]:
    """Dimension and unit."""
    name = f"_{path.rpartition('.')[2]}"
    return next(
        ((dimension, unit) for ending, dimension, unit in UNITS if name.endswith(ending)), ("", "")
    )


def ranges_of(
    topology: Topology,
    workload: Workload,
    figures: Iterable[str] | Mapping[str, tuple[float, float] | float] | None = None,
) -> list[Range]:
    """From where to where figures may lie: as given, (low, high) or a relative spread; else as
    their confidence says. None: every figure of the machine whose source is told. An end of a
    spread that the machine refuses stays where it is."""
    known, told = (
        figures_of(topology, workload),
        {figure.path: figure for figure in topology.figures},
    )
    every = [path for path in told if known.get(path)]
    named = every if figures is None else [figures] if isinstance(figures, str) else figures
    given = named if isinstance(named, Mapping) else dict.fromkeys(named)
    found = []
    for pattern, by in given.items():
        for path in paths_like(pattern, known):
            value, figure = known[path], told.get(path)
            if value is None or value <= 0:
                raise InputError(
                    f"{path} is {value}; a figure that is to be moved must have a value above 0"
                )
            if isinstance(by, Sequence):
                low, high = by
            else:
                spread = by if by is not None else SPREADS[figure.confidence] if figure else STEP
                low, high = _spread(topology, workload, path, value, spread)
            if not 0 < low <= high:
                raise InputError(
                    f"the range of {path} must be two numbers above 0, the lower first, not {by}"
                )
            found.append(
                Range(
                    path, value, low, high, *((figure.confidence, figure.source) if figure else ())
                )
            )
    return found


def _spread(
    topology: Topology, workload: Workload, path: str, value: float, spread: float
) -> tuple[float, float]:
    ends = [
        value / (1 + spread),
        min(value * (1 + spread), 1.0 if path.endswith(SHARES) else math.inf),
    ]
    for place, end in enumerate(ends):
        try:
            changed(topology, workload, {path: end})
        except InputError:
            ends[place] = value
    return ends[0], ends[1]
