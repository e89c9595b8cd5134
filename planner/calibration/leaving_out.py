"""Rows predicted by constants that were fitted without them: each model, machine, source and maker
of chips in turn is left out.

A fit without a few rows lies near the fit with them, so each fold starts from the whole fit and
takes the slopes that predictions have there: the robust errors that are left [1] fall in steps of
Gauss and Newton that cost no prediction. Then what was left out is priced with the constants found.

[1] As `robust` has them; P. Green, "Iteratively reweighted least squares", 1984.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from planner.calibration.covering import covers_of
from planner.calibration.fitting import Fitted, errors_of, is_share, slopes_of, values_at, varied
from planner.calibration.powers import LEAST_ROWS, NAMES, Drawn, Run, fit_runs
from planner.calibration.robust import Floats
from planner.calibration.validation import Case
from planner.errors import InfeasibleError
from planner.machines.topology import Topology
from planner.scoring.score import Evidence
from planner.scoring.vouching import reasons_for

FOLDS = ("model", "topology", "source", "maker", "generation")
"""What is left out in turn."""
LEAST_KEPT = 0.25
"""Of a stack's rows, to be fitted on: what is more than the rest is not left out."""
STEPS = 20
MOST_STEP = 0.7
"""Of a constant's logarithm, in all: the slopes hold near the whole fit."""


class Outside(NamedTuple):
    """A row when it was left out with all that are like it in one respect."""

    row_id: str
    stack: str
    family: str
    field: str
    by: str
    """Of FOLDS, or "row" where a stack has but one of each."""
    key: str
    """What was left out."""
    error: float
    """ln(predicted / measured) by constants that were fitted without it."""
    fitted: float
    """The same by those that are shipped."""
    likes: tuple[str, ...]
    reasons: tuple[str, ...]
    """Why it was beyond what was left."""
    is_far: bool

    @property
    def evidence(self) -> Evidence:
        """How near it was to what was left."""
        if not self.reasons:
            return "measured"
        return "extrapolated" if self.is_far else "near measured"


class Whole(NamedTuple):
    """The fit of one stack on all of its rows."""

    cases: Sequence[Case]
    """All that was measured on it, watts included."""
    used: Sequence[Fitted]
    """Those that its constants were fitted on."""
    start: Mapping[str, float]
    constants: Mapping[str, float]
    weights: Floats
    scale: float
    hold: float
    runs: Sequence[Run]
    """Whose watts tell what chips draw, of all stacks."""
    year_of: Mapping[str, str] = {}
    """The software's year of each row, where that is known."""

    def key(self, case: Fitted, by: str) -> str:
        """With what a row is left out."""
        if not isinstance(case, Case):
            return ""
        if by == "maker":
            return case.topology.chip.name.partition(" ")[0]
        if by == "generation":
            return self.year_of.get(case.measurement.row_id, "")
        return str(getattr(case.measurement, "row_id" if by == "row" else by))


def left_out(whole: Whole) -> list[Outside]:
    """Every row of a stack, left out in each respect in which there is another to keep."""
    logs = np.log(np.array(list(whole.constants.values())))
    slopes = slopes_of(whole.used, list(whole.constants), logs)
    errors = errors_of(whole.used, whole.constants)
    fitted = dict(zip(map(id, whole.cases), errors_of(whole.cases, {}).tolist(), strict=True))
    found: list[Outside] = []
    for by, key in _folds(whole):
        kept = np.array([whole.key(case, by) != key for case in whole.used], dtype=bool)
        constants = _without(whole, slopes[kept], errors[kept], whole.weights[kept])
        runs = [run for run in whole.runs if whole.key(run.case, by) != key]
        draws = fit_runs(runs) if len(runs) >= LEAST_ROWS and len(runs) < len(whole.runs) else ()
        found += _fold(whole, by, key, constants, draws, fitted)
    return found


def _folds(whole: Whole) -> list[tuple[str, str]]:
    cases = whole.cases
    folds = []
    for by in FOLDS:
        counts = Counter(whole.key(case, by) for case in cases)
        most = (1 - LEAST_KEPT) * len(cases)
        folds += [(by, key) for key, count in sorted(counts.items()) if count <= most]
    return folds or [("row", case.measurement.row_id) for case in cases]


def _without(whole: Whole, slopes: Floats, errors: Floats, weights: Floats) -> dict[str, float]:
    """The constants that suit the rows that are left, by the slopes of the whole fit."""
    names = list(whole.constants)
    here = np.log(np.array([whole.constants[name] for name in names]))
    begun = np.log(np.array([whole.start[name] for name in names]))
    most = np.array([0.0 if is_share(name) else math.inf for name in names])
    hold = whole.hold * len(errors) / max(1, len(whole.used))
    moved = np.zeros(len(names))
    for _ in range(STEPS):
        off = errors + slopes @ moved
        pulls = slopes * (weights / np.sqrt(1 + (off / whole.scale) ** 2))[:, None]
        curvature = pulls.T @ slopes + (hold + 1e-9) * np.eye(len(names))
        gradient = pulls.T @ off + hold * (here + moved - begun)
        step = np.linalg.solve(curvature, gradient)
        moved = np.clip(moved - step, -MOST_STEP, np.minimum(MOST_STEP, most - here))
    return values_at(names, here + moved)


def _fold(
    whole: Whole,
    by: str,
    key: str,
    constants: Mapping[str, float],
    draws: Sequence[Drawn],
    fitted: Mapping[int, float],
) -> Iterable[Outside]:
    """What was left out, as predicted without it."""
    machines: dict[int, Topology] = {}
    kept = [case.setting for case in whole.cases if case.setting and whole.key(case, by) != key]
    covers = covers_of(kept)
    for case in whole.cases:
        if whole.key(case, by) != key or case.setting is None:
            continue
        place = id(case.topology)
        if place not in machines:
            machines[place] = _drawing(varied(case.topology, constants), draws)
        machine = machines[place]
        stack = machine.software.replace(covers=covers)
        reasons = tuple(reasons_for(case.setting, stack))
        with suppress(InfeasibleError):
            yield Outside(
                row_id=case.measurement.row_id,
                stack=stack.name,
                family=case.family,
                field=case.field,
                by=by,
                key=key,
                error=math.log(case.predicted(machine) / case.measured),
                fitted=fitted[id(case)],
                likes=case.setting.likes,
                reasons=tuple(reason.key for reason in reasons),
                is_far=any(reason.is_far for reason in reasons),
            )


def _drawing(topology: Topology, draws: Sequence[Drawn]) -> Topology:
    """The machine with chips that draw as their generation, or as all of them, without what was
    left out."""
    if not draws:
        return topology
    by_generation = {drawn.architecture: drawn.power for drawn in draws}
    power = by_generation.get(topology.chip.architecture, by_generation[""])
    return topology.replace(
        power=topology.power.replace(**{name: getattr(power, name) for name in NAMES})
    )
