"""What a file of tensors holds, and how much each module of its model takes in it.

The bits of a weight are exact where the file says how many weights its tensors hold: every byte of
a matrix, its scales and zero points among them, over its weights.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import NamedTuple

from planner.errors import InputError, listed, shortened
from planner.models.dtypes import Dtype
from planner.models.storage import Storage, Stored
from planner.readers.tensors.names import MTP, Place, place_of

MOST_ELEMENTS = 2**60
"""Of one tensor."""


class Tensor(NamedTuple):
    """One tensor of a file."""

    name: str
    shape: tuple[int, ...]
    """Outermost axis first, whichever way the file has it."""
    dtype: str
    """As the file calls it."""
    bytes: int

    @property
    def parameters(self) -> int:
        """Elements; where several weights are packed into one, fewer than its weights."""
        return elements_of(self.shape)


def elements_of(shape: Iterable[int]) -> int:
    """Of a tensor of that shape."""
    return prod(shape)


class Inventory(NamedTuple):
    """What a checkpoint holds."""

    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str] = MappingProxyType({})
    """What its file says about itself."""
    remarks: tuple[str, ...] = ()
    """What a reader should know of how it was read."""
    unread: tuple[str, ...] = ()
    """Tensors of which only the names are known."""
    stated_bytes: int | None = None
    """Of all tensors, as stated where not all could be read."""

    @property
    def total_bytes(self) -> int:
        """Of all tensors."""
        if self.stated_bytes is not None:
            return self.stated_bytes
        return sum(tensor.bytes for tensor in self.tensors)


MATRIX = ("weight", "qweight", "weight_packed", "blocks", "qdata")
"""Parts that hold weights; the others say how to read them."""
STORED_AS: dict[str, Dtype] = {
    **dict.fromkeys(("F32", "F64", "C64"), "fp32"),
    "F16": "fp16",
    "BF16": "bf16",
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), "fp8"),
    "F4": "fp4",
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), "fp6"),
    **dict.fromkeys(("I8", "U8"), "int8"),
    "Q4_0": "q4_0",
    "Q4_1": "q4_1",
    "Q5_0": "q5_0",
    "Q5_1": "q5_1",
    **dict.fromkeys(("Q8_0", "Q8_1", "Q8_K"), "q8_0"),
    "Q2_K": "q2_k",
    "Q3_K": "q3_k",
    "Q4_K": "q4_k",
    "Q5_K": "q5_k",
    "Q6_K": "q6_k",
    **dict.fromkeys(("IQ1_S", "IQ1_M", "TQ1_0", "Q1_0"), "iq1"),
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ2_S", "TQ2_0"), "iq2"),
    **dict.fromkeys(("IQ3_XXS", "IQ3_S"), "iq3"),
    **dict.fromkeys(("IQ4_NL", "IQ4_XS"), "iq4"),
    "MXFP4": "mxfp4",
    "NVFP4": "nvfp4",
}
"""The nearest of our formats; how many bits a weight has, the bytes say."""
WORDS = ("I32", "U32")
"""Words into which integers of fewer bits are packed."""
PACKED: dict[int, Dtype] = {2: "int2", 3: "int3", 4: "int4", 5: "int5", 6: "int6", 8: "int8"}

Expected = Callable[[str], float]


class _Matrix:
    """The tensors of one matrix: its weights, and what says how to read them."""

    def __init__(self, place: Place) -> None:
        self.stem = place.stem
        self.modules = place.modules
        self.parts: dict[str, Tensor] = {}

    @property
    def bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.parts.values())

    @property
    def held(self) -> Tensor | None:
        """Its weights."""
        return next((self.parts[part] for part in MATRIX if part in self.parts), None)

    def has(self, *starts: str) -> bool:
        return any(part.startswith(starts) for part in self.parts)

    @property
    def dtype(self) -> Dtype | None:
        """Its format, where that does not depend on how many weights a word holds."""
        held = self.held
        if held is None:
            return None
        if held.dtype == "U8" and not self.has("SCB"):
            return self._dtype_of_bytes()
        if held.dtype == "I8" and "qdata" in self.parts:
            return None  # one to a byte, or two
        if held.dtype in WORDS:
            return self._dtype_of_words(held)
        return STORED_AS.get(held.dtype)

    def _dtype_of_words(self, held: Tensor) -> Dtype | None:
        """Of floats as MLX packs them, their scales being bytes, by the words that share a scale:
        16 or 32 weights of four bits, or 32 of eight; None: integers."""
        scales = self.parts.get("scales")
        if scales is None or scales.dtype != "U8" or not scales.parameters:
            return None
        formats: dict[float, Dtype] = {2: "nvfp4", 4: "mxfp4", 8: "fp8"}
        return formats.get(held.parameters / scales.parameters, "mxfp4")

    def _dtype_of_bytes(self) -> Dtype | None:
        """Of weights of four bits, two to a byte."""
        shared = self.parts.get("weight_scale")
        if shared is not None and shared.dtype in ("F32", "BF16", "F16"):
            return "int4"  # whole numbers, whose scales are no powers of two
        if self.has("weight_scale_2", "weight_global_scale", "weight_per_tensor_scale"):
            return "nvfp4"
        if self.has("weight.absmax", "weight.quant_state", "weight.quant_map"):
            return "int4"
        scale = self.parts.get("weight_scale") or self.parts.get("scales")
        if "blocks" in self.parts or (scale is not None and scale.dtype in ("U8", "F8_E8M0")):
            return "mxfp4"
        return None

    @property
    def weights(self) -> float | None:
        """How many weights it holds; None where its tensors do not say."""
        held = self.held
        if held is None:
            return None
        if held.dtype in WORDS:
            bits = self._bits_of_words(held)
            return None if bits is None else 32 * held.parameters / bits
        if self.dtype is None:
            return None
        return held.parameters * (2.0 if held.dtype == "U8" and self.dtype != "int8" else 1.0)

    def _bits_of_words(self, held: Tensor) -> float | None:
        """Of a weight among those that a word holds: zero points are packed as the weights are,
        one to a scale; a list of groups has one entry for each input."""
        scales = self.parts.get("scales") or self.parts.get("weight_scale")
        zeros = self.parts.get("qzeros") or self.parts.get("weight_zero_point")
        order = self.parts.get("g_idx")
        if zeros is not None and zeros.dtype in WORDS and scales is not None:
            return _whole_bits(32 * zeros.parameters, scales.parameters)
        if order is not None and held.shape:
            return _whole_bits(32 * held.shape[0], order.parameters)
        if self.dtype is None:
            return None
        return 8.0 if self.dtype == "fp8" else 4.0


def _whole_bits(packed: int, count: int) -> float | None:
    """Bits of each of `count` values in `packed` bits, padding at the end left out."""
    bits = packed / count if count else 0.0
    return next((float(known) for known in PACKED if known <= bits < known + 0.5), None)


class InventoryStorage:
    """How the modules of a checkpoint are stored, as its tensors are (a `Storage`).

    `layers` is how many the language model has: those beyond it predict later tokens. `expected`
    says how many weights a module has, where the tensors do not: packed integers whose bits the
    header does not tell; `packed_bits` says those bits. Neither is asked where the tensors tell.
    `stated` is what a config says: of formats that it and the tensors share, it alone knows what
    they are multiplied in.
    """

    def __init__(
        self,
        inventory: Inventory,
        layers: int,
        *,
        expected_parameters: Expected | None = None,
        packed_bits: int | None = None,
        stated: Storage | None = None,
    ) -> None:
        self.inventory = inventory
        self.layers = layers
        self.expected_parameters = expected_parameters
        self.packed_bits = packed_bits
        self.stated = stated
        self.beside_bytes: Counter[str] = Counter()
        """Of tensors that belong to no module, by what they belong to."""
        self.small_bytes = 0
        self.small_weights = 0
        """Of norms, biases and the like."""
        self._found: dict[str, Stored] = {}
        self._matrices = self._sorted_out()
        self._of_module: dict[str, list[_Matrix]] = defaultdict(list)
        for matrix in self._matrices:
            for module in matrix.modules:
                self._of_module[module].append(matrix)

    def _sorted_out(self) -> list[_Matrix]:
        """The matrices of modules; what is none of a module's is counted."""
        matrices: dict[str, _Matrix] = {}
        self._example: dict[str, str] = {}
        places = [(place_of(tensor.name), tensor) for tensor in self.inventory.tensors]
        for place, tensor in _gguf_settled(places):
            beyond = place.layer is not None and place.layer >= self.layers
            beside = place.beside or (MTP if beyond else "")
            if beside or not (place.modules or place.small):
                self._count_beside(beside or "other", tensor)
            elif place.small:
                self._count_small(tensor)
            else:
                matrix = matrices.setdefault(place.stem, _Matrix(place))
                matrix.parts[place.part] = tensor
        return list(matrices.values())

    def _count_small(self, tensor: Tensor) -> None:
        self.small_bytes += tensor.bytes
        self.small_weights += tensor.parameters

    @property
    def vector_bits(self) -> float:
        """Of a weight of norms, biases and the like, on average; 0: there are none."""
        return 8 * self.small_bytes / self.small_weights if self.small_weights else 0.0

    def _count_beside(self, beside: str, tensor: Tensor) -> None:
        # Vectors that no rule knows are no weights to speak of.
        if beside == "other" and len(tensor.shape) < 2:
            self._count_small(tensor)
            return
        self.beside_bytes[beside] += tensor.bytes
        self._example.setdefault(beside, tensor.name)

    @property
    def modules(self) -> tuple[str, ...]:
        """All that have a tensor."""
        return tuple(self._of_module)

    def bytes_of(self, module: str) -> float:
        """What the matrices take that hold a module, other modules' shares of them included."""
        return sum(matrix.bytes for matrix in self._of_module.get(module, ()))

    @property
    def module_bytes(self) -> int:
        """Of all matrices that belong to a module."""
        return sum(matrix.bytes for matrix in self._matrices)

    @cached_property
    def weight_dtype(self) -> Dtype:
        """Of most of the weights."""
        counted: Counter[Dtype] = Counter()
        for matrix in self._matrices:
            dtype = self._dtype_of(matrix)
            if dtype is not None:
                counted[dtype] += round(self._weights_of(matrix) or matrix.bytes)
        return counted.most_common(1)[0][0] if counted else "bf16"

    @cached_property
    def weight_block(self) -> int | None:
        """Neighbours that share one scale, where most weights are stored in square blocks."""
        counted: Counter[int] = Counter()
        for matrix in self._matrices:
            held = matrix.held
            if held is not None:
                counted[_block_of(matrix, held)] += held.bytes
        block = counted.most_common(1)[0][0] if counted else 0
        return block or None

    def of(self, module: str) -> Stored:
        """How the module of that name is stored; one without a tensor as most weights are, and an
        output head as the embedding, which it then shares."""
        found = self._found.get(module)
        if found is None:
            found = self._found[module] = self._stored(module)
        return found

    def _stored(self, module: str) -> Stored:
        matrices = self._of_module.get(module)
        if not matrices and module == "lm_head" and "embed_tokens" in self._of_module:
            return self.of("embed_tokens")
        if not matrices:
            return Stored(dtype=self.weight_dtype)
        largest = max(matrices, key=lambda matrix: matrix.bytes)
        dtype = self._dtype_of(largest) or self.weight_dtype
        # Integers in words are multiplied as they were before: only the weights were packed.
        words = largest.held is not None and largest.held.dtype in WORDS
        packed = words and dtype.startswith("int")
        activation: Dtype | None = "bf16" if packed else None
        said = self.stated.of(module) if self.stated is not None else None
        if said is not None and said.dtype == dtype:
            activation = said.activation_dtype
        counts = [self._weights_of(matrix) for matrix in matrices]
        weights = sum(count or 0.0 for count in counts)
        if None in counts or not weights:
            return Stored(dtype=dtype, activation_dtype=activation)
        held = sum(matrix.bytes for matrix in matrices)
        bits = 8 * held / weights
        if bits > 64:
            raise InputError(
                f"{shortened(largest.stem)} has {held} bytes for {weights:.15g} weights; no format"
                " has more than 64 bits a weight"
            )
        return Stored(dtype=dtype, stated_bits_per_weight=bits, activation_dtype=activation)

    def _weights_of(self, matrix: _Matrix) -> float | None:
        """How many weights a matrix holds: as its tensors say, else as its bits or its modules
        do."""
        weights = matrix.weights
        held = matrix.held
        if weights is not None or held is None:
            return weights
        if self.packed_bits and held.dtype in WORDS:
            return 32 * held.parameters / self.packed_bits
        if self.expected_parameters is None:
            return None
        # Of experts each has a matrix of its own; together they are one module.
        share = len(self._of_module[matrix.modules[0]])
        return sum(map(self.expected_parameters, matrix.modules)) / share or None

    def _dtype_of(self, matrix: _Matrix) -> Dtype | None:
        held = matrix.held
        if held is None or matrix.dtype is not None:
            return matrix.dtype
        weights = self._weights_of(matrix)
        bits = round(8 * held.bytes / weights) if weights else 4
        return PACKED.get(bits)

    def check_against(self, graph_modules: Mapping[str, float]) -> list[str]:
        """What the checkpoint and a model's modules, with the weights of each, do not share: one
        sentence each; none where they agree."""
        return [
            *self.inventory.remarks,
            *self._told_beside(graph_modules),
            *self._told_missing(graph_modules),
            *self._told_unlike(graph_modules),
        ]

    def _told_beside(self, graph_modules: Mapping[str, float]) -> Iterator[str]:
        beside = Counter(self.beside_bytes)
        later = beside.pop(MTP, 0)
        example = self._example.get("other", "")
        for matrix in self._matrices:
            if graph_modules.keys().isdisjoint(matrix.modules):
                beside["other"] += matrix.bytes
                example = example or matrix.stem
        if beside["other"] and example:
            beside[f"other, such as {shortened(example)},"] = beside.pop("other")
        counted = [f"{part} {held / 1e9:.3g} GB" for part, held in beside.items() if held]
        if counted:
            total = sum(beside.values()) / 1e9
            yield f"{total:.3g} GB of tensors belong to no module: {listed(counted)}"
        if later:
            yield (
                f"{later / 1e9:.3g} GB of tensors predict later tokens (layers from {self.layers} on"
                " and the like); they are no part of the model's own layers"
            )

    def _told_missing(self, graph_modules: Mapping[str, float]) -> Iterator[str]:
        missing = [
            module
            for module, weights in graph_modules.items()
            if weights and module not in self._of_module
        ]
        if missing and self.inventory.unread:
            unread = self.inventory.unread
            named = {module for name in unread for module in place_of(name).modules}
            missing = [module for module in missing if module not in named]
        if missing:
            yield (
                f"{len(missing)} modules have no tensor: {listed(missing[:3])}"
                f"{' and more' * (len(missing) > 3)}"
            )

    def _told_unlike(self, graph_modules: Mapping[str, float]) -> Iterator[str]:
        """Matrices that hold other than as many weights as their modules should have: modules of
        one layer that share a matrix are counted together."""
        done: set[str] = set()
        unlike = []
        for module in graph_modules:
            if module in done or module not in self._of_module:
                continue
            matrices = self._of_module[module]
            together = {one: None for matrix in matrices for one in matrix.modules}
            done |= together.keys()
            counts = [matrix.weights for matrix in matrices]
            wanted = sum(graph_modules.get(one, 0.0) for one in together)
            held = sum(count or 0.0 for count in counts)
            if None not in counts and abs(held - wanted) > 0.001 * max(held, wanted):
                unlike.append(f"{listed(together)} ({held:.6g} for {wanted:.6g})")
        if unlike:
            yield (
                f"{len(unlike)} modules have another number of weights in the file than in the"
                f" model: {listed(unlike[:3])}{' and more' * (len(unlike) > 3)}"
            )


def _gguf_settled(places: list[tuple[Place, Tensor]]) -> Iterator[tuple[Place, Tensor]]:
    """Names that mean different things by what stands beside them in their layer, in llama.cpp's
    files: an `attn_qkv` beside state-space tensors is their input projection, and an `ffn_up`
    without an `ffn_gate` holds both."""
    leaves: dict[int, set[str]] = defaultdict(set)
    for place, _ in places:
        if place.layer is not None and place.stem.startswith("blk."):
            leaves[place.layer].add(place.stem.rpartition(".")[2])
    for place, tensor in places:
        number = place.layer
        beside = leaves.get(-1 if number is None else number, set())
        leaf = place.stem.rpartition(".")[2] if beside else ""
        if leaf in ("attn_qkv", "attn_gate") and "ssm_out" in beside:
            yield place._replace(modules=(f"layers.{number}.linear_attn.in_proj",)), tensor
        elif leaf == "ffn_up" and "ffn_gate" not in beside and not place.small:
            below = ("gate_proj", "up_proj")
            modules = tuple(f"layers.{number}.mlp.{one}" for one in below)
            yield place._replace(modules=modules), tensor
        else:
            yield place, tensor


def _block_of(matrix: _Matrix, held: Tensor) -> int:
    """The side of the square blocks that share a scale, 0: there are none. How many the matrix has
    along either axis is how many scales it has; the smallest power of two that fits."""
    scale = matrix.parts.get("weight_scale_inv") or matrix.parts.get("weight_scale")
    if scale is None or len(held.shape) < 2:
        return 0
    counts = scale.shape
    if len(counts) == 2 * len(held.shape) and set(counts[1::2]) == {1}:
        counts = counts[::2]  # an axis of one after each
    if len(counts) != len(held.shape):
        return 0
    sides = list(zip(held.shape[-2:], counts[-2:], strict=True))
    for block in (16, 32, 64, 128, 256, 512, 1024):
        if all(-(-length // block) == count for length, count in sides):
            return block
    return 0
