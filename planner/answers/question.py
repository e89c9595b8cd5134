"""Questions: which field of `Score` is to be best, and what others may be."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from planner.errors import InputError, UnknownNameError, listed
from planner.machines.topology import PowerScope


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
    "tokens_per_s_per_user": Field("most", "low"),
    "energy_per_token_j": Field("least", "high"),
    "usd_per_million_tokens": Field("least", "high"),
    "power_w": Field("least", "low"),
    "chips": Field("least", "low"),
    "memory_headroom_bytes": Field("most", "low"),
    "mfu_fraction": Field("most", "high"),
    "mbu_fraction": Field("most", "high"),
}

PER_TOKEN = ("energy_per_token_j", "usd_per_million_tokens")
"""Where requests come at a rate, these count the chips held."""

NOT_IN_PHASE = {"prefill": ("tpot_s", "tokens_per_s_per_user", "request_s"), "decode": ("ttft_s",)}
"""Fields that a pool of its own has no part in."""

SAMPLE_FIELDS: dict[str, Field] = {
    "step_s": Field("least", "low"),
    "image_s": Field("least", "low"),
    "samples_per_s": Field("most", "high"),
    "energy_per_sample_j": Field("least", "high"),
    **{
        name: FIELDS[name]
        for name in ("power_w", "chips", "memory_headroom_bytes", "mfu_fraction", "mbu_fraction")
    },
}
"""Those of a diffusion model."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the candidates."""

    objective: str
    limits: tuple[tuple[str, float], ...]
    power_scope: PowerScope | None = None
    sequence_parallel: bool = False
    """Whether stages may share out the tokens of a sequence."""

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Whether less or more of the objective is better."""
        fields = SAMPLE_FIELDS if self.objective in SAMPLE_FIELDS else FIELDS
        return "minimize" if fields[self.objective].best == "least" else "maximize"

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.objective, *(name for name, _ in self.limits))


def question_of(
    minimize: str | None,
    maximize: str | None,
    limits: dict[str, float] | None,
    power_scope: PowerScope | None,
    *,
    diffusion: bool = False,
) -> Question:
    """What is asked, checked; of a diffusion model, or of a language model."""
    fields, others = (SAMPLE_FIELDS, FIELDS) if diffusion else (FIELDS, SAMPLE_FIELDS)
    if minimize and maximize:
        raise InputError(f"give minimize= or maximize=, not both ({minimize!r} and {maximize!r})")
    objective = minimize or maximize or ("image_s" if diffusion else "tpot_s")
    for name in (objective, *(limits or {})):
        if name in others and name not in fields:
            kinds = ("language", "diffusion") if diffusion else ("diffusion", "language")
            raise InputError(
                f"{name} is asked of {kinds[0]} models, and this is a {kinds[1]} model; ask for {listed(fields, 'or')}"
            )
        if name not in fields:
            raise UnknownNameError("field to optimise or limit", name, fields)
    wanted = "most" if maximize else "least"
    if (minimize or maximize) and fields[objective].best != wanted:
        other = "maximize" if fields[objective].best == "most" else "minimize"
        raise InputError(
            f"{objective} is better when it is {'higher' if other == 'maximize' else 'lower'}; use {other}={objective!r}"
        )
    for name, value in (limits or {}).items():
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise InputError(f"limits[{name!r}] must be a positive number, not {value!r}")
    return Question(objective, tuple(sorted((limits or {}).items())), power_scope)
