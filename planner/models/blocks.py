"""What a decoder is made of, part by part: attention of several kinds, recurrences, feed-forward
parts, and the blocks that hold them.

A `DecoderShape` states a decoder whose layers follow a period in a line of a table; a `Decoder`
lists the blocks, whatever they are, and is what a reader of other people's files makes. Modules are
called as in `planner.models.storage`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.models.dtypes import Dtype
from planner.models.operators import Width
from planner.models.routing import routing_fault
from planner.records import Record

Some = Annotated[int, Field(ge=0, le=100_000_000)]


class Indexer(Record):
    """Small heads that score every cached entry for a token, which then sees the best alone [1].

    [1] DeepSeek-AI, "DeepSeek-V3.2: pushing the frontier of open large language models", 2025.
    """

    heads: Width
    width: Width
    """Of a head; one key of this width is cached for each entry."""
    inputs: Width
    """From which its queries are made: the compressed query, or the stream."""
    chosen_tokens: Width
    """Entries that a token sees."""
    key_dtype: Dtype = "fp8"
    owned: bool = True
    """Whether the layer scores itself, or takes the choice of an earlier one."""


class SelfAttention(Record):
    """Ordinary attention, with as many key-value heads as heads, fewer, or one."""

    kind: Literal["self-attention"] = "self-attention"
    heads: Width
    kv_heads: Width
    head_dim: Width
    value_dim: Some = 0
    """Of one head; 0: as wide as its key."""
    window_tokens: Some = 0
    """0: it sees everything."""
    gate_width: Some = 0
    """Of a gate on the heads' outputs, made with the queries: as wide as they are, or a value for
    each head."""
    biased: tuple[Literal["query", "key value", "output"], ...] = ()
    """Projections with a bias."""
    norm_weights: Some = 0
    """Of norms of queries and keys."""
    key_is_value: bool = False
    """Whether one projection gives both."""
    borrowed: bool = False
    """Whether it reads the keys and values of an earlier layer, and makes none."""
    crossed_tokens: Some = 0
    """Of a picture or sound, to which it attends in place of the text; 0: to the text."""
    indexer: Indexer | None = None

    @model_validator(mode="after")
    def check_heads(self) -> Self:
        if self.heads % self.kv_heads:
            raise InputError(
                f"SelfAttention.kv_heads: {self.kv_heads} does not divide the {self.heads} heads;"
                " it must"
            )
        return self


class LatentAttention(Record):
    """DeepSeek-V2's multi-head latent attention: one compressed vector is cached for all heads."""

    kind: Literal["latent-attention"] = "latent-attention"
    heads: Width
    q_latent: Some = 0
    """Width to which queries are compressed (0: not compressed)."""
    kv_latent: Width
    rope_dim: Some
    nope_dim: Width
    value_dim: Width
    window_tokens: Some = 0
    gate_width: Some = 0
    """As of ordinary attention, a projection of its own."""
    norm_weights: Some = 0
    indexer: Indexer | None = None


class CompressedAttention(Record):
    """DeepSeek-V4's: one key for all heads, which is its value too; a window of whole tokens, and
    beside it entries that each stand for several [1].

    [1] DeepSeek-AI, "DeepSeek-V4", 2026.
    """

    kind: Literal["compressed-attention"] = "compressed-attention"
    heads: Width
    head_dim: Width
    q_latent: Width
    window_tokens: Width
    tokens_per_entry: Some = 0
    """0: the window alone."""
    overlaps: bool = False
    """Whether an entry is made from two runs of tokens, and so has twice the weights."""
    output_groups: Width
    output_latent: Width
    norm_weights: Some = 0
    indexer: Indexer | None = None


class Projection(Record):
    """A matrix before or after a recurrence."""

    name: str
    inputs: Width
    outputs: Width
    split: Literal["outputs", "inputs", "none"] = "outputs"
    module: str
    biased: bool = False


class Recurrence(Record):
    """A mixer that keeps a state in place of a cache; what its kinds need is worked out in
    `planner.models.recurrences`."""

    kind: Literal["recurrence"] = "recurrence"
    projections: tuple[Projection, ...]
    """Before it."""
    output: Projection
    heads: Width
    key_heads: Width
    key_width: Some
    value_width: Width
    convolved_tokens: Annotated[int, Field(ge=1, le=1000)] = 1
    convolves_keys: bool = True
    flop_per_value: Annotated[float, Field(ge=0)]
    norm_width: Some
    """Of the gated norm after it; 0: none."""
    weights: Some
    """Of that norm, of rates of decay and of biases."""
    state_dtype: Dtype = "fp32"


class DenseFeedForward(Record):
    """Two matrices around an activation, or three with a gate."""

    kind: Literal["dense"] = "dense"
    width: Width
    gated: bool = True
    biased: bool = False


class RoutedFeedForward(Record):
    """Experts, of which a token uses some, and what all tokens use beside them."""

    kind: Literal["routed"] = "routed"
    experts: Width
    active: Width
    width: Width
    """Inner width of an expert."""
    gated: bool = True
    groups: Annotated[int, Field(ge=1)] = 1
    groups_active: Annotated[int, Field(ge=1)] = 1
    shared_width: Some = 0
    """Inner width of all shared experts together."""
    shared_gate: bool = False
    """Whether a value for each token weighs the shared experts."""
    latent: Some = 0
    """Width to which the stream is compressed around the routed experts; 0: it is not."""
    biased: bool = False
    routed_to: Some = 0
    """Outputs of the router; 0: one for each expert."""
    router_biased: bool = False

    @model_validator(mode="after")
    def check_active(self) -> Self:
        if self.active > self.experts:
            raise InputError(
                f"RoutedFeedForward.active: it must lie between 1 and the {self.experts} experts,"
                f" not {self.active}"
            )
        fault = routing_fault(self.experts, self.active, self.groups, self.groups_active)
        if fault:
            raise InputError(f"RoutedFeedForward.groups: {fault}")
        return self


Mixer = SelfAttention | LatentAttention | CompressedAttention | Recurrence
FeedForward = DenseFeedForward | RoutedFeedForward
Part = Annotated[Mixer | FeedForward, Field(discriminator="kind")]

MIXERS = (SelfAttention, LatentAttention, CompressedAttention, Recurrence)


class Block(Record):
    """A layer: its parts in the order in which they run; none, where nothing is left of it."""

    parts: tuple[Part, ...]
    parallel: bool = False
    """Whether attention and feed-forward work on the same input, and are summed once."""
    shares_norm: bool = True
    """In a parallel block: whether one norm serves both."""
    norm_weights: Annotated[int, Field(ge=0, le=16)] = 1
    """Vectors of the stream's width that a norm before a part has: 1 a scale, 2 a shift too or a
    norm after the part; 0: it learns nothing."""
    side_width: Some = 0
    """Of a stream of its own that each token has for this layer (per-layer embeddings); 0: none."""
    beside: tuple[Projection, ...] = ()
    """Small matrices beside the parts, such as a residual of low rank."""


class Decoder(Record):
    """A decoder, block by block."""

    hidden: Width
    vocabulary: Width
    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=10_000)]
    tied_embedding: bool = False
    embedding_width: Some = 0
    """Where tokens are embedded in another width than the stream's, and projected; 0: they are
    not."""
    positions: Some = 0
    """Learned position embeddings."""
    final_norm_weights: Annotated[int, Field(ge=0, le=16)] = 1
    side_vocabulary: Some = 0
    """Of per-layer embeddings; 0: none."""
    head_biased: bool = False
    streams: Annotated[int, Field(ge=1, le=64)] = 1
    """Copies of the stream that layers hand on (hyper-connections, AltUp)."""
    copied_by_matrices: bool = False
    """Whether each copy is made, and taken back, by a matrix of its own."""
    most_context_tokens: Some = 0
    unquantised: tuple[str, ...] = ()
    """What stays at 16 bit whatever the weights' format: "attention", "embedding", "router"."""

    @property
    def layers(self) -> int:
        return len(self.blocks)
