"""How weights, caches and arithmetic are stored: all alike, or as a checkpoint stores them, module by
module."""

from typing import Annotated, Protocol

from pydantic import Field

from planner.models.dtypes import ACTIVATIONS_OF, BITS, NATIVE, Dtype
from planner.models.operators import Width
from planner.records import Record


class Stored(Record):
    """The format of one module's weights."""

    dtype: Dtype
    stated_bits_per_weight: Annotated[float, Field(ge=0, le=64)] = 0.0
    """Of a weight, its share of scales and zero points included; 0: what the format usually has."""
    activation_dtype: Dtype | None = None
    """What it is multiplied in; None: as recipes with such weights do."""

    @property
    def bits_per_weight(self) -> float:
        return self.stated_bits_per_weight or BITS[self.dtype]

    @property
    def compute_dtype(self) -> Dtype:
        return self.activation_dtype or ACTIVATIONS_OF.get(self.dtype, "bf16")

    @property
    def multiplied(self) -> dict[str, object]:
        """Of an operator with these weights: what it is multiplied in, and whether the machine may
        do it in the weights' own format instead."""
        natively = self.activation_dtype is None and self.dtype in NATIVE
        return {"compute_dtype": self.compute_dtype, "natively": natively}


PLAIN = Stored(dtype="bf16")
"""Weights that nobody has quantised."""


class Formats(Record):
    """How the weights, the cache and the arithmetic are stored."""

    weight_dtype: Dtype = "bf16"
    weight_block: Width | None = None
    """As of a graph."""
    kv_dtype: Dtype = "bf16"
    activation_dtype: Dtype | None = None
    """What matmuls multiply in; None: as the recipes with these weights do, and 4-bit floats
    without one as chip and stack can."""

    @property
    def stored(self) -> Stored:
        """The format of a module's weights, where all are alike."""
        return Stored(dtype=self.weight_dtype, activation_dtype=self.activation_dtype)

    @property
    def compute_dtype(self) -> Dtype:
        return self.stored.compute_dtype

    @property
    def multiplied(self) -> dict[str, object]:
        """As of `Stored`."""
        return self.stored.multiplied

    @property
    def stream_dtype(self) -> Dtype:
        """Of the residual stream, which stays at 16 bit however the matmuls are quantised."""
        return "fp32" if self.compute_dtype == "fp32" else "bf16"


class Storage(Protocol):
    """What is known of how the modules of a checkpoint are stored.

    Modules have one spelling whatever the family: `embed_tokens`, `lm_head`, and below
    `layers.N.`: `self_attn.q_proj` (k_proj, v_proj, o_proj, q_a_proj, q_b_proj,
    kv_a_proj_with_mqa, kv_b_proj), `linear_attn.in_proj` and `out_proj`, `mlp.gate_proj` (up_proj,
    down_proj), `mlp.gate` (the router), `mlp.experts.gate_proj` (up_proj, down_proj: of all
    experts), `mlp.shared_experts.gate_proj` (up_proj, down_proj).
    """

    @property
    def weight_dtype(self) -> Dtype:
        """Of most of the weights."""
        ...

    @property
    def weight_block(self) -> int | None:
        """Neighbours that share one scale, where most weights are stored in square blocks."""
        ...

    @property
    def vector_bits(self) -> float:
        """Of a weight of norms, biases and the like; 0: it is not known, and 16."""
        ...

    def of(self, module: str) -> Stored:
        """How the module of that name is stored."""
        ...
