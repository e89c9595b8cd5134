"""Recurrences of a config.json: which keys state the sizes of each kind."""

import math

from planner.models.blocks import Recurrence
from planner.models.dtypes import Dtype
from planner.models.recurrences import (
    delta_attention,
    gated_delta,
    gated_vector,
    lightning,
    mamba_1,
    mamba_2,
    receptance,
    short_convolution,
)
from planner.readers.configs.fields import ConfigFields

STATE_DTYPES: dict[str, Dtype] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class RecurrenceReader:
    """Mixers of a decoder that are no attention."""

    def __init__(self, config: ConfigFields, kind: str, hidden: int, heads: int, head_dim: int):
        self.config = config
        self.kind = kind
        self.hidden = hidden
        self.heads = heads
        self.head_dim = head_dim

    def linear(self) -> Recurrence:
        """Linear attention, of whichever kind the sizes are stated."""
        config = self.config
        if config.has("linear_num_value_heads"):
            return self.gated_delta()
        if config.table("linear_attn_config") is not None:
            return self.delta_attention()
        if config.has("linear_num_heads"):
            return delta_attention(
                self.hidden,
                heads=config.whole("linear_num_heads"),
                width=config.whole("linear_head_dim"),
                convolved_tokens=config.whole("linear_conv_kernel_dim", default=4, most=1000),
            )
        if config.has(("mamba_n_heads", "mamba_num_heads")):
            # As transformers 5 writes the hybrids of Granite and Nemotron.
            return self.mamba()
        if self.kind in ("minimax_text_01", "minimax", "minimax_m1"):
            return lightning(self.hidden, heads=self.heads, width=self.head_dim)
        raise config.fault(
            "the config has layers of linear attention, but not their sizes; give"
            " linear_num_value_heads or linear_attn_config"
        )

    def gated_delta(self) -> Recurrence:
        """Of Qwen3-Next and its successors."""
        config = self.config
        value_heads = config.whole("linear_num_value_heads")
        key_heads = config.whole("linear_num_key_heads", default=0) or value_heads
        self._check_groups("linear_num_key_heads", key_heads, value_heads)
        return gated_delta(
            self.hidden,
            heads=value_heads,
            key_heads=key_heads,
            key_width=config.whole("linear_key_head_dim"),
            value_width=config.whole("linear_value_head_dim"),
            convolved_tokens=config.whole("linear_conv_kernel_dim", default=4, most=1000),
        )

    def delta_attention(self) -> Recurrence:
        """Of Kimi Linear and Kimi K3."""
        table = self.config.table("linear_attn_config")
        assert table is not None
        whole_gate = table.flag("use_full_rank_gate")
        width = table.whole("head_dim")
        return delta_attention(
            self.hidden,
            heads=table.whole("num_heads"),
            width=width,
            convolved_tokens=table.whole("short_conv_kernel_size", default=4, most=1000),
            gate_rank=0 if whole_gate else width,
        )

    def mamba(self) -> Recurrence:
        """Mamba-2 where heads are stated, the first Mamba else."""
        config = self.config
        if self.kind in MAMBA_1:
            return self.mamba_1()
        heads = config.whole(
            ("mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads", "nheads"), default=0
        )
        width = config.whole(
            ("mamba_head_dim", "mamba_d_head", "mamba_headdim", "headdim", "head_dim"), default=0
        )
        inner = config.whole(("mamba_d_ssm", "d_inner", "mamba_intermediate"), default=0)
        inner = inner or heads * width
        expanded = round(config.number(("mamba_expand", "expand"), 2.0) * self.hidden)
        inner = inner or expanded
        if not heads:
            heads = inner // width if width else 0
        if not heads:
            raise config.fault("mamba_num_heads is missing")
        width = width or inner // heads
        groups = (
            config.whole(("n_groups", "mamba_n_groups", "mamba_ngroups", "ngroups"), default=1) or 1
        )
        self._check_groups("n_groups", groups, heads)
        return mamba_2(
            self.hidden,
            heads=heads,
            key_heads=groups,
            key_width=config.whole(("ssm_state_size", "mamba_d_state", "state_size", "d_state")),
            value_width=width,
            convolved_tokens=config.whole(
                ("conv_kernel", "mamba_d_conv", "d_conv"), default=4, most=1000
            ),
            state_dtype=self._state_dtype(),
        )

    def mamba_1(self) -> Recurrence:
        """Of Mamba, Falcon-Mamba and Jamba."""
        config = self.config
        expanded = round(config.number(("mamba_expand", "expand"), 2.0) * self.hidden)
        inner = config.whole(("d_inner",), default=0) or expanded
        if self.kind in ("mamba", "falcon_mamba"):
            inner = config.whole("intermediate_size", default=0) or inner
        rank = config.get(("time_step_rank", "mamba_dt_rank"))
        automatic = math.ceil(self.hidden / 16)
        width = (
            automatic
            if rank in (None, "auto")
            else config.whole(("time_step_rank", "mamba_dt_rank"))
        )
        return mamba_1(
            self.hidden,
            inner=inner,
            key_width=config.whole(("state_size", "mamba_d_state", "ssm_state_size", "d_state")),
            rank=width,
            convolved_tokens=config.whole(
                ("conv_kernel", "mamba_d_conv", "d_conv"), default=4, most=1000
            ),
        )

    def convolution(self) -> Recurrence:
        """Of LFM2."""
        config = self.config
        config.tick("conv_dim_out", "conv_use_xavier_init")
        return short_convolution(
            self.hidden,
            width=config.whole("conv_dim", default=0) or self.hidden,
            convolved_tokens=config.whole("conv_L_cache", default=3, most=1000),
            biased=config.flag("conv_bias"),
        )

    def vector(self) -> Recurrence:
        """Of RecurrentGemma."""
        config = self.config
        return gated_vector(
            self.hidden,
            width=config.whole("lru_width", default=0) or self.hidden,
            heads=self.heads,
            convolved_tokens=config.whole("conv1d_width", default=4, most=1000),
        )

    def receptance(self) -> Recurrence:
        """Of RWKV."""
        config = self.config
        inner = config.whole("attention_hidden_size", default=0) or self.hidden
        width = config.whole(("head_size", "head_dim"), default=64)
        config.tick(
            "num_attention_heads", "head_size_divisor", "attention_hidden_size", "rescale_every"
        )
        if self.kind == "rwkv":
            width = 1
        if inner % width:
            raise config.fault(
                f"head_size: {width} does not divide attention_hidden_size {inner}; it must"
            )
        return receptance(self.hidden, inner=inner, width=width, gated=self.kind != "rwkv")

    def _state_dtype(self) -> Dtype:
        word = self.config.get("mamba_ssm_cache_dtype")
        return STATE_DTYPES.get(str(word), "fp32")

    def _check_groups(self, name: str, groups: int, heads: int) -> None:
        if heads % groups:
            raise self.config.fault(
                f"{name}: {groups} does not divide the {heads} heads of the state; it must"
            )


MAMBA_1 = ("mamba", "falcon_mamba", "jamba", "zamba")
