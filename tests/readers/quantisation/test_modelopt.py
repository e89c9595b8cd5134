"""ModelOpt, in its own file and in the config."""

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

ALGORITHMS = [
    ("FP8", ("fp8", 8.0, "fp8")),
    ("fp8_pb_wo", ("fp8", 8.0, "fp8")),
    ("FP8_PER_CHANNEL_PER_TOKEN", ("fp8", 8.0, "fp8")),
    ("MXFP8", ("fp8", 8.25, "fp8")),
    ("NVFP4", ("nvfp4", 4.5, "nvfp4")),
    ("NVFP4_AWQ", ("nvfp4", 4.5, "nvfp4")),
    ("W4A16_NVFP4", ("nvfp4", 4.5, "bf16")),
    ("W4A8_NVFP4_FP8", ("nvfp4", 4.25, "fp8")),
    # 32-bit scales for 128
    ("W4A8_AWQ", ("int4", 4.25, "fp8")),
    ("INT4_AWQ", ("int4", 4.25, "bf16")),
    ("W4A16_GPTQ", ("int4", 4.15625, "bf16")),
    ("W8A16", ("int8", 8.0, "bf16")),
    ("W8A8_SQ_PER_CHANNEL", ("int8", 8.0, "int8")),
    ("W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN", ("int8", 8.0, "int8")),
    ("MXFP4", ("mxfp4", 4.25, "bf16")),
]


@pytest.mark.parametrize(("algorithm", "stored"), ALGORITHMS)
def test_bits_of_an_algorithm(algorithm, stored):
    excluded = ["lm_head"]
    beside = {"quantization": {"quant_algo": algorithm, "exclude_modules": excluded}}
    inside = {"quant_method": "modelopt", "quant_algo": algorithm, "ignore": excluded}
    for storage in (read(sidecar=beside), read(inside), read(sidecar=inside)):
        assert way(storage, QUERY) == way(storage, DOWN) == way(storage, EXPERT) == stored
        assert way(storage, HEAD) == way(storage, EMBEDDING) == way(storage, ROUTER) == PLAIN
        assert storage.weight_dtype == stored[0]
        assert storage.weight_block == (128 if "pb" in algorithm else None)


def test_groups_of_four_bit_floats_are_as_long_as_the_file_says():
    sizes = {"group_size": 32}
    assert way(read(sidecar={"quantization": {"quant_algo": "NVFP4"} | sizes}), QUERY)[1] == 4.25
    groups = {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4} | sizes}}
    stated = {"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4", "config_groups": groups}
    assert way(read(stated), QUERY) == ("nvfp4", 4.25, "bf16")


def test_the_head_is_quantised_where_it_is_not_excluded():
    assert way(read(sidecar={"quantization": {"quant_algo": "FP8"}}), HEAD)[0] == "fp8"


def test_what_is_excluded_is_a_name_or_a_glob():
    excluded = ["lm_head", "model.layers.3.self_attn*", "*.mlp.experts.*", "model.layers.61*"]
    stated = {"quant_algo": "NVFP4", "exclude_modules": excluded}
    storage = read(sidecar={"quantization": stated})
    assert way(storage, QUERY) == way(storage, EXPERT) == PLAIN
    assert way(storage, DOWN)[0] == "nvfp4"
    assert way(storage, "layers.2.self_attn.q_proj")[0] == "nvfp4"
    assert not storage.remarks


def test_layers_that_are_listed_have_an_algorithm_each():
    listed = {
        f"language_model.model.layers.3.block_sparse_moe.experts.{number}.w3": {
            "quant_algo": "NVFP4",
            "group_size": 16,
        }
        for number in range(8)
    }
    listed["language_model.model.layers.3.self_attn.q_proj"] = {"quant_algo": "MXFP8"}
    stated = {"quant_algo": "MIXED_PRECISION", "quantized_layers": listed}
    for storage in (read(sidecar={"quantization": stated}), read(stated)):
        assert way(storage, EXPERT) == ("nvfp4", 4.5, "nvfp4")
        assert way(storage, QUERY) == ("fp8", 8.25, "fp8")
        # What is not listed is not quantised.
        assert way(storage, DOWN) == way(storage, HEAD) == PLAIN
        assert way(storage, "layers.2.self_attn.q_proj") == PLAIN
        assert storage.weight_dtype == "nvfp4"
        assert not storage.remarks


def test_a_few_experts_that_differ_are_told():
    listed = {
        f"layers.3.mlp.experts.{number}.up_proj": {"quant_algo": "FP8"} for number in range(3)
    }
    stated = {"quant_algo": "MIXED_PRECISION", "quantized_layers": listed}
    storage = read(stated)
    assert way(storage, EXPERT) == PLAIN
    assert any("stores experts" in said for said in storage.remarks)


def test_groups_count_where_there_is_no_algorithm():
    group = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}
    stated = {
        "quant_method": "modelopt",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }
    storage = read(stated)
    assert way(storage, QUERY)[0] == "fp8"
    assert way(storage, HEAD) == PLAIN


@pytest.mark.parametrize(
    ("stated", "dtype"),
    [
        ({"kv_cache_quant_algo": "FP8"}, "fp8"),
        ({"kv_cache_quant_algo": "NVFP4"}, "nvfp4"),
        ({"kv_cache_quant_algo": "INT8"}, "int8"),
        ({"kv_cache_quant_algo": None}, None),
        ({"kv_cache_scheme": "FP8"}, "fp8"),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": False}}, "fp8"),
    ],
)
def test_the_cache_has_an_algorithm_of_its_own(stated, dtype):
    whole = {"quant_algo": "FP8", **stated}
    assert read(sidecar={"quantization": whole}).kv_dtype == dtype
    assert read(whole | {"quant_method": "modelopt"}).kv_dtype == dtype


def test_a_cache_that_is_not_read_is_told():
    storage = read({"quant_algo": "FP8", "kv_cache_quant_algo": "FP3"})
    assert storage.kv_dtype is None
    assert "kv_cache_quant_algo" in storage.remarks[0]


def test_what_is_none_is_refused_by_its_file():
    said = refusal(sidecar={"quantization": {"quant_algo": "W3"}})
    assert "hf_quant_config.json" in said
    assert "quantization.quant_algo" in said
    assert "hf_quant_config.json" in refusal(sidecar={"producer": {"name": "modelopt"}})
    assert "quantized_layers" in refusal({"quant_algo": "MIXED_PRECISION"})
    assert "quantized_layers.a" in refusal({"quantized_layers": {"a": 4}})
