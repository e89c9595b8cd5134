"""What a question names: models, machines with prices of one's own, and what is to be served."""

from collections.abc import Sequence
from typing import Any

from planner import catalogue
from planner.answers.question import USUAL_BATCH, gains_by_batch
from planner.doors.questions import (
    CommandQuestion,
    MapQuestion,
    ParetoQuestion,
    PlanQuestion,
    Prices,
    ScoreQuestion,
    Served,
)
from planner.errors import InputError, listed, shortened
from planner.machines.accounts import with_price
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.workload import Speculation, Workload

OnOne = PlanQuestion | ScoreQuestion | ParetoQuestion
Stated = Sequence[str | None]
"""Fields that are asked for or limited."""


def graph_asked(question: Served) -> ModelGraph:
    """The model of a question."""
    return catalogue.load_model(
        question.model, weight_dtype=question.weights, kv_dtype=question.kv_cache
    )


def machine_asked(question: OnOne) -> Topology:
    """The machine of a question."""
    check_prices(question.prices, [question.machine])
    machine = catalogue.load_topology(
        question.machine, chips=question.chips, software=question.software
    )
    return priced(machine, question.machine, question)


def priced(
    machine: Topology, entry: str, question: Served | MapQuestion | CommandQuestion
) -> Topology:
    """A machine, named by such an entry, at the price that is given of it."""
    name = entry if entry in question.prices else _uncounted(entry)
    given = question.prices.get(name)
    if given is None:
        return machine
    is_bare = not isinstance(given, str) or given.strip().replace(".", "", 1).isdecimal()
    text = f"{given} USD/h" if is_bare else str(given)
    return with_price(machine, text, f"prices.{name}")


def check_prices(prices: Prices, entries: Sequence[str]) -> None:
    """Refuse prices of machines that are not asked about."""
    known = [*entries, *map(_uncounted, entries)]
    for name in prices:
        if name not in known:
            raise InputError(
                f"prices names {shortened(name)!r}, and the question asks about {listed(entries)};"
                " give prices of those"
            )


def _uncounted(entry: str) -> str:
    return str(catalogue.counted_name(entry).name)


def workload_asked(question: Served, usual: int | None) -> Workload:
    """The traffic of a question, of so many users where it says nothing of their number."""
    if question.users is not None and question.requests_per_s is not None:
        raise InputError(
            "users and requests_per_s are both given; under a rate users are an outcome, so give"
            " one or the other"
        )
    users = question.users or (None if question.requests_per_s is not None else usual)
    given: dict[str, Any] = {
        "batch_size": None if users == "max" else users,
        "prompt_tokens": question.prompt_tokens,
        "output_tokens": question.output_tokens,
        "speculation": _speculation(question),
    }
    if question.requests_per_s is not None:
        given["requests_per_s"] = question.requests_per_s
    return Workload.from_fields(given)


def usual_users(stated: Stated) -> int | None:
    """Users where a question says nothing of them; None: as many as are best."""
    return USUAL_BATCH if gains_by_batch(stated) is None else None


def _speculation(question: Served) -> Speculation | None:
    drafts = question.drafts
    if drafts is None:
        return None
    draft = None
    if drafts.model != "lookup":
        draft = catalogue.load_model(
            drafts.model, weight_dtype=question.weights, kv_dtype=question.kv_cache
        )
    return Speculation.from_fields(
        {
            "draft": draft,
            "tokens": None if drafts.tokens == "best" else drafts.tokens,
            "kind": drafts.kind,
            "acceptance_rate": drafts.acceptance_rate,
        }
    )


def not_given(
    question: Served | CommandQuestion, graph: ModelGraph, users: int | None, field: str | None
) -> dict[str, str]:
    """What a question leaves unsaid, and what was taken in its place: so many users (None: as many
    as are best), the usual lengths, and what was made best."""
    said = question.model_fields_set
    found: dict[str, str] = {}
    is_left = "users" not in said or question.users is None
    if is_left and getattr(question, "requests_per_s", None) is None:
        found["users"] = "max" if users is None else str(users)
    # Samples of a diffusion model have no tokens.
    lengths = () if graph.is_diffusion else ("prompt_tokens", "output_tokens")
    found |= {name: str(getattr(question, name)) for name in lengths if name not in said}
    if field is not None and getattr(question, "objective", None) is None:
        found["objective"] = field
    return found
