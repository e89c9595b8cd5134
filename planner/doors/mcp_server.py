"""The door for assistants: questions as tools of the Model Context Protocol, over standard input
and output."""

import json
import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from planner import __version__
from planner.doors.answers import ANSWERS, Answer
from planner.doors.asking import names_of
from planner.doors.desk import Desk
from planner.doors.questions import QUESTION, QUESTIONS, Question
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    PlannerError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.types import CallToolResult, Resource, Tool

EXTRA = "planner mcp needs the package mcp: pip install 'spread-planner[mcp]'"
INSTRUCTIONS = """\
Plans how to spread a large model over chips, prices the plan, and proves that no better one exists.
Ask `names` for models, machines and fields before guessing them. `size` answers "how few chips", \
`plan` "how best on this machine", `compare` "on which of these", `pareto` "what is worth having \
when several figures count", `score` "what does my split \
cost", `score_command` "what does this vllm serve line cost"; `verify` and `explain` take the handle of an earlier answer (a1).
Repeat status and bound as they are: "optimal" is proved by the price list for the plans named in \
`space`, "feasible" is not. Prices are predictions: say low to high (4 of 5 measurements), and \
name evidence and doubts. An error that begins with "infeasible, proved" is an answer; one that \
says that nothing is proved is none."""
SCHEME = "planner://"
KINDS = ("models", "machines", "software", "fields")

logger = logging.getLogger(__name__)


def serve_mcp() -> None:
    """Answer on standard output what is asked on standard input, until that ends.

    An InputError says what to install where the package `mcp` is missing.
    """
    check_extra()
    import anyio

    desk = Desk()
    try:
        anyio.run(_served, desk)
    finally:
        desk.close()


def check_extra() -> None:
    """Refuse in a sentence where the extra is missing."""
    if find_spec("mcp") is None:
        raise InputError(EXTRA)


async def _served(desk: Desk) -> None:
    from mcp.server.stdio import stdio_server

    server = server_of(desk)
    async with stdio_server() as (questions, answers):
        await server.run(questions, answers, server.create_initialization_options())


def server_of(desk: Desk) -> "Server[Any]":
    """A server whose tools ask at that desk."""
    from anyio import to_thread
    from mcp import types
    from mcp.server.lowlevel import Server

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=_tools())

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await _called(desk, params.name, params.arguments or {})

    async def list_resources(context: Any, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=_resources())

    async def read_resource(
        context: Any, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        text = await to_thread.run_sync(_resource, str(params.uri))
        found = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[found])

    return Server(
        "planner",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def _tools() -> "list[Tool]":
    """One for each question."""
    from mcp.types import Tool, ToolAnnotations

    hints = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    return [
        Tool(
            name=name,
            description=(question.__doc__ or "").replace("\n    ", " "),
            input_schema=question.json_schema(),
            output_schema=ANSWERS[name].json_schema(),
            annotations=hints,
        )
        for name, question in QUESTIONS.items()
    ]


def _resources() -> "list[Resource]":
    from mcp.types import Resource

    return [
        Resource(
            uri=f"{SCHEME}{kind}",
            name=kind,
            description=f"{kind} that questions may name",
            mime_type="application/json",
        )
        for kind in KINDS
    ]


def _resource(uri: str) -> str:
    """Names of a kind, as JSON."""
    from mcp.shared.exceptions import MCPError
    from mcp.types import INVALID_PARAMS

    kind = uri.removeprefix(SCHEME)
    if kind not in KINDS:
        known = ", ".join(f"{SCHEME}{one}" for one in KINDS)
        raise MCPError(INVALID_PARAMS, f"there is no such resource; there are {known}")
    return json.dumps(dict(names_of(kind)), ensure_ascii=False)


async def _called(desk: Desk, name: str, arguments: dict[str, Any]) -> "CallToolResult":
    """What a tool answers; every failure is one sentence, and never a traceback."""
    try:
        if name not in QUESTIONS:
            raise UnknownNameError("tool", name, QUESTIONS)
        answer = await _asked(desk, QUESTIONS[name].from_fields(arguments, whole=QUESTION))
    except PlannerError as error:
        return _refused(f"{_kind_of(error)}: {error}")
    except Exception as error:
        logger.exception("a question failed")
        return _refused(
            f"a fault of the planner, not of the question: {type(error).__name__}; ask otherwise,"
            " and report it"
        )
    return _given(answer)


async def _asked(desk: Desk, question: Question) -> Answer:
    """The answer, unless whoever asked cancels."""
    from anyio import get_cancelled_exc_class, to_thread

    try:
        return await to_thread.run_sync(desk.ask, question, abandon_on_cancel=True)
    except get_cancelled_exc_class():
        desk.leave(question)
        raise


def _kind_of(error: PlannerError) -> str:
    """What a refusal proves."""
    if isinstance(error, InfeasibleError):
        return "infeasible, proved"
    if isinstance(error, NoPlanFoundError):
        return "no plan found in time, nothing is proved"
    if isinstance(error, InputError):
        return "the question is wrong"
    return "not answered"


def _given(answer: Answer) -> "CallToolResult":
    from mcp.types import CallToolResult, TextContent

    # A picture is read by nobody here, and takes more words than all the rest.
    fields = answer.model_dump(mode="json", exclude={"svg"})
    return CallToolResult(
        content=[TextContent(type="text", text=answer.summary)], structured_content=fields
    )


def _refused(sentence: str) -> "CallToolResult":
    from mcp.types import CallToolResult, TextContent

    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)
