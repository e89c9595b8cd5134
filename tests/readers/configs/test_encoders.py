"""Encoders of configs, against the counts of their published sizes."""

import pytest

from tests.readers.small import read

BERT = {
    "model_type": "bert",
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
T5 = {
    "model_type": "t5",
    "is_encoder_decoder": True,
    "num_layers": 6,
    "num_decoder_layers": 6,
    "d_model": 512,
    "d_kv": 64,
    "num_heads": 8,
    "d_ff": 2048,
    "vocab_size": 32128,
    "feed_forward_proj": "relu",
}
VIT = {
    "model_type": "vit",
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
}
WHISPER = {
    "model_type": "whisper",
    "is_encoder_decoder": True,
    "d_model": 384,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
    "vocab_size": 51865,
}


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [(BERT, 109_482_240), (T5, 35_330_816), (VIT, 86_389_248), (WHISPER, 8_208_384)],
    ids=["bert", "t5", "vit", "whisper"],
)
def test_an_encoder_has_as_many_parameters_as_the_library_counts(tmp_path, fields, parameters):
    """Counted by transformers 5.24 on the meta device."""
    graph = read(tmp_path, fields)
    assert graph.parameters == pytest.approx(parameters, rel=3e-4)
    assert not graph.makes_tokens
    assert graph.kv_bytes_per_token == 0


@pytest.mark.parametrize("fields", [T5, WHISPER], ids=["t5", "whisper"])
def test_of_a_pair_the_encoder_is_read_and_the_answer_says_so(tmp_path, fields):
    (remark,) = read(tmp_path, fields).remarks
    assert remark.startswith("only the encoder is read")


def test_bert_of_the_catalogue_differs_by_its_biases(tmp_path):
    import planner as pl

    assert pl.load_model("bert-base").parameters < read(tmp_path, BERT).parameters
