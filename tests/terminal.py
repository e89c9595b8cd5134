"""The command run in this process: what it said, and its status."""

import json
from typing import NamedTuple

import typer

SMALL = ("qwen3-0.6b", "hgx-h100", "--chips", "1")
TOO_SMALL = ("llama-3.1-70b", "hgx-h100", "--chips", "1")
TOO_LONG = ("llama-3.1-405b", "hgx-h100", "--chips", "64", "--time-limit", "0")


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def fields(self):
        return json.loads(self.out)


def refused(answer, status):
    """The sentence of a refusal: one line on standard error, and nothing on standard output."""
    assert (answer.status, answer.out) == (status, "")
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("planner: ")
    assert "Traceback" not in answer.err
    return answer.err.removeprefix("planner: ").strip()


def get_params(app, name):
    """Options of a command, as they are written."""
    command = typer.main.get_command(app).commands[name]
    return [option for one in command.params for option in one.opts]
