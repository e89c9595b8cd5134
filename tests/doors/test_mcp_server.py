"""The door for assistants: what a client of theirs finds."""

import json
import os
import sys
from pathlib import Path
from threading import Event

import anyio
import anyio.to_thread
import pytest

from planner.doors import mcp_server
from planner.doors.answers import VerifyAnswer
from planner.doors.questions import QUESTIONS
from planner.errors import InfeasibleError, InputError, NoPlanFoundError

ROOT = Path(__file__).resolve().parents[2]
needs_mcp = pytest.mark.skipif(
    not mcp_server.find_spec("mcp"), reason="the extra mcp is not installed"
)


class Asked:
    """A desk that says, or raises, what it is told to."""

    def __init__(self, answer):
        self.answer = answer
        self.questions = []

    def ask(self, question):
        self.questions.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def called(desk, name, **arguments):
    return anyio.run(mcp_server._called, desk, name, arguments)


VERIFIED = VerifyAnswer(
    summary="bound: 1, proved again",
    confirmed=True,
    objective=1.0,
    bound=1.0,
    checked_bound=1.0,
    is_late=False,
    is_of_the_catalogue=True,
)


@needs_mcp
@pytest.mark.slow
def test_an_answer_has_words_and_fields():
    desk = Asked(VERIFIED)
    result = called(desk, "verify", answer="a1")
    assert result.content[0].text == "bound: 1, proved again"
    assert result.structured_content == VERIFIED.model_dump(mode="json")
    assert not result.is_error
    assert desk.questions == [QUESTIONS["verify"](answer="a1")]


INFEASIBLE = InfeasibleError("it does not fit", resource="memory", demand=2, capacity=1)


@needs_mcp
@pytest.mark.slow
@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (InputError("users: too many"), "the question is wrong: users: too many"),
        (INFEASIBLE, "infeasible, proved: it does not fit"),
        (NoPlanFoundError("none"), "no plan found in time, nothing is proved: none"),
    ],
    ids=["input", "infeasible", "late"],
)
def test_a_refusal_is_one_sentence_that_says_what_it_proves(raised, sentence):
    result = called(Asked(raised), "verify", answer="a1")
    assert result.is_error
    assert result.content[0].text == sentence
    assert result.structured_content is None


class Slow:
    """A desk that answers when it is left."""

    def __init__(self):
        self.begun, self.left = Event(), Event()

    def ask(self, question):
        self.begun.set()
        self.left.wait()
        return VERIFIED

    def leave(self, question):
        self.left.set()


def test_who_cancels_leaves_the_desk():
    desk = Slow()

    async def cancelled():
        async with anyio.create_task_group() as group:
            group.start_soon(mcp_server._asked, desk, QUESTIONS["verify"](answer="a1"))
            await anyio.to_thread.run_sync(desk.begun.wait)
            group.cancel_scope.cancel()

    anyio.run(cancelled)
    assert desk.left.is_set()


@needs_mcp
@pytest.mark.slow
def test_a_fault_of_ours_is_a_sentence_too(caplog):
    result = called(Asked(ZeroDivisionError("division by zero")), "verify", answer="a1")
    assert result.is_error
    assert result.content[0].text.startswith("a fault of the planner, not of the question: ZeroDiv")
    assert "Traceback" not in result.content[0].text
    assert "a question failed" in caplog.text


@needs_mcp
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("plot", {}, "there is no tool called 'plot'; the nearest names are"),
        ("plan", {"model": "m", "machine": "../x.toml"}, "'../x.toml' names a file"),
        ("plan", {"model": "m"}, "machine is missing"),
        ("verify", {"answer": "rm -rf"}, "answer must be the handle"),
    ],
)
def test_a_wrong_question_reaches_no_desk(name, arguments, sentence):
    desk = Asked(VERIFIED)
    result = called(desk, name, **arguments)
    assert result.is_error
    assert sentence in result.content[0].text
    assert desk.questions == []


SKILL = (ROOT / "docs" / "SKILL.md").read_text(encoding="utf-8")


def test_the_page_for_assistants_names_all_tools_and_what_answers_say():
    for name in QUESTIONS:
        assert f"`{name}`" in SKILL
        assert f"`{name}`" in mcp_server.INSTRUCTIONS
    for word in ("status", "bound", "low", "high", "unit", "evidence", "doubts", "space", "notes"):
        assert f"`{word}`" in SKILL
    for error in (INFEASIBLE, NoPlanFoundError("")):
        assert mcp_server._kind_of(error) in SKILL.lower().replace("\n  ", " ")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(mcp_server, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'spread-planner\[mcp\]'"):
        mcp_server.serve_mcp()


SIZE = {
    "model": "qwen3-0.6b",
    "machines": ["hgx-h100", "l4"],
    "requests_per_s": 2.0,
    "prompt_tokens": 128,
    "output_tokens": 16,
    "limits": {"tpot_p99_s": "100 ms"},
    "sure": 0.8,
}


async def conversation():
    """A client asks how few chips will do, over standard input and output."""
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    kept = {name: os.environ[name] for name in ("PYTHONDONTWRITEBYTECODE",) if name in os.environ}
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "planner", "mcp"],
        env=kept | {"PYTHONPATH": str(ROOT)},
    )
    async with Client(stdio_client(server)) as client:
        tools = (await client.list_tools()).tools
        sized = await client.call_tool("size", SIZE)
        handle = sized.structured_content["machines"][0]["answer"]
        verified = await client.call_tool("verify", {"answer": handle})
        refused = await client.call_tool("plan", {"model": "qwen3", "machine": "no-such"})
        listed = (await client.list_resources()).resources
        models = await client.read_resource("planner://software")
    return tools, sized, verified, refused, listed, models


@needs_mcp
@pytest.mark.slow
def test_a_client_asks_a_sizing_question_end_to_end():
    tools, sized, verified, refused, listed, software = anyio.run(conversation)
    assert {tool.name for tool in tools} == set(QUESTIONS)
    assert all(tool.input_schema["type"] == "object" for tool in tools)
    assert all(tool.output_schema and tool.annotations.read_only_hint for tool in tools)

    assert not sized.is_error
    for row in sized.structured_content["machines"]:
        assert (row["status"], row["chips"], row["bound_chips"]) == ("optimal", 1, 1)
        (tpot,) = (one for one in row["figures"] if one["field"] == "tpot_p99_s")
        assert tpot["unit"] == "s"
        assert tpot["low"] < tpot["value"] < tpot["high"]
        assert row["evidence"] in ("measured", "near measured", "extrapolated")
    assert "each limit is kept with a probability of 0.8" in sized.content[0].text

    assert verified.structured_content["confirmed"]
    assert refused.is_error
    assert "there is no" in refused.content[0].text
    assert "\n" not in refused.content[0].text
    assert {str(one.uri) for one in listed} == {
        f"planner://{kind}" for kind in ("models", "machines", "software", "fields")
    }
    assert "vllm" in json.loads(software.contents[0].text)
