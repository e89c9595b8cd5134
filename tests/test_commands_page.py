"""`docs/commands.md` shows what the command answers."""

import re
import shlex
from pathlib import Path

from planner.cli import COMMANDS

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "commands.md").read_text(encoding="utf-8")


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
    table = TEXT.partition("## All commands")[2]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows
