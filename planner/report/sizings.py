"""How few chips of each machine will do, as text and for notebooks."""

from collections.abc import Callable, Sequence

from planner.answers.results import Result
from planner.answers.sizings import SizedMachine, Sizing, Told
from planner.errors import listed
from planner.machines.prices import BASIS_WORDS
from planner.report import svg
from planner.report.plans import plan_line
from planner.report.text import aligned, chosen_lines, question_lines, unvouched_line
from planner.report.words import ENDLESS, limit_text, percentile_title, range_text
from planner.units import spoken, trimmed

UNKNOWN = "unknown"
DEMANDS = {"requests_per_s": "/s", "batch_size": " users", "tokens_per_s": " tokens/s"}
Pair = tuple[SizedMachine, Result]


def sizing_text(sizing: Sizing) -> str:
    """Machines side by side, for a terminal."""
    lines = [*_question(sizing), ""]
    for table in _tables(sizing):
        lines += [*aligned(table), ""]
    lines += _remarks(sizing)
    return "\n".join(lines).rstrip()


def sizing_html(sizing: Sizing) -> str:
    """The same for a notebook."""
    parts = ["<br>".join(map(_escaped, _question(sizing)))]
    for header, *rows in _tables(sizing):
        parts.append(svg.table(header, rows, words=(0,)))
    parts += [_escaped(line) for line in _remarks(sizing)]
    return "<div>" + "".join(f"<div style='margin:6px 0'>{part}</div>" for part in parts) + "</div>"


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;")


def _known(sizing: Sizing) -> list[Pair]:
    """The machines that have a plan."""
    return [(one, one.result) for one in sizing.machines if one.result is not None]


def _question(sizing: Sizing) -> list[str]:
    """What was asked."""
    (_, first), *_ = _known(sizing)
    model, _, *workload = question_lines(sizing.graph, first.topology, sizing.workload)
    lines = [model, *workload]
    lines += [f"limit: {limit_text(name, value)}" for name, value in sizing.limits]
    if sizing.sure is not None:
        lines.append(f"each limit is kept with a probability of {sizing.sure:g}")
    order = "the cheapest first" if sizing.ranked else "not ordered by price"
    return [*lines, f"the fewest chips of each machine, {order}"]


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────

Column = tuple[str, Callable[[SizedMachine, Result], str]]


def _tables(sizing: Sizing) -> list[list[tuple[str, ...]]]:
    """What to buy, and how it does: two tables with a row for each machine, each narrow enough for
    a terminal."""
    known = _known(sizing)
    return [_table(_bought(), known), _table(_served(sizing, known), known)]


def _table(columns: Sequence[Column], known: Sequence[Pair]) -> list[tuple[str, ...]]:
    header = tuple(title for title, _ in columns)
    return [header, *(tuple(cell(*pair) for _, cell in columns) for pair in known)]


def _bought() -> list[Column]:
    return [
        ("machine", lambda one, _: one.machine),
        ("chips", lambda _, found: f"{found.score.chips:,}"),
        ("proved", _proof_text),
        ("nodes", lambda one, _: _node_text(one)),
        ("plan", lambda _, found: plan_line(found.plan)),
        ("USD/h", lambda one, _: _usd_text(one.usd_per_hour)),
        ("USD/M tokens", _million_text),
        ("tokens/s/chip", lambda one, _: trimmed(one.tokens_per_s_per_chip or 0.0)),
        ("evidence", lambda _, found: found.score.evidence),
    ]


def _served(sizing: Sizing, known: Sequence[Pair]) -> list[Column]:
    """Times, with what they are surely kept to or else how far they may be off; then how much more
    the chips could serve."""
    columns: list[Column] = [("machine", lambda one, _: one.machine)]
    for place, told in enumerate(known[0][0].times):
        title = percentile_title(told.field)
        columns.append((title, _time_cell(place, _value_text)))
        if sizing.sure is None:
            columns.append(("4 of 5 within", _time_cell(place, _range_text)))
        else:
            columns.append((f"{100 * sizing.sure:g} % sure", _time_cell(place, _sure_text)))
    return [
        *columns,
        ("what binds", lambda one, _: one.binds or "nothing"),
        ("headroom", lambda one, _: _headroom_text(one)),
    ]


def _time_cell(place: int, text: Callable[[Told], str]) -> Callable[[SizedMachine, Result], str]:
    return lambda one, _: text(one.times[place])


def _proof_text(one: SizedMachine, _: Result) -> str:
    """How few chips no plan is below."""
    return "fewest" if one.status == "optimal" else f"{one.bound_chips:,} or more"


def _node_text(one: SizedMachine) -> str:
    bill = one.bill
    if bill is None or bill.node_chips is None:
        return "-"
    return f"{bill.nodes} × {bill.node_chips}"


def _usd_text(usd: float | None) -> str:
    return UNKNOWN if usd is None else trimmed(usd)


def _million_text(one: SizedMachine, _: Result) -> str:
    return _usd_text(None if one.bill is None else one.bill.usd_per_million_tokens)


def _value_text(told: Told) -> str:
    return _seconds_text(told.value_s)


def _sure_text(told: Told) -> str:
    return ENDLESS if told.sure_s is None else f"≤ {spoken(told.sure_s, 's')}"


def _seconds_text(seconds: float | None) -> str:
    return ENDLESS if seconds is None else spoken(seconds, "s")


def _range_text(told: Told) -> str:
    """Both ends of an interval, their unit once where it is the same."""
    return range_text(_seconds_text(told.low_s), _seconds_text(told.high_s))


def _headroom_text(one: SizedMachine) -> str:
    """How much more than what is asked for the chips serve, and how much that is."""
    if one.headroom is None:
        return "no demand"
    more = 100 * (one.headroom.capacity / one.headroom.demand - 1)
    most = f"{trimmed(one.headroom.capacity)}{DEMANDS[one.headroom.field]}"
    return f"+{more:.0f} %: {most}"


# ── Remarks ──────────────────────────────────────────────────────────────────────────────────────


def _remarks(sizing: Sizing) -> list[str]:
    """What is paid, from which plans those were chosen, what is not vouched for or not comparable,
    and why some machines have none."""
    known = _known(sizing)
    said: list[tuple[str, str]] = []
    said += [(one.machine, line) for one, found in known for line in _paid_lines(one, found)]
    said += [(one.machine, line) for one, found in known for line in chosen_lines(found)]
    said += [(one.machine, line) for one, found in known for line in unvouched_line(found.score)]
    refused = [one for one in sizing.machines if one.result is None]
    lines = [*_together(said, len(known)), *sizing.notes]
    return [*lines, *(f"{one.machine}: {one.reason}" for one in refused)]


def _paid_lines(one: SizedMachine, found: Result) -> list[str]:
    """What is paid, where that is known, and more than what is held."""
    bill = one.bill
    if bill is None or bill.basis == "unknown":
        return []
    lines = [f"the price counts {BASIS_WORDS[bill.basis]}"]
    if bill.basis == "given":
        lines = ["the price is the one that was given"]
    left = bill.paid_chips - found.score.chips
    if one.paid_result is not None:
        paid = one.paid_result
        few = "1 node is" if bill.nodes == 1 else f"{bill.nodes} nodes are"
        lines.append(
            f"whole nodes are paid, and {few} enough for the plan {plan_line(paid.plan)} on"
            f" {paid.score.chips} chips; the plan on {found.score.chips} chips needs more nodes"
        )
    elif left:
        lines.append(
            f"whole nodes are paid: {left} of {bill.paid_chips} chips"
            f" {'are' if left > 1 else 'is'} paid and not used"
        )
    return lines


def _together(said: Sequence[tuple[str, str]], every: int) -> list[str]:
    """What is said of several machines once, in the order in which it comes first; of all of them
    without their names."""
    machines: dict[str, list[str]] = {}
    for machine, line in said:
        machines.setdefault(line, []).append(machine)
    return [
        line if len(names) == every > 1 else f"{listed(names)}: {line}"
        for line, names in machines.items()
    ]
