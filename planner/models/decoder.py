"""Decoder-only transformers, and hybrids of attention and recurrences, whose layers follow a period:
a shape, as a line of the catalogue states it."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.models.blocks import (
    Block,
    Decoder,
    DenseFeedForward,
    LatentAttention,
    RoutedFeedForward,
    SelfAttention,
)
from planner.models.blocks import FeedForward as FeedForwardPart
from planner.models.blocks import Mixer as MixerPart
from planner.models.decoder_layers import graph_of_blocks
from planner.models.graph import ModelGraph
from planner.models.operators import Width
from planner.models.recurrences import gated_delta, mamba_2
from planner.models.storage import Formats, Storage
from planner.records import Record

__all__ = ["DecoderShape", "Formats", "decoder_graph"]

Some = Annotated[int, Field(ge=0, le=100_000_000)]


Mixer = Literal["attention", "recurrence", ""]
FeedForward = Literal["dense", "experts", ""]


class Parts(NamedTuple):
    """What a layer is made of."""

    mixer: Mixer
    feed_forward: FeedForward
    window: int


PATTERN: dict[str, tuple[Mixer, FeedForward]] = {
    "M": ("recurrence", ""),
    "*": ("attention", ""),
    "-": ("", "dense"),
    "E": ("", "experts"),
}
"""Letters of Nemotron-H's hybrid_override_pattern."""


class DecoderShape(Record):
    """The numbers that make a decoder."""

    layers: Annotated[int, Field(ge=1, le=10_000)]
    hidden: Width
    heads: Width
    kv_heads: Width
    head_dim: Width
    ffn: Some = 0
    """Inner width of a dense feed-forward layer; 0: every layer has experts."""
    matrices: Annotated[int, Field(ge=2, le=3)] = 3
    """Of a feed-forward layer: 3 with a gate, 2 without."""
    vocabulary: Width
    tied_embedding: bool = False
    positions: Some = 0
    """Learned position embeddings."""
    parallel_block: bool = False
    """Attention and feed-forward work on the same input, and their outputs are summed once."""

    experts: Some = 0
    experts_active: Some = 0
    expert_ffn: Some = 0
    expert_groups: Annotated[int, Field(ge=1)] = 1
    """Of experts, of which a token chooses some before it chooses experts in them."""
    expert_groups_active: Annotated[int, Field(ge=1)] = 1
    shared_ffn: Some = 0
    """Inner width of all shared experts together."""
    dense_first: Some = 0
    """Layers at the beginning without experts."""
    expert_every: Annotated[int, Field(ge=1)] = 1
    """Of the others, every so-manieth has experts, the last of each run."""

    q_latent: Some = 0
    """Multi-head latent attention: width to which queries are compressed (0: not compressed)."""
    kv_latent: Some = 0
    """Multi-head latent attention: width of the cached latent vector; 0: ordinary attention."""
    rope_dim: Some = 0
    nope_dim: Some = 0
    value_dim: Some = 0

    window_tokens: Some = 0
    """Sliding or chunked attention; 0: none."""
    full_every: Some = 0
    """Of the layers every so-manieth attends to everything, in spite of the window; 0: none
    does."""
    full_first: bool = False
    """Whether the full layer comes first in each run (else last)."""

    normed: Literal["", "head", "all"] = ""
    """Norms of queries and keys: none, one for a head, or one over all heads."""
    biased: tuple[Literal["query", "key value", "output"], ...] = ()
    """Projections of attention with a bias."""
    experts_biased: bool = False
    """Whether experts and their router have biases."""

    gated_attention: bool = False
    """Whether queries come with a gate of the same width for the heads' outputs."""
    pattern: str = ""
    """What each layer is, where mixing and feed-forward are layers of their own: M a recurrence,
    * attention, - a dense feed-forward layer, E experts."""
    attention_every: Annotated[int, Field(ge=1)] = 1
    """Of the layers every so-manieth has attention, the last of each run; the others have a
    recurrence."""
    recurrence: Literal["", "mamba-2", "gated-delta"] = ""
    state_heads: Some = 0
    """Of a recurrence; each keeps a matrix of `state_key` × `state_value`."""
    state_key_heads: Some = 0
    """Keys and queries, shared among the heads of a group."""
    state_key: Some = 0
    state_value: Some = 0
    convolved_tokens: Annotated[int, Field(ge=1, le=1000)] = 4
    """Over which the convolution before a recurrence runs."""

    most_context_tokens: Some = 0
    unquantised: tuple[str, ...] = ()
    """What stays at 16 bit whatever the weights' format: "attention", "embedding", "router"."""

    @model_validator(mode="after")
    def check_heads(self) -> Self:
        if self.heads % self.kv_heads:
            raise InputError(
                f"DecoderShape.kv_heads: {self.kv_heads} does not divide the {self.heads} heads;"
                " it must"
            )
        return self

    @model_validator(mode="after")
    def check_feed_forward(self) -> Self:
        if self.experts and not (1 <= self.experts_active <= self.experts and self.expert_ffn):
            raise InputError(
                "DecoderShape.experts: experts need expert_ffn and experts_active between 1 and"
                f" {self.experts}, not {self.experts_active}"
            )
        if self.ffn:
            return self
        if not self.experts:
            raise InputError(
                "DecoderShape.ffn: a decoder without experts needs the width of its feed-forward"
                " layers"
            )
        if self.dense_first or self.expert_every > 1:
            raise InputError(
                "DecoderShape.ffn: the layers without experts need the width of their feed-forward"
                " part"
            )
        return self

    @model_validator(mode="after")
    def check_latent_attention(self) -> Self:
        if self.kv_latent and not all((self.rope_dim, self.nope_dim, self.value_dim)):
            raise InputError(
                "DecoderShape.kv_latent: latent attention needs rope_dim, nope_dim and value_dim"
            )
        return self

    @model_validator(mode="after")
    def check_pattern(self) -> Self:
        if not self.pattern:
            return self
        strange = next((letter for letter in self.pattern if letter not in PATTERN), None)
        if strange:
            raise InputError(
                f"DecoderShape.pattern: {strange!r} is not a kind of layer; use M, *, - and E"
            )
        if len(self.pattern) != self.layers:
            raise InputError(
                f"DecoderShape.pattern: it names {len(self.pattern)} layers, but the model has"
                f" {self.layers}; name each layer once"
            )
        if "E" in self.pattern and not self.experts:
            raise InputError(
                "DecoderShape.pattern: its layers E need experts, expert_ffn and experts_active"
            )
        return self

    @model_validator(mode="after")
    def check_recurrences(self) -> Self:
        recurs = "M" in self.pattern or self.attention_every > 1
        sizes = (self.state_heads, self.state_key_heads, self.state_key, self.state_value)
        if recurs and not all((self.recurrence, *sizes)):
            raise InputError(
                "DecoderShape.recurrence: layers without attention need a recurrence, state_heads,"
                " state_key_heads, state_key and state_value"
            )
        if self.state_key_heads and self.state_heads % self.state_key_heads:
            raise InputError(
                f"DecoderShape.state_key_heads: {self.state_key_heads} does not divide the"
                f" {self.state_heads} heads of the state; it must"
            )
        return self

    def parts_of(self, layer: int) -> Parts:
        """What a layer is made of."""
        if self.pattern:
            mixer, feed_forward = PATTERN[self.pattern[layer]]
        else:
            mixer = "attention" if (layer + 1) % self.attention_every == 0 else "recurrence"
            feed_forward = "experts" if self.routes(layer) else "dense"
        return Parts(mixer, feed_forward, self.window_of(layer) if mixer == "attention" else 0)

    def routes(self, layer: int) -> bool:
        """Whether a layer has experts."""
        if not self.experts or layer < self.dense_first:
            return False
        return (layer - self.dense_first + 1) % self.expert_every == 0

    def window_of(self, layer: int) -> int:
        """The window of a layer's attention; 0 sees everything."""
        if not self.window_tokens or not self.full_every:
            return self.window_tokens
        place_of_full = 0 if self.full_first else self.full_every - 1
        if layer % self.full_every == place_of_full:
            return 0
        return self.window_tokens

    def to_decoder(self) -> Decoder:
        """The same, block by block."""
        made: dict[Parts, Block] = {}
        blocks = []
        for number in range(self.layers):
            parts = self.parts_of(number)
            if parts not in made:
                made[parts] = self._block(parts)
            blocks.append(made[parts])
        return Decoder(
            hidden=self.hidden,
            vocabulary=self.vocabulary,
            blocks=tuple(blocks),
            tied_embedding=self.tied_embedding,
            positions=self.positions,
            most_context_tokens=self.most_context_tokens,
            unquantised=self.unquantised,
        )

    def _block(self, parts: Parts) -> Block:
        found: list[MixerPart | FeedForwardPart] = []
        if parts.mixer == "attention":
            found.append(self._attention(parts.window))
        if parts.mixer == "recurrence":
            make = gated_delta if self.recurrence == "gated-delta" else mamba_2
            found.append(
                make(
                    self.hidden,
                    heads=self.state_heads,
                    key_heads=self.state_key_heads,
                    key_width=self.state_key,
                    value_width=self.state_value,
                    convolved_tokens=self.convolved_tokens,
                )
            )
        if parts.feed_forward == "dense":
            found.append(DenseFeedForward(width=self.ffn, gated=self.matrices == 3))
        if parts.feed_forward == "experts":
            found.append(self._experts())
        return Block(parts=tuple(found), parallel=self.parallel_block)

    def _attention(self, window: int) -> MixerPart:
        if self.kv_latent:
            return LatentAttention(
                heads=self.heads,
                q_latent=self.q_latent,
                kv_latent=self.kv_latent,
                rope_dim=self.rope_dim,
                nope_dim=self.nope_dim,
                value_dim=self.value_dim,
                window_tokens=window,
                norm_weights=self.q_latent + self.kv_latent,
            )
        width = self.heads * self.head_dim
        return SelfAttention(
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            window_tokens=window,
            gate_width=width if self.gated_attention else 0,
            biased=self.biased,
            norm_weights=self._norm_weights,
        )

    @property
    def _norm_weights(self) -> int:
        heads = {"": 0, "head": 2, "all": self.heads + self.kv_heads}[self.normed]
        return heads * self.head_dim

    def _experts(self) -> RoutedFeedForward:
        return RoutedFeedForward(
            experts=self.experts,
            active=self.experts_active,
            width=self.expert_ffn,
            gated=self.matrices == 3,
            groups=self.expert_groups,
            groups_active=self.expert_groups_active,
            shared_width=self.shared_ffn,
            biased=self.experts_biased,
            router_biased=self.experts_biased,
        )


def decoder_graph(
    shape: DecoderShape | Decoder,
    name: str,
    formats: Formats,
    *,
    storage: Storage | None = None,
    source: str = "",
    confidence: str = "",
    remarks: tuple[str, ...] = (),
) -> ModelGraph:
    """The layer graph of a decoder: embedding, its layers, the language-model head; a chain.

    `storage` says how a checkpoint stores its modules; None: all as `formats` say. `remarks` are
    what answers about the model are to say with them.
    """
    decoder = shape.to_decoder() if isinstance(shape, DecoderShape) else shape
    return graph_of_blocks(
        decoder,
        name,
        formats,
        storage=storage,
        source=source,
        confidence=confidence,
        remarks=remarks,
    )
