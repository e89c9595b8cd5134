"""`Workload`: what is asked of the machine, and `Speculation`: how its tokens are drafted."""

import functools
import math
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from planner.errors import InputError, shortened
from planner.models.graph import ModelGraph
from planner.records import Record
from planner.units import Seconds

Arrivals = Literal["together", "steady", "poisson"]
DraftKind = Literal["mtp", "eagle", "eagle3", "draft-model", "ngram"]


class Acceptance(NamedTuple):
    """How often drafted tokens of one kind are kept."""

    rate: float
    source: str
    confidence: str


ACCEPTANCE: dict[DraftKind, Acceptance] = {
    "mtp": Acceptance(
        0.805, "29 acceptance lengths of InferenceX on DeepSeek and Qwen, 1 to 8 tokens", "fit"
    ),
    "eagle": Acceptance(0.545, "2 acceptance lengths of the first EAGLE, 2 and 4 tokens", "fit"),
    "eagle3": Acceptance(0.865, "2 acceptance lengths of EAGLE-3, 5 and 8 tokens", "fit"),
    "draft-model": Acceptance(0.7, "our own assumption; 0.5 to 0.9 are published", "guess"),
    "ngram": Acceptance(0.35, "our own assumption; it depends on how much is repeated", "guess"),
}
"""Rates by kind of draft: each the one whose 1 + a + a² + … comes nearest to what passes were
measured to keep (least sum of |ln|)."""

MOST_DRAFTED = 8
"""Tokens that are drafted at most, where that is left open."""


class Speculation(Record):
    """Speculative decoding [1]: a small model drafts tokens, one pass of the large one verifies all
    of them.

    [1] Y. Leviathan et al., "Fast inference from transformers via speculative decoding", ICML 2023.
    """

    draft: ModelGraph | None = None
    """The model that drafts, such as `load_model("llama-3.2-1b")`; it runs on the chips of the
    last stage. A prediction head (MTP, EAGLE) is a model of one layer, such as `target.cut(1)`.
    None: tokens are drafted at no cost, as by look-up in the prompt (n-grams)."""
    tokens: Annotated[int, Field(ge=1, le=64)] | None = 4
    """Drafted for each sequence before each pass that verifies them; engines call it
    num_speculative_tokens. None: `partition` and `plan_grid` take the best number up to 8, or draft
    nothing where that is better."""
    kind: DraftKind | None = None
    """Of draft: gives the acceptance rate where none is stated (see `ACCEPTANCE`)."""
    acceptance_rate: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Probability that a drafted token is kept where those before it are, each independent of
    the others; the user's own comes before that of the kind."""

    @model_validator(mode="before")
    @classmethod
    def rate_of_kind(cls, fields: Any) -> Any:
        """A kind brings its rate, where nobody states one."""
        if not isinstance(fields, dict) or fields.get("acceptance_rate") is not None:
            return fields
        kept = {name: value for name, value in fields.items() if name != "acceptance_rate"}
        known = ACCEPTANCE.get(fields.get("kind"))  # type: ignore[arg-type]
        return kept if known is None else {**kept, "acceptance_rate": known.rate}

    @field_validator("draft", mode="before")
    @classmethod
    def check_draft(cls, draft: Any) -> Any:
        if isinstance(draft, str):
            raise InputError(
                f"Speculation.draft must be a model graph, such as load_model({shortened(draft)!r})"
            )
        if isinstance(draft, ModelGraph) and not draft.makes_tokens:
            raise InputError(
                f"Speculation.draft: {draft.name} makes no tokens, one after the other; give a"
                " decoder"
            )
        return draft

    @property
    def acceptance_source(self) -> str:
        """Where the rate comes from: the kind of draft, or whoever stated it."""
        known = None if self.kind is None else ACCEPTANCE[self.kind]
        if known is not None and known.rate == self.acceptance_rate:
            return f"{self.kind}, {known.confidence}: {known.source}"
        return "as stated, or our guess of 0.7"

    @property
    def tokens_per_pass(self) -> float:
        """Expected tokens of each sequence that a verifying pass yields, its own one included: 1
        + a + a² + … + a^tokens."""
        return sum(self.acceptance_rate**number for number in range(1 + (self.tokens or 0)))


def _is_word(given: Any, word: str) -> bool:
    """Whether that is the word; arrays and the like, which compare otherwise, are none."""
    return isinstance(given, str) and given == word


class Workload(Record):
    """Requests of one size: a fixed number of them in flight, as many as fit, or as many as come
    in a second."""

    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] | None = 1
    """Sequences in flight in the whole deployment, replicas included; None: as many as fit. What
    of a number that is given finds no place waits in a queue, as `queued` does."""
    queued: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Clients besides those in flight, each of which waits until it finds a place: more than an
    engine is told to take at once, or than a plan holds."""
    prompt_tokens: Annotated[int, Field(ge=1, le=100_000_000)] = 1024
    output_tokens: Annotated[int, Field(ge=1, le=100_000_000)] = 256
    cached_prompt_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of each prompt's tokens, those whose keys and values are in the cache already: passes run the
    rest alone, which sees all of the context. Every sequence is still counted to hold all of its
    prompt, and all of it is sent to a decode pool: a shared prefix is held once at best."""
    arrivals: Arrivals = "steady"
    """Together: a batch starts as one and ends as one. Steady: a finished request is replaced at
    once, so that decode steps wait for the prompts of others, and a time to first token is that
    of one request joining a loaded server. Poisson: requests come when they like, at
    `requests_per_s`; where that is None, `partition` finds the greatest rate that keeps the
    limits, and the plan states it."""
    requests_per_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Requests that the whole deployment is sent, as a Poisson stream; the batch is then what
    comes of it, and stays None."""
    phase: Literal["both", "prefill", "decode"] = "both"
    """Which passes the machine is there for, where prefill and decode have pools of their own. A
    prefill pool sees prompts alone, one after the other, or as many in a pass as the software's
    chunk has room for where no rate is given; each rank needs room for the cache of the one in
    work and of the one that leaves. A decode pool sees later tokens alone; its `ttft_s` is what
    a request waits for its cache and its turn. Rates count whole requests in both."""
    transfer_s: Seconds = 0.0
    """Until the KV cache of a request has come to a decode pool; its place there is taken
    meanwhile."""
    speculation: Speculation | None = None
    """How later tokens are drafted; None: each takes a pass of its own. Times and costs are
    those of tokens that are kept."""

    @model_validator(mode="before")
    @classmethod
    def open_batch(cls, fields: Any) -> Any:
        """Where requests come as a stream, and where no tokens are made, no batch is given."""
        if isinstance(fields, dict) and (
            fields.get("requests_per_s") is not None
            or _is_word(fields.get("phase"), "prefill")
            or _is_word(fields.get("arrivals"), "poisson")
        ):
            return {"batch_size": None, **fields}
        return fields

    @model_validator(mode="after")
    def check_rate(self) -> Self:
        if self.is_stream and self.batch_size is not None:
            raise InputError(
                "Workload.batch_size must be None where requests come at a rate (the rate decides the"
                f" batch), not {self.batch_size}"
            )
        if self.requests_per_s is not None and self.arrivals == "together":
            raise InputError(
                "Workload.arrivals: requests that come at a rate cannot start together; make it"
                " 'poisson'"
            )
        return self

    @model_validator(mode="after")
    def check_phase(self) -> Self:
        if self.phase == "prefill" and self.batch_size is not None:
            raise InputError(
                "Workload.batch_size must be None for a prefill pool, which takes one prompt after"
                f" the other, not {self.batch_size}"
            )
        if self.phase != "both" and self.arrivals == "together":
            raise InputError(
                f"Workload.arrivals: requests reach a {self.phase} pool one by one; make it 'steady'"
            )
        if self.transfer_s and self.phase != "decode":
            raise InputError(
                "Workload.transfer_s: only a decode pool waits for KV caches; make it 0, or make"
                " phase 'decode'"
            )
        if self.phase == "decode" and self.output_tokens == 1:
            raise InputError(
                "Workload.output_tokens: a decode pool makes the tokens after the first; make it at"
                " least 2"
            )
        return self

    @model_validator(mode="after")
    def check_queued(self) -> Self:
        if self.queued and self.batch_size is None:
            raise InputError(
                "Workload.queued needs a batch_size, which says how many sequences are in flight;"
                f" give one, or make queued 0, not {self.queued}"
            )
        return self

    @property
    def is_stream(self) -> bool:
        """Whether requests come when they like, as a Poisson stream."""
        return self.requests_per_s is not None or self.arrivals == "poisson"

    @property
    def is_open_stream(self) -> bool:
        """Whether it is left open at what rate they come."""
        return self.is_stream and self.requests_per_s is None

    @property
    def offered(self) -> int | None:
        """Clients, in flight or not; None where their number is open."""
        return None if self.batch_size is None else self.batch_size + self.queued

    @property
    def cycles_waited(self) -> float:
        """Before a place is free, in cycles in which as many requests end as are in flight.

        Where requests are replaced one by one, by Little's law (1961): all clients over what ends
        in a second is how long one of them takes, its wait included. Where a batch starts as one,
        what does not fit is the next batch, and the last of them counts.
        """
        waited = self.queued / (self.batch_size or 1)
        return float(math.ceil(waited)) if self.arrivals == "together" else waited

    @property
    def next_batch(self) -> int:
        """The least number in flight with which less would be waited, where some wait."""
        assert self.batch_size is not None
        if self.arrivals == "together":
            return math.ceil((self.offered or 0) / max(1.0, self.cycles_waited))
        return self.batch_size + 1

    @property
    def taken_share(self) -> float:
        """Of the places in flight, on average: all, but of batches one after the other, the last of
        which may be smaller."""
        if not self.queued or self.arrivals != "together":
            return 1.0
        return (self.offered or 0) / ((self.batch_size or 1) * (1.0 + self.cycles_waited))

    def seated(self, most: int) -> Self:
        """The same clients with so many of them in flight at most, the others queued. Of those that
        start as one, the fewest batches one after the other, as like as they can be."""
        offered = self.offered
        assert offered is not None
        batch = min(offered, most, self.batch_size or offered)
        if self.arrivals == "together":
            batch = math.ceil(offered / math.ceil(offered / batch))
        return self.replace(batch_size=batch, queued=offered - batch)

    @property
    def drafted_tokens(self) -> int:
        """For each sequence before each decode pass; none in a prefill pool, where the draft
        model just reads prompts."""
        if self.speculation is None or self.phase == "prefill":
            return 0
        return self.speculation.tokens or 0

    @functools.cached_property
    def new_prompt_tokens(self) -> float:
        """Of a prompt, that passes run: what is not found in the cache, at least the last one."""
        return max(1.0, self.prompt_tokens * (1.0 - self.cached_prompt_share))

    @property
    def context_tokens(self) -> int:
        """The longest that a sequence grows."""
        if self.phase == "prefill":
            return self.prompt_tokens
        return self.prompt_tokens + self.output_tokens

    @functools.cached_property
    def held_context_tokens(self) -> float:
        """What a sequence holds in the cache while others come and go: all of it where a batch
        starts and ends as one, or goes elsewhere after its prompt, else its mean over its life,
        since sequences are of every age."""
        whole = self.arrivals == "together" or self.phase == "prefill"
        return float(self.context_tokens) if whole else self.mean_context_tokens

    def unfilled_tokens(self, block_tokens: int) -> float:
        """What the last block of a sequence's cache leaves empty: what rounding up its full
        length does where a batch starts and ends as one, else half a block on average."""
        if self.arrivals == "together":
            return float(-self.context_tokens % block_tokens)
        return (block_tokens - 1) / 2

    @functools.cached_property
    def mean_context_tokens(self) -> float:
        """What a decode step finds in the cache, on average over the generation."""
        return self.prompt_tokens + self.output_tokens / 2
