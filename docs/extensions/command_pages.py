"""The page of the command line: each command with its arguments and options, as `--help` has them.

A page writes ```{commands}``` on a line of its own, fenced, and gets all of them.
"""

import re
from collections.abc import Iterator
from typing import Any

import typer
from sphinx.application import Sphinx

from planner.cli import COMMANDS, EXAMPLES, app_for

BLOCK = re.compile(r"^```\{commands\}\n```$", re.MULTILINE)


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with its words, such as "machine detect"."""
    for word in COMMANDS:
        group = typer.main.get_command(app_for(word))
        yield from _leaves(word, group.commands[word])


def _leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield words, command
        return
    for word, inner in command.commands.items():
        yield from _leaves(f"{words} {word}", inner)


def page_of(words: str, command: Any) -> str:
    """A section: what the command does, its arguments, its options, examples."""
    context = command.make_context(f"planner {words}", [], resilient_parsing=True)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    lines = [f"## planner {words}", "", _plain(command.help), "", "```text", usage, "```", ""]
    for kind in ("argument", "option"):
        records = [
            one.get_help_record(context) for one in command.params if one.param_type_name == kind
        ]
        rows = [row_of(*record) for record in records if record is not None]
        if rows:
            lines += [f"| {kind} | what it is |", "|---|---|", *rows, ""]
    if words in EXAMPLES:
        lines += ["```sh", *EXAMPLES[words], "```", ""]
    return "\n".join(lines)


def row_of(names: str, told: str) -> str:
    """Of one argument or option, in a table."""
    words = re.sub(r"[|<>\[\]*]", r"\\\g<0>", _plain(told))
    return f"| `{names}` | {words} |".replace("list[str]>", "text, several>").replace(
        "str>", "text>"
    )


def _plain(text: str | None) -> str:
    """A paragraph of a help text on one line."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def _filled(app: Sphinx, docname: str, source: list[str]) -> None:
    if BLOCK.search(source[0]):
        text = "\n".join(page_of(words, command) for words, command in commands())
        source[0] = BLOCK.sub(lambda _: text, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.connect("source-read", _filled)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
