"""The page: what stands in it before anything is asked, and answers for browsers without
scripts."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from planner import catalogue
from planner.doors.keeping import Job
from planner.errors import InputError

FOLDER = Path(__file__).parent / "page"
LIMIT = "limit."
"""How fields of a form begin that are limits."""
LISTS = ("machines", "claims")
"""Fields of a form that hold several names, with commas between them."""
MODEL = ("model", "weights")
MACHINE = ("machine", "chips", "software", "price")
LENGTHS = ("prompt_tokens", "output_tokens")
LOAD = ("users", "requests_per_s", *LENGTHS, "draft")
LIMITS = ("sure", "limit.ttft_s", "limit.tpot_s", "limit.ttft_p99_s", "limit.tpot_p99_s")
DEGREES = ("tensor_parallel", "pipeline_parallel", "expert_parallel", "data_parallel")
FORMS = {
    "plan": (*MODEL, *MACHINE, *LOAD, *LIMITS, "objective"),
    "pareto": (*MODEL, *MACHINE, *LENGTHS),
    "size": (*MODEL, "machines", *LOAD, *LIMITS),
    "compare": (*MODEL, "machines", *LOAD, *LIMITS, "objective"),
    "score": (*MODEL, *MACHINE, *LOAD, *DEGREES),
    "score_command": ("command", "machine", "chips", "users", *LENGTHS),
    "audit": ("claims",),
}
"""Of each question, the fields that are asked of a form; as questions name them but for a price,
which is of the machine, and a draft, which is a model."""
FOLDS = {
    "machines": ("machines",),
    "split": DEGREES,
    "command": ("command",),
    "claims": ("claims",),
}
"""Parts of the page that are open where one of their fields is asked."""
FIELDS = tuple(dict.fromkeys(name for names in FORMS.values() for name in names))
USUAL = {"prompt_tokens": "1024", "output_tokens": "256"}
OBJECTIVES = {
    "": "what is usual",
    "tpot_s": "time per output token",
    "ttft_s": "time to first token",
    "request_s": "time of a request",
    "tokens_per_s": "tokens per second",
    "energy_per_token_j": "energy per token",
    "usd_per_million_tokens": "price of a million tokens",
    "usd_per_hour": "price of an hour",
    "chips": "chips",
}


def page_file(name: str) -> str:
    """The text of a file of the page."""
    return (FOLDER / name).read_text(encoding="utf-8")


def question_of(asked: Mapping[str, str], kind: str = "plan") -> dict[str, Any]:
    """The fields of a question that an address or a form has; empty ones are not asked."""
    given = {name: asked[name].strip() for name in FORMS[kind] if asked.get(name, "").strip()}
    question: dict[str, Any] = {}
    for name, value in given.items():
        if name.startswith(LIMIT):
            question.setdefault("limits", {})[name.removeprefix(LIMIT)] = value
        elif name == "price":
            question["prices"] = {given.get("machine", ""): value}
        elif name == "draft":
            question["drafts"] = {"model": value}
        elif name in LISTS:
            question[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            question[name] = value
    return question


def page_html(asked: Mapping[str, str], outcome: str = "") -> str:
    """The page with its forms filled as asked, and an answer below them."""
    values = {name: escape(asked.get(name, USUAL.get(name, ""))) for name in FIELDS}
    values["machines_asked"] = values.pop("machines")
    opened = {
        f"open_{fold}": " open" if any(asked.get(name) for name in names) else ""
        for fold, names in FOLDS.items()
    }
    return Template(page_file("page.html")).substitute(
        {name.replace(".", "_"): value for name, value in values.items()},
        **opened,
        forms=escape(json.dumps(FORMS)),
        models=_options(catalogue.model_names()),
        machines=_options(catalogue.topology_names()),
        softwares=_options(catalogue.software_names()),
        objectives=_choices(OBJECTIVES, asked.get("objective", "")),
        outcome=outcome,
    )


def docs_page(body: str) -> str:
    """A page of documentation around its body."""
    return Template(page_file("docs.html")).substitute(body=body)


def outcome_html(job: Job, address: str) -> str:
    """A job for a browser without scripts; `address` shows it again."""
    if job.is_open:
        so_far = "" if job.so_far is None else f"{job.so_far.text}."
        return (
            f"<p role='status'>Still at work: {job.elapsed_s:.0f} of {job.time_limit_s:.0f} s."
            f" {escape(so_far)} <a href='{escape(address)}'>Look again</a></p>"
        )
    if job.answer is None:
        return refusal_html(job.error or "")
    answer = job.answer
    parts = [f"<pre>{escape(answer['summary'])}</pre>"]
    if "svg" in answer:
        # Drawn by ourselves, with every word in it escaped.
        parts = [f"<div class='picture'>{answer['svg']}</div>", *parts]
    if answer.get("figures"):
        parts.append(_figures(answer["figures"]))
    return "".join(parts)


def _figures(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        f"<tr><th scope='row'>{escape(one['title'])}</th><td>{escape(one['text'])}</td>"
        f"<td>{escape(one['range_text'])}</td></tr>"
        for one in figures
    ]
    head = "<tr><th>figure</th><th>predicted</th><th>4 of 5 measurements</th></tr>"
    return f"<div class='wide'><table>{head}{''.join(rows)}</table></div>"


def report_html(handle: str, html: str) -> str:
    """The report of an answer, with its certificate."""
    return (
        f"<div class='report'>{html}</div><p><a href='/api/answers/{handle}/certificate'"
        f" download='{handle}.certificate.json'>certificate</a></p>"
    )


def refusal_html(sentence: str) -> str:
    """A refusal."""
    return f"<p class='refusal' role='alert'>{escape(sentence)}</p>"


def first_of(values: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The fields of an address; an InputError says which stands there twice."""
    found: dict[str, str] = {}
    for name, value in values:
        if name in found:
            raise InputError(f"{name[:40]!r} stands twice in the address; leave one out")
        found[name] = value
    return found


def _options(names: Sequence[str]) -> str:
    return "".join(f"<option value='{escape(name)}'>" for name in names)


def _choices(words: Mapping[str, str], chosen: str) -> str:
    return "".join(
        f"<option value='{name}'{' selected' if name == chosen else ''}>{escape(said)}</option>"
        for name, said in words.items()
    )
