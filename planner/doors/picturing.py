"""Answers with pictures, long tables and files: for doors whose answers are not read word by word."""

from planner.answers.results import Result
from planner.doors.answers import (
    AuditAnswer,
    ExportAnswer,
    FrontAnswer,
    FrontRow,
    MapAnswer,
    ReportAnswer,
    Verdict,
)
from planner.doors.nouns import check_prices, priced
from planner.doors.questions import AuditQuestion, ExportQuestion, MapQuestion, ParetoQuestion
from planner.doors.telling import score_figure
from planner.errors import UnknownNameError
from planner.export.exporting import to_engine
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.planning.fronts import pareto
from planner.report.fronts import front_svg, front_text
from planner.report.html import result_html
from planner.report.lines import result_line
from planner.report.plans import plan_line, space_line
from planner.studies.audits.audits import audit
from planner.studies.audits.claims import Claim, article_claims
from planner.studies.study import uncounted_machine_of
from planner.workload import Workload


def front_answer(
    question: ParetoQuestion, graph: ModelGraph, topology: Topology, workload: Workload
) -> FrontAnswer:
    """The plans worth having."""
    front = pareto(
        graph,
        topology,
        workload,
        fields=question.fields,
        tolerance=question.tolerance,
        space=question.space,
        time_limit_s=question.time_limit_s,
    )
    rows = tuple(
        FrontRow(
            plan=plan_line(one.plan),
            chips=one.score.chips,
            figures=tuple(score_figure(one.score, name) for name in front.fields),
        )
        for one in front.members
    )
    return FrontAnswer(
        summary=front_text(front),
        status=front.status,
        rows=rows,
        space=space_line(front.space, [front.topology.software]),
        svg=front_svg(front),
    )


def map_answer(question: MapQuestion) -> MapAnswer:
    """Which machine is the best where; uniform plans, none proved by the solver."""
    # Pictures for print load matplotlib, which is an extra.
    from planner.studies.advantage.maps import advantage_map

    check_prices(question.prices, question.machines)
    drawn = advantage_map(
        [priced(uncounted_machine_of(name), name, question) for name in question.machines],
        question.metric,
        family=question.family,
        borders_at=(),
        proved="none",
        prompt_tokens=question.prompt_tokens,
        output_tokens=question.output_tokens,
    )
    return MapAnswer(
        summary=str(drawn),
        metric=drawn.metric,
        shares=tuple((name, drawn.share(name)) for name in drawn.topologies),
        svg=drawn.svg(),
    )


def audit_answer(question: AuditQuestion) -> AuditAnswer:
    """Verdicts on what the article says."""
    made = audit(_claims_named(question.claims), time_limit_s=question.time_limit_s)
    verdicts = tuple(
        Verdict(
            claim=row.claim,
            quote=row.quote,
            verdict=row.text or row.verdict,
            found=row.figure,
            why=row.law,
            source=row.source,
        )
        for row in made.rows
    )
    return AuditAnswer(summary=str(made.tally()), complete=made.complete, verdicts=verdicts)


def _claims_named(names: tuple[str, ...]) -> tuple[Claim, ...]:
    known = {one.name: one for one in article_claims()}
    for name in names:
        if name not in known:
            raise UnknownNameError("claim", name, known)
    return tuple(known[name] for name in names or known)


def report_answer(result: Result) -> ReportAnswer:
    """A result whole."""
    return ReportAnswer(summary=result_line(result), html=result_html(result))


def export_answer(question: ExportQuestion, result: Result) -> ExportAnswer:
    """What starts an engine with a plan."""
    made = to_engine(result, question.engine)
    return ExportAnswer(
        summary=f"{made.engine} {made.version}: {len(made.files)} files",
        engine=made.engine,
        version=made.version,
        commands=made.commands,
        files=tuple((one.name, one.text) for one in made.files),
        notes=made.notes,
    )
