"""Units and names of the fields of `Score`, as a person reads them."""

import math
from typing import NamedTuple

from planner.answers.question import ASKED, SAMPLE_FIELDS
from planner.errors import InputError
from planner.machines.prices import BASIS_WORDS
from planner.pricing.loads import PERCENTILES, SCATTERED, Load
from planner.scoring.disaggregated import DisaggregatedScore
from planner.scoring.pairs import PairedScore
from planner.scoring.score import Score
from planner.units import spoken, trimmed


class Word(NamedTuple):
    """How a field is shown."""

    title: str
    unit: str


FIELD_WORDS: dict[str, Word] = {
    "ttft_s": Word("time to first token", "s"),
    "tpot_s": Word("time per output token", "s"),
    "request_s": Word("time per request", "s"),
    "tokens_per_s": Word("output tokens per second, all users", "1/s"),
    "tokens_per_s_per_user": Word("output tokens per second, each user", "1/s"),
    "requests_per_s": Word("requests per second, all users", "1/s"),
    "tokens_per_s_per_chip": Word("output tokens per second, each chip", "1/s"),
    "energy_per_token_j": Word("energy per output token", "J"),
    "usd_per_million_tokens": Word("price per million output tokens", "USD"),
    "usd_per_hour": Word("price per hour", "USD/h"),
    "power_w": Word("power", "W"),
    "chips": Word("chips used", ""),
    "batch_size": Word("sequences in flight", ""),
    "queued": Word("sequences in the queue", ""),
    "queued_s": Word("time in the queue", "s"),
    "memory_headroom_bytes": Word("memory left on the fullest chip", "B"),
    "bubble_fraction": Word("idle time of the stages (bubble)", "%"),
    "mfu_fraction": Word("compute used (MFU)", "%"),
    "mbu_fraction": Word("memory bandwidth used (MBU)", "%"),
}

QUEUE = ("queued", "queued_s")
"""Fields that are shown where some wait."""

_OF_TOKENS = {name for name in FIELD_WORDS if "token" in name or "request" in name} | {
    "ttft_s",
    "tpot_s",
}
SAMPLE_WORDS: dict[str, Word] = {
    "step_s": Word("time per denoising step of a batch", "s"),
    "image_s": Word("time per batch of samples", "s"),
    "samples_per_s": Word("samples per second", "1/s"),
    "energy_per_sample_j": Word("energy per sample", "J"),
    "usd_per_sample": Word("price per sample", "USD"),
    **{name: word for name, word in FIELD_WORDS.items() if name not in _OF_TOKENS},
    "batch_size": Word("samples in flight", ""),
}
"""Those of a diffusion model."""


PERCENTILE_WORDS: dict[str, Word] = {
    name: Word(f"{FIELD_WORDS[one.field].title}, p{round(100 * one.probability)}", "s")
    for name, one in PERCENTILES.items()
}
"""What so many of 100 requests stay within."""

WORDS: dict[str, Word] = FIELD_WORDS | SAMPLE_WORDS | PERCENTILE_WORDS
"""Every field that can be asked for."""
ENDLESS = "without end"
"""A time where more comes than is served."""


def field_text(name: str, value: float | None) -> str:
    """A field's value with the unit that a person reads: field_text("tpot_s", 0.0068) is '6.8
    ms'."""
    unit = WORDS[name].unit
    if value is None:
        return "not known"
    if value == math.inf:
        return ENDLESS
    if unit == "%":
        return f"{trimmed(100 * value)} %"
    if unit in ("USD", "USD/h"):
        return f"{trimmed(value)} {unit}"
    if unit == "" and value == int(value):
        return f"{value:,.0f}"
    if unit == "1/s":
        return f"{trimmed(value, 4)} {name.partition('_')[0]}/s"
    return spoken(value, unit)


def limit_text(name: str, value: float) -> str:
    """A limit as a person says it: limit_text("ttft_p99_s", 2.0) is 'ttft_p99_s at most 2 s'."""
    most = (ASKED | SAMPLE_FIELDS)[name].best
    return f"{name} at {'most' if most == 'least' else 'least'} {field_text(name, value)}"


def percentile_title(name: str) -> str:
    """A time in short, for the head of a table: percentile_title("ttft_p99_s") is 'TTFT p99'."""
    field, _, percentile = name.removesuffix("_s").partition("_")
    short = "request" if field == "request" else field.upper()
    return f"{short} {percentile}".strip()


def seat_lines(score: Score) -> list[str]:
    """Who waits, where not all sequences are in flight at once."""
    if not score.queued:
        return []
    wait = "waits" if score.queued == 1 else "wait"
    return [
        f"{score.queued:,} of the {score.batch_size + score.queued:,} sequences {wait} in a queue:"
        f" the plan has room for {score.batch_size:,} at once; the time to first token includes"
        f" {spoken(score.queued_s, 's')} in the queue"
    ]


HEADLINE_HEADER = ("", "predicted", "4 of 5 measurements lie in", "counts")


def headline(score: Score) -> list[tuple[str, str, str, str]]:
    """Title, text and interval of the figures that answer most questions, and what of joules,
    watts or dollars is counted."""
    words = FIELD_WORDS if score.step_s is None else SAMPLE_WORDS
    unsaid = () if score.queued else QUEUE
    lines = []
    for name, word in words.items():
        if name not in unsaid:
            text = field_text(name, getattr(score, name))
            between = interval_text(score, name)
            lines.append((word.title, text, between, _counted(word.title, score)))
    return [*lines, *((title, text, "", "") for title, text in _scattered(score))]


def interval_text(score: Score, name: str) -> str:
    """Where 4 of 5 measurements of a field would lie: "5.4 to 8.1 ms"; "" where the field is
    counted, or not known."""
    if getattr(score, name) is None:
        return ""
    low, high = score.interval(name, 0.8)
    return "" if low == high else range_text(field_text(name, low), field_text(name, high))


def range_text(low: str, high: str) -> str:
    """Both ends of a range, their unit once where it is the same: "5.4 to 8.1 ms"; "5.4 ms or more"
    where it has no upper end."""
    if high == ENDLESS:
        return low if low == ENDLESS else f"{low} or more"
    number, _, unit = low.partition(" ")
    return f"{number if unit and high.endswith(f' {unit}') else low} to {high}"


def _counted(title: str, score: Score | PairedScore | DisaggregatedScore) -> str:
    """What joules, watts or dollars count; "" of other figures, and where that is not known."""
    if title.startswith(("energy", "power")):
        scope = {
            "chip": "chips alone",
            "system": "everything at the wall",
            "facility": "everything at the site",
            "unknown": "power not published",
        }[score.power_scope]
        return scope if score.power_basis == "unknown" else f"{scope}, {score.power_basis}"
    if title.startswith("price") and score.price_basis != "unknown":
        return BASIS_WORDS[score.price_basis]
    return ""


def _with_counted(text: str, title: str, score: PairedScore | DisaggregatedScore) -> str:
    counted = _counted(title, score)
    return f"{text} ({counted})" if counted else text


def pool_headline(score: DisaggregatedScore) -> list[tuple[str, str]]:
    """The same of a prefill pool and a decode pool."""
    # Requests are told with what sets how many are served.
    words = {
        name: word
        for name, word in FIELD_WORDS.items()
        if name != "requests_per_s" and hasattr(score, name)
    }
    known = [
        (word.title, _with_counted(field_text(name, getattr(score, name)), word.title, score))
        for name, word in words.items()
    ]

    sent = spoken(score.transfer_bytes, "B")
    sent_in = spoken(score.transfer_s, "s")
    limit = f"limited by the {score.slowest}{' pool' * (score.slowest != 'link')}"
    if score.slowest == "arrivals":
        limit = "all that come"
    return [
        *known,
        ("KV cache of a prompt", f"{sent} over the link in {sent_in}"),
        (
            "requests per second",
            f"{field_text('requests_per_s', score.requests_per_s)}, {limit}",
        ),
    ]


def pair_headline(score: PairedScore) -> list[tuple[str, str]]:
    """The same of a pair of machines, with what sets the pace."""
    known = [
        (word.title, _with_counted(field_text(name, getattr(score, name)), word.title, score))
        for name, word in FIELD_WORDS.items()
        if hasattr(score, name)
    ]
    pace = {
        "attention": "the attention chips: they are busy all the time",
        "experts": "the busiest of the feed-forward chips",
        "link": "the link",
        "its own way": "none: all chips wait some of the time, for tokens on their way",
    }
    return [*known, ("slowest part", pace[score.slowest])]


def _scattered(score: Score) -> list[tuple[str, str]]:
    """What half of the requests, and 99 of 100, stay within, where they come at a rate; else why
    that is not known."""
    lines = []
    for name in SCATTERED if isinstance(score.load, Load) else ():
        try:
            both = [score.percentile(name, share) for share in (0.5, 0.99)]
            text = " and ".join(field_text(name, one) for one in both)
            if both[0] == math.inf:
                text = (
                    f"{ENDLESS}: the queue grows all the time, so near to what the plan can serve"
                )
        except InputError as error:
            text = f"not known: {error}"
        lines.append((f"{FIELD_WORDS[name].title}, p50 and p99", text))
    return lines
