"""`Gate`: who may come in. Stands before the application and refuses in one sentence of JSON."""

import hmac
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2**20
"""Of a request's body."""
COOKIE = "planner_token"
LOOPBACK_NAMES = ("localhost",)
HEADERS = (
    # A report brings its own styles, and nothing brings scripts but the page's own file.
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'"
        " data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
"""Of every answer."""


class Refused(Exception):
    """Why somebody may not come in."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Gate:
    """Lets requests through that come from this page or from no page, and, where there is a token,
    bring it. Without a token requests must name this machine: other names may have been made to
    point here (DNS rebinding)."""

    def __init__(self, app: "ASGIApp", *, token: str | None = None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """ASGI."""
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import JSONResponse

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS:
                    headers[name] = value
            await send(message)

        try:
            self._check(scope, Headers(scope=scope))
        except Refused as refusal:
            answer: Any = JSONResponse({"error": str(refusal)}, refusal.code)
        else:
            answer = self._with_cookie(scope) or self._app
        await answer(scope, receive, send_guarded)

    def _check(self, scope: "Scope", headers: Any) -> None:
        check_host(headers.get("host", ""), any_name=self._token is not None)
        check_origin(headers)
        check_length(headers.get("content-length", "0"))
        if self._token is not None:
            check_token(self._token, given_token(scope, headers))

    def _with_cookie(self, scope: "Scope") -> Any:
        """Whoever brings the token in an address gets it as a cookie, and an address without."""
        from starlette.responses import RedirectResponse

        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        kept = [(name, value) for name, value in asked if name != "token"]
        if self._token is None or len(kept) == len(asked) or scope["method"] != "GET":
            return None
        # Two slashes at the start of an address would name another machine.
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(f"{path}?{urlencode(kept)}" if kept else path, 303)
        response.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
        return response


def check_host(host: str, *, any_name: bool) -> None:
    """Refuse names of this machine that somebody else may have given it."""
    name = hostname_of(f"//{host}")
    if name is None:
        raise Refused(400, "the header Host must name this server")
    if not any_name and not is_loopback(name):
        raise Refused(
            403, "the header Host names another machine; ask by the address that was printed"
        )


def check_origin(headers: Any) -> None:
    """Refuse what another site's page sends."""
    origin = headers.get("origin")
    host = headers.get("host", "").lower()
    if origin is not None and urlsplit_of(origin) not in (("http", host), ("https", host)):
        raise Refused(403, "the request comes from another site's page, which may not ask here")
    site = headers.get("sec-fetch-site", "none")
    is_opened = headers.get("sec-fetch-dest") == "document"
    if site in ("cross-site", "same-site") and not is_opened:
        raise Refused(403, "the request comes from another site's page, which may not ask here")


def check_length(given: str) -> None:
    """Refuse a body that says that it is too long, before any of it is read."""
    if not (given.isascii() and given.isdigit()):
        raise Refused(400, "the header Content-Length must be a number")
    if len(given) > 12 or int(given) > MOST_BYTES:
        raise Refused(413, f"a question has at most {MOST_BYTES} bytes")


def check_token(token: str, given: str | None) -> None:
    """Refuse whoever lacks the token."""
    if given is None:
        raise Refused(
            401,
            "a token is needed: the header 'Authorization: Bearer TOKEN', or /?token=TOKEN in a"
            " browser",
        )
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise Refused(403, "the token is wrong; take the one that the server printed")


def given_token(scope: "Scope", headers: Any) -> str | None:
    """Of the header, of the address, or of the cookie, in this order."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return str(bearer.strip())
    asked = dict(parse_qsl(str(scope["query_string"], "latin-1")))
    if "token" in asked:
        return asked["token"]
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else str(found.value)


def is_loopback(name: str) -> bool:
    """Whether a host's name is this machine's own."""
    if name in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def hostname_of(address: str) -> str | None:
    """The host of an address; None: it has none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def urlsplit_of(origin: str) -> tuple[str, str]:
    """Scheme, and host with port."""
    try:
        found = urlsplit(origin.lower())
    except ValueError:
        return "", ""
    return found.scheme, found.netloc
