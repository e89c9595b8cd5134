"""`ModelGraph`: a model as a DAG of layers, each made of operators that know their own arithmetic.

An operator states its shape; `demand(tensor_parallel, expert_parallel)` turns it into the
coefficients of what one chip of a group has to do when the operator is split over the group (whole:
1, 1). Column-split matmuls need no message, row-split ones a sum over the group, heads and experts
move whole.
"""

import graphlib
import itertools
import math
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from planner.errors import InputError, listed, nearest_names, shortened, told
from planner.models.demand import Demand, Numbers, stacked
from planner.models.dtypes import Dtype, stream_bytes_of
from planner.models.operators import (
    Attention,
    Experts,
    LayerOperator,
    MatMul,
    Pointwise,
    Recurrent,
    Width,
)
from planner.records import Record

if TYPE_CHECKING:
    import networkx as nx

Sort = tuple[str, str, str, bool]
"""What operators do alike: their kind, what they multiply in, what their weights are stored in, and
whether the machine chooses the former."""

STORED_IN = {"attention": "kv_dtype", "indexer": "key_dtype"}
"""Which field says in what format an operator of a kind reads most, where it is not the weights'."""

EMBEDDING = "embedding"
ENDS = (EMBEDDING, "head", "pooler")
"""Kinds of layer that stand around the layers of a model."""

FEED_FORWARD = "feed-forward"
"""Kind of a layer whose other half runs on another machine (see `models.halves`)."""


class Layer(Record):
    """A node of the graph: the smallest piece of a model that a plan places as a whole."""

    name: str
    kind: str
    """What its equals are called: "decoder", "encoder", "embedding", "head", "pooler"."""
    operators: tuple[LayerOperator, ...]
    activation_width: Width
    """Values that it hands on for one token."""
    activation_dtype: Dtype = "bf16"
    runs_per_sample: Annotated[int, Field(ge=0, le=1)] | None = None
    """Of a diffusion model: None in every step; 1 once for each sample, whole on every group of
    chips; 0 is just held, for the steps in which it takes the turn of a twin that is counted in
    all of them."""

    @property
    def parameters(self) -> float:
        """Number of weights."""
        return sum(operator.parameters for operator in self.operators)

    @property
    def weight_bytes(self) -> float:
        return sum(operator.weight_bytes for operator in self.operators)

    @property
    def parameters_active(self) -> float:
        """Of its weights those that one token uses: of experts the active ones."""
        active = 0.0
        for operator in self.operators:
            share = 1.0
            if isinstance(operator, Experts):
                share = operator.experts_active / operator.experts
            active += operator.parameters * share
        return active

    @property
    def tied_to(self) -> str:
        """The layer whose weights it reads in place of its own; "": none."""
        matmuls = (operator for operator in self.operators if isinstance(operator, MatMul))
        lenders = [matmul.tied_to for matmul in matmuls if matmul.tied_to]
        return lenders[-1] if lenders else ""

    @property
    def shape(self) -> tuple[Any, ...]:
        """What two layers have in common that are of one kind: all but their names."""
        return (
            self.operators,
            self.activation_width,
            self.activation_dtype,
            self.runs_per_sample,
        )

    def weight_bytes_by_dtype(self) -> dict[str, float]:
        """Bytes of the weights stored in each format. [B]"""
        totals: dict[str, float] = {}
        for operator in self.operators:
            if operator.weight_bytes:
                dtype = getattr(operator, "weight_dtype", "bf16")
                biases = getattr(operator, "bias_bytes", 0.0)
                totals[dtype] = totals.get(dtype, 0.0) + operator.weight_bytes - biases
                if biases:
                    totals["bf16"] = totals.get("bf16", 0.0) + biases
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
        """Operations of a step of `tokens` tokens of `sequences` sequences over `context_tokens`
        each. [FLOP]"""
        decode = bool(np.all(np.asarray(tokens) == np.asarray(sequences)))
        return sum(
            operator.demand().flop(tokens, context_tokens, sequences, decode)
            for operator in self.operators
        )

    def read_bytes(self, tokens: Numbers, context_tokens: Numbers, sequences: Numbers) -> Numbers:
        """Weights, KV cache, state and activations read in the step. [B]"""
        return sum(
            operator.demand().read_bytes(tokens, context_tokens, sequences)
            for operator in self.operators
        )

    def written_bytes(self, tokens: Numbers, sequences: Numbers) -> Numbers:
        """Activations and KV cache written in the step. [B]"""
        return sum(
            operator.demand().written_bytes(tokens, sequences) for operator in self.operators
        )

    def splits(self) -> dict[str, int]:
        """How many ways it can be shared out: "heads", "kv_heads", "experts" (those that it has);
        where it has several of one kind, those that share out all of them."""
        found: dict[str, int] = {}
        for name, ways in self.every_split():
            found[name] = math.gcd(found.get(name, 0), ways)
        return found

    def every_split(self) -> tuple[tuple[str, int], ...]:
        """The same of each operator by itself: a layer may have several attentions, or one beside
        a recurrence."""
        if self.runs_per_sample == 1:
            return ()
        found: list[tuple[str, int]] = []
        for operator in self.operators:
            if isinstance(operator, Attention):
                found += [("heads", operator.heads), ("kv_heads", operator.kv_heads)]
            if isinstance(operator, Recurrent):
                found += [("heads", operator.heads), ("kv_heads", operator.key_heads)]
            if isinstance(operator, Experts):
                found.append(("experts", operator.experts))
        return tuple(found)


class ModelGraph(Record):
    """A model: layers, and which hands its activation to which."""

    name: str
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=100_000)]
    """In an order in which they can run."""
    edges: tuple[tuple[str, str], ...]
    """From layer, to layer."""
    weight_dtype: Dtype
    weight_block: Width | None = None
    """Neighbours, along inputs and along outputs, whose weights share one scale in the published
    checkpoint; None: no blocks are stated, as where a scale stands for a whole matrix."""
    kv_dtype: Dtype
    activation_dtype: Dtype
    """What matmuls multiply in, where the machine does not choose it; the stream between layers
    stays at 16 bit."""
    parameters_active: Annotated[float, Field(ge=0)]
    """Weights that one token uses, the embedding included."""
    most_context_tokens: Annotated[int, Field(ge=0)] = 0
    """The longest context that the model was made for; 0 where it is not known."""
    sparsity: str = ""
    """How its layers are pruned: "2:4", or the share of zeros, such as "90%"."""
    source: str = ""
    confidence: str = ""
    remarks: tuple[str, ...] = ()
    """How it was read, where that is not plain: what answers about it are to say."""
    steps: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Denoising steps of one sample of a diffusion model; 0: a language model."""
    tokens_per_sample: Annotated[float, Field(ge=0, le=1e12)] = 0
    """Latent tokens of one picture or video."""
    passes_per_step: Annotated[int, Field(ge=1, le=8)] = 1
    """Of each sample through the denoiser: 2 with classifier-free guidance."""

    @model_validator(mode="after")
    def check_steps(self) -> Self:
        if self.is_diffusion and self.tokens_per_sample < 1:
            raise InputError(
                "ModelGraph.tokens_per_sample: a diffusion model needs at least one token in each"
                " sample"
            )
        return self

    @model_validator(mode="after")
    def check_edges(self) -> Self:
        places: dict[str, int] = {}
        for number, layer in enumerate(self.layers):
            if layer.name in places:
                raise InputError(
                    f"ModelGraph.layers: two layers are called {shortened(layer.name)!r};"
                    " names must be unique"
                )
            places[layer.name] = number

        self._refuse_strange_ends(places)
        self._refuse_strange_lenders(places)
        # Before the order: of layers in a circle, one always stands before what feeds it, and to
        # say that would name the lesser fault.
        self._refuse_circles()
        for sender, receiver in self.edges:
            if places[sender] > places[receiver]:
                raise InputError(
                    f"ModelGraph.layers: {shortened(receiver)!r} stands before"
                    f" {shortened(sender)!r}, which feeds it"
                )
        return self

    def _refuse_strange_ends(self, places: dict[str, int]) -> None:
        for end in itertools.chain.from_iterable(self.edges):
            if end not in places:
                raise InputError(f"ModelGraph.edges: there is no layer called {shortened(end)!r}")

    def _refuse_strange_lenders(self, places: dict[str, int]) -> None:
        """Of layers that read another's weights."""
        for layer in self.layers:
            lender = layer.tied_to
            if lender and (lender not in places or lender == layer.name):
                others = [name for name in places if name != layer.name][:1000]
                near = nearest_names(lender, others)
                hint = f"; the nearest names are {listed(near)}" if near else ""
                raise InputError(
                    f"ModelGraph.layers: {shortened(layer.name)!r} is tied to"
                    f" {shortened(lender)!r}, which is no other layer of the model{hint}"
                )

    def _refuse_circles(self) -> None:
        sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
        for sender, receiver in self.edges:
            sorter.add(receiver, sender)
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            ring = listed([shortened(name, 20) for name in error.args[1][:5]], "then")
            raise InputError(
                f"ModelGraph.edges: the layers form a cycle ({ring}); a model graph must be acyclic"
            ) from None

    @property
    def parameters(self) -> float:
        return self._summed([kind[0].parameters for kind in self.kinds])

    @property
    def weight_bytes(self) -> float:
        return self._summed([kind[0].weight_bytes for kind in self.kinds])

    @property
    def kv_bytes_per_token(self) -> float:
        """KV cache of one token of one sequence, all layers. [B]"""
        return self._summed([kind[0].kv_bytes_per_token for kind in self.kinds])

    @property
    def state_bytes_per_sequence(self) -> float:
        """What the recurrences of all layers remember of one sequence. [B]"""
        return self._summed([kind[0].state_bytes_per_sequence for kind in self.kinds])

    def cache_bytes(self, context_tokens: int) -> float:
        """KV cache and state of one sequence that has grown to so many tokens, all layers; windows
        and compressed caches as they keep it. [B]

        An InputError where `context_tokens` is no whole number of at least 0.
        """
        whole = isinstance(context_tokens, int) and not isinstance(context_tokens, bool)
        if not whole or context_tokens < 0:
            raise InputError(
                "context_tokens must be a whole number of at least 0, not"
                f" {told(context_tokens, 30)}"
            )
        held = self.demand().held_kv_bytes(float(context_tokens), 1.0)
        counts = np.array(self.kind_counts, dtype=float)[self.kind_of_operator]
        return float(counts @ np.ravel(held))

    def _summed(self, of_each_kind: list[float]) -> float:
        """Over all layers, from a figure of one layer of each kind: a model has hundreds of
        layers and a few kinds."""
        pairs = zip(of_each_kind, self.kind_counts, strict=True)
        return sum(figure * count for figure, count in pairs)

    @property
    def is_diffusion(self) -> bool:
        """Whether it makes samples in steps, and not tokens."""
        return self.steps > 0

    @property
    def makes_tokens(self) -> bool:
        """Whether it makes tokens one after the other: it ends in a language-model head."""
        return self.layers[-1].kind == "head" and not self.is_diffusion

    @cached_property
    def inner_positions(self) -> tuple[int, ...]:
        """Of the layers between the embedding and the head."""
        every = enumerate(self.layers)
        return tuple(position for position, layer in every if layer.kind not in ENDS)

    def cut(self, layers: int) -> Self:
        """The same with its ends and the last `layers` of the layers between them: the shape of
        a prediction head (MTP, EAGLE) that drafts for it."""
        inner = [self.layers[position] for position in self.inner_positions]
        if not self.is_chain or not 1 <= layers <= len(inner):
            raise InputError(
                f"layers must lie between 1 and the {len(inner)} of {self.name}, a chain,"
                f" not {layers!r}"
            )

        last = {layer.name for layer in inner[-layers:]}
        kept = tuple(layer for layer in self.layers if layer.kind in ENDS or layer.name in last)
        name = f"{layers} layer{'s' * (layers > 1)} of {self.name}"
        return self.chain_of(_keeping_caches(kept), name)

    def chain_of(self, layers: tuple[Layer, ...], name: str) -> Self:
        """The same model of these layers alone, one after the other."""
        return self.replace(
            name=name,
            layers=layers,
            edges=chain_edges(layers),
            parameters_active=sum(layer.parameters_active for layer in layers),
        )

    @property
    def is_chain(self) -> bool:
        """Whether each layer feeds just the next."""
        return self.edges == chain_edges(self.layers)

    @cached_property
    def tied_layers(self) -> tuple[tuple[int, int], ...]:
        """Pairs of positions: a layer that reads another's weights, and that other."""
        lender_of_kind = {number: kind[0].tied_to for number, kind in enumerate(self.kinds)}
        pairs = []
        for place, kind in enumerate(self.kind_of_layer.tolist()):
            lender = lender_of_kind[kind]
            if lender:
                pairs.append((place, self.position_of_layer[lender]))
        return tuple(pairs)

    @cached_property
    def lent_caches(self) -> tuple[tuple[int, int], ...]:
        """Pairs of positions: a layer that reads another's keys and values, and that other: the
        last before it that keeps a cache of the same form. None for a layer that has no such
        lender."""
        forms: dict[int, list[tuple[bool, tuple[int, ...]]]] = {
            number: [
                (operator.borrowed, operator.cache_form)
                for operator in kind[0].operators
                if isinstance(operator, Attention)
            ]
            for number, kind in enumerate(self.kinds)
        }
        if not any(borrowed for kind in forms.values() for borrowed, _ in kind):
            return ()
        keeper: dict[tuple[int, ...], int] = {}
        pairs = []
        for place, kind in enumerate(self.kind_of_layer.tolist()):
            for borrowed, form in forms[kind]:
                if not borrowed:
                    keeper[form] = place
                elif form in keeper:
                    pairs.append((place, keeper[form]))
        return tuple(dict.fromkeys(pairs))

    @cached_property
    def may_begin(self) -> NDArray[np.bool_]:
        """Whether a stage may begin in front of each layer, or end behind the last: not between a
        layer that lends its cache and one that reads it, since no software hands caches on; shape
        (layers + 1,)."""
        free = np.ones(len(self.layers) + 1, dtype=np.bool_)
        for borrower, lender in self.lent_caches:
            free[lender + 1 : borrower + 1] = False
        free.setflags(write=False)
        return free

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the layers, in order."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def position_of_layer(self) -> dict[str, int]:
        """Of each layer, by its name."""
        return {layer.name: number for number, layer in enumerate(self.layers)}

    @cached_property
    def ends_of_edges(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Positions of the layers from which edges come, and to which they go, each of shape
        (edges,)."""
        position = self.position_of_layer
        senders = [position[sender] for sender, _ in self.edges]
        receivers = [position[receiver] for _, receiver in self.edges]
        return np.array(senders, dtype=np.intp), np.array(receivers, dtype=np.intp)

    @cached_property
    def stream_bytes(self) -> float:
        """The most that a layer hands on for one token. [B]"""
        return max(layer.activation_bytes_per_token for layer in self.layers)

    @cached_property
    def logits_width(self) -> int:
        """Values from which a token is drawn, after the last layer; 0 where none is."""
        found = (
            operator.outputs
            for operator in self.layers[-1].operators
            if operator.kind == "matmul" and operator.rows == "sequences"
        )
        return max(found, default=0)

    @cached_property
    def kinds(self) -> tuple[tuple[Layer, ...], ...]:
        """Layers with the same operators, together; in order of first appearance."""
        return self._grouped[0]

    @cached_property
    def kind_of_layer(self) -> NDArray[np.intp]:
        """For each layer the number of its kind, shape (layers,)."""
        return self._grouped[1]

    @cached_property
    def kind_counts(self) -> tuple[int, ...]:
        return tuple(len(kind) for kind in self.kinds)

    @cached_property
    def weight_bytes_of_kinds(self) -> NDArray[np.float64]:
        """Of one layer of each kind, shape (kinds,). [B]"""
        return np.array([kind[0].weight_bytes for kind in self.kinds], dtype=float)

    @cached_property
    def operators(self) -> tuple[LayerOperator, ...]:
        """Of one layer of each kind, kind by kind: the rows of what is worked out as arrays."""
        return tuple(itertools.chain.from_iterable(kind[0].operators for kind in self.kinds))

    @cached_property
    def kind_of_operator(self) -> NDArray[np.intp]:
        """For each of the operators the number of its layer's kind, shape (rows,)."""
        sizes = [len(kind[0].operators) for kind in self.kinds]
        return np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def first_operators(self) -> NDArray[np.intp]:
        """For each kind the number of its first operator, shape (kinds,)."""
        return np.searchsorted(self.kind_of_operator, np.arange(len(self.kinds)))

    @cached_property
    def mixes_tokens(self) -> NDArray[np.float64]:
        """1 for each kind of layer in which tokens of a sequence meet, 0 where a feed-forward part
        is a layer of its own; 1 again where that is all of the layer that its machine runs; shape
        (kinds,)."""
        mixing = np.array([float(kind[0].kind == FEED_FORWARD) for kind in self.kinds])
        for number, operator in zip(self.kind_of_operator, self.operators, strict=True):
            if isinstance(operator, Attention | Recurrent):
                mixing[number] = 1.0
        return mixing

    @cached_property
    def sorts(self) -> tuple[dict[Sort, LayerOperator], NDArray[np.intp]]:
        """Operators that do the same in the same formats, and differ in size: one of each sort,
        and for each operator the number of its sort, shape (rows,)."""
        first: dict[Sort, LayerOperator] = {}
        found = []
        for operator in self.operators:
            stored = STORED_IN.get(operator.kind, "weight_dtype")
            formats = [getattr(operator, name, "") for name in ("compute_dtype", stored)]
            natively = getattr(operator, "natively", False)
            sort = operator.kind, formats[0], formats[1], natively
            first.setdefault(sort, operator)
            found.append(sort)
        numbers = {sort: number for number, sort in enumerate(first)}
        return first, np.array([numbers[sort] for sort in found], dtype=np.intp)

    @cached_property
    def sort_of_rows(self) -> tuple[Sort, ...]:
        """Of each operator: what graphs have in common of whose operators a machine makes the
        same."""
        sorts, numbers = self.sorts
        names = list(sorts)
        return tuple(names[number] for number in numbers)

    def runs_of_kinds(self, runs_per_sample: int | None) -> NDArray[np.float64]:
        """1 for each kind of layer that runs so often, 0 for the others, shape (kinds,)."""
        return np.array([often == runs_per_sample for often in self._runs], dtype=float)

    @cached_property
    def _runs(self) -> tuple[int | None, ...]:
        """How often each kind of layer runs for a sample."""
        return tuple(kind[0].runs_per_sample for kind in self.kinds)

    @cached_property
    def runs_in_steps(self) -> NDArray[np.float64]:
        """1 for each operator that runs in every step, 0 where that is once for a sample; shape
        (rows, 1)."""
        return 1.0 - self.runs_of_kinds(1)[self.kind_of_operator, None]

    @cached_property
    def weights_by_sort(self) -> dict[Sort, float]:
        """How many weights the matmuls and experts of each sort have in all layers that work in
        every pass."""
        sorts, numbers = self.sorts
        counts = np.array(self.kind_counts, dtype=float)[self.kind_of_operator]
        names = list(sorts)
        found: dict[Sort, float] = {}
        for operator, kind, number, count in zip(
            self.operators, self.kind_of_operator, numbers, counts, strict=True
        ):
            if isinstance(operator, MatMul | Experts) and self.kinds[kind][0].runs_per_sample != 1:
                sort = names[number]
                found[sort] = found.get(sort, 0.0) + float(count) * operator.parameters
        return found

    def demand(
        self,
        tensor_parallel: int = 1,
        expert_parallel: int = 1,
        *,
        skipped: tuple[str, ...] = (),
        unfused_share: float = 1.0,
    ) -> Demand:
        """What one chip of a group does of these operators, as columns with a row for each.

        `skipped` are the patterns of zeros that cost it no arithmetic; of the traffic of pointwise
        operators such a share is not fused into their neighbours. Made once for each of these, and
        kept with the graph: nothing else of a machine changes it.
        """
        key = tensor_parallel, expert_parallel, skipped, unfused_share
        if key not in self._demands:
            self._demands[key] = stacked(
                [
                    operator.demand(tensor_parallel, expert_parallel)
                    .skipping(_kept_share(operator, skipped))
                    .fused(unfused_share if isinstance(operator, Pointwise) else 1.0)
                    for operator in self.operators
                ]
            )
        return self._demands[key]

    @cached_property
    def _demands(self) -> dict[tuple[int, int, tuple[str, ...], float], Demand]:
        return {}

    @cached_property
    def _grouped(self) -> tuple[tuple[tuple[Layer, ...], ...], NDArray[np.intp]]:
        # Layers of one template share their tuple of operators. To know it again by its identity
        # saves hashing every operator of every layer.
        by_identity: dict[tuple[int, int | None], int] = {}
        by_shape: dict[tuple[Any, ...], int] = {}
        members: list[list[Layer]] = []
        numbers = np.empty(len(self.layers), dtype=np.intp)

        for position, layer in enumerate(self.layers):
            identity = (id(layer.operators), layer.runs_per_sample)
            number = by_identity.get(identity)
            if number is None:
                number = by_shape.setdefault(layer.shape, len(members))
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
            for name, ways in kind[0].every_split():
                found.setdefault(name, set()).add(ways)
        return {name: tuple(sorted(ways)) for name, ways in found.items()}

    def to_networkx(self) -> "nx.DiGraph[str]":
        """The layers as nodes (attributes: kind, parameters, weight_bytes, kv_bytes_per_token)
        and the edges, with the activation's bytes for one token."""
        import networkx as nx

        drawn: nx.DiGraph[str] = nx.DiGraph(name=self.name)
        for layer in self.layers:
            drawn.add_node(
                layer.name,
                kind=layer.kind,
                parameters=layer.parameters,
                weight_bytes=layer.weight_bytes,
                kv_bytes_per_token=layer.kv_bytes_per_token,
            )
        handed = {layer.name: layer.activation_bytes_per_token for layer in self.layers}
        for sender, receiver in self.edges:
            drawn.add_edge(sender, receiver, activation_bytes_per_token=handed[sender])
        return drawn


def _keeping_caches(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The same layers, of which those keep a cache of their own that borrow one of none of
    them."""
    found: list[Layer] = []
    kept: set[tuple[int, ...]] = set()
    for layer in layers:
        operators: list[LayerOperator] = []
        for operator in layer.operators:
            own = operator
            if isinstance(own, Attention):
                # The first that reads a cache which is not there keeps it for the others.
                if own.borrowed and own.cache_form not in kept:
                    own = own.replace(borrowed=False)
                kept.add(own.cache_form)
            operators.append(own)
        changed = tuple(operators) != layer.operators
        found.append(layer.replace(operators=tuple(operators)) if changed else layer)
    return tuple(found)


def chain_edges(layers: tuple[Layer, ...]) -> tuple[tuple[str, str], ...]:
    """The edges of a chain."""
    return tuple((before.name, after.name) for before, after in itertools.pairwise(layers))


def _kept_share(operator: LayerOperator, skipped: tuple[str, ...]) -> float:
    """Share of an operator's arithmetic that is left on a chip that skips such zeros. [1]"""
    if isinstance(operator, MatMul | Experts) and operator.pattern in skipped:
        return operator.density
    return 1.0
