"""What a program is answered: short records, each with what was proved, how sure the price is, and
what is doubtful. `summary` says the same in words."""

from typing import Literal, NamedTuple

from pydantic import Field

from planner.answers.results import Result
from planner.records import Record

Status = Literal["optimal", "feasible"]
"""Optimal: proved that no plan is better. Feasible: time ran out; no plan is better than the
bound."""


class SoFar(Record):
    """How far a search has come."""

    field: str
    """That is made best."""
    objective: float | None = None
    """Of the best plan so far, in the unit of the field; none: there is no plan yet."""
    bound: float | None = None
    """Proved so far: no plan is better."""
    gap: float | None = None
    """Between the two, as a fraction of the objective."""
    text: str
    """In words."""


class Told(Record):
    """A figure of a plan, with where measurements of it would lie."""

    field: str
    title: str
    """In words."""
    value: float | None = None
    """None: not known, or without end; `text` says which."""
    unit: str
    """Of value, low and high: s, 1/s, J, USD, USD/h, W, bytes, fraction or count."""
    low: float | None = None
    """4 of 5 measurements of such a plan would lie between this and the next; none for counts."""
    high: float | None = None
    text: str
    """The value as a person reads it."""
    range_text: str = ""
    """Low to high, likewise."""


class PlanAnswer(Record):
    """The best plan, and what was proved."""

    answer: str
    """The handle by which `verify` and `explain` know it."""
    summary: str
    model: str
    machine: str
    chips: int
    """Held by the plan; the machine may have more."""
    software: str
    plan: str
    """Degrees and cut, in a line."""
    objective: Told
    """What was made best, with the interval of the price."""
    direction: Literal["minimize", "maximize"]
    status: Status
    bound: float | None
    """Proved by the prices: no plan is better than this, in the unit of the objective."""
    gap: float | None
    """Between objective and bound, as a fraction of the objective."""
    proof: str
    """What was proved, in a sentence."""
    space: str
    """Of which plans the proof speaks."""
    limits: tuple[str, ...] = ()
    sure: float | None = None
    """With what probability limits are kept; none: by the price alone."""
    figures: tuple[Told, ...]
    evidence: str
    """Whether such a plan was measured, near one that was, or beyond all of them."""
    doubts: tuple[str, ...] = ()
    """What no measurement vouches for, and guessed inputs that move the objective."""
    assumptions: tuple[str, ...] = ()
    not_given: dict[str, str] = Field(default={})
    """What the question left unsaid, and what was taken in its place: users "max" are as many as
    are best."""


class SizedAnswer(Record):
    """The fewest chips of one machine that do, or why none do."""

    answer: str
    """Its handle; empty where there is no plan."""
    machine: str
    status: Literal["optimal", "feasible", "infeasible", "no plan found"]
    """Infeasible: proved that no number of chips up to the most allowed does."""
    chips: int | None
    bound_chips: int
    """Proved: fewer do not do."""
    plan: str
    usd_per_hour: float | None
    """Of what is paid; none where no price is known. So below."""
    usd_per_million_tokens: float | None
    figures: tuple[Told, ...] = ()
    binds: str = ""
    """What keeps these chips from serving more."""
    evidence: str = ""
    doubts: tuple[str, ...] = ()
    reason: str = ""
    """Why there is no plan."""


class SizeAnswer(Record):
    """The fewest chips of each machine."""

    summary: str
    machines: tuple[SizedAnswer, ...]
    ranked: bool
    """Whether prices count the same, so that the first is the cheapest."""
    limits: tuple[str, ...]
    sure: float | None = None
    notes: tuple[str, ...] = ()
    """What is not comparable, and what is not known."""
    not_given: dict[str, str] = Field(default={})


class CompareAnswer(Record):
    """The best plan on each machine, the best first."""

    summary: str
    plans: tuple[PlanAnswer, ...]
    refused: tuple[tuple[str, str], ...] = ()
    """Machines without a plan, and why."""
    notes: tuple[str, ...] = ()
    """What is not comparable."""
    not_given: dict[str, str] = Field(default={})


class ScoreAnswer(Record):
    """What a plan of one's own costs. Nothing is proved of it: it need not be good."""

    summary: str
    model: str
    machine: str
    chips: int
    software: str
    plan: str
    figures: tuple[Told, ...]
    faults: tuple[str, ...] = ()
    """Why the machine's software cannot run it."""
    evidence: str
    doubts: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    not_given: dict[str, str] = Field(default={})


class VerifyAnswer(Record):
    """Whether a bound was proved again."""

    summary: str
    confirmed: bool
    objective: float
    bound: float
    """As claimed."""
    checked_bound: float | None
    """As proved by the check; none where it can say nothing."""
    is_late: bool
    """Whether it was not confirmed since time ran out."""
    is_of_the_catalogue: bool
    again_confirmed: bool = False
    """By OR-Tools CP-SAT, where that was asked for."""


class Effect(Record):
    """What a change buys, or what another shape costs."""

    what: str
    effect: float | None
    """Relative, in the objective: 0.04 is 4 % better of a change, 4 % worse of a shape; none:
    not found in time."""
    proved: bool


class ExplainAnswer(Record):
    """Why a plan is the best."""

    summary: str
    binding: tuple[str, ...]
    """What holds it back, the strongest first."""
    more: tuple[Effect, ...]
    """What more of each resource would buy, the strongest first."""
    shapes: tuple[Effect, ...]
    """What the best plan of each other shape loses."""


class NamesAnswer(Record):
    """Names of one kind."""

    summary: str
    names: tuple[tuple[str, str], ...]
    """Each with a few words."""


class FrontRow(Record):
    """A plan worth having."""

    plan: str
    chips: int
    figures: tuple[Told, ...]
    """Those that count."""


class FrontAnswer(Record):
    """Plans of which none is better than another in every figure that counts."""

    summary: str
    status: Literal["complete", "partial"]
    """Complete: proved that no plan is missing, but for the tolerance."""
    rows: tuple[FrontRow, ...]
    space: str
    """Among which plans."""
    not_given: dict[str, str] = Field(default={})
    svg: str = ""
    """A picture of the first two figures, with the bands in which measurements would lie; empty
    for assistants."""


class MapAnswer(Record):
    """Which machine is the best where."""

    summary: str
    metric: str
    shares: tuple[tuple[str, float], ...]
    """Of the map, by machine, as fractions."""
    svg: str


class Verdict(Record):
    """On one claim."""

    claim: str
    quote: str
    verdict: str
    found: str
    """The figure in the place of the claimed one."""
    why: str
    source: str


class AuditAnswer(Record):
    """What stands of what was claimed."""

    summary: str
    complete: bool
    """Whether no claim is left."""
    verdicts: tuple[Verdict, ...]


class ReportAnswer(Record):
    """An answer whole."""

    summary: str
    html: str
    """Without scripts."""


class ExportAnswer(Record):
    """What starts an engine with a plan."""

    summary: str
    engine: str
    version: str
    """Whose options are written."""
    commands: tuple[str, ...]
    """Each process on one line."""
    files: tuple[tuple[str, str], ...]
    """Name and text of each."""
    notes: tuple[str, ...] = ()


class CommandAnswer(Record):
    """What a command starts, what that costs, and what the best plans would gain."""

    summary: str
    engine: str
    model: str
    machine: str
    chips: int
    """That the command's plan holds."""
    plan: str
    read: tuple[str, ...]
    """Options that were taken, each with what it says."""
    passed_over: tuple[str, ...] = ()
    """Options that are not priced."""
    assumed: tuple[str, ...] = ()
    """What had to be taken for granted, or should be said."""
    faults: tuple[str, ...] = ()
    """Why the engine refuses it; then there are no figures."""
    figures: tuple[Told, ...] = ()
    evidence: str = ""
    field: str
    """That the best plans are best for."""
    gain_on_same_chips_fraction: float | None = None
    """By how much the best plan on as many chips is better: 0.2 is 20 %; none: not looked for, or
    none was found."""
    gain_on_machine_fraction: float | None = None
    """Likewise on all chips of the machine."""
    answer_on_same_chips: str = ""
    """The handle by which `verify` and `explain` know that best plan; empty: there is none."""
    answer_on_machine: str = ""
    """Likewise."""
    not_given: dict[str, str] = Field(default={})


Answer = (
    PlanAnswer
    | SizeAnswer
    | CompareAnswer
    | ScoreAnswer
    | VerifyAnswer
    | ExplainAnswer
    | NamesAnswer
    | FrontAnswer
    | MapAnswer
    | AuditAnswer
    | ReportAnswer
    | ExportAnswer
    | CommandAnswer
)


class Answered(NamedTuple):
    """An answer, and the results in it by their handles."""

    answer: Answer
    results: dict[str, Result]


ANSWERS: dict[str, type[Answer]] = {
    "plan": PlanAnswer,
    "size": SizeAnswer,
    "score": ScoreAnswer,
    "pareto": FrontAnswer,
    "compare": CompareAnswer,
    "verify": VerifyAnswer,
    "explain": ExplainAnswer,
    "names": NamesAnswer,
    "score_command": CommandAnswer,
}
"""To the question of the same name."""
PICTURED_ANSWERS: dict[str, type[Answer]] = {
    "map": MapAnswer,
    "audit": AuditAnswer,
    "report": ReportAnswer,
    "export": ExportAnswer,
}
"""Likewise."""
