"""`audit`: claims against capacity, roofline, arithmetic, sourced figures, each other, and the
engine's price."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from planner import allowance
from planner.errors import InputError, TimeUpError, UnknownNameError
from planner.guards import guarded
from planner.records import Record
from planner.report.svg import log_axis, plotly, table
from planner.report.tables import WIDTH, framed
from planner.scoring.score import Score
from planner.studies.audits import facts, laws, prices
from planner.studies.audits.cases import Case, topology_of
from planner.studies.audits.claims import Claim, article_claims, read_claims
from planner.studies.audits.findings import (
    FALLEN,
    REFUTED,
    SEVERITY,
    Finding,
    found,
    worst,
)
from planner.studies.study import Study

Law = Callable[[Case], Iterator[Finding]]

LAWS: tuple[Law, ...] = (
    laws.capacity,
    laws.roofline,
    laws.energy_arithmetic,
    laws.scope,
    laws.energy_floor,
    laws.bottleneck,
    laws.sums,
    laws.machine_figure,
    laws.wiring,
    laws.lease,
    laws.purchase,
    laws.consistency,
    prices.zeros,
    prices.residence,
    facts.known,
    facts.distances,
    facts.areas,
    facts.lookups,
    facts.purposes,
    facts.architectures,
    facts.racks,
)
PRICES: tuple[Law, ...] = (
    prices.reach,
    prices.sparse_speed,
    prices.advantage,
    prices.trend,
    prices.efficiency,
    prices.frugality,
    prices.saved,
)
"""Asked where no law has refuted the claim: they take longer."""
LOOK = {
    "impossible": ("#D55E00", "x"),
    "inconsistent": ("#CC79A7", "cross"),
    "wrong scope": ("#E69F00", "diamond"),
    "needs more chips": ("#0072B2", "square"),
    "disagrees with its source": ("#56B4E9", "triangle-up"),
    "implausible": ("#777777", "circle"),
}
"""Colour and symbol of each verdict that has a factor: both differ, for greyscale."""


EDGE = {"color": "#222222", "width": 1}


class Tally(Record):
    """How many claims ended how."""

    claims: int
    refuted: int
    """By capacity, arithmetic or a sourced figure."""
    implausible: int
    """By what the engine prices, or by areas and racks."""
    stand: int
    """Plausible, some only at a batch, or if a figure that nobody has published is small enough."""
    silent: int
    """No opinion."""
    of_markets: int
    """Of those."""

    def __str__(self) -> str:
        left = self.silent - self.of_markets
        markets = "all of them about markets" if not left else f"{self.of_markets} about markets"
        return (
            f"{self.claims} claims: {self.refuted} are refuted by capacity, arithmetic or sourced"
            f" figures, {self.implausible} are implausible, {self.stand} stand, {self.silent} cannot"
            f" be checked ({markets})"
        )


class Audit(Study):
    """A finding for each claim, in the order of the claims."""

    rows: tuple[Finding, ...]
    complete: bool = True
    """False where Ctrl-C came first: the rows are those of the claims until then."""

    def __getitem__(self, claim: str) -> Finding:
        """The finding on a claim, by its name."""
        known = {row.claim: row for row in self.rows}
        if claim not in known:
            raise UnknownNameError("claim", claim, known)
        return known[claim]

    def counts(self) -> dict[str, int]:
        """How many claims got each verdict, the most severe first."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in SEVERITY}

    def tally(self) -> "Tally":
        """How many claims fall, stand, and have no answer."""
        counted = self.counts()
        fallen = sum(counted[verdict] for verdict in FALLEN)
        refuted = sum(counted[verdict] for verdict in REFUTED)
        silent = [row for row in self.rows if row.verdict == "no opinion"]
        return Tally(
            claims=len(self.rows),
            refuted=refuted,
            implausible=fallen - refuted,
            stand=len(self.rows) - fallen - len(silent),
            silent=len(silent),
            of_markets=sum(row.topic == "market" for row in silent),
        )

    def __str__(self) -> str:
        return audit_text(self)

    def plot(self) -> Any:
        """By which factor each claim is off, on a logarithmic axis."""
        return factor_plot(self)

    def _repr_html_(self) -> str:
        header = ["claim", "words", "verdict", "found", "why", "source"]
        lines = [
            [row.claim, row.quote, row.text, row.figure, row.law, row.source] for row in self.rows
        ]
        return table(header, lines, words=range(len(header)))


WIDTHS = (12, 26, 16, 18, 40)
"""Columns of the table, which with two blanks between them fill a wide terminal. [characters]"""


def audit_text(made: Audit) -> str:
    """Claim, words, verdict, the figure that was found and why, for a terminal."""
    header = ("claim", "what it says", "verdict", "found", "why")
    rows = [
        (row.claim, row.quote, row.verdict, _found_words(row), _why_words(row)) for row in made.rows
    ]
    more = "" if made.complete else "\n(stopped before the last claim)"
    counted = textwrap.fill(str(made.tally()), WIDTH)
    return f"{framed(header, rows, WIDTHS)}\n\n{counted}{more}"


def _found_words(row: Finding) -> str:
    """The figure, and by which factor the claim is off."""
    off = row.text.rpartition(", ")[2] if row.factor is not None else ""
    return ", ".join(part for part in (row.figure, off) if part)


def _why_words(row: Finding) -> str:
    return f"{row.law} [{row.source}]" if row.source else row.law


def factor_plot(made: Audit) -> Any:
    """A stem for each claim that is off by a factor, its head by verdict."""
    drawn = plotly().Figure()
    factors = [(row.factor, row) for row in made.rows if row.factor is not None]
    off = [row for _, row in sorted(factors, key=lambda pair: pair[0])]
    name_of = {row.claim: _lines(f"{row.claim}: {row.quote}") for row in off}
    drawn.add_bar(
        x=[row.factor for row in off],
        y=list(name_of.values()),
        orientation="h",
        marker={"color": "#DDDDDD"},
        width=0.08,
        showlegend=False,
        hoverinfo="skip",
    )
    for verdict, (colour, symbol) in LOOK.items():
        chosen = [row for row in off if row.verdict == verdict]
        if chosen:
            marker = {"size": 10, "color": colour, "symbol": symbol, "line": EDGE}
            _add_heads(drawn, verdict, chosen, name_of, marker)
    _lay_out(drawn, list(name_of.values()))
    return drawn


def _add_heads(
    drawn: Any,
    verdict: str,
    rows: Sequence[Finding],
    name_of: Mapping[str, str],
    marker: dict[str, Any],
) -> None:
    drawn.add_scatter(
        name=verdict,
        x=[row.factor for row in rows],
        y=[name_of[row.claim] for row in rows],
        hovertext=[f"{row.text}<br>{row.law}" for row in rows],
        hoverinfo="text",
        mode="markers",
        marker=marker,
    )


def _lay_out(drawn: Any, names: list[str]) -> None:
    """A row for each claim as high as the longest of its names, all of them named, and a note under
    the axis and its title."""
    row = 9 + 14 * max((name.count("<br>") + 1 for name in names), default=1)
    drawn.update_layout(
        title="By which factor each claim is off",
        template="plotly_white",
        width=980,
        height=210 + row * len(names),
        bargap=0,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        margin={"l": 10, "t": 100, "b": 110},
    )
    factors = [trace.x for trace in drawn.data]
    drawn.update_xaxes(
        **log_axis(
            "factor between what is claimed and what is possible, the larger over the smaller",
            [1.0, *(factor for trace in factors for factor in trace)],
        )
    )
    # Every name: by itself plotly leaves out what it thinks too many.
    drawn.update_yaxes(
        categoryorder="array",
        categoryarray=names,
        tickmode="array",
        tickvals=names,
        automargin=True,
        tickfont={"size": 11},
    )
    drawn.add_annotation(
        text="Limits: capacity, roofline, arithmetic, the catalogue's sourced figures,"
        " the engine's best plans.",
        x=0,
        y=0,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        yshift=-64,
        showarrow=False,
        font={"size": 11},
    )


@guarded
@allowance.allowing
def audit(
    claims: Sequence[Claim] | str | Path | None = None,
    *,
    time_limit_s: float | None = None,
    progress: Callable[[Finding], None] | None = None,
) -> Audit:
    """A verdict on each claim, its law in words and the figure that it rests on.

    `claims` are records or a TOML file of [[claim]] tables; None: what the article says. Every
    claim is held against capacity, roofline and arithmetic, the catalogue's figures and the other
    claims; what they allow is priced by the engine. Those that are left when `time_limit_s` has run
    out, or at Ctrl-C, have no row, and `complete` says so.

    InputError: two claims of one name, or a file that is wrong. UnknownNameError: a premise, a
    model or a machine that there is not.
    """
    given = tuple(map(_as_far_as_known, _read(claims)))
    _check_names(given)
    # A machine that is not there is better refused at once than after a minute.
    for claim in given:
        for machine in (claim.topology, claim.over):
            if machine is not None:
                topology_of(machine)

    rows: dict[str, Finding] = {}
    known: dict[tuple[object, ...], Score | None] = {}
    for claim in given:
        others = tuple(one for one in given if one is not claim)
        try:
            row = finding_on(Case(claim, others, known))
            # A search that was cut off has no say in a verdict.
            allowance.look()
        except (KeyboardInterrupt, TimeUpError):
            return Audit(rows=tuple(rows.values()), complete=False)
        rows[claim.name] = _with_premises(row, claim, rows)
        if progress is not None:
            progress(rows[claim.name])
    return Audit(rows=tuple(rows.values()))


def _read(claims: Sequence[Claim] | str | Path | None) -> tuple[Claim, ...]:
    if claims is None:
        return article_claims()
    if isinstance(claims, str | Path):
        return read_claims(claims)
    return tuple(claims)


def _as_far_as_known(claim: Claim) -> Claim:
    """A claim on a machine that is only announced, without it where the catalogue has none of
    that name."""
    named = claim.topology
    if not claim.announced or not isinstance(named, str):
        return claim
    try:
        topology_of(named)
    except UnknownNameError:
        return claim.replace(topology=None)
    return claim


def _check_names(claims: Sequence[Claim]) -> None:
    """Names are unique, and premises are among them."""
    names = [claim.name for claim in claims]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"Claim.name: two claims are called {name!r}; names must be unique")
    for claim in claims:
        for premise in claim.premises:
            if premise not in names:
                raise UnknownNameError(f"claim (a premise of {claim.name!r})", premise, names)


def finding_on(case: Case) -> Finding:
    """The most severe finding on one claim, the others told beside it."""
    claim = case.claim
    findings = [finding for law in LAWS for finding in law(case)]
    if not any(finding.verdict in REFUTED for finding in findings):
        findings += [finding for price in PRICES for finding in price(case)]
    row = worst(findings) or found("no opinion", _silence(claim))
    return row.replace(
        claim=claim.name, quote=claim.quote, reading=claim.reading, topic=claim.topic
    )


def _with_premises(row: Finding, claim: Claim, rows: dict[str, Finding]) -> Finding:
    """A claim that would stand falls with the first refuted claim on which it rests."""
    fallen = [rows[name] for name in claim.premises if name in rows]
    refuted = [one for one in fallen if one.verdict in REFUTED]
    if not refuted or row.verdict in REFUTED:
        return row
    first = refuted[0]
    return row.replace(
        verdict=first.verdict,
        text=f"{first.verdict}, with claim {first.claim}",
        law=f"it rests on claim {first.claim}, which is refuted ({first.text}); {row.law}",
        other=first.claim,
    )


def _silence(claim: Claim) -> str:
    if claim.topic == "market":
        return "the claim is about a market, which no plan, roofline or data sheet can check"
    if claim.topology is None and claim.model is None:
        return "the claim names no model and no machine with a figure that could be checked"
    return "the claim gives no figure that a plan, a roofline or the catalogue could check"


def _lines(words: str, most: int = 64) -> str:
    """The whole of a quotation, in lines of so many letters."""
    return "<br>".join(textwrap.wrap(words, most))
