"""Groups of modules of compressed-tensors."""

import pytest

from planner.readers.quantisation.compressed_tensors import cache_format
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

FLOAT8 = {"num_bits": 8, "type": "float"}
FLOAT4 = {"num_bits": 4, "type": "float", "group_size": 16, "strategy": "tensor_group"}
MICRO = {"num_bits": 4, "type": "float", "group_size": 32, "strategy": "group"}
INT8 = {"num_bits": 8, "type": "int"}
INT4 = {"num_bits": 4, "type": "int", "group_size": 128, "strategy": "group"}


def scheme(weights, inputs=None, targets=("Linear",), **more):
    group = {"targets": list(targets), "weights": weights, "input_activations": inputs}
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    } | more


@pytest.mark.parametrize(
    ("quantised", "stored"),
    [
        (scheme(FLOAT8, FLOAT8), ("fp8", 8.0, "fp8")),
        (scheme(FLOAT8), ("fp8", 8.0, "bf16")),
        (scheme(FLOAT8 | {"block_structure": [128, 128]}, FLOAT8), ("fp8", 8.0, "fp8")),
        (
            scheme(FLOAT8 | {"group_size": 32, "strategy": "group", "scale_dtype": "torch.uint8"}),
            ("fp8", 8.25, "bf16"),
        ),
        (scheme(FLOAT4, FLOAT4, format="nvfp4-pack-quantized"), ("nvfp4", 4.5, "nvfp4")),
        (scheme(FLOAT4), ("nvfp4", 4.5, "bf16")),
        (scheme(MICRO, MICRO, format="mxfp4-pack-quantized"), ("mxfp4", 4.25, "bf16")),
        (scheme(MICRO), ("mxfp4", 4.25, "bf16")),
        (scheme(INT8, INT8), ("int8", 8.0, "int8")),
        (scheme(INT8), ("int8", 8.0, "bf16")),
        (scheme(INT4), ("int4", 4.125, "bf16")),
        # A byte each, however few of its bits are used.
        (scheme(INT4, FLOAT8, format="int-quantized"), ("int8", 8.125, "fp8")),
        (scheme(INT4, INT8, format="naive-quantized"), ("int8", 8.125, "int8")),
        (scheme(INT4, FLOAT8), ("int4", 4.125, "fp8")),
        (scheme(INT4, INT8), ("int4", 4.125, "int8")),
        (scheme(INT4 | {"symmetric": False}), ("int4", 4.15625, "bf16")),
        (scheme(INT4 | {"group_size": 32}), ("int4", 4.5, "bf16")),
        (scheme(INT4 | {"actorder": "group"}), ("int4", 4.125 + 32 / 4096, "bf16")),
        (scheme(INT4 | {"actorder": "weight"}), ("int4", 4.125, "bf16")),
        (
            scheme(INT4 | {"strategy": "channel", "group_size": None}),
            ("int4", 4 + 16 / 4096, "bf16"),
        ),
    ],
)
def test_bits_of_a_group(quantised, stored):
    storage = read(quantised)
    assert way(storage, QUERY) == way(storage, DOWN) == way(storage, EXPERT) == stored
    assert way(storage, HEAD) == way(storage, EMBEDDING) == way(storage, ROUTER) == PLAIN


def test_only_recipes_of_both_sides_run_natively():
    assert read(scheme(MICRO, MICRO)).of(QUERY).multiplied["natively"]
    assert not read(scheme(MICRO)).of(QUERY).multiplied["natively"]


def test_linear_is_the_head_too_and_no_embedding():
    storage = read(scheme(FLOAT8, ignore=[]))
    assert way(storage, HEAD)[0] == "fp8"
    assert way(storage, EMBEDDING) == PLAIN
    assert way(read(scheme(FLOAT8, targets=["Embedding"])), EMBEDDING)[0] == "fp8"
    assert way(read(scheme(FLOAT8, targets=["Embedding"])), QUERY) == PLAIN


def test_names_go_before_classes_and_what_is_ignored_before_both():
    groups = {
        "group_0": {"targets": ["Linear"], "weights": INT4},
        "group_1": {"targets": ["re:.*down_proj"], "weights": FLOAT8},
        "group_2": {"targets": ["model.layers.3.self_attn.q_proj"], "weights": INT8},
    }
    stated = scheme(INT4, config_groups=groups, ignore=["re:.*layers\\.4\\..*", "lm_head"])
    storage = read(stated)
    assert way(storage, DOWN)[0] == "fp8"
    assert way(storage, QUERY)[0] == "int8"
    assert way(storage, "layers.2.self_attn.q_proj")[0] == "int4"
    assert way(storage, "layers.4.mlp.down_proj") == PLAIN


def test_groups_may_differ_in_their_packing():
    groups = {
        "group_0": {
            "targets": ["re:.*self_attn.*"],
            "weights": FLOAT8,
            "input_activations": FLOAT8,
        },
        "group_1": {
            "targets": ["re:.*mlp.*"],
            "weights": MICRO,
            "input_activations": None,
            "format": "mxfp4-pack-quantized",
        },
    }
    storage = read(scheme(INT4, config_groups=groups, format="mixed-precision"))
    assert way(storage, QUERY) == ("fp8", 8.0, "fp8")
    assert way(storage, EXPERT) == ("mxfp4", 4.25, "bf16")
    # `.*mlp.*` means the router by accident.
    assert way(storage, ROUTER) == PLAIN
    assert storage.weight_dtype == "mxfp4"


def test_kimi_quantises_its_experts_alone():
    ignored = [
        *("lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"),
        r"re:.*mlp\.(gate|up|gate_up|down)_proj.*",
    ]
    storage = read(scheme(INT4 | {"group_size": 32}, ignore=ignored))
    assert way(storage, EXPERT) == ("int4", 4.5, "bf16")
    for module in (QUERY, DOWN, HEAD, "layers.3.mlp.shared_experts.up_proj"):
        assert way(storage, module) == PLAIN
    assert not storage.remarks


def test_dense_weights_are_16_bit():
    storage = read(scheme(INT4, format="dense"))
    assert storage.is_plain
    assert "dense" in storage.remarks[0]


@pytest.mark.parametrize(
    ("stated", "dtype"),
    [
        ({"num_bits": 8, "type": "float"}, "fp8"),
        ({"num_bits": 8, "type": "int"}, "int8"),
        ({"num_bits": 4, "type": "float", "group_size": 16}, "nvfp4"),
        (None, None),
        ("FP8", "fp8"),
    ],
)
def test_the_cache_has_a_scheme_of_its_own(stated, dtype):
    assert read(scheme(INT4, kv_cache_scheme=stated)).kv_dtype == dtype
    assert read(scheme(INT4, config_groups={}, kv_cache_scheme=stated)).kv_dtype == dtype


def test_formats_of_the_cache_by_name():
    assert [cache_format(word) for word in ("FP8", "nvfp4", "INT8", "int4", "bf16")] == [
        *("fp8", "nvfp4", "int8", "int4", None)
    ]


def test_zeros_and_classes_that_are_not_followed_are_told():
    sparse = {"format": "sparse-24-bitmask", "sparsity_structure": "2:4"}
    assert any("2:4" in said for said in read(scheme(FLOAT8, sparsity_config=sparse)).remarks)
    assert any("conv2d" in said for said in read(scheme(FLOAT8, targets=["Conv2d"])).remarks)
    assert any("foo" in said for said in read(scheme(FLOAT8, ignore=["re:.*foo.*"])).remarks)


@pytest.mark.parametrize(
    ("quantised", "named"),
    [
        (scheme(INT4 | {"group_size": None}), "group_size"),
        (scheme(INT4 | {"strategy": "wild"}), "strategy"),
        (scheme({"num_bits": 3, "type": "float"}), "num_bits"),
        (scheme(INT4 | {"symmetric": "yes"}), "symmetric"),
        (scheme(INT4, config_groups=None), "config_groups"),
        (scheme(INT4, config_groups=["FP8"]), "config_groups"),
        (scheme(INT4, kv_cache_scheme=8), "kv_cache_scheme"),
    ],
)
def test_what_is_none_is_refused(quantised, named):
    assert named in refusal(quantised)
