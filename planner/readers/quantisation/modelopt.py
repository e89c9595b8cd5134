"""Checkpoints of NVIDIA's ModelOpt: one algorithm for all matrices but those that it excludes, the
output head among them, or one for each layer that is listed.

Stated in `hf_quant_config.json` beside the config, in its `quantization_config`, or in both.
Sources: ModelOpt's `export/`, vLLM's `modelopt.py`, TensorRT-LLM's `QuantAlgo`.
"""

from dataclasses import replace

from planner.errors import InputError, shortened
from planner.models.dtypes import Dtype
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.compressed_tensors import (
    cache_format,
    cache_of,
    read_compressed_tensors,
)
from planner.readers.quantisation.fields import OVERRIDE, Section
from planner.readers.quantisation.formats import (
    FP8,
    MXFP4,
    NVFP4,
    SCALE_BITS,
    integers,
    stored_as,
)
from planner.readers.quantisation.rules import Rule, rule_of
from planner.readers.quantisation.storage import Scheme

MIXED = "MIXED_PRECISION"
BLOCKED = ("FP8_PB_WO", "FP8_BLOCK_SCALES", "FP8_PB_REAL")
BLOCK = 128
FORMATS: dict[str, Stored] = {
    "FP8": FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": FP8,
    **dict.fromkeys(BLOCKED, FP8),
    "MXFP8": stored_as("fp8", 8.25),
    "NVFP4": NVFP4,
    "NVFP4_AWQ": NVFP4,
    "W4A16_NVFP4": stored_as("nvfp4", 4.5, "bf16"),
    "W4A8_NVFP4_FP8": stored_as("nvfp4", 4.5, "fp8"),
    "MXFP4": MXFP4,
    "W4A16_MXFP4": stored_as("mxfp4", 4.25, "bf16"),
    "W4A8_MXFP4_FP8": stored_as("mxfp4", 4.25, "fp8"),
    "W4A8_MXFP4_MXFP8": stored_as("mxfp4", 4.25, "fp8"),
    "W8A16": stored_as("int8", 8.0, "bf16"),
    "W8A16_GPTQ": stored_as("int8", 8.0, "bf16"),
    "INT8": Stored(dtype="int8"),
    "INT8_SQ": Stored(dtype="int8"),
    **dict.fromkeys(("NO_QUANT", "NONE", ""), PLAIN),
}
SMOOTHED = "W8A8_SQ_PER_CHANNEL"
GROUPED: dict[str, tuple[bool, Dtype]] = {
    "INT4_AWQ": (False, "bf16"),
    "W4A16_AWQ": (False, "bf16"),
    "W4A8_AWQ": (False, "fp8"),
    "W4A16_GPTQ": (True, "bf16"),
    "W4A8_QSERVE_PER_GROUP": (True, "int8"),
}
"""Of 4 bits: whether with zero points, and what they are multiplied in."""


def read_modelopt(section: Section, inputs: int) -> Scheme:
    """A table of ModelOpt: what its file has under `quantization`, or a config's own."""
    inner = section.part("quantization")
    section = inner if inner is not None else section
    said = section.said(section.first("exclude_modules", "ignore"))
    excluded = tuple(
        rule_of(name, PLAIN, said) for name in section.names("exclude_modules", "ignore")
    )
    kv = cache_of(section, "kv_cache_scheme")
    if section.has("kv_cache_quant_algo"):
        kv = cache_format(section.text("kv_cache_quant_algo"))
    scheme = Scheme(kept=excluded, kv=kv, remarks=_doubts_of_cache(section, kv))

    algorithm = section.text("quant_algo").upper()
    if section.has("quantized_layers"):
        return replace(scheme, targets=tuple(listed_layers(section, inputs)))
    if algorithm == MIXED or not algorithm:
        if section.has("config_groups"):
            groups = read_compressed_tensors(section, inputs)
            return replace(groups, kept=excluded, kv=kv, remarks=scheme.remarks)
        if algorithm == MIXED:
            raise InputError(f"{section.said('quantized_layers')} is missing; {OVERRIDE}")
    linear = algorithm_of(section, "quant_algo", inputs)
    block = BLOCK if algorithm in BLOCKED else None
    return replace(scheme, linear=linear, head=linear, block=block)


def listed_layers(section: Section, inputs: int) -> list[Rule]:
    """The modules that have an algorithm each."""
    said = section.said("quantized_layers")
    known: dict[tuple[object, object], Stored] = {}
    rules = []
    for name, inner in section.parts("quantized_layers"):
        key = (str(inner.fields.get("quant_algo")), repr(inner.fields.get("group_size")))
        if key not in known:
            known[key] = algorithm_of(inner, "quant_algo", inputs)
        rules.append(rule_of(name, known[key], said))
    return rules


def algorithm_of(section: Section, key: str, inputs: int) -> Stored:
    """The format that an algorithm stores."""
    named = section.text(key).upper()
    if named in FORMATS:
        stored = FORMATS[named]
        if stored.dtype != "nvfp4":
            return stored
        group = _group_of(section, 32 if named == "W4A8_NVFP4_FP8" else 16)
        return stored_as("nvfp4", 4 + 8 / (group or inputs), stored.activation_dtype)
    if named.startswith(SMOOTHED):
        return FORMATS["INT8"]
    if named == "W4A16":
        return integers(4, 0, inputs)
    if named in GROUPED:
        has_zeros, activation = GROUPED[named]
        zeros = 4 if has_zeros else 0
        return integers(
            4,
            section.group(),
            inputs,
            zero_bits=zeros,
            scale_bits=32 if named.endswith("AWQ") else SCALE_BITS,
            activation=activation,
        )
    raise InputError(
        f"{section.said(key)} is {shortened(section.text(key), 40)!r}, which is not read;"
        f" {OVERRIDE}"
    )


def _group_of(section: Section, default: int) -> int:
    """Neighbours with one scale, where the table or the first of its groups says them."""
    if section.has("group_size"):
        return section.group()
    for _, group in section.parts("config_groups"):
        weights = group.part("weights")
        if weights is not None:
            return weights.group(default=default)
    return default


def _doubts_of_cache(section: Section, kv: Dtype | None) -> tuple[str, ...]:
    stated = section.fields.get("kv_cache_quant_algo") or ""
    if kv is None and stated and str(stated).upper() not in ("NONE", "NO_QUANT", "BF16", "FP16"):
        named = shortened(str(stated), 40)
        return (f"{section.said('kv_cache_quant_algo')} is {named!r}, which is not read",)
    return ()
