"""Checkpoints of torchao: a configuration for all matrices, or for modules by their names.

Source: torchao's `quant_api.py` and `core/config.py`, transformers' `quantizer_torchao.py`.
"""

import re
from dataclasses import replace
from typing import Any

from planner.errors import InputError, shortened
from planner.models.dtypes import Dtype
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.fields import OVERRIDE, Section
from planner.readers.quantisation.formats import SCALE_BITS, integers, stored_as
from planner.readers.quantisation.rules import Rule, rule_of
from planner.readers.quantisation.storage import Scheme
from planner.readers.quantisation.weight_only import head_of, kept_of

BY_NAME = ("modulefqnto", "fqnto")
"""Types that have a configuration for each name, spelled as `_plain` has them."""
WIDTHS = tuple(f"int{bits}" for bits in range(1, 9) if bits != 7)
GROUPS = {"int8dynamicactivationint4weight": 32, "int4weightonly": 128}
"""Neighbours with one scale, where a configuration does not say."""


def read_torchao(section: Section, inputs: int) -> Scheme:
    """A table of torchao."""
    stated = section.fields.get("quant_type")
    kept = kept_of(section, "modules_to_not_convert")
    table = None
    if isinstance(stated, str):
        options = section.part("quant_type_kwargs")
        fields = options.fields if options is not None else {}
        config = Section(fields, section.path, section.place)
        scheme = Scheme(linear=_format(stated, config, inputs, section.said("quant_type")))
    else:
        whole = section.part("quant_type")
        table = whole.part("default") if whole is not None else None
        if table is None:
            raise section.wrong("quant_type", "a table with default")
        scheme = _scheme(table, inputs)
    if section.flag("include_input_output_embeddings"):
        # Of one configuration for all, embeddings are none: `quantize_` is of linear layers.
        embedding = PLAIN if table is None or not _is_by_name(table) else scheme.linear
        return replace(scheme, head=scheme.linear, embedding=embedding, kept=kept)
    # Else neither end is, though it may have a configuration of its own.
    head = head_of(section, scheme.linear, "modules_to_not_convert")
    ends = ["embed_tokens"] if head is not PLAIN else ["embed_tokens", "lm_head"]
    kept += tuple(rule_of(end, PLAIN, section.place) for end in ends)
    return replace(scheme, head=head, kept=kept)


def _scheme(config: Section, inputs: int) -> Scheme:
    data = config.part("_data") or Section({}, config.path, config.place)
    if not _is_by_name(config):
        return Scheme(linear=_of(config, inputs))
    key = data.first("fqn_to_config", "module_fqn_to_config")
    table = data.part(key)
    if table is None:
        raise data.wrong(key, "a table")
    usual = PLAIN
    rules: list[Rule] = []
    for name in table.fields:
        inner = table.part(name)
        stored = PLAIN if inner is None else _of(inner, inputs)
        if name == "_default":
            usual = stored
        else:
            rules.append(rule_of(name, stored, f"{table.path}: {table.place}"))
    return Scheme(linear=usual, targets=tuple(rules))


def _is_by_name(config: Section) -> bool:
    return _plain(config.text("_type")) in BY_NAME


def _of(config: Section, inputs: int) -> Stored:
    data = config.part("_data") or Section({}, config.path, config.place)
    return _format(config.text("_type"), data, inputs, config.said("_type"))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()[:200]).removesuffix("config")


def _format(name: str, data: Section, inputs: int, said: str) -> Stored:
    plain = _plain(name)
    dynamic = "dynamicactivation" in plain
    if plain.startswith("nvfp4"):
        weights_only = "weightonly" in plain or _is_weight_only(data)
        return stored_as("nvfp4", 4.5, "bf16" if weights_only else None)
    if plain.startswith("mx"):
        return _micro(data, said)
    if plain.startswith("float8"):
        narrow = dynamic or "static" in plain
        return stored_as("fp8", 8.0, "fp8" if narrow else "bf16")
    if plain in ("intxweightonly", "int8dynamicactivationintxweight"):
        return _few_bits(data, said, inputs, "int8" if dynamic else "bf16")
    if plain.startswith("int8") and ("int8weight" in plain or "weightonly" in plain):
        return stored_as("int8", 8.0, "int8" if dynamic else "bf16")
    if "int4weight" in plain or plain.startswith("int4weightonly"):
        group = data.group(default=GROUPS.get(plain, 128))
        activation: Dtype = "bf16"
        if plain.startswith("int8dynamic"):
            activation = "int8"
        if plain.startswith("float8"):
            activation = "fp8"
        return integers(4, group, inputs, zero_bits=16, activation=activation)
    raise InputError(f"{said} is {shortened(name, 60)!r}, which is not read; {OVERRIDE}")


def _few_bits(data: Section, said: str, inputs: int, activation: Dtype) -> Stored:
    """Of 1 to 8 bits, a byte for each unless they are packed; with a 16-bit scale and a zero point
    of a byte for each group."""
    word = _word(data.fields.get("weight_dtype", "int8")).removeprefix("torch.")
    bits = int(word[3:]) if word in WIDTHS else 0
    if not bits:
        raise InputError(f"{said} has weights of {shortened(word, 40)!r}; {OVERRIDE}")
    granularity = data.part(data.first("granularity", "weight_granularity"))
    inner = granularity.part("_data") if granularity is not None else None
    group = inner.group(default=0) if inner is not None else 0
    packing = _word(data.fields.get("intx_packing_format", "unpacked_to_int8"))
    if packing == "unpacked_to_int8":
        shared = (SCALE_BITS + 8) / (group or inputs)
        return stored_as("int8", 8 + shared, activation)
    return integers(bits, group, inputs, activation=activation)


def _word(stated: Any) -> str:
    """A word, or the one in a table of `_data` and `_type`."""
    return str(stated.get("_data", "") if isinstance(stated, dict) else stated).lower()


def _is_weight_only(data: Section) -> bool:
    config: Any = data.fields.get("mm_config")
    return isinstance(config, str) and "WEIGHT_ONLY" in config.upper()


def _micro(data: Section, said: str) -> Stored:
    stated = data.fields.get("weight_dtype", data.fields.get("elem_dtype", "float4"))
    word = _word(stated)
    if "float4" in word or "fp4" in word:
        return Stored(dtype="mxfp4")
    if "float8" in word or "fp8" in word:
        return stored_as("fp8", 8.25)
    raise InputError(f"{said} has weights of {shortened(word, 40)!r}; {OVERRIDE}")
