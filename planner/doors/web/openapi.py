"""What may be asked over HTTP, as an OpenAPI document made from the records, and a plain page of
it."""

from html import escape
from typing import Any

from pydantic.json_schema import models_json_schema

from planner import __version__
from planner.doors.answers import ANSWERS, PICTURED_ANSWERS
from planner.doors.jobs import SHORT
from planner.doors.keeping import Job
from planner.doors.questions import PICTURED, QUESTIONS
from planner.records import Record

ASKED = QUESTIONS | PICTURED
ANSWERED = ANSWERS | PICTURED_ANSWERS
ABOUT = """\
Plans how to spread a large model over chips, prices the plan, and proves that no better one exists.
A question is a job: its answer comes with the job where it is there within `wait` seconds, else the \
job is looked at until it is done. Every refusal is {"error": one sentence}."""
SENTENCES = {
    400: "No JSON, or a wrong header.",
    401: "A token is needed.",
    403: "A wrong token, another site's page, or another machine's name.",
    404: "There is no such thing here.",
    409: "Infeasible, proved; or no plan in time, nothing proved; or cancelled, lost, answered.",
    413: "Too long.",
    422: "The question is wrong: the sentence names the field and the remedy.",
    429: "Too many questions wait.",
}
WAIT = {
    "name": "wait",
    "in": "query",
    "description": "Seconds to wait for the answer, at most 60.",
    "schema": {"type": "number", "minimum": 0, "maximum": 60},
}


class Fault(Record):
    """A refusal."""

    error: str
    """One sentence."""


def document() -> dict[str, Any]:
    """The document."""
    models = {*ASKED.values(), *ANSWERED.values(), Job, Fault}
    ordered = sorted(models, key=lambda one: one.__name__)
    _, schemas = models_json_schema(
        [(one, "validation") for one in ordered], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "planner", "version": __version__, "description": ABOUT},
        "paths": {f"/api/{kind}": {"post": _asking(kind)} for kind in ASKED} | _paths_of_jobs(),
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _asking(kind: str) -> dict[str, Any]:
    question, answer = ASKED[kind], ANSWERED[kind]
    done = {
        "allOf": [
            _reference(Job),
            {"type": "object", "properties": {"answer": _reference(answer)}},
        ]
    }
    usual = "as long as it takes" if kind in SHORT else "0"
    wait = WAIT | {"description": f"{WAIT['description']} Usually {usual}."}
    return {
        "operationId": kind,
        "summary": " ".join((question.__doc__ or "").split()),
        "parameters": [wait],
        "requestBody": {"required": True, "content": _json(_reference(question))},
        "responses": {
            "200": {"description": "Answered.", "content": _json(done)},
            "202": {"description": "Not yet; look at the job.", "content": _json(_reference(Job))},
            **_refusals(400, 401, 403, 409, 413, 422, 429),
        },
    }


def _paths_of_jobs() -> dict[str, Any]:
    job = {"200": {"description": "The job.", "content": _json(_reference(Job))}}
    name = {"in": "path", "required": True, "schema": {"type": "string", "maxLength": 16}}
    named = name | {"name": "id", "description": "Such as a17."}
    handle = name | {"name": "handle", "description": "Such as a17, or a17.1."}
    return {
        "/api/jobs/{id}": {
            "get": {
                "operationId": "job",
                "summary": "How far a job is, with its answer once it is done.",
                "parameters": [named, WAIT],
                "responses": {**job, **_refusals(401, 403, 404)},
            },
            "delete": {
                "operationId": "cancel",
                "summary": "Cancel a job; what works on it is ended.",
                "parameters": [named],
                "responses": {**job, **_refusals(401, 403, 404, 409)},
            },
        },
        "/api/answers/{handle}/certificate": {
            "get": {
                "operationId": "certificate",
                "summary": "The certificate of an answer, which `planner verify` checks.",
                "parameters": [handle],
                "responses": {
                    "200": {"description": "The file.", "content": _json({"type": "object"})},
                    **_refusals(401, 403, 404),
                },
            }
        },
    }


def _refusals(*codes: int) -> dict[str, Any]:
    content = _json(_reference(Fault))
    return {str(code): {"description": SENTENCES[code], "content": content} for code in codes}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reference(record: type[Record]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{record.__name__}"}


# ── For people ───────────────────────────────────────────────────────────────────────────────────


def docs_html(described: dict[str, Any]) -> str:
    """The document as the body of a page."""
    parts = [f"<p>{_words(described['info']['description'])}</p>"]
    for path, methods in described["paths"].items():
        for method, asked in methods.items():
            parts += _operation(method.upper(), path, asked)
    parts.append("<h2>Records</h2>")
    for name, schema in described["components"]["schemas"].items():
        parts += _record(name, schema)
    return "\n".join(parts)


def _operation(method: str, path: str, asked: dict[str, Any]) -> list[str]:
    codes = [
        f"<li><b>{code}</b> {_words(one['description'])}{_content(one)}</li>"
        for code, one in asked["responses"].items()
    ]
    given = [
        f"<li><code>{escape(one['name'])}</code> {_words(one['description'])}</li>"
        for one in asked.get("parameters", ())
    ]
    if "requestBody" in asked:
        given.append(f"<li>body{_content(asked['requestBody'])}</li>")
    return [
        f"<section id='{asked['operationId']}'><h3><b>{method}</b>"
        f" <code>{escape(path)}</code></h3>",
        f"<p>{_words(asked['summary'])}</p><ul>{''.join(given)}</ul>",
        f"<details><summary>answers</summary><ul>{''.join(codes)}</ul></details></section>",
    ]


def _content(one: dict[str, Any]) -> str:
    schema = one["content"]["application/json"]["schema"]
    return f": {_type(schema)}"


def _record(name: str, schema: dict[str, Any]) -> list[str]:
    rows = [
        f"<tr><td><code>{escape(field)}</code>{_required(field, schema)}</td>"
        f"<td>{_type(described)}</td><td>{_words(described.get('description', ''))}</td></tr>"
        for field, described in schema.get("properties", {}).items()
    ]
    table = f"<div class='wide'><table>{''.join(rows)}</table></div>"
    return [
        f"<section id='{escape(name)}'><h3>{escape(name)}</h3>",
        f"<p>{_words(schema.get('description', ''))}</p>{table}</section>",
    ]


def _required(field: str, schema: dict[str, Any]) -> str:
    return " (needed)" if field in schema.get("required", ()) else ""


def _type(schema: dict[str, Any]) -> str:
    """In words, with a link to each record."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    for key in ("anyOf", "allOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key] if one.get("type") != "null")
    if "properties" in schema:
        inside = [f"{escape(name)} {_type(one)}" for name, one in schema["properties"].items()]
        return f"with {', '.join(inside)}"
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    named = str(schema.get("type", "any"))
    if "items" in schema:
        named += f" of {_type(schema['items'])}"
    return escape(named) if "items" not in schema else named


def _words(text: str) -> str:
    return escape(" ".join(text.split()))
