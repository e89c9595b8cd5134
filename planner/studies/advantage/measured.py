"""Measured systems beside a map: the quickest published row of each model on each machine, and
where a map has none as fast, why one was measured all the same."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache

from planner.calibration.measurements import PUBLISHED, Measurement, read_measurements
from planner.calibration.validation import Case, cases_of
from planner.catalogue import load_model
from planner.models.graph import ModelGraph
from planner.studies.advantage.family import Family
from planner.studies.advantage.records import AdvantageMap, Measured
from planner.studies.advantage.terms import Side

VENDORS = {"groq-lpu-dragonfly": "groq-lpu-chain"}
"""Machines that are measured, and the like machine that stands for them on a map."""
HOSTED = ("lpu-speed", "wafer-speed")
"""Families of rows that quote a service, of which the source says neither batch nor drafts."""
DATE = re.compile(r"\b20\d\d(?:-\d\d(?:-\d\d)?)?\b")
CLOSE = 0.05
"""Relative: a row's own question that is predicted as near as that to its measurement needs no
other word."""


def measured_systems(family: Family, topologies: Sequence[str]) -> tuple[Measured, ...]:
    """The quickest published row of each model of the family on each machine of the map (or one
    that is like it)."""
    rows = [row for row in _published() if _on_map(row) in topologies]
    joules = {_run(row): row.value for row in rows if row.field == "energy_per_token_j"}
    timed = [row for row in rows if row.field == "tpot_s"]
    graphs = {name: load_model(name) for name in {row.model for row in timed}}
    best: dict[tuple[str, str], Measured] = {}
    # The quickest first: it stays.
    for row in sorted(timed, key=lambda row: row.value):
        graph = graphs[row.model]
        if family_of(graph) == family:
            one = _measured(row, graph, joules.get(_run(row)))
            best.setdefault((one.topology, one.model), one)
    return tuple(best[key] for key in sorted(best))


def family_of(graph: ModelGraph) -> Family:
    """The family of a map that a model stands on."""
    return "moe" if "experts" in graph.splits() else "dense"


def _measured(row: Measurement, graph: ModelGraph, joules: float | None) -> Measured:
    return Measured(
        topology=_on_map(row),
        model=row.model,
        parameters=graph.parameters,
        tokens_per_s_per_user=1 / row.value,
        energy_per_token_j=joules,
        row_id=row.row_id,
        source=row.source,
        date=dated(row.source),
        drafts=drafted(row),
        asked=_asked(row),
    )


def dated(source: str) -> str | None:
    """The last year, month or day that a source states; None: it states none."""
    found = DATE.findall(source)
    return found[-1] if found else None


def drafted(row: Measurement) -> bool | None:
    """Whether tokens were drafted; None: a service's speed, of which nobody says."""
    if row.draft_tokens:
        return True
    return None if row.family in HOSTED else False


def _asked(row: Measurement) -> str:
    """What was run, as the row has it."""
    if row.batch_size is None or row.family in HOSTED:
        users = "users not said"
    else:
        users = f"{row.batch_size} user" + ("s" if row.batch_size > 1 else "")
    lengths = f"{row.prompt_tokens:,} + {row.output_tokens:,} tokens"
    drafts = f", {row.draft_tokens} tokens drafted" if row.draft_tokens else ""
    return f"{row.weight_dtype}, {users}, {lengths}{drafts}"


def explained(drawn: AdvantageMap) -> tuple[Measured, ...]:
    """The measured systems of a map, each with whether its machine is as fast there by the map's
    plans; where it is not, its row's own question is priced, and what is unlike the map's said."""
    reached = [_is_reached(drawn, one) for one in drawn.measured]
    cases = _cases([one for one, is_it in zip(drawn.measured, reached, strict=True) if not is_it])
    return tuple(
        one.replace(reached=True, why="") if is_it else _told(drawn, one, cases.get(one.row_id))
        for one, is_it in zip(drawn.measured, reached, strict=True)
    )


def _is_reached(drawn: AdvantageMap, one: Measured) -> bool:
    """At the nearest square, if the point lies on the map."""
    machine = drawn.topologies.index(one.topology)
    square = drawn.cell(one.parameters, one.tokens_per_s_per_user)
    return square.values[machine] is not None or "unknown" in square.reasons[machine : machine + 1]


def _cases(found: Sequence[Measured]) -> dict[str, Case]:
    """Of rows, what the planner says of each one's own question."""
    wanted = {one.row_id for one in found}
    rows = [row for row in _published() if row.row_id in wanted and row.field == "tpot_s"]
    cases, _ = cases_of(rows)
    return {case.measurement.row_id: case for case in cases}


def _told(drawn: AdvantageMap, one: Measured, case: Case | None) -> Measured:
    reasons = list(_unlike(drawn, one, case))
    if case is None:
        why = "; ".join(["the row's own question has no prediction", *reasons])
        return one.replace(reached=False, why=why)
    predicted = 1.0 / case.predicted()
    off = math.log(one.tokens_per_s_per_user / predicted)
    said = f"the row's own question ({one.asked}) is predicted at {predicted:.0f} tokens/s"
    if abs(off) > CLOSE:
        where = "inside" if abs(off) <= case.half_width else "above" if off > 0 else "below"
        said += f", and it lies {where} the 80 % interval of that"
    why = "; ".join([said, *reasons])
    return one.replace(reached=False, predicted_tokens_per_s=predicted, why=why)


def _unlike(drawn: AdvantageMap, one: Measured, case: Case | None) -> Iterator[str]:
    """In what a row and a map differ."""
    row = next(row for row in _published() if row.row_id == one.row_id)
    side = next((side for side in drawn.sides if side.topology == one.topology), None)
    if side is not None and side.weight_dtype != row.weight_dtype:
        yield f"the map has {side.weight_dtype}"
    if row.prompt_tokens < drawn.prompt_tokens:
        yield f"prompts are shorter than the map's {drawn.prompt_tokens:,}"
    if row.output_tokens > drawn.output_tokens:
        yield f"outputs are longer than the map's {drawn.output_tokens:,}"
    if row.draft_tokens and side is not None and not side.drafts:
        yield "the map drafts nothing"
    if row.topology != one.topology:
        yield f"it was measured on {row.topology}"
    if side is not None and case is not None and not _same_software(side, case):
        yield f"it ran {case.topology.software.name}"


def _same_software(side: Side, case: Case) -> bool:
    return side.software.split()[0] == case.topology.software.name


@cache
def _published() -> tuple[Measurement, ...]:
    wanted = ("tpot_s", "energy_per_token_j")
    return tuple(row for row in read_measurements(PUBLISHED) if row.field in wanted)


def _on_map(row: Measurement) -> str:
    """The machine of a map that a measured one stands on."""
    return VENDORS.get(row.topology, row.topology)


def _run(row: Measurement) -> tuple[object, ...]:
    """What the rows of one run share."""
    machine = (row.topology, row.chips, row.tensor_parallel)
    return (row.source, *machine, row.model, row.weight_dtype, row.batch_size)
