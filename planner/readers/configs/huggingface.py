"""A model from a Hugging Face `config.json` and what lies beside it.

The text part is brought to the top, the family's defaults are added, the decoder is read block by
block, and a key that may say how layers are made and was not read refuses: better no answer than
one for another model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from planner.errors import InputError, listed, told
from planner.models.blocks import Decoder
from planner.models.dtypes import Dtype
from planner.models.encoder import EncoderShape
from planner.models.storage import Storage
from planner.readers.configs.attention import HEAD_DIM, HEADS, KV_HEADS, WINDOW
from planner.readers.configs.decoders import CONTEXT, HIDDEN, LAYERS, VOCABULARY, decoder_from
from planner.readers.configs.encoders import KINDS as ENCODERS
from planner.readers.configs.encoders import encoder_from
from planner.readers.configs.families import FAMILIES, defaults_of
from planner.readers.configs.feed_forward import (
    ACTIVE,
    EXPERT_FFN,
    EXPERTS,
    FFN,
    SHARED,
    SHARED_FFN,
)
from planner.readers.configs.fields import ConfigFields
from planner.readers.configs.strangers import refuse_strangers
from planner.readers.files import CONFIG_BYTES, file_beside, read_json
from planner.readers.quantisation import published_storage
from planner.readers.quantisation.published import SIDECAR

Fields = Mapping[str, Any]

TEXT_PARTS = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "language_model_config",
    "text_model_config",
    "llm",
    "lm_config",
)
"""Where a model of several parts keeps its text part; the talker of an omni model is another."""
OF_THE_WHOLE = (
    "tie_word_embeddings",
    "quantization_config",
    "quantization",
    "compression_config",
    "torch_dtype",
    "dtype",
    "architectures",
    "vision_config",
    "expert_dtype",
    "transformers_version",
)
"""What the whole says for its text part too."""
TOWERS = (
    "vision_config",
    "audio_config",
    "vision_tower_config",
    "visual",
    "vision_tower",
    "mm_vision_tower",
    "speech_config",
    "talker_config",
    "code2wav_config",
    "vq_config",
    "audio_encoder",
    "vit_config",
    "sound_config",
    "img_processor",
    "vision_encoder",
    "embd_layer",
)
ALIASES = (
    LAYERS,
    HIDDEN,
    HEADS,
    KV_HEADS,
    HEAD_DIM,
    VOCABULARY,
    CONTEXT,
    FFN,
    EXPERTS,
    ACTIVE,
    EXPERT_FFN,
    SHARED,
    SHARED_FFN,
    WINDOW,
)
LATER = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", "mtp_num_layers")
"""How many prediction layers stand behind those that are served."""
MOST_DEEP = 3


class Read(NamedTuple):
    """What a config.json states of a model."""

    shape: Decoder | EncoderShape
    dtype: Dtype
    """Of most of its weights, as they are published."""
    storage: Storage | None
    """How its modules are stored; None: all alike."""
    block: int | None
    """Of weights that share a scale."""
    kv_dtype: Dtype | None
    """Of the cache, where the checkpoint says it."""
    remarks: tuple[str, ...]
    """What answers are to say of how it was read."""


def read_config(path: Path, *, as_stored: bool = True) -> Read:
    """What a config.json states, with what lies beside it; `as_stored` False: another format is
    asked for, so that one that is not read matters not."""
    fields = read_json(path, "a config.json", most_bytes=CONFIG_BYTES)
    sidecar = file_beside(SIDECAR, path)
    beside = None
    if path.name == "config.json" and sidecar.is_file():
        beside = read_json(sidecar, f"a {SIDECAR}", most_bytes=CONFIG_BYTES)
    return read_fields(fields, str(path), beside, as_stored=as_stored)


def read_fields(
    fields: Fields, path: str, sidecar: Fields | None = None, *, as_stored: bool = True
) -> Read:
    """What the fields of a config.json state, and those of ModelOpt's file beside it; `path` is
    named in refusals."""
    text, nested = text_part(fields, path)
    remarks = _parts_left_out({**fields, **text}, nested=nested)
    kind = _kind_of(text, path)
    added = defaults_of(kind, text, ALIASES, nested=nested)
    config = ConfigFields({**added, **text}, path)
    try:
        shape: Decoder | EncoderShape
        if kind in ENCODERS:
            shape, said = encoder_from(config, kind)
        else:
            refuse_strangers(config, kind, str(fields.get("model_type") or ""), LAYERS)
            shape, said = decoder_from(config)
    except InputError as error:
        raise _named(error, path) from None
    if kind not in FAMILIES and kind not in ENCODERS:
        config.refuse_two_names(ALIASES)
        config.refuse_unread(text, stranger=True)
    config.refuse_unread(text)
    remarks += said + _added_said(added, config, kind, windowed=_has_windows(shape))
    try:
        storage = published_storage(text, sidecar, path, as_stored=as_stored)
    except InputError:
        if as_stored:
            raise
        storage = published_storage({}, None, path, as_stored=False)
    return Read(
        shape=shape,
        dtype=storage.weight_dtype,
        storage=None if storage.is_plain else storage,
        block=storage.weight_block,
        kv_dtype=storage.kv_dtype,
        remarks=(*remarks, *storage.remarks),
    )


def _named(error: InputError, path: str) -> InputError:
    """With the file before it."""
    return error if str(error).startswith(path) else InputError(f"{path}: {error}")


def _kind_of(text: dict[str, Any], path: str) -> str:
    """The `model_type`, spelled as its family is; `text` is told."""
    kind = text.get("model_type") or ""
    if not isinstance(kind, str):
        raise InputError(f"{path}: model_type must be a word, not {told(kind, 30)}")
    spelled = kind.lower().replace("-", "_")
    if kind not in FAMILIES and kind not in ENCODERS and spelled in FAMILIES:
        kind = text["model_type"] = spelled
    return kind


def text_part(fields: Fields, path: str) -> tuple[dict[str, Any], bool]:
    """The fields of the text part, and whether it lay below others."""
    text, nested = dict(fields), False
    for _ in range(MOST_DEEP):
        parts = [key for key in TEXT_PARTS if isinstance(text.get(key), dict)]
        if not parts or not (text[parts[0]] or all(text.get(key) is None for key in LAYERS)):
            break
        outer, part = text, parts[0]
        _refuse_two(outer, parts, path)
        text = dict(outer[part])
        for key in OF_THE_WHOLE:
            if outer.get(key) is not None and (key == "tie_word_embeddings" or key not in text):
                text[key] = outer[key]
        text.setdefault("model_type", outer.get("model_type"))
        nested = True
    return text, nested


def _refuse_two(outer: Fields, parts: list[str], path: str) -> None:
    """Refuse two text parts, or one beside another depth, that are not alike."""
    for names in (LAYERS, HIDDEN):
        found = {
            part: next(
                (outer[part][key] for key in names if outer[part].get(key) is not None), None
            )
            for part in parts
        }
        if names == LAYERS and outer.get(LAYERS[0]) is not None and found[parts[0]] is not None:
            found["the file itself"] = outer[LAYERS[0]]
        stated = {part: value for part, value in found.items() if value is not None}
        if len({str(value) for value in stated.values()}) > 1:
            each = [f"{value!r:.20} in {part}" for part, value in stated.items()]
            raise InputError(
                f"{path}: {names[0]} is {listed(each, 'and')}; keep the one that is meant"
            )


def _parts_left_out(fields: Fields, *, nested: bool) -> list[str]:
    """Towers and prediction layers, which are not counted."""
    found = [key for key in TOWERS if fields.get(key)]
    deeper = fields.get("thinker_config")
    if isinstance(deeper, dict):
        found += [key for key in TOWERS if deeper.get(key) and key not in found]
    remarks = []
    if found or nested:
        what = (
            f": {listed(found, 'and')} {'is' if len(found) == 1 else 'are'} not counted"
            if found
            else ""
        )
        remarks.append(f"text part alone{what}")
    later = next((fields[key] for key in LATER if type(fields.get(key)) is int), 0)
    if later > 0:
        layers = "layer" if later == 1 else "layers"
        remarks.append(f"{later} {layers} that predict later tokens (MTP) not counted")
    return remarks


def _has_windows(shape: Decoder | EncoderShape) -> bool:
    if not isinstance(shape, Decoder):
        return False
    parts = (part for block in shape.blocks for part in block.parts)
    return any(getattr(part, "window_tokens", 0) for part in parts)


def _added_said(added: Fields, config: ConfigFields, kind: str, *, windowed: bool) -> list[str]:
    """What was taken from the family's defaults, of what was read; of windows where any layer has
    one."""
    loud = LOUD if windowed else LOUD - set(WINDOW)
    used = [f"{key} {value}" for key, value in added.items() if key in config.read and key in loud]
    if not used:
        return []
    return [
        f"missing in the config, and taken from the defaults of {kind}: {listed(used[:8], 'and')}"
    ]


LOUD = {
    name
    for names in (
        LAYERS,
        HIDDEN,
        HEADS,
        KV_HEADS,
        VOCABULARY,
        FFN,
        EXPERTS,
        ACTIVE,
        EXPERT_FFN,
        WINDOW,
        ("q_lora_rank",),
    )
    for name in names
}
"""Defaults that answers speak of: those that make the model larger or smaller."""
