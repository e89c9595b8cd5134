"""Doors for programs, from the command line."""

import io
import sys

import pytest

from planner.doors import mcp_server
from planner.doors.web import running as web_running
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
    monkeypatch.setattr(mcp_server, "check_extra", lambda: None)
    monkeypatch.setattr(mcp_server, "serve_mcp", lambda: served.append(True))
    monkeypatch.setattr(sys, "stdin", given)
    answer = run("mcp")
    assert (answer.status, answer.out, served) == (0, "", [True])
    assert ("waits for one on standard input" in answer.err) == given.isatty()


def test_serve_hands_its_options_on_and_says_where_it_is(run, monkeypatch, tmp_path):
    asked = {}

    def serve_http(host, port, *, say, **options):
        asked.update(options, host=host, port=port)
        say("an address")
        raise KeyboardInterrupt

    monkeypatch.setattr(web_running, "serve_http", serve_http)
    monkeypatch.setenv("PLANNER_TOKEN", "a-token-of-some-length")
    answer = run("serve", "--port", "0", "--keep", str(tmp_path / "k"), "--workers", "3")
    assert (answer.status, answer.out) == (0, "an address\n")
    assert asked == {
        "host": "127.0.0.1",
        "port": 0,
        "token": "a-token-of-some-length",
        "keep": tmp_path / "k",
        "workers": 3,
    }


def test_a_missing_extra_of_serve_is_a_sentence(run, monkeypatch):
    monkeypatch.setattr(web_running, "find_spec", lambda name: None)
    assert "pip install 'spread-planner[serve]'" in refused(run("serve"), 2)
