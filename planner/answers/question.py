"""Questions: which field of `Score` is to be best, and what others may be."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from planner.errors import InputError, UnknownNameError, listed, told
from planner.machines.engine import SPACES, Space
from planner.machines.software import Software
from planner.machines.topology import PowerScope
from planner.pricing.loads import PERCENTILES
from planner.units import parse_figure

Limits = Mapping[str, float | str]
"""The worst values allowed, by field: numbers in the unit that its name ends in, or text with one,
such as {"tpot_s": "30 ms"}."""


def percentiles_of(*fields: str) -> tuple[str, ...]:
    """Names of the percentiles of some times."""
    return tuple(name for name, one in PERCENTILES.items() if one.field in fields)


class Field(NamedTuple):
    """A field of `Score` that the solver can optimise or limit."""

    best: Literal["least", "most"]
    end: Literal["low", "high"]
    """Which end of a box bounds it: low for what grows with the batch, high for what shrinks."""


FIELDS: dict[str, Field] = {
    "ttft_s": Field("least", "low"),
    "tpot_s": Field("least", "low"),
    "request_s": Field("least", "low"),
    "tokens_per_s": Field("most", "high"),
    "requests_per_s": Field("most", "high"),
    "tokens_per_s_per_chip": Field("most", "high"),
    "tokens_per_s_per_user": Field("most", "low"),
    "energy_per_token_j": Field("least", "high"),
    "usd_per_million_tokens": Field("least", "high"),
    "usd_per_hour": Field("least", "low"),
    "power_w": Field("least", "low"),
    "chips": Field("least", "low"),
    "memory_headroom_bytes": Field("most", "low"),
    "mfu_fraction": Field("most", "high"),
    "mbu_fraction": Field("most", "high"),
}

ASKED: dict[str, Field] = FIELDS | {name: Field("least", "low") for name in PERCENTILES}
"""All that can be asked of a language model: the fields, and percentiles of its times."""

PER_TOKEN = ("energy_per_token_j", "usd_per_million_tokens", "tokens_per_s_per_chip")
"""Where requests come at a rate, these count the chips held."""

TOTALS = ("tokens_per_s", "requests_per_s")
"""Rates of the whole deployment: the more replicas, the more."""

HELD = ("chips", "power_w", "usd_per_hour")
"""Those that grow with every chip held: the more replicas, the worse."""

PRICED = ("usd_per_million_tokens", "usd_per_hour")
"""Those that need a price."""

NOT_IN_PHASE = {
    "prefill": (
        "tpot_s",
        "tokens_per_s_per_user",
        "request_s",
        *percentiles_of("tpot_s", "request_s"),
    ),
    "decode": ("ttft_s", *percentiles_of("ttft_s", "request_s")),
}
"""Fields that a pool of its own has no part in."""

SAMPLE_FIELDS: dict[str, Field] = {
    "step_s": Field("least", "low"),
    "image_s": Field("least", "low"),
    "samples_per_s": Field("most", "high"),
    "energy_per_sample_j": Field("least", "high"),
    "usd_per_sample": Field("least", "high"),
    **{
        name: FIELDS[name]
        for name in (*HELD, "memory_headroom_bytes", "mfu_fraction", "mbu_fraction")
    },
}
"""Those of a diffusion model."""

USUAL_BATCH = 8
"""Sequences in flight where nobody says how many, and more of them do not help."""


def gains_by_batch(fields: Iterable[str | None]) -> str | None:
    """The first of some fields, asked for or limited, that is better the more is in flight: then a
    batch that nobody states is left open, as any number of users would be a limit that nobody set.
    None: the batch is then `USUAL_BATCH`."""
    known = FIELDS | SAMPLE_FIELDS
    return next((name for name in fields if name in known and known[name].end == "high"), None)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the candidates."""

    objective: str
    limits: tuple[tuple[str, float], ...]
    power_scope: PowerScope | None = None
    sequence_parallel: bool = False
    """Whether stages may share out the tokens of a sequence."""
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any."""
    sure: float | None = None
    """With what probability each limit is to be kept by what would be measured; None: by the
    price."""
    micro_batches: int | None = None
    """That every plan has; None: as many as suit it."""

    @property
    def scatters(self) -> bool:
        """Whether it asks about more than prices: percentiles, or how sure they are."""
        return self.sure is not None or any(name in PERCENTILES for name in self.fields)

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Whether less or more of the objective is better."""
        fields = SAMPLE_FIELDS if self.objective in SAMPLE_FIELDS else ASKED
        return "minimize" if fields[self.objective].best == "least" else "maximize"

    def of_engine(self, software: Software) -> bool:
        """Whether plans are those that a software's engine can be started with, whose rules are
        known."""
        return self.space == "engine" and software.engine.is_known

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.objective, *(name for name, _ in self.limits))


def question_of(
    minimize: str | None,
    maximize: str | None,
    limits: Limits | None,
    power_scope: PowerScope | None,
    *,
    diffusion: bool = False,
    space: Space = "any",
    sure: float | None = None,
) -> Question:
    """What is asked, checked; of a diffusion model, or of a language model."""
    if space not in SPACES:
        raise UnknownNameError("space", str(space), SPACES)
    objective, direction = _asked(minimize, maximize, diffusion=diffusion)
    for name in (objective, *(limits or {})):
        _refuse_strange_field(name, diffusion=diffusion)
    _refuse_wrong_direction(objective, direction)
    _refuse_strange_margin(sure, limits or {})
    return Question(objective, limits_of(limits), power_scope, space=space, sure=sure)


def as_priced(question: Question, where: str) -> Question:
    """The question, of searches that know prices alone; an InputError where it asks about more than
    those."""
    asked = next((name for name in question.fields if name in PERCENTILES), None)
    if asked is not None:
        raise InputError(
            f"{asked} is asked for on one machine only (partition() and fewest_chips()), not for"
            f" {where}; ask for {PERCENTILES[asked].field}"
        )
    return question


def limits_of(limits: Limits | None) -> tuple[tuple[str, float], ...]:
    """Limits by name, as SI figures; an InputError says of which field one is no figure."""
    read = {
        name: parse_figure(value, name, f"limits[{name!r}]")
        for name, value in (limits or {}).items()
    }
    return tuple(sorted(read.items()))


def _asked(minimize: str | None, maximize: str | None, *, diffusion: bool) -> tuple[str, str]:
    """The objective and its direction; where none is given, the time that a user waits for."""
    if minimize and maximize:
        raise InputError(
            f"give minimize= or maximize=, not both ({told(minimize)} and {told(maximize)})"
        )
    if maximize:
        return maximize, "maximize"
    usual = "image_s" if diffusion else "tpot_s"
    return minimize or usual, "minimize"


def _refuse_strange_field(name: str, *, diffusion: bool) -> None:
    fields = SAMPLE_FIELDS if diffusion else ASKED
    if name in fields:
        return
    if name in ASKED or name in SAMPLE_FIELDS:
        asked_of = "language" if diffusion else "diffusion"
        this = "diffusion" if diffusion else "language"
        raise InputError(
            f"{name} is a field of {asked_of} models, and this is a {this} model; its fields are"
            f" {listed(fields)}"
        )
    raise UnknownNameError("field to optimise or limit", name, fields)


def _refuse_strange_margin(sure: object, limits: Collection[str]) -> None:
    if sure is None:
        return
    if not (isinstance(sure, int | float) and 0.5 < sure < 1):
        raise InputError(
            "sure= is the probability with which each limit is kept: give a number above 0.5 and"
            f" below 1, such as 0.8, not {sure!r}"
        )
    if not limits:
        raise InputError(
            f"sure={sure:g} is a probability with which limits are kept; give limits= too"
        )


def _refuse_wrong_direction(objective: str, given: str) -> None:
    better = (ASKED | SAMPLE_FIELDS)[objective].best
    right = "minimize" if better == "least" else "maximize"
    if given != right:
        better_when = "lower" if better == "least" else "higher"
        raise InputError(
            f"{objective} is better when it is {better_when}; use {right}={objective!r}"
        )
