"""Fitting a software stack's constants to measurements: robust, and drawn towards what is shipped.

Logarithms of the constants are moved by damped Gauss-Newton steps on ln(predicted / measured) with pseudo-Huber weights
[1, 2]; a ridge holds constants that the rows hardly touch. Constants that the rows do not touch at all stay as they are.

[1] K. Levenberg, 1944; D. Marquardt, 1963. [2] P. Charbonnier et al., "Deterministic edge-preserving regularization", 1997.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planner.calibration.validation import Case
from planner.errors import InfeasibleError, InputError, listed
from planner.readers.topology_file import software_toml
from planner.records import Record
from planner.topology import Residual, Software, Topology

Floats = NDArray[np.float64]

MOST_ROWS = 600
"""Rows that a fit looks at, evenly spaced over those given."""
LEAST_EFFECT = 1e-3
"""Root mean square of d ln(prediction) / d ln(constant) below which rows say nothing about a constant."""
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
    "step_overhead_s": "decode at batch 1 of a small model",
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


def fit_software(cases: Sequence[Case], *, strength: float = 0.05, rounds: int = 8) -> Fit:
    """The constants of the one stack that all cases run on; `strength` is how firmly the shipped values hold.

    An InputError says what to measure next where the rows cannot tell the constants apart.
    """
    software = _one_stack(cases)
    used = cases[:: max(1, math.ceil(len(cases) / MOST_ROWS))]
    names = [name for name in MEASURE if getattr(software, name) not in (None, 0.0)]
    start = np.log([getattr(software, name) for name in names])
    errors = _errors(used, software, names, start)
    effects = np.sqrt(np.mean(_slopes(used, software, names, start, errors) ** 2, axis=0))
    told = [name for name, effect in zip(names, effects, strict=True) if effect > LEAST_EFFECT]
    untouched = tuple(name for name in names if name not in told)
    if len(used) < len(told) or not told:
        hints = listed([MEASURE[name] for name in (told or names)[:3]], "or")
        raise InputError(
            f"{len(used)} rows cannot tell {len(told)} constants of {software.name} apart; measure more, such as {hints}"
        )
    start = np.log([getattr(software, name) for name in told])
    found = _minimised(used, software, told, start, strength, rounds)
    fitted = _with(software, told, found)
    after = _errors(used, software, told, found)
    sizes = dict(zip(names, effects, strict=True))
    return Fit(
        software=fitted.replace(residuals=_residuals(used, after)),
        constants=tuple(
            Constant(name=name, before=getattr(software, name), after=getattr(fitted, name), effect=float(sizes[name]))
            for name in told
        ),
        untouched=untouched,
        rows=len(cases),
        median_before=float(np.exp(np.median(np.abs(errors))) - 1),
        median_after=float(np.exp(np.median(np.abs(after))) - 1),
    )


def _one_stack(cases: Sequence[Case]) -> Software:
    stacks = {case.topology.software.name: case.topology.software for case in cases}
    if len(stacks) != 1:
        raise InputError(
            f"a fit needs rows of one software stack, not of {listed(sorted(stacks))}; filter them by software"
        )
    return next(iter(stacks.values()))


def _minimised(
    cases: Sequence[Case], software: Software, names: list[str], start: Floats, strength: float, rounds: int
) -> Floats:
    """Damped Gauss-Newton."""
    ridge = strength * len(cases) / 100
    most = np.array([0.0 if name.endswith(("_efficiency", "_share")) else math.inf for name in names])

    def cost(errors: Floats, at: Floats) -> float:
        robust = 2 * SCALE**2 * (np.sqrt(1 + (errors / SCALE) ** 2) - 1)
        return float(robust.sum() + ridge * ((at - start) ** 2).sum())

    here, damping = np.asarray(start, dtype=np.float64), 1e-2
    errors = _errors(cases, software, names, here)
    for _ in range(rounds):
        slopes = _slopes(cases, software, names, here, errors)
        weights = 1 / np.sqrt(1 + (errors / SCALE) ** 2)
        curvature = (slopes * weights[:, None]).T @ slopes + ridge * np.eye(len(names))
        gradient = (slopes * weights[:, None]).T @ errors + ridge * (here - start)
        for _ in range(5):
            damped = curvature + damping * np.diag(np.diag(curvature))
            there = np.minimum(np.clip(here - np.linalg.solve(damped, gradient), here - 0.7, here + 0.7), most)
            tried = _errors(cases, software, names, there)
            if cost(tried, there) < cost(errors, here):
                break
            damping *= 6
        else:
            return here
        gain = cost(errors, here) - cost(tried, there)
        here, errors, damping = np.asarray(there), tried, max(damping / 4, 1e-5)
        if gain < 1e-4 * cost(errors, here):
            return here
    return here


def _errors(cases: Sequence[Case], software: Software, names: list[str], logs: Floats) -> Floats:
    """ln(predicted / measured) of each case, shape (cases,); 0 where another value makes a case infeasible."""
    varied = _with(software, names, logs)
    machines: dict[int, Topology] = {}
    errors = np.zeros(len(cases))
    for number, case in enumerate(cases):
        machine = machines.get(id(case.topology))
        if machine is None:
            machine = machines[id(case.topology)] = case.topology.replace(software=varied)
        try:
            errors[number] = math.log(case.predicted(machine) / case.measurement.value)
        except InfeasibleError:
            errors[number] = 0.0
    return errors


def _slopes(cases: Sequence[Case], software: Software, names: list[str], logs: Floats, errors: Floats) -> Floats:
    """d error / d ln(constant), shape (cases, constants)."""
    slopes = np.zeros((len(cases), len(names)))
    for column, name in enumerate(names):
        bounded = name.endswith(("_efficiency", "_share")) and logs[column] + STEP > 0
        step = -STEP if bounded else STEP
        moved = logs.copy()
        moved[column] += step
        slopes[:, column] = (_errors(cases, software, names, moved) - errors) / step
    return slopes


def _with(software: Software, names: list[str], logs: Floats) -> Software:
    return software.replace(**{name: float(value) for name, value in zip(names, np.exp(logs), strict=True)})


def _residuals(cases: Sequence[Case], errors: Floats) -> tuple[Residual, ...]:
    """By field, what four of five rows stay within."""
    fields = sorted({case.measurement.field for case in cases})
    by_field = {
        name: [abs(e) for c, e in zip(cases, errors, strict=True) if c.measurement.field == name] for name in fields
    }
    return tuple(
        Residual(field=name, half_width=max(0.03, float(np.quantile(sizes, 0.8))))
        for name, sizes in by_field.items()
        if len(sizes) >= 5
    )


def profile_toml(fit: Fit) -> str:
    """The calibrated stack as a file that `load_topology(…, software="profile.toml")` takes."""
    return software_toml(fit.software, note=f"calibrated on {fit.rows} rows")
