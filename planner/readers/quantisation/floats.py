"""Checkpoints of 8- and 4-bit floats by the name of their method alone: fp8 with a scale for a
tensor, an output or a block, MXFP4 as gpt-oss has it, and what mixes them.

The embedding and the output head stay at 16 bit, whether or not the file lists them: the loaders
of transformers and vLLM never touch them.
"""

from planner.models.dtypes import Dtype
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.fields import Section
from planner.readers.quantisation.formats import FP8, MXFP4, NVFP4, blocks, integers, stored_as
from planner.readers.quantisation.modelopt import algorithm_of, listed_layers
from planner.readers.quantisation.rules import rule_of
from planner.readers.quantisation.storage import Scheme
from planner.readers.quantisation.weight_only import kept_of, unknown


def read_fp8(section: Section, inputs: int) -> Scheme:
    """8-bit floats, with experts of another format where the file names one."""
    stated = section.text("activation_scheme", "dynamic").lower()
    if stated not in ("dynamic", "static", "none", "weight_only"):
        raise section.wrong("activation_scheme", "dynamic or static")
    weights_only: Dtype | None = "bf16" if stated in ("none", "weight_only") else None
    sides = section.sides("weight_block_size")
    exponents = section.text("scale_fmt").lower() == "ue8m0"
    linear = blocks(sides, exponents=exponents, activation=weights_only) if sides else FP8
    # Beside what ModelOpt says, `ignore` is of what it has quantised, not of the rest.
    again = section.has("moe_quant_algo", "quantized_layers", "config_groups")
    lists = ("modules_to_not_convert", "ignored_layers", *(() if again else ("ignore",)))
    kept = kept_of(section, *lists)
    said = section.said("modules_to_convert")
    converted = section.names("modules_to_convert")

    # Experts that ModelOpt has quantised once more.
    experts = None
    if section.has("moe_quant_algo"):
        experts = algorithm_of(section, "moe_quant_algo", inputs)
    return Scheme(
        linear=linear,
        experts=experts,
        kept=kept,
        targets=(
            *(rule_of(name, linear, said) for name in converted),
            *(listed_layers(section, inputs) if section.has("quantized_layers") else ()),
        ),
        block=max(sides) if sides else None,
    )


def read_fbgemm(section: Section, inputs: int) -> Scheme:
    """8-bit floats with a scale for each output."""
    return Scheme(linear=FP8, kept=kept_of(section, "modules_to_not_convert", "ignored_layers"))


def read_eight_bit_integers(section: Section, inputs: int) -> Scheme:
    """8-bit whole numbers, multiplied so."""
    return Scheme(
        linear=Stored(dtype="int8"),
        kept=kept_of(section, "modules_to_not_convert", "ignored_layers", "ignore"),
    )


def read_mxfp4(section: Section, inputs: int) -> Scheme:
    """gpt-oss: the routed experts alone."""
    if section.flag("dequantize"):
        return Scheme()
    return Scheme(experts=MXFP4, kept=kept_of(section, "modules_to_not_convert", "ignored_layers"))


def read_nvfp4(section: Section, inputs: int) -> Scheme:
    """All matrices of the layers in NVFP4."""
    return Scheme(linear=NVFP4, kept=kept_of(section, "modules_to_not_convert", "ignore"))


def read_mxfp8(section: Section, inputs: int) -> Scheme:
    """All matrices of the layers in MXFP8."""
    linear = stored_as("fp8", 8.25)
    return Scheme(linear=linear, kept=kept_of(section, "modules_to_not_convert", "ignored_layers"))


def read_four_bits(section: Section, inputs: int) -> Scheme:
    """FP-Quant and Four Over Six, which name NVFP4 or MXFP4."""
    key = section.first("forward_dtype", "weight_dtype", "dtype")
    named = section.text(key, "nvfp4").lower()
    formats = {"nvfp4": NVFP4, "mxfp4": MXFP4}
    if named not in formats:
        raise section.wrong(key, "nvfp4 or mxfp4")
    kept = kept_of(section, "modules_to_not_convert")
    whole = ("store_master_weights", "keep_master_weights", "pseudoquantization")
    if any(section.flag(one) for one in whole):
        remark = f"{section.path}: {section.place} keeps the weights at 16 bit"
        return Scheme(remarks=(remark,))
    return Scheme(linear=formats[named], kept=kept)


def experts_of(section: Section, key: str, inputs: int) -> Stored | None:
    """What `expert_dtype` says of routed experts; None: as other matrices."""
    named = section.text(key).lower().replace("float", "fp").removeprefix("torch.")
    formats: dict[str, Stored | None] = {
        "": None,
        "fp4": MXFP4,
        "mxfp4": MXFP4,
        "nvfp4": NVFP4,
        "fp8": FP8,
        "fp8_e4m3fn": FP8,
        "int4": integers(4, 128, inputs),
        "int8": stored_as("int8", 8.0, "bf16"),
        **dict.fromkeys(("bf16", "bfp16", "fp16", "fp32"), PLAIN),
    }
    if named not in formats:
        raise unknown(section, key, section.text(key))
    return formats[named]
