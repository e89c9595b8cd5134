"""Commands `fields` and `show`: what can be asked for, and what an entry of the catalogue says."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from planner.cli import completing
from planner.cli.options import RowsShape
from planner.cli.outputs import answer_rows
from planner.errors import InputError, UnknownNameError, listed, plain_name

if TYPE_CHECKING:
    from planner.machines.topology import Figure

EntryName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A model, machine, cluster or software stack of the catalogue, or a file of a machine.",
        autocompletion=completing.entry_names,
    ),
]
KindName = Annotated[
    str | None,
    typer.Option("--kind", help="model, machine, cluster or software, where names are alike."),
]
FIGURE_COLUMNS = ("figure", "value", "sure", "off by", "source")


def fields(format: RowsShape = "table") -> None:
    """Fields of an answer: those that can be optimised or limited, and those that are only shown,
    with units and direction."""
    from planner.report.text import aligned

    rows = field_rows()
    columns = ("field", "unit", "better", "asked of", "what it is")
    lines = [columns, *(tuple(row[name] for name in columns) for row in rows)]
    notes = [
        "",
        "--minimize and --maximize take any field with a direction; --limit takes its worst value.",
        "Percentiles (p50 to p99) and --sure are for one machine only, in plan, compare and size.",
    ]
    answer_rows(format, "\n".join([*aligned(lines), *notes]), rows, rows)


def field_rows() -> list[dict[str, str]]:
    """A row for each field of a score that is asked for, or told."""
    from planner.answers.question import ASKED, SAMPLE_FIELDS
    from planner.report.words import WORDS

    rows = []
    for name, word in WORDS.items():
        known = ASKED.get(name) or SAMPLE_FIELDS.get(name)
        better = "" if known is None else {"least": "lower", "most": "higher"}[known.best]
        kinds = [
            kind
            for kind, table in (("language", ASKED), ("diffusion", SAMPLE_FIELDS))
            if name in table
        ]
        rows.append(
            {
                "field": name,
                "unit": word.unit or "count",
                "better": better or "(shown only)",
                "asked of": " and ".join(kinds),
                "what it is": word.title,
            }
        )
    return rows


class Shown(NamedTuple):
    """An entry, as text and as fields, and its figures in rows."""

    text: list[str]
    fields: dict[str, Any]
    figures: list[dict[str, str]]


def show(name: EntryName, kind: KindName = None, format: RowsShape = "table") -> None:
    """An entry of the catalogue with its figures, their sources and how sure they are: a model, a
    machine, a cluster or a software stack."""
    from planner.report.text import aligned

    if kind is not None and kind not in KINDS:
        raise InputError(f"--kind must be {listed(KINDS, 'or')}, not {kind!r}")
    found, others = _kind_of(name, kind)
    shown = KINDS[found](name)
    lines = list(shown.text)
    if shown.figures:
        rows = [tuple(row[column] for column in FIGURE_COLUMNS) for row in shown.figures]
        lines += ["", *aligned([FIGURE_COLUMNS, *rows])]
    notes = {row["note"] for row in shown.figures if row["note"]}
    lines += [f"note: {note}" for note in sorted(notes)]
    cited = {row["source"] for row in shown.figures}
    lines += _source_lines(cited)
    if others:
        also = listed(others)
        lines += ["", f"a {also} is called so too: --kind {others[0]}"]
    fields = {"kind": found, **shown.fields, "figures": shown.figures}
    answer_rows(format, "\n".join(lines), fields, shown.figures)


def _kind_of(name: str, kind: str | None) -> tuple[str, list[str]]:
    """What a name is of, and what else it is the name of."""
    from planner import catalogue

    if kind is not None:
        return kind, []
    if name.endswith((".toml", ".json")) or "/" in name:
        return ("machine" if name.endswith(".toml") else "model"), []
    tables: dict[str, list[str]] = {
        "model": [*catalogue.model_names(), *catalogue.model_aliases()],
        "machine": [*catalogue.topology_names(), *catalogue.topology_aliases()],
        "cluster": [*catalogue.cluster_names()],
        "software": [*catalogue.software_names()],
    }
    uncounted, _, count = name.rpartition(":")
    if uncounted and count.isdecimal():  # of machines alone there are so many
        name, tables = uncounted, {"machine": tables["machine"]}
    wanted = plain_name(name)
    found = [
        kind for kind, names in tables.items() if wanted in {plain_name(known) for known in names}
    ]
    if not found:
        every = [known for names in tables.values() for known in names]
        sort = "model, machine, cluster or software stack" if len(tables) > 1 else "machine"
        raise UnknownNameError(sort, name, every)
    return found[0], found[1:]


def _model(name: str) -> Shown:
    import planner as pl

    graph = pl.load_model(name)
    told = {
        "name": graph.name,
        "parameters": graph.parameters,
        "parameters_active": graph.parameters_active,
        "layers": len(graph.layers),
        "weight_dtype": graph.weight_dtype,
        "weight_bytes": graph.weight_bytes,
        "kv_dtype": graph.kv_dtype,
        "kv_bytes_per_token": graph.kv_bytes_per_token,
        "activation_dtype": graph.activation_dtype,
        "source": graph.source,
        "confidence": graph.confidence,
        "remarks": list(graph.remarks),
    }
    grade = _grade(graph.confidence)
    return Shown([str(graph), f"how sure: {grade}"], told, [])


def _machine(name: str) -> Shown:
    import planner as pl

    machine = pl.load_topology(name)
    told = machine.model_dump(mode="json", exclude={"figures"})
    return Shown([str(machine)], told, _figure_rows(machine.figures))


def _cluster(name: str) -> Shown:
    import planner as pl

    cluster = pl.load_cluster(name)
    lines = [f"{cluster.name}: {cluster.title}"]
    lines += [
        f"pool {pool.name}: {pool.free_chips} × {pool.topology.name} (`planner show"
        f" {pool.topology.name}`)"
        for pool in cluster.pools
    ]
    lines += [f"link {one.between[0]} – {one.between[1]}" for one in cluster.links]
    told = cluster.model_dump(mode="json", exclude={"figures"})
    return Shown(lines, told, _figure_rows(cluster.figures))


def _software(name: str) -> Shown:
    from planner.catalogue import load_stack

    software, figures = load_stack(name)
    engine = software.engine
    known = "known" if engine.is_known else "not known: any plan is planned for it"
    lines = [f"{software.name}: rules of which plans it can run are {known}"]
    told = software.model_dump(mode="json")
    return Shown(lines, told, _figure_rows(figures))


KINDS: dict[str, Callable[[str], Shown]] = {
    "model": _model,
    "machine": _machine,
    "cluster": _cluster,
    "software": _software,
}


def _grade(confidence: str) -> str:
    """A grade of confidence in words."""
    from planner.scoring.doubts import WORDS

    words = WORDS.get(confidence, "")
    return (
        f"{confidence} ({words})" if words and words != confidence else confidence or "not stated"
    )


def _figure_rows(figures: "Sequence[Figure]") -> list[dict[str, str]]:
    """A row for each figure: what it is, how sure, by how much it may be off, and who says so."""
    import math

    from planner.scoring.doubts import spread_of
    from planner.studies.levers.paths import figure_text

    return [
        {
            "figure": one.path,
            "value": figure_text(one.path, one.value),
            "sure": _grade(one.confidence),
            "off by": f"{100 * (math.exp(spread_of(one)) - 1):.2g} %",
            "source": one.source,
            "note": one.note,
        }
        for one in figures
    ]


def _source_lines(cited: "set[str]") -> list[str]:
    """What the short names of sources stand for."""
    from planner.catalogue import sources

    known: Mapping[str, str] = sources()
    lines = [f"  {name}: {known[name]}" for name in sorted(cited) if name in known]
    legend = [
        "sure: how good the source is",
        "off by: the true value is within ± this share, with a probability of 80 %",
    ]
    return ["", *legend, "sources", *lines] if lines else []
