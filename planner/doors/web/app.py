"""The application: paths of the JSON API and of the page, around jobs."""

import json
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from planner.doors.jobs import SHORT, Jobs, UnknownJobError, refusal_of
from planner.doors.keeping import Job
from planner.doors.questions import HANDLE, QUESTION
from planner.doors.web.gate import MOST_BYTES, Gate
from planner.doors.web.openapi import ASKED, docs_html, document
from planner.doors.web.pages import (
    FORMS,
    docs_page,
    first_of,
    outcome_html,
    page_file,
    page_html,
    question_of,
    refusal_html,
    report_html,
)
from planner.errors import InputError, PlannerError, UnknownNameError
from planner.faults import unique

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

MOST_WAIT_S = 60.0
PLAIN_WAIT_S = 25.0
"""For a browser without scripts, before it is told to look again."""
LOOK_S = 0.02
LONGEST_LOOK_S = 0.25
JSON = "application/json"
STATIC = {"page.css": "text/css", "page.js": "text/javascript"}

Endpoint = Callable[["Request"], Awaitable["Response"]]


class BadRequestError(InputError):
    """What was sent cannot be read."""


def app_of(jobs: Jobs, *, token: str | None = None) -> "ASGIApp":
    """The application, its gate before it."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    door = Door(jobs)
    routes = [
        Route("/", door.page),
        Route("/docs", door.docs),
        Route("/openapi.json", door.openapi),
        Route("/page/{name}", door.static),
        Route("/api/jobs/{id}", door.job, methods=["GET"]),
        Route("/api/jobs/{id}", door.cancel, methods=["DELETE"]),
        Route("/api/answers/{handle}/certificate", door.certificate),
        Route("/api/{kind}", door.ask, methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _unanswered, PlannerError: _refused, Exception: _failed},
        max_body_size=MOST_BYTES,
    )
    return Gate(app, token=token)


class Door:
    """What is behind each path."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def ask(self, request: "Request") -> "Response":
        """A question; its job."""
        kind = request.path_params["kind"]
        if kind not in ASKED:
            unknown = UnknownNameError("question", kind, ASKED)
            return _error(404, str(unknown))
        question = ASKED[kind].from_fields(await _body(request), whole=QUESTION)
        wait_s = _wait_s(request, MOST_WAIT_S if kind in SHORT else 0.0)
        job = await self._looked_at(self._jobs.ask(kind, question), wait_s)
        if job.is_open:
            return _json(job, 202, {"Location": f"/api/jobs/{job.id}"})
        if job.answer is None:
            return _error(job.code or 409, job.error or "", job=job.id)
        return _json(job)

    async def job(self, request: "Request") -> "Response":
        """How far a job is."""
        job = self._jobs.job(request.path_params["id"])
        return _json(await self._looked_at(job, _wait_s(request, 0.0)))

    async def cancel(self, request: "Request") -> "Response":
        """A job that nobody wants."""
        job = self._jobs.job(request.path_params["id"])
        if not job.is_open:
            return _error(409, f"job {job.id} has ended: {job.status}", job=job.id)
        job = self._jobs.cancel(job.id)
        return _json(await self._looked_at(job, MOST_WAIT_S))

    async def certificate(self, request: "Request") -> "Response":
        """A file for `planner verify`."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import Response

        handle = request.path_params["handle"]
        if not HANDLE.fullmatch(handle):
            raise UnknownJobError(f"there is no answer {handle[:20]!r} here; ask again")
        text = await run_in_threadpool(self._certificate, handle)
        name = f'attachment; filename="{handle}.certificate.json"'
        return Response(text, media_type=JSON, headers={"Content-Disposition": name})

    def _certificate(self, handle: str) -> str:
        return self._jobs.result(handle).certificate().to_json()

    async def openapi(self, request: "Request") -> "Response":
        """What may be asked."""
        from starlette.responses import JSONResponse

        return JSONResponse(document())

    async def docs(self, request: "Request") -> "Response":
        """The same for people."""
        return _html(docs_page(docs_html(document())))

    async def static(self, request: "Request") -> "Response":
        """Styles and script of the page."""
        from starlette.responses import Response

        name = request.path_params["name"]
        if name not in STATIC:
            return _error(404, "there is no such file here")
        return Response(page_file(name), media_type=STATIC[name])

    async def page(self, request: "Request") -> "Response":
        """The page; with `plain` (a form sent without scripts) the answer too."""
        try:
            asked = first_of(request.query_params.multi_items())
        except InputError as error:
            return _html(page_html({}, refusal_html(str(error))), 400)
        if asked.get("plain") not in FORMS and "job" not in asked:
            return _html(page_html(asked))
        try:
            return _html(page_html(asked, await self._outcome(asked)))
        except PlannerError as error:
            code, sentence = refusal_of(error)
            return _html(page_html(asked, refusal_html(sentence)), code)

    async def _outcome(self, asked: dict[str, str]) -> str:
        """An answer as HTML."""
        if "job" in asked:
            job = self._jobs.job(asked["job"])
        else:
            kind = asked["plain"]
            question = ASKED[kind].from_fields(question_of(asked, kind), whole=QUESTION)
            job = self._jobs.ask(kind, question)
        job = await self._looked_at(job, PLAIN_WAIT_S)
        kept = {name: value for name, value in asked.items() if name not in ("plain", "job")}
        told = outcome_html(job, f"/?{urlencode(kept | {'job': job.id})}")
        if job.kind != "plan" or job.answer is None:
            return told
        question = ASKED["report"].from_fields({"answer": job.id})
        report = await self._looked_at(self._jobs.ask("report", question), PLAIN_WAIT_S)
        return told if report.answer is None else report_html(job.id, report.answer["html"])

    async def _looked_at(self, job: Job, wait_s: float) -> Job:
        """The job when it has ended, or after so long."""
        from anyio import current_time, sleep

        until, pause_s = current_time() + wait_s, LOOK_S
        while job.is_open and current_time() < until:
            await sleep(pause_s)
            pause_s = min(1.5 * pause_s, LONGEST_LOOK_S)
            job = self._jobs.job(job.id)
        return job


async def _body(request: "Request") -> Any:
    """The JSON of a request."""
    sort = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sort != JSON:
        raise BadRequestError(f"a question is JSON: send it with 'Content-Type: {JSON}'")
    text = await request.body()
    try:
        return json.loads(text, object_pairs_hook=unique)
    except InputError as error:
        raise BadRequestError(f"{QUESTION}: {error}") from None
    except (ValueError, RecursionError):
        raise BadRequestError("the body is no JSON that can be read") from None


def _wait_s(request: "Request", usual_s: float) -> float:
    given = request.query_params.get("wait")
    if given is None:
        return usual_s
    try:
        wait_s = float(given)
    except ValueError:
        wait_s = math.nan
    if not 0 <= wait_s <= MOST_WAIT_S:
        raise BadRequestError(f"wait must be a number of seconds between 0 and {MOST_WAIT_S:g}")
    return wait_s


def _json(job: Job, code: int = 200, headers: dict[str, str] | None = None) -> "Response":
    from starlette.responses import Response

    return Response(job.to_json(indent=None), code, headers, JSON)


def _html(text: str, code: int = 200) -> "Response":
    from starlette.responses import HTMLResponse

    return HTMLResponse(text, code)


def _error(code: int, sentence: str, **more: str) -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse({"error": sentence, **more}, code)


async def _refused(request: "Request", error: Exception) -> "Response":
    """PlannerErrors."""
    code, sentence = refusal_of(error)
    return _error(400 if isinstance(error, BadRequestError) else code, sentence)


async def _failed(request: "Request", error: Exception) -> "Response":
    """Our own faults."""
    return _error(*refusal_of(error))


async def _unanswered(request: "Request", error: Any) -> "Response":
    """What Starlette refuses."""
    sentences = {
        404: "there is nothing here; /docs says what may be asked",
        405: "that cannot be done here; /docs says what can",
        413: f"a question has at most {MOST_BYTES} bytes",
    }
    code = error.status_code
    return _error(code, sentences.get(code, f"this cannot be answered: {error.detail}"))
