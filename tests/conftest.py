"""What many tests share."""

import sys

import pytest

from planner import cli
from tests.terminal import Answer


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["planner", *(str(argument) for argument in arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        return Answer(status, *capsys.readouterr())

    return call
