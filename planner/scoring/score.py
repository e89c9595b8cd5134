"""What a plan costs: the record, its intervals and percentiles."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Self, overload

from planner.errors import InputError, UnknownNameError
from planner.machines.accounts import PowerBasis
from planner.machines.prices import PriceBasis
from planner.machines.software import Residual, Software, Widening
from planner.machines.topology import PowerScope
from planner.pricing.loads import PERCENTILES, Load, Loop
from planner.records import Record


class PercentileOf:
    """A percentile of a score's time, worked out when it is asked for. [s]"""

    def __set_name__(self, owner: type, name: str) -> None:
        self.asked = PERCENTILES[name]

    @overload
    def __get__(self, score: None, owner: type) -> Self: ...
    @overload
    def __get__(self, score: "Score", owner: type) -> float: ...
    def __get__(self, score: "Score | None", owner: type) -> float | Self:
        return self if score is None else score.percentile(*self.asked)


class StageTime(Record):
    """Seconds of one stage, by cause."""

    compute_s: float = 0.0
    memory_s: float = 0.0
    collective_s: float = 0.0
    hop_s: float = 0.0
    overhead_s: float = 0.0
    bubble_s: float = 0.0
    """Waiting for the slowest stage, or for a turn."""

    @property
    def total_s(self) -> float:
        return (
            self.compute_s
            + self.memory_s
            + self.collective_s
            + self.hop_s
            + self.overhead_s
            + self.bubble_s
        )


class StageScore(Record):
    """One stage of a plan, as it runs."""

    first_layer: str
    last_layer: str
    layers: int
    chips: int
    """Of one replica."""
    first_chip: int
    tensor_parallel: int
    expert_parallel: int
    sequence_parallel: int
    attention_parallel: int
    weight_bytes: float
    """On each chip."""
    kv_bytes: float
    activation_bytes: float
    """On the last stage sampling included."""
    usable_bytes: float
    workspace_bytes: float = 0.0
    """What the collectives of the chips that share the stage keep for themselves."""
    decode_s: float
    """Busy with one pass of one micro-batch, of a diffusion model with one step."""
    prefill_s: float
    """Busy with one pass of prompt tokens, of a diffusion model with what runs once."""
    decode_flop: float
    """Operations of a decode pass on one chip."""
    decode_moved_bytes: float
    """Between one chip and its memory in a decode pass."""
    offloaded_layers: int = 0
    """Layers that lie in the second memory of a chip, or in its host's."""
    offloaded_bytes: float = 0.0
    """What of them lies there, for each chip; not in the weights and caches above."""
    offload_bytes: float = 0.0
    """What may lie there."""

    @property
    def needed_bytes(self) -> float:
        return self.weight_bytes + self.kv_bytes + self.activation_bytes + self.workspace_bytes

    @property
    def kv_room_bytes(self) -> float:
        """What is left for KV caches when all else is in place: the pool that an engine of this
        plan finds at its start."""
        return self.usable_bytes - (self.needed_bytes - self.kv_bytes)


class Traffic(Record):
    """What is moved for one output token (of a diffusion model: for one sample) in one place, by
    all chips that a plan holds."""

    tier: str
    """A memory of the chips ("HBM3"), the host's, or a fabric ("NVLink 4")."""
    kind: Literal["memory", "host", "fabric"]
    decode_bytes: float
    """In decode passes, of a diffusion model in the steps of its denoiser."""
    prefill_bytes: float = 0.0
    """In passes of prompts, shared out over the output tokens; of a diffusion model in what runs
    once a sample."""
    most_bytes_per_s: float | None = None
    """Of all chips held, by the data sheet; None where a chip has several links."""

    @property
    def moved_bytes(self) -> float:
        """Both together."""
        return self.decode_bytes + self.prefill_bytes


LIKE: dict[str, tuple[str, ...]] = {
    "tokens_per_s_per_user": ("tpot_s",),
    "usd_per_million_tokens": ("tokens_per_s", "request_s"),
    "requests_per_s": ("tokens_per_s", "request_s"),
    "tokens_per_s_per_chip": ("tokens_per_s", "request_s"),
    "tokens_per_s": ("request_s", "tpot_s"),
    "request_s": ("tpot_s", "tokens_per_s"),
    "energy_per_token_j": ("tokens_per_s", "request_s", "tpot_s"),
    "step_s": ("image_s",),
    "image_s": ("step_s",),
    "samples_per_s": ("image_s", "step_s"),
    "energy_per_sample_j": ("image_s", "step_s"),
    "usd_per_sample": ("samples_per_s", "image_s", "step_s"),
    "mfu_fraction": ("request_s", "tokens_per_s", "tpot_s"),
    "mbu_fraction": ("request_s", "tokens_per_s", "tpot_s"),
}
"""A field that was never measured on a stack is taken to be as uncertain as the first of these
that was."""


AS_TOKENS = ("usd_per_million_tokens", "requests_per_s", "tokens_per_s_per_chip")
"""Fields that are tokens a second and what is counted."""
COUNTED_AT_A_RATE = ("tokens_per_s", *AS_TOKENS)
"""Fields that the rate at which requests come decides, with the chips held."""


UNCERTAIN = ("ttft_s", "tpot_s", "power_w", *LIKE)
"""Fields with an interval; the others are counted and not predicted."""


RATES = (
    "tokens_per_s",
    "requests_per_s",
    "tokens_per_s_per_chip",
    "tokens_per_s_per_user",
    "samples_per_s",
    "mfu_fraction",
    "mbu_fraction",
)
"""Uncertain fields of which more is better."""


ALL = ""
"""Rows of a stack of whatever sort."""
Evidence = Literal["measured", "near measured", "extrapolated"]
DRAW_FOLLOWS_RATE = 0.33
"""Correlation of the errors of watts and of rates of the same runs: with it, four of five joules
that were left out lie within (85 % with 0.2, 78 % with 0.4)."""
TAIL = 0.82
"""Shape of the errors' distribution: 1 is Laplace's, less has lighter tails. Of 21,900 rows left
out 50, 82 and 95 % lie within what this gives for 50, 80 and 95 %; Laplace's for 50 % holds 43."""
QUOTIENTS = {
    "energy_per_token_j": "tokens_per_s",
    "energy_per_sample_j": "samples_per_s",
}
"""Fields that are watts over a rate."""


UNMEASURED = 0.7
"""Half width of a field of a stack on which nothing was measured: a factor of two either way."""


class Score(Record):
    """What a plan costs. Times are means of the busiest replica; rates, power and price are of the
    whole deployment.

    Of a diffusion model a whole batch of samples stands in for a request and for each of its
    tokens: all their times are `image_s`, tokens are samples.

    Percentiles of a time have names of their own, such as `ttft_p99_s` (see `percentile`).
    """

    ttft_s: float
    """To the first token: of a whole batch that starts as one, or of one request that joins a
    loaded server."""
    tpot_s: float
    """Between later tokens of one request; the first is not counted."""
    others_prompts_s: float = 0.0
    """Of `tpot_s`, what the prompts of other requests take, which the same chips compute; 0 too in
    files written before this was said. Not a bubble: chips work meanwhile."""
    request_s: float
    """To the last token."""
    tokens_per_s: float
    """Output tokens of all users, in the steady state."""
    tokens_per_s_per_user: float
    """That one user reads: 1 / `tpot_s`."""
    requests_per_s: float | None = None
    """That end, of all users; None for diffusion models, and in files written before this was
    said."""
    tokens_per_s_per_chip: float | None = None
    """Output tokens over the chips held; None likewise."""
    energy_per_token_j: float | None
    """For one output token, everything held; None where the power is not known."""
    usd_per_million_tokens: float | None
    """Of output; None where the price is not known."""
    usd_per_hour: float | None = None
    """What the chips held cost; None likewise, and in files written before this was said."""
    power_w: float | None
    """Of everything held, averaged over a cycle; None where it is not known."""
    power_scope: PowerScope | Literal["unknown"]
    """Chip: chips or cards alone. System: everything at the wall. Facility: that, with what the
    site loses and cools with."""
    power_basis: PowerBasis | Literal["unknown"] = "unknown"
    """Drawn: what chips draw follows what they do. Provisioned: always all that was provisioned
    for them."""
    price_basis: PriceBasis = "unknown"
    """What the price pays for (see `machines.prices.Price`)."""
    chips: int
    """Held."""
    batch_size: int
    """Sequences in flight in the whole deployment."""
    queued: int = 0
    """Sequences of the workload that find no place among those, and wait until one of them is
    done."""
    queued_s: float = 0.0
    """Of `ttft_s`, that wait."""
    memory_headroom_bytes: float
    """Least over the chips."""
    bubble_fraction: float
    """Share of the stages' time, over a request, in which they wait."""
    mfu_fraction: float
    """Useful operations over those that the peak allows, prefill and decode."""
    mbu_fraction: float
    """Useful bytes (weights once a pass, KV cache once a token) over those that the bandwidth
    allows."""
    breakdown: tuple[StageTime, ...]
    """One output token, by stage; sums to `tpot_s`, of a diffusion model to `step_s`."""
    prefill_breakdown: tuple[StageTime, ...]
    """The first token, by stage; sums to `ttft_s`."""
    residuals: tuple[Residual, ...] = ()
    """How uncertain the fields are (see `interval`)."""
    evidence: Evidence = "measured"
    """Whether rows like it were measured on its stack, or rows near it, or neither."""
    unvouched: tuple[str, ...] = ()
    """What of the plan no measured row vouches for, in words; intervals are wider for it."""
    stages: tuple[StageScore, ...]
    traffic: tuple[Traffic, ...] = ()
    """What is moved for each output token, by memory and fabric; none in files written before this
    was said."""
    load: Load | Loop | None = None
    """Of one replica, where requests come at a rate or from a number of clients (see
    `percentile`); None for diffusion models."""
    step_s: float | None = None
    """One denoising step of a batch of samples; None for language models, as the next four are."""
    image_s: float | None = None
    """Until a batch of pictures or videos is ready, text encoding and decoding included."""
    samples_per_s: float | None = None
    """Of the whole deployment, one batch after the other."""
    energy_per_sample_j: float | None = None
    """For one picture or video, everything held; None too where the power is not known."""
    usd_per_sample: float | None = None
    """For one picture or video; None too where the price is not known."""

    ttft_p50_s: ClassVar[PercentileOf] = PercentileOf()
    ttft_p90_s: ClassVar[PercentileOf] = PercentileOf()
    ttft_p95_s: ClassVar[PercentileOf] = PercentileOf()
    ttft_p99_s: ClassVar[PercentileOf] = PercentileOf()
    tpot_p50_s: ClassVar[PercentileOf] = PercentileOf()
    tpot_p90_s: ClassVar[PercentileOf] = PercentileOf()
    tpot_p95_s: ClassVar[PercentileOf] = PercentileOf()
    tpot_p99_s: ClassVar[PercentileOf] = PercentileOf()
    request_p50_s: ClassVar[PercentileOf] = PercentileOf()
    request_p90_s: ClassVar[PercentileOf] = PercentileOf()
    request_p95_s: ClassVar[PercentileOf] = PercentileOf()
    request_p99_s: ClassVar[PercentileOf] = PercentileOf()

    @property
    def moved_bytes_per_token(self) -> dict[str, float]:
        """What is moved for one output token, by memory and fabric, prompts included. [B]"""
        return {one.tier: one.moved_bytes for one in self.traffic}

    def percentile(self, field: str, probability: float) -> float:
        """What `ttft_s`, `tpot_s` or `request_s` of a request stays within with that probability.
        [s]

        Where requests come at a rate, for a Poisson stream of requests of one size: prompts wait
        as in a queue of equal services at one server; later tokens are done as soon as there was
        time for all that came until then; who finds no place waits as for equal services at
        many. Infinite where more comes than the plan can serve. Where a number of clients send
        one request after the other: see `Loop`.

        Held against an event simulation of an engine (200 to 4,000 prompt tokens and 5 to 400
        output tokens, 10 to 85 % of what a plan can serve) nearly all of p50, p90 and p99 agree
        within 15 %. Not so at 85 % where prompts take most of the time (2,000 and 5 or 20 tokens:
        -25 to +50 %); where a time is about that from which on requests wait for a place (a factor of two);
        and first tokens where ranks run prompts of their own while all others wait (up to 70 % too
        short).
        """
        if self.load is None:
            raise InputError(
                "percentiles are of requests to a language model; ask for image_s itself"
            )
        return self.load.percentile(field, probability)

    def interval(self, field: str, probability: float = 0.8) -> tuple[float, float]:
        """Where the measured figure would lie with that probability, in the field's unit.

        Its width comes from rows like the plan's that were left out of the fit of the software
        stack, and is wider where the plan lies beyond them (`evidence`). A field that is counted
        and not predicted has no width.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        value = fields.get(field)
        if not isinstance(value, int | float):
            numbers = [name for name, held in fields.items() if isinstance(held, int | float)]
            raise UnknownNameError("numeric field of this score", field, numbers)
        factor = self._factor(field, probability)
        return float(value) / factor, float(value) * factor

    def percentile_interval(
        self, field: str, probability: float, within: float = 0.8
    ) -> tuple[float, float]:
        """Where the measured percentile would lie, with the probability `within`. [s]

        The mean's error is that of the times that a request takes where nothing else comes, so
        the percentile is asked for again of a replica that is slower, or faster, by as much: near
        what it can serve a small error makes a long queue. Its upper end is infinite where the
        slower one cannot serve what comes, or gives no percentiles.
        """
        middle = self.percentile(field, probability)
        factor = self._factor(field, within)
        assert self.load is not None
        low = self.load.slower(1 / factor).percentile(field, probability)
        try:
            high = self.load.slower(factor).percentile(field, probability)
        except InputError:
            high = math.inf
        return min(low, middle), max(middle, high)

    def _factor(self, field: str, probability: float) -> float:
        """By how much a figure may be off, either way, with that probability."""
        if not 0 < probability < 1:
            raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
        return factor_of(self.residuals, field, probability)

    def stays_within(self, field: str, limit_s: float, sure: float | None = None) -> bool:
        """Whether a percentile, such as `ttft_p99_s`, keeps a limit; with a probability `sure`, or
        as priced."""
        mean, probability = PERCENTILES[field]
        if self.load is None:
            return self.percentile(mean, probability) <= limit_s * (1 + 1e-12)
        factor = 1.0 if sure is None else self._factor(mean, 2 * sure - 1)
        return not self.load.slower(factor).is_late(mean, limit_s, 1.0 - probability + 1e-12)

    def sure(self, field: str, sure: float) -> float:
        """The worst that a field, or a percentile, is with that probability: at most of what is
        better when it is less, at least of rates."""
        within = 2 * sure - 1
        asked = PERCENTILES.get(field)
        if asked is not None:
            return self.percentile_interval(*asked, within=within)[1]
        low, high = self.interval(field, within)
        return low if field in RATES else high


def factor_of(residuals: Sequence[Residual], field: str, probability: float) -> float:
    """By how much a field may be off, either way, with that probability; 1 of what is counted."""
    width = next((one.half_width for one in residuals if one.field == field), 0.0)
    return math.exp(width * spread_within(probability))


def spread_within(probability: float) -> float:
    """Half width of the interval of a probability over that of 80 %: |ln(predicted / measured)| to
    the power of 1 / TAIL follows an exponential distribution."""
    return float((math.log(1 - probability) / math.log(0.2)) ** TAIL)


def residuals_of(software: Software) -> tuple[Residual, ...]:
    """How uncertain the fields of a score are on a stack, whatever the plan: as measured, or as
    much as what they depend on."""
    return software.kept(widths_of).residuals((ALL,), ())


def widths_of(software: Software) -> "Widths":
    """Of a stack."""
    return Widths(software.residuals, software.widenings)


class Widths:
    """Half widths of a stack's fields, each asked for once for plans that are alike."""

    def __init__(self, residuals: Sequence[Residual], widenings: Sequence[Widening] = ()) -> None:
        self.known = {(one.field, one.like): one.half_width for one in residuals}
        self.widenings = {one.reason: one.half_width for one in widenings}
        self._made: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Residual, ...]] = {}

    def residuals(self, likes: tuple[str, ...], reasons: tuple[str, ...]) -> tuple[Residual, ...]:
        """Of every uncertain field of a plan that is like such rows, nearest first, and beyond
        them for such reasons."""
        key = likes, reasons
        made = self._made.get(key)
        if made is None:
            widths = {field: self.widened(field, likes, reasons) for field in UNCERTAIN}
            widths |= self._quotients(widths)
            made = tuple(Residual(field=name, half_width=one) for name, one in widths.items())
            self._made[key] = made
        return made

    def widened(self, field: str, likes: tuple[str, ...], reasons: tuple[str, ...]) -> float:
        """Independent parts add in squares; a reason whose part nobody could measure leaves no
        more than where nothing was measured."""
        parts = [self.widenings[reason] for reason in reasons if reason in self.widenings]
        width = math.hypot(self.half_width(field, likes), *parts)
        return width if len(parts) == len(reasons) else max(width, UNMEASURED)

    def half_width(self, field: str, likes: tuple[str, ...]) -> float:
        """As measured on the nearest rows, of the field or of what it depends on."""
        for name in (field, *LIKE.get(field, ())):
            for like in likes:
                if (name, like) in self.known:
                    return self.known[name, like]
        return UNMEASURED

    @staticmethod
    def _quotients(widths: dict[str, float]) -> dict[str, float]:
        """Of what is one figure over another: power over a rate, a price over a rate."""
        quotients = dict.fromkeys(AS_TOKENS, widths["tokens_per_s"])
        for field, rate in QUOTIENTS.items():
            quotients[field] = quotient_width(widths["power_w"], widths[rate])
        return quotients


def quotient_width(one: float, other: float, correlation: float = DRAW_FOLLOWS_RATE) -> float:
    """Half width of the quotient of two figures whose errors go together so much: the law of
    cosines, so no wider than both and no narrower than what sets them apart."""
    squares = one**2 + other**2 - 2 * correlation * one * other
    return math.sqrt(max(0.0, squares))
