"""`AdvantageMap`: the cells of a map, who wins each and how surely, its borders, and what was
measured."""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner.errors import listed
from planner.records import Record, as_figure, as_svg
from planner.studies.advantage.family import Family
from planner.studies.advantage.uncertainty import SURE, FigureEffect
from planner.studies.study import Study


class Cell(Record):
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
    """A cell's plan beside what is proved for all plans with as many users in flight."""

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
    """Cells by size, then by speed."""

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
    rows: tuple[Cell, ...]
    uncertainties: tuple[Uncertainty, ...]
    measured: tuple[Measured, ...]
    switches: tuple[Switch, ...]
    checks: tuple[Check, ...] = ()

    def plot(self) -> Any:
        """The map in plotly, whose cells say what each machine costs there (`pip install
        spread-planner[viz]`)."""
        return as_figure(self)

    def svg(self) -> str:
        """The map as a picture that needs no library."""
        return as_svg(self)

    def _repr_html_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        shares = listed([f"{name} {100 * self.share(name):.0f} %" for name in self.topologies])
        return f"{self.metric} of {self.family} models: of the cells that a machine reaches, {shares} ({self.proved})"

    def winners(self) -> NDArray[np.intp]:
        """Number of the winning machine, -1 where none is fast enough, shape (speeds, sizes)."""
        number = {name: place for place, name in enumerate(self.topologies)} | {None: -1}
        found = np.array([number[cell.winner] for cell in self.rows])
        return found.reshape(len(self.sizes), len(self.speeds)).T

    def cell(self, parameters: float, tokens_per_s_per_user: float) -> Cell:
        """The nearest cell."""
        size = int(np.argmin(np.abs(np.log(np.array(self.sizes) / parameters))))
        speed = int(np.argmin(np.abs(np.log(np.array(self.speeds) / tokens_per_s_per_user))))
        return self.rows[size * len(self.speeds) + speed]

    def share(self, topology: str) -> float:
        """Of all cells that any machine reaches, those that a machine wins."""
        reached = [cell for cell in self.rows if cell.winner is not None]
        return sum(cell.winner == topology for cell in reached) / max(1, len(reached))

    def borders(self, tokens_per_s_per_user: float) -> tuple["Border", ...]:
        """Sizes at which the winner changes at the nearest speed, ascending, each with its 80 %
        interval."""
        speed = int(np.argmin(np.abs(np.log(np.array(self.speeds) / tokens_per_s_per_user))))
        row = self.rows[speed :: len(self.speeds)]
        found = []
        for at in range(len(row) - 1):
            below, above = row[at], row[at + 1]
            if below.winner != above.winner:
                low = next(
                    (one for one in row[at::-1] if _sure(one) or one.winner != below.winner), None
                )
                high = next(
                    (one for one in row[at + 1 :] if _sure(one) or one.winner != above.winner), None
                )
                found.append(
                    Border(
                        tokens_per_s_per_user=self.speeds[speed], below=below.winner, above=above.winner,
                        parameters=math.sqrt(below.parameters * above.parameters),
                        interval=(
                            None if low is None else low.parameters,
                            None if high is None or above.winner is None else high.parameters,
                        ),
                    )
                )  # fmt: skip
        return tuple(found)

    @property
    def proved(self) -> str:
        """What is known of the plans that are not uniform, in one sentence."""
        proved = [check.gap for check in self.checks if check.status == "optimal"]
        rest = [check.gap for check in self.checks if check.status != "optimal"]
        words = []
        if proved:
            words.append(
                f"within {100 * max(proved):.0f} % of the proved best on {len(proved)} cells checked"
            )
        if rest:
            words.append(
                f"within {100 * max(rest):.0f} % of the proved bound on {len(rest)} {'more' if proved else 'cells'}"
            )
        return ", ".join([f"uniform plans{'' if words else ' only'}", *words])


def _sure(cell: Cell) -> bool:
    return (cell.likely_share or 0.0) >= SURE
