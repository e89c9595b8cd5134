"""What a weight costs in the formats of published checkpoints, its share of scales and zero points
included, and what it is multiplied in.

| format | stored beside the weights |
|---|---|
| GPTQ, AWQ | a 16-bit scale and a zero point of the weights' bits for each group |
| compressed-tensors | a 16-bit scale for each group; a packed zero point if not symmetric |
| ModelOpt, AWQ | a 32-bit scale for each group |
| MLX affine, HQQ | a 16-bit scale and a 16-bit bias or zero point for each group |
| bitsandbytes, 4 bits | a 32-bit absmax for 64; double: 8 bits for 64, 32 bits for 64 × 256 |
| NVFP4 | an 8-bit scale for 16 |
| MXFP4, MXFP8 | an 8-bit exponent for 32 |
| 8 bits in square blocks | a 32-bit scale (8-bit: `ue8m0`) for each block |

A format whose bits are within a thousandth of its usual ones states none.
"""

from planner.models.dtypes import ACTIVATIONS_OF, BITS, NATIVE, Dtype
from planner.models.storage import Stored

INTEGERS: dict[int, Dtype] = {
    1: "int2",
    2: "int2",
    3: "int3",
    4: "int4",
    5: "int5",
    6: "int6",
    8: "int8",
}
"""Formats by their bits; of one bit there is none, so that it states its own."""

SCALE_BITS = 16
USUAL_INPUTS = 4096
"""Of a matrix, where the config does not state its hidden size."""

NVFP4 = Stored(dtype="nvfp4")
MXFP4 = Stored(dtype="mxfp4")
FP8 = Stored(dtype="fp8")


def stored_as(dtype: Dtype, bits: float, activation: Dtype | None = None) -> Stored:
    """A format of so many bits, multiplied in `activation`; None: as recipes with it do."""
    is_usual = abs(bits - BITS[dtype]) <= BITS[dtype] / 1000
    usual = ACTIVATIONS_OF.get(dtype, "bf16")
    if dtype not in NATIVE and activation == usual:
        activation = None
    return Stored(
        dtype=dtype,
        stated_bits_per_weight=0.0 if is_usual else bits,
        activation_dtype=activation,
    )


def integers(
    bits: int,
    group: int,
    inputs: int,
    *,
    zero_bits: float = 0.0,
    scale_bits: float = SCALE_BITS,
    beside: float = 0.0,
    activation: Dtype | None = "bf16",
) -> Stored:
    """Whole numbers of some bits with a scale and a zero point for each group; `group` 0: for all
    `inputs` of an output. `beside`: further bits of a weight."""
    shared = (scale_bits + zero_bits) / (group or inputs)
    return stored_as(INTEGERS[bits], bits + shared + beside, activation)


def floats(bits: int, group: int, *, activation: Dtype | None, exponents: bool = False) -> Stored:
    """Floats of 4, 6 or 8 bits with a scale for each group, of 8 bits where the group is small;
    `exponents`: the scales are powers of two. `group` 0: one scale for many."""
    shared = 8 / group if group else 0.0
    if bits == 4:
        micro = exponents or group >= 32
        return stored_as("mxfp4" if micro else "nvfp4", 4 + (shared or 8 / 16), activation)
    if bits == 6:
        return stored_as("fp6", 6 + (shared or 8 / 32), activation)
    scale = 8 if exponents else SCALE_BITS
    return stored_as("fp8", 8 + (scale / group if group else 0.0), activation)


def blocks(sides: tuple[int, ...], *, exponents: bool, activation: Dtype | None) -> Stored:
    """8-bit floats of which a square block shares one scale."""
    area = 1
    for side in sides:
        area *= side
    return stored_as("fp8", 8 + (8 if exponents else 32) / area, activation)
