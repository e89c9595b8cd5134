"""`Finding`: what an audit found of one claim, on what figure it rests, by which law."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from planner.records import Record
from planner.units import Count

Verdict = Literal[
    "impossible",
    "wrong scope",
    "inconsistent",
    "needs more chips",
    "disagrees with its source",
    "implausible",
    "plausible at batch",
    "plausible if",
    "plausible",
    "no opinion",
]
"""The most severe first."""
FALLEN: tuple[Verdict, ...] = (
    "impossible",
    "wrong scope",
    "inconsistent",
    "needs more chips",
    "disagrees with its source",
    "implausible",
)
"""What does not stand, by whatever means it was looked at."""
REFUTED: tuple[Verdict, ...] = (
    "impossible",
    "wrong scope",
    "inconsistent",
    "needs more chips",
    "disagrees with its source",
)
"""By capacity, arithmetic or a sourced figure; "implausible" is the engine's price, which may
err."""
SEVERITY: dict[Verdict, int] = {name: place for place, name in enumerate(get_args(Verdict))}


class Finding(Record):
    """One verdict on one claim."""

    claim: str = ""
    """Its name."""
    quote: str = ""
    verdict: Verdict
    text: str = ""
    """The verdict with its figure: "needs 307 chips"."""
    figure: str = ""
    """What was found in the place of what is claimed: "at most 1.1 k tokens/s"."""
    factor: float | None = None
    """How far off, at least 1; None where that is no ratio, or where nothing is off."""
    law: str = ""
    """In words, with the numbers."""
    source: str = ""
    """Of the figure that the law rests on."""
    needed_chips: Count | None = None
    least_batch: Count | None = None
    other: str | None = None
    """The claim that it cannot stand beside."""
    also: tuple[str, ...] = ()
    """What else was found."""
    reading: str = ""
    topic: str = ""
    """"market" where the claim is about one."""


def found(
    verdict: Verdict, law: str, *, factor: float | None = None, tail: str = "", **fields: Any
) -> Finding:
    """A finding, its text made of verdict, tail and factor."""
    lead = "needs" if verdict == "needs more chips" else verdict
    text = f"{lead} {tail}" if tail else lead
    if factor is not None:
        text += f", {factor:,.0f}×" if factor >= 100 else f", {factor:.2g}×"
    return Finding(verdict=verdict, text=text, law=law, factor=factor, **fields)


def worst(findings: Iterable[Finding]) -> Finding | None:
    """The most severe, the others told beside it; None where there are none."""
    ranked = sorted(findings, key=lambda one: (SEVERITY[one.verdict], -(one.factor or 0)))
    if not ranked:
        return None
    # Each once, in their order.
    also = dict.fromkeys(f"{one.text}: {one.law}" for one in ranked[1:])
    return ranked[0].replace(also=tuple(also))
