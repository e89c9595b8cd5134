"""The constants that we ship: fitted, stack after stack, on the tables beside this module, and
written into `topologies/`.

`recipes.toml` says what is fitted on what. The result depends on the recipes and the tables alone:
each search begins at its recipe's start, never at what is shipped today.
"""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from planner import catalogue
from planner.calibration.descent import Floats
from planner.calibration.fitting import (
    SCALE,
    Fitted,
    errors_of,
    fit_constants,
    median_factor,
    place_of,
    residuals_of,
    thinned,
)
from planner.calibration.measurements import COLLECTIVES, PUBLISHED, read_measurements
from planner.calibration.operators import kernel_cases, read_kernels
from planner.calibration.powers import NAMES, Drawn, fit_host_share, fit_power
from planner.calibration.validation import Case, cases_of
from planner.machines.software import Residual
from planner.readers.files import read_toml
from planner.readers.topology_file import CHIP, COLLECTIVE, FABRIC, SOFTWARE, TUNING
from planner.records import Record

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
RESIDUAL_TITLE = "# What four of five measured rows stay within, |ln(predicted / measured)|."
LEFT_OUT_ROWS = 150
LEFT_OUT_ROUNDS = 4
LEAST_SHARE = 0.03
"""Of the rows: models (or machines) of fewer are not left out by themselves."""
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
    left_out: tuple[Literal["model", "topology"], ...] = ()
    """What the report leaves out in turn."""
    generations: dict[str, tuple[str, ...]] = Field(default={})
    """Rows by the year of the software that they were measured on, where that is known of all."""

    @property
    def years(self) -> str:
        """Of the software that it is fitted on, in words."""
        found = sorted(self.generations)
        return " to ".join(dict.fromkeys([*found[:1], *found[-1:]]))

    def generation_of(self, row_id: str) -> str:
        """The year of the software of a row."""
        return next((year for year, rows in self.generations.items() if row_id in rows), "")


class Shipped(Record):
    """The constants of one stack as they were fitted."""

    stack: str
    constants: dict[str, float]
    rows: int
    """That it was fitted on."""
    median: float
    """Over all of its rows, as a factor - 1."""
    residuals: tuple[Residual, ...] = ()
    """Of measured fields of `Score`; none of a table of collectives or kernels."""


class LeftOut(Record):
    """How a stack's constants predict what they were not fitted on."""

    stack: str
    by: str
    left_out: float
    """Median error of what was left out, weighted by rows, as a factor - 1."""
    fitted: float
    """Of the same rows when they take part."""


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
    residuals: tuple[Residual, ...] = ()
    if recipe.table == "published":
        rows = [case.measurement.row_id for case in cases if isinstance(case, Case)]
        years = [recipe.generation_of(row) for row in rows] if recipe.generations else []
        residuals = residuals_of([case.field for case in cases], errors, years)
    return Shipped(
        stack=recipe.stack,
        constants=rounded,
        rows=len(cases),
        median=median_factor(errors),
        residuals=residuals,
    )


def left_out_errors(recipe: Recipe, by: str) -> LeftOut:
    """Each model (or machine) in turn is predicted by constants that were fitted without it."""
    used = [case for case in thinned(cases_for(recipe), LEFT_OUT_ROWS) if isinstance(case, Case)]
    keys = np.array([getattr(case.measurement, by) for case in used])
    together = errors_of(used, _fitted(recipe, used, LEFT_OUT_ROUNDS))
    counts: list[int] = []
    outside: list[float] = []
    inside: list[float] = []
    for key, count in sorted(Counter(keys.tolist()).items()):
        # All that there is cannot be left out; of a few rows the median says little.
        if not LEAST_SHARE * len(used) <= count < len(used):
            continue
        left = [case for case in used if getattr(case.measurement, by) == key]
        rest = [case for case in used if getattr(case.measurement, by) != key]
        without = _fitted(recipe, rest, LEFT_OUT_ROUNDS)
        counts.append(count)
        outside.append(median_factor(errors_of(left, without)))
        inside.append(median_factor(together[keys == key]))
    return LeftOut(
        stack=recipe.stack,
        by=by,
        left_out=float(np.average(outside, weights=counts)),
        fitted=float(np.average(inside, weights=counts)),
    )


def cases_for(recipe: Recipe) -> list[Fitted]:
    """All that was measured on its stack, sorted so that equal machines and models follow each
    other."""
    if recipe.table == "kernels":
        timed = [row for row in read_kernels() if row.software == recipe.stack]
        return list[Fitted](kernel_cases(timed))
    path, fields = PUBLISHED, SPEED_FIELDS
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
    if shipped.residuals:
        text = with_residuals(text, {one.field: one.half_width for one in shipped.residuals})
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
    together, and how far off power and energy are into the stacks'."""
    by_generation = {drawn.architecture: drawn for drawn in draws}
    for path in sorted((folder / "chips").glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        path.write_text(_with_draw(text, by_generation), encoding="utf-8")
    measured = {row.topology for row in _rows(PUBLISHED) if row.power_scope == "system"}
    for path in sorted(folder.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        text = _with_host_share(text, host_share, measured=path.stem in measured)
        path.write_text(text, encoding="utf-8")

    # The residuals are those of the figures that were just written.
    catalogue.reread()
    cases, _ = cases_of([row for row in _rows(PUBLISHED) if row.field in POWER_FIELDS])
    by_stack: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_stack[case.topology.software.name].append(case)
    for stack, found in by_stack.items():
        residuals = residuals_of([case.field for case in found], errors_of(found, {}))
        widths = {one.field: one.half_width for one in residuals}
        path = folder / "software" / f"{stack}.toml"
        path.write_text(with_residuals(path.read_text(encoding="utf-8"), widths), encoding="utf-8")
    catalogue.reread()


def _with_draw(text: str, by_generation: Mapping[str, Drawn]) -> str:
    """A chip's file with what its generation draws, or, as a guess, with what all do."""
    name = _architecture_in(text)
    own = by_generation.get(name) if name else None
    before = DRAWS_AS.get(name, "")
    drawn = own or by_generation.get(before) or by_generation[""]

    constants = {key: getattr(drawn.power, key) for key in NAMES if f"{key} = " in text}
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


def with_residuals(text: str, widths: Mapping[str, float]) -> str:
    """A stack's file with these half widths, beside those of fields that are not among them."""
    head, _, tail = text.partition(RESIDUAL_TITLE)
    kept = {key: line for line in tail.splitlines() for key in re.findall(r"^(\w+) = ", line)}
    lines = kept | {field: f"{field} = {width:.3g}" for field, width in widths.items()}
    told = [lines[key] for key in sorted(lines)]
    return "\n".join([head.rstrip(), "", RESIDUAL_TITLE, "[residual]", *told]) + "\n"
