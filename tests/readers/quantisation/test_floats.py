"""8- and 4-bit floats by the name of their method."""

import pytest

from tests.readers.quantisation.cases import (
    DOWN,
    EMBEDDING,
    EXPERT,
    HEAD,
    PLAIN,
    QUERY,
    ROUTER,
    read,
    refusal,
    way,
)

SHARED = "layers.3.mlp.shared_experts.up_proj"
FP8 = ("fp8", 8.0, "fp8")
BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize(
    ("quantised", "stored", "block"),
    [
        ({"quant_method": "fp8"}, FP8, None),
        ({"quant_method": "fp8", "activation_scheme": "static"}, FP8, None),
        (BLOCKS, FP8, 128),
        (BLOCKS | {"weight_block_size": [1, 64]}, ("fp8", 8.5, "fp8"), 64),
        (
            BLOCKS | {"weight_block_size": [1, 64], "scale_fmt": "ue8m0"},
            *(("fp8", 8.125, "fp8"), 64),
        ),
        ({"quant_method": "fbgemm_fp8"}, FP8, None),
        ({"quant_method": "mxfp8"}, ("fp8", 8.25, "fp8"), None),
        ({"quant_method": "nvfp4"}, ("nvfp4", 4.5, "nvfp4"), None),
        ({"quant_method": "fouroversix", "dtype": "mxfp4"}, ("mxfp4", 4.25, "bf16"), None),
        ({"quant_method": "fp_quant", "forward_dtype": "nvfp4"}, ("nvfp4", 4.5, "nvfp4"), None),
        ({"quant_method": "w8a8_int8"}, ("int8", 8.0, "int8"), None),
    ],
)
def test_matrices_but_neither_the_ends_nor_the_router(quantised, stored, block):
    storage = read(quantised)
    assert way(storage, QUERY) == way(storage, DOWN) == way(storage, EXPERT) == stored
    assert way(storage, HEAD) == way(storage, EMBEDDING) == way(storage, ROUTER) == PLAIN
    assert storage.weight_block == block


@pytest.mark.parametrize("key", ["modules_to_not_convert", "ignored_layers", "ignore"])
def test_what_is_left_out_is_listed(key):
    listed = ["lm_head", "model.layers.3.self_attn.q_proj", "model.layers.0.input_layernorm"]
    storage = read(BLOCKS | {key: listed})
    assert way(storage, QUERY) == PLAIN
    assert way(storage, DOWN) == FP8
    assert not storage.remarks


def test_an_embedding_is_converted_where_it_is_listed():
    assert way(read(BLOCKS | {"modules_to_convert": ["model.embed_tokens"]}), EMBEDDING) == FP8


@pytest.mark.parametrize(
    ("word", "stored"),
    [
        ("fp4", ("mxfp4", 4.25, "bf16")),
        ("mxfp4", ("mxfp4", 4.25, "bf16")),
        ("nvfp4", ("nvfp4", 4.5, "nvfp4")),
        ("fp8", FP8),
        ("bfloat16", PLAIN),
        ("int4", ("int4", 4.125, "bf16")),
    ],
)
def test_experts_may_have_a_format_of_their_own(word, stored):
    for storage in (read(BLOCKS, expert_dtype=word), read(BLOCKS | {"expert_dtype": word})):
        assert way(storage, EXPERT) == stored
        assert way(storage, QUERY) == way(storage, SHARED) == FP8


def test_experts_alone_may_be_quantised():
    storage = read(expert_dtype="fp4")
    assert way(storage, EXPERT)[0] == "mxfp4"
    assert way(storage, QUERY) == PLAIN
    assert "expert_dtype" in refusal(expert_dtype="fp3")
    assert "expert_dtype" in refusal(expert_dtype=4)


def test_gpt_oss_quantises_its_experts_alone():
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]
    storage = read({"quant_method": "mxfp4", "modules_to_not_convert": kept})
    assert way(storage, EXPERT) == ("mxfp4", 4.25, "bf16")
    for module in (QUERY, DOWN, ROUTER, HEAD, EMBEDDING):
        assert way(storage, module) == PLAIN
    assert storage.weight_dtype == "mxfp4"
    assert read({"quant_method": "mxfp4", "dequantize": True}).is_plain
    few = read({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.3.mlp.experts"]})
    assert way(few, EXPERT) == PLAIN


def test_experts_that_modelopt_has_quantised_once_more():
    """DeepSeek-V4 as NVIDIA publishes it: `ignore` is of the experts' format, not of the rest."""
    listed = {f"layers.{layer}.ffn.experts": {"quant_algo": "NVFP4"} for layer in range(8)}
    stated = BLOCKS | {
        "moe_quant_algo": "NVFP4",
        "quant_algo": "MIXED_PRECISION",
        "quantized_layers": listed,
        "ignore": ["*.attn.*", "*.ffn.shared_experts.*", "head"],
    }
    storage = read(stated, expert_dtype="fp4")
    assert way(storage, EXPERT) == ("nvfp4", 4.5, "nvfp4")
    assert way(storage, QUERY) == way(storage, SHARED) == FP8
    del stated["quantized_layers"]
    assert way(read(stated, expert_dtype="fp4"), EXPERT) == ("nvfp4", 4.5, "nvfp4")


def test_weights_that_are_kept_whole_are_16_bit():
    storage = read({"quant_method": "fp_quant", "store_master_weights": True})
    assert storage.is_plain
    assert storage.remarks


def test_what_is_none_is_refused():
    assert "activation_scheme" in refusal({"quant_method": "fp8", "activation_scheme": "wild"})
    assert "forward_dtype" in refusal({"quant_method": "fp_quant", "forward_dtype": "fp3"})
