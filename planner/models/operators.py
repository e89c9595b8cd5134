"""The operators of a layer, and what each demands of a chip for each token."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.models.demand import UNLIMITED_TOKENS, Demand, most_of_normal
from planner.models.dtypes import (
    Dtype,
    Zeros,
    bytes_of,
    dispatched_bytes_of,
    stored_bytes_of,
    stream_bytes_of,
)
from planner.models.routing import routing_fault, units_touched
from planner.records import Record

Width = Annotated[int, Field(ge=1, le=100_000_000)]

Density = Annotated[float, Field(gt=0, le=1)]

Bits = Annotated[float, Field(ge=0, le=64)]

Factor = Annotated[float, Field(gt=0, le=1e9)]
"""Tokens that an operator works on for each token of the step: below 1 for a text beside a
picture, or a coarse level."""


class MatMul(Record):
    """`tokens × inputs` by `inputs × outputs`."""

    kind: Literal["matmul"] = "matmul"
    name: str
    inputs: Width
    outputs: Width
    weight_dtype: Dtype
    compute_dtype: Dtype
    split: Literal["outputs", "inputs", "none"]
    """Outputs: a column split, each chip makes some of the outputs. Inputs: a row split, the
    outputs are summed."""
    most_ways: Width = 100_000_000
    """Beyond so many ways the shards repeat each other: the key and value heads of a grouped
    attention."""
    summed: bool = True
    """Whether a row split sums its outputs at once; false where a later row split sums both."""
    rows: Literal["tokens", "sequences"] = "tokens"
    """Sequences: one row for each sequence, as in a language-model head."""
    fused: bool = False
    """Whether it is launched together with the matmul before it, as keys and values are with
    queries."""
    tied_to: str = ""
    """The layer whose weights it reads in place of its own; a chip that holds both holds them
    once."""
    density: Density = 1.0
    """Share of its weights that pruning has left; chips that skip the pattern do so much of the
    arithmetic."""
    pattern: Zeros | Literal[""] = ""
    """How the zeros of a pruned matrix lie."""
    positions: Width = 1
    """Neighbours that each output sees, itself included: 9 in a convolution of 3 × 3. They are
    read from memory once."""
    tokens_factor: Factor = 1.0
    natively: bool = False
    """Whether `compute_dtype` is just what is multiplied in where chip and stack cannot take the
    weights as they are stored: nobody said otherwise, and the machine decides."""
    bits_per_weight: Bits = 0.0
    """As the checkpoint stores them, scales included; 0: as the format usually has them."""
    biased: Annotated[int, Field(ge=0)] = 0
    """Outputs to which a bias is added; kept at 16 bit."""

    @property
    def parameters(self) -> float:
        """Those of the dense matrix, pruned or not, and its biases."""
        if self.tied_to:
            return 0.0
        return float(self.inputs) * self.outputs * self.positions + self.biased

    @property
    def weight_bytes(self) -> float:
        weights = self.parameters - self.biased if not self.tied_to else 0.0
        return weights * self._stored_bytes + self.bias_bytes

    @property
    def _stored_bytes(self) -> float:
        """Of a weight. [B]"""
        return stored_bytes_of(self.weight_dtype, self.density, self.pattern, self.bits_per_weight)

    @property
    def bias_bytes(self) -> float:
        """Of its biases, at 16 bit. [B]"""
        return 0.0 if self.tied_to else 2.0 * self.biased

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        ways = 1 if self.split == "none" else min(tensor_parallel, self.most_ways)
        inputs = self.inputs / ways if self.split == "inputs" else float(self.inputs)
        outputs = self.outputs / ways if self.split == "outputs" else float(self.outputs)

        weights = inputs * outputs * self.positions
        flop = 2.0 * weights
        stored = weights * self._stored_bytes
        if self.biased:
            stored += self.bias_bytes * (outputs / self.outputs)
        stream = stream_bytes_of(self.compute_dtype)
        whole_output = self.outputs * stream

        if self.rows == "sequences":
            return Demand(
                flop_per_sequence=flop,
                weight_bytes=stored,
                io_bytes_per_sequence=(inputs + outputs) * stream,
                gathered_bytes_per_sequence=whole_output if ways > 1 else 0.0,
            )

        # Each chip of a row split has a part of every sum, so that all of them must be added up.
        partial = tensor_parallel > 1 and self.split == "inputs" and self.summed
        return Demand(
            flop_per_token=flop,
            weight_bytes=stored,
            read_bytes_per_token=inputs * stream,
            written_bytes_per_token=outputs * stream,
            reduced_bytes_per_token=whole_output if partial else 0.0,
            activation_bytes_per_token=(inputs + outputs) * stream,
            kernels=0.0 if self.fused else 1.0,
        ).for_tokens(self.tokens_factor)


class Attention(Record):
    """Scores and weighted sums of the tokens' queries over their sequence's keys and values."""

    kind: Literal["attention"] = "attention"
    name: str
    heads: Width
    kv_heads: Width
    key_width: Width
    """Of one head."""
    value_width: Width
    """Of one head."""
    cached_width: Width
    """Values cached for one token and one key-value head: key and value, or one latent vector."""
    decode_key_width: Width
    """As `key_width`, where decode works on the cached latent vector itself."""
    decode_value_width: Width
    kv_dtype: Dtype
    compute_dtype: Dtype
    window_tokens: Annotated[int, Field(ge=0)] = 0
    """The sliding window; 0 sees everything."""
    chosen_tokens: Annotated[int, Field(ge=0)] = 0
    """Of what is cached, how many entries an indexer chooses for a token, which sees no others;
    all are kept. 0: nothing is chosen."""
    tokens_per_entry: Width = 1
    """Neighbouring tokens that a compressed cache keeps as one entry."""
    borrowed: bool = False
    """Whether it reads the cache of an earlier layer, and keeps none of its own."""
    causal: bool = True
    """Whether a token sees just those before it; else its whole sequence, twice as much on
    average."""
    cached: bool = True
    """Whether keys and values are kept for later tokens; an encoder has none."""
    fixed_tokens: Annotated[int, Field(ge=0)] = 0
    """Keys that every token sees in place of its sequence's own: a text in cross attention, and
    the width of a head in linear attention, whose state is as large; 0: its sequence's."""
    linear: bool = False
    """Whether those are the state of linear attention, to which each token of the sequence adds
    its own key and value."""
    tokens_factor: Factor = 1.0

    @property
    def parameters(self) -> float:
        return 0.0

    @property
    def weight_bytes(self) -> float:
        return 0.0

    @property
    def cache_form(self) -> tuple[int, ...]:
        """What a cache that it borrows has in common with one of its own."""
        return self.kv_heads, self.cached_width, self.window_tokens, self.tokens_per_entry

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        heads = self.heads / tensor_parallel
        # A group of more chips than key-value heads repeats them: none has less than one whole.
        kv_heads = max(1.0, self.kv_heads / tensor_parallel)
        stream = stream_bytes_of(self.compute_dtype)

        queried = heads * (self.key_width + self.value_width)
        decode_queried = heads * (self.decode_key_width + self.decode_value_width)
        cached = kv_heads * self.cached_width
        seen = self._seen_contexts / self.tokens_per_entry

        # Keys from a cache, or of a text, are not among what comes in with the token.
        of_text = self.fixed_tokens > 0 and not self.linear
        comes_in = heads * self.key_width
        if not self.cached and not of_text:
            comes_in += cached

        # What a token sees of its context: a window is all that is kept, a choice leaves the rest.
        kept = float(self.window_tokens or UNLIMITED_TOKENS)
        chosen = float(self.chosen_tokens * self.tokens_per_entry or UNLIMITED_TOKENS)
        # Tokens of a prompt choose unlike entries, which no two can unfold from a latent vector
        # together: they work on it as decode does, or on all keys where that is less.
        dearer = max(1.0, decode_queried / queried) if self.chosen_tokens else 1.0
        entry_bytes = cached * bytes_of(self.kv_dtype)
        cache = entry_bytes / self.tokens_per_entry if self._has_cache else 0.0
        # A text is kept as a state is: once for a sequence, however long.
        text = entry_bytes * self.fixed_tokens if of_text and self.cached else 0.0

        return Demand(
            flop_per_token=2.0 * queried * self.fixed_tokens,
            flop_per_token_context=2.0 * queried * seen,
            decode_flop_per_token_context=2.0
            * decode_queried
            * min(1.0 / self.tokens_per_entry, seen),
            read_bytes_per_token=comes_in * stream,
            written_bytes_per_token=heads * self.value_width * stream,
            kv_bytes_per_token=0.0 if self.borrowed else cache,
            borrowed_bytes_per_token=cache if self.borrowed else 0.0,
            state_bytes_per_sequence=text,
            window_tokens=min(kept, chosen),
            prompt_window_share=min(kept, dearer * chosen) / min(kept, chosen),
            kept_tokens=kept,
            shuffled_bytes_per_token=0.0 if of_text else (queried + cached) * stream,
            activation_bytes_per_token=queried * stream,
        ).for_tokens(self.tokens_factor)

    @property
    def _has_cache(self) -> bool:
        """Whether its keys grow with the sequence."""
        return self.cached and not self.fixed_tokens

    @property
    def _seen_contexts(self) -> float:
        """Keys that a token sees, over its mean context: a causal token of a prompt has half of
        it before itself, and so one that sees the whole prompt sees twice as much."""
        if self.fixed_tokens:
            return 0.0
        return 1.0 if self.causal else 2.0


def plain_attention(
    name: str, heads: int, width: int, *, kv_heads: int | None = None, **options: object
) -> Attention:
    """Attention with keys and values of one width, cached as they are; `kv_heads` None: as many
    as heads."""
    return Attention.from_fields(
        {
            "name": name,
            "heads": heads,
            "kv_heads": heads if kv_heads is None else kv_heads,
            "key_width": width,
            "value_width": width,
            "cached_width": 2 * width,
            "decode_key_width": width,
            "decode_value_width": width,
            **options,
        }
    )


class Indexer(Record):
    """Scores of every cached entry for a token, by which sparse attention chooses those that it
    sees; whole on every chip of a group, as engines run it [1].

    [1] DeepSeek-AI, "DeepSeek-V3.2: pushing the frontier of open large language models", 2025.
    """

    kind: Literal["indexer"] = "indexer"
    name: str
    heads: Width
    key_width: Width
    """Of the one key of an entry, and of each head's query."""
    tokens_per_entry: Width = 1
    """As of an attention."""
    key_dtype: Dtype = "fp8"
    compute_dtype: Dtype = "fp8"

    @property
    def parameters(self) -> float:
        return 0.0

    @property
    def weight_bytes(self) -> float:
        return 0.0

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        each = self.key_width * bytes_of(self.key_dtype)
        # A key in 8 bit has a scale of its own.
        each += 4.0 if bytes_of(self.key_dtype) == 1 else 0.0
        queried = float(self.heads) * self.key_width
        flop = 2.0 * queried / self.tokens_per_entry
        return Demand(
            flop_per_token_context=flop,
            decode_flop_per_token_context=flop,
            read_bytes_per_token=queried * 2.0,
            kv_bytes_per_token=each / self.tokens_per_entry,
            activation_bytes_per_token=queried * 2.0,
        )


class Recurrent(Record):
    """Linear attention or a state space: every head keeps one matrix, which each token of its
    sequence updates and reads.

    Projections around it are matmuls of their own. Operations for a value of the state and a token:
    Mamba-2 [1] decays it (1), adds a product (2) and reads it out (2); the gated delta rule [2]
    also reads it before it writes (2).

    [1] T. Dao, A. Gu, "Transformers are SSMs", ICML 2024.
    [2] S. Yang et al., "Gated delta networks", ICLR 2025.
    """

    kind: Literal["recurrent"] = "recurrent"
    name: str
    heads: Width
    key_heads: Width
    """Keys and queries (in a state space: input and output maps), shared by the heads of a
    group."""
    key_width: Annotated[int, Field(ge=0, le=100_000_000)]
    """Of one head: rows of its state; 0: no state, a short convolution alone."""
    value_width: Width
    """Of one head: columns of its state."""
    convolved_tokens: Width = 1
    """Over which a short convolution runs before the recurrence; it remembers all of them but
    the last."""
    convolves_keys: bool = True
    """Whether keys and queries go through it too, or the values alone."""
    flop_per_value: Annotated[float, Field(ge=0)] = 5.0
    """For each value of the state and each token."""
    state_dtype: Dtype = "fp32"
    compute_dtype: Dtype = "bf16"
    bits_per_weight: Bits = 0.0
    """Of the convolution; 0: 16."""

    @property
    def convolved_width(self) -> int:
        """Values of a token that go through the convolution: queries, keys, values."""
        values = self.heads * self.value_width
        if not self.convolves_keys:
            return values
        return 2 * self.key_heads * self.key_width + values

    @property
    def parameters(self) -> float:
        """Of the convolution."""
        if self.convolved_tokens == 1:
            return 0.0
        return float(self.convolved_tokens) * self.convolved_width

    @property
    def weight_bytes(self) -> float:
        return (self.bits_per_weight or 16.0) / 8 * self.parameters

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        heads = self.heads / tensor_parallel
        key_heads = max(1.0, self.key_heads / tensor_parallel)
        stream = stream_bytes_of(self.compute_dtype)

        values = heads * self.key_width * self.value_width
        width = 2 * key_heads * self.key_width + heads * self.value_width
        convolved = width if self.convolves_keys else heads * self.value_width
        remembered = (self.convolved_tokens - 1) * convolved * stream
        moved = (width + heads * self.value_width) * stream

        # One multiplication and one addition for each weight, which takes two bytes: the same 2.
        convolution = 2.0 * self.convolved_tokens * convolved
        convolves = self.convolved_tokens > 1

        return Demand(
            flop_per_token=self.flop_per_value * values + convolution,
            weight_bytes=convolution * (self.bits_per_weight or 16.0) / 16 if convolves else 0.0,
            read_bytes_per_token=width * stream,
            written_bytes_per_token=heads * self.value_width * stream,
            state_bytes_per_sequence=values * bytes_of(self.state_dtype) + remembered,
            kernels=2.0 if convolves else 1.0,
            shuffled_bytes_per_token=moved,
            activation_bytes_per_token=moved,
        )


class Experts(Record):
    """Routed feed-forward experts, of which each token uses a few."""

    kind: Literal["experts"] = "experts"
    name: str
    experts: Width
    experts_active: Width
    inputs: Width
    hidden: Width
    """Inner width of one expert."""
    matrices: Annotated[int, Field(ge=2, le=3)]
    """3 with a gate, 2 without."""
    weight_dtype: Dtype
    compute_dtype: Dtype
    density: Density = 1.0
    """As of a matmul."""
    pattern: Zeros | Literal[""] = ""
    groups: Width = 1
    """Of neighbouring experts, of which a token chooses `groups_active` before it chooses
    experts."""
    groups_active: Width = 1
    natively: bool = False
    """As of a matmul."""
    bits_per_weight: Bits = 0.0
    """As of a matmul."""
    biased: bool = False
    """Whether biases are added to what each of its matrices gives; kept at 16 bit."""

    @model_validator(mode="after")
    def check_groups(self) -> Self:
        group_fault = routing_fault(
            self.experts, self.experts_active, self.groups, self.groups_active
        )
        if group_fault:
            raise InputError(f"Experts.groups: {group_fault}")
        return self

    @property
    def parameters(self) -> float:
        return float(self.experts) * self.matrices * self.inputs * self.hidden + self._biases

    @property
    def weight_bytes(self) -> float:
        stored = stored_bytes_of(
            self.weight_dtype, self.density, self.pattern, self.bits_per_weight
        )
        return (self.parameters - self._biases) * stored + self.bias_bytes

    @property
    def bias_bytes(self) -> float:
        """Of its biases, at 16 bit. [B]"""
        return 2.0 * self._biases

    @property
    def _biases(self) -> float:
        """Of all experts."""
        if not self.biased:
            return 0.0
        return float(self.experts) * ((self.matrices - 1) * self.hidden + self.inputs)

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        """Split over max(tensor, expert) chips: whole experts first, then each expert's
        matrices.

        Where the experts do not divide, each group holds as many as the fullest: the places left
        over hold some of them twice, and tokens go to all places alike.
        """
        ways = max(tensor_parallel, expert_parallel)
        places = self._places(expert_parallel)
        # Attention is data parallel beyond the tensor group, so experts get the tokens of several.
        tokens = max(1.0, expert_parallel / tensor_parallel)
        stream = stream_bytes_of(self.compute_dtype)

        each = self.experts_active * self.matrices * float(self.inputs) * self.hidden
        routed = self.experts_active * tokens / ways
        through = routed * (self.inputs + self.hidden) * stream

        # Within the tensor group every chip has every token, and the outputs are summed. Across
        # it tokens travel to their experts' chips and back, and then the group gathers them.
        across = expert_parallel > tensor_parallel
        grouped = self.inputs * stream if tensor_parallel > 1 else 0.0
        # The ranks of a tensor group each send a part of its tokens.
        sent = self.inputs / tensor_parallel if across else 0.0

        return Demand(
            flop_per_token=2.0 * each * tokens / ways,
            sparse_bytes=self.weight_bytes * (places / self.experts) / ways,
            sparse_parts=places,
            sparse_parts_active=float(self.experts_active),
            sparse_tokens_per_token=tokens,
            sparse_groups=float(expert_parallel),
            sparse_spread=most_of_normal(expert_parallel),
            read_bytes_per_token=through,
            written_bytes_per_token=through,
            kernels=3.0,
            reduced_bytes_per_token=0.0 if across else grouped,
            gathered_bytes_per_token=grouped if across else 0.0,
            dispatched_bytes_per_token=sent * dispatched_bytes_of(self.compute_dtype),
            combined_bytes_per_token=sent * stream,
            activation_bytes_per_token=routed * (2 * self.inputs + 2 * self.hidden) * stream,
        )

    def copies(self, units: int, expert_parallel: int) -> float:
        """To how many of so many units, ranks or nodes, that share the experts out a token goes on
        average: once to each that holds any of its experts."""
        return units_touched(
            units,
            places=self._places(expert_parallel),
            active=self.experts_active,
            groups=self.groups,
            groups_active=self.groups_active,
        )

    def _places(self, expert_parallel: int) -> float:
        """For experts: as many as of the fullest on each of the ranks that share them out."""
        return float(math.ceil(self.experts / expert_parallel) * expert_parallel)


class Embedding(Record):
    """A table look-up, split over the vocabulary."""

    kind: Literal["embedding"] = "embedding"
    name: str
    vocabulary: Width
    width: Width
    weight_dtype: Dtype
    tokens_factor: Factor = 1.0
    bits_per_weight: Bits = 0.0
    """As of a matmul."""

    @property
    def parameters(self) -> float:
        return float(self.vocabulary) * self.width

    @property
    def weight_bytes(self) -> float:
        return self.parameters * stored_bytes_of(self.weight_dtype, bits=self.bits_per_weight)

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        row = self.width * stream_bytes_of(self.weight_dtype)
        return Demand(
            sparse_bytes=self.weight_bytes / tensor_parallel,
            sparse_parts=float(self.vocabulary),
            written_bytes_per_token=row,
            reduced_bytes_per_token=row if tensor_parallel > 1 else 0.0,
            activation_bytes_per_token=row,
        ).for_tokens(self.tokens_factor)


class Pointwise(Record):
    """Normalisation, rotation, activation, residual: one pass over the stream, bound by memory."""

    kind: Literal["pointwise"] = "pointwise"
    name: str
    width: Width
    weights: Annotated[int, Field(ge=0)] = 0
    """Parameters, such as a norm's scale."""
    weight_dtype: Dtype = "bf16"
    """What they, and the values, are kept in: values in 16 bit at least."""
    bits_per_weight: Bits = 0.0
    """Where a file keeps its vectors otherwise than the values; 0: as these."""
    flop_per_value: Annotated[float, Field(ge=0)] = 4.0
    split: bool = False
    """Whether it works on a shard: an activation between a column and a row split."""
    tokens_factor: Factor = 1.0

    @property
    def parameters(self) -> float:
        return float(self.weights)

    @property
    def weight_bytes(self) -> float:
        each = self.bits_per_weight / 8 if self.bits_per_weight else bytes_of(self.weight_dtype)
        return each * self.weights

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        width = self.width / tensor_parallel if self.split else float(self.width)
        stream = stream_bytes_of(self.weight_dtype)
        return Demand(
            flop_per_token=self.flop_per_value * width,
            weight_bytes=self.weight_bytes,
            read_bytes_per_token=stream * width,
            written_bytes_per_token=stream * width,
            activation_bytes_per_token=2.0 * stream * width,
        ).for_tokens(self.tokens_factor)


class Contraction(Record):
    """A convolution, a product of two activations or any other sum over indices, by its figures: as
    a traced program states it, whose inputs have no one width. Every chip of a group does all of
    it."""

    kind: Literal["contraction"] = "contraction"
    name: str
    flop_per_token: Annotated[float, Field(ge=0, le=1e24)]
    weights: Annotated[int, Field(ge=0, le=10**15)] = 0
    """Parameters, biases included; 0 where activations meet activations."""
    stored_bytes: Annotated[float, Field(ge=0, le=1e16)] = 0.0
    """Of all of them."""
    weight_dtype: Dtype
    compute_dtype: Dtype
    read_bytes_per_token: Annotated[float, Field(ge=0, le=1e16)]
    """Activations alone."""
    written_bytes_per_token: Annotated[float, Field(ge=0, le=1e16)]

    @property
    def parameters(self) -> float:
        return float(self.weights)

    @property
    def weight_bytes(self) -> float:
        return self.stored_bytes

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        return Demand(
            flop_per_token=self.flop_per_token,
            weight_bytes=self.stored_bytes,
            read_bytes_per_token=self.read_bytes_per_token,
            written_bytes_per_token=self.written_bytes_per_token,
            activation_bytes_per_token=self.read_bytes_per_token + self.written_bytes_per_token,
        )


LayerOperator = Annotated[
    MatMul | Attention | Indexer | Recurrent | Experts | Embedding | Pointwise | Contraction,
    Field(discriminator="kind"),
]
"""What a layer is made of; told apart by `kind`, in JSON too."""
