"""Checkpoints of MLX, which quantise the embedding and the output head too, and of transformers'
kernels for the same machines, which do not.

A 16-bit scale and a 16-bit bias for each group; or the modes `mxfp4`, `mxfp8` and `nvfp4`, which
have the groups and scales of those formats. Modules that differ are keys beside `bits`: `false`,
or a table like the one that they stand in. Source: `mlx_lm/utils.py`, `mlx.nn.quantize`.
"""

from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.fields import Section
from planner.readers.quantisation.formats import integers, stored_as
from planner.readers.quantisation.rules import Rule, rule_of
from planner.readers.quantisation.storage import Scheme
from planner.readers.quantisation.weight_only import kept_of

KNOWN = ("group_size", "bits", "mode", "quant_method", "linear_class", "quantization_mode")
MODES: dict[str, Stored] = {
    "mxfp4": stored_as("mxfp4", 4.25, "bf16"),
    "mxfp8": stored_as("fp8", 8.25, "bf16"),
    "nvfp4": stored_as("nvfp4", 4.5, "bf16"),
}


def read_mlx(section: Section, inputs: int) -> Scheme:
    """A table of MLX."""
    usual = _format(section, inputs)
    rules: list[Rule] = []
    for name, said in section.fields.items():
        if name in KNOWN or said is True:
            continue
        if said is False:
            rules.append(rule_of(name, PLAIN, f"{section.path}: {section.place}"))
            continue
        if isinstance(said, dict):
            inner = section.part(name)
            assert inner is not None
            rules.append(rule_of(name, _format(inner, inputs), f"{section.path}: {section.place}"))
    return Scheme(linear=usual, head=usual, embedding=usual, targets=tuple(rules))


def read_metal(section: Section, inputs: int) -> Scheme:
    """The same of transformers, for matrices alone."""
    return Scheme(linear=_format(section, inputs), kept=kept_of(section, "modules_to_not_convert"))


def _format(section: Section, inputs: int) -> Stored:
    mode = section.text("mode", "affine")
    if mode == "affine":
        bits = section.bits("bits", default=4)
        return integers(bits, section.group(default=64), inputs, zero_bits=16)
    if mode not in MODES:
        raise section.wrong("mode", "affine, mxfp4, mxfp8 or nvfp4")
    section.bits("bits", default=4)
    section.group(default=32)
    return MODES[mode]
