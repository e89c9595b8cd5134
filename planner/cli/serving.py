"""Commands that open a door for programs: `mcp`."""

import sys

from planner.cli.streams import complain
from planner.doors.mcp_server import check_extra, serve_mcp


def mcp() -> None:
    """Answer assistants over the Model Context Protocol, on standard input and output."""
    check_extra()
    if sys.stdin.isatty():
        complain("this speaks with an assistant, and waits for one on standard input")
    serve_mcp()
