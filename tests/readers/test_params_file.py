"""A params.json of Meta's or Mistral's in the words of a config.json: published files by hand."""

import pytest

from planner.errors import InputError
from planner.readers.configs.huggingface import read_fields
from planner.readers.params_file import config_fields_of_params

LLAMA_3_8B = {"dim": 4096, "ffn_dim_multiplier": 1.3, "multiple_of": 1024, "n_heads": 32,
              "n_kv_heads": 8, "n_layers": 32, "norm_eps": 1e-05, "rope_theta": 500000.0,
              "use_scaled_rope": True, "vocab_size": 128256}  # fmt: skip
MISTRAL_7B = {"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32,
              "n_kv_heads": 8, "norm_eps": 1e-05, "vocab_size": 32000, "sliding_window": 4096}  # fmt: skip
MIXTRAL = {"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32,
           "n_kv_heads": 8, "norm_eps": 1e-05, "vocab_size": 32000,
           "moe": {"num_experts_per_tok": 2, "num_experts": 8}}  # fmt: skip


def fields_of(given):
    return config_fields_of_params(given, "params.json")


def test_metas_llama_3_is_that_of_its_config():
    fields = fields_of(LLAMA_3_8B)
    assert fields == {
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "vocab_size": 128256, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
    }  # fmt: skip
    _, feed_forward = read_fields(fields, "params.json").shape.blocks[0].parts
    assert feed_forward.width == 14336


@pytest.mark.parametrize(
    ("given", "width"),
    [
        ({"dim": 4096, "multiple_of": 256}, 11008),  # Llama 2 7B
        ({"dim": 5120, "multiple_of": 256}, 13824),  # 13B
        ({"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3}, 28672),  # 70B
        ({"dim": 16384, "multiple_of": 4096, "ffn_dim_multiplier": 1.2}, 53248),  # Llama 3.1 405B
        ({"dim": 2048, "multiple_of": 256, "ffn_dim_multiplier": 1.5}, 8192),  # 3.2 1B
        ({"dim": 4096}, 11008),
    ],
)
def test_metas_width_is_that_of_the_published_models(given, width):
    assert fields_of({**given, "vocab_size": 32000})["intermediate_size"] == width


def test_mistrals_is_that_of_its_config():
    fields = fields_of(MISTRAL_7B)
    assert fields["model_type"] == "mistral"
    assert fields["sliding_window"] == 4096
    assert fields["head_dim"] == 128
    _, feed_forward = read_fields(fields, "params.json").shape.blocks[0].parts
    assert feed_forward.width == 14336


def test_mistrals_experts_are_mixtrals():
    fields = fields_of(MIXTRAL)
    assert fields["model_type"] == "mixtral"
    assert (fields["num_local_experts"], fields["num_experts_per_tok"]) == (8, 2)
    assert "moe" not in fields
    _, routed = read_fields(fields, "params.json").shape.blocks[0].parts
    assert (routed.experts, routed.active, routed.width) == (8, 2, 14336)


def test_the_text_model_is_read_of_one_that_sees():
    plain = fields_of(MISTRAL_7B)
    assert fields_of({"text": MISTRAL_7B, "vision_encoder": {"hidden_size": 1024}}) == plain
    assert fields_of(MISTRAL_7B | {"vision_encoder": {"hidden_size": 1024}}) == plain


def test_what_is_not_known_keeps_its_name():
    moe = {"num_experts": 8, "num_experts_per_tok": 2, "new_router": 3}
    fields = fields_of(MISTRAL_7B | {"new_layers": 7, "moe": moe})
    assert fields["new_layers"] == 7
    assert fields["moe.new_router"] == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vocab_size": -1}, "vocab_size is -1, which means that only the tokenizer has it"),
        ({"dim": None}, "dim must be a whole number of at least 1, not missing"),
        ({"dim": "4096"}, "dim must be a whole number of at least 1, not '4096'"),
        ({"dim": True}, "dim must be a whole number"),
        ({"multiple_of": 0}, "multiple_of must be a whole number"),
        ({"ffn_dim_multiplier": "1.3"}, "ffn_dim_multiplier must be a number above 0"),
        ({"ffn_dim_multiplier": float("nan")}, "ffn_dim_multiplier must be a number above 0"),
        ({"ffn_dim_multiplier": -1}, "ffn_dim_multiplier must be a number above 0"),
        ({"moe": [8, 2]}, "moe must be an object"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(InputError) as refused:
        fields_of(LLAMA_3_8B | change)
    assert str(refused.value).startswith("params.json: ")
    assert said in str(refused.value)
