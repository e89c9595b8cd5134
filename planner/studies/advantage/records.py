"""`AdvantageMap`: the squares of a map, who wins each and how surely, its borders, and what was
measured."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner.errors import listed
from planner.machines.accounts import Counted
from planner.machines.engine import Space
from planner.records import Record, as_figure, as_svg
from planner.studies.advantage.family import Family
from planner.studies.advantage.uncertainty import SURE, FigureEffect
from planner.studies.study import SPACE_WORDS, Study


class Square(Record):
    """One size at one speed."""

    parameters: float
    tokens_per_s_per_user: float
    """Demanded."""
    winner: str | None
    """The cheapest machine that is fast enough; None where no machine is."""
    advantage: float | None
    """What the next machine costs over what the winner does; None where no other is fast enough."""
    likely_share: float | None
    """Of the draws of the machines' unknown factors, those in which the winner wins."""
    values: tuple[float | None, ...]
    """The metric on each machine; None where it is not fast enough."""
    chips: int | None
    """Of the winner's plan, as the next two."""
    users: int | None
    """Requests in flight."""
    tpot_s: float | None


class Uncertainty(Record):
    """What is not known of one machine: 80 % half widths, on logarithmic scales."""

    topology: str
    speed_half_width: float
    """Of a token's time: the software's residual."""
    metric_half_width: float
    """Of the metric: the software's residual."""
    inputs_half_width: float
    """Of the metric: its figures' doubts, in squares."""
    figures: tuple[FigureEffect, ...]
    """Those that matter most."""


class Measured(Record):
    """A published measurement: the quickest row of one model on one machine."""

    topology: str
    model: str
    parameters: float
    tokens_per_s_per_user: float
    energy_per_token_j: float | None
    """Of the chips alone, where the same run has it."""
    row_id: str
    source: str


class Switch(Record):
    """Where the winner changes for a real model, whose own shape is priced."""

    model: str
    parameters: float
    tokens_per_s_per_user: float
    """From this speed on."""
    before: str
    after: str | None


class Border(Record):
    """Where the winner changes as models grow, at one speed; None on either side: not known, or
    beyond the map."""

    tokens_per_s_per_user: float
    below: str | None
    above: str | None
    parameters: float
    interval: tuple[float | None, float | None]
    """80 %: the largest size at which the winner below is sure, and the smallest at which the
    winner above is."""


class Check(Record):
    """A square's plan beside what is proved for all plans with as many users in flight."""

    parameters: float
    tokens_per_s_per_user: float
    topology: str
    users: int
    value: float
    bound: float
    gap: float
    """By how much the best of all plans may be better: value / bound - 1."""
    status: Literal["optimal", "feasible"]
    """Feasible: the solver's time ran out, and the bound is not tight."""


class AdvantageMap(Study):
    """Squares by size, then by speed."""

    topologies: tuple[str, ...]
    titles: tuple[str, ...]
    metric: str
    family: Family
    weight_dtype: str
    prompt_tokens: int
    output_tokens: int
    most_users: int | None
    """Most requests in flight that a plan may have; None: as many as it likes."""
    sizes: tuple[float, ...]
    speeds: tuple[float, ...]
    rows: tuple[Square, ...]
    uncertainties: tuple[Uncertainty, ...]
    measured: tuple[Measured, ...]
    switches: tuple[Switch, ...]
    checks: tuple[Check, ...] = ()
    space: Space = "any"
    """Whether plans are those that each machine's software can be started with, or any; maps
    drawn before this was said are of any."""
    power_scope: str = "unknown"
    """What the watts of all machines count, and whether they are drawn or provisioned; so what their
    prices pay for."""
    power_basis: str = "unknown"
    price_basis: str = "unknown"

    @property
    def counts(self) -> str:
        """What the metric counts, in words; none where it is neither joules nor dollars."""
        counted = Counted(self.power_scope, self.power_basis, self.price_basis)
        return counted.words(self.metric)

    def plot(self) -> Any:
        """The map in plotly, whose squares say what each machine costs there (`pip install
        spread-planner[viz]`)."""
        return as_figure(self)

    def svg(self) -> str:
        """The map as a static picture (needs matplotlib: `pip install spread-planner[viz]`)."""
        return as_svg(self)

    def _repr_html_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        shares = listed([f"{name} {100 * self.share(name):.0f} %" for name in self.topologies])
        return (
            f"{self.metric} of {self.family} models: of the cells that a machine reaches, {shares}"
            f" ({'; '.join(filter(None, (self.counts, SPACE_WORDS[self.space], self.proved)))})"
        )

    def winners(self) -> NDArray[np.intp]:
        """Number of the winning machine, -1 where none is fast enough, shape (speeds, sizes)."""
        number = {name: place for place, name in enumerate(self.topologies)} | {None: -1}
        found = np.array([number[square.winner] for square in self.rows])
        return found.reshape(len(self.sizes), len(self.speeds)).T

    def cell(self, parameters: float, tokens_per_s_per_user: float) -> Square:
        """The nearest square."""
        size = _nearest(self.sizes, parameters)
        speed = _nearest(self.speeds, tokens_per_s_per_user)
        return self.rows[size * len(self.speeds) + speed]

    def share(self, topology: str) -> float:
        """Of all squares that any machine reaches, those that a machine wins."""
        reached = [square for square in self.rows if square.winner is not None]
        return sum(square.winner == topology for square in reached) / max(1, len(reached))

    def borders(self, tokens_per_s_per_user: float) -> tuple["Border", ...]:
        """Sizes at which the winner changes at the nearest speed, ascending, each with its 80 %
        interval."""
        speed = _nearest(self.speeds, tokens_per_s_per_user)
        row = self.rows[speed :: len(self.speeds)]
        return tuple(
            _border(row[at::-1], row[at + 1 :])
            for at in range(len(row) - 1)
            if row[at].winner != row[at + 1].winner
        )

    @property
    def proved(self) -> str:
        """What is known of the plans that are not uniform, in one sentence."""
        proved = [check.gap for check in self.checks if check.status == "optimal"]
        rest = [check.gap for check in self.checks if check.status != "optimal"]
        words = ["uniform plans" if self.checks else "uniform plans only"]
        if proved:
            most = f"{100 * max(proved):.0f} %"
            words.append(f"within {most} of the proved best on {len(proved)} cells checked")
        if rest:
            most = f"{100 * max(rest):.0f} %"
            counted = "more" if proved else "cells"
            words.append(f"within {most} of the proved bound on {len(rest)} {counted}")
        return ", ".join(words)


def _nearest(axis: Sequence[float], value: float) -> int:
    """The place on a logarithmic axis."""
    return int(np.argmin(np.abs(np.log(np.array(axis) / value))))


def _border(smaller: Sequence[Square], larger: Sequence[Square]) -> Border:
    """Between two neighbours at one speed, each followed by those beyond it. The interval reaches
    to the first square on either side whose winner is sure, or is another one."""
    below = smaller[0]
    above = larger[0]
    low = _end_of_doubt(smaller)
    high = None if above.winner is None else _end_of_doubt(larger)
    return Border(
        tokens_per_s_per_user=below.tokens_per_s_per_user,
        below=below.winner,
        above=above.winner,
        parameters=math.sqrt(below.parameters * above.parameters),
        interval=(low, high),
    )


def _end_of_doubt(squares: Sequence[Square]) -> float | None:
    for square in squares:
        if (square.likely_share or 0.0) >= SURE or square.winner != squares[0].winner:
            return square.parameters
    return None
