"""Checkpoints with few-bit weights that are multiplied as 16-bit floats: GPTQ, AWQ, auto-round,
bitsandbytes, HQQ, EXL2 and EXL3, Quanto, EETQ, BitNet.

None of them quantises the embedding; the output head only where they say so. Sources: the loaders
of transformers (`quantizers/`), vLLM (`layers/quantization/`), GPTQModel, AutoAWQ, auto-round,
hqq and exllamav2, whose files these are.
"""

from typing import Any

from planner.errors import InputError, shortened
from planner.models.dtypes import Dtype
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.fields import OVERRIDE, Section
from planner.readers.quantisation.formats import (
    FP8,
    INTEGERS,
    MXFP4,
    NVFP4,
    blocks,
    integers,
    stored_as,
)
from planner.readers.quantisation.rules import Rule, rule_of
from planner.readers.quantisation.storage import Scheme

PACKED = (2, 3, 4, 5, 6, 8)


def kept_of(section: Section, *keys: str) -> tuple[Rule, ...]:
    """Rules for the modules that a list of names leaves as they were."""
    said = section.said(section.first(*keys))
    return tuple(rule_of(name, PLAIN, said) for name in section.names(*keys))


def head_of(section: Section, linear: Stored, key: str) -> Stored:
    """The output head of what transformers quantises as it loads it: left alone, unless a list of
    what to leave is given, which then must name it."""
    return linear if isinstance(section.fields.get(key), list) else PLAIN


def read_gptq(section: Section, inputs: int) -> Scheme:
    """GPTQ, by AutoGPTQ or GPTQModel; the zero points are stored even where they are all alike."""
    linear = _gptq_format(section, inputs)
    head = linear if section.flag("lm_head") else PLAIN
    kept = list(kept_of(section, "modules_to_not_convert"))
    targets: list[Rule] = []
    dynamic = section.part("dynamic") or Section({}, section.path, section.place)
    said_dynamic = section.said("dynamic")
    for key, said in dynamic.fields.items():
        pattern = key.removeprefix("+:").removeprefix("-:")
        if key.startswith("-:") or said is False:
            kept.append(Rule(pattern, PLAIN, True, said_dynamic))
            continue
        changed = dynamic.part(key)
        changes = changed.fields if changed is not None else {}
        merged = Section({**section.fields, **changes}, section.path, f"{dynamic.place}.{key}")
        targets.append(Rule(pattern, _gptq_format(merged, inputs), True, said_dynamic))

    inside = _inside(section)
    said_inside = section.said("modules_in_block_to_quantize")
    targets.extend(rule_of(name, linear, said_inside) for name in inside)
    return Scheme(
        linear=PLAIN if inside else linear,
        head=head,
        kept=tuple(kept),
        targets=tuple(targets),
        patterns_mean_head=head is not PLAIN,
    )


def _gptq_format(section: Section, inputs: int) -> Stored:
    bits = section.bits("bits", PACKED)
    group = section.group()
    section.flag("sym", True)
    section.flag("desc_act")
    # Each input remembers its group in 32 bits, in order or not.
    return integers(bits, group, inputs, zero_bits=bits, beside=32 / inputs)


def _inside(section: Section) -> tuple[str, ...]:
    """The only matrices of a block that are quantised; (): all."""
    key = section.first("modules_in_block_to_quantize", "inside_layer_modules")
    stated: Any = section.fields.get(key)
    if stated is None:
        return ()
    if not isinstance(stated, list):
        raise section.wrong(key, "a list of names")
    flat: list[Any] = []
    for one in stated:
        flat.extend(one if isinstance(one, list) else [one])
    return Section({key: flat}, section.path, section.place).names(key)


def read_awq(section: Section, inputs: int) -> Scheme:
    """AWQ, by AutoAWQ or llm-awq."""
    bits = section.bits(section.first("bits", "w_bit"), PACKED, default=4)
    group = section.group(section.first("group_size", "q_group_size"))
    section.flag("zero_point", True)
    linear = integers(bits, group, inputs, zero_bits=bits)
    return Scheme(
        linear=linear,
        head=linear if section.flag("lm_head") else PLAIN,
        kept=kept_of(section, "modules_to_not_convert"),
    )


def read_auto_round(section: Section, inputs: int) -> Scheme:
    """auto-round, and Intel's neural compressor since; `extra_config` says what differs."""
    linear = _rounded(section, inputs)
    targets = []
    said = section.said("extra_config")
    for name, inner in section.parts("extra_config"):
        merged = Section({**section.fields, **inner.fields}, section.path, inner.place)
        stored = _rounded(merged, inputs)
        is_expression = any(letter in name for letter in "*^$|(\\")
        targets.append(
            Rule(name, stored, True, said) if is_expression else rule_of(name, stored, said)
        )
    head = linear if section.flag("lm_head") else PLAIN
    return Scheme(
        linear=linear, head=head, targets=tuple(targets), patterns_mean_head=head is not PLAIN
    )


def _rounded(section: Section, inputs: int) -> Stored:
    bits = section.bits("bits", (*PACKED, 16, 32))
    if bits >= 16:
        return PLAIN
    group = 0 if section.fields.get("group_size") == 0 else section.group()
    section.flag("sym", True)
    kind = section.text("data_type", "int").lower()
    narrow = section.fields.get("act_bits")
    activated = isinstance(narrow, int) and narrow < 16
    if kind.startswith("mx_fp") or kind.startswith("mxfp"):
        return MXFP4 if bits == 4 else stored_as("fp8", 8.25)
    if kind.startswith("nv_fp") or kind.startswith("nvfp"):
        return NVFP4 if activated else stored_as("nvfp4", 4.5, "bf16")
    if kind.startswith("fp") and bits == 8:
        return FP8 if activated else stored_as("fp8", 8.0, "bf16")
    if not kind.startswith("int"):
        raise section.wrong("data_type", "int, mx_fp, nv_fp or fp")
    activation: Dtype = "int8" if activated and bits >= 4 else "bf16"
    return integers(bits, group, inputs, zero_bits=bits, activation=activation)


def read_bitsandbytes(section: Section, inputs: int) -> Scheme:
    """bitsandbytes: 4-bit values out of a table, or 8-bit rows of LLM.int8()."""
    four = section.flag("load_in_4bit") or section.flag("_load_in_4bit")
    eight = section.flag("load_in_8bit") or section.flag("_load_in_8bit")
    if four == eight:
        raise InputError(
            f"{section.said('load_in_4bit')} or load_in_8bit must be true, not both; or {OVERRIDE}"
        )
    section.text("bnb_4bit_quant_type", "fp4")
    if four:
        double = section.flag("bnb_4bit_use_double_quant")
        shared = 8 / 64 + 32 / (64 * 256) if double else 32 / 64
        linear = stored_as("int4", 4 + shared, "bf16")
    else:
        linear = stored_as("int8", 8 + 32 / inputs)
    head = head_of(section, linear, "llm_int8_skip_modules")
    return Scheme(linear=linear, head=head, kept=kept_of(section, "llm_int8_skip_modules"))


def read_hqq(section: Section, inputs: int) -> Scheme:
    """HQQ: a 16-bit scale and zero point for each group, unless they are quantised themselves."""
    config = section.part("quant_config")
    kept = kept_of(section, "skip_modules")
    if config is None:
        plain = Section({**section.fields}, section.path, section.place)
        return Scheme(linear=_hqq_format(plain, None, inputs), kept=kept)
    weights = config.part("weight_quant_params")
    if weights is not None:
        return Scheme(linear=_hqq_format(weights, config, inputs), kept=kept)

    # By layers: what is not listed stays as it was.
    targets = []
    for name, inner in section.parts("quant_config"):
        weights = inner.part("weight_quant_params")
        if weights is None:
            raise inner.wrong("weight_quant_params", "a table")
        stored = _hqq_format(weights, inner, inputs)
        targets.append(rule_of(name, stored, section.said("quant_config")))
    if not targets:
        raise section.wrong("quant_config", "a table with weight_quant_params")
    return Scheme(kept=kept, targets=tuple(targets))


def _hqq_format(weights: Section, beside: Section | None, inputs: int) -> Stored:
    bits = weights.bits("nbits", (1, *PACKED), default=4)
    group = 0 if "group_size" in weights.fields and weights.fields["group_size"] is None else None
    group = weights.group(default=64) if group is None else group
    scale = _hqq_beside(beside, "scale_quant_params")
    zero = _hqq_beside(beside, "zero_quant_params")
    return integers(bits, group, inputs, scale_bits=scale, zero_bits=zero)


def _hqq_beside(beside: Section | None, key: str) -> float:
    inner = beside.part(key) if beside is not None else None
    return 16.0 if inner is None else float(inner.bits("nbits", (1, *PACKED), default=8))


def read_exllama(section: Section, inputs: int) -> Scheme:
    """EXL2 and EXL3: so many bits on average, more in the output head."""
    bits = section.number("bits", 1.0, 8.5)
    linear = _averaged(bits)
    head = linear
    if section.has("head_bits"):
        head_bits = section.number("head_bits", 1.0, 16.0)
        head = PLAIN if head_bits >= 16 else _averaged(head_bits)
    return Scheme(linear=linear, head=head)


def _averaged(bits: float) -> Stored:
    nearest = min(INTEGERS, key=lambda one: (abs(one - bits), one))
    return stored_as(INTEGERS[nearest], bits, "bf16")


def read_quanto(section: Section, inputs: int) -> Scheme:
    """Quanto: whole numbers in groups of 128, or 8 bits for each output."""
    named = section.text("weights", "int8")
    activations = section.text("activations")
    narrow: Dtype = "int8" if activations == "int8" else "bf16"
    formats = {
        "float8": stored_as("fp8", 8.0, "fp8" if activations == "float8" else "bf16"),
        "int8": stored_as("int8", 8.0, narrow),
        "int4": integers(4, 128, inputs, zero_bits=16),
        "int2": integers(2, 128, inputs, zero_bits=16),
    }
    if named not in formats:
        raise section.wrong("weights", "float8, int8, int4 or int2")
    linear = formats[named]
    head = head_of(section, linear, "modules_to_not_convert")
    return Scheme(linear=linear, head=head, kept=kept_of(section, "modules_to_not_convert"))


def read_eetq(section: Section, inputs: int) -> Scheme:
    """EETQ: 8 bits with a scale for each output."""
    if section.text("weights", "int8") != "int8":
        raise section.wrong("weights", "int8")
    linear = stored_as("int8", 8.0, "bf16")
    return Scheme(linear=linear, kept=kept_of(section, "modules_to_not_convert"))


def read_bitnet(section: Section, inputs: int) -> Scheme:
    """BitNet: one of three values in 2 bits, multiplied by 8-bit activations."""
    mode = section.text("quantization_mode", "offline")
    kept = kept_of(section, "modules_to_not_convert")
    if mode == "online":
        remark = f"{section.said('quantization_mode')} is online: the weights are stored at 16 bit"
        return Scheme(kept=kept, remarks=(remark,))
    if mode != "offline":
        raise section.wrong("quantization_mode", "offline or online")
    return Scheme(linear=stored_as("int2", 2.0, "int8"), kept=kept)


def read_integer_experts(section: Section, inputs: int) -> Scheme:
    """DeepSeek's w4afp8: routed experts of 4 bits, the rest 8-bit floats; multiplied in fp8."""
    experts = integers(4, section.group(), inputs, activation="fp8")
    block = (128, 128)
    linear = blocks(block, exponents=False, activation=None)
    kept = kept_of(section, "ignored_layers", "modules_to_not_convert")
    return Scheme(linear=linear, experts=experts, kept=kept, block=max(block))


def unknown(section: Section, key: str, method: str) -> InputError:
    """A refusal of a method that is not read."""
    return InputError(
        f"{section.said(key)} is {shortened(method, 40)!r}, which is not read; {OVERRIDE}"
    )
