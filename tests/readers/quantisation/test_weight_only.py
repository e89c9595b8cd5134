"""GPTQ, AWQ and their like."""

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

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}
ORDER = 32 / 4096
"""Bits of a weight for the group of each input, which every file of GPTQ has."""


@pytest.mark.parametrize(
    ("quantised", "stored"),
    [
        (GPTQ, ("int4", 4 + 20 / 128 + ORDER, "bf16")),
        (GPTQ | {"bits": 8}, ("int8", 8 + 24 / 128 + ORDER, "bf16")),
        (GPTQ | {"bits": 2, "group_size": 64}, ("int2", 2 + 18 / 64 + ORDER, "bf16")),
        (GPTQ | {"group_size": -1}, ("int4", 4 + 20 / 4096 + ORDER, "bf16")),
        (GPTQ | {"desc_act": True}, ("int4", 4 + 20 / 128 + ORDER, "bf16")),
        ({"quant_method": "awq"}, ("int4", 4 + 20 / 128, "bf16")),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, ("int4", 4 + 20 / 64, "bf16")),
        (
            {"quant_method": "auto-round", "bits": 4, "group_size": 32},
            ("int4", 4 + 20 / 32, "bf16"),
        ),
        ({"quant_method": "intel/auto-round", "bits": 3}, ("int3", 3 + 19 / 128, "bf16")),
        (
            {"quant_method": "auto-round", "bits": 4, "data_type": "nv_fp", "act_bits": 4},
            ("nvfp4", 4.5, "nvfp4"),
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("int4", 4.5, "bf16")),
        (
            {"load_in_4bit": True, "bnb_4bit_use_double_quant": True},
            ("int4", 4 + 8 / 64 + 32 / (64 * 256), "bf16"),
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("int8", 8.0, "int8")),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}},
            ("int4", 4 + 32 / 64, "bf16"),
        ),
        (
            {
                "quant_method": "hqq",
                "quant_config": {
                    "weight_quant_params": {"nbits": 2, "group_size": 16},
                    "scale_quant_params": {"nbits": 8, "group_size": 128},
                    "zero_quant_params": {"nbits": 8, "group_size": 128},
                },
            },
            ("int2", 2 + 16 / 16, "bf16"),
        ),
        ({"quant_method": "exl2", "bits": 4.65}, ("int5", 4.65, "bf16")),
        ({"quant_method": "exl3", "bits": 3.0}, ("int3", 3.0, "bf16")),
        ({"quant_method": "eetq"}, ("int8", 8.0, "bf16")),
        ({"quant_method": "quanto", "weights": "float8"}, ("fp8", 8.0, "bf16")),
        ({"quant_method": "quanto", "weights": "int2"}, ("int2", 2 + 32 / 128, "bf16")),
        ({"quant_method": "bitnet"}, ("int2", 2.0, "int8")),
    ],
)
def test_bits_and_what_never_is_quantised(quantised, stored):
    storage = read(quantised)
    assert way(storage, QUERY) == way(storage, DOWN) == way(storage, EXPERT) == stored
    assert way(storage, EMBEDDING) == way(storage, ROUTER) == PLAIN
    is_exllama = quantised.get("quant_method", "").startswith("exl")
    assert way(storage, HEAD) == (stored if is_exllama else PLAIN)
    assert storage.weight_dtype == stored[0]
    assert not storage.is_plain


def test_heads_are_quantised_where_the_file_says_so():
    assert way(read(GPTQ | {"lm_head": True}), HEAD)[0] == "int4"
    assert way(read({"quant_method": "exl2", "bits": 4.0, "head_bits": 6}), HEAD) == (
        *("int6", 6.0, "bf16"),
    )
    assert way(read({"quant_method": "exl2", "bits": 4.0, "head_bits": 16}), HEAD) == PLAIN


def test_rules_of_gptqmodel_change_or_leave_out():
    dynamic = {
        r"-:.*mlp\.experts.*": {},
        r"+:.*layers\.3\..*q_proj": {"bits": 8, "group_size": 64},
        r".*down_proj": {"bits": 3},
        ".*": {},
    }
    storage = read(GPTQ | {"dynamic": dynamic})
    assert way(storage, EXPERT) == PLAIN
    assert way(storage, QUERY) == ("int8", 8 + 24 / 64 + ORDER, "bf16")
    assert way(storage, "layers.4.self_attn.q_proj") == ("int4", 4 + 20 / 128 + ORDER, "bf16")
    assert way(storage, DOWN) == ("int3", 3 + 19 / 128 + ORDER, "bf16")
    # What means everything means neither the ends nor the router.
    assert way(storage, HEAD) == way(storage, EMBEDDING) == way(storage, ROUTER) == PLAIN
    assert "quantization_config.dynamic" in refusal(GPTQ | {"dynamic": {".*": {"bits": 9}}})


def test_a_list_of_what_is_left_alone_must_name_the_head():
    # transformers leaves the head by itself only where it is given no list.
    four = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    assert way(read(four), HEAD) == PLAIN
    assert way(read(four | {"llm_int8_skip_modules": None}), HEAD) == PLAIN
    assert way(read(four | {"llm_int8_skip_modules": ["down_proj"]}), HEAD)[0] == "int4"
    assert way(read(four | {"llm_int8_skip_modules": ["lm_head"]}), HEAD) == PLAIN


def test_only_some_matrices_of_a_block_may_be_quantised():
    storage = read(GPTQ | {"modules_in_block_to_quantize": [["self_attn.q_proj"], ["mlp.up_proj"]]})
    assert way(storage, QUERY)[0] == "int4"
    assert way(storage, DOWN) == PLAIN
    assert way(storage, EXPERT) == PLAIN


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ({"quant_method": "awq", "bits": 4}, "modules_to_not_convert"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "llm_int8_skip_modules"),
        ({"quant_method": "hqq", "nbits": 4}, "skip_modules"),
    ],
)
def test_what_is_left_out_is_listed(method, key):
    storage = read(method | {key: ["lm_head", "self_attn.q_proj", "model.vision_tower", "gate"]})
    assert way(storage, QUERY) == PLAIN
    assert way(storage, DOWN)[0] == "int4"
    assert not storage.remarks


def test_layers_that_auto_round_rounds_otherwise():
    extra = {
        "lm_head": {"bits": 8},
        "model.layers.3.mlp.down_proj": {"bits": 8, "group_size": 64},
        ".*self_attn.*": {"bits": 16, "data_type": "float"},
    }
    storage = read({"quant_method": "auto-round", "bits": 4, "extra_config": extra})
    assert way(storage, DOWN) == ("int8", 8 + 24 / 64, "bf16")
    assert way(storage, "layers.4.mlp.down_proj")[0] == "int4"
    assert way(storage, QUERY) == PLAIN
    assert way(storage, HEAD)[0] == "int8"
    assert "data_type" in refusal({"quant_method": "auto-round", "bits": 4, "data_type": "letters"})
    assert "bits" in refusal({"quant_method": "inc"})


def test_hqq_by_layers_quantises_what_it_lists():
    config = {"self_attn.q_proj": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}
    storage = read({"quant_method": "hqq", "quant_config": config})
    assert way(storage, QUERY) == ("int4", 4.5, "bf16")
    assert way(storage, DOWN) == PLAIN
    assert "weight_quant_params" in refusal({"quant_method": "hqq", "quant_config": {"a": {}}})


def test_bits_while_training_are_not_those_of_the_file():
    storage = read({"quant_method": "bitnet", "quantization_mode": "online"})
    assert storage.is_plain
    assert "16 bit" in storage.remarks[0]


def test_experts_of_four_bits_beside_8_bit_floats():
    storage = read({"quant_method": "w4afp8", "group_size": 128})
    assert way(storage, EXPERT) == ("int4", 4.125, "fp8")
    assert way(storage, QUERY) == ("fp8", 8.0, "fp8")
