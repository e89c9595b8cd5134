"""The model that a command names: from the disk, the hub's cache or the catalogue, also by a name
that differs where the shape does not."""

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from planner import catalogue
from planner.errors import (
    InputError,
    UnknownNameError,
    listed,
    nearest_names,
    plain_name,
    shortened,
)
from planner.launches.launch import Launch
from planner.models.graph import ModelGraph

ON_THE_HUB = re.compile(
    r"\b(?:config|params)\.json of ([\w.-]+/[\w.-]*[\w-])((?: and [\w.-]+/[\w.-]*[\w-])*)"
)
"""As the rows of the catalogue name where their figures come from."""
VARIANTS = (
    re.compile(r"instruct|it|chat|base|hf|thinking|reasoning|preview|exp|sft|dpo|bf16|fp16|gguf"),
    re.compile(r"unsloth|ud|bnb|dynamic|quantized|text|generation|v\d+(\.\d+)?|\d{4}|\d{6}"),
    re.compile(r"symmetric|block|channel|tensor|kv|mtp|eagle|marlin|autoround|g\d+|\d+g"),
)
"""Parts of names that say nothing of a model's shape."""
FORMATS = {
    "fp8": "fp8",
    "mxfp8": "fp8",
    "w8a8": "int8",
    "int8": "int8",
    "8bit": "int8",
    "awq": "int4",
    "gptq": "int4",
    "int4": "int4",
    "4bit": "int4",
    "w4a16": "int4",
    "nvfp4": "nvfp4",
    "fp4": "nvfp4",
    "mxfp4": "mxfp4",
    "q4_k_m": "q4_k_m",
    "q4_k_s": "q4_k",
    "q4_0": "q4_0",
    "q4_1": "q4_1",
    "q5_k_m": "q5_k",
    "q5_k_s": "q5_k",
    "q5_0": "q5_0",
    "q6_k": "q6_k",
    "q8_0": "q8_0",
    "q3_k_m": "q3_k",
    "q3_k_s": "q3_k",
    "q2_k": "q2_k",
    "iq4_xs": "iq4",
    "iq4_nl": "iq4",
    "iq3_m": "iq3",
    "iq2_m": "iq2",
    "f16": "fp16",
}
"""Parts of names that say how weights are stored."""
USUAL_GGUF = "q4_k_m"
"""Of a repository of llama.cpp whose format is not named."""
SHARD = re.compile(r"-\d{5}-of-\d{5}$")
PLAIN = ("bf16", "fp16", "fp32")
IN_BLOCKS = {"qwen": 128}
"""Weights that share a scale, of 8-bit checkpoints by their owner on the hub: that of Qwen3's FP8
checkpoints, as their cards have it in words of their own."""


class Modelled(NamedTuple):
    """A graph for a command, and what had to be assumed."""

    graph: ModelGraph
    remarks: tuple[str, ...] = ()


class _Named(NamedTuple):
    """A row of the catalogue that a name stands for."""

    entry: str
    weight_format: str | None
    remarks: tuple[str, ...]


def model_of(launch: Launch, model: str | None = None) -> Modelled:
    """The graph of a launch's model, or of `model` in its place, with its formats."""
    name = launch.model if model is None else model
    if not name:
        raise InputError("the command does not name a model; give it with --model NAME")
    try:
        stored = catalogue.load_model(name, kv_dtype=launch.cache_format)
    except InputError as refusal:
        if model is not None and not isinstance(refusal, UnknownNameError):
            raise
        return _of_the_catalogue(name, launch, refusal)
    remarks = ()
    wanted = launch.weight_format
    if wanted is not None and wanted != stored.weight_dtype:
        if stored.weight_dtype not in PLAIN:
            words = (
                f"{stored.name} is stored in {stored.weight_dtype}, and is priced so: the command's"
            )
            return Modelled(stored, (f"{words} format, {wanted}, is taken as another name for it",))
        stored = _loaded(name, wanted, launch.cache_format)
    return Modelled(stored, remarks)


def known_model(name: str) -> str:
    """What the catalogue knows a model as, by the name that an engine was asked for: as it stands
    where that is a file, lies in the hub's cache or is a name of the catalogue; else the row whose
    shape it has."""
    try:
        catalogue.load_model(name)
    except InputError as refusal:
        named = _named(name)
        if named is None and _is_there(name):
            raise
        if named is None:
            raise _unknown(name) from refusal
        return named.entry
    return name


def _is_there(name: str) -> bool:
    """Whether a name is that of a file or a folder."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def _unknown(name: str) -> InputError:
    near = listed(nearest_names(_tail(name), catalogue.model_names()))
    return InputError(
        f"{shortened(name)} is not in the catalogue, not in the local cache of the hub and not a"
        " file; name a model of the same shape with --model NAME, or give its config.json with"
        f" --model PATH (the nearest names are {near})"
    )


def model_by_name(launch: Launch) -> Modelled:
    """The graph of a launch's model, by its name alone: nothing on the disk is looked at."""
    if not launch.model:
        raise InputError("the command names no model; name one of the catalogue as model")
    row_named(launch.model)
    return _of_the_catalogue(launch.model, launch, None)


def row_named(name: str) -> str:
    """The catalogue's row that a name stands for, by the name alone."""
    named = _named(name)
    if named is None:
        near = listed(nearest_names(_tail(name), catalogue.model_names()))
        raise InputError(
            f"{shortened(name)} is the name of no model of the catalogue; name one of the same shape"
            f" (the nearest names are {near})"
        )
    return named.entry


def _of_the_catalogue(name: str, launch: Launch, refusal: InputError | None) -> Modelled:
    named = _named(name)
    if named is None:
        raise _unknown(name) from refusal
    wanted = launch.weight_format or named.weight_format
    published = catalogue.load_model(named.entry).weight_dtype
    if launch.engine == "llama.cpp" and wanted is None and published in PLAIN:
        wanted = USUAL_GGUF
    graph = _loaded(named.entry, wanted, launch.cache_format)
    remarks = list(named.remarks)
    block = IN_BLOCKS.get(name.partition("/")[0].lower())
    if block is not None and named.weight_format == "fp8" and graph.weight_block is None:
        graph = graph.replace(weight_block=block)
        remarks.append(f"each {block} weights share a scale, as in its owner's checkpoints")
    if wanted is not None:
        remarks.append(f"its weights are priced in {wanted}")
    return Modelled(graph, tuple(remarks))


def _loaded(name: str, weight_format: str | None, cache_format: str | None) -> ModelGraph:
    return catalogue.load_model(name, weight_dtype=weight_format, kv_dtype=cache_format)


def _named(name: str) -> _Named | None:
    """The row that a name stands for, with as little of the name left out as can be."""
    tail, _, label = _tail(name).partition(":")
    known = _known_names()
    found = known.get(plain_name(tail))
    stored = FORMATS.get(label.lower())
    if found is not None:
        # A name of its own on the hub says nothing of the shape of another.
        return _Named(found, stored, _said(name, found, ()))
    parts = [part for part in re.split(r"[-_ ]", _joined(tail)) if part]
    loose = [at for at, part in enumerate(parts) if _says_nothing(part)]
    for count in range(1, min(len(loose), 8) + 1):
        for left_out in itertools.combinations(loose, count):
            kept = [part for at, part in enumerate(parts) if at not in left_out]
            found = known.get(plain_name("".join(kept)))
            if found is not None:
                said = [parts[at] for at in left_out]
                formats = [FORMATS[one.lower()] for one in said if one.lower() in FORMATS]
                stored = stored or next(iter(formats), None)
                return _Named(found, stored, _said(name, found, said))
    return None


def _joined(tail: str) -> str:
    """A name whose formats hold no blanks: q4_k_m is one part."""
    text = SHARD.sub("", tail.removesuffix(".gguf"))
    for label in sorted(FORMATS, key=len, reverse=True):
        if "_" in label:
            text = re.sub(
                rf"[-_.]{label}(?=$|[-_.])", f"-{label.replace('_', '')}", text, flags=re.I
            )
    return text.replace(".Q", "-Q")


def _says_nothing(part: str) -> bool:
    plain = part.lower()
    return plain in FORMATS or any(one.fullmatch(plain) for one in VARIANTS) or plain == "meta"


FORMATS |= {label.replace("_", ""): dtype for label, dtype in FORMATS.items()}


def _said(name: str, entry: str, left_out: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    if plain_name(_tail(name)) == plain_name(entry):
        return ()
    words = f"{shortened(_tail(name))} is priced as {entry}, a model of the catalogue"
    shapes = [one for one in left_out if one.lower() not in FORMATS]
    if shapes:
        words += f": {listed(dict.fromkeys(shapes))} in the name is assumed not to change its shape"
    return (words,)


def _tail(name: str) -> str:
    """The last part of a path or of a name on the hub."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


@lru_cache
def _known_names() -> dict[str, str]:
    """Rows of the catalogue by all that they are called: names, aliases, names on the hub."""
    known: dict[str, str] = {}
    for entry, fields in catalogue.model_table().items():
        for name in (
            *names_on_hub(str(fields.get("source", ""))),
            *fields.get("aliases", ()),
            entry,
        ):
            known[plain_name(_tail(str(name)))] = entry
    return known


def names_on_hub(source: str) -> Iterator[str]:
    """Names on the hub whose config a row of the catalogue states."""
    for match in ON_THE_HUB.finditer(source):
        if "memory" not in source[: match.start()]:
            yield match[1]
            yield from re.findall(r"[\w.-]+/[\w.-]*[\w-]", match[2])
