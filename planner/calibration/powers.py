"""Fitting what chips draw to measured power: three constants for each generation of chips, and what
all share.

A run whose power and energy were both measured tells its own rate, so that errors of the predicted
time stay out of the fit. A ridge draws each generation towards the fit of all rows together.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from planner.calibration.measurements import Measurement
from planner.calibration.robust import Floats, robust_minimum
from planner.calibration.validation import Case
from planner.cost.energy import drawn_w, energy_j
from planner.errors import InputError
from planner.machines.topology import Power, Topology

START = Power(idle_share=0.2, compute_activity=7.0, memory_activity=1.5)
MOST = Power(idle_share=0.9, compute_activity=50.0, memory_activity=50.0)
NAMES = ("idle_share", "compute_activity", "memory_activity")
SCALE = 0.1
"""Errors beyond count less and less."""
RIDGE = 0.5
"""Squared logarithms by which a generation's constants differ from those of all count as so many
squared errors."""
LEAST_ROWS = 10
PROBE = 1e-3
"""An activity so small that draw is a straight line."""


class Drawn(NamedTuple):
    """The constants of one generation of chips, and how they fare at the measured rates."""

    architecture: str
    """Empty: of all together."""
    power: Power
    """Its shares and activities; no watts."""
    rows: int
    median: float
    """Factor - 1: 0.1 is 10 % off either way."""
    p90: float


class Run(NamedTuple):
    """A run whose watts were measured."""

    case: Case
    drawn: float
    """Of the watts provisioned, what was measured."""
    compute: float
    """Share of the time in which arithmetic at the peak would be done."""
    memory: float
    """The same of traffic at the full bandwidth."""


class _Rows(NamedTuple):
    """The shares of several runs, each of shape (runs,)."""

    drawn: Floats
    compute: Floats
    memory: Floats


def fit_power(cases: Sequence[Case]) -> tuple[Drawn, ...]:
    """What chips draw, for all generations together and for each; from rows of power_w (of the
    chips alone) and, where the same run has one, of its energy for a token or a sample."""
    return fit_runs(power_runs(cases))


def fit_runs(runs: Sequence[Run]) -> tuple[Drawn, ...]:
    """The same from runs, of which some may have been left out."""
    if len(runs) < LEAST_ROWS:
        raise InputError(
            f"to fit the power of chips takes {LEAST_ROWS} measured rows of power_w with"
            " power_scope chip; measure more, such as decode at several batches and prefill"
        )
    by_generation: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_generation[run.case.topology.chip.architecture].append(run)
    everything = _rows(runs)
    shared = _fitted(everything, _logs(START), 0.0)
    fits = [_drawn("", everything, shared)]
    for name, found in sorted(by_generation.items()):
        rows = _rows(found)
        fits.append(_drawn(name, rows, _fitted(rows, shared, RIDGE)))
    return tuple(fits)


def _rows(runs: Sequence[Run]) -> _Rows:
    return _Rows(*np.array([run[1:] for run in runs]).T)


def fit_host_share(cases: Sequence[Case]) -> float:
    """What hosts draw of the watts that the system has beyond its chips: the median over rows of
    power_w at the wall."""
    shares = []
    for case in cases:
        row = case.measurement
        if row.field != "power_w" or row.power_scope != "system":
            continue
        half, full = (case.predicted(_hosts_drawing(case.topology, share)) for share in (0.5, 1.0))
        if full > half:
            # Watts are a straight line of the share: two points of it tell where the row lies.
            shares.append(1 - (full - row.value) / (2 * (full - half)))
    if not shares:
        raise InputError(
            "to fit the power of hosts takes measured rows of power_w with power_scope system, on"
            " a machine whose file has the power of its chips and of the system"
        )
    return float(np.median(shares))


def _hosts_drawing(topology: Topology, share: float) -> Topology:
    return topology.replace(power=topology.power.replace(host_share=share))


def power_runs(cases: Sequence[Case]) -> list[Run]:
    """The n-th row of watts under some question belongs with the n-th of energy under the same."""
    energies: dict[Measurement, list[Case]] = defaultdict(list)
    powers: list[tuple[Case, Measurement]] = []
    for case in cases:
        row = case.measurement
        question = row.replace(row_id="", family="", field="", value=1.0)
        if row.field in ("energy_per_token_j", "energy_per_sample_j"):
            energies[question].append(case)
        elif row.field == "power_w" and row.power_scope == "chip":
            powers.append((case, question))

    twins = {question: iter(energies[question]) for _, question in powers}
    probes: dict[int, tuple[Topology, ...]] = {}
    found = []
    for case, question in powers:
        key = id(case.topology)
        if key not in probes:
            probes[key] = _probes(case.topology)
        found.append(Run(case, *_run(case, next(twins[question], None), probes[key])))
    return found


def _probes(topology: Topology) -> tuple[Topology, ...]:
    """The machine with chips of one watt that draw half of it idle: always, and with a little of
    each activity."""
    if topology.power.chip_w is None:
        raise InputError(
            f"the power of {topology.name} needs the power of its chip; write chip.power into its"
            " file"
        )
    idle = Power(chip_w=1.0, idle_share=0.5)
    powers = (idle, *(idle.replace(**{name: PROBE}) for name in NAMES[1:]))
    return tuple(topology.replace(power=power) for power in powers)


def _run(case: Case, twin: Case | None, probes: tuple[Topology, ...]) -> tuple[float, float, float]:
    """Share drawn, and how busy arithmetic and memory were, at the rate that was measured where
    it is known."""
    idle, *moved = (case.predicted(probe) for probe in probes)
    compute, memory = ((drawn / idle - 1) / PROBE for drawn in moved)
    faster = 1.0
    if twin is not None:
        measured = case.measurement.value / twin.measurement.value
        faster = measured * twin.predicted() / case.predicted()
    return (
        case.measurement.value / (2 * idle * float(case.topology.power.chip_w or 0.0)),
        faster * compute,
        faster * memory,
    )


def _logs(power: Power) -> Floats:
    return np.log([getattr(power, name) for name in NAMES])


def _errors(rows: _Rows, logs: Floats) -> Floats:
    """ln(predicted / measured) of each run."""
    idle, compute, memory = np.exp(logs)
    predicted = energy_j(
        drawn_w(1.0, float(idle), 0.0), 1.0, compute * rows.compute + memory * rows.memory
    )
    return np.log(predicted / rows.drawn)


def _fitted(rows: _Rows, start: Floats, ridge: float) -> Floats:
    return robust_minimum(
        lambda logs: _errors(rows, logs),
        start,
        hold=ridge,
        most=_logs(MOST),
        scale=SCALE,
        counted=np.ones(len(rows.drawn)),
        step=1e-4,
        rounds=200,
        tolerance=1e-9,
    )


def _drawn(architecture: str, rows: _Rows, logs: Floats) -> Drawn:
    power = Power(
        **{name: float(f"{math.exp(value):.3g}") for name, value in zip(NAMES, logs, strict=True)}
    )
    sizes = np.exp(np.abs(_errors(rows, _logs(power)))) - 1
    return Drawn(
        architecture,
        power,
        len(rows.drawn),
        float(np.median(sizes)),
        float(np.quantile(sizes, 0.9)),
    )
