"""Files that are no config of a decoder, and families that would be read as something that they are
not: one sentence for each."""

from planner.errors import InputError, shortened
from planner.readers.configs.fields import ConfigFields

REFUSED = {
    "jetmoe": "its attention is a mixture of experts too",
    "zamba": "its layers share one block of attention",
    "zamba2": "its layers share a few blocks of attention",
    "xlstm": "its blocks keep a matrix as state, in a way that is not supported",
    "zaya": "its attention convolves queries and keys",
    "hy_v4": "it combines copies of the residual stream in a way that is not supported",
    "gemma4_assistant": "it is a draft model that reads the keys of its target model",
    "gemma4_unified_assistant": "it is a draft model that reads the keys of its target model",
    "doge": "its experts are looked up in tables of keys",
    "hrm_text": "it runs its layers several times for one token",
    "lfm3": "some of its layers are of an unknown kind",
    "idefics": "it has layers for images between its own layers",
    "hymba": "its layers combine attention and a state, partly shared between layers",
    "moshi": "it is a speech model of several parts",
}
"""Families that would be read as something that they are not."""
ENCODING = (
    "bert",
    "electra",
    "clip",
    "vit",
    "siglip",
    "bart",
    "pegasus",
    "marian",
    "wav2vec",
    "hubert",
    "t5",
    "whisper",
    "blenderbot",
    "longformer",
    "dino",
    "albert",
    "funnel",
    "reformer",
    "xlnet",
    "xlm",
    "prophet",
    "pix2struct",
    "perceiver",
    "segformer",
    "swin",
)
"""A `model_type` with one of these in its name is no decoder alone."""


OTHER_FILES = {
    "peft_type": "it is a LoRA adapter; give the config.json of its base model",
    "weight_map": "it is the index of a checkpoint; give the config.json beside it",
    "tokenizer_class": "it is the config of a tokenizer; give the config.json beside it",
    "image_processor_type": "it is the config of a preprocessor; give the config.json beside it",
    "feature_extractor_type": "it is the config of a preprocessor; give the config.json beside it",
    "processor_class": "it is the config of a preprocessor; give the config.json beside it",
    "do_sample": "it is a generation_config.json; give the config.json beside it",
    "temperature": "it is a generation_config.json; give the config.json beside it",
    "quant_algo": "it only says how weights are stored; give the config.json beside it",
    "vision_config": "it has no text part that states its layers",
    "talker_config": "it has no text part that states its layers",
    "architectures": "it names an architecture, but not the number of its layers",
}
"""Keys of files that lie beside a config.json, or of one that is cut short."""
DEPTHS = ("layers_block_type", "hybrid_override_pattern")
"""Which may state how many layers there are, where no number does."""


def refuse_strangers(config: ConfigFields, kind: str, outer: str, layers: tuple[str, ...]) -> None:
    """Refuse what is no decoder at all; `outer` is the `model_type` of the whole file, `layers`
    are the names of the number of layers."""
    fields, path = config.fields, config.path
    for each in (outer, kind):
        if each in REFUSED:
            raise config.fault(f"{each} is not supported: {REFUSED[each]}")
    no_decoder = f"{path} does not describe a decoder"
    if fields.get("_class_name"):
        called = shortened(str(fields["_class_name"]))
        raise InputError(f"{no_decoder}: it is {called} of diffusers")
    if any(word in kind for word in ENCODING) or fields.get("is_encoder_decoder") is True:
        raise InputError(f"{no_decoder}: {shortened(kind)} is an encoder, or has one")
    if any(fields.get(key) is not None for key in (*layers, *DEPTHS)):
        return
    said = next((OTHER_FILES[key] for key in OTHER_FILES if fields.get(key) is not None), "")
    raise InputError(f"{no_decoder}: {said or f'it has no {layers[0]}'}")
