"""Questions of the command line: what was not given, and how one is kept in a file and asked
again."""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import planner as pl
from planner.cli.files import check_writable, write_whole
from planner.cli.groups import Goal, Requests, grouped
from planner.cli.nouns import gains_by_batch, is_open
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, listed, shortened, told

if TYPE_CHECKING:
    from planner.models.graph import ModelGraph

VERSION = 1
"""Of the layout of a question's file."""
KEPT = (
    "plan",
    "disaggregate",
    "pair",
    "cluster",
    "score",
    "compare",
    "size",
    "pareto",
    "what-if",
    "required",
    "scaling",
    "replan",
    "map",
    "crossover",
    "export",
)
"""Commands that ask a question, which `--save` keeps."""
PLACES = ("out", "certificate", "export-to", "save")
"""Options that say where an answer goes, and are no part of a question: whoever asks it again says
where."""
INSTEAD = {"minimize": "maximize", "maximize": "minimize", "batch": "rate", "rate": "batch"}
"""Of each option the one that it takes the place of."""
COUNT = re.compile(r":[0-9]+$")
"""Behind the name of a machine: how many chips of it."""
MACHINE_OF = {"chips": 1, "decode-chips": 2, "expert-chips": 2}
"""Of options that say how many chips: which of the names, by number, is their machine's."""
MOST_WORDS = 200
"""In a question's file: of names and of options."""

Save = Annotated[
    Path | None,
    typer.Option("--save", help="Keep this question here, for `planner ask`."),
]
QuestionFile = Annotated[Path, typer.Argument(help="A question, as --save of a command writes it.")]


# ── What was not given ───────────────────────────────────────────────────────────────────────────


class Unsaid:
    """What a command line leaves unsaid, by the options that would say it."""

    def __init__(self, context: typer.Context) -> None:
        self._context = context

    def is_given(self, name: str) -> bool:
        """Whether a parameter was given."""
        source = self._context.get_parameter_source(name)
        return source is not None and source.name != "DEFAULT"

    def of(self, requests: Requests, goal: Goal | None, graph: "ModelGraph") -> dict[str, str]:
        """By option, what was taken in its place."""
        from planner.answers.question import USUAL_BATCH

        params = self._context.params
        found: dict[str, str] = {}
        arrivals = params.get("arrivals", "steady")
        has_users = self.is_given("batch") or self.is_given("rate") or arrivals == "poisson"
        if not has_users:
            is_left = is_open(requests, arrivals, goal)
            found["--batch"] = "max" if is_left else str(USUAL_BATCH)
        for name in ("prompt", "output", "arrivals", "kv"):
            if name in params and not self.is_given(name):
                found[f"--{name}"] = str(params[name])
        if graph.is_diffusion:
            # Samples of a diffusion model start together, and have no tokens.
            for name in ("--prompt", "--output", "--kv", "--arrivals"):
                found.pop(name, None)
        if goal is not None and goal.minimize is None and goal.maximize is None:
            found["--minimize"] = goal.field(graph)
        return found

    def add(
        self,
        text: str,
        fields: dict[str, Any],
        requests: Requests,
        goal: Goal | None,
        graph: "ModelGraph",
    ) -> tuple[str, dict[str, Any]]:
        """An answer with what it took for granted behind it."""
        taken = self.of(requests, goal, graph)
        if not taken:
            return text, fields
        lines = [f"defaults used: {', '.join(' '.join(one) for one in taken.items())}"]
        field = gains_by_batch(goal)
        if taken.get("--batch") == "max" and field is not None:
            lines.append(
                f"the batch is open, as {field} is better with more in flight; --batch 8 asks for"
                " eight users"
            )
        return "\n".join([text, "", *lines]), fields | {"not_given": taken}


# ── Keeping ──────────────────────────────────────────────────────────────────────────────────────


def question(command: Callable[..., None]) -> Callable[..., None]:
    """A command of grouped options that is a question: `--save` keeps it in a file."""
    inner = grouped(command)
    wanted = signature(inner)
    takes_context = "context" in wanted.parameters

    @functools.wraps(inner)
    def run(**given: Any) -> None:
        save = given.pop("save")
        context = given["context"] if takes_context else given.pop("context")
        check_writable(save, "--save")
        # Written before the work nothing would say that it can be asked at all.
        text = None if save is None else kept_text(context)
        try:
            inner(**given)
        except (InfeasibleError, NoPlanFoundError):
            _keep(save, text)
            raise
        _keep(save, text)

    more = [Parameter("save", Parameter.KEYWORD_ONLY, default=None, annotation=Save)]
    if not takes_context:
        more.append(Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context))
    parameters = [*wanted.parameters.values(), *more]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return run


def _keep(save: Path | None, text: str | None) -> None:
    if save is not None and text is not None:
        write_whole(save, text, "--save")


def kept_text(context: typer.Context) -> str:
    """The file of what a command line asks."""
    from planner.detection.toml_writing import toml_text

    unsaid = Unsaid(context)
    names: list[str] = []
    options: dict[str, Any] = {}
    for one in context.command.params:
        if one.name is None or not unsaid.is_given(one.name):
            continue
        value = context.params[one.name]
        if one.param_type_name == "argument":
            names += [str(part) for part in (value if isinstance(value, list) else [value])]
            continue
        option = max(one.opts, key=len).removeprefix("--")
        if option not in PLACES:
            options[option] = _plain(value)
    fields = {
        "version": VERSION,
        "planner": pl.__version__,
        "command": context.command.name,
        "names": names,
        "options": options,
    }
    return toml_text(fields, ["`planner ask FILE` asks it again"]).rstrip("\n")


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [str(part) for part in value]
    return str(value)


# ── Asking again ─────────────────────────────────────────────────────────────────────────────────


def ask(question: QuestionFile) -> None:
    """Ask a question again that --save of a command kept; options behind it take the place of its
    own."""
    # A line that begins with its file was put in its command's words before this is reached.
    raise InputError(f"ask takes the question's file first: planner ask {question} --batch 8")


def words_of(words: Sequence[str]) -> list[str]:
    """The command line that `ask FILE …` stands for; any other as it is."""
    if len(words) < 2 or words[0] != "ask" or words[1].startswith("-"):
        return list(words)
    path, others = Path(words[1]), list(words[2:])
    if "--help" in others:
        return ["ask", "--help"]
    kept = read_question(path)
    given = {word.partition("=")[0].removeprefix("--") for word in others if word[:2] == "--"}
    given |= {name.removeprefix("no-") for name in given}
    given |= {INSTEAD[name] for name in given if name in INSTEAD}
    options = {name: value for name, value in kept["options"].items() if name not in given}
    # Chips that a name brings are changed as an option is.
    names = [
        COUNT.sub("", name) if number in (MACHINE_OF.get(option) for option in given) else name
        for number, name in enumerate(kept["names"])
    ]
    # Names first: of one too many the last is told, and that is none of the file's.
    return [kept["command"], *names, *_words_of_options(options), *others]


def _words_of_options(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
            continue
        for part in value if isinstance(value, list) else [value]:
            yield f"--{name}={part}"


def read_question(path: Path) -> dict[str, Any]:
    """The command, names and options of a file; an InputError says what is wrong with it."""
    from planner.readers.files import read_toml

    fields = {"options": {}, "names": []} | read_toml(path, "a question")
    version = fields.get("version")
    if version != VERSION or isinstance(version, bool):
        raise InputError(
            f"{path}: version must be {VERSION}, which this planner reads, not {told(version)}"
        )
    strange = fields.keys() - {"version", "planner", "command", "names", "options"}
    if strange:
        raise InputError(f"{path}: {shortened(min(strange))} is not a field of a question")
    if fields.get("command") not in KEPT:
        raise InputError(
            f"{path}: command must be {listed(KEPT, 'or')}, not {told(fields.get('command'))}"
        )
    names, options = fields["names"], fields["options"]
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise InputError(f"{path}: names must be a list of texts, not {told(names)}")
    strange = {one for one in names if one.startswith("-")}
    if strange:
        raise InputError(
            f"{path}: names holds {told(min(strange))}, which is an option; put it under [options]"
        )
    if not isinstance(options, dict):
        raise InputError(f"{path}: options must be a table, not {told(options)}")
    for name, value in options.items():
        _check_option(path, name, value)
    count = len(names) + sum(len(one) if isinstance(one, list) else 1 for one in options.values())
    if count > MOST_WORDS:
        raise InputError(
            f"{path} has {count} names and options; a question has at most {MOST_WORDS}"
        )
    return fields


def _check_option(path: Path, name: str, value: Any) -> None:
    if name in PLACES:
        raise InputError(
            f"{path}: options.{name} says where an answer goes, which no question does; give"
            f" --{name} behind it"
        )
    plain = all(letter.isalnum() or letter == "-" for letter in name) and name[:1].isalpha()
    parts = value if isinstance(value, list) else [value]
    if not plain or not all(isinstance(one, str | int | float) for one in parts):
        raise InputError(
            f"{path}: options.{shortened(name)} must be a text, a number, true or false, or a list"
            f" of texts, not {told(value)}"
        )
