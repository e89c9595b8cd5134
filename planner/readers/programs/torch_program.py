"""Programs that `torch.export` traced [1], and the parameters of torch modules. Torch itself is not
imported: what it made is read by its attributes, on the meta device as on any other.

[1] PyTorch, "torch.export", IR of ATen operators.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from planner.errors import InputError, shortened
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.readers.programs.traced import (
    Label,
    Operation,
    Value,
    Weight,
    graph_of_operations,
    names_in,
)

DTYPES: dict[str, Dtype] = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e4m3fnuz": "fp8",
    "float8_e5m2": "fp8",
    "float8_e5m2fnuz": "fp8",
    "int8": "int8",
    "uint8": "int8",
    "int32": "fp32",
}
"""Torch's formats by our names; a 32-bit integer costs what a float of its size does."""

VIEWS = names_in(
    "view reshape _unsafe_view unsqueeze squeeze transpose t permute alias detach dropout contiguous"
    " flatten unflatten view_as lift_fresh_copy movedim"
)
"""What moves nothing."""
SAME_FORMAT = ("to", "_to_copy", "type_as")
"""What moves nothing where the format stays."""
PARTS = ("select", "slice", "narrow")
"""What takes a part of a tensor."""
COPIES = names_in(
    "cat stack slice select split split_with_sizes chunk unbind expand repeat clone copy index"
    " index_select gather scatter zeros ones full arange zeros_like ones_like full_like pad"
    " constant_pad_nd where masked_fill roll tril triu repeat_interleave upsample_nearest2d"
    " upsample_bilinear2d pixel_shuffle new_zeros new_ones empty"
)
CHEAP = names_in("add sub mul div neg abs relu clamp maximum minimum eq ne lt le gt ge sum mean")
"""One operation for each value; others count as a pass of four."""
NOTHING = ("_assert_tensor_metadata", "_assert_scalar", "sym_size", "sym_constrain_range_for_size")

LINEAR = ("linear",)
PRODUCTS: dict[str, tuple[int, int]] = {
    "mm": (0, 1),
    "bmm": (0, 1),
    "matmul": (0, 1),
    "mv": (0, 1),
    "dot": (0, 1),
    "addmm": (1, 2),
    "addmv": (1, 2),
    "baddbmm": (1, 2),
    "_scaled_mm": (0, 1),
}
"""Where the two factors stand."""
CONVOLUTIONS = ("convolution", "_convolution", "conv1d", "conv2d", "conv3d")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
RECURRENCES = ("lstm", "gru", "rnn_tanh", "rnn_relu")


class Parameter(NamedTuple):
    """A parameter of a module."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """As torch calls it, such as "bfloat16"."""
    stored_bytes: int


def module_inventory(module: Any) -> list[Parameter]:
    """The parameters of a `torch.nn.Module`, in its own order; tied ones once, under the first of
    their names. Works on the meta device. An InputError where it is no module."""
    if not callable(getattr(module, "named_parameters", None)):
        raise InputError(
            f"module must be a torch.nn.Module, not {shortened(type(module).__name__)}"
        )
    found = []
    for name, each in module.named_parameters(remove_duplicate=True):
        shape = tuple(int(size) for size in each.shape)
        stored = math.prod(shape) * int(each.element_size())
        found.append(Parameter(name, shape, _name_of(each.dtype), stored))
    return found


def graph_of_program(exported: Any, name: str = "program") -> ModelGraph:
    """The graph of a `torch.export.ExportedProgram`, one token being one run at the shapes that it
    was exported at. Parameters that it never reads are not in it. An InputError where it is no such
    program, a shape is open, or it branches on what it computes."""
    graph = getattr(exported, "graph", None)
    signature = getattr(exported, "graph_signature", None)
    if graph is None or signature is None:
        raise InputError(
            f"exported must be what torch.export.export() returns, not"
            f" {shortened(type(exported).__name__)}"
        )
    reading = _Reading(exported, name)
    operations = [made for node in graph.nodes for made in reading.operations_of(node)]
    return graph_of_operations(
        name,
        operations,
        reading.inputs,
        reading.outputs,
        source="a program that torch.export traced",
        confidence="read from the graph",
    )


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What is known of a value."""

    shape: tuple[int, ...]
    dtype: str
    value_bytes: float

    @property
    def count(self) -> int:
        return math.prod(self.shape)


class _Reading:
    """From the nodes of a program to operations."""

    def __init__(self, exported: Any, name: str) -> None:
        self.name = name
        signature = exported.graph_signature
        self.parameters: dict[str, str] = dict(signature.inputs_to_parameters)
        """Of a placeholder, the name of the parameter."""
        self.buffers = {
            **dict(signature.inputs_to_buffers),
            **dict(getattr(signature, "inputs_to_lifted_tensor_constants", {})),
        }
        self.first_name = _first_names(getattr(exported, "state_dict", {}))
        self.weights: dict[str, Weight] = {}
        """Of each node that is a parameter, or a parameter turned."""
        self.tables: dict[str, float] = {}
        """Bytes of each node that is a buffer."""
        self.inputs: list[Value] = []
        self.outputs: list[str] = []

    def fault(self, reason: str) -> InputError:
        return InputError(f"{shortened(self.name)}: {reason}")

    def operations_of(self, node: Any) -> Iterator[Operation]:
        """What a node does; nothing where it is a parameter, an input or a check."""
        if node.op == "placeholder":
            self._placeholder(node)
        elif node.op == "output":
            self.outputs = [each.name for each in _nodes_in(node.args)]
        elif node.op == "call_function":
            made = self._call(node)
            if made is not None:
                yield made
        elif node.op == "get_attr":
            raise self.fault(
                f"node {shortened(node.name)!r} holds a subgraph; export a program without branches"
            )

    def _placeholder(self, node: Any) -> None:
        known = self._known(node)
        if not known:
            return
        first = known[0]
        if node.name in self.parameters:
            own = self.parameters[node.name]
            self.weights[node.name] = self._weight(self.first_name.get(own, own), first)
        elif node.name in self.buffers:
            self.tables[node.name] = first.count * first.value_bytes
        else:
            self.inputs.append(Value(node.name, first.count, first.value_bytes))

    def _weight(self, name: str, tensor: _Tensor) -> Weight:
        dtype = DTYPES.get(tensor.dtype)
        if dtype is None:
            raise self.fault(
                f"parameter {shortened(name)!r} is stored as {tensor.dtype}, which no machine here"
                " multiplies; store it as a float of 32 bits or fewer"
            )
        return Weight(name, tensor.count, dtype, tensor.count * tensor.value_bytes)

    def _known(self, node: Any) -> list[_Tensor]:
        """The tensors of a node's value; none where it is a number or nothing."""
        value = node.meta.get("val") if hasattr(node, "meta") else None
        several = value if isinstance(value, list | tuple) else [value]
        return [self._tensor(node, each) for each in several if hasattr(each, "shape")]

    def _tensor(self, node: Any, value: Any) -> _Tensor:
        shape = tuple(value.shape)
        if not all(type(size) is int for size in shape):
            raise self.fault(
                f"node {shortened(node.name)!r} has an open shape ({shortened(shape, 40)}); export"
                " the program without dynamic_shapes"
            )
        return _Tensor(shape, _name_of(value.dtype), float(value.element_size()))

    def _call(self, node: Any) -> Operation | None:
        if node.target is operator.getitem:
            return self._item(node)
        called = _called(node.target)
        if called in NOTHING or not self._known(node):
            return None
        if "higher_order" in str(getattr(node.target, "namespace", "")):
            raise self.fault(
                f"node {shortened(node.name)!r} is a branch or a loop ({shortened(called, 40)}),"
                " which is not supported; export a program without branches and loops"
            )
        if self._is_turned_weight(node, called):
            return None
        if called in (*LINEAR, *PRODUCTS, "einsum") or "grouped_mm" in called:
            return self._product(node, called)
        if called in CONVOLUTIONS or called in TRANSPOSED:
            return self._convolution(node, called)
        if "scaled_dot_product" in called:
            return self._attention(node)
        if called == "embedding" and self._of(node.args[0]) is not None:
            return self._embedding(node)
        if called in RECURRENCES:
            return self._recurrence(node)
        self._refuse_strange(node, called)
        return self._pointwise(node, called)

    def _refuse_strange(self, node: Any, called: str) -> None:
        """What nobody knows and reads matrices of weights is a product, most likely: to count it as
        elementwise would lose most of its work."""
        is_known = str(node.target).startswith("aten.") and not called.endswith("mm")
        if is_known:
            return
        for each in _nodes_in((node.args, node.kwargs)):
            if self._of(each) is not None and sum(size > 1 for size in self._shape(each)) > 1:
                raise self.fault(
                    f"operator {shortened(str(node.target))!r} (node {shortened(node.name)!r}) is"
                    " not known and reads a matrix of weights, so that its work cannot be priced"
                )

    def _of(self, node: Any) -> Weight | None:
        """The weight that a node is."""
        return self.weights.get(getattr(node, "name", ""))

    def _item(self, node: Any) -> Operation | None:
        """One of several tensors that a node makes."""
        source, number = node.args[0], node.args[1]
        known = self._known(node)
        if not known:
            return None
        if source.name in self.weights:
            own = self.weights[source.name].name
            self.weights[node.name] = self._weight(f"{own}[{number}]", known[0])
            return None
        value = Value(node.name, known[0].count, known[0].value_bytes)
        return Operation(
            name=node.name,
            label="pointwise",
            inputs=(f"{source.name}:{number}",),
            outputs=(value,),
            is_view=True,
        )

    def _is_turned_weight(self, node: Any, called: str) -> bool:
        """Whether a node only shows a parameter, or a part of one, another way."""
        source = node.args[0] if node.args else None
        weight = self._of(source)
        if weight is None:
            return False
        if called in (*VIEWS, *SAME_FORMAT, "expand"):
            self.weights[node.name] = weight
            return True
        if called in (*PARTS, "split", "chunk", "split_with_sizes", "unbind"):
            chosen = ",".join(str(each) for each in node.args[1:])
            is_whole = self._known(node)[0].count == weight.count
            part = self._weight(f"{weight.name}[{chosen}]", self._known(node)[0])
            self.weights[node.name] = weight if is_whole else part
            return True
        return False

    def _made(self, node: Any, label: Label, flop: float, **more: Any) -> Operation:
        """An operation with the names and sizes around a node."""
        known = self._known(node)
        read = list(_nodes_in((node.args, node.kwargs)))
        is_several = isinstance(node.meta.get("val"), list | tuple)
        outputs = [
            Value(
                f"{node.name}:{number}" if is_several else node.name, each.count, each.value_bytes
            )
            for number, each in enumerate(known)
        ]
        names = [each.name for each in read if each.name not in {**self.weights, **self.tables}]
        weights = {each.name: weight for each in read if (weight := self._of(each)) is not None}
        return Operation(
            name=node.name,
            label=label,
            inputs=tuple(names),
            outputs=tuple(outputs),
            module=_module_of(node),
            flop=flop,
            weights=tuple({weight.name: weight for weight in weights.values()}.values()),
            constant_bytes=sum(self.tables.get(each.name, 0.0) for each in read),
            dtype=DTYPES.get(known[0].dtype, "fp32"),
            **more,
        )

    def _shape(self, node: Any) -> tuple[int, ...]:
        known = self._known(node)
        return known[0].shape if known else ()

    def _product(self, node: Any, called: str) -> Operation:
        """Any product of two tensors: all of one times what each of its rows meets."""
        out = self._known(node)[0].count
        if called == "einsum":
            return self._made(node, "matmul", self._einsum_flop(node))
        left, right = PRODUCTS.get(called, (0, 1))
        a, b = self._shape(node.args[left]), self._shape(node.args[right])
        # Of grouped products too each row meets one matrix: that of its expert.
        flop = 2.0 * out * (a[-1] if a else 1)
        matrix = None
        if len(b) == 2 and self._of(node.args[right]) is not None and min(b) > 0 and out > 0:
            inputs, outputs = b[::-1] if called in LINEAR else b
            matrix = (inputs, outputs, out // outputs)
        return self._made(node, "matmul", flop, matrix=matrix)

    def _einsum_flop(self, node: Any) -> float:
        terms = str(node.args[0]).replace(" ", "").partition("->")[0].split(",")
        sizes: dict[str, int] = {}
        for term, each in zip(terms, node.args[1], strict=False):
            sizes.update(zip(term, self._shape(each), strict=False))
        if "." in str(node.args[0]):
            raise self.fault(
                f"node {shortened(node.name)!r} has an equation that is not understood"
            )
        return 2.0 * math.prod(sizes.values()) * max(1, len(terms) - 1)

    def _convolution(self, node: Any, called: str) -> Operation:
        kernel = self._shape(node.args[1])
        transposed = called in TRANSPOSED
        if called in ("convolution", "_convolution") and len(node.args) > 6:
            transposed = bool(node.args[6])
        # Each output sees its group's channels; transposed, each input feeds its group's channels.
        many = math.prod(self._shape(node.args[0])) if transposed else self._known(node)[0].count
        return self._made(node, "convolution", 2.0 * many * math.prod(kernel[1:]))

    def _attention(self, node: Any) -> Operation:
        """Scores and sums over all keys, masked or not."""
        query, key, value = (self._shape(each) for each in node.args[:3])
        pairs = math.prod(query[:-1]) * key[-2]
        return self._made(node, "attention", 2.0 * pairs * (query[-1] + value[-1]))

    def _embedding(self, node: Any) -> Operation:
        rows, width = self._shape(node.args[0])
        looked_up = max(1, math.prod(self._shape(node.args[1])))
        table = (rows, width, looked_up) if min(rows, width) > 0 else None
        return self._made(node, "embedding", 0.0, table=table)

    def _recurrence(self, node: Any) -> Operation:
        """Every step multiplies by each matrix once."""
        length_batch = math.prod(self._shape(node.args[0])[:2])
        matrices = 0
        for each in _nodes_in(node.args):
            if self._of(each) is not None and len(self._shape(each)) == 2:
                matrices += math.prod(self._shape(each))
        return self._made(node, "recurrence", 2.0 * length_batch * matrices)

    def _pointwise(self, node: Any, called: str) -> Operation:
        known = self._known(node)
        values = max(each.count for each in known)
        read = [math.prod(self._shape(each)) for each in _nodes_in(node.args)]
        first = next(iter(_nodes_in(node.args)), None)
        is_view = called in VIEWS and first is not None
        if called in SAME_FORMAT and first is not None:
            before = self._known(first)
            is_view = bool(before) and before[0].dtype == known[0].dtype
        if called in COPIES or called in SAME_FORMAT:
            each = 0.0
        elif called in CHEAP or "pool" in called:
            each = 1.0
            values = max(values, *read, 0)
        else:
            each = 4.0
        return self._made(node, "pointwise", each * values, is_view=is_view)


def _first_names(state: Any) -> dict[str, str]:
    """Of each parameter's name the first name of the same tensor: tied ones are one."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in dict(state).items()}


def _called(target: Any) -> str:
    """The operator's own name: "linear" of aten.linear.default."""
    name = str(target)
    parts = name.split(".")
    found = parts[1] if len(parts) > 2 else parts[-1]
    # What writes into its input is called as what does not, and a mark.
    return found[:-1] if found.endswith("_") and not found.endswith("__") else found


def _module_of(node: Any) -> str:
    """The path of the innermost module in which a node was traced."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(entry[0]) for entry in stack.values()]
    return paths[-1].removeprefix("L['self'].") if paths else ""


def _name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _nodes_in(value: Any) -> Iterator[Any]:
    """Nodes among arguments, however they are nested."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _nodes_in(each)
    elif hasattr(value, "op") and hasattr(value, "target"):
        yield value
