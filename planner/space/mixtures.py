"""What no plan of a mix can beat where each layer may run under any of its options: a bound on one
field that knows of the limits on others.

Bounds of a mix take each sum and each peak to be the least by itself: the pass from the widest
option, the work from the narrowest. Here every layer has one option for all of them, though it may
change from layer to layer, and plans keep the limits. That leaves a linear program in the layers
under each option; any prices of its limits give a bound, and steps along the slope find good ones
[1].

[1] B. Polyak, "Minimization of unsmooth functionals", USSR Computational Mathematics and
Mathematical Physics 9(3), 1969.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from planner import allowance
from planner.solver.chain.problem import Floats, Ints, Measure, Way
from planner.space.measures import PEAKS, SUMS, Peak, Sum

MOST_WAYS = 16
"""Combinations of what may be the larger in each pair of a measure, at most."""
STEPS = 12
BEYOND = 1.001
"""How far beyond the goal a bound is sought, so that it comes to lie there."""
FARTHEST = 100.0
"""Over what the objective is at least, that a bound is sought."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Layers:
    """What groups of equal layers add under each option."""

    sums: Floats
    """Of one layer, shape (options, groups, SUMS)."""
    work: Floats
    """Load × chips of one layer, shape (options, groups, PEAKS)."""
    peaks_fixed: Floats
    """What a run loads besides, shape (options, PEAKS)."""
    counts: Floats
    """Layers of each group, shape (groups,)."""

    @property
    def columns(self) -> Floats:
        """Sums, then work, of all layers of each group, shape (options, groups, SUMS + PEAKS)."""
        return np.concatenate([self.sums, self.work], axis=2) * self.counts[:, None]


@dataclass(frozen=True, slots=True)
class Rows:
    """Mixes, one a row."""

    options: Ints
    """Under which layers may run, as many of every mix, shape (rows, options of one)."""
    most_chips: Floats
    """Of a replica, shape (rows,)."""
    held: Floats
    """The least of each sum, for what multiplies a measure, shape (rows, SUMS)."""


def ways_of(measure: Measure) -> Floats:
    """Weights of sums and peaks that a total is no less than, one way of taking the larger of
    each pair a row, shape (ways, SUMS + PEAKS)."""
    pairs = [(Way(pair.sum), *pair.beside_sum) for pair in measure.larger]
    found = []
    for ways in itertools.islice(itertools.product(*pairs), MOST_WAYS):
        sums, peaks = measure.sums.copy(), measure.peaks.copy()
        for pair, way in zip(measure.larger, ways, strict=True):
            if way.sum is not None:
                sums[way.sum] += pair.weight
            for peak in way.peaks:
                peaks[peak] += pair.weight
        # How many chips there are is no matter of layers.
        sums[Sum.CHIPS] = 0.0
        found.append(np.concatenate([sums, peaks]))
    return np.array(found)


def _multiplied(measure: Measure, held: Floats) -> Floats:
    """What a total is multiplied by at least, shape (rows,)."""
    if measure.held is None:
        return np.full(len(held), measure.scale)
    return measure.scale * np.maximum(held[:, measure.held], measure.least_held)


def mixed_bound(
    layers: Layers,
    rows: Rows,
    measures: list[Measure],
    limits: list[float],
    usable_bytes: float,
    goal: float,
) -> Floats:
    """No plan of a mix that keeps the limits on all measures but the first has the first below
    this, shape (rows,); bounds beyond the goal are of no use, and infinite limits are none.

    Measures that are averages have no such bound: they count as nothing here.
    """
    objective, *limited = measures
    if objective.averaged:
        return np.zeros(len(rows.options))
    times = _multiplied(objective, rows.held)
    asked = [
        (ways_of(measure), measure.unlined(limit) / _positive(_multiplied(measure, rows.held)))
        for measure, limit in zip(limited, limits, strict=True)
        if not measure.averaged
    ]
    filled = np.zeros((1, SUMS + PEAKS))
    filled[0, SUMS + Peak.NEEDED] = 1.0
    asked.append((filled, np.full(len(rows.options), usable_bytes)))
    aims = objective.unlined(goal) / _positive(times) if math.isfinite(goal) else None
    prices = _Prices(layers, rows, ways_of(objective), asked, aims)
    return np.asarray(objective.lined(times * prices.best()) * (1 - ROUNDING))


def _positive(values: Floats) -> Floats:
    return np.maximum(values, 1e-300)


class _Prices:
    """Prices of limits, and shares of the ways that an objective is no less than, for each row."""

    def __init__(
        self,
        layers: Layers,
        rows: Rows,
        ways: Floats,
        asked: list[tuple[Floats, Floats]],
        aims: Floats | None,
    ) -> None:
        rows_, options = rows.options.shape
        _, self.groups, columns = layers.columns.shape
        self.options = options
        self.layers = layers.columns[rows.options].reshape(rows_, options * self.groups, columns)
        peaks = layers.peaks_fixed[rows.options].min(axis=1)
        self.fixed = np.concatenate([np.zeros((len(peaks), SUMS)), peaks], axis=1)
        # Work is shared out evenly at best.
        self.shares = np.ones((len(peaks), columns))
        self.shares[:, SUMS:] /= rows.most_chips[:, None]
        # Everything is told as a share: of what is allowed, or of what the objective is at least.
        self.ways = ways
        least = self._uses(np.zeros((len(peaks), columns)), slice(None))[0] @ ways.T
        least = least.max(axis=1)
        self.unit = np.where(least > 0, least, 1.0)
        self.limits = np.concatenate([one for one, _ in asked])
        most = np.concatenate(
            [np.repeat(most[:, None], len(one), axis=1) for one, most in asked], axis=1
        )
        known = np.isfinite(most) & (most > 0)
        self.inverse = np.where(known, 1 / np.where(known, most, 1.0), 0.0) * (1 - ROUNDING)
        self.known = known
        told = np.full(len(peaks), FARTHEST) if aims is None else BEYOND * aims / self.unit
        self.aims = np.minimum(told, FARTHEST)

    def _uses(self, weights: Floats, at: "slice | Ints") -> tuple[Floats, Floats]:
        """Sums and peaks of the layers at their cheapest under some weights, and what that costs,
        shapes (rows, columns) and (rows,)."""
        layers = self.layers[at]
        costs = np.matmul(layers, (weights * self.shares[at])[:, :, None])
        costs = costs.reshape(-1, self.options, self.groups)
        places = costs.argmin(axis=1) * self.groups + np.arange(self.groups)
        used = np.take_along_axis(layers, places[:, :, None], axis=1).sum(axis=1)
        used = used * self.shares[at] + self.fixed[at]
        return used, (used * weights).sum(axis=1)

    def best(self) -> Floats:
        """Of the objective's total, the best bound found, shape (rows,)."""
        rows = len(self.unit)
        shares = np.full((rows, len(self.ways)), 1.0 / len(self.ways))
        prices = np.zeros((rows, len(self.limits)))
        best = np.zeros(rows)
        live = np.arange(rows)
        for _ in range(STEPS):
            allowance.look()
            weights = shares[live] / self.unit[live, None] @ self.ways
            weights += prices[live] * self.inverse[live] @ self.limits
            used, cost = self._uses(weights, live)
            bound = cost - prices[live].sum(axis=1)
            best[live] = np.fmax(best[live], bound)
            # The slope: what is used beyond a limit, and which way is larger than the others.
            rise = used @ self.ways.T / self.unit[live, None]
            rise -= rise.mean(axis=1, keepdims=True)
            over = np.where(self.known[live], used @ self.limits.T * self.inverse[live] - 1, 0.0)
            over = np.where((prices[live] <= 0) & (over < 0), 0.0, over)
            steep = (rise**2).sum(axis=1) + (over**2).sum(axis=1)
            step = np.maximum(self.aims[live] - bound, 0.0) / np.maximum(steep, 1e-18)
            shares[live] = _on_simplex(shares[live] + step[:, None] * rise)
            prices[live] = np.maximum(0.0, prices[live] + step[:, None] * over)
            live = live[(best[live] < self.aims[live]) & (steep > 1e-18)]
            if not len(live):
                break
        return best * self.unit


def _on_simplex(points: Floats) -> Floats:
    """The nearest shares that add up to one, each row by itself."""
    falling = -np.sort(-points, axis=1)
    beyond = (np.cumsum(falling, axis=1) - 1) / np.arange(1, points.shape[1] + 1)
    last = np.count_nonzero(falling > beyond, axis=1) - 1
    return np.asarray(np.maximum(points - beyond[np.arange(len(points)), last][:, None], 0.0))
