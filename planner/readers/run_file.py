"""`SavedRun`: what `planner run --save` writes, a plan that was carried out, whole.

The model's config, the machine and the plan stand in the file themselves, so that it is read
wherever a model, a machine or a plan is: nothing has to lie beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from planner.errors import InputError, shortened
from planner.plan import Plan
from planner.readers.files import parsed_json, read_text
from planner.readers.naming import with_names
from planner.records import Record
from planner.units import Seconds
from planner.workload import Workload

KEY = "planner_run"
"""Holds the version of the format, and tells such files from all others."""
VERSION = 1
Clock = Literal["cpu", "wall"]
"""CPU seconds, put together as ranks with a core each would take them; or seconds by the wall."""


class SavedRun(Record):
    """One run of a plan, and how long its one batch took."""

    planner_run: Literal[1] = 1
    """Version of the format."""
    planner: str
    """Version of the tool."""
    engine: str
    """What ran the layers, with versions."""
    date: str
    clock: Clock
    config: dict[str, Any]
    """The model's, as in its config.json."""
    machine: dict[str, Any]
    """As in its file."""
    plan: Plan
    workload: Workload
    seed: int
    """Of weights and prompts."""
    ttft_s: Seconds
    """Of the whole batch, by that clock; so below."""
    tpot_s: Seconds | None = None
    """None where no token came after the first."""
    request_s: Seconds
    run: dict[str, Any] = Field(default={})
    """Each stage's figures, predicted beside measured."""

    @property
    def chips(self) -> int:
        """Up to the last that the plan uses."""
        return 1 + max(group.last for stage in self.plan.stages for group in stage.groups)


def is_run(fields: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a file."""
    return KEY in fields


def run_in(fields: Mapping[str, Any], path: Path) -> SavedRun:
    """The run that a JSON object states; an InputError where its version is another."""
    version = fields[KEY]
    if isinstance(version, bool) or version != VERSION:
        raise InputError(
            f"{path} was saved by `planner run --save` in version {shortened(repr(version))}, and"
            f" this planner reads version {VERSION}; run the plan again with this planner"
        )
    try:
        found = SavedRun.from_fields(fields)
        machine = with_names(found.machine, path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return found.replace(machine=machine)


def read_run(path: Path, what: str = "a run") -> SavedRun | None:
    """The run of a file that should hold `what`; None where it holds something else."""
    text = read_text(path, what)
    if f'"{KEY}"' not in text:
        return None
    fields = parsed_json(text, path)
    return run_in(fields, path) if is_run(fields) else None
