"""What commands say: answers on standard output."""

import math
from collections.abc import Sequence
from typing import Any

from planner.answers.results import Result
from planner.answers.sizings import Sizing
from planner.errors import listed
from planner.machines.accounts import SCOPE_WORDS, unlike_prices, unlike_scopes
from planner.machines.prices import BASIS_WORDS
from planner.machines.topology import Topology
from planner.pricing.loads import PERCENTILES
from planner.report.plans import plan_line
from planner.report.text import aligned, chosen_lines, question_lines, unvouched_line
from planner.report.unused import idle_lines
from planner.report.words import field_text, limit_text
from planner.scoring.score import Score


def result_fields(result: Result) -> dict[str, Any]:
    """A result without its inputs, which the caller has."""
    inputs: dict[str, Any] = {
        "graph": True,
        "topology": True,
        "workload": {"speculation": {"draft"}},
    }
    fields = result.model_dump(mode="json", exclude=inputs)
    if percentiles := _percentiles_of(result):
        # None: without end, which JSON has no word for.
        each = {name: getattr(result.score, name) for name in percentiles}
        fields["percentiles"] = {
            name: value if math.isfinite(value) else None for name, value in each.items()
        }
    if (speculation := result.workload.speculation) is not None:
        fields["workload"]["speculation"]["draft"] = speculation.draft and speculation.draft.name
        if speculation.kind is None:
            del fields["workload"]["speculation"]["kind"]
    return fields | {
        "model": result.graph.name,
        "topology": {"name": result.topology.name, "chips": result.topology.chips},
    }


def sizing_fields(sizing: Sizing) -> dict[str, Any]:
    """Machines without what they have in common, which the caller has."""
    fields = sizing.model_dump(
        mode="json", exclude={"graph": True, "machines": {"__all__": {"result"}}}
    )
    for one, row in zip(sizing.machines, fields["machines"], strict=True):
        row["chips"] = one.chips
        row["result"] = None if one.result is None else result_fields(one.result)
    return fields | {"model": sizing.graph.name}


COMPARED = (
    "tpot_s",
    "ttft_s",
    "tokens_per_s",
    "tokens_per_s_per_user",
    "tokens_per_s_per_chip",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "usd_per_hour",
    "chips",
)
COMPARED_SAMPLES = (
    "step_s",
    "image_s",
    "samples_per_s",
    "energy_per_sample_j",
    "usd_per_sample",
    "usd_per_hour",
    "chips",
)


def machine_label(machine: Topology) -> str:
    """'hgx-h100:8'."""
    return f"{machine.name}:{machine.chips}"


def comparison(
    results: list[Result], refusals: list[tuple[str, str]], labels: Sequence[str]
) -> str:
    """Results side by side under their labels, and what is not comparable."""
    first = results[0]
    model, _, *workload = question_lines(first.graph, first.topology, first.workload)
    lines = [model, *workload]
    lines += [f"limit of each: {limit_text(name, value)}" for name, value in first.limits]
    if first.sure is not None:
        lines.append(f"each limit is kept with a probability of {first.sure:g}")
    lines += [f"the best {first.field} of each machine", ""]
    lines += aligned(_columns(results, labels))
    lines += ["", *_spaces(results, labels)]
    lines += _not_comparable(results)
    if refusals:
        lines += ["", *(f"{name}: {reason}" for name, reason in refusals)]
    return "\n".join(lines)


def _not_comparable(results: list[Result]) -> list[str]:
    """What counts different things on the machines, which have no basis in common."""
    lines: list[str] = []
    machines = [result.topology for result in results]
    if len({result.score.power_scope for result in results}) > 1:
        lines += ["", unlike_scopes("energy", machines)]
    priced = [machine for machine in machines if machine.price.basis != "unknown"]
    if len({machine.price.basis for machine in priced}) > 1:
        lines += ["", unlike_prices("price", priced)]
    silent = [machine.name for machine in machines if machine.price.basis == "unknown"]
    if silent and priced:
        lines += ["", f"no price is known for {listed(silent)}; --price '2.10 USD/h' gives one"]
    return lines


def _columns(results: list[Result], labels: Sequence[str]) -> list[tuple[str, ...]]:
    """The table: a column for each result."""
    rows = [
        ("", *labels),
        ("status", *(result.status for result in results)),
        ("gap", *(_gap_text(result) for result in results)),
        ("plan", *(plan_line(result.plan) for result in results)),
        ("micro-batches", *(str(result.plan.micro_batches) for result in results)),
    ]
    rows += _scattered_rows(results)
    for field in COMPARED_SAMPLES if results[0].graph.is_diffusion else COMPARED:
        rows.append((field, *(field_text(field, getattr(one.score, field)) for one in results)))
    if results[0].workload.is_stream:
        field = "requests_per_s"
        rows.append((field, *(field_text(field, one.score.requests_per_s) for one in results)))
    if any(result.score.queued for result in results):
        rows.append(("in flight", *(f"{one.score.batch_size:,}" for one in results)))
        rows.append(("queued", *(f"{one.score.queued:,}" for one in results)))
    rows.append(("evidence", *(one.score.evidence for one in results)))
    rows.append(("power counts", *(_power_words(one.score) for one in results)))
    rows.append(("price counts", *(BASIS_WORDS[one.topology.price.basis] for one in results)))
    return rows


def _scattered_rows(results: list[Result]) -> list[tuple[str, ...]]:
    """Percentiles that are asked for, and what they are kept to."""
    rows = []
    for field in _percentiles_of(results[0]):
        rows.append((field, *(field_text(field, getattr(one.score, field)) for one in results)))
        sure = results[0].sure
        if sure is not None:
            kept = (field_text(field, one.score.sure(field, sure)) for one in results)
            rows.append((f"  {100 * sure:g} % sure", *(f"≤ {text}" for text in kept)))
    return rows


def _percentiles_of(result: Result) -> list[str]:
    """Those that are asked for, in one order."""
    asked = {result.field, *(name for name, _ in result.limits)}
    return [name for name in PERCENTILES if name in asked]


def _power_words(score: Score) -> str:
    """What the watts of a plan count, and whether they are drawn or provisioned."""
    scope = SCOPE_WORDS[score.power_scope]
    return scope if score.power_basis == "unknown" else f"{scope}, {score.power_basis}"


def _spaces(results: list[Result], labels: Sequence[str]) -> list[str]:
    """From which plans those of each machine were chosen, what its engine's limits cost, what the
    plan leaves unused, and what no measurement vouches for."""
    lines = []
    for name, result in zip(labels, results, strict=True):
        lines += [f"{name}: {line}" for line in chosen_lines(result)]
        lines += [f"{name}: {line}" for line in idle_lines(result)]
        lines += [f"{name}: {line}" for line in unvouched_line(result.score)]
    return lines


def _gap_text(result: Result) -> str:
    if result.status == "optimal":
        return "none, proved"
    return f"{100 * result.gap:.2g} %"
