"""`Export`: what is handed to whoever starts an engine."""

from planner.launches.launch import Launch
from planner.plan import Plan
from planner.records import Record, show_as


class File(Record):
    """A file, by its name."""

    name: str
    text: str


class Export(Record):
    """An engine, told how to run a plan."""

    engine: str
    version: str
    """Whose options are written."""
    launches: tuple[Launch, ...]
    """One; of pools two: prefill, then decode."""
    commands: tuple[str, ...]
    """Each process on one line, with its environment; those of a node stand together in a file."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that all processes of the first engine share."""
    router: str | None = None
    """The command of what stands before several engines; None: one engine, or none is known."""
    benchmark: str
    """The command that asks of the engine what was planned for."""
    files: tuple[File, ...]
    """Scripts, what they read, and `plan.json`, from which `planner score --plan` prices anew."""
    notes: tuple[str, ...] = ()
    """What to know before it is started."""
    validated: bool = False
    """Whether the engine's own parser has read such options (`make validators`)."""
    plans: tuple[Plan, ...]
    """Of the launches."""

    def file(self, name: str) -> str:
        """The text of one file."""
        return next(one.text for one in self.files if one.name == name)


def _shown(export: Export) -> str:
    """Every script and YAML file below its name, then what to know."""
    shown = [
        f"--- {one.name}\n{one.text}" for one in export.files if not one.name.endswith(".json")
    ]
    return "\n".join([*shown, *(f"note: {note}" for note in export.notes)])


show_as(Export, text=_shown)
