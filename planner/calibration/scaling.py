"""A stack scaled to a few rows: all its launches longer by one factor, all that its chips do by
another, all waits before a first token by a third.

A few rows cannot tell a dozen constants apart, but they tell how much slower or faster than
shipped one installation is. The factors are drawn towards 1, and the first two towards each other,
by how far rows of the stack that were left out lie off [1]: of that variance a share is common to
all rows of one installation, the rest is each row's own. So the more rows agree, the more of what
they say is believed, and never more than they say. First tokens are off by more than later ones,
and most of that is not speed: hence a factor of their own, so that they do not move the others by
what is only a queue.

[1] B. Efron, C. Morris, "Stein's estimation rule and its competitors: an empirical Bayes approach",
JASA 68, 1973.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from planner.calibration.fitting import (
    Constant,
    Fit,
    Fitted,
    effects_of,
    enough,
    errors_of,
    fit_software,
    median_factor,
    one_stack,
    profile_toml,
    thinned,
    told_by,
    varied,
)
from planner.calibration.robust import Floats, robust_minimum
from planner.errors import InputError
from planner.machines.software import Software
from planner.readers.topology_file import software_toml
from planner.records import Record

COMMON_SHARE = 0.6
"""Of the variance of rows around predictions, what all rows of one installation have in common: the
median over stacks of tables that are shipped, where rows of one source, machine and model are one
installation (0.38 to 0.81 of those with more than 200 rows of tpot_s or tokens_per_s)."""
APART = 0.5
"""How far the two factors lie apart before anything was measured, against how far they lie off 1."""
BELIEVED_ROWS = 2
"""That the spread which the stack was shipped with counts as, beside the spread of the rows."""
HALF_WIDTH = 0.3
"""Of what was never measured on the stack."""
OF_HALF_WIDTH = 1 / 1.2816
"""A standard deviation in what four of five rows stay within."""
LEAST_SPREAD = 0.01
LEAST_EFFECT = 1e-3
STEP = 0.05
TURNS = 4
"""In which the spread of the rows and the factors settle."""
LAUNCHES = (
    "kernel_overhead_s", "matmul_overhead_s", "quantised_overhead_s", "attention_overhead_s", "experts_overhead_s",
    "draft_overhead_s", "layer_overhead_s", "layer_crossing_s", "step_overhead_s", "sequence_overhead_s",
    "collective_overhead_s", "hop_overhead_s",
)  # fmt: skip
CHIPS = (
    "compute_efficiency", "quantised_efficiency", "narrow_efficiency", "attention_efficiency",
    "memory_efficiency",
)  # fmt: skip
"""Shares of a peak; those that are shares of another stay."""
WAITS = ("request_overhead_s", "burst_share")
"""Before a request's turn; of each row of first tokens alone."""
STATED = {"launches": LAUNCHES, "chips": CHIPS, "waits": WAITS}
OF_COLLECTIVES = {
    "launches": ("base_latency_s", "step_latency_s", "across_base_latency_s", "across_step_latency_s"),
    "chips": ("bandwidth_fraction", "across_bandwidth_fraction"),
}  # fmt: skip
Part = Literal["launches", "chips", "waits"]
PARTS: tuple[Part, ...] = ("launches", "chips", "waits")
FIRST = "ttft_s"
SPEEDS = ("tpot_s", "tokens_per_s", "request_s")


@runtime_checkable
class Doubted(Protocol):
    """A case that knows how far its prediction may be off."""

    @property
    def half_width(self) -> float: ...


class Factor(Record):
    """How many times longer than shipped one part of a stack's times is."""

    part: Part
    """Launches of software, what chips and links do, or waits before a request's first token."""
    factor: float
    low: float
    """It is within both with 80 %."""
    high: float

    def __str__(self) -> str:
        return f"{self.part} × {self.factor:.3g} (80 %: {self.low:.3g} to {self.high:.3g})"


class Scaled(NamedTuple):
    """A stack that was scaled, and by what."""

    fit: Fit
    factors: tuple[Factor, ...]

    @property
    def note(self) -> str:
        """In one sentence."""
        rows = f"{self.fit.rows} row{'s' * (self.fit.rows != 1)}"
        return f"scaled on {rows}: {', '.join(map(str, self.factors))}"

    def to_toml(self) -> str:
        """As a file that `load_topology(…, software="mine.toml")` takes."""
        return software_toml(self.fit.software, note=self.note)


class _Seen(NamedTuple):
    """What is known before the factors are."""

    cases: Sequence[Fitted]
    starts: Mapping[Part, Mapping[str, float]]
    """Constants as shipped, by the part whose factor moves them."""
    deviations: Floats
    """Of the rows around an installation's own middle, shape (cases,)."""
    mixed: Floats
    """Logarithms of the factors for each unknown, shape (parts, unknowns): what the first two have
    in common, what sets them apart, the third; each unknown is spread by 1 before any row."""
    interrupted: float
    """Of others' prompts, the share that comes after a request's first token."""

    def errors(self, unknowns: Floats) -> Floats:
        """ln(predicted / measured) of each row."""
        return errors_of(self.cases, self.constants(unknowns))

    def constants(self, unknowns: Floats) -> dict[str, float]:
        """As the factors leave them; no share of a peak gets beyond the peak."""
        launches, chips, waits = np.exp(self.mixed @ unknowns).tolist()
        found = {name: value * launches for name, value in self.starts["launches"].items()}
        for name, value in self.starts["chips"].items():
            found[name] = min(1.0, value / chips)
        found |= {name: value * waits for name, value in self.starts["waits"].items()}
        lost = found.get("burst_share", 0.0) + self.interrupted
        if lost > 1:
            # Others' prompts come before a request's first token or after it: at most all of them.
            found["burst_share"] /= lost
            found["interruption_share"] = self.interrupted / lost
        return found


def fit_or_scale(cases: Sequence[Fitted]) -> tuple[Fit, Scaled | None]:
    """The one stack of all cases with its constants fitted, or, where rows are too few for that,
    scaled."""
    used = thinned(cases)
    if enough(used, told_by(used)):
        return fit_software(cases), None
    scaled = scale_software(used)
    return scaled.fit, scaled


def calibrated_toml(fit: Fit, scaled: Scaled | None) -> str:
    """The stack as a file, however it came about."""
    return profile_toml(fit) if scaled is None else scaled.to_toml()


def scale_software(cases: Sequence[Fitted]) -> Scaled:
    """The stack with its factors at their most likely."""
    software = one_stack(cases)
    seen = _seen(cases, software)
    start = np.zeros(len(PARTS))
    before = seen.errors(start)
    if float(np.abs(_slopes(seen, start)).max()) < LEAST_EFFECT:
        raise InputError(
            f"these rows cannot calibrate {software.name}: none of its factors changes what is"
            " predicted for them"
        )
    found, spread = _settled(seen)
    constants = seen.constants(found)
    factors = _factors(seen, found, spread)
    return Scaled(_fit(seen, software, constants, before), factors)


def _seen(cases: Sequence[Fitted], software: Software) -> _Seen:
    deviations = np.array([_deviation(case, software) for case in cases])
    common = math.sqrt(COMMON_SHARE)
    speed = common * _speed_deviation(cases, deviations, software)
    first = [one for case, one in zip(cases, deviations, strict=True) if case.field == FIRST]
    # A stack that has no waits has no factor of them either.
    has_waits = bool(starts_of(software, "waits"))
    waits = common * max(first, default=0.0) if has_waits else 0.0
    mixed = [[speed, APART * speed, 0.0], [speed, -APART * speed, 0.0], [0.0, 0.0, waits]]
    return _Seen(
        cases=cases,
        starts={part: starts_of(software, part) for part in PARTS},
        deviations=deviations * math.sqrt(1 - COMMON_SHARE),
        mixed=np.array(mixed),
        interrupted=software.interruption_share,
    )


def _speed_deviation(cases: Sequence[Fitted], deviations: Floats, software: Software) -> float:
    """How far off the speed of an installation may be: that of what is predicted best, since the
    rest is something else than speed."""
    fields = {case.field for case in cases}
    known = [
        one.half_width * OF_HALF_WIDTH
        for one in software.residuals
        if not one.like and (one.field in SPEEDS or one.field in fields)
    ]
    return float(max(LEAST_SPREAD, min([*known, *deviations.tolist()])))


def _deviation(case: Fitted, software: Software) -> float:
    return max(LEAST_SPREAD, _half_width(case, software) * OF_HALF_WIDTH)


def _half_width(case: Fitted, software: Software) -> float:
    if isinstance(case, Doubted) and case.half_width > 0:
        return case.half_width
    known = (one.half_width for one in software.residuals if one.field == case.field)
    return next(known, HALF_WIDTH)


def starts_of(software: Software, part: Part) -> dict[str, float]:
    """The constants that a part's factor moves, by their paths; a factor cannot move 0."""
    found = {name: getattr(software, name) for name in STATED[part]}
    for number, kernel in enumerate(software.collectives):
        for name in OF_COLLECTIVES.get(part, ()):
            found[f"collectives[{number}].{name}"] = getattr(kernel, name)
    return {name: value for name, value in found.items() if value}


def _settled(seen: _Seen) -> tuple[Floats, float]:
    """The unknowns, and the variance of the rows against what was expected of them: each follows
    from the other."""
    spread = 1.0
    found = np.zeros(len(PARTS))
    for _ in range(TURNS):
        found = robust_minimum(
            seen.errors,
            np.zeros(len(PARTS)),
            hold=1.0,
            most=np.full(len(PARTS), np.inf),
            # So wide that squares count: of a few rows none can be told to be the odd one.
            scale=30.0,
            counted=1 / (spread * seen.deviations**2),
            step=STEP,
            rounds=12,
            tolerance=1e-6,
        )
        spread = _spread_of(seen.errors(found) / seen.deviations)
    return found, spread


def _spread_of(errors: Floats) -> float:
    """The variance of rows around their own middle, with what was expected counted as rows."""
    around = float(np.sum((errors - errors.mean()) ** 2))
    return (BELIEVED_ROWS + around) / (BELIEVED_ROWS + len(errors) - 1)


def _slopes(seen: _Seen, here: Floats) -> Floats:
    """d ln(prediction) / d unknown, shape (cases, unknowns)."""
    at = seen.errors(here)
    return np.stack(
        [(seen.errors(here + STEP * one) - at) / STEP for one in np.eye(len(here))], axis=1
    )


def _factors(seen: _Seen, found: Floats, spread: float) -> tuple[Factor, ...]:
    """The factors, with what is left to doubt of them."""
    slopes = _slopes(seen, found) / (math.sqrt(spread) * seen.deviations[:, None])
    doubt = seen.mixed @ np.linalg.inv(slopes.T @ slopes + np.eye(len(found))) @ seen.mixed.T
    wide = _t_quantile(BELIEVED_ROWS + len(seen.cases) - 1)
    factors = []
    for part, log, variance in zip(PARTS, seen.mixed @ found, np.diag(doubt), strict=True):
        reach = wide * math.sqrt(variance)
        # Nothing is said of waits where no first token was measured.
        if reach:
            one = Factor(
                part=part,
                factor=math.exp(log),
                low=math.exp(log - reach),
                high=math.exp(log + reach),
            )
            factors.append(one)
    return tuple(factors)


def _t_quantile(freedom: int) -> float:
    """What nine of ten draws of Student's t stay below."""
    from scipy.stats import t

    return float(t.ppf(0.9, freedom))


def _fit(seen: _Seen, software: Software, constants: Mapping[str, float], before: Floats) -> Fit:
    starts = {name: value for part in PARTS for name, value in seen.starts[part].items()}
    if "burst_share" in starts:
        starts["interruption_share"] = software.interruption_share
    effects = effects_of(seen.cases, starts)
    moved = tuple(
        Constant(name=name, before=value, after=constants.get(name, value), effect=effects[name])
        for name, value in starts.items()
        if effects[name] > LEAST_EFFECT
    )
    return Fit(
        # Residuals and what was covered stay those of the stack: a few rows vouch for little.
        software=varied(seen.cases[0].topology, constants).software,
        constants=moved,
        untouched=(),
        rows=len(seen.cases),
        median_before=median_factor(before),
        median_after=median_factor(errors_of(seen.cases, constants)),
    )
