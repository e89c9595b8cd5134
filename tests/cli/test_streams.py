"""An answer arrives whatever the stream, and no name gives orders to a terminal."""

import codecs
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cli import streams
from planner.cli.streams import MOST_MESSAGE, as_json, complain, say, visible
from planner.errors import InputError
from tests.terminal import SMALL, refused

COMMAND = (sys.executable, "-m", "planner", "clusters")
HERE = Path(__file__).resolve().parents[2]


def test_what_a_stream_cannot_spell_is_said_in_ascii() -> None:
    codecs.register_error("plainly", streams.plainly)
    told = "2 × H100 → 5 µs ≤ 1 s … é 漢".encode("ascii", errors="plainly")
    assert told == b"2 x H100 -> 5 us <= 1 s ... e ?"


@pytest.mark.slow
@settings(max_examples=25)
@given(st.text())
def test_every_text_can_be_said_on_any_stream(text: str) -> None:
    codecs.register_error("plainly", streams.plainly)
    for encoding in ("ascii", "latin-1", "cp1252", "utf-8"):
        assert isinstance(text.encode(encoding, errors="plainly"), bytes)


@pytest.mark.slow
@given(st.text())
def test_nothing_gives_orders_to_a_terminal(text: str) -> None:
    shown = visible(text)
    assert all(mark in "\t\n" or mark.isprintable() or ord(mark) > 0x9F for mark in shown)
    assert not set(shown) & set("\x1b\x9b\r\b\u202e\u2066\u200b")


def test_orders_in_a_name_are_shown_by_number(run) -> None:
    sentence = refused(run("plan", "llama\x1b[31m\u202e", "hgx-h100"), 2)
    assert "llama\\x1b[31m\\u202e" in sentence


def test_json_has_no_word_for_what_is_no_number() -> None:
    fields = {"a": [math.inf, (1.5, math.nan)], "b": {"c": -math.inf, "d": True}}
    assert json.loads(as_json(fields)) == {"a": [None, [1.5, None]], "b": {"c": None, "d": True}}


def test_a_refusal_is_one_line_of_a_bounded_length(monkeypatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    complain("one\ntwo " + "x" * 10_000)
    assert told.getvalue().startswith("planner: one two xxx")
    assert told.getvalue().count("\n") == 1
    assert len(told.getvalue()) < MOST_MESSAGE + 20


def test_a_closed_standard_output_is_told(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(InputError, match="standard output is closed"):
        say("anything")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_in_a_sentence() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            COMMAND, check=False, cwd=HERE, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == ("planner: standard output cannot be written: No space left on device\n")


@pytest.mark.slow
def test_who_closes_the_pipe_hears_no_complaint() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        COMMAND, check=False, cwd=HERE, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (streams.CLOSED_PIPE, "")


@pytest.mark.slow
def test_an_old_terminal_gets_the_answer_too() -> None:
    """In a process of its own: the encoding of a stream is chosen at the start."""
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "20"}
    done = subprocess.run(COMMAND, check=False, cwd=HERE, capture_output=True, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"a100-l4-t4" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--format", "xml"), "--format must be table or json, not 'xml'"),
        (("--time-limit", "-1"), "--time-limit must be a number of seconds"),
        (("--space", "all"), "--space must be engine or any, not 'all'"),
    ],
)
def test_options_are_looked_at_before_any_work(run, monkeypatch, options, words) -> None:
    def never(*given, **asked):
        raise AssertionError("worked before looking")

    monkeypatch.setattr("planner.partition", never)
    monkeypatch.setattr("planner.catalogue.load_model", never)
    assert words in refused(run("plan", *SMALL, *options), 2)
