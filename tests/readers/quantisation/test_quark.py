"""AMD's Quark."""

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

FLOAT8 = {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}
MICRO = {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "e8m0"}
SIXTEEN = {"dtype": "fp4", "qscheme": "per_group", "group_size": 16}
INT4 = {"dtype": "int4", "qscheme": "per_group", "group_size": 128, "symmetric": True}


def scheme(weights, inputs=None, **more):
    usual = {"weight": weights, "input_tensors": inputs, "output_tensors": None}
    return {"quant_method": "quark", "global_quant_config": usual, "exclude": ["lm_head"]} | more


@pytest.mark.parametrize(
    ("quantised", "stored"),
    [
        (scheme(FLOAT8, FLOAT8), ("fp8", 8.0, "fp8")),
        (scheme(FLOAT8), ("fp8", 8.0, "bf16")),
        (scheme(MICRO, MICRO), ("mxfp4", 4.25, "bf16")),
        (scheme(MICRO, FLOAT8), ("mxfp4", 4.25, "fp8")),
        (scheme([SIXTEEN, FLOAT8], [SIXTEEN, FLOAT8]), ("nvfp4", 4.5, "nvfp4")),
        (scheme(INT4), ("int4", 4.125, "bf16")),
        (scheme(INT4 | {"dtype": "uint4", "symmetric": False}), ("int4", 4.15625, "bf16")),
        (scheme({"dtype": "int8", "qscheme": "per_channel"}), ("int8", 8 + 16 / 4096, "bf16")),
        (
            scheme([FLOAT8, {"dtype": "int4", "qscheme": "per_channel"}], FLOAT8),
            ("int4", 4 + 16 / 4096, "fp8"),
        ),
        (scheme(FLOAT8 | {"qscheme": "per_block", "block_size": [1, 64]}), ("fp8", 8.5, "bf16")),
    ],
)
def test_bits_of_a_table(quantised, stored):
    storage = read(quantised)
    dtype, bits, activation = stored
    if dtype == "int8":
        # Within a thousandth of 8.
        bits = 8.0
    assert way(storage, QUERY) == way(storage, DOWN) == way(storage, EXPERT)
    assert way(storage, QUERY) == (dtype, bits, activation)
    assert way(storage, HEAD) == way(storage, EMBEDDING) == way(storage, ROUTER) == PLAIN


def test_others_by_name_and_what_is_excluded():
    layers = {"*self_attn*": {"weight": FLOAT8, "input_tensors": FLOAT8}}
    stated = scheme(MICRO, MICRO, layer_quant_config=layers, exclude=["re:.*layers.4.*", "*.gate"])
    storage = read(stated)
    assert way(storage, QUERY) == ("fp8", 8.0, "fp8")
    assert way(storage, DOWN)[0] == "mxfp4"
    assert way(storage, "layers.4.self_attn.q_proj") == PLAIN
    assert way(storage, HEAD)[0] == "mxfp4"


def test_outputs_of_keys_and_values_are_the_cache():
    keys = {"weight": FLOAT8, "input_tensors": FLOAT8, "output_tensors": FLOAT8}
    stated = scheme(
        FLOAT8,
        FLOAT8,
        export={"kv_cache_group": ["*k_proj", "*v_proj"]},
        layer_quant_config={"*k_proj": keys, "*v_proj": keys},
    )
    assert read(stated).kv_dtype == "fp8"
    assert read(scheme(FLOAT8, kv_cache_quant_config={"*k_proj": keys})).kv_dtype == "fp8"
    assert read(scheme(FLOAT8)).kv_dtype is None


def test_classes_have_formats_too():
    types = {"nn.Linear": {"weight": FLOAT8}, "nn.Embedding": {"weight": INT4}}
    storage = read(scheme(None, layer_type_quant_config=types))
    assert way(storage, QUERY)[0] == "fp8"
    assert way(storage, EMBEDDING)[0] == "int4"


def test_what_is_none_is_refused():
    assert "global_quant_config" in refusal({"quant_method": "quark"})
    assert "weight.dtype" in refusal(scheme({"dtype": "letters"}))
    assert "weight" in refusal(scheme("fp8"))
