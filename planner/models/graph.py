"""`ModelGraph`: a model as a DAG of layers, each made of operators that know their own arithmetic.

An operator states its shape; `demand(tensor_parallel, expert_parallel)` turns it into the coefficients of what one chip
of a group has to do when the operator is split over the group (whole: 1, 1). Column-split matmuls need no message,
row-split ones a sum over the group, heads and experts move whole.
"""

import graphlib
import itertools
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from planner.errors import InputError, listed, shortened
from planner.models.demand import UNLIMITED_TOKENS, Demand, Numbers, most_of_normal
from planner.models.dtypes import Dtype, Zeros, bytes_of, stored_bytes_of, stream_bytes_of
from planner.records import Record

if TYPE_CHECKING:
    import networkx as nx

Width = Annotated[int, Field(ge=1, le=100_000_000)]
ENDS = ("embedding", "head", "pooler")
"""Kinds of layer that stand around the layers of a model."""

Density = Annotated[float, Field(gt=0, le=1)]
Factor = Annotated[float, Field(gt=0, le=1e9)]
"""Tokens that an operator works on for each token of the step: below 1 for a text beside a picture, or a coarse level."""


class MatMul(Record):
    """`tokens × inputs` by `inputs × outputs`."""

    kind: Literal["matmul"] = "matmul"
    name: str
    inputs: Width
    outputs: Width
    weight_dtype: Dtype
    compute_dtype: Dtype
    split: Literal["outputs", "inputs", "none"]
    """Outputs: a column split, each chip makes some of the outputs. Inputs: a row split, the outputs are summed."""
    most_ways: Width = 100_000_000
    """Beyond so many ways the shards repeat each other: the key and value heads of a grouped attention."""
    summed: bool = True
    """Whether a row split sums its outputs at once; false where a later row split sums both."""
    rows: Literal["tokens", "sequences"] = "tokens"
    """Sequences: one row for each sequence, as in a language-model head."""
    fused: bool = False
    """Whether it is launched together with the matmul before it, as keys and values are with queries."""
    tied_to: str = ""
    """The layer whose weights it reads in place of its own; a chip that holds both holds them once."""
    density: Density = 1.0
    """Share of its weights that pruning has left; chips that skip the pattern do so much of the arithmetic."""
    pattern: Zeros | Literal[""] = ""
    """How the zeros of a pruned matrix lie."""
    positions: Width = 1
    """Neighbours that each output sees, itself included: 9 in a convolution of 3 × 3. They are read from memory once."""
    tokens_factor: Factor = 1.0

    @property
    def parameters(self) -> float:
        """Those of the dense matrix, pruned or not."""
        return 0.0 if self.tied_to else float(self.inputs) * self.outputs * self.positions

    @property
    def weight_bytes(self) -> float:
        return self.parameters * stored_bytes_of(self.weight_dtype, self.density, self.pattern)

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        ways = 1 if self.split == "none" else min(tensor_parallel, self.most_ways)
        inputs = self.inputs / ways if self.split == "inputs" else float(self.inputs)
        outputs = self.outputs / ways if self.split == "outputs" else float(self.outputs)
        stream, weights = stream_bytes_of(self.compute_dtype), inputs * outputs * self.positions
        flop, stored = 2.0 * weights, weights * stored_bytes_of(self.weight_dtype, self.density, self.pattern)
        shared = tensor_parallel > 1 and self.split == "inputs" and self.summed
        if self.rows == "sequences":
            return Demand(
                flop_per_sequence=flop,
                weight_bytes=stored,
                io_bytes_per_sequence=(inputs + outputs) * stream,
                gathered_bytes_per_sequence=self.outputs * stream if ways > 1 else 0.0,
            )
        return Demand(
            flop_per_token=flop,
            weight_bytes=stored,
            read_bytes_per_token=inputs * stream,
            written_bytes_per_token=outputs * stream,
            reduced_bytes_per_token=self.outputs * stream if shared else 0.0,
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
    causal: bool = True
    """Whether a token sees just those before it; else its whole sequence, twice as much on average."""
    cached: bool = True
    """Whether keys and values are kept for later tokens; an encoder has none."""
    fixed_tokens: Annotated[int, Field(ge=0)] = 0
    """Keys that every token sees in place of its sequence's own: a text in cross attention, and the width of a head in
    linear attention, whose state is as large; 0: its sequence's."""
    tokens_factor: Factor = 1.0

    @property
    def parameters(self) -> float:
        return 0.0

    @property
    def weight_bytes(self) -> float:
        return 0.0

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        heads = self.heads / tensor_parallel
        kv_heads = max(1.0, self.kv_heads / tensor_parallel)
        stream = stream_bytes_of(self.compute_dtype)
        each, of_keys = 2.0 * heads * (self.key_width + self.value_width), kv_heads * self.cached_width
        seen = 0.0 if self.fixed_tokens else 1.0 if self.causal else 2.0  # a causal token sees half of its prompt
        shuffled = heads * (self.key_width + self.value_width) + of_keys
        return Demand(
            flop_per_token=each * self.fixed_tokens,
            flop_per_token_context=each * seen,
            decode_flop_per_token_context=2.0
            * heads
            * (self.decode_key_width + self.decode_value_width)
            * min(1.0, seen),
            read_bytes_per_token=(heads * self.key_width + (0.0 if self.cached or self.fixed_tokens else of_keys))
            * stream,
            written_bytes_per_token=heads * self.value_width * stream,
            kv_bytes_per_token=of_keys * bytes_of(self.kv_dtype) if self.cached else 0.0,
            window_tokens=float(self.window_tokens or UNLIMITED_TOKENS),
            shuffled_bytes_per_token=0.0 if self.fixed_tokens else shuffled * stream,
            activation_bytes_per_token=heads * (self.key_width + self.value_width) * stream,
        ).for_tokens(self.tokens_factor)


class Recurrent(Record):
    """Linear attention or a state space: every head keeps one matrix, which each token of its sequence updates and reads.

    Projections around it are matmuls of their own. Operations for a value of the state and a token: Mamba-2 [1] decays it
    (1), adds a product (2) and reads it out (2); the gated delta rule [2] also reads it before it writes (2).

    [1] T. Dao, A. Gu, "Transformers are SSMs", ICML 2024. [2] S. Yang et al., "Gated delta networks", ICLR 2025.
    """

    kind: Literal["recurrent"] = "recurrent"
    name: str
    heads: Width
    key_heads: Width
    """Keys and queries (in a state space: input and output maps), shared by the heads of a group."""
    key_width: Width
    """Of one head: rows of its state."""
    value_width: Width
    """Of one head: columns of its state."""
    convolved_tokens: Width = 1
    """Over which a short convolution runs before the recurrence; it remembers all of them but the last."""
    flop_per_value: Annotated[float, Field(ge=0)] = 5.0
    """For each value of the state and each token."""
    state_dtype: Dtype = "fp32"
    compute_dtype: Dtype = "bf16"

    @property
    def convolved_width(self) -> int:
        """Values of a token that go through the convolution: queries, keys, values."""
        return 2 * self.key_heads * self.key_width + self.heads * self.value_width

    @property
    def parameters(self) -> float:
        """Of the convolution."""
        return float(self.convolved_tokens) * self.convolved_width if self.convolved_tokens > 1 else 0.0

    @property
    def weight_bytes(self) -> float:
        return 2.0 * self.parameters

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        heads = self.heads / tensor_parallel
        key_heads = max(1.0, self.key_heads / tensor_parallel)
        stream = stream_bytes_of(self.compute_dtype)
        values = heads * self.key_width * self.value_width
        width = 2 * key_heads * self.key_width + heads * self.value_width
        remembered = (self.convolved_tokens - 1) * width * stream
        moved = (width + heads * self.value_width) * stream
        return Demand(
            flop_per_token=self.flop_per_value * values + 2.0 * self.convolved_tokens * width,
            weight_bytes=2.0 * self.convolved_tokens * width if self.convolved_tokens > 1 else 0.0,
            read_bytes_per_token=width * stream,
            written_bytes_per_token=heads * self.value_width * stream,
            state_bytes_per_sequence=values * bytes_of(self.state_dtype) + remembered,
            kernels=2.0 if self.convolved_tokens > 1 else 1.0,
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

    @property
    def parameters(self) -> float:
        return float(self.experts) * self.matrices * self.inputs * self.hidden

    @property
    def weight_bytes(self) -> float:
        return self.parameters * stored_bytes_of(self.weight_dtype, self.density, self.pattern)

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        """Split over max(tensor, expert) chips: whole experts first, then each expert's matrices."""
        ways = max(tensor_parallel, expert_parallel)
        tokens = max(1.0, expert_parallel / tensor_parallel)  # attention is data parallel beyond the tensor group
        stream = stream_bytes_of(self.compute_dtype)
        each = self.experts_active * self.matrices * float(self.inputs) * self.hidden
        routed = self.experts_active * tokens / ways
        across = expert_parallel > tensor_parallel
        moved = self.experts_active * self.inputs * stream / tensor_parallel
        return Demand(
            flop_per_token=2.0 * each * tokens / ways,
            sparse_bytes=self.weight_bytes / ways,
            sparse_parts=float(self.experts),
            sparse_parts_active=float(self.experts_active),
            sparse_tokens_per_token=tokens,
            sparse_groups=float(expert_parallel),
            sparse_spread=most_of_normal(expert_parallel),
            read_bytes_per_token=routed * (self.inputs + self.hidden) * stream,
            written_bytes_per_token=routed * (self.inputs + self.hidden) * stream,
            kernels=3.0,
            reduced_bytes_per_token=self.inputs * stream if tensor_parallel > 1 and not across else 0.0,
            gathered_bytes_per_token=self.inputs * stream if tensor_parallel > 1 and across else 0.0,
            exchanged_bytes_per_token=moved if across else 0.0,
            activation_bytes_per_token=routed * (2 * self.inputs + 2 * self.hidden) * stream,
        )


class Embedding(Record):
    """A table look-up, split over the vocabulary."""

    kind: Literal["embedding"] = "embedding"
    name: str
    vocabulary: Width
    width: Width
    weight_dtype: Dtype
    tokens_factor: Factor = 1.0

    @property
    def parameters(self) -> float:
        return float(self.vocabulary) * self.width

    @property
    def weight_bytes(self) -> float:
        return self.parameters * bytes_of(self.weight_dtype)

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        stream = stream_bytes_of(self.weight_dtype)
        return Demand(
            sparse_bytes=self.weight_bytes / tensor_parallel,
            sparse_parts=float(self.vocabulary),
            written_bytes_per_token=self.width * stream,
            reduced_bytes_per_token=self.width * stream if tensor_parallel > 1 else 0.0,
            activation_bytes_per_token=self.width * stream,
        ).for_tokens(self.tokens_factor)


class Pointwise(Record):
    """Normalisation, rotation, activation, residual: one pass over the stream, bound by memory."""

    kind: Literal["pointwise"] = "pointwise"
    name: str
    width: Width
    weights: Annotated[int, Field(ge=0)] = 0
    """Parameters, such as a norm's scale; kept at 16 bit."""
    flop_per_value: Annotated[float, Field(ge=0)] = 4.0
    split: bool = False
    """Whether it works on a shard: an activation between a column and a row split."""
    tokens_factor: Factor = 1.0

    @property
    def parameters(self) -> float:
        return float(self.weights)

    @property
    def weight_bytes(self) -> float:
        return 2.0 * self.weights

    def demand(self, tensor_parallel: int = 1, expert_parallel: int = 1) -> Demand:
        width = self.width / tensor_parallel if self.split else float(self.width)
        return Demand(
            flop_per_token=self.flop_per_value * width,
            weight_bytes=self.weight_bytes,
            read_bytes_per_token=2.0 * width,
            written_bytes_per_token=2.0 * width,
            activation_bytes_per_token=4.0 * width,
        ).for_tokens(self.tokens_factor)


Operator = Annotated[MatMul | Attention | Recurrent | Experts | Embedding | Pointwise, Field(discriminator="kind")]


class Layer(Record):
    """A node of the graph: the smallest piece that a stage takes whole."""

    name: str
    kind: str
    """What its equals are called: "decoder", "encoder", "embedding", "head", "pooler"."""
    operators: tuple[Operator, ...]
    activation_width: Width
    """Values that it hands on for one token."""
    activation_dtype: Dtype = "bf16"
    runs_per_sample: Annotated[int, Field(ge=0, le=1)] | None = None
    """Of a diffusion model: None in every step; 1 once for each sample, whole on every group of chips; 0 is just held,
    for the steps in which it takes the turn of a twin that is counted in all of them."""

    @property
    def parameters(self) -> float:
        """Number of weights."""
        return sum(operator.parameters for operator in self.operators)

    @property
    def weight_bytes(self) -> float:
        return sum(operator.weight_bytes for operator in self.operators)

    def weight_bytes_by_dtype(self) -> dict[str, float]:
        """Bytes of the weights stored in each format. [B]"""
        totals: dict[str, float] = {}
        for operator in self.operators:
            if operator.weight_bytes:
                dtype = getattr(operator, "weight_dtype", "bf16")
                totals[dtype] = totals.get(dtype, 0.0) + operator.weight_bytes
        return totals

    @property
    def kv_bytes_per_token(self) -> float:
        """KV cache of one token of one sequence. [B]"""
        return float(sum(operator.demand().kv_bytes_per_token for operator in self.operators))

    @property
    def state_bytes_per_sequence(self) -> float:
        """What recurrences remember of one sequence, however long. [B]"""
        return float(sum(operator.demand().state_bytes_per_sequence for operator in self.operators))

    @property
    def activation_bytes_per_token(self) -> float:
        """What it hands on for one token. [B]"""
        return self.activation_width * stream_bytes_of(self.activation_dtype)

    def flop(self, tokens: Numbers, context_tokens: Numbers, sequences: Numbers) -> Numbers:
        """Operations of a step of `tokens` tokens of `sequences` sequences over `context_tokens` each. [FLOP]"""
        decode = bool(np.all(np.asarray(tokens) == np.asarray(sequences)))
        return sum(operator.demand().flop(tokens, context_tokens, sequences, decode) for operator in self.operators)

    def read_bytes(self, tokens: Numbers, context_tokens: Numbers, sequences: Numbers) -> Numbers:
        """Weights, KV cache, state and activations read in the step. [B]"""
        return sum(operator.demand().read_bytes(tokens, context_tokens, sequences) for operator in self.operators)

    def written_bytes(self, tokens: Numbers, sequences: Numbers) -> Numbers:
        """Activations and KV cache written in the step. [B]"""
        return sum(operator.demand().written_bytes(tokens, sequences) for operator in self.operators)

    def splits(self) -> dict[str, int]:
        """How many ways it can be shared out: "heads", "kv_heads", "experts" (those that it has)."""
        found: dict[str, int] = {}
        for operator in self.operators if self.runs_per_sample != 1 else ():
            if isinstance(operator, Attention):
                found |= {"heads": operator.heads, "kv_heads": operator.kv_heads}
            if isinstance(operator, Recurrent):
                found |= {"heads": operator.heads, "kv_heads": operator.key_heads}
            if isinstance(operator, Experts):
                found["experts"] = operator.experts
        return found


class ModelGraph(Record):
    """A model: layers, and which hands its activation to which."""

    name: str
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=100_000)]
    """In an order in which they can run."""
    edges: tuple[tuple[str, str], ...]
    """From layer, to layer."""
    weight_dtype: Dtype
    kv_dtype: Dtype
    activation_dtype: Dtype
    """What matmuls multiply in; the stream between layers stays at 16 bit."""
    parameters_active: Annotated[float, Field(ge=0)]
    """Weights that one token uses, the embedding included."""
    most_context_tokens: Annotated[int, Field(ge=0)] = 0
    """The longest context that the model was made for; 0 where it is not known."""
    sparsity: str = ""
    """How its layers are pruned: "2:4", or the share of zeros, such as "90%"."""
    source: str = ""
    confidence: str = ""
    steps: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Denoising steps of one sample of a diffusion model; 0: a language model."""
    tokens_per_sample: Annotated[float, Field(ge=0, le=1e12)] = 0
    """Latent tokens of one picture or video."""
    passes_per_step: Annotated[int, Field(ge=1, le=8)] = 1
    """Of each sample through the denoiser: 2 with classifier-free guidance."""

    @model_validator(mode="after")
    def check_steps(self) -> Self:
        if self.is_diffusion and self.tokens_per_sample < 1:
            raise InputError("ModelGraph.tokens_per_sample: a diffusion model needs at least one token in each sample")
        return self

    @model_validator(mode="after")
    def check_edges(self) -> Self:
        names = {layer.name: number for number, layer in enumerate(self.layers)}
        if len(names) < len(self.layers):
            repeated = next(layer.name for n, layer in enumerate(self.layers) if names[layer.name] != n)
            raise InputError(f"ModelGraph.layers: two layers are called {shortened(repeated)!r}; names must be unique")
        sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
        for sender, receiver in self.edges:
            for end in (sender, receiver):
                if end not in names:
                    raise InputError(f"ModelGraph.edges: there is no layer called {shortened(end)!r}")
            sorter.add(receiver, sender)
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            ring = listed([shortened(name, 20) for name in error.args[1][:5]], "then")
            raise InputError(
                f"ModelGraph.edges: the layers form a cycle ({ring}); a model graph must be acyclic"
            ) from None
        for sender, receiver in self.edges:
            if names[sender] > names[receiver]:
                raise InputError(
                    f"ModelGraph.layers: {shortened(receiver)!r} stands before {shortened(sender)!r}, which feeds it"
                )
        return self

    @property
    def parameters(self) -> float:
        return sum(kind[0].parameters * count for kind, count in zip(self.kinds, self.kind_counts, strict=True))

    @property
    def weight_bytes(self) -> float:
        return sum(kind[0].weight_bytes * count for kind, count in zip(self.kinds, self.kind_counts, strict=True))

    @property
    def kv_bytes_per_token(self) -> float:
        """KV cache of one token of one sequence, all layers. [B]"""
        return sum(kind[0].kv_bytes_per_token * count for kind, count in zip(self.kinds, self.kind_counts, strict=True))

    @property
    def state_bytes_per_sequence(self) -> float:
        """What the recurrences of all layers remember of one sequence. [B]"""
        each = (kind[0].state_bytes_per_sequence for kind in self.kinds)
        return sum(state * count for state, count in zip(each, self.kind_counts, strict=True))

    @property
    def is_diffusion(self) -> bool:
        """Whether it makes samples in steps, and not tokens."""
        return self.steps > 0

    @property
    def makes_tokens(self) -> bool:
        """Whether it makes tokens one after the other: it ends in a language-model head."""
        return self.layers[-1].kind == "head" and not self.is_diffusion

    def cut(self, layers: int) -> Self:
        """The same with its ends and the last `layers` of the layers between them: the shape of a prediction head (MTP, EAGLE)
        that drafts for it."""
        inner = [layer for layer in self.layers if layer.kind not in ENDS]
        if not self.is_chain or not 1 <= layers <= len(inner):
            raise InputError(f"layers must lie between 1 and the {len(inner)} of {self.name}, a chain, not {layers!r}")
        last = {layer.name for layer in inner[-layers:]}
        kept = tuple(layer for layer in self.layers if layer.kind in ENDS or layer.name in last)
        active = sum(
            operator.parameters * (operator.experts_active / operator.experts if isinstance(operator, Experts) else 1.0)
            for layer in kept
            for operator in layer.operators
        )
        name = f"{layers} layer{'s' * (layers > 1)} of {self.name}"
        return self.replace(name=name, layers=kept, edges=chain_edges(kept), parameters_active=active)

    @property
    def is_chain(self) -> bool:
        """Whether each layer feeds just the next."""
        return self.edges == tuple(
            (before.name, after.name) for before, after in zip(self.layers, self.layers[1:], strict=False)
        )

    @cached_property
    def tied_layers(self) -> tuple[tuple[int, int], ...]:
        """Pairs of positions: a layer that reads another's weights, and that other."""
        tied = {number: kind[0] for number, kind in enumerate(self.kinds)}
        readers = {
            number: operator.tied_to
            for number, layer in tied.items()
            for operator in layer.operators
            if isinstance(operator, MatMul) and operator.tied_to
        }
        return tuple(
            (place, self.position_of_layer[readers[int(kind)]])
            for place, kind in enumerate(self.kind_of_layer)
            if int(kind) in readers
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the layers, in order."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def position_of_layer(self) -> dict[str, int]:
        """Of each layer, by its name."""
        return {layer.name: number for number, layer in enumerate(self.layers)}

    @cached_property
    def kinds(self) -> tuple[tuple[Layer, ...], ...]:
        """Layers with the same operators, together; in order of first appearance."""
        return self._grouped[0]

    @cached_property
    def kind_of_layer(self) -> NDArray[np.intp]:
        """For each layer the number of its kind, shape (layers,)."""
        return self._grouped[1]

    @property
    def kind_counts(self) -> tuple[int, ...]:
        return tuple(len(kind) for kind in self.kinds)

    @cached_property
    def _grouped(self) -> tuple[tuple[tuple[Layer, ...], ...], NDArray[np.intp]]:
        by_identity: dict[tuple[int, int | None], int] = {}
        by_shape: dict[tuple[Any, ...], int] = {}
        members: list[list[Layer]] = []
        numbers = np.empty(len(self.layers), dtype=np.intp)
        for position, layer in enumerate(self.layers):
            identity = (id(layer.operators), layer.runs_per_sample)
            number = by_identity.get(identity)
            if number is None:
                shape = (layer.operators, layer.activation_width, layer.activation_dtype, layer.runs_per_sample)
                number = by_shape.setdefault(shape, len(members))
                by_identity[identity] = number
                if number == len(members):
                    members.append([])
            members[number].append(layer)
            numbers[position] = number
        numbers.setflags(write=False)
        return tuple(tuple(kind) for kind in members), numbers

    def splits(self) -> dict[str, tuple[int, ...]]:
        """All the head, key-value-head and expert counts of the layers, sorted."""
        return dict(self._splits)

    @cached_property
    def _splits(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, set[int]] = {}
        for kind in self.kinds:
            for name, ways in kind[0].splits().items():
                found.setdefault(name, set()).add(ways)
        return {name: tuple(sorted(ways)) for name, ways in found.items()}

    def to_networkx(self) -> "nx.DiGraph[str]":
        """The layers as nodes (attributes: kind, parameters, weight_bytes, kv_bytes_per_token) and the edges, with the
        activation's bytes for one token."""
        import networkx as nx

        drawn: nx.DiGraph[str] = nx.DiGraph(name=self.name)
        for layer in self.layers:
            drawn.add_node(
                layer.name, kind=layer.kind, parameters=layer.parameters, weight_bytes=layer.weight_bytes,
                kv_bytes_per_token=layer.kv_bytes_per_token,
            )  # fmt: skip
        handed = {layer.name: layer.activation_bytes_per_token for layer in self.layers}
        drawn.add_edges_from((a, b, {"activation_bytes_per_token": handed[a]}) for a, b in self.edges)
        return drawn


def chain_edges(layers: tuple[Layer, ...]) -> tuple[tuple[str, str], ...]:
    """The edges of a chain."""
    return tuple((before.name, after.name) for before, after in itertools.pairwise(layers))
