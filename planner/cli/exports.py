"""Options that hand a plan on to an engine, and what is done with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.files import OutFile, check_folder, write_all, write_folder
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.answers.results import Disaggregation, Result
    from planner.export.exports import Export
    from planner.machines.topology import Topology
    from planner.models.graph import ModelGraph

Exported = Annotated[
    str | None,
    typer.Option(
        "--export",
        help="Also write how this engine is started with the plan: vllm, sglang, tensorrt-llm,"
        " llama.cpp or huggingface.",
    ),
]
Version = Annotated[
    str | None,
    typer.Option(
        "--export-version", help="Version of the engine; default: the newest that is known."
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--export-to", help="Write the files there; default: show the script."),
]
ModelPath = Annotated[
    str | None,
    typer.Option(
        "--model-path",
        help="What the engine loads: a name on a hub, or a path; default: as the catalogue knows it.",
    ),
]
DraftPath = Annotated[
    str | None,
    typer.Option(
        "--draft-path", help="What the engine loads as the draft model: a name on a hub, or a path."
    ),
]
Manifest = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        help="Also a file for a cluster: leaderworkerset, dynamo, llm-d, kserve or ray-serve.",
    ),
]
PerNode = Annotated[
    int | None,
    typer.Option(
        "--chips-per-node", help="Chips of a node; default: as many as the innermost fabric joins."
    ),
]


@dataclass(frozen=True, slots=True)
class Handing:
    """What is to be handed on, and where."""

    export: Exported = None
    export_version: Version = None
    export_to: Folder = None
    model_path: ModelPath = None
    draft_path: DraftPath = None
    chips_per_node: PerNode = None
    manifest: Manifest = None

    def check(self) -> None:
        """Refuse before the work what can be."""
        if self.export is None:
            given = [name for name, value in self._others() if value is not None]
            if given:
                raise InputError(f"{given[0]} says how a plan is exported; give --export too")
            return
        # Engines' rooms load only where they are asked for.
        from planner.export.exporting import wanted_of

        wanted_of(
            self.export,
            self.export_version,
            chips_per_node=self.chips_per_node,
            manifest=self.manifest,
        )
        check_folder(self.export_to, "--export-to")

    def check_machine(self, graph: "ModelGraph", topology: "Topology") -> None:
        """Refuse before the work what the engine does not run, or runs on no such chip."""
        if self.export is None:
            return
        from planner.export.exporting import wanted_of
        from planner.launches.launching import check_machine

        check_machine(graph, topology, wanted_of(self.export).engine)

    @property
    def software(self) -> str | None:
        """The stack that stands for the engine: a plan is best made for what will run it."""
        if self.export is None:
            return None
        from planner.export.exporting import wanted_of
        from planner.launches.launching import STACKS

        return STACKS[wanted_of(self.export).engine][0]

    def _others(self) -> list[tuple[str, object]]:
        return [
            ("--export-version", self.export_version),
            ("--export-to", self.export_to),
            ("--model-path", self.model_path),
            ("--draft-path", self.draft_path),
            ("--chips-per-node", self.chips_per_node),
            ("--manifest", self.manifest),
        ]

    def made(self, result: "Result | Disaggregation") -> "Export | None":
        """The export; None: none was asked for."""
        if self.export is None:
            return None
        from planner.export.exporting import to_engine

        return to_engine(
            result,
            self.export,
            version=self.export_version,
            model=self.model_path,
            draft=self.draft_path,
            chips_per_node=self.chips_per_node,
            manifest=self.manifest,
        )

    def write(self, export: "Export | None", beside: Sequence[OutFile] = ()) -> None:
        """The export where it was asked to be, and other outputs: all of them or none."""
        if export is None or self.export_to is None:
            write_all(list(beside))
            return
        files = {one.name: one.text for one in export.files}
        write_folder(self.export_to, files, "--export-to", beside)

    def text(self, export: "Export") -> str:
        """For a terminal: the scripts, or where they are."""
        if self.export_to is not None:
            names = ", ".join(one.name for one in export.files)
            lines = [f"written to {self.export_to}: {names}"]
        else:
            lines = [one.text for one in export.files if one.name.endswith((".sh", ".yaml"))]
        return "\n".join([*lines, *(f"note: {note}" for note in export.notes)])


def with_export(
    handing: Handing, export: "Export | None", text: str, fields: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """An answer's text and fields, with the export beside them."""
    if export is None:
        return text, fields
    return f"{text}\n\n{handing.text(export)}", fields | {"export": export.model_dump(mode="json")}
