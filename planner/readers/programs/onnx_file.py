"""ONNX files: any traced program as a `ModelGraph`. Weights are stepped over, wherever they lie."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from planner.errors import InputError, listed, nearest_names, shortened, told
from planner.models.graph import ModelGraph
from planner.readers.programs.onnx_messages import (
    MOST_NODES,
    MOST_READS,
    Function,
    Node,
    Program,
    Stated,
    TensorFacts,
    read_program,
)
from planner.readers.programs.onnx_shapes import RULES, Known, UnknownShapeError, inferred
from planner.readers.programs.onnx_work import (
    BITS_OF_CODE,
    LAYOUTS,
    Around,
    Constant,
    operation_of,
    refusal_of,
)
from planner.readers.programs.traced import Operation, Value, graph_of_operations

MOST_VALUES = 10**11
"""Of one tensor."""
MOST_CALLS = 16
"""Functions within functions."""
INLINED = "the file's own functions"


def load_onnx(
    path: str | Path, dimensions: Mapping[str, int] | None = None, name: str | None = None
) -> ModelGraph:
    """The graph of an ONNX file, one token being one run at its shapes.

    `dimensions` gives the sizes of axes that the file leaves open, such as {"batch": 1}; `name` is
    the file's own where it is None. Neither weights nor external data are read. An InputError where
    the file is damaged, an axis is open, or an operator's work cannot be told from shapes.
    """
    file = Path(path)
    program = read_program(file)
    return _Reading(program, dict(dimensions or {}), name or file.stem).graph()


class _Reading:
    """From what a file states to operations with shapes."""

    def __init__(self, program: Program, dimensions: dict[str, int], name: str) -> None:
        self.program = program
        self.dimensions = dimensions
        self.name = name
        self.known: dict[str, Known] = {}
        self.constants: dict[str, Constant] = {}
        self.dequantised: set[str] = set()
        """Activations that come out of a DequantizeLinear."""
        self.strange: dict[str, None] = {}
        """Operators that were counted as elementwise, unknown as they are."""

    def fault(self, reason: str) -> InputError:
        return InputError(f"{shortened(self.name)}: {reason}")

    def graph(self) -> ModelGraph:
        nodes = self._ordered(self._inlined())
        inputs = self._inputs()
        for tensor in self.program.tensors.values():
            self._hold(tensor)
        operations: list[Operation] = []
        for node in nodes:
            made = self._operation(node)
            if made is not None:
                operations.append(made)
        remarks = ""
        if self.strange:
            remarks = f"; unknown, and counted as elementwise: {listed(self.strange)}"
        return graph_of_operations(
            self.name,
            operations,
            inputs,
            self.program.outputs,
            source=f"an ONNX file of {self.program.producer or 'an unnamed exporter'}",
            confidence=f"read from the graph{remarks}",
        )

    def _inputs(self) -> list[Value]:
        """What the program is given, with all axes closed."""
        given = [each for each in self.program.inputs if each.name not in self.program.tensors]
        self._check_dimensions(given)
        found = []
        for each in given:
            if each.dims is None:
                raise self.fault(f"input {shortened(each.name)!r} has no shape in the file")
            shape = tuple(self._size(size) for size in each.dims)
            self.known[each.name] = Known(shape, each.code)
            self._check_count(each.name, shape)
            found.append(Value(each.name, math.prod(shape), BITS_OF_CODE.get(each.code, 32) / 8))
        return found

    def _check_dimensions(self, given: list[Stated]) -> None:
        """Refuse open axes, and sizes of axes that the file does not have."""
        wanted = {
            size: None
            for each in given
            for size in each.dims or ()
            if isinstance(size, str) or size < 0
        }
        names = [size for size in wanted if isinstance(size, str) and size]
        for dimension, size in self.dimensions.items():
            known = {str(one) for one in names}
            if dimension not in known:
                near = [shortened(one, 30) for one in nearest_names(dimension, known)]
                nearest = listed(near, "or") if known else "none"
                raise self.fault(
                    f"dimensions has {shortened(dimension)!r}, which is not an open axis of an"
                    f" input; the nearest open axis is {nearest}"
                )
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 10**9:
                raise self.fault(
                    f"dimensions[{shortened(dimension)!r}] must be a whole number of at least 1,"
                    f" not {told(size, 40)}"
                )
        if len(names) < len(wanted):
            raise self.fault(
                "an input has an open axis without a name; export the model at a fixed shape"
            )
        missing = [size for size in names if size not in self.dimensions]
        if missing:
            example = ", ".join(f'"{shortened(size, 30)}": 1' for size in missing[:4])
            raise self.fault(
                f"the axes {listed([shortened(size, 30) for size in missing[:8]])} are open;"
                f" give their sizes as dimensions={{{example}}}"
            )

    def _size(self, size: int | str) -> int:
        return self.dimensions[size] if isinstance(size, str) else size

    def _check_count(self, name: str, shape: tuple[int, ...]) -> None:
        if math.prod(shape) > MOST_VALUES:
            raise self.fault(
                f"{shortened(name)!r} would have {math.prod(shape):.3g} values; a tensor of more"
                f" than {MOST_VALUES:.0e} cannot be priced"
            )

    def _hold(self, tensor: TensorFacts, name: str = "", *, is_initialiser: bool = True) -> None:
        """Know a tensor that the file holds."""
        called = name or tensor.name
        self._check_count(called, tensor.dims)
        self.known[called] = Known(tensor.dims, tensor.code, tensor.values)
        self.constants[called] = Constant(called, tensor.code, tensor.count, is_initialiser)

    def _operation(self, node: Node) -> Operation | None:
        """The operation of a node; None where it only says what is known already."""
        why_not = refusal_of(node)
        if why_not:
            raise self.fault(f"{node.called} is not supported: {why_not}")
        if node.operation == "Constant":
            self._constant(node)
            return None
        known = [self.known.get(name) if name else None for name in node.inputs]
        made = self._made(node, known)
        for name, each in zip(node.outputs, made, strict=False):
            self._check_count(name, each.shape)
            self.known[name] = each
        if self._is_folded(node, made):
            return None
        constants = [self.constants.get(name) for name in node.inputs]
        if node.operation == "DequantizeLinear":
            self.dequantised.add(node.outputs[0])
        is_dequantised = bool(node.inputs) and node.inputs[0] in self.dequantised
        try:
            return operation_of(Around(node, known, constants, made, is_dequantised))
        except UnknownShapeError as error:
            raise self.fault(f"{node.called}: {error}") from None
        except (ValueError, IndexError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise self.fault(f"{node.called}: its inputs do not match") from None

    def _made(self, node: Node, known: list[Known | None]) -> list[Known]:
        """What a node makes: from the rules of its operator, else as the file states it."""
        try:
            return inferred(node, known, self.program.opset)
        except UnknownShapeError as error:
            stated = [self._stated(name) for name in node.outputs]
            if not stated or any(each is None for each in stated):
                raise self.fault(f"{node.called} makes tensors of unknown shape: {error}") from None
        if node.operation not in RULES:
            self._allow_strange(node)
        return [each for each in stated if each is not None]

    def _allow_strange(self, node: Node) -> None:
        """Count an unknown operator as elementwise, unless it reads a matrix of weights: then it is
        a product, most likely, and most of its work would be lost."""
        for name in node.inputs:
            known = self.known.get(name)
            if name in self.constants and known and sum(size > 1 for size in known.shape) > 1:
                raise self.fault(
                    f"{node.called} is an unknown operator that reads a matrix of weights"
                    f" ({shortened(name)!r}), so that its work cannot be priced"
                )
        self.strange[node.operation] = None

    def _stated(self, name: str) -> Known | None:
        """A value as the file states it; a value without a name is none at all."""
        if not name:
            return Known(())
        stated = self.program.stated.get(name)
        if stated is None or stated.dims is None:
            return None
        sizes = [
            self.dimensions.get(size, -1) if isinstance(size, str) else size for size in stated.dims
        ]
        return Known(tuple(sizes), stated.code) if min(sizes, default=0) >= 0 else None

    def _constant(self, node: Node) -> None:
        """A tensor that a node holds."""
        if not node.outputs:
            return
        value = node.attributes.get("value")
        name = node.outputs[0]
        if isinstance(value, TensorFacts):
            self._hold(value, name, is_initialiser=False)
            return
        facts = small_constant(node)
        if facts is None:
            raise self.fault(f"{node.called} holds no tensor that can be read")
        self._hold(facts, name, is_initialiser=False)

    def _is_folded(self, node: Node, made: list[Known]) -> bool:
        """Whether a node makes nothing as it runs: shapes worked out beforehand, or weights under
        another name."""
        if not node.outputs:
            return True
        name = node.outputs[0]
        source = self.constants.get(node.inputs[0]) if node.inputs else None
        if node.operation in LAYOUTS and source is not None:
            self.constants[name] = dataclasses.replace(
                source,
                is_dequantised=source.is_dequantised or node.operation == "DequantizeLinear",
            )
            return True
        first = made[0]
        if first.values is not None:
            self.constants[name] = Constant(name, first.code, first.count, False)
            return True
        # Files whose weights were taken out fill them in by a value and a shape.
        if node.operation == "ConstantOfShape" and source is not None:
            self.constants[name] = Constant(name, first.code, first.count, True)
            return True
        return False

    def _ordered(self, nodes: list[Node]) -> list[Node]:
        """In an order in which they can run; the file's own where that is one."""
        if sum(len(node.inputs) for node in nodes) > MOST_READS:
            raise self.fault(f"its nodes have more than {MOST_READS:,} inputs in all")
        makers: dict[str, int] = {}
        given = {each.name for each in self.program.inputs} | set(self.program.tensors)
        for number, node in enumerate(nodes):
            for name in node.outputs:
                if name and (name in makers or name in self.program.tensors):
                    raise self.fault(
                        f"two nodes write {shortened(name)!r}; a tensor must have one source"
                    )
                makers[name] = number
        waiting = [0] * len(nodes)
        ahead: list[list[int]] = [[] for _ in nodes]
        for number, node in enumerate(nodes):
            for name in {each for each in node.inputs if each}:
                if name in makers:
                    waiting[number] += 1
                    ahead[makers[name]].append(number)
                elif name not in given:
                    raise self.fault(
                        f"{node.called} reads {shortened(name)!r}, which neither a node nor the"
                        " file provides"
                    )
        return self._sorted(nodes, waiting, ahead)

    def _sorted(self, nodes: list[Node], waiting: list[int], ahead: list[list[int]]) -> list[Node]:
        order = [number for number, count in enumerate(waiting) if not count]
        for number in order:
            for following in ahead[number]:
                waiting[following] -= 1
                if not waiting[following]:
                    order.append(following)
        if len(order) < len(nodes):
            stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
            raise self.fault(
                f"its nodes form a cycle, with {stuck.called} in it; the graph of a model must be"
                " acyclic"
            )
        # By depth, branches would alternate; as written, each comes whole.
        place = {number: spot for spot, number in enumerate(order)}
        is_ordered = all(
            number < following for number, after in enumerate(ahead) for following in after
        )
        return nodes if is_ordered else [nodes[number] for number in sorted(place, key=place.get)]  # type: ignore[arg-type]

    def _inlined(self) -> list[Node]:
        """The nodes, with those of functions in place of calls."""
        if not self.program.functions:
            return self.program.nodes
        found: list[Node] = []
        # Last in, first out: the nodes of a function stand where its call stood.
        waiting = [(node, 0) for node in reversed(self.program.nodes)]
        calls = 0
        while waiting:
            node, depth = waiting.pop()
            function = self.program.functions.get((node.domain, node.operation))
            if function is None:
                found.append(node)
            else:
                calls += 1
                body = called(function, node, f"{calls}/")
                waiting += [(each, depth + 1) for each in reversed(body)]
            if depth > MOST_CALLS or calls > MOST_NODES:
                raise self.fault(f"{INLINED} call each other more than {MOST_CALLS} deep")
            if len(found) + len(waiting) > MOST_NODES:
                raise self.fault(f"with {INLINED} it has more than {MOST_NODES:,} nodes")
        return found


def small_constant(node: Node) -> TensorFacts | None:
    """A constant that a node states as a number or a list of numbers."""
    for name, code in (("value_int", 7), ("value_ints", 7), ("value_float", 1)):
        value = node.attributes.get(name)
        if isinstance(value, int | float | list):
            values = np.array(value, dtype=np.int64 if code == 7 else np.float32)
            return TensorFacts("", values.shape, code, values)
    return None


def called(function: Function, node: Node, prefix: str) -> list[Node]:
    """The nodes of a function for one call: with the call's values for its own, and names of what
    it makes inside that no other call has."""
    names = dict(zip(function.inputs, node.inputs, strict=False))
    names |= dict.fromkeys(function.inputs[len(node.inputs) :], "")
    names |= dict(zip(function.outputs, node.outputs, strict=False))
    given = function.defaults | node.attributes

    def renamed(name: str) -> str:
        return names.setdefault(name, prefix + name) if name else ""

    body = []
    for each in function.nodes:
        asked = {own: given[theirs] for own, theirs in each.references.items() if theirs in given}
        body.append(
            dataclasses.replace(
                each,
                inputs=[renamed(name) for name in each.inputs],
                outputs=[renamed(name) for name in each.outputs],
                module=each.module or node.module,
                attributes=each.attributes | asked,
                references={},
            )
        )
    return body
