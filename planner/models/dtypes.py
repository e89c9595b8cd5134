"""Number formats: what a value costs in memory, and what it is multiplied in.

Bits include the scales that a block format carries: NVFP4 has an 8-bit scale for 16 values [1],
MXFP4 one for 32 [2], llama.cpp's Q4_0 and Q8_0 a 16-bit one for 32, Q4_K_M mixes 4- and 6-bit
blocks [3], as the names of its other formats say; INT4 as GPTQ and AWQ ship it has a 16-bit scale
and zero for 128. Checkpoints with other groups state their own bits (see `Stored`).

[1] NVIDIA, "Introducing NVFP4", 2025.
[2] OCP Microscaling Formats (MX) v1.0, 2023.
[3] ggml-quants.h of llama.cpp.
[4] DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, section 3.3.
"""

from collections.abc import Collection
from typing import Literal, get_args

Dtype = Literal[
    "fp32",
    "bf16",
    "fp16",
    "fp8",
    "int8",
    "q8_0",
    "fp6",
    "fp5",
    "fp4",
    "nvfp4",
    "mxfp4",
    "int4",
    "q4_k_m",
    "q4_0",
    "int2",
    "int3",
    "int5",
    "int6",
    "iq1",
    "iq2",
    "iq3",
    "iq4",
    "q2_k",
    "q3_k",
    "q4_1",
    "q4_k",
    "q5_0",
    "q5_1",
    "q5_k",
    "q6_k",
]

Zeros = Literal["2:4", "unstructured"]
"""How the zeros of a pruned matrix lie: two in every four neighbours, or anywhere."""

BITS: dict[str, float] = {
    "fp32": 32.0,
    "bf16": 16.0,
    "fp16": 16.0,
    "fp8": 8.0,
    "int8": 8.0,
    "q8_0": 8.5,
    "fp6": 6.0,
    "fp5": 5.0,
    "fp4": 4.0,
    "nvfp4": 4.5,
    "mxfp4": 4.25,
    "int4": 4.25,
    "q4_k_m": 4.83,
    "q4_0": 4.5,
    "int2": 2.25,
    "int3": 3.25,
    "int5": 5.25,
    "int6": 6.25,
    "iq1": 1.5625,
    "iq2": 2.3125,
    "iq3": 3.4375,
    "iq4": 4.25,
    "q2_k": 2.625,
    "q3_k": 3.4375,
    "q4_1": 5.0,
    "q4_k": 4.5,
    "q5_0": 5.5,
    "q5_1": 6.0,
    "q5_k": 5.5,
    "q6_k": 6.5625,
}

# In which formats a chip may multiply values of this one, best first: without the peak of one it
# falls to the next.
MULTIPLIED_IN: dict[str, tuple[str, ...]] = {
    "fp32": ("fp32", "bf16", "fp16"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "fp8": ("fp8", "bf16", "fp16", "fp32"),
    "int8": ("int8", "bf16", "fp16", "fp32"),
    "q8_0": ("int8", "fp16", "bf16", "fp32"),
    "fp6": ("bf16", "fp16", "fp32"),
    "fp5": ("bf16", "fp16", "fp32"),
    "fp4": ("fp4", "fp8", "bf16", "fp16", "fp32"),
    "nvfp4": ("fp4", "fp8", "bf16", "fp16", "fp32"),
    "mxfp4": ("fp4", "fp8", "bf16", "fp16", "fp32"),
    "int4": ("bf16", "fp16", "fp32"),
    "q4_k_m": ("fp16", "bf16", "fp32"),
    "q4_0": ("fp16", "bf16", "fp32"),
    **dict.fromkeys(("int2", "int3", "int5", "int6"), ("bf16", "fp16", "fp32")),
    **dict.fromkeys(
        (
            "iq1",
            "iq2",
            "iq3",
            "iq4",
            "q2_k",
            "q3_k",
            "q4_1",
            "q4_k",
            "q5_0",
            "q5_1",
            "q5_k",
            "q6_k",
        ),
        ("fp16", "bf16", "fp32"),
    ),
}

# What the activations are multiplied in where nobody says otherwise: recipes that quantise both
# sides.
ACTIVATIONS_OF: dict[Dtype, Dtype] = {
    "fp8": "fp8",
    "int8": "int8",
    "nvfp4": "nvfp4",
    "fp32": "fp32",
    "fp16": "fp16",
}


# Four-bit floats without a recipe for the activations: chip and stack decide what they are
# multiplied in.
NATIVE: tuple[Dtype, ...] = ("fp4", "mxfp4")


RECIPES: tuple[Dtype, ...] = (*ACTIVATIONS_OF, "bf16")
"""Formats in which weights and activations are both multiplied as they are; weights in any other
are widened on their way, whatever the chip."""
ARITHMETIC: dict[str, Dtype] = {"fp4": "nvfp4"}
"""What weights are stored in for a peak that is named by its arithmetic alone."""


def nearest_multiplied(dtype: Dtype, peaks: Collection[str]) -> Dtype | None:
    """The format nearest to this one, and at least as wide, that a chip with such peaks multiplies
    as it is; None where it has none.

    Formats of weights alone, which are widened to 16 bit or more on every chip, stay what they are
    where the chip has any of what they are widened to. Of formats as wide as each other the one of
    the same kind comes first, a float or an integer, then the order of `MULTIPLIED_IN`.
    """
    order = MULTIPLIED_IN[dtype]
    if dtype not in RECIPES:
        return dtype if set(order) & set(peaks) else None
    if order[0] in peaks:
        return dtype

    arithmetic = order[0]
    wider = [one for one in peaks if one in (*RECIPES, *ARITHMETIC)]
    wider = [one for one in wider if BITS[one] >= BITS[arithmetic]]

    def far(one: str) -> tuple[float, bool, int]:
        is_other_kind = one.startswith("int") != arithmetic.startswith("int")
        return BITS[one], is_other_kind, order.index(one) if one in order else len(order)

    if not wider:
        return None
    nearest = min(wider, key=far)
    return ARITHMETIC.get(nearest) or next(one for one in get_args(Dtype) if one == nearest)


def bytes_of(dtype: str) -> float:
    """Bytes of one value, its share of the block's scales included."""
    return BITS[dtype] / 8


def stream_bytes_of(dtype: str) -> float:
    """Bytes of one value of the residual stream, which stays at 16 bit however the matmuls are
    quantised."""
    return 4.0 if dtype == "fp32" else 2.0


SCALE_BYTES = 4 / 128
"""Of an activation in 8 bit."""


def dispatched_bytes_of(compute_dtype: str) -> float:
    """Bytes of one value of an activation that is sent in the format it is multiplied in, its share
    of the scales included: of 8 bits one in 32 for 128 neighbours, as DeepSeek-V3 has them [4]."""
    narrow = bytes_of(compute_dtype)
    scales = SCALE_BYTES if narrow == 1 else 0.0
    return min(stream_bytes_of(compute_dtype), narrow + scales)


def stored_bytes_of(
    dtype: str, density: float = 1.0, pattern: str = "", bits: float = 0.0
) -> float:
    """Bytes that a weight takes on average in a matrix of which pruning has left `density`; `bits`
    of a weight where the checkpoint's differ from the format's usual ones, 0: they do not.

    2:4 stores what is left and 2 bits for its place; zeros anywhere, a byte for each that is left
    or a map of one bit for each weight, whichever is less, and never more than the dense matrix.
    """
    dense = bits / 8 if bits else bytes_of(dtype)
    if not pattern:
        return dense
    places = density * 2 / 8 if pattern == "2:4" else min(density, 1 / 8)
    return min(dense, density * dense + places)
