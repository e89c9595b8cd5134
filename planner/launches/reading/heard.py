"""`Heard`: a command to one engine, its options read, before a launch is made of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.errors import InputError, listed, shortened
from planner.launches.launch import Told
from planner.launches.options import Given
from planner.launches.starts import Place

NUMBERS = re.compile(r"\d+(\s*,\s*\d+)*")
VISIBLE = (
    "CUDA_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
    "HABANA_VISIBLE_MODULES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
)

QUANTISED = {
    "fp8": "fp8",
    "fp8_per_tensor": "fp8",
    "fp8_per_block": "fp8",
    "fp8_per_channel": "fp8",
    "fbgemm_fp8": "fp8",
    "modelopt_fp8": "fp8",
    "modelopt": "fp8",
    "w8a8_fp8": "fp8",
    "mxfp8": "fp8",
    "modelopt_mxfp8": "fp8",
    "int8_per_channel_weight_only": "int8",
    "w8a8_int8": "int8",
    "experts_int8": "int8",
    "auto-round-int8": "int8",
    "awq": "int4",
    "auto_awq": "int4",
    "awq_marlin": "int4",
    "gptq": "int4",
    "auto_gptq": "int4",
    "gptq_marlin": "int4",
    "moe_wna16": "int4",
    "auto-round": "int4",
    "bitsandbytes": "int4",
    "modelopt_fp4": "nvfp4",
    "nvfp4_online": "nvfp4",
    "nvfp4_per_token": "nvfp4",
    "petit_nvfp4": "nvfp4",
    "mxfp4": "mxfp4",
    "gpt_oss_mxfp4": "mxfp4",
    "quark_mxfp4": "mxfp4",
    "FP8": "fp8",
    "FP8_BLOCK_SCALES": "fp8",
    "W4A16_AWQ": "int4",
    "W4A16_GPTQ": "int4",
    "W4A8_AWQ": "int4",
    "W8A16": "int8",
    "NVFP4": "nvfp4",
}
"""Formats of weights, by what engines call ways to quantise: usual ones, where a way has several."""
CACHES = {
    "auto": None,
    "bf16": "bf16",
    "bfloat16": "bf16",
    "float16": "bf16",
    "f16": "bf16",
    "fp16": "bf16",
    "f32": "fp32",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "fp8_inc": "fp8",
    "fp8_ds_mla": "fp8",
    "fp8_per_token_head": "fp8",
    "mxfp8": "fp8",
    "int8_per_token_head": "int8",
    "int4_per_token_head": "int4",
    "nvfp4": "nvfp4",
    "nvfp4_4over6": "nvfp4",
    "nvfp4_ds_mla": "nvfp4",
    "fp4_mx_block16": "nvfp4",
    "q8_0": "q8_0",
    "q4_0": "q4_0",
    "q4_1": "q4_1",
    "q5_0": "q5_0",
    "q5_1": "q5_1",
    "iq4_nl": "iq4",
}


@dataclass(slots=True)
class Heard:
    """What an engine was told by options and by its environment."""

    given: Given
    known: Mapping[str, str]
    """Variables of its environment."""
    nodes: int = 1
    """Of one engine, where what starts it says so."""
    node: Place | None = None
    """Where it is started, where its script says so."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Addresses of the nodes of one engine with their ranks, where MPI is told them."""
    lent: Mapping[str, int] = field(default_factory=dict)
    """Cards of other hosts by the address that lends them, where the text says which."""
    here: tuple[int, ...] | None = None
    """The chips of this node, of an engine that reaches over several."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of a launch."""

    def note(self, text: str, words: str) -> None:
        """Say something of the command that is no option's alone."""
        self.given.told.append(Told(text=shortened(text, 80), words=words))

    def weights(self, name: str) -> None:
        """The format of the weights, by how they are quantised."""
        way = self.given.value(name)
        if way is None:
            return
        found = QUANTISED.get(way)
        if found is None:
            self.given.passed_over(name, "read from the model, which says how it is stored")
            return
        self.fields["weight_format"] = found

    def cache(self, name: str) -> None:
        """The format of keys and values."""
        stated = self.given.value(name)
        if stated is None:
            return
        if stated not in CACHES:
            self.given.passed_over(name, "not priced: the cache is priced in its usual format")
            return
        self.fields["cache_format"] = CACHES[stated]

    def full_precision(self, name: str) -> None:
        """Weights of 32 bit, the only ones that change what is read."""
        if self.given.value(name) in ("float", "float32"):
            self.fields.setdefault("weight_format", "fp32")

    def cut(self, variable: str) -> None:
        """The layers of each stage, as a variable states them."""
        stated = self.known.get(variable)
        if stated is None:
            return
        if not NUMBERS.fullmatch(stated.strip()):
            raise InputError(
                f"{variable} must be numbers of layers such as 16,16, not {shortened(stated)!r}"
            )
        layers = tuple(int(one) for one in stated.split(","))
        stages = self.fields.get("pipeline_parallel", 1)
        if len(layers) != stages:
            raise InputError(
                f"{variable} gives {len(layers)} stages, but the command asks for {stages}; the"
                " engine refuses that"
            )
        self.fields["layers"] = layers
        self.note(f"{variable}={stated}", "layers of each stage")

    def visible(self) -> tuple[int, ...] | None:
        """Chips by their number in the machine that the engine sees; None: all, or as names that say
        no place."""
        first = 0 if self.node is None else self.node.first_chip
        for name in VISIBLE:
            stated = self.known.get(name, "").strip()
            if NUMBERS.fullmatch(stated):
                return tuple(first + int(one) for one in stated.split(","))
            if stated and stated not in ("all", "void"):
                self.note(
                    f"{name}={stated}", "chips are given by names that do not say their place"
                )
        return None

    def place(self, replica_chips: int, replicas: int = 1, stated: str | None = None) -> None:
        """Which chips the engine takes of those that it sees, or of those that an option states:
        the first of them, in order."""
        seen = self.visible()
        if stated is not None and NUMBERS.fullmatch(stated.strip()):
            picked = [int(one) for one in stated.split(",")]
            if seen is not None and max(picked) >= len(seen):
                raise InputError(
                    f"{shortened(stated)} names a chip beyond the {len(seen)} that are visible"
                )
            seen = tuple(picked if seen is None else [seen[one] for one in picked])
        if seen is None or self.nodes > 1:
            self.here = seen
            return
        needed = replica_chips * replicas
        if len(seen) < needed:
            raise InputError(
                f"the command makes {len(seen)} chips visible ({listed(seen)}), but its degrees"
                f" need {needed}; the engine refuses that"
            )
        if len(set(seen)) != len(seen):
            raise InputError(f"the command makes a chip visible twice: {listed(seen)}")
        self.fields["devices"] = tuple(
            seen[first : first + replica_chips] for first in range(0, needed, replica_chips)
        )
        self.note(listed(seen[:needed]), "chips that are used, by number")

    def spread_over_nodes(self, name: str) -> None:
        """How many chips of a node an engine of several takes."""
        self.nodes = max(self.nodes, self.given.whole(name) or 1)
        chips = self.fields.get("chips_of_engine", 1)
        if self.node is not None:
            self.fields["chips_per_node"] = self.node.chips
        elif self.nodes > 1 and chips % self.nodes == 0:
            self.fields["chips_per_node"] = chips // self.nodes


def drafted(kind: str, tokens: object, model: str = "") -> dict[str, Any]:
    """The fields of `Drafting`; an InputError where the number is none."""
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= 64:
        raise InputError(f"the number of drafted tokens must lie from 1 to 64, not {tokens!r}")
    return {"kind": kind, "tokens": tokens, "model": model}
