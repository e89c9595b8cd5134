"""`Crossover`: where one machine's advantage over another ends as models grow, what stands behind
that, and under what terms; in words and as a picture."""

import math
import textwrap
from typing import Any, Literal

from planner.answers.question import FIELDS
from planner.errors import InputError
from planner.machines.accounts import Counted
from planner.machines.engine import Space
from planner.records import Record
from planner.report.svg import plotly
from planner.report.words import WORDS
from planner.studies.advantage.agreements import in_flight, terms_in_words
from planner.studies.advantage.family import Family
from planner.studies.advantage.rounding import digits_of, size_text
from planner.studies.advantage.terms import Side, Terms
from planner.studies.advantage.uncertainty import FigureEffect, at_probability, combined
from planner.studies.plots import captioned, dress
from planner.studies.study import SPACE_WORDS, Study
from planner.workload import Workload

NO_ROOT = Literal["", "wins throughout", "never both fit"]
PROMPTS = "prompts"
"""The cause of what a pool of prompts costs beside that of later tokens."""

CAPTION = 120
"""Letters in a line of a picture's caption."""
LINE = 16
"""Dots that such a line is high."""


class Point(Record):
    """Two machines at one size."""

    parameters: float
    first: float | None
    """The metric on the first machine; None where the model does not fit it."""
    second: float | None
    proved: tuple[bool, bool] = (True, True)
    """Whether each is the proved best of all plans, or that of the best uniform plan."""

    @property
    def advantage(self) -> float | None:
        """How many times better the first machine is; None where either has no plan."""
        return None if self.first is None or self.second is None else self.second / self.first


class Term(Record):
    """What one machine pays for one cause, on either side of the root, in the unit of the
    metric."""

    topology: str
    cause: str
    """Of a token's time: compute, memory, collective, hop, overhead or bubble; or prompts, where
    these have a pool of their own."""
    before: float
    """At `Crossover.around`, the smaller size; so the next one."""
    after: float

    @property
    def growth(self) -> float:
        """How many times larger it becomes."""
        return self.after / self.before if self.before else math.inf


class RootProof(Record):
    """What is proved of one machine's plan at the root."""

    topology: str
    value: float
    """The metric, so that less is better."""
    bound: float | None
    """Proved: no plan is below it. None where nothing was proved in time."""
    status: Literal["optimal", "feasible", "uniform plans alone"]
    users: int | None = None
    """Requests that the plan has in flight, of each copy; None: written before this was said."""
    drafts: str | None = None
    """In which way the plan drafts tokens; None: it drafts none."""

    @property
    def gap(self) -> float | None:
        """By how much the best of all plans may be better: value / bound - 1."""
        return None if not self.bound else max(0.0, self.value / self.bound - 1)

    def __str__(self) -> str:
        if self.status == "optimal":
            return f"{self.topology}: proved best"
        if self.gap is None:
            return f"{self.topology}: best uniform plan, not proved best of all"
        return f"{self.topology}: within {100 * self.gap:.0f} % of the proved bound"


class Crossover(Study):
    """Where the first machine stops, or starts, being the better one; its rows are the sizes
    that were priced, ascending."""

    first: str
    second: str
    metric: str
    family: Family
    params: float | None
    """Parameters at which both are equal; None where there is no such size: see `no_root`."""
    winner_below: str | None
    winner_above: str | None
    rows: tuple[Point, ...]
    slope: float | None = None
    """Change of the advantage, in percent, for one percent of parameters, around the root."""
    residual_half_width: float = 0.0
    """Of the advantage, from the residuals of both software stacks, on a logarithmic scale (80
    %)."""
    sensitivities: tuple[FigureEffect, ...] = ()
    """What figures of both machines do to the root, those whose doubt moves it most first; paths
    begin with the machine."""
    around: tuple[float, float] | None = None
    """Sizes on either side of the root at which `terms` were taken."""
    terms: tuple[Term, ...] = ()
    """What each machine pays for, those that grow by most first."""
    space: Space = "any"
    """Whether plans are those that each machine's software can be started with, or any;
    crossovers found before this was said are of any."""
    power_scope: str = "unknown"
    """What the watts of both machines count; so the next two, of watts and of prices."""
    power_basis: str = "unknown"
    price_basis: str = "unknown"
    proofs: tuple[RootProof, ...] = ()
    """Of both machines at the root; none where there is no root, and in files written before plans
    that are not proved were allowed."""
    compared_under: Terms | None = None
    """The terms that were agreed; None: found before this was said."""
    workload: Workload | None = None
    """What each machine was asked: requests in flight, a batch of None as many as are best up to
    `most_users` of the terms; and lengths. In which way tokens are drafted the terms say."""
    sides: tuple[Side, ...] = ()
    """What the terms came to on each machine: its software, its format, its drafts."""
    data_date: str = ""
    """Of the newest source of the catalogue: as of when prices and figures are."""

    @property
    def no_root(self) -> NO_ROOT:
        """Why `params` is None."""
        if self.params is not None:
            return ""
        is_held = any(point.advantage is not None for point in self.rows)
        return "wins throughout" if is_held else "never both fit"

    @property
    def proved(self) -> bool:
        """Whether both plans at the root are known to be the proved best; where no proof is
        recorded nothing is known to be."""
        return bool(self.proofs) and all(one.status == "optimal" for one in self.proofs)

    @property
    def among(self) -> str:
        """Among which plans, and what the metric counts, in words."""
        counted = Counted(self.power_scope, self.power_basis, self.price_basis)
        open_proofs = [str(one) for one in self.proofs if one.status != "optimal"]
        return "; ".join(
            filter(None, (SPACE_WORDS[self.space], *open_proofs, counted.words(self.metric)))
        )

    @property
    def under(self) -> str:
        """Under what terms: lengths, format, drafts, pools, users and hours, what they come to on
        each machine, and as of when; empty of what was found before these were said."""
        if self.compared_under is None:
            return ""
        agreed, users = self.compared_under, ""
        if self.workload is not None:
            users = in_flight(self.workload, agreed.most_users)
        return terms_in_words(agreed, self.sides, self.data_date, users)

    @property
    def points(self) -> tuple[Point, ...]:
        """The rows."""
        return self.rows

    @property
    def half_width(self) -> float:
        """Of the root's 80 % interval, on a logarithmic scale: residuals and doubtful figures,
        in squares, over the slope."""
        if not self.slope:
            return math.inf
        figures = [one.half_width for one in self.sensitivities]
        return combined(self.residual_half_width / self.slope, *figures)

    def interval(self, probability: float = 0.8) -> tuple[float, float]:
        """Where the root lies with that probability.

        Doubts about figures (`doubts.SPREADS`, by grade) and the residuals of both stacks are taken
        as independent log-normal factors; what they do to the advantage is carried over to the root
        by its slope. An InputError says so where there is no root.
        """
        if self.params is None:
            raise InputError(f"there is no crossover whose range could be given: {self.verdict}")
        if not 0 < probability < 1:
            raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
        factor = math.exp(at_probability(self.half_width, probability))
        return self.params / factor, self.params * factor

    @property
    def verdict(self) -> str:
        """Why there is no root, in one sentence without a stop; empty where there is one."""
        if self.params is not None:
            return ""
        both = [point.parameters for point in self.rows if point.advantage is not None]
        if not both:
            fits = {
                self.first: [point for point in self.rows if point.first is not None],
                self.second: [point for point in self.rows if point.second is not None],
            }
            never = [name for name, points in fits.items() if not points]
            if never:
                return f"no model that was tried fits {' or '.join(never)}"
            return f"no model that was tried fits both {self.first} and {self.second}"
        if len(both) == 1:
            return (
                f"{self.winner_below} wins at {size_text(both[0], 2)} parameters, the one size"
                " tried that both can hold, which says nothing of others"
            )
        return (
            f"{self.winner_below} wins throughout: at every size tried that both can hold,"
            f" {size_text(both[0], 2)} to {size_text(both[-1], 2)} parameters"
        )

    @property
    def digits(self) -> int:
        """Significant digits of the root that its 80 % interval allows; an InputError says so
        where there is no root."""
        low, high = self.interval()
        return digits_of(self.params or 0.0, low, high)

    @property
    def reason(self) -> str:
        """Which term overtakes which, in one sentence; empty where a root has no terms."""
        if self.around is None or len({term.topology for term in self.terms}) < 2:
            return self.verdict
        loser = self.first if self.winner_above == self.second else self.second
        ours = max(
            (term for term in self.terms if term.topology == loser),
            key=lambda term: term.after - term.before,
        )
        theirs = max(
            (term for term in self.terms if term.topology != loser), key=lambda term: term.after
        )
        low, high = self.around
        return (
            f"from {size_text(low, 2)} to {size_text(high, 2)} parameters, the {self.metric} that"
            f" {ours.topology} spends on {ours.cause} grows from {ours.before:.3g} to"
            f" {ours.after:.3g} (as parameters to the power {self._power(ours):.1f})"
            f" and overtakes what {theirs.topology} spends on {theirs.cause}, which grows"
            f" from {theirs.before:.3g} to {theirs.after:.3g}"
            f" (to the power {self._power(theirs):.1f})"
        )

    def _power(self, term: Term) -> float:
        """Of the parameters, with which a term grows around the root."""
        assert self.around is not None
        low, high = self.around
        return math.log(term.growth) / math.log(high / low) if term.before else math.inf

    def __str__(self) -> str:
        return "; ".join(filter(None, (self._found, self.reason, self.under)))

    @property
    def _found(self) -> str:
        """Where the root is, or that there is none."""
        if self.params is None:
            return f"{self.metric}: no crossover of {self.first} and {self.second} ({self.among})"
        low, high = (size_text(size, self.digits) for size in self.interval())
        return (
            f"{self.metric}: {self.first} and {self.second} are equal at"
            f" {size_text(self.params, self.digits)} parameters"
            f" (80 %: {low} to {high});"
            f" {self.winner_below} wins below, {self.winner_above} above"
            f" ({self.among})"
        )

    def plot(self) -> Any:
        """The advantage over sizes, with the root and its interval (needs plotly)."""
        return advantage_plot(self)


def advantage_plot(made: Crossover) -> Any:
    """How many times better the first machine is, by size."""
    figure = plotly().Figure()
    there = [point for point in made.rows if point.advantage is not None]
    figure.add_scatter(
        name=f"{made.first} against {made.second}",
        x=[point.parameters / 1e9 for point in there],
        y=[point.advantage for point in there],
        line={"color": "#D55E00", "width": 3},
    )
    figure.add_hline(y=1, line={"color": "#222222", "width": 1})
    if made.params is not None:
        root = made.params / 1e9
        # An interval may have no end; the picture has.
        low, high = (max(1e-3, min(1e6, size / 1e9)) for size in made.interval())
        figure.add_vrect(x0=low, x1=high, fillcolor="#56B4E9", opacity=0.25, line_width=0)
        figure.add_scatter(
            name="crossover, 80 % in blue",
            x=[root],
            y=[1],
            text=[size_text(made.params, made.digits)],
            mode="markers+text",
            marker={"color": "#222222", "size": 10},
            textposition="top right",
        )
    terms = textwrap.wrap(f"{made.under}.", CAPTION) if made.under else []
    ends = [math.log10(point.parameters / 1e9) for point in (made.rows[0], made.rows[-1])]
    dress(
        figure,
        title={
            "text": captioned(
                f"{made.first} against {made.second}: {_title(made.metric)}",
                f"Above 1 {made.first} is better, below 1 {made.second}"
                f"{'; ' + made.verdict if made.verdict else ''}.",
                f"{made.among}.",
                *terms,
            )
        },
        xaxis={
            "type": "log",
            "title": f"parameters of {made.family} models [10⁹]",
            "range": ends,
        },
        yaxis={
            "type": "log",
            "title": f"how many times {_better(made.metric)} on {made.first} [×]",
        },
        legend={"x": 0.01, "y": 0.01},
        margin={"t": 90 + LINE * len(terms)},
    )
    return figure


def _better(metric: str) -> str:
    """'less energy per output token', 'more output tokens per second': what an advantage is of."""
    amount = "less" if FIELDS[metric].best == "least" else "more"
    return f"{amount} {_title(metric)}"


def _title(metric: str) -> str:
    return WORDS[metric].title if metric in WORDS else metric
