"""Checkpoints of compressed-tensors (llm-compressor): groups of modules, each with a format.

A group's targets are names, `re:` and a regular expression, or classes (`Linear`: all matrices,
the output head among them; embeddings are none). A name goes before a class, and what `ignore`
lists before both. Without `input_activations` the weights alone are quantised. Source: the
package's `quantization/` and vLLM's `compressed_tensors/`.
"""

from dataclasses import replace
from typing import NamedTuple

from planner.errors import InputError, shortened
from planner.models.dtypes import Dtype
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.fields import OVERRIDE, Section
from planner.readers.quantisation.formats import (
    SCALE_BITS,
    blocks,
    floats,
    integers,
    stored_as,
)
from planner.readers.quantisation.rules import Rule, rule_of
from planner.readers.quantisation.storage import Scheme

UNPACKED = ("dense",)
BYTES = ("int-quantized", "naive-quantized")
"""Formats that pack nothing."""
STRATEGIES = ("tensor", "channel", "group", "block", "tensor_group", "token", "attn_head")


class Group(NamedTuple):
    """One group of modules."""

    stored: Stored
    targets: tuple[str, ...]
    said: str
    block: int | None


def read_compressed_tensors(section: Section, inputs: int) -> Scheme:
    """A table of compressed-tensors, or one that holds it as `quantization_config`."""
    inner = section.part("quantization_config")
    if inner is not None:
        sparsity = section.fields.get("sparsity_config")
        section = Section({"sparsity_config": sparsity, **inner.fields}, inner.path, inner.place)
    said = section.said("ignore")
    ignored = tuple(rule_of(name, PLAIN, said) for name in section.names("ignore"))
    scheme = Scheme(kept=ignored, kv=cache_of(section, "kv_cache_scheme"))
    scheme = scheme.noting(*_sparse(section))
    if section.text("format").lower() in UNPACKED:
        remark = f"{section.said('format')} is dense: the weights are stored at 16 bit"
        return scheme.noting(*([remark] if section.has("config_groups") else []))

    groups = [_group(one, section, inputs) for _, one in section.parts("config_groups")]
    if not section.has("config_groups", "kv_cache_scheme", "sparsity_config"):
        raise InputError(f"{section.said('config_groups')} is missing; {OVERRIDE}")
    return _with_groups(scheme, [group for group in groups if group is not None])


def _with_groups(scheme: Scheme, groups: list[Group]) -> Scheme:
    rules: list[Rule] = []
    classes: list[tuple[str, Stored]] = []
    for group in groups:
        for target in group.targets:
            if target.startswith("re:") or "." in target or not target[:1].isupper():
                rules.append(rule_of(target, group.stored, group.said))
            else:
                classes.append((target.lower(), group.stored))
    scheme = replace(scheme, targets=tuple(rules))

    # Of two groups of one class the first one counts.
    unread = []
    for name, stored in reversed(classes):
        if "linear" in name:
            scheme = replace(scheme, linear=stored, head=stored)
        elif "embedding" in name:
            scheme = replace(scheme, embedding=stored)
        elif "lmhead" in name:
            scheme = replace(scheme, head=stored)
        elif "moe" in name or "expert" in name:
            scheme = replace(scheme, experts=stored)
        else:
            unread.append(f"the class {shortened(name, 40)!r} that a group targets is not known")
    sizes = [group.block for group in groups if group.block]
    return replace(scheme, block=sizes[0] if sizes else None).noting(*unread)


def _group(group: Section, whole: Section, inputs: int) -> Group | None:
    weights = group.part("weights")
    if weights is None:
        return None
    said = group.said("targets")
    targets = group.names("targets") or ("Linear",)
    form = (group.text("format") or whole.text("format")).lower()
    activations = group.part("input_activations")
    activation = _activation(activations) if activations is not None else "bf16"
    sides = weights.sides("block_structure")
    stored = weights_format(weights, form, activation, sides, inputs)
    block = max(sides) if sides and stored.dtype == "fp8" else None
    return Group(stored, targets, said, block)


def _activation(section: Section) -> Dtype:
    bits = section.bits("num_bits", (4, 6, 8, 16), default=8)
    is_float = section.text("type", "int") == "float"
    if bits == 16:
        return "bf16"
    if bits == 8:
        return "fp8" if is_float else "int8"
    if not is_float:
        return "int4"
    return "nvfp4" if section.group(default=16) == 16 else "mxfp4"


def weights_format(
    section: Section, form: str, activation: Dtype, sides: tuple[int, ...], inputs: int
) -> Stored:
    """The format of the weights of a group."""
    bits = section.bits("num_bits", default=8)
    kind = section.text("type", "int").lower()
    strategy = section.text("strategy").lower()
    if strategy and strategy not in STRATEGIES:
        raise section.wrong("strategy", "tensor, channel, group, block or tensor_group")
    group = section.group(default=0)
    if strategy in ("group", "tensor_group") and not group:
        raise section.wrong("group_size", "a multiple of 8 such as 128")
    symmetric = section.flag("symmetric", True)
    by_group = group if strategy not in ("tensor", "channel", "block") else 0

    if kind == "float":
        if bits not in (4, 6, 8):
            raise section.wrong("num_bits", "4, 6 or 8 for floats")
        exponents = "mx" in form or "uint8" in section.text("scale_dtype")
        if sides:
            return blocks(sides, exponents=exponents, activation=activation)
        if bits == 4 and activation == ("mxfp4" if exponents or by_group >= 32 else "nvfp4"):
            # Both sides alike: the format's own recipe.
            return floats(bits, by_group, activation=None, exponents=exponents)
        return floats(bits, by_group, activation=activation, exponents=exponents)
    if kind != "int":
        raise section.wrong("type", "int or float")
    if form in BYTES and bits < 8:
        # Each is stored as a byte, however few of its bits are used.
        return stored_as("int8", 8 + SCALE_BITS / (by_group or inputs), activation)
    # Ordered rows remember their group in 32 bits.
    ordered = section.fields.get("actorder") in ("group", True)
    return integers(
        bits,
        by_group,
        inputs,
        zero_bits=0 if symmetric else bits,
        beside=32 / inputs if ordered and by_group else 0.0,
        activation=activation,
    )


def _sparse(section: Section) -> list[str]:
    sparsity = section.part("sparsity_config")
    structure = sparsity.fields.get("sparsity_structure") if sparsity is not None else None
    dense = sparsity is None or sparsity.fields.get("format") in (None, "dense")
    if "24" in section.text("format") or (structure == "2:4" and not dense):
        return [f"{section.place} stores weights with 2:4 sparsity, but they are priced as dense"]
    return []


def cache_of(section: Section, key: str) -> Dtype | None:
    """What a scheme of the cache of keys and values says, as a table or as a word."""
    stated = section.fields.get(key)
    if stated is None:
        return None
    if isinstance(stated, str):
        return cache_format(stated)
    table = section.part(key)
    assert table is not None
    bits = table.bits("num_bits", (4, 8, 16), default=8)
    is_float = table.text("type", "float").lower() == "float"
    formats: dict[tuple[int, bool], Dtype | None] = {
        (8, True): "fp8",
        (8, False): "int8",
        (4, True): "nvfp4",
        (4, False): "int4",
    }
    return formats.get((bits, is_float))


def cache_format(word: str) -> Dtype | None:
    """A format of the cache by its name; None: 16 bit, or not known."""
    plain = word.lower()
    if plain.startswith("nvfp4") or plain.startswith("fp4"):
        return "nvfp4"
    if plain.startswith(("fp8", "float8", "mxfp8", "e4m3", "static", "dynamic")):
        return "fp8"
    if plain.startswith(("int8", "uint8")):
        return "int8"
    return "int4" if plain.startswith(("int4", "uint4")) else None
