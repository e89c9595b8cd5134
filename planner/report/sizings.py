"""How few chips of each machine will do, as text and for notebooks."""

from collections.abc import Callable

from planner.answers.results import Result
from planner.answers.sizings import Bill, SizedMachine, Sizing
from planner.machines.prices import BASIS_WORDS
from planner.report import svg
from planner.report.plans import plan_line
from planner.report.text import aligned, chosen_lines, question_lines, unvouched_lines
from planner.report.words import field_text
from planner.units import spoken, trimmed

UNKNOWN = "not known"
DEMANDS = {
    "requests_per_s": "requests a second",
    "batch_size": "users at once",
    "tokens_per_s": "tokens a second",
}


def sizing_text(sizing: Sizing) -> str:
    """Machines side by side, for a terminal."""
    known = _known(sizing)
    lines = [*_question(sizing), ""]
    if known:
        lines += [*aligned(_columns(known)), ""]
    lines += _remarks(sizing)
    return "\n".join(lines).rstrip()


def sizing_html(sizing: Sizing) -> str:
    """The same for a notebook."""
    known = _known(sizing)
    parts = ["<br>".join(map(_escaped, _question(sizing)))]
    if known:
        header, *rows = _columns(known)
        parts.append(svg.table(header, rows, words=(0,)))
    parts += [_escaped(line) for line in _remarks(sizing)]
    return "<div>" + "".join(f"<div style='margin:6px 0'>{part}</div>" for part in parts) + "</div>"


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;")


def _known(sizing: Sizing) -> list[tuple[SizedMachine, Result]]:
    """The machines that have a plan."""
    return [(one, one.result) for one in sizing.machines if one.result is not None]


def _question(sizing: Sizing) -> list[str]:
    """What was asked."""
    (_, first), *_ = _known(sizing)
    model, _, workload = question_lines(sizing.graph, first.topology, sizing.workload)
    lines = [model, workload]
    for name, value in sizing.limits:
        lines.append(f"limit: {name} {field_text(name, value)}")
    order = "the cheapest first" if sizing.ranked else "in no order of price"
    return [*lines, f"the fewest chips of each machine, {order}"]


Cell = Callable[[SizedMachine, Result], str]


def _columns(known: list[tuple[SizedMachine, Result]]) -> list[tuple[str, ...]]:
    """The table: a column for each machine."""
    rows: list[tuple[str, Cell]] = [
        ("", lambda one, _: one.machine),
        ("chips", lambda _, found: f"{found.score.chips:,}"),
        ("fewer", _proof_text),
        ("nodes", lambda one, _: _node_text(one.bill)),
        ("USD an hour", lambda one, _: _usd_text(one.usd_per_hour)),
        ("for chips paid", lambda one, _: f"{one.bill.paid_chips:,}" if one.bill else UNKNOWN),
        ("USD a million tokens", _million_text),
        ("price counts", lambda one, _: BASIS_WORDS[one.bill.basis] if one.bill else UNKNOWN),
        ("tokens/s a chip", lambda one, _: trimmed(one.tokens_per_s_per_chip or 0.0)),
        ("ttft_s", lambda _, found: field_text("ttft_s", found.score.ttft_s)),
        ("4 of 5 between", lambda one, _: _between(one.ttft_interval_s)),
        ("tpot_s", lambda _, found: field_text("tpot_s", found.score.tpot_s)),
        ("4 of 5 between", lambda one, _: _between(one.tpot_interval_s)),
        ("what binds", lambda one, _: one.binds or "nothing"),
        ("at most", lambda one, _: _most_text(one)),
        ("of it used", lambda one, _: _used_text(one)),
        ("plan", lambda _, found: plan_line(found.plan)),
        ("evidence", lambda _, found: found.score.evidence),
    ]
    return [(title, *(cell(*pair) for pair in known)) for title, cell in rows]


def _proof_text(one: SizedMachine, found: Result) -> str:
    """Whether fewer chips would do."""
    if one.status == "optimal":
        return "do not, proved"
    return f"than {one.bound_chips:,} do not, proved"


def _node_text(bill: Bill | None) -> str:
    if bill is None or bill.node_chips is None:
        return "none"
    return f"{bill.nodes} of {bill.node_chips}"


def _usd_text(usd: float | None) -> str:
    return UNKNOWN if usd is None else trimmed(usd)


def _million_text(one: SizedMachine, _: Result) -> str:
    return _usd_text(None if one.bill is None else one.bill.usd_per_million_tokens)


def _between(interval: tuple[float, float] | None) -> str:
    """Both ends of an interval."""
    if interval is None:
        return UNKNOWN
    low, high = interval
    return f"{spoken(low, 's')} and {spoken(high, 's')}"


def _most_text(one: SizedMachine) -> str:
    """The most that the chips serve."""
    if one.headroom is None:
        return "no demand"
    return f"{trimmed(one.headroom.capacity, 4)} {DEMANDS[one.headroom.field]}"


def _used_text(one: SizedMachine) -> str:
    return "" if one.headroom is None else f"{100 * one.headroom.used_share:.0f} %"


def _remarks(sizing: Sizing) -> list[str]:
    """From which plans those were chosen, what is not vouched for or not comparable, and why some
    machines have none."""
    lines = []
    for one, found in _known(sizing):
        lines += [f"{one.machine}: {line}" for line in chosen_lines(found)]
        lines += [f"{one.machine}: {line}" for line in unvouched_lines(found.score)]
    lines += sizing.notes
    refused = [one for one in sizing.machines if one.result is None]
    return [*lines, *(f"{one.machine}: {one.reason}" for one in refused)]
