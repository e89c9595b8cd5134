"""Encoders of a config.json: BERT and its kin, T5's, ViT, Whisper's."""

from planner.models.encoder import EncoderShape
from planner.readers.configs.fields import ConfigFields

TEXT = (
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "data2vec-text",
    "distilbert",
    "mpnet",
)
T5 = ("t5", "mt5", "umt5")
PICTURES = ("vit", "deit", "clip_vision_model")
SOUND = ("whisper",)
KINDS = (*TEXT, *T5, *PICTURES, *SOUND)

LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "encoder_layers")
HIDDEN = ("hidden_size", "dim", "d_model")
HEADS = ("num_attention_heads", "n_heads", "num_heads", "encoder_attention_heads")
FFN = ("intermediate_size", "hidden_dim", "d_ff", "encoder_ffn_dim")


def encoder_from(config: ConfigFields, kind: str) -> tuple[EncoderShape, list[str]]:
    """The encoder that a config states, and what answers are to say about how it was read."""
    if kind in T5:
        return _t5(config)
    if kind in PICTURES:
        return _pictures(config, kind), []
    if kind in SOUND:
        return _sound(config)
    return _text(config, kind), []


def _text(config: ConfigFields, kind: str) -> EncoderShape:
    """BERT: learned positions, two kinds of text, a pooler; DistilBERT has neither of the last
    two."""
    distilled = kind == "distilbert"
    config.tick("num_key_value_heads", "sinusoidal_pos_embds", "tie_word_embeddings")
    types = config.whole("type_vocab_size", default=0 if distilled or kind == "mpnet" else 2)
    return EncoderShape(
        layers=config.whole(LAYERS, most=10_000),
        hidden=config.whole(HIDDEN),
        heads=config.whole(HEADS),
        ffn=config.whole(FFN),
        vocabulary=config.whole("vocab_size"),
        positions=config.whole("max_position_embeddings"),
        token_types=types,
        pooled=not distilled,
        biased=True,
        position_buckets=config.whole("relative_attention_num_buckets", default=32)
        if kind == "mpnet"
        else 0,
    )


def _t5(config: ConfigFields) -> tuple[EncoderShape, list[str]]:
    """No biases, norms that only scale, distances in place of positions, and a head width of its
    own."""
    gated = str(config.get("feed_forward_proj") or "relu").startswith("gated")
    gated = config.flag("is_gated_act", gated)
    below = config.whole("num_decoder_layers", default=0) or config.whole(LAYERS, most=10_000)
    config.tick(
        "relative_attention_max_distance", "dense_act_fn", "n_positions", "tie_word_embeddings"
    )
    shape = EncoderShape(
        layers=config.whole(LAYERS, most=10_000),
        hidden=config.whole(HIDDEN),
        heads=config.whole(HEADS),
        head_dim=config.whole("d_kv"),
        ffn=config.whole(FFN),
        gated=gated,
        vocabulary=config.whole("vocab_size"),
        positions=0,
        token_types=0,
        norm_vectors=1,
        input_norm=False,
        final_norm=True,
        pooled=False,
        position_buckets=config.whole("relative_attention_num_buckets", default=32),
        longest=config.whole("n_positions", default=0),
    )
    return shape, [f"only the encoder is read: its decoder of {below} layers is not counted"]


def _pictures(config: ConfigFields, kind: str) -> EncoderShape:
    """A token for each patch, and one for the whole."""
    patch = config.whole("patch_size", default=16)
    size = config.whole("image_size", default=224)
    if not patch <= size <= 100_000:
        raise config.fault(f"image_size must be at least the patch_size {patch}, not {size}")
    channels = config.whole("num_channels", default=3)
    own = 2 if kind == "deit" else 1
    config.tick("qkv_bias", "encoder_stride", "projection_dim", "pooler_output_size", "pooler_act")
    return EncoderShape(
        layers=config.whole(LAYERS, most=10_000),
        hidden=config.whole(HIDDEN),
        heads=config.whole(HEADS),
        ffn=config.whole(FFN, default=0)
        or round(config.number("mlp_ratio", 4.0) * config.whole(HIDDEN)),
        vocabulary=0,
        positions=(size // patch) ** 2 + own,
        token_types=0,
        input_values=channels * patch * patch,
        classes=own,
        input_norm=kind == "clip_vision_model",
        final_norm=True,
        pooled=kind in ("vit", "deit"),
        biased=True,
    )


def _sound(config: ConfigFields) -> tuple[EncoderShape, list[str]]:
    """Two convolutions over the spectrogram, then blocks as BERT's."""
    config.tick(
        "decoder_layers",
        "decoder_attention_heads",
        "decoder_ffn_dim",
        "max_target_positions",
        "vocab_size",
        "num_hidden_layers",
        "encoder_layerdrop",
        "decoder_layerdrop",
        "tie_word_embeddings",
        "median_filter_width",
        "classifier_proj_size",
        "apply_spec_augment",
    )
    below = config.whole("decoder_layers", default=0)
    shape = EncoderShape(
        layers=config.whole(("encoder_layers", "num_hidden_layers"), most=10_000),
        hidden=config.whole(HIDDEN),
        heads=config.whole("encoder_attention_heads"),
        ffn=config.whole("encoder_ffn_dim"),
        vocabulary=0,
        positions=config.whole("max_source_positions", default=1500),
        token_types=0,
        sound_channels=config.whole("num_mel_bins", default=80),
        input_norm=False,
        final_norm=True,
        pooled=False,
        biased=True,
    )
    return shape, [f"only the encoder is read: its decoder of {below} layers is not counted"]
