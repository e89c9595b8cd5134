"""The constants that we ship: fitted, stack after stack, on the tables beside this module, and
written into `topologies/`.

`recipes.toml` says what is fitted on what. The result depends on the recipes and the tables alone:
each search begins at its recipe's start, never at what is shipped today.
"""

import csv
import functools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import Field

from planner import catalogue
from planner.calibration.covering import covers_of
from planner.calibration.fitting import (
    SCALE,
    Fitted,
    errors_of,
    fit_constants,
    median_factor,
    place_of,
    thinned,
)
from planner.calibration.intervals import Interval
from planner.calibration.leaving_out import Outside, Whole, left_out
from planner.calibration.measurements import COLLECTIVES, PUBLISHED, read_measurements
from planner.calibration.operators import kernel_cases, read_kernels
from planner.calibration.powers import (
    NAMES,
    Drawn,
    Run,
    fit_host_share,
    fit_power,
    power_runs,
)
from planner.calibration.promises import PROMISED, Promise
from planner.calibration.robust import Floats
from planner.calibration.validation import Case, cases_of
from planner.machines.software import Covered
from planner.machines.topology import Topology
from planner.readers.files import read_rows, read_toml
from planner.readers.topology_file import (
    CHIP,
    COLLECTIVE,
    FABRIC,
    SOFTWARE,
    TUNING,
    intervals_toml,
)
from planner.records import Record
from planner.scoring.score import Evidence

T = TypeVar("T")

POWER_FIELDS = ("power_w", "energy_per_token_j", "energy_per_sample_j")
SPEED_FIELDS: tuple[str, ...] = (
    "ttft_s",
    "tpot_s",
    "request_s",
    "tokens_per_s",
    "image_s",
    "step_s",
    "samples_per_s",
)
"""What tells a stack's constants: not watts, whose constants belong to the chips."""
RESIDUAL_TITLE = "# What four of five measured rows stay within"
INTERVALS_TITLE = f"""{RESIDUAL_TITLE} when they are left out of the fit,
# |ln(predicted / measured)|: of all, and of rows of one sort where that differs."""
LEFT_OUT = Path(__file__).parent / "left_out.csv"
"""Every row as predicted without its model, its machine, its source, its chips' maker."""
FAMILY_ROWS = 120
"""A family of more rows than this counts no more than one of as many."""
DRAWS_AS = {"rubin": "blackwell"}
"""Generations that were not measured, and the one before, whose draw they are taken to have."""


class Recipe(Record):
    """How the constants of one stack are fitted."""

    stack: str
    table: Literal["published", "collectives", "kernels"] = "published"
    start: dict[str, Annotated[float, Field(gt=0)]]
    """Constants by path, where their search begins."""
    strength: float
    """How firmly the start holds."""
    scale: float = SCALE
    """Errors beyond count less and less: of serving stacks, whose rows come from many versions, the
    middle is wanted."""
    without: tuple[str, ...] = ()
    """Rows that say something else than they seem to."""
    generations: dict[str, tuple[str, ...]] = Field(default={})
    """Rows by the year of the software that they were measured on, where that is known of all."""

    @property
    def years(self) -> str:
        """Of the software that it is fitted on, in words."""
        found = sorted(self.generations)
        return " to ".join(dict.fromkeys([*found[:1], *found[-1:]]))

    @property
    def year_of(self) -> dict[str, str]:
        """That of each row."""
        return {row: year for year, rows in self.generations.items() for row in rows}


class Shipped(Record):
    """The constants of one stack as they were fitted."""

    stack: str
    constants: dict[str, float]
    rows: int
    """That it was fitted on."""
    median: float
    """Over all of its rows, as a factor - 1."""


@functools.cache
def recipes() -> tuple[Recipe, ...]:
    """In the order in which they are fitted."""
    tables = read_toml(Path(__file__).parent / "recipes.toml", "the recipes")["recipe"]
    return tuple(Recipe.from_fields(table) for table in tables)


def fit_recipe(recipe: Recipe) -> Shipped:
    """The constants of one stack, on what the catalogue says of the others today."""
    cases = cases_for(recipe)
    found = _fitted(recipe, thinned(cases))
    rounded = {name: float(f"{value:.3g}") for name, value in found.items()}
    errors = errors_of(cases, rounded)
    return Shipped(
        stack=recipe.stack,
        constants=rounded,
        rows=len(cases),
        median=median_factor(errors),
    )


def fit_recipes(wanted: Sequence[Recipe], processes: Executor) -> list[Shipped]:
    """Those of tables of rows that do not depend on each other, side by side."""
    return _side_by_side(fit_recipe, wanted, processes)


class StackLeftOut(NamedTuple):
    """The rows of one stack when they were left out, and what all of them have."""

    stack: str
    rows: tuple[Outside, ...]
    covers: tuple[Covered, ...]


def left_out_stacks(wanted: Sequence[Recipe], processes: Executor) -> list[StackLeftOut]:
    """All rows of these stacks, left out in turn, by what the catalogue says today."""
    published = [recipe for recipe in wanted if recipe.table == "published"]
    return _side_by_side(left_out_of, published, processes)


def _side_by_side(
    work: Callable[[Recipe], T], wanted: Sequence[Recipe], processes: Executor
) -> list[T]:
    """In processes that have not read the catalogue before; of one alone here."""
    if len(wanted) == 1:
        return [work(wanted[0])]
    return list(processes.map(work, wanted))


def left_out_of(recipe: Recipe) -> StackLeftOut:
    """The rows of one stack, left out in turn, watts and joules among them."""
    speeds = cases_for(recipe)
    watts = [case for case in cases_for(recipe, POWER_FIELDS) if isinstance(case, Case)]
    runs: Sequence[Run] = ()
    if watts:
        rows = [row for row in _rows(PUBLISHED) if row.field in POWER_FIELDS]
        runs = power_runs(cases_of(rows)[0])
    used = thinned(speeds)
    cases = [*(case for case in speeds if isinstance(case, Case)), *watts]
    machine = cases[0].topology
    whole = Whole(
        cases=cases,
        used=used,
        start=recipe.start,
        constants={name: constant_of(machine, name) for name in recipe.start},
        weights=_weights(used),
        scale=recipe.scale,
        hold=recipe.strength * len(used) / 100,
        runs=runs,
        year_of=recipe.year_of,
    )
    settings = [case.setting for case in cases if case.setting]
    return StackLeftOut(recipe.stack, tuple(left_out(whole)), covers_of(settings))


def cases_for(recipe: Recipe, fields: Sequence[str] = SPEED_FIELDS) -> list[Fitted]:
    """All such fields that were measured on its stack, sorted so that equal machines and models
    follow each other."""
    if recipe.table == "kernels":
        timed = [row for row in read_kernels() if row.software == recipe.stack]
        return list[Fitted](kernel_cases(timed))
    path = PUBLISHED
    if recipe.table == "collectives":
        path, fields = COLLECTIVES, ("collective_s",)
    rows = [row for row in _rows(path) if row.field in fields and row.row_id not in recipe.without]
    mine = [row for row in rows if _stack_of(row.topology, row.software) == recipe.stack]
    cases, _ = cases_of(sorted(mine, key=lambda row: (row.topology, row.model, row.row_id)))
    return list[Fitted](cases)


def fit_draws() -> tuple[tuple[Drawn, ...], float]:
    """What chips draw, of all generations and of each, and the share of hosts."""
    cases, _ = cases_of([row for row in _rows(PUBLISHED) if row.field in POWER_FIELDS])
    return fit_power(cases), float(f"{fit_host_share(cases):.2g}")


_rows = functools.cache(read_measurements)


@functools.cache
def _stack_of(topology: str, software: str) -> str:
    return software or catalogue.load_topology(topology).software.name


def _fitted(recipe: Recipe, cases: Sequence[Fitted], rounds: int = 8) -> dict[str, float]:
    return fit_constants(
        cases,
        recipe.start,
        strength=recipe.strength,
        weights=_weights(cases),
        rounds=rounds,
        scale=recipe.scale,
    )


def _weights(cases: Sequence[Fitted]) -> Floats:
    families = [case.family for case in cases]
    counts = Counter(families)
    return np.array([min(1.0, FAMILY_ROWS / counts[family]) for family in families])


def ship(recipe: Recipe, shipped: Shipped, folder: Path) -> None:
    """Write the constants, and how far off they are, into the stack's file, those of its fabrics
    and those of its chips."""
    by_table: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in shipped.constants.items():
        by_table[place_of(name).table][name] = value
    fabrics = by_table.pop("fabrics", {})
    chips = by_table.pop("chips", {})
    own = {name: value for table in by_table.values() for name, value in table.items()}
    note = f"{shipped.rows} rows"
    if recipe.generations:
        note += f", software of {recipe.years}"
    stack = folder / "software" / f"{recipe.stack}.toml"
    text = with_figures(stack.read_text(encoding="utf-8"), own, note)
    stack.write_text(text, encoding="utf-8")

    if fabrics:
        step = f"a step of NCCL's low-latency protocol over it, {note}"
        for machine in sorted(folder.glob("*.toml")):
            before = machine.read_text(encoding="utf-8")
            after = with_figures(before, fabrics, step)
            if after != before:
                machine.write_text(after, encoding="utf-8")
    _ship_chips(chips, note, folder / "chips")
    catalogue.reread()


def _ship_chips(constants: Mapping[str, float], note: str, folder: Path) -> None:
    """Write what chips add to collectives into the files of each architecture."""
    by_architecture: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in constants.items():
        place = place_of(name)
        by_architecture[place.entry][place.field] = value
    for path in sorted(folder.glob("*.toml")):
        before = path.read_text(encoding="utf-8")
        after = with_figures(before, by_architecture.get(_architecture_in(before), {}), note)
        if after != before:
            path.write_text(after, encoding="utf-8")


def _architecture_in(text: str) -> str:
    """Of the chip that a file describes; none where it says none."""
    found = re.search(r'^architecture = "(.*)"$', text, re.MULTILINE)
    return found[1] if found else ""


def ship_draws(draws: Sequence[Drawn], host_share: float, folder: Path) -> None:
    """Write what chips draw into their files, those of generations that were not measured as all
    together."""
    by_generation = {drawn.architecture: drawn for drawn in draws}
    for path in sorted((folder / "chips").glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        path.write_text(_with_draw(text, by_generation), encoding="utf-8")
    measured = {row.topology for row in _rows(PUBLISHED) if row.power_scope == "system"}
    for path in sorted(folder.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        text = _with_host_share(text, host_share, measured=path.stem in measured)
        path.write_text(text, encoding="utf-8")
    catalogue.reread()


def ship_intervals(found: Sequence[StackLeftOut], made: Interval, folder: Path) -> None:
    """Write how far rows that were left out are off, what was measured, and how much wider
    intervals are beyond it, into the stacks' files."""
    for one in found:
        lines = intervals_toml(made.residuals(one.stack), made.widenings(one.stack), one.covers)
        path = folder / "software" / f"{one.stack}.toml"
        path.write_text(with_intervals(path.read_text(encoding="utf-8"), lines), encoding="utf-8")
    catalogue.reread()


def write_left_out(rows: Sequence[Outside], made: Interval, path: Path = LEFT_OUT) -> None:
    """As a table: one line for each row and each way in which it was left out."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(LeftOutRow.model_fields)
        for row in rows:
            errors = f"{row.error:.4f}", f"{row.fitted:.4f}"
            about = row.row_id, row.by, row.evidence
            table.writerow((*about, *errors, f"{made.width(row):.3f}"))


class LeftOutRow(Record):
    """A row when it was left out."""

    row_id: str
    """Of `PUBLISHED`."""
    by: str
    """What it was left out with: all rows of its model, machine, source, or chips' maker."""
    evidence: Evidence
    """How near it was to what was left."""
    left_out: float
    """ln(predicted / measured)."""
    fitted: float
    """The same when it takes part."""
    half_width: float
    """Of its 80 % interval when it was left out."""


def read_left_out(path: Path = LEFT_OUT) -> tuple[LeftOutRow, ...]:
    """The table that is shipped."""
    _, rows = read_rows(path, "a table of rows left out")
    return tuple(LeftOutRow.from_fields(row) for row in rows)


def promises_left_out(path: Path = LEFT_OUT) -> list[Promise]:
    """What the table that is shipped says of limits that were asked for with a probability."""
    measured = {row.row_id: row for row in _rows(PUBLISHED)}
    found = [(row, measured[row.row_id]) for row in read_left_out(path)]
    return [
        Promise(row.row_id, about.family, about.field, row.left_out, row.half_width)
        for row, about in found
        if about.field in PROMISED
    ]


def _with_draw(text: str, by_generation: Mapping[str, Drawn]) -> str:
    """A chip's file with what its generation draws, or, as a guess, with what all do; what it
    states as a guess of ours stays."""
    name = _architecture_in(text)
    own = by_generation.get(name) if name else None
    before = DRAWS_AS.get(name, "")
    drawn = own or by_generation.get(before) or by_generation[""]

    fitted = [key for key in NAMES if re.search(rf'^{key} = (?!.*"OURS")', text, re.MULTILINE)]
    constants = {key: getattr(drawn.power, key) for key in fitted}
    if own:
        return with_figures(text, constants, f"{own.rows} rows")
    note = f"{drawn.rows} rows of all generations that were measured"
    if before:
        note = f"as {before.capitalize()}, {drawn.rows} rows"
    return with_figures(text, constants, note, "guess")


def _with_host_share(text: str, host_share: float, *, measured: bool) -> str:
    """A machine's file with what hosts draw, a guess where no run of it was measured at the
    wall."""
    constants = {"powers[0].host_share": host_share}
    note = "runs of MLPerf at the wall on B200"
    if measured:
        return with_figures(text, constants, note)
    return with_figures(text, constants, f"as {note}", "guess")


_DRAWN = {name: (name, "") for name in NAMES}
_KEYS = {
    "": SOFTWARE | CHIP | _DRAWN,
    "power": {"host_share": ("host_share", "")},
    "collective": COLLECTIVE,
    "tuning": TUNING,
    "fabric": FABRIC,
}


def with_figures(
    text: str, constants: Mapping[str, float], note: str, confidence: str = "fit"
) -> str:
    """A TOML file with these constants in place of those that it has; others and remarks stay as
    they are."""
    lines = text.splitlines()
    for at, table, entry, key in _figures_in(lines):
        name, dimension = _KEYS.get(table, {}).get(key, ("", ""))
        path = f"{table}s[{entry}].{name}" if table else name
        if path in constants:
            value = _written(constants[path], dimension)
            told = f'source = "FIT", confidence = "{confidence}", note = "{note}"'
            lines[at] = f"{key} = {{ value = {value}, {told} }}"
    return "\n".join(lines) + "\n"


def _figures_in(lines: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """Of each line "key = …": its number, its table ("" at the top), the table's name or number
    among its like, the key."""
    table = entry = ""
    seen = Counter[str]()
    for at, line in enumerate(lines):
        if header := re.fullmatch(r"\[\[?(\w+)\]?\]", line):
            table = header[1]
            block = "\n".join(lines[at + 1 :]).partition("\n[")[0]
            named = re.search(r'^(?:name|architecture) = "([^"]*)"', block, re.MULTILINE)
            entry = named[1] if named else str(seen[table])
            seen[table] += 1
        elif figure := re.match(r"(\w+) = ", line):
            yield at, table, entry, figure[1]


def _written(value: float, dimension: str) -> str:
    if dimension != "seconds":
        return f"{value:.3g}"
    if value < 1e-3:
        return f'"{value * 1e6:.3g} us"'
    return f'"{value * 1e3:.3g} ms"'


def with_intervals(text: str, lines: Sequence[str]) -> str:
    """A stack's file with these lines, of `intervals_toml`, in place of those at its end."""
    head = text.partition(RESIDUAL_TITLE)[0]
    told = "\n".join(lines).strip("\n")
    return f"{head.rstrip()}\n\n{INTERVALS_TITLE}\n{told}\n"


def constant_of(machine: Topology, name: str) -> float:
    """A constant by its path, as a machine has it."""
    place = place_of(name)
    entries: dict[str, Any] = {"": machine.software}
    if place.table == "tunings":
        entries = {one.architecture: one for one in machine.software.tunings}
    elif place.table == "collectives":
        entries = {str(at): one for at, one in enumerate(machine.software.collectives)}
    return float(getattr(entries[place.entry], place.field))
