"""Fitting constants to measurements: robust, and drawn towards where they start.

A constant is named by its path in a topology's software ("memory_efficiency",
"tunings[hopper].compute_efficiency", "collectives[0].base_latency_s"), by a fabric's name
("fabrics[NVLink 4].latency_s"), or by an architecture ("chips[hopper].signal_latency_s"). The
search (`robust`) moves their logarithms; its start holds a constant that the rows hardly touch.
"""

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from planner.calibration.covering import covers_of
from planner.calibration.robust import Floats, robust_minimum
from planner.errors import InfeasibleError, InputError, listed
from planner.machines.software import Residual, Software, Tuning
from planner.machines.topology import Topology
from planner.readers.topology_file import software_toml
from planner.records import Record
from planner.scoring.vouching import Setting

MOST_ROWS = 600
"""Rows that a fit looks at, drawn from those given, always the same."""
LEAST_EFFECT = 1e-3
"""Root mean square of d ln(prediction) / d ln(constant) below which rows say nothing about a
constant."""
LEAST_ROWS = 5
"""Below which a field's residual is not known."""
LEAST_WIDTH = 0.03
PROMPT_SHARES = ("burst_share", "interruption_share")
STEP = 0.05
SCALE = 0.25
"""Errors beyond count less and less."""
MEASURE: dict[str, str] = {
    "kernel_overhead_s": "decode at batch 1 on many chips",
    "matmul_overhead_s": "decode at batch 1 with 16-bit weights",
    "quantised_overhead_s": "decode at batch 1 with 8-bit weights",
    "attention_overhead_s": "decode at batch 1 of a deep, narrow model",
    "experts_overhead_s": "decode at batch 1 of a mixture of experts",
    "layer_overhead_s": "decode at batch 1 on a machine without launches",
    "layer_crossing_s": "decode at batch 1 of layers of several sizes",
    "step_overhead_s": "decode at batch 1 of a small model",
    "draft_overhead_s": "decode at batch 1 with drafts",
    "sequence_overhead_s": "decode of a small model at a batch of hundreds",
    "request_overhead_s": "first tokens under a light, steady load",
    "burst_share": "first tokens under a heavy, steady load",
    "interruption_share": "time per token under a heavy load of long prompts",
    "compute_efficiency": "prefill of long prompts with 16-bit weights",
    "quantised_efficiency": "prefill of long prompts with 8-bit weights",
    "narrow_efficiency": "prefill of long prompts with 4-bit weights",
    "attention_efficiency": "prefill of very long prompts",
    "experts_efficiency": "prefill of a mixture of experts",
    "memory_efficiency": "decode of a large model at batch 1",
    "unfused_share": "a diffusion model at a high resolution",
}
"""The constants of a stack that a fit may move, and what would tell them."""


class Fitted(Protocol):
    """A measured figure and how to predict it."""

    @property
    def topology(self) -> Topology: ...
    @property
    def field(self) -> str: ...
    @property
    def measured(self) -> float: ...
    @property
    def family(self) -> str:
        """What it is like."""
        ...

    def predicted(self, topology: Topology | None = None) -> float:
        """The figure on the case's machine, or on another version of it."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A case that knows how near it is to others."""

    @property
    def setting(self) -> Setting | None: ...


class Constant(Record):
    """One constant before and after."""

    name: str
    before: float
    after: float
    effect: float
    """Root mean square of d ln(prediction) / d ln(constant) over the rows."""


class Fit(Record):
    """A calibrated stack, and how it came about."""

    software: Software
    constants: tuple[Constant, ...]
    untouched: tuple[str, ...]
    """Constants that no row says anything about."""
    rows: int
    median_before: float
    """Factor - 1: 0.1 is 10 % off either way."""
    median_after: float


def fit_software(cases: Sequence[Fitted], *, strength: float = 0.05, rounds: int = 8) -> Fit:
    """The constants of the one stack that all cases run on; `strength` is how firmly the shipped
    values hold.

    An InputError says what to measure next where the rows cannot tell the constants apart.
    """
    software = one_stack(cases)
    used = thinned(cases)
    shipped = _shipped(software)
    effects = effects_of(used, shipped)
    told = {name: value for name, value in shipped.items() if effects[name] > LEAST_EFFECT}
    if not enough(used, told):
        hints = to_measure(told or shipped)
        raise InputError(
            f"{len(used)} rows are not enough to fit {len(told)} constants of {software.name};"
            f" measure more, such as {hints}"
        )

    found = fit_constants(used, told, strength=strength, rounds=rounds)
    before = errors_of(used, told)
    after = errors_of(used, found)
    fitted = software.replace(**found)
    constants = tuple(
        Constant(name=name, before=value, after=found[name], effect=effects[name])
        for name, value in told.items()
    )
    residuals = residuals_of([case.field for case in used], after)
    settings = [case.setting for case in cases if isinstance(case, Placed) and case.setting]
    return Fit(
        software=fitted.replace(residuals=residuals, covers=covers_of(settings)),
        constants=constants,
        untouched=tuple(name for name in shipped if name not in told),
        rows=len(cases),
        median_before=median_factor(before),
        median_after=median_factor(after),
    )


def enough(cases: Sequence[Fitted], told: Mapping[str, float]) -> bool:
    """Whether rows may tell so many constants apart."""
    return bool(told) and len(cases) >= len(told)


def told_by(cases: Sequence[Fitted]) -> dict[str, float]:
    """The constants of their stack that rows say anything about, and how much."""
    effects = effects_of(cases, _shipped(one_stack(cases)))
    return {name: effect for name, effect in effects.items() if effect > LEAST_EFFECT}


def _shipped(software: Software) -> dict[str, float]:
    """The constants that the stack has; a factor cannot move those that are 0."""
    stated = {name: getattr(software, name) for name in MEASURE}
    return {name: value for name, value in stated.items() if value}


def to_measure(constants: Iterable[str]) -> str:
    """What would tell the first of some constants."""
    return listed([MEASURE[name] for name in itertools.islice(constants, 3)], "or")


def thinned(cases: Sequence[Fitted], most: int = MOST_ROWS) -> Sequence[Fitted]:
    """At most so many, drawn with a fixed seed, in their order: all of a family that has few, and
    as many of each of the others."""
    if len(cases) <= most:
        return cases
    places = defaultdict(list)
    for number, case in enumerate(cases):
        places[case.family].append(number)
    dice = np.random.default_rng(0)
    kept: list[int] = []
    by_size = sorted(places.values(), key=len)
    for left, family in zip(range(len(by_size), 0, -1), by_size, strict=True):
        share = (most - len(kept)) // left
        kept += dice.permutation(family)[:share].tolist()
    return [cases[number] for number in sorted(kept)]


def median_factor(errors: Floats) -> float:
    """The median of the factors by which predictions are off, less 1: 0.1 is 10 % off either
    way."""
    return float(np.exp(np.median(np.abs(errors))) - 1)


def one_stack(cases: Sequence[Fitted]) -> Software:
    """The stack that all rows are of."""
    stacks = {case.topology.software.name: case.topology.software for case in cases}
    if len(stacks) != 1:
        raise InputError(
            f"a fit needs rows of one software stack, not of {listed(sorted(stacks))};"
            " filter them by software"
        )
    return next(iter(stacks.values()))


def effects_of(cases: Sequence[Fitted], start: Mapping[str, float]) -> dict[str, float]:
    """Of each constant, the root mean square of d ln(prediction) / d ln(constant) over the
    cases."""
    logs = _logs(start)
    slopes = _slopes(cases, list(start), logs, errors_of(cases, start))
    return dict(zip(start, np.sqrt(np.mean(slopes**2, axis=0)).tolist(), strict=True))


def fit_constants(
    cases: Sequence[Fitted],
    start: Mapping[str, float],
    *,
    strength: float,
    rounds: int = 8,
    weights: Floats | None = None,
    scale: float = SCALE,
) -> dict[str, float]:
    """The constants that suit the cases, each counted with its weight, drawn towards `start` by
    `strength`; errors beyond `scale` count less and less."""
    names = list(start)
    most = [0.0 if is_share(name) else math.inf for name in names]
    counted = np.ones(len(cases)) if weights is None else weights
    found = robust_minimum(
        lambda logs: _errors(cases, names, logs),
        _logs(start),
        # By the rows, so that twice as many of the same tell no more of the start.
        hold=strength * len(cases) / 100,
        most=np.array(most),
        scale=scale,
        counted=counted,
        step=STEP,
        rounds=rounds,
        tolerance=1e-4,
    )
    return values_at(names, found)


def errors_of(cases: Sequence[Fitted], constants: Mapping[str, float]) -> Floats:
    """ln(predicted / measured) of each case under such constants, shape (cases,); 0 where they
    make it infeasible."""
    machines: dict[int, Topology] = {}
    errors = np.zeros(len(cases))
    for number, case in enumerate(cases):
        key = id(case.topology)
        if key not in machines:
            machines[key] = varied(case.topology, constants)
        with suppress(InfeasibleError):
            errors[number] = math.log(case.predicted(machines[key]) / case.measured)
    return errors


class Place(NamedTuple):
    """Where a constant stands: a field of the software, of the entry of one of its lists, of a
    fabric, of chips of one architecture."""

    field: str
    table: str = ""
    entry: str = ""


def place_of(name: str) -> Place:
    """The parts of a constant's path."""
    found = re.fullmatch(r"(\w+)\[(.+)\]\.(\w+)", name)
    return Place(found[3], found[1], found[2]) if found else Place(name)


def varied(topology: Topology, constants: Mapping[str, float]) -> Topology:
    """The machine with other constants."""
    own: dict[str, Any] = {}
    entries: dict[str, dict[str, dict[str, float]]] = {
        "tunings": {},
        "collectives": {},
        "fabrics": {},
        "chips": {},
    }
    for name, value in constants.items():
        place = place_of(name)
        if place.table:
            entries[place.table].setdefault(place.entry, {})[place.field] = value
        else:
            own[place.field] = value

    stack = topology.software
    software = stack.replace(
        **own,
        tunings=_tuned(stack.tunings, entries["tunings"]),
        collectives=tuple(
            kernel.replace(**entries["collectives"].get(str(number), {}))
            for number, kernel in enumerate(stack.collectives)
        ),
    )
    fabrics = tuple(
        fabric.replace(**entries["fabrics"].get(fabric.name, {})) for fabric in topology.fabrics
    )
    chip = topology.chip.replace(**entries["chips"].get(topology.chip.architecture, {}))
    return topology.replace(software=software, fabrics=fabrics, chip=chip)


def _tuned(
    tunings: Sequence[Tuning], changed: Mapping[str, Mapping[str, float]]
) -> tuple[Tuning, ...]:
    """With fields changed by architecture; those that had no tuning get one."""
    found = {one.architecture: one for one in tunings}
    for name, fields in changed.items():
        found[name] = found.get(name, Tuning(architecture=name)).replace(**fields)
    return tuple(found.values())


def residuals_of(fields: Sequence[str], errors: Floats) -> tuple[Residual, ...]:
    """By field, what four of five rows stay within."""
    sizes: dict[str, list[float]] = {}
    for field, error in zip(fields, errors, strict=True):
        sizes.setdefault(field, []).append(abs(float(error)))
    return tuple(
        Residual(field=field, half_width=max(LEAST_WIDTH, float(np.quantile(found, 0.8))))
        for field, found in sorted(sizes.items())
        if len(found) >= LEAST_ROWS
    )


def profile_toml(fit: Fit) -> str:
    """The calibrated stack as a file that `load_topology(…, software="profile.toml")` takes."""
    return software_toml(fit.software, note=f"calibrated on {fit.rows} rows")


def slopes_of(cases: Sequence[Fitted], names: list[str], logs: Floats) -> Floats:
    """d ln(prediction) / d ln(constant), shape (cases, constants)."""
    return _slopes(cases, names, logs, _errors(cases, names, logs))


def _slopes(cases: Sequence[Fitted], names: list[str], logs: Floats, errors: Floats) -> Floats:
    slopes = np.zeros((len(cases), len(names)))
    for column, name in enumerate(names):
        step = -STEP if is_share(name) and logs[column] + STEP > 0 else STEP
        moved = logs.copy()
        moved[column] += step
        slopes[:, column] = (_errors(cases, names, moved) - errors) / step
    return slopes


def _errors(cases: Sequence[Fitted], names: list[str], logs: Floats) -> Floats:
    return errors_of(cases, values_at(names, logs))


def is_share(name: str) -> bool:
    """Whether a constant, named by its path, is at most 1."""
    return name.endswith(("_efficiency", "_share", "_fraction"))


def _logs(constants: Mapping[str, float]) -> Floats:
    return np.log(np.array(list(constants.values()), dtype=np.float64))


def values_at(names: Sequence[str], logs: Floats) -> dict[str, float]:
    """The constants of a point of the search; what a request loses to others' prompts before and
    after its first token is at most all of them."""
    found = {name: float(value) for name, value in zip(names, np.exp(logs), strict=True)}
    lost = sum(found.get(name, 0.0) for name in PROMPT_SHARES)
    if lost > 1:
        found |= {name: found[name] / lost for name in PROMPT_SHARES}
    return found
