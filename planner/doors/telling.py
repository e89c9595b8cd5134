"""Results as the short records that programs are answered."""

import math
from typing import TypeVar

from planner.answers.certificates import Verdict
from planner.answers.question import ASKED, SAMPLE_FIELDS
from planner.answers.reasons import Reasons
from planner.answers.results import Result
from planner.answers.sizings import SizedMachine, Sizing
from planner.doors.answers import (
    CommandAnswer,
    CompareAnswer,
    Effect,
    ExplainAnswer,
    FrontAnswer,
    NamesAnswer,
    PlanAnswer,
    ScoreAnswer,
    SizeAnswer,
    SizedAnswer,
    SoFar,
    Told,
    VerifyAnswer,
)
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.loads import PERCENTILES
from planner.report.plans import plan_line, versioned
from planner.report.text import (
    assumption_lines,
    chosen_lines,
    doubt_lines,
    interval_lines,
    question_lines,
    seated_proof_line,
    unvouched_lines,
)
from planner.report.words import FIELD_WORDS, PERCENTILE_WORDS, SAMPLE_WORDS, field_text, limit_text
from planner.scoring.score import Score
from planner.workload import Workload

SHOWN = (
    "ttft_s",
    "tpot_s",
    "request_s",
    "tokens_per_s",
    "tokens_per_s_per_user",
    "requests_per_s",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "usd_per_hour",
    "power_w",
    "chips",
    "batch_size",
    "memory_headroom_bytes",
)
SHOWN_OF_SAMPLES = (
    "step_s",
    "image_s",
    "samples_per_s",
    "energy_per_sample_j",
    "usd_per_sample",
    "usd_per_hour",
    "power_w",
    "chips",
    "batch_size",
    "memory_headroom_bytes",
)
ALL_WORDS = SAMPLE_WORDS | FIELD_WORDS | PERCENTILE_WORDS
UNITS = {"%": "fraction", "": "count", "B": "bytes"}
"""Where a person reads another one than the field has."""
MOST_LINES = 8
"""Of doubts, of assumptions and of what explains."""


A = TypeVar("A", PlanAnswer, SizeAnswer, CompareAnswer, ScoreAnswer, FrontAnswer, CommandAnswer)


def with_defaults(answer: A, taken: dict[str, str]) -> A:
    """An answer that says what was not given, and what was taken in its place."""
    if not taken:
        return answer
    said = ", ".join(f"{name} {value}" for name, value in taken.items())
    return answer.replace(summary=f"{answer.summary}\ndefaults used: {said}", not_given=taken)


def plan_told(result: Result, handle: str) -> PlanAnswer:
    """A plan with its proof."""
    score = result.score
    names = _names(score, result.field, *(name for name, _ in result.limits))
    proof = seated_proof_line(result)
    limits = tuple(
        f"{limit_text(name, value)}; reached {field_text(name, getattr(score, name))}"
        for name, value in result.limits
    )
    space = " ".join(chosen_lines(result))
    doubts = _few([*unvouched_lines(score), *doubt_lines(result)])
    lines = [
        *question_lines(result.graph, result.topology, result.workload),
        f"plan: {plan_line(result.plan)}",
        proof,
        space,
        *interval_lines(result)[:1],
        *(f"limit: {one}" for one in limits),
        f"evidence: {score.evidence}",
        f"answer {handle}: verify and explain know it by that",
    ]
    return PlanAnswer(
        answer=handle,
        summary="\n".join(lines),
        model=result.graph.name,
        machine=result.topology.name,
        chips=score.chips,
        software=versioned(result.topology.software),
        plan=plan_line(result.plan),
        objective=score_figure(score, result.field),
        direction=result.direction,
        status=result.status,
        bound=_finite(result.bound),
        gap=_finite(result.gap),
        proof=proof,
        space=space,
        limits=limits,
        sure=result.sure,
        figures=tuple(score_figure(score, name) for name in names),
        evidence=score.evidence,
        doubts=doubts,
        assumptions=_few(assumption_lines(result.graph, result.topology, result.workload)),
    )


def sizing_told(sizing: Sizing, handles: dict[str, str]) -> SizeAnswer:
    """The fewest chips of each machine; handles by machine."""
    rows = tuple(_sized(one, sizing, handles.get(one.machine, "")) for one in sizing.machines)
    known = ", ".join(f"{row.answer} is {row.machine}" for row in rows if row.answer)
    return SizeAnswer(
        summary=f"{sizing}\n\nhandles for verify and explain: {known}",
        machines=rows,
        ranked=sizing.ranked,
        limits=tuple(limit_text(name, value) for name, value in sizing.limits),
        sure=sizing.sure,
        notes=sizing.notes,
    )


def _sized(one: SizedMachine, sizing: Sizing, handle: str) -> SizedAnswer:
    found = one.result
    score = None if found is None else found.score
    bill = one.bill
    names = () if score is None else _names(score, *(name for name, _ in sizing.limits))
    return SizedAnswer(
        answer=handle,
        machine=one.machine,
        status=one.status,
        chips=one.chips,
        bound_chips=one.bound_chips,
        plan="" if found is None else plan_line(found.plan),
        usd_per_hour=one.usd_per_hour,
        usd_per_million_tokens=None if bill is None else bill.usd_per_million_tokens,
        figures=() if score is None else tuple(score_figure(score, name) for name in names),
        binds=one.binds,
        evidence="" if score is None else score.evidence,
        doubts=() if score is None else _few(unvouched_lines(score)),
        reason=one.reason,
    )


def comparison_told(
    plans: list[PlanAnswer], refused: list[tuple[str, str]], notes: list[str]
) -> CompareAnswer:
    """Plans side by side, the best first."""
    sign = 1 if plans[0].direction == "minimize" else -1
    ordered = sorted(plans, key=lambda one: sign * _sortable(one.objective.value))
    lines = [f"{plans[0].model}: the best {plans[0].objective.field} of each machine"]
    lines += [
        f"{one.machine}, {one.chips} chips ({one.answer}): {one.proof}; plan {one.plan}; the price"
        f" itself: {one.objective.text}{_range_text(one.objective)}; evidence {one.evidence}"
        for one in ordered
    ]
    lines += [f"{machine}: {reason}" for machine, reason in refused]
    return CompareAnswer(
        summary="\n".join([*lines, *notes]),
        plans=tuple(ordered),
        refused=tuple(refused),
        notes=tuple(notes),
    )


def score_told(
    plan: Plan,
    asked: tuple[ModelGraph, Topology, Workload],
    score: Score,
    faults: tuple[str, ...],
) -> ScoreAnswer:
    """A plan's price."""
    graph, topology, _ = asked
    figures = figures_told(score)
    software = versioned(topology.software)
    lines = [*question_lines(*asked), f"plan: {plan_line(plan)}"]
    lines += [f"{one.title}: {one.text}{_range_text(one)}" for one in figures]
    lines += [f"{software} cannot run this plan: {fault}" for fault in faults]
    lines += [f"evidence: {score.evidence}", "nothing is proved of it: better plans may exist"]
    return ScoreAnswer(
        summary="\n".join(lines),
        model=graph.name,
        machine=topology.name,
        chips=score.chips,
        software=software,
        plan=plan_line(plan),
        figures=figures,
        faults=faults,
        evidence=score.evidence,
        doubts=_few(unvouched_lines(score)),
        assumptions=_few(assumption_lines(*asked)),
    )


def figures_told(score: Score) -> tuple[Told, ...]:
    """The usual figures of a price."""
    return tuple(score_figure(score, name) for name in _names(score))


def verdict_told(verdict: Verdict) -> VerifyAnswer:
    """Whether a bound holds."""
    return VerifyAnswer(
        summary=str(verdict),
        confirmed=verdict.confirmed,
        objective=verdict.objective,
        bound=verdict.bound,
        checked_bound=verdict.checked_bound,
        is_late=verdict.is_late,
        is_of_the_catalogue=verdict.is_of_the_catalogue,
        again_confirmed=verdict.again_confirmed,
    )


def reasons_told(reasons: Reasons) -> ExplainAnswer:
    """Why a plan is the best."""
    return ExplainAnswer(
        summary=str(reasons),
        binding=tuple(
            f"{one.resource}: {100 * one.share_fraction:.3g} % of {one.counts}"
            for one in reasons.binding[:MOST_LINES]
        ),
        more=tuple(
            Effect(what=one.change, effect=one.effect, proved=one.proved)
            for one in reasons.prices[:MOST_LINES]
        ),
        shapes=tuple(
            Effect(what=one.shape, effect=one.effect, proved=one.proved)
            for one in reasons.alternatives[:MOST_LINES]
        ),
    )


def so_far_told(field: str, best: float | None, bound: float | None, where: str = "") -> SoFar:
    """How far a search has come, on a machine of several where one is named."""
    best, bound = _finite(best), _finite(bound)
    gap = abs(best - bound) / abs(best) if best and bound is not None else None
    title = ALL_WORDS[field].title
    words = ["no plan yet" if best is None else f"best {title} so far {field_text(field, best)}"]
    if bound is not None:
        words.append(f"no plan is better than {field_text(field, bound)}")
    if gap is not None:
        words.append(f"gap {100 * gap:.2g} %")
    text = "; ".join(words)
    return SoFar(
        field=field,
        objective=best,
        bound=bound,
        gap=gap,
        text=f"{where}: {text}" if where else text,
    )


def names_told(names: list[tuple[str, str]]) -> NamesAnswer:
    """Names of the catalogue."""
    lines = [f"{name}: {words}" if words else name for name, words in names]
    return NamesAnswer(summary="\n".join(lines), names=tuple(names))


def field_names() -> list[tuple[str, str]]:
    """What can be made best or limited: what it is, its unit, and which way is better."""
    fields = ASKED | SAMPLE_FIELDS
    return [
        (name, f"{ALL_WORDS[name].title} [{_unit(name)}], the {field.best} is best")
        for name, field in fields.items()
    ]


def _names(score: Score, *asked: str) -> list[str]:
    """The usual figures, and those that the question is about."""
    usual = SHOWN if score.step_s is None else SHOWN_OF_SAMPLES
    return [*usual, *(name for name in dict.fromkeys(asked) if name not in usual)]


def score_figure(score: Score, name: str) -> Told:
    """A figure with its interval."""
    words = (FIELD_WORDS if score.step_s is None else SAMPLE_WORDS) | PERCENTILE_WORDS
    value = getattr(score, name)
    low, high = _interval(score, name, value)
    return Told(
        field=name,
        title=words[name].title,
        value=_finite(value),
        unit=_unit(name),
        low=_finite(low),
        high=_finite(high),
        text=field_text(name, value),
        range_text=_range_of(name, low, high),
    )


def _interval(score: Score, name: str, value: float | None) -> tuple[float | None, float | None]:
    """Where 4 of 5 measurements would lie."""
    if value is None:
        return None, None
    if name in PERCENTILES:
        return score.percentile_interval(*PERCENTILES[name], within=0.8)
    low, high = score.interval(name, 0.8)
    return (None, None) if low == high else (low, high)


def _range_of(name: str, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"{field_text(name, low)} to {field_text(name, high)}"


def _range_text(told: Told) -> str:
    return f" ({told.range_text})" if told.range_text else ""


def _unit(name: str) -> str:
    unit = ALL_WORDS[name].unit
    return UNITS.get(unit, unit)


def _finite(value: float | None) -> float | None:
    """JSON has no word for what is without end."""
    return None if value is None or not math.isfinite(value) else float(value)


def _sortable(value: float | None) -> float:
    return math.inf if value is None else value


def _few(lines: list[str]) -> tuple[str, ...]:
    """The first of them, and how many more there are."""
    more = len(lines) - MOST_LINES
    return tuple(lines) if more <= 0 else (*lines[:MOST_LINES], f"and {more} more")
