"""What an ONNX file states [1], weights left out: nodes, tensors by name and shape, inputs and
outputs. Field numbers are those of `onnx.proto`.

[1] ONNX, "Open neural network exchange: intermediate representation specification", 2024.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.errors import shortened
from planner.readers.files import opened
from planner.readers.programs.protobuf import LENGTH, Field, WireReader

MOST_NODES = 40_000
MOST_READS = 160_000
"""Inputs of all nodes together."""
MOST_TENSORS = 100_000
"""That the file holds, or states the shapes of."""
MOST_DIMS = 64
MOST_SMALL = 64
"""Values of a tensor that is read: shapes, axes, scales."""
MOST_LISTED = 4096
"""Values of an attribute; inputs, outputs and attributes of a node."""

FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE = 1, 2, 3, 6, 7, 8, 9, 10, 11

Dims = tuple[int | str, ...]
"""Numbers, and names of those that are open; "": open, without a name."""


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor that the file holds."""

    name: str
    dims: tuple[int, ...]
    code: int
    """Of its number format."""
    values: NDArray[np.generic] | None = None
    """Those of a small one."""

    @property
    def count(self) -> int:
        return math.prod(self.dims)


Attribute = int | float | str | list[int] | list[float] | TensorFacts


@dataclass(slots=True)
class Node:
    """One node."""

    operation: str
    inputs: list[str]
    outputs: list[str]
    name: str = ""
    domain: str = ""
    module: str = ""
    """The path of the module that it was traced in, where the exporter says it."""
    attributes: dict[str, Attribute] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    """Inside a function: attributes that are arguments of it, by theirs."""
    has_subgraph: bool = False

    @property
    def called(self) -> str:
        """How a refusal calls it."""
        operation = f"{self.domain}.{self.operation}" if self.domain else self.operation
        known_as = self.name or (self.outputs[0] if self.outputs else "")
        return f"{shortened(operation, 40)} (node {shortened(known_as)!r})"


class Stated(NamedTuple):
    """What the file says of a value."""

    name: str
    code: int
    dims: Dims | None
    """None: not even how many there are."""


@dataclass(slots=True)
class Function:
    """A subroutine of the file."""

    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    defaults: dict[str, Attribute] = field(default_factory=dict)


@dataclass(slots=True)
class Program:
    """All that is read of a file."""

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorFacts] = field(default_factory=dict)
    inputs: list[Stated] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    stated: dict[str, Stated] = field(default_factory=dict)
    functions: dict[tuple[str, str], Function] = field(default_factory=dict)
    opset: int = 1
    producer: str = ""


def read_program(path: Path) -> Program:
    """What a file states; an InputError where it is no ONNX file, or more than can be read."""
    what = shortened(str(path).replace(chr(0), "?"), 200)
    with opened(path, "an ONNX model") as (file, size_bytes):
        return _Messages(WireReader(file, size_bytes, what)).program()


class _Messages:
    def __init__(self, reader: WireReader) -> None:
        self.reader = reader

    def program(self) -> Program:
        program = Program()
        graph: Field | None = None
        functions: list[Field] = []
        for each in self.reader.fields(0, self.reader.size_bytes):
            if each.number == 7 and each.wire == LENGTH:
                graph = each
            elif each.number == 8 and each.wire == LENGTH:
                domain, version = self._opset(each)
                if domain in ("", "ai.onnx"):
                    program.opset = version
            elif each.number == 2 and each.wire == LENGTH:
                program.producer = self._name(each)
            elif each.number == 25 and each.wire == LENGTH:
                functions.append(each)
        if graph is None:
            raise self.reader.fault("it holds no graph; is it an ONNX model?")
        self._count(graph)
        self._graph(graph, program)
        for each in functions:
            name, function = self._function(each)
            program.functions[name] = function
        return program

    def _count(self, graph: Field) -> None:
        """Refuse what is too large before any of it is looked into."""
        nodes = 0
        others = 0
        for each in self.reader.fields(graph.begin, graph.end):
            nodes += each.number == 1
            others += each.number != 1
            if nodes > MOST_NODES:
                raise self.reader.fault(f"its graph has more than {MOST_NODES:,} nodes")
            if others > MOST_TENSORS:
                raise self.reader.fault(f"its graph has more than {MOST_TENSORS:,} tensors")

    def _graph(self, graph: Field, program: Program) -> None:
        for each in self.reader.fields(graph.begin, graph.end):
            if each.wire != LENGTH:
                continue
            if each.number == 1:
                program.nodes.append(self._node(each))
            elif each.number == 5:
                tensor = self._tensor(each)
                program.tensors[tensor.name] = tensor
            elif each.number == 15:
                raise self.reader.fault("it holds sparse tensors; store its weights dense")
            elif each.number in (11, 12, 13):
                stated = self._value(each)
                if each.number == 11:
                    program.inputs.append(stated)
                if each.number == 12:
                    program.outputs.append(stated.name)
                program.stated[stated.name] = stated

    def _name(self, each: Field) -> str:
        """Text, which is no name where it is very long."""
        if each.end - each.begin > 2**16:
            raise self.reader.fault(f"the text at byte {each.begin} is too long for a name")
        return self.reader.text(each)

    def _opset(self, message: Field) -> tuple[str, int]:
        domain, version = "", 1
        for each in self.reader.fields(message.begin, message.end):
            if each.number == 1 and each.wire == LENGTH:
                domain = self._name(each)
            elif each.number == 2:
                version = each.signed
        return domain, version

    def _node(self, message: Field) -> Node:
        node = Node("", [], [])
        for each in self.reader.fields(message.begin, message.end):
            if each.wire != LENGTH:
                continue
            if len(node.inputs) + len(node.outputs) + len(node.attributes) > MOST_LISTED:
                raise self.reader.fault(f"a node has more than {MOST_LISTED} inputs and outputs")
            if each.number == 1:
                node.inputs.append(self._name(each))
            elif each.number == 2:
                node.outputs.append(self._name(each))
            elif each.number == 3:
                node.name = self._name(each)
            elif each.number == 4:
                node.operation = self._name(each)
            elif each.number == 7:
                node.domain = self._name(each)
            elif each.number == 5:
                self._attribute(each, node)
            elif each.number == 9 and not node.module:
                node.module = self._scope(each)
        if node.domain == "ai.onnx":
            node.domain = ""
        if not node.module and node.name.startswith("/"):
            node.module = ".".join(node.name.strip("/").split("/")[:-1])
        return node

    def _scope(self, message: Field) -> str:
        """The module that torch's exporter names in a node's properties."""
        key, value = "", ""
        for each in self.reader.fields(message.begin, message.end):
            if each.number == 1 and each.wire == LENGTH:
                key = self._name(each)
                if key != "pkg.torch.onnx.name_scopes":
                    return ""
            elif each.number == 2 and each.wire == LENGTH:
                value = self._name(each)
        parts = [part.strip(" '\"") for part in value.strip("[]").split(",")]
        return parts[-2] if key and len(parts) > 1 else ""

    def _attribute(self, message: Field, node: Node) -> None:
        name = ""
        found: Attribute | None = None
        for each in self.reader.fields(message.begin, message.end):
            if each.number == 1 and each.wire == LENGTH:
                name = self._name(each)
            elif each.number == 21 and each.wire == LENGTH:
                node.references[name] = self._name(each)
            elif each.number in (6, 11) and each.wire == LENGTH:
                node.has_subgraph = True
            else:
                found = self._attribute_value(each, found)
        if found is not None:
            node.attributes[name] = found

    def _attribute_value(self, each: Field, found: Attribute | None) -> Attribute | None:
        """A field of an attribute's value, after those that came before it."""
        if each.number == 2:
            return each.as_float
        if each.number == 3:
            return each.signed
        if each.wire == LENGTH and each.number == 4:
            return self._name(each) if each.end - each.begin <= 2**16 else ""
        if each.wire == LENGTH and each.number == 5:
            return self._tensor(each)
        if each.number == 8:
            whole: list[int] = found if isinstance(found, list) else []  # type: ignore[assignment]
            whole += self.reader.integers(each, MOST_LISTED)
            if len(whole) > MOST_LISTED:
                raise self.reader.fault(f"an attribute has more than {MOST_LISTED} numbers")
            return whole
        return found

    def _value(self, message: Field) -> Stated:
        name, code = "", 0
        dims: Dims | None = None
        for each in self.reader.fields(message.begin, message.end):
            if each.wire != LENGTH:
                continue
            if each.number == 1:
                name = self._name(each)
            elif each.number == 2:
                code, dims = self._type(each)
        return Stated(name, code, dims)

    def _type(self, message: Field) -> tuple[int, Dims | None]:
        code = 0
        dims: Dims | None = None
        for each in self.reader.fields(message.begin, message.end):
            if each.number != 1 or each.wire != LENGTH:
                continue
            for inner in self.reader.fields(each.begin, each.end):
                if inner.number == 1:
                    code = inner.value
                elif inner.number == 2 and inner.wire == LENGTH:
                    dims = self._dims(inner)
        return code, dims

    def _dims(self, message: Field) -> Dims:
        dims: list[int | str] = []
        for each in self.reader.fields(message.begin, message.end):
            if each.number != 1 or each.wire != LENGTH:
                continue
            size: int | str = ""
            for inner in self.reader.fields(each.begin, each.end):
                if inner.number == 1:
                    size = inner.signed
                elif inner.number == 2 and inner.wire == LENGTH:
                    size = self._name(inner)
            dims.append(size)
            if len(dims) > MOST_DIMS:
                raise self.reader.fault(f"a tensor has more than {MOST_DIMS} dimensions")
        return tuple(dims)

    def _tensor(self, message: Field) -> TensorFacts:
        name, code, is_external = "", 0, False
        dims: list[int] = []
        raw: Field | None = None
        listed: list[Field] = []
        for each in self.reader.fields(message.begin, message.end):
            if each.number == 1:
                dims += self.reader.integers(each, MOST_DIMS)
            elif each.number == 2:
                code = each.value
            elif each.number == 8 and each.wire == LENGTH:
                name = self._name(each)
            elif each.number == 9 and each.wire == LENGTH:
                raw = each
            elif each.number in (4, 5, 7, 10) and len(listed) <= MOST_SMALL:
                listed.append(each)
            elif each.number == 14:
                is_external = each.value == 1
        if len(dims) > MOST_DIMS or any(size < 0 or size >= 2**48 for size in dims):
            raise self.reader.fault(
                f"tensor {shortened(name)!r} has impossible dimensions ({shortened(dims, 40)})"
            )
        values = None
        if math.prod(dims) <= MOST_SMALL and not is_external:
            values = self._small(tuple(dims), code, raw, listed)
        return TensorFacts(name, tuple(dims), code, values)

    def _small(
        self, dims: tuple[int, ...], code: int, raw: Field | None, listed: list[Field]
    ) -> NDArray[np.generic] | None:
        """The values of a small tensor, whichever way they are written; None where they are not
        there, or are no numbers."""
        count = math.prod(dims)
        kind = KINDS.get(code)
        if kind is None:
            return None
        values: NDArray[np.generic] | None = None
        if raw is not None:
            if raw.end - raw.begin == count * kind.itemsize:
                values = np.frombuffer(self.reader.load(raw.begin, raw.end), dtype=kind)
        elif listed and code != FLOAT16:
            values = self._listed(listed, count, kind)
        if values is None or values.size != count:
            return None
        return values.reshape(dims)

    def _listed(
        self, listed: list[Field], count: int, kind: "np.dtype[np.generic]"
    ) -> NDArray[np.generic] | None:
        """Values of repeated fields, packed or not."""
        is_float = listed[0].number in (4, 10)
        if not is_float:
            found = [one for each in listed for one in self.reader.integers(each, count)]
            limits = np.iinfo(kind.type if kind.kind in "iu" else np.int64)  # type: ignore[type-var]
            fitting = all(limits.min <= one <= limits.max for one in found)
            return np.array(found).astype(kind) if fitting else None
        width = np.dtype("<f4" if listed[0].number == 4 else "<f8")
        parts = [
            self.reader.load(each.begin, each.end)
            for each in listed
            if each.end - each.begin <= count * width.itemsize
        ]
        whole = b"".join(parts)
        return np.frombuffer(whole, width) if len(whole) == count * width.itemsize else None

    def _function(self, message: Field) -> tuple[tuple[str, str], Function]:
        function = Function()
        name, domain = "", ""
        readers: dict[int, Callable[[Field], None]] = {
            4: lambda each: function.inputs.append(self._name(each)),
            5: lambda each: function.outputs.append(self._name(each)),
            7: lambda each: function.nodes.append(self._node(each)),
        }
        for each in self.reader.fields(message.begin, message.end):
            if each.wire != LENGTH:
                continue
            if each.number == 1:
                name = self._name(each)
            elif each.number == 10:
                domain = self._name(each)
            elif each.number == 11:
                carrier = Node("", [], [])
                self._attribute(each, carrier)
                function.defaults |= carrier.attributes
            elif each.number in readers:
                readers[each.number](each)
                if len(function.nodes) > MOST_NODES:
                    raise self.reader.fault(f"a function has more than {MOST_NODES:,} nodes")
        return ("" if domain == "ai.onnx" else domain, name), function


KINDS: dict[int, "np.dtype[np.generic]"] = {
    FLOAT: np.dtype("<f4"),
    UINT8: np.dtype("u1"),
    INT8: np.dtype("i1"),
    INT32: np.dtype("<i4"),
    INT64: np.dtype("<i8"),
    BOOL: np.dtype("?"),
    FLOAT16: np.dtype("<f2"),
    DOUBLE: np.dtype("<f8"),
}
"""Formats whose small tensors are read."""
