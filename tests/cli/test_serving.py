"""Doors for programs, from the command line."""

import io
import sys

import pytest

from planner.cli import serving
from planner.doors import mcp_server
from tests.terminal import refused


class Typed(io.StringIO):
    """Standard input where somebody types."""

    def isatty(self):
        return True


def test_a_missing_extra_is_a_sentence(run, monkeypatch):
    monkeypatch.setattr(mcp_server, "find_spec", lambda name: None)
    assert "pip install 'spread-planner[mcp]'" in refused(run("mcp"), 2)


@pytest.mark.parametrize("given", [Typed(), io.StringIO()], ids=["typed", "piped"])
def test_who_types_is_told_what_it_waits_for(run, monkeypatch, given):
    served = []
    monkeypatch.setattr(serving, "check_extra", lambda: None)
    monkeypatch.setattr(serving, "serve_mcp", lambda: served.append(True))
    monkeypatch.setattr(sys, "stdin", given)
    answer = run("mcp")
    assert (answer.status, answer.out, served) == (0, "", [True])
    assert ("waits for one on standard input" in answer.err) == given.isatty()
