"""The pages on commands show what the command answers, and list all of them."""

import re
import shlex
from pathlib import Path

from planner.cli import COMMANDS

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT = (DOCS / "commands.md").read_text(encoding="utf-8")


def test_the_page_shows_the_lines_that_its_command_answers(run):
    (line,) = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    _, *arguments = shlex.split(line.replace("\\\n", " "))
    shown = [
        row
        for block in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
        for row in block.splitlines()
    ]
    answered = run(*arguments).out.splitlines()
    assert len(shown) >= 10
    for row in shown:
        assert row in answered


def test_the_page_lists_every_command_as_the_command_does():
    rows = [f"| `{name}` | {entry.help} |" for name, entry in COMMANDS.items()]
    text = (DOCS / "reference" / "command_line.md").read_text(encoding="utf-8")
    table = text.partition("## All commands")[2].partition("##")[0]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows
