"""`serve_http`: the server around the application."""

import os
import secrets
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from planner.doors.jobs import Jobs
from planner.doors.keeping import Keep
from planner.doors.web.app import app_of
from planner.doors.web.gate import is_loopback
from planner.errors import InputError

EXTRA = "planner serve needs Starlette and uvicorn: pip install 'spread-planner[serve]'"
SHORTEST_TOKEN = 16


def check_extra() -> None:
    """Refuse in a sentence where the extra is missing."""
    if not all(find_spec(name) for name in ("starlette", "uvicorn")):
        raise InputError(EXTRA)


def token_for(host: str, given: str | None) -> str | None:
    """The token that is asked for; None: none, since nobody else reaches the host."""
    if given is not None and (len(given) < SHORTEST_TOKEN or not is_plain(given)):
        raise InputError(
            f"--token must have {SHORTEST_TOKEN} or more letters, digits, - and _; leave it out to"
            " be given one"
        )
    if given is None and not is_loopback(host):
        return secrets.token_urlsafe(24)
    return given


def is_plain(token: str) -> bool:
    """Whether it stands in addresses, headers and cookies as it is."""
    return token.isascii() and token.replace("-", "").replace("_", "").isalnum()


def usual_keep() -> Path:
    """Where answers are kept unless somebody says so."""
    state = os.environ.get("XDG_STATE_HOME")
    folder = Path(state) if state and os.path.isabs(state) else Path.home() / ".local" / "state"
    return folder / "spread-planner" / "serve.sqlite"


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{host} port {port} cannot be listened on: {reason}; name others with --host and"
            " --port"
        ) from None


def serve_http(
    host: str,
    port: int,
    *,
    token: str | None,
    keep: Path | None,
    workers: int,
    say: Callable[[str], None],
) -> None:
    """Answer questions over HTTP until Ctrl-C; `say` is told the address."""
    check_extra()
    import uvicorn

    token = token_for(host, token)
    listening = bound(host, port)
    try:
        jobs = Jobs(Keep(keep or usual_keep()), workers=workers)
        try:
            config = uvicorn.Config(
                app_of(jobs, token=token),
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_graceful_shutdown=2,
            )
            jobs.wait_until_warm()
            say(address_of(host, listening.getsockname()[1], token))
            uvicorn.Server(config).run([listening])
        finally:
            jobs.close()
    finally:
        listening.close()


def address_of(host: str, port: int, token: str | None) -> str:
    """What to open in a browser."""
    named = f"[{host}]" if ":" in host else host
    asked = "" if token is None else f"?token={token}"
    return f"http://{named}:{port}/{asked}"
