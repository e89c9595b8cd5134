"""`audit`: claims against capacity, roofline, arithmetic, sourced figures, each other, and the
engine's price."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, UnknownNameError
from planner.report.svg import plotly, table
from planner.scoring.score import Score
from planner.studies.audits import laws, prices
from planner.studies.audits.cases import Case, topology_of
from planner.studies.audits.claims import Claim, article_claims, read_claims
from planner.studies.audits.findings import REFUTED, SEVERITY, Finding, found, worst
from planner.studies.study import Study

LAWS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    laws.capacity, laws.roofline, laws.energy_arithmetic, laws.scope, laws.energy_floor, laws.bottleneck, laws.sums,
    laws.machine_figure, laws.wiring, laws.purchase, laws.consistency, prices.zeros, prices.residence,
)  # fmt: skip
PRICES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    prices.reach,
    prices.sparse_speed,
    prices.advantage,
    prices.trend,
    prices.efficiency,
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

    def plot(self) -> Any:
        """By which factor each claim is off, on a logarithmic axis."""
        go = plotly()
        off = sorted(
            (row for row in self.rows if row.factor is not None), key=lambda row: row.factor or 0
        )
        drawn = go.Figure()
        names = [f"{row.claim}: {_cut(row.quote)}" for row in off]
        drawn.add_bar(
            x=[row.factor for row in off], y=names, orientation="h", marker={"color": "#DDDDDD"}, width=0.08,
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        for verdict, (colour, symbol) in LOOK.items():
            chosen = [
                (row, name) for row, name in zip(off, names, strict=True) if row.verdict == verdict
            ]
            if chosen:
                drawn.add_scatter(
                    x=[row.factor for row, _ in chosen], y=[name for _, name in chosen], mode="markers", name=verdict,
                    marker={"size": 10, "color": colour, "symbol": symbol, "line": {"color": "#222222", "width": 1}},
                    hovertext=[f"{row.text}<br>{row.law}" for row, _ in chosen], hoverinfo="text",
                )  # fmt: skip
        drawn.update_layout(
            title="By which factor each claim is off", template="plotly_white", width=920, height=190 + 21 * len(off), bargap=0,
            legend={"orientation": "h", "y": 1.01, "yanchor": "bottom"}, margin={"l": 10, "b": 90},
        )  # fmt: skip
        drawn.update_xaxes(
            type="log", title="claimed over possible, or the reverse [factor, logarithmic]", dtick=1
        )
        drawn.update_yaxes(categoryorder="array", categoryarray=names, automargin=True)
        note = "Limits: capacity, roofline, arithmetic, the catalogue's sourced figures, the engine's best plans."
        drawn.add_annotation(
            text=note,
            x=0,
            y=-70 / (21 * len(off) + 60),
            xref="paper",
            yref="paper",
            showarrow=False,
            font={"size": 11},
        )
        return drawn

    def _repr_html_(self) -> str:
        header = ["claim", "words", "verdict", "why", "source"]
        return table(
            header,
            [[row.claim, row.quote, row.text, row.law, row.source] for row in self.rows],
            words=range(len(header)),
        )


def audit(
    claims: Sequence[Claim] | str | Path | None = None,
    *,
    progress: Callable[[Finding], None] | None = None,
) -> Audit:
    """A verdict on each claim, its law in words and the figure that it rests on.

    `claims` are records or a TOML file of [[claim]] tables; None: what the article says. Every
    claim is held against capacity, roofline and arithmetic, the catalogue's figures and the other
    claims; what they allow is priced by the engine.
    """
    given = (
        article_claims()
        if claims is None
        else read_claims(claims)
        if isinstance(claims, str | Path)
        else tuple(claims)
    )
    names = [claim.name for claim in given]
    repeated = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if repeated is not None:
        raise InputError(f"Claim.name: two claims are called {repeated!r}; names must be unique")
    strange = next(
        ((one.name, name) for one in given for name in one.premises if name not in names), None
    )
    if strange is not None:
        raise UnknownNameError(f"claim (a premise of {strange[0]!r})", strange[1], names)
    for claim in given:  # a name that is not there is better refused at once than after a minute
        for machine in (claim.topology, claim.over):
            if machine is not None:
                topology_of(machine)
    rows: dict[str, Finding] = {}
    known: dict[tuple[object, ...], Score | None] = {}
    for claim in given:
        try:
            row = finding_on(Case(claim, tuple(one for one in given if one is not claim), known))
        except KeyboardInterrupt:
            return Audit(rows=tuple(rows.values()), complete=False)
        rows[claim.name] = _with_premises(row, claim, rows)
        if progress is not None:
            progress(rows[claim.name])
    return Audit(rows=tuple(rows.values()))


def finding_on(case: Case) -> Finding:
    """The most severe finding on one claim, the others told beside it."""
    claim = case.claim
    findings = [finding for law in LAWS for finding in law(case)]
    if not any(finding.verdict in REFUTED for finding in findings):
        findings += [finding for price in PRICES for finding in price(case)]
    row = worst(findings) or found("no opinion", _silence(claim))
    return row.replace(claim=claim.name, quote=claim.quote, reading=claim.reading)


def _with_premises(row: Finding, claim: Claim, rows: dict[str, Finding]) -> Finding:
    """A claim that would stand falls with the first refuted claim on which it rests."""
    refuted = next(
        (rows[name] for name in claim.premises if name in rows and rows[name].verdict in REFUTED),
        None,
    )
    if refuted is None or row.verdict in REFUTED:
        return row
    law = f"rests on claim {refuted.claim}, which is refuted ({refuted.text}); {row.law}"
    return row.replace(
        verdict=refuted.verdict,
        text=f"{refuted.verdict}, with claim {refuted.claim}",
        law=law,
        other=refuted.claim,
    )


def _silence(claim: Claim) -> str:
    if claim.topology is None and claim.model is None:
        return "it names no model and no machine with a figure that could be priced"
    return "it gives no figure that follows from a plan, a roofline or the catalogue"


def _cut(words: str, most: int = 44) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
