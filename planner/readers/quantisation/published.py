"""What the files of a published checkpoint say of how it is stored.

A config states its quantisation as `quantization_config`, MLX as `quantization`, older ones of
compressed-tensors as `compression_config`; ModelOpt also in a file beside it, which counts where
the config says nothing. A method that is not read is refused: a wrong size would be worse.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from planner.errors import InputError, shortened
from planner.models.storage import PLAIN
from planner.readers.quantisation.apple import read_metal, read_mlx
from planner.readers.quantisation.compressed_tensors import (
    cache_format,
    cache_of,
    read_compressed_tensors,
)
from planner.readers.quantisation.fields import OVERRIDE, Section
from planner.readers.quantisation.floats import (
    experts_of,
    read_eight_bit_integers,
    read_fbgemm,
    read_four_bits,
    read_fp8,
    read_mxfp4,
    read_mxfp8,
    read_nvfp4,
)
from planner.readers.quantisation.formats import FP8, USUAL_INPUTS
from planner.readers.quantisation.modelopt import read_modelopt
from planner.readers.quantisation.quark import read_quark
from planner.readers.quantisation.storage import Model, PublishedStorage, Scheme
from planner.readers.quantisation.torchao import read_torchao
from planner.readers.quantisation.weight_only import (
    read_auto_round,
    read_awq,
    read_bitnet,
    read_bitsandbytes,
    read_eetq,
    read_exllama,
    read_gptq,
    read_hqq,
    read_integer_experts,
    read_quanto,
    unknown,
)

Reader = Callable[[Section, int], Scheme]

KEYS = ("quantization_config", "quantization", "compression_config", "sparseml_config")
TEXTS = ("text_config", "llm_config", "language_config", "thinker_config")
SIDECAR = "hf_quant_config.json"
METHOD_KEYS = ("quant_method", "method", "quantization_method")
OF_LINEAR_LAYERS = ("bitsandbytes", "bnb", "bitsandbytes4bit", "bitsandbytes8bit", "torchao")
"""Methods of transformers that quantise linear layers one by one."""
HIDDEN = ("hidden_size", "n_embd", "d_model")

METHODS: dict[str, Reader] = {
    **dict.fromkeys(
        ("gptq", "autogptq", "gptqmodel", "gptqmarlin", "marlin", "moewna16"), read_gptq
    ),
    **dict.fromkeys(("awq", "autoawq", "awqmarlin", "llmawq"), read_awq),
    **dict.fromkeys(("autoround", "intelautoround", "inc"), read_auto_round),
    **dict.fromkeys(
        ("bitsandbytes", "bnb", "bitsandbytes4bit", "bitsandbytes8bit"), read_bitsandbytes
    ),
    **dict.fromkeys(("fp8", "deepseekv4fp8", "w8a8fp8", "finegrainedfp8"), read_fp8),
    **dict.fromkeys(("fbgemmfp8", "ptpcfp8"), read_fbgemm),
    **dict.fromkeys(("w8a8int8", "int8"), read_eight_bit_integers),
    **dict.fromkeys(("compressedtensors", "sparseml", "llmcompressor"), read_compressed_tensors),
    **dict.fromkeys(
        ("modelopt", "modeloptfp4", "modeloptfp8", "modeloptmixed", "modeloptmxfp8"), read_modelopt
    ),
    **dict.fromkeys(("quark", "quarkonline"), read_quark),
    **dict.fromkeys(("exl2", "exl3"), read_exllama),
    **dict.fromkeys(("fpquant", "fouroversix"), read_four_bits),
    "w4afp8": read_integer_experts,
    "mxfp4": read_mxfp4,
    "gptossmxfp4": read_mxfp4,
    "mxfp8": read_mxfp8,
    "nvfp4": read_nvfp4,
    "torchao": read_torchao,
    "hqq": read_hqq,
    "quanto": read_quanto,
    "eetq": read_eetq,
    "bitnet": read_bitnet,
    "metal": read_metal,
    "mlx": read_mlx,
}
"""By the name of the method, its letters and digits alone."""


def published_storage(
    fields: Mapping[str, Any],
    sidecar: Mapping[str, Any] | None,
    path: str,
    *,
    as_stored: bool = True,
) -> PublishedStorage:
    """How the checkpoint is stored whose config has these fields, its text part brought to the
    top, and whose `hf_quant_config.json` holds `sidecar`; None: it has none. `as_stored` False: a
    format is asked for by name, so that nothing is said of how plain weights are priced.

    Raises `InputError` where the files state a quantisation that is not read, or one that cannot
    be.
    """
    model = Model.of(fields)
    inputs = next(
        (
            fields[key]
            for key in HIDDEN
            if type(fields.get(key)) is int and 8 <= fields[key] <= 10**6
        ),
        USUAL_INPUTS,
    )
    section = _stated(fields, path)
    scheme = _read(section, inputs) if section is not None else None
    beside = _beside(sidecar, path, inputs, is_needed=scheme is None)
    if scheme is None:
        scheme = beside or _unquantised(fields, path, is_told=as_stored)
        place = SIDECAR if beside else "config"
    else:
        assert section is not None
        place = section.place
        if beside is not None and scheme.kv is None:
            scheme = replace(scheme, kv=beside.kv)
    scheme = _with_experts(scheme, fields, section, path, inputs)
    if model.experts > 1 and section is not None:
        scheme = _without_fused(scheme, fields, section)
    return PublishedStorage(scheme, model, f"{path}: {place}")


def _stated(fields: Mapping[str, Any], path: str) -> Section | None:
    """The table that states the quantisation, wherever it stands; None: there is none."""
    whole = Section(fields, path, "")
    apples = fields.get("quantization")
    if isinstance(apples, Mapping) and "bits" in apples:
        # MLX reads its own first, whatever the config said before it converted the checkpoint.
        return whole.part("quantization")
    for key in KEYS:
        table = whole.part(key)
        if table is not None and table.fields:
            return table
    for key in TEXTS:
        nested = fields.get(key)
        if isinstance(nested, Mapping):
            found = _stated({one: nested[one] for one in KEYS if one in nested}, path)
            if found is not None:
                return Section(found.fields, path, f"{key}.{found.place}")
    return None


def _read(section: Section, inputs: int) -> Scheme:
    key = section.first(*METHOD_KEYS)
    stated = section.text(key)
    plain = _plain(stated)
    if not plain:
        return _unnamed(section)(section, inputs)
    producer = section.fields.get("producer")
    by_modelopt = isinstance(producer, Mapping) and producer.get("name") == "modelopt"
    if plain == "compressedtensors" and by_modelopt and section.has("quant_algo"):
        return read_modelopt(section, inputs)
    if plain not in METHODS:
        raise unknown(section, key, stated)
    scheme = METHODS[plain](section, inputs)
    return scheme if scheme.kv is not None else replace(scheme, kv=_cache(section))


def _plain(method: str) -> str:
    """The letters and digits of a method's name."""
    return "".join(letter for letter in method.lower()[:100] if letter.isalnum())


def _cache(section: Section) -> Any:
    """What any method may say of the cache of keys and values."""
    if section.has("kv_cache_scheme"):
        return cache_of(section, "kv_cache_scheme")
    for key in ("kv_cache_quant_algo", "kv_cache_quant_method", "kv_cache_dtype"):
        if section.has(key):
            return cache_format(section.text(key))
    return None


def _unnamed(section: Section) -> Reader:
    """The method of a table that names none, by the keys that it has."""
    has = section.has
    if has("quant_algo") or has("quantized_layers"):
        return read_modelopt
    if has("global_quant_config"):
        return read_quark
    if has("config_groups") or has("quantization_config"):
        return read_compressed_tensors
    if has("load_in_4bit", "load_in_8bit"):
        return read_bitsandbytes
    if has("weight_block_size", "activation_scheme"):
        return read_fp8
    if has("quant_config", "nbits"):
        return read_hqq
    if has("quant_type"):
        return read_torchao
    if has("w_bit", "zero_point"):
        return read_awq
    if has("sym", "desc_act", "damp_percent"):
        return read_gptq
    if has("bits", "mode"):
        return read_mlx
    known = ", ".join(shortened(str(key), 20) for key in list(section.fields)[:4])
    raise InputError(
        f"{section.said('quant_method')} is missing, and the other keys ({known}) do not say which"
        f" method it is; {OVERRIDE}"
    )


def _beside(
    sidecar: Mapping[str, Any] | None, path: str, inputs: int, *, is_needed: bool
) -> Scheme | None:
    """What the file beside the config says."""
    if not sidecar:
        return None
    section = Section(sidecar, f"{path} ({SIDECAR})", "")
    if not is_needed:
        # The config goes first; of the file beside it only what it says of the cache is of use.
        inner = sidecar.get("quantization")
        if not isinstance(inner, Mapping):
            return None
        return Scheme(kv=_cache(Section(inner, section.path, "quantization")))
    if not section.has("quantization", "quant_algo", "config_groups"):
        raise InputError(f"{section.said('quantization')} is missing; {OVERRIDE}")
    return read_modelopt(section, inputs)


def _with_experts(
    scheme: Scheme, fields: Mapping[str, Any], section: Section | None, path: str, inputs: int
) -> Scheme:
    """The scheme with what `expert_dtype` says beside it, where nothing else speaks of experts."""
    whole = Section(fields, path, "")
    holder = section if section is not None and section.has("expert_dtype") else whole
    experts = experts_of(holder, "expert_dtype", inputs)
    is_same = experts is None or experts.dtype == scheme.linear.dtype
    if scheme.experts is not None or is_same:
        return scheme
    return replace(scheme, experts=experts)


def _without_fused(scheme: Scheme, fields: Mapping[str, Any], section: Section) -> Scheme:
    """The scheme without routed experts, where transformers made it that keeps all experts of a
    layer in one tensor: what quantises linear layers as it loads them passes that over."""
    key = section.first(*METHOD_KEYS)
    version = str(fields.get("transformers_version") or "").partition(".")[0]
    is_fused = version.isascii() and version.isdecimal() and int(version[:6]) >= 5
    if not is_fused or _plain(section.text(key)) not in OF_LINEAR_LAYERS:
        return scheme
    if scheme.experts is not None:
        return scheme
    remark = f"{section.said(key)} leaves routed experts at 16 bit, as transformers 5 stores them"
    return replace(scheme, experts=PLAIN).noting(remark)


def _unquantised(fields: Mapping[str, Any], path: str, *, is_told: bool) -> Scheme:
    """16 bit, whatever the config says of its floats; `is_told`: which is then remarked on."""
    key = "dtype" if isinstance(fields.get("dtype"), str) else "torch_dtype"
    word = str(fields.get(key, "")).lower().removeprefix("torch.")
    if word in ("float32", "float", "fp32"):
        remark = f"{path}: weights stored as float32 are priced as bf16, as engines load them"
        return Scheme(remarks=(remark,) if is_told else ())
    if word.startswith("float8"):
        return Scheme(linear=FP8)
    return Scheme(linear=PLAIN)
