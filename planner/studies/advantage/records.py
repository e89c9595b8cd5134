"""`AdvantageMap`: the squares of a map, who wins each and how surely, its borders, and what was
measured."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner.errors import listed
from planner.machines.accounts import Counted
from planner.machines.engine import Space
from planner.records import Record, as_figure, as_svg
from planner.studies.advantage.borders import Border, Edge, border_between
from planner.studies.advantage.family import Family
from planner.studies.advantage.terms import Side, Terms
from planner.studies.advantage.uncertainty import FigureEffect
from planner.studies.study import SPACE_WORDS, Study

Reason = Literal["too slow", "does not fit", "unknown"]
UNSAID = -2
"""Among winners: of a machine that is fast enough, and might be the cheapest, the metric is not
known."""


class Square(Record):
    """One size at one speed."""

    parameters: float
    tokens_per_s_per_user: float
    """Demanded."""
    winner: str | None
    """The cheapest machine that is fast enough; None where no machine is, or where one of
    `unknown` might be cheaper."""
    advantage: float | None
    """What the next machine costs over what the winner does; None where no other is fast enough."""
    likely_share: float | None
    """Of the draws of the machines' unknown factors, those in which the winner wins; where no
    machine is fast enough, those in which none is; None where a machine's metric is not known."""
    values: tuple[float | None, ...]
    """The metric on each machine; None where there is none, and `reasons` say why."""
    chips: int | None
    """Of the winner's plan, all its copies and both pools, as the next two."""
    users: int | None
    """Requests in flight."""
    tpot_s: float | None
    reasons: tuple[Reason | None, ...] = ()
    """Why a machine has no value: its fastest plan is too slow, the model does not fit it, or it is
    fast enough, but what it costs is not known; None where it has one. Maps drawn before this was
    said have none at all."""
    unknown: tuple[str, ...] = ()
    """Machines that are fast enough and might be cheaper than any whose metric is known."""
    drafts: str | None = None
    """In which way the winner's plan drafts tokens; None: it drafts none."""


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
    date: str | None = None
    """Year, month or day that its source states; None: it states none."""
    drafts: bool | None = None
    """Whether tokens were drafted; None: the source does not say."""
    asked: str = ""
    """What was run: format, users, lengths."""
    predicted_tokens_per_s: float | None = None
    """Of the row's own question; None: it was not asked, or cannot be."""
    reached: bool | None = None
    """Whether its machine is as fast at that place of the map, by the map's plans."""
    why: str = ""
    """Where it is not: why it was measured all the same."""


class Switch(Record):
    """Where the winner changes for a real model, whose own shape is priced."""

    model: str
    parameters: float
    tokens_per_s_per_user: float
    """From this speed on."""
    before: str
    after: str | None


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
    merged: bool = False
    """Whether the plan that was found is among those of which the map takes the least: the gap is
    then the map's, and `uniform_gap` what it would be without."""
    uniform_gap: float | None = None
    """By how much the best uniform plan is dearer than the bound; None: of a check, the same as
    `gap`; of a proved plan, no uniform plan is as fast."""


class AdvantageMap(Study):
    """The best machine for each size of model and each speed: squares by size, then by speed."""

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
    lines: tuple[Border, ...] = ()
    """Borders at some speeds, between sizes that were priced ever closer, from proved plans where
    the solver was asked for them."""
    edges: tuple[Edge, ...] = ()
    """Where machines end."""
    terms: Terms | None = None
    """Under which machines were compared; None: maps drawn before this was said."""
    sides: tuple[Side, ...] = ()
    """What the terms came to on each machine."""
    unknown: tuple[str, ...] = ()
    """Machines whose metric is not known."""
    data_date: str = ""
    """Of the newest source of the catalogue: as of when prices and figures are."""
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
        parts = [f"{name} {100 * self.share(name):.0f} %" for name in self.topologies]
        if self.unknown:
            parts.append(f"{100 * self.unknown_share:.0f} % not known")
        shares = listed(parts)
        return (
            f"{self.metric} of {self.family} models: of the cells that a machine reaches, {shares}"
            f" ({'; '.join(filter(None, (self.counts, SPACE_WORDS[self.space], self.proved)))})"
        )

    def winners(self) -> NDArray[np.intp]:
        """Number of the winning machine, -1 where none is fast enough, -2 where the metric of one
        that is is not known, shape (speeds, sizes)."""
        number = {name: place for place, name in enumerate(self.topologies)} | {None: -1}
        found = np.array(
            [UNSAID if square.unknown else number[square.winner] for square in self.rows]
        )
        return found.reshape(len(self.sizes), len(self.speeds)).T

    def cell(self, parameters: float, tokens_per_s_per_user: float) -> Square:
        """The nearest square."""
        size = nearest(self.sizes, parameters)
        speed = nearest(self.speeds, tokens_per_s_per_user)
        return self.rows[size * len(self.speeds) + speed]

    def share(self, topology: str) -> float:
        """Of all squares that any machine reaches, those that a machine wins; squares of which the
        winner is not known are reached, and nobody's."""
        return sum(square.winner == topology for square in self.rows) / max(1, self._reached)

    @property
    def unknown_share(self) -> float:
        """Of all squares that any machine reaches, those whose winner is not known."""
        return sum(bool(square.unknown) for square in self.rows) / max(1, self._reached)

    @property
    def _reached(self) -> int:
        return sum(square.winner is not None or bool(square.unknown) for square in self.rows)

    def borders(self, tokens_per_s_per_user: float) -> tuple[Border, ...]:
        """Sizes at which the winner changes at the nearest speed, ascending, each with its 80 %
        interval; those of `lines`, where that speed has any."""
        speed = nearest(self.speeds, tokens_per_s_per_user)
        closer = [one for one in self.lines if one.tokens_per_s_per_user == self.speeds[speed]]
        return tuple(closer) or self.borders_of_squares(speed)

    def borders_of_squares(self, speed: int) -> tuple[Border, ...]:
        """The same of one row of squares, no closer than these stand."""
        row = self.rows[speed :: len(self.speeds)]
        return tuple(
            border_between(row[at::-1], row[at + 1 :])
            for at in range(len(row) - 1)
            if (row[at].winner, row[at].unknown) != (row[at + 1].winner, row[at + 1].unknown)
        )

    @property
    def proved(self) -> str:
        """What is known of the plans that are not uniform, in one sentence."""
        checks = [check for check in self.checks if not check.merged]
        proved = [check.gap for check in checks if check.status == "optimal"]
        rest = [check.gap for check in checks if check.status != "optimal"]
        words = ["uniform plans" if self.checks else "uniform plans only"]
        merged = [check.gap for check in self.checks if check.merged]
        if merged:
            proved_sides = sum(len(one.proved) for one in self.lines)
            sides = sum((one.below is not None) + (one.above is not None) for one in self.lines)
            words = [
                f"uniform plans, and the solver's on {proved_sides} of the {sides} sides of"
                f" {len(self.lines)} borders, within {100 * max(0.0, *merged):.1f} % of its bound"
            ]
        if proved:
            most = f"{100 * max(proved):.0f} %"
            words.append(f"within {most} of the proved best on {len(proved)} cells checked")
        if rest:
            most = f"{100 * max(rest):.0f} %"
            counted = "more" if proved else "cells"
            words.append(f"within {most} of the proved bound on {len(rest)} {counted}")
        return ", ".join(words)


def nearest(axis: Sequence[float], value: float) -> int:
    """The place on a logarithmic axis."""
    return int(np.argmin(np.abs(np.log(np.array(axis) / value))))
