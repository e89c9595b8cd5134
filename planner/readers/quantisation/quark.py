"""Checkpoints of AMD's Quark: a format for all matrices, others by name, and what is excluded.

Names are globs; `re:` and a regular expression. The output head is quantised where it is not
excluded. Source: Quark's export and vLLM's `quark/`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.errors import InputError
from planner.models.dtypes import Dtype
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.compressed_tensors import cache_format
from planner.readers.quantisation.fields import OVERRIDE, Section
from planner.readers.quantisation.formats import blocks, floats, integers
from planner.readers.quantisation.patterns import Pattern, glob
from planner.readers.quantisation.rules import rule_of
from planner.readers.quantisation.storage import Scheme

MOST_TRIED = 100_000
"""Names of the cache times layers that have a format of their own."""
FLOATS = {"fp8": 8, "fp6": 6, "fp4": 4, "mxfp4": 4, "mxfp6": 6, "mxfp8": 8, "mx": 4}


def read_quark(section: Section, inputs: int) -> Scheme:
    """A table of Quark."""
    usual = section.part("global_quant_config")
    if usual is None and not section.has("layer_quant_config"):
        raise InputError(f"{section.said('global_quant_config')} is missing; {OVERRIDE}")
    linear = _format(usual, inputs) if usual is not None else PLAIN
    said = section.said("exclude")
    excluded = tuple(rule_of(name, PLAIN, said) for name in section.names("exclude"))

    cached = _cache_names(section)
    targets = []
    kv: Dtype | None = None
    layers = section.parts("layer_quant_config")
    if len(cached) * len(layers) > MOST_TRIED:
        raise section.wrong("export", f"of less than {MOST_TRIED} names and layers together")
    for name, inner in layers:
        if any(pattern.matches(name[:200]) for pattern in cached):
            kv = kv or _cache(inner)
        targets.append(rule_of(name, _format(inner, inputs), section.said("layer_quant_config")))
    scheme = Scheme(linear=linear, head=linear, kept=excluded, targets=tuple(targets), kv=kv)

    for name, inner in section.parts("layer_type_quant_config"):
        stored = _format(inner, inputs)
        if "linear" in name.lower():
            scheme = replace(scheme, linear=stored, head=stored)
        elif "embedding" in name.lower():
            scheme = replace(scheme, embedding=stored)
    stated = section.part("kv_cache_quant_config")
    if kv is None and stated is not None:
        inners = [stated, *(one for _, one in _tables(stated))]
        scheme = replace(scheme, kv=next((found for one in inners if (found := _cache(one))), None))
    return scheme


def _tables(section: Section) -> list[tuple[str, Section]]:
    tables = {key: one for key, one in section.fields.items() if isinstance(one, Mapping)}
    return [
        (key, Section(one, section.path, f"{section.place}.{key}")) for key, one in tables.items()
    ]


def _cache_names(section: Section) -> tuple[Pattern, ...]:
    export = section.part("export")
    if export is None:
        return ()
    said = export.said("kv_cache_group")
    return tuple(glob(name, said) for name in export.names("kv_cache_group"))


def _cache(section: Section) -> Dtype | None:
    """What is said of the outputs of the modules whose outputs are cached."""
    stated = _first(section.fields.get("output_tensors"))
    word = stated.get("dtype") if stated is not None else section.fields.get("dtype")
    return cache_format(word) if isinstance(word, str) else None


def _first(stated: Any) -> Mapping[str, Any] | None:
    """A table, or the first of a list of them: scales of scales come after."""
    first = stated[0] if isinstance(stated, list) and stated else stated
    return first if isinstance(first, Mapping) else None


def _format(section: Section, inputs: int) -> Stored:
    stated = section.fields.get("weight")
    if stated is None:
        return PLAIN
    table = _first(stated)
    if table is None:
        raise section.wrong("weight", "a table")
    both = stated if isinstance(stated, list) else [stated]
    last = both[-1] if isinstance(both[-1], Mapping) else table
    if str(last.get("dtype", "")).startswith(("int4", "uint4")):
        # Quantised twice: what is stored is what the last step makes.
        table = last
    return _weights(Section(table, section.path, f"{section.place}.weight"), section, inputs)


def _weights(weights: Section, section: Section, inputs: int) -> Stored:
    named = weights.text("dtype").lower()
    scheme = weights.text("qscheme").lower()
    group = weights.group(default=0) if scheme == "per_group" else 0
    activation = _activation(section)
    if named.startswith(("int", "uint")):
        bits = named.removeprefix("u").removeprefix("int")
        if bits not in ("2", "3", "4", "8"):
            raise weights.wrong("dtype", "int4, int8, fp8_e4m3 or fp4")
        zeros = float(bits) if weights.fields.get("symmetric") is False else 0.0
        return integers(int(bits), group, inputs, zero_bits=zeros, activation=activation or "bf16")
    word = weights.text("mx_element_dtype", named).lower() if named == "mx" else named
    bits_of = next((count for start, count in FLOATS.items() if word.startswith(start)), 0)
    if not bits_of:
        raise weights.wrong("dtype", "int4, int8, fp8_e4m3 or fp4")
    exponents = weights.text("scale_format") == "e8m0" or "e8m0" in weights.text("scale_type")
    sides = weights.sides("block_size")
    if sides:
        return blocks(sides, exponents=exponents, activation=activation or "bf16")
    group = group or (32 if bits_of < 8 else 0)
    own = {4: ("nvfp4" if group == 16 and not exponents else "mxfp4"), 8: "fp8"}.get(bits_of)
    if activation == own:
        return floats(bits_of, group, activation=None, exponents=exponents)
    return floats(bits_of, group, activation=activation or "bf16", exponents=exponents)


def _activation(section: Section) -> Dtype | None:
    """What the inputs are quantised to; None: they are not."""
    table = _first(section.fields.get("input_tensors"))
    word = str(table.get("dtype", "")).lower() if table is not None else ""
    if word.startswith("fp4"):
        return "nvfp4" if table is not None and table.get("group_size") == 16 else "mxfp4"
    if word.startswith("fp8"):
        return "fp8"
    return "int8" if word.startswith(("int8", "uint8")) else None
