"""Commands that open a door for programs: `mcp`, `serve`."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.streams import complain, say


def mcp() -> None:
    """Answer assistants over the Model Context Protocol, on standard input and output."""
    from planner.doors.mcp_server import check_extra, serve_mcp

    check_extra()
    if sys.stdin.isatty():
        complain("this speaks with an assistant, and waits for one on standard input")
    serve_mcp()


def serve(
    host: Annotated[
        str, typer.Option("--host", help="To listen on; others than this machine need a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="To listen on; 0: any that is free.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="PLANNER_TOKEN",
            help="That everybody must bring; default: none on this machine, a new one elsewhere.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", help="File of answers; default: spread-planner in the user's state folder."
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, max=64, help="Searches at once; default: 2."),
    ] = min(2, os.cpu_count() or 1),
) -> None:
    """A page for browsers and a JSON API for programs, on this machine (Ctrl-C ends it)."""
    from planner.doors.web.running import serve_http

    with suppress(KeyboardInterrupt):
        serve_http(host, port, token=token, keep=keep, workers=workers, say=say)
