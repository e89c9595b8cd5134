"""A traced program, whoever traced it, as a `ModelGraph`: operations with shapes become operators,
and operators layers.

One token is one run of the program at the shapes that it was traced at. Products of any kind are
operators of their own; what lies between two of them in a layer (norms, activations, copies) is one
pass over the stream, as compilers fuse it, that reads what comes in and writes what goes out.

Layers follow the names of modules where these number their parts ("layers.3"), else each operation
with weights begins one. What needs no weights at all, such as masks and rotations made from the
inputs' shapes, belongs to the layer that first asks for it; others make it again, so that no edge
stands for it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from planner.errors import InputError, shortened
from planner.models.dtypes import BITS, Dtype, stream_bytes_of
from planner.models.graph import Layer, ModelGraph
from planner.models.operators import Contraction, Embedding, LayerOperator, MatMul, Pointwise

MOST_VALUES = 100_000_000
"""That a layer may hand on for one run."""

MOST_LAYERS = 10_000
"""Of one program."""

ONE_RUN = (
    "here one token is one run of the program at its shapes: with a prompt of 1 and an output of"
    " 1, a request is one run"
)

Label = Literal["convolution", "matmul", "attention", "recurrence", "embedding", "pointwise"]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of parameters."""

    name: str
    count: int
    dtype: Dtype
    stored_bytes: float


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that an operation makes, or the program is given."""

    name: str
    count: int
    value_bytes: float
    """Of one of its values."""

    @property
    def whole_bytes(self) -> float:
        return self.count * self.value_bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a program."""

    name: str
    label: Label
    inputs: tuple[str, ...]
    """Names of values, weights left out."""
    outputs: tuple[Value, ...]
    module: str = ""
    """The path of the module that it belongs to, its parts divided by dots."""
    flop: float = 0.0
    weights: tuple[Weight, ...] = ()
    constant_bytes: float = 0.0
    """Of tables that are no parameters, read in each run."""
    dtype: Dtype = "fp32"
    """What it multiplies in."""
    matrix: tuple[int, int, int] | None = None
    """Of a product with a plain matrix of weights: its inputs and outputs, and the rows of the
    activation."""
    table: tuple[int, int, int] | None = None
    """Of an embedding: rows and width of its table, and how many are looked up."""
    is_view: bool = False
    """Whether its output is its first input under another shape, at no cost."""


def graph_of_operations(
    name: str,
    operations: Sequence[Operation],
    inputs: Iterable[Value],
    outputs: Sequence[str],
    *,
    source: str = "",
    confidence: str = "",
) -> ModelGraph:
    """The graph of a program; `operations` stand in an order in which they can run. An InputError
    where there is none, or where a layer hands on more than can be priced."""
    program = _Program(operations, inputs, outputs)
    groups = program.groups()
    if not groups:
        raise InputError(f"{name} holds no operation that takes any work; there is nothing to plan")
    if len(groups) > MOST_LAYERS:
        raise InputError(
            f"{shortened(name)} has {len(groups):,} layers, and at most {MOST_LAYERS:,} can be"
            " planned; export it with the names of its modules, so that each module becomes one"
            " layer"
        )
    layers = _layers(groups, program)
    graph_dtype = _commonest(
        (weight.dtype, weight.stored_bytes) for each in operations for weight in each.weights
    )
    return ModelGraph(
        name=name,
        layers=layers,
        edges=program.edges(groups),
        weight_dtype=graph_dtype,
        kv_dtype="bf16",
        activation_dtype=_commonest((each.dtype, each.flop) for each in operations),
        parameters_active=sum(layer.parameters for layer in layers),
        source=source,
        confidence=confidence,
        remarks=(ONE_RUN,),
    )


@dataclass(slots=True, eq=False)
class _Group:
    """Operations that become a layer."""

    number: int
    name: str
    operations: list[Operation] = field(default_factory=list)


class _Program:
    """Operations, and who makes what for whom."""

    def __init__(
        self, operations: Sequence[Operation], inputs: Iterable[Value], outputs: Sequence[str]
    ) -> None:
        self.values = {value.name: value for value in inputs}
        self.root: dict[str, str] = {}
        """Of each view the value that it shows."""
        self.maker: dict[str, Operation] = {}
        self.reads: dict[int, list[str]] = {}
        """Of each operation, by its identity, the values that it reads."""
        self.working: list[Operation] = []
        for each in operations:
            if each.is_view and each.inputs:
                for value in each.outputs:
                    self.root[value.name] = self.rooted(each.inputs[0])
                continue
            self.working.append(each)
            for value in each.outputs:
                self.values[value.name] = value
                self.maker[value.name] = each
        self.outputs = {self.rooted(name) for name in outputs}
        self.weightless = self._weightless()
        self.group_of: dict[int, _Group] = {}
        """Of each operation, by its identity."""

    def rooted(self, name: str) -> str:
        """The value that a name shows."""
        return self.root.get(name, name)

    def read_by(self, operation: Operation) -> list[str]:
        """Values that it reads, each once."""
        found = self.reads.get(id(operation))
        if found is None:
            root = self.root
            found = list(dict.fromkeys([root.get(name, name) for name in operation.inputs]))
            self.reads[id(operation)] = found
        return found

    def _weightless(self) -> set[int]:
        """Operations before which there is no product and no weight: identities."""
        found: set[int] = set()
        for each in self.working:
            makers = [self.maker[name] for name in self.read_by(each) if name in self.maker]
            is_plain = each.label == "pointwise"
            if is_plain and all(id(maker) in found for maker in makers):
                found.add(id(each))
        # A program of nothing else has nobody to belong to.
        return found if len(found) < len(self.working) else set()

    def groups(self) -> list[_Group]:
        """The layers-to-be, in an order in which they can run."""
        groups: list[_Group] = []
        newest: dict[str, _Group] = {}
        names: dict[str, int] = {}
        for each in self.working:
            if id(each) in self.weightless:
                continue
            reached = self._reached(each)
            key = self._key(each)
            group = newest.get(key) if key else None
            # Whoever joins a layer may need nothing from a later one, else layers would wait for
            # each other in a circle.
            if key and group is not None and group.number < reached:
                group = None
            opens = each.weights and each.label != "pointwise"
            if not key and not opens and groups:
                group = groups[max(reached, 0)]
            if group is None:
                wanted = key or each.name or each.label
                group = _Group(len(groups), _unused(wanted, names))
                groups.append(group)
                if key:
                    newest[key] = group
            self._place(each, group)
        return groups

    def _key(self, operation: Operation) -> str:
        """The part of the model that an operation belongs to; "": to whoever feeds it, as a norm
        or a sum that stands between numbered parts does."""
        part = part_of(operation.module)
        is_numbered = PART.match(operation.module) is not None
        return part if is_numbered or operation.label != "pointwise" else ""

    def _reached(self, operation: Operation) -> int:
        """The last layer that makes something for an operation; -1: none does."""
        last = -1
        for name in self.read_by(operation):
            maker = self.maker.get(name)
            if maker is not None and id(maker) not in self.weightless:
                last = max(last, self.group_of[id(maker)].number)
        return last

    def _place(self, operation: Operation, group: _Group) -> None:
        """Put an operation into a layer, after what it needs that no layer has yet."""
        waiting = [operation]
        while waiting:
            each = waiting[-1]
            unplaced = [
                maker
                for name in self.read_by(each)
                if (maker := self.maker.get(name)) is not None and id(maker) not in self.group_of
            ]
            if unplaced:
                waiting += unplaced
                continue
            waiting.pop()
            if id(each) not in self.group_of:
                self.group_of[id(each)] = group
                group.operations.append(each)

    def edges(self, groups: list[_Group]) -> tuple[tuple[str, str], ...]:
        """From layer to layer, each once."""
        found: dict[tuple[str, str], None] = {}
        for group in groups:
            senders = {sender for _, sender in self.crossing_into(group)}
            ordered = sorted(senders, key=lambda sender: sender.number)
            found.update(dict.fromkeys((sender.name, group.name) for sender in ordered))
        return tuple(found)

    def crossing_into(self, group: _Group) -> Iterable[tuple[str, _Group]]:
        """Values that a layer reads of others, and the layer that makes each."""
        for each in group.operations:
            for name in self.read_by(each):
                maker = self.maker.get(name)
                if maker is None or id(maker) in self.weightless:
                    continue
                sender = self.group_of[id(maker)]
                if sender is not group:
                    yield name, sender

    def bytes_of(self, names: Iterable[str]) -> float:
        """Of values, each whole. [B]"""
        return sum(self.values[name].whole_bytes for name in names if name in self.values)


PART = re.compile(
    r"^(.*?(?:^|[./_])\d+(?:[./](?:layers?|blocks?|resnets|attentions)[./]\d+)?)(?:[./]|$)"
)
"""A path up to its first numbered part; of a stage that numbers its blocks, up to the block."""


def part_of(module: str) -> str:
    """Which numbered part of a model a module belongs to, such as "model.layers.3"; the module
    itself where none of its parts has a number."""
    found = PART.match(module)
    return found.group(1) if found else module


def names_in(text: str) -> tuple[str, ...]:
    """The names of a list that is written as text."""
    return tuple(text.split())


def _unused(wanted: str, names: dict[str, int]) -> str:
    """The name, or the name with a number where it is taken."""
    short = shortened(wanted, 200)
    while True:
        count = names.get(short, 0) + 1
        names[short] = count
        if count == 1:
            return short
        candidate = f"{short}#{count}"
        if candidate not in names:
            names[candidate] = 1
            return candidate


def _layers(groups: list[_Group], program: _Program) -> tuple[Layer, ...]:
    """Layers of groups, in order."""
    leaving: dict[int, set[str]] = {group.number: set() for group in groups}
    for group in groups:
        for name, sender in program.crossing_into(group):
            leaving[sender.number].add(name)
    for name in program.outputs:
        maker = program.maker.get(name)
        if maker is not None and id(maker) in program.group_of:
            leaving[program.group_of[id(maker)].number].add(name)

    owners: dict[str, str] = {}
    layers = []
    for group in groups:
        operators = _Operators(group, program, owners, leaving[group.number]).made()
        dtype, width = _handed(group, program, leaving[group.number])
        kind = _kind(group)
        if group is groups[-1]:
            kind = "outputs"
        layers.append(
            Layer(
                name=group.name,
                kind=kind,
                operators=operators,
                activation_width=width,
                activation_dtype=dtype,
            )
        )
    return tuple(layers)


def _kind(group: _Group) -> str:
    """What a layer's equals are called."""
    products = [each.label for each in group.operations if each.label != "pointwise"]
    if not products:
        return "pointwise"
    return "block" if len(products) > 1 else products[0]


def _handed(group: _Group, program: _Program, leaving: set[str]) -> tuple[Dtype, int]:
    """The format and the number of values that a layer hands on."""
    names = leaving or {value.name for value in group.operations[-1].outputs[:1]}
    whole = program.bytes_of(names)
    widest = max((program.values[name].value_bytes for name in names), default=4.0)
    dtype: Dtype = "fp32" if widest >= 4 else "bf16"
    width = max(1, round(whole / stream_bytes_of(dtype)))
    if width > MOST_VALUES:
        raise InputError(
            f"layer {shortened(group.name)!r} outputs {width:.3g} values in one run, and more than"
            f" {MOST_VALUES:,} cannot be priced; give a smaller batch or shape"
        )
    return dtype, width


class _Operators:
    """The operators of one layer: products each by itself, the rest in runs."""

    def __init__(
        self, group: _Group, program: _Program, owners: dict[str, str], leaving: set[str]
    ) -> None:
        """`owners` are the layers that have a weight already, by its name; it grows."""
        self.group = group
        self.program = program
        self.owners = owners
        self.leaving = leaving
        self.lender = ""
        """The layer whose matrices this one reads in place of its own."""
        self.operators: list[LayerOperator] = []
        self.run: list[Operation] = []
        self.readers: dict[str, set[int]] = {}
        for each in group.operations:
            for name in program.read_by(each):
                self.readers.setdefault(name, set()).add(id(each))

    def made(self) -> tuple[LayerOperator, ...]:
        for each in self.group.operations:
            if each.label == "pointwise":
                self.run.append(each)
                continue
            self._end_run()
            self.operators.append(self._product(each))
        self._end_run()
        return tuple(self.operators)

    def _product(self, each: Operation) -> LayerOperator:
        """An operation that has an operator of its own."""
        fresh = [weight for weight in each.weights if weight.name not in self.owners]
        if each.table is not None and fresh:
            rows, width, looked_up = each.table
            self._own(fresh)
            return Embedding(
                name=each.name,
                vocabulary=rows,
                width=width,
                weight_dtype=fresh[0].dtype,
                tokens_factor=looked_up,
            )
        plain = each.matrix is not None and len(each.weights) == 1
        if plain and self._may_read(each.weights[0]):
            return self._matmul(each)
        self._own(fresh)
        stored = {weight.dtype: weight.count for weight in each.weights}
        return Contraction(
            name=each.name,
            flop_per_token=each.flop,
            weights=sum(weight.count for weight in fresh),
            stored_bytes=sum(weight.stored_bytes for weight in fresh),
            weight_dtype=max(stored, key=lambda dtype: stored[dtype]) if stored else each.dtype,
            compute_dtype=each.dtype,
            read_bytes_per_token=self._read_bytes(each),
            written_bytes_per_token=sum(value.whole_bytes for value in each.outputs),
        )

    def _may_read(self, weight: Weight) -> bool:
        """Whether a matrix is this layer's own, or of the one layer that lends to it."""
        owner = self.owners.get(weight.name, "")
        if not owner:
            return True
        if owner == self.group.name or self.lender not in ("", owner):
            return False
        self.lender = owner
        return True

    def _matmul(self, each: Operation) -> MatMul:
        assert each.matrix is not None
        inputs, outputs, rows = each.matrix
        weight = each.weights[0]
        owner = self.owners.get(weight.name, "")
        self._own([weight])
        return MatMul(
            name=each.name,
            inputs=inputs,
            outputs=outputs,
            weight_dtype=weight.dtype,
            compute_dtype=each.dtype,
            split="none",
            tied_to=owner,
            tokens_factor=rows,
            bits_per_weight=_bits_of(weight),
        )

    def _own(self, weights: Iterable[Weight]) -> None:
        for weight in weights:
            self.owners.setdefault(weight.name, self.group.name)

    def _read_bytes(self, each: Operation) -> float:
        return self.program.bytes_of(self.program.read_by(each)) + each.constant_bytes

    def _end_run(self) -> None:
        """One pass for all that has gathered: it reads what others made, and writes what others
        read."""
        run, self.run = self.run, []
        if not run:
            return
        inside = {id(each) for each in run}
        made = {value.name for each in run for value in each.outputs}
        read = {name for each in run for name in self.program.read_by(each)} - made
        written = [
            name for name in made if name in self.leaving or self.readers.get(name, set()) - inside
        ]
        fresh = {
            weight.name: weight
            for each in run
            for weight in each.weights
            if weight.name not in self.owners
        }
        self._own(fresh.values())
        dtype = _commonest(
            [(weight.dtype, weight.stored_bytes) for weight in fresh.values()]
            or [(each.dtype, 1.0) for each in run]
        )
        moved = self.program.bytes_of(read) + self.program.bytes_of(written)
        moved += sum(each.constant_bytes for each in run)
        self.operators.append(_pass(run, moved, dtype, sum(one.count for one in fresh.values())))


def _bits_of(weight: Weight) -> float:
    """As a matrix is stored, where its format usually takes another number; else 0."""
    stored = 8.0 * weight.stored_bytes / weight.count
    return 0.0 if stored == BITS[weight.dtype] else stored


def _pass(run: list[Operation], moved_bytes: float, dtype: Dtype, weights: int) -> Pointwise:
    """A pass over so many bytes, in and out together."""
    values = max(1.0, moved_bytes / (2 * stream_bytes_of(dtype)))
    # A width has a limit, and so what is wider counts as several tokens.
    factor = max(1.0, values / MOST_VALUES)
    width = max(1, round(values / factor))
    first, last = run[0].name, run[-1].name
    return Pointwise(
        name=first if first == last else f"{shortened(first)} … {shortened(last)}",
        width=width,
        weights=weights,
        weight_dtype=dtype,
        flop_per_value=sum(each.flop for each in run) / (width * factor),
        tokens_factor=factor,
    )


def _commonest(shares: Iterable[tuple[Dtype, float]]) -> Dtype:
    """The format with the most."""
    summed: dict[Dtype, float] = {}
    for dtype, share in shares:
        summed[dtype] = summed.get(dtype, 0.0) + share
    return max(summed, key=lambda dtype: summed[dtype], default="bf16")
