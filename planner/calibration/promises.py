"""How often limits are kept that were asked for with a probability, `sure=`: told by rows that were
left out.

A plan keeps a limit with a probability where the limit is no less than its price times a factor
(`Score.sure`). The row beside it, left out of the fit, says what was measured: within the price
times that factor, or not. A width is of both sides; where errors lean to one, fewer or more than the
probability are kept on it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from planner.calibration.intervals import Interval
from planner.calibration.leaving_out import Outside
from planner.scoring.score import RATES, spread_within

PROBABILITIES = (0.6, 0.7, 0.8, 0.9, 0.95)
PROMISED = ("ttft_s", "tpot_s", "request_s", "tokens_per_s")
"""Fields of requests that are limited, and of which rows tell."""
SURE = 0.8
"""What the rest is told of."""
BAND = 1.96
"""Standard deviations within which 19 of 20 shares lie by chance."""


class Promise(NamedTuple):
    """A row as it was predicted when it was left out."""

    row_id: str
    family: str
    field: str
    error: float
    """ln(predicted / measured)."""
    half_width: float
    """Of its 80 % interval then."""

    @property
    def worse(self) -> float:
        """By how much the measured figure is worse than the predicted one: a logarithm, below 0
        where it is better."""
        return self.error if self.field in RATES else -self.error

    def keeps(self, sure: float) -> bool:
        """Whether the measured figure is no worse than what `Score.sure` says."""
        return self.worse <= self.half_width * spread_within(2 * sure - 1) + 1e-12


class Kept(NamedTuple):
    """How many of like promises are kept."""

    name: str
    rows: int
    """Rows times the ways in which they were left out."""
    measured: int
    """Different rows."""
    shares: tuple[float, ...]
    """For each of PROBABILITIES."""
    band: float
    """Within which a share of SURE is by chance, either way, were so many measured rows
    independent. Those of one run are not."""
    lean: float
    """Median of `Promise.worse`."""
    needed: float
    """Half widths would have to be so many times as wide on this side for SURE of them to be
    kept."""

    @property
    def share(self) -> float:
        """That is kept where SURE is asked for."""
        return self.shares[PROBABILITIES.index(SURE)]


def promises_of(rows: Iterable[Outside], made: Interval) -> list[Promise]:
    """Of rows that were left out, to as many digits as their table has."""
    return [
        Promise(row.row_id, row.family, row.field, round(row.error, 4), round(made.width(row), 3))
        for row in rows
        if row.field in PROMISED
    ]


def kept_promises(promises: Sequence[Promise]) -> list[Kept]:
    """All of them together, by field, and by family."""
    groups: dict[str, list[Promise]] = defaultdict(list)
    for one in promises:
        groups[one.field].append(one)
    fields = [_kept(name, groups[name]) for name in PROMISED if name in groups]
    groups.clear()
    for one in promises:
        groups[one.family].append(one)
    families = [_kept(name, found) for name, found in sorted(groups.items())]
    return [_kept("all", promises), *fields, *families] if promises else []


def _kept(name: str, found: Sequence[Promise]) -> Kept:
    measured = len({one.row_id for one in found})
    shares = [float(np.mean([one.keeps(sure) for one in found])) for sure in PROBABILITIES]
    asked = spread_within(2 * SURE - 1)
    over = [one.worse / (one.half_width * asked) for one in found if one.half_width]
    return Kept(
        name=name,
        rows=len(found),
        measured=measured,
        shares=tuple(shares),
        band=BAND * math.sqrt(SURE * (1 - SURE) / measured),
        lean=float(np.median([one.worse for one in found])),
        needed=float(np.quantile(over, SURE)) if over else math.nan,
    )
