"""What a command's score says to a person."""

from typing import TYPE_CHECKING

from planner.answers.question import ASKED
from planner.answers.results import Result
from planner.report.plans import plan_line
from planner.report.text import (
    aligned,
    assumption_lines,
    plan_section,
    proof_line,
    question_lines,
    score_lines,
    unvouched_lines,
)
from planner.report.words import field_text, range_text, seat_lines

if TYPE_CHECKING:
    from planner.launches.launch import Reading
    from planner.launches.scoring import CommandScore

NOTHING = 5e-3
"""Relative: a gain that is none to speak of."""


def command_text(found: "CommandScore") -> str:
    """All of it."""
    lines = [*question_lines(found.graph, found.topology, found.workload)]
    if found.score is not None:
        lines += seat_lines(found.score)
    lines += ["", *reading_lines(found.reading)]
    lines += [f"  assumed: {remark}" for remark in found.remarks]
    lines += ["", *plan_section(found.plan)]
    launch = found.reading.launch
    if found.score is None:
        lines += [f"{launch.engine} refuses it: {fault}" for fault in found.faults]
    else:
        lines += [f"{launch.engine} {found.topology.software.engine.version} can run this plan"]
    lines += ["", *gain_lines(found)]
    if found.score is not None:
        lines += ["", *score_lines(found.score), "", "assumptions"]
        notes = [
            *assumption_lines(found.graph, found.topology, found.workload),
            *unvouched_lines(found.score),
        ]
        lines += [f"  {line}" for line in notes]
    return "\n".join(lines)


def reading_lines(reading: "Reading") -> list[str]:
    """What was read, what was left out, and what is asked."""
    launch = reading.launch
    lines = [
        f"read from the command: {launch.engine} {launch.version}, {launch.model or 'no model'}"
    ]
    taken = [(one.text, one.words) for one in reading.told if one.taken]
    left = [(one.text, one.words) for one in reading.told if not one.taken]
    lines += aligned(taken) if taken else []
    if left:
        lines += ["not used", *aligned(left)]
    if reading.asked:
        lines += ["please say", *(f"  {one}" for one in reading.asked)]
    return lines


def gain_lines(found: "CommandScore") -> list[str]:
    """What the price is, how sure that is, and what the best plans would gain."""
    lines = []
    score = found.score
    if score is not None:
        value = getattr(score, found.field)
        low, high = score.interval(found.field, 0.8)
        line = f"the command: {found.field} = {field_text(found.field, value)}"
        if low != high:
            between = range_text(field_text(found.field, low), field_text(found.field, high))
            line += f"; 4 of 5 measurements would lie in {between}"
        lines.append(line)
    same = found.best_on_same_chips
    chips = found.plan.chips
    if same is not None:
        lines += _gain_of(found, same, f"the same {chips} chips" if chips > 1 else "the same chip")
    if found.best_on_machine is not None:
        whole = found.best_on_machine.topology.chips
        lines += _gain_of(found, found.best_on_machine, f"all {whole} chips")
    if found.unsearched:
        lines.append(f"no best plan: {found.unsearched}")
    return lines


def _gain_of(found: "CommandScore", best: Result, where: str) -> list[str]:
    gain = found.gain(best)
    mine = plan_line(found.plan)
    theirs = plan_line(best.plan)
    objective = field_text(found.field, best.objective)
    if gain is None:
        return [f"the best plan on {where}: {theirs}, {found.field} = {objective}", *_proof(best)]
    if gain < NOTHING:
        most = f"{100 * NOTHING:g} %"
        line = f"on {where} no plan is more than {most} better than the command's, {mine}"
        return [line, *_proof(best)]
    what = _better(found.field, gain)
    held = ""
    if best.plan.chips != found.plan.chips:
        held = f" on {best.plan.chips}"
    return [
        f"the best plan on {where} {what}: {theirs}{held} in place of {mine}, {found.field} ="
        f" {objective}",
        *_limits_told(found, best),
        *_doubt(found, best),
        *_proof(best),
    ]


def _better(field: str, gain: float) -> str:
    percent = f"{100 * gain:.0f} %" if gain >= 0.01 else f"{100 * gain:.1f} %"
    if field in ("request_s", "ttft_s", "tpot_s"):
        verb = {"request_s": "answers", "ttft_s": "begins to answer", "tpot_s": "writes"}[field]
        return f"{verb} {1 + gain:.3g} times as fast" if gain >= 1 else f"{verb} {percent} faster"
    more = "more" if ASKED[field].best == "most" else "less"
    share = gain if more == "more" else gain / (1 + gain)
    return f"has {100 * share:.0f} % {more} {field}"


def _limits_told(found: "CommandScore", best: Result) -> list[str]:
    """Where the command keeps fewer in flight than the best plan does."""
    score = found.score
    if score is None or not score.queued or best.score.queued:
        return []
    return [
        f"  it has {best.score.batch_size:,} sequences in flight, where the command lets"
        f" {score.queued:,} wait"
    ]


def _doubt(found: "CommandScore", best: Result) -> list[str]:
    """Where the gain is no more than what the command's price may be off by."""
    if found.score is None:
        return []
    low, high = found.score.interval(found.field, 0.8)
    if not low < best.objective < high:
        return []
    return ["  that is within the error of the command's own price: measure both"]


def _proof(best: Result) -> list[str]:
    return [f"  {proof_line(best)}"]
