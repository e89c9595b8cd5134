"""torchao."""

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


def typed(name, **data):
    return {"_type": name, "_version": 1, "_data": data}


def scheme(default, **more):
    return {"quant_method": "torchao", "quant_type": {"default": default}} | more


@pytest.mark.parametrize(
    ("config", "stored"),
    [
        (typed("Int4WeightOnlyConfig", group_size=128), ("int4", 4.25, "bf16")),
        (typed("Int4WeightOnlyConfig", group_size=32), ("int4", 5.0, "bf16")),
        (typed("Int8WeightOnlyConfig", group_size=None), ("int8", 8.0, "bf16")),
        (typed("Int8DynamicActivationInt8WeightConfig"), ("int8", 8.0, "int8")),
        (typed("Int8DynamicActivationInt4WeightConfig", group_size=32), ("int4", 5.0, "int8")),
        (typed("Float8WeightOnlyConfig"), ("fp8", 8.0, "bf16")),
        (typed("Float8DynamicActivationFloat8WeightConfig"), ("fp8", 8.0, "fp8")),
        (typed("NVFP4DynamicActivationNVFP4WeightConfig"), ("nvfp4", 4.5, "nvfp4")),
        (typed("NVFP4WeightOnlyConfig"), ("nvfp4", 4.5, "bf16")),
        (
            typed("MXDynamicActivationMXWeightConfig", weight_dtype="float8_e4m3fn"),
            ("fp8", 8.25, "fp8"),
        ),
    ],
)
def test_bits_of_a_configuration(config, stored):
    storage = read(scheme(config))
    assert way(storage, QUERY) == way(storage, DOWN) == way(storage, EXPERT) == stored
    assert way(storage, HEAD) == way(storage, EMBEDDING) == way(storage, ROUTER) == PLAIN


def test_the_ends_are_included_where_the_file_says_so():
    config = typed("Int8WeightOnlyConfig")
    storage = read(scheme(config, include_input_output_embeddings=True))
    assert way(storage, HEAD)[0] == "int8"
    assert way(storage, EMBEDDING) == PLAIN
    kept = scheme(config, modules_to_not_convert=["lm_head", "self_attn"])
    assert way(read(kept), QUERY) == PLAIN


@pytest.mark.parametrize(
    ("kind", "key"),
    [("ModuleFqnToConfig", "module_fqn_to_config"), ("FqnToConfig", "fqn_to_config")],
)
def test_modules_may_have_a_configuration_each(kind, key):
    table = {
        "_default": typed("Int4WeightOnlyConfig", group_size=128),
        "model.layers.3.self_attn.q_proj": typed("Float8WeightOnlyConfig"),
        r"re:.*down_proj": None,
    }
    storage = read(scheme(typed(kind, **{key: table})))
    assert way(storage, QUERY) == ("fp8", 8.0, "bf16")
    assert way(storage, DOWN) == PLAIN
    assert way(storage, EXPERT) == ("int4", 4.25, "bf16")


def test_older_files_name_a_function():
    stated = {
        "quant_method": "torchao",
        "quant_type": "int4_weight_only",
        "quant_type_kwargs": {"group_size": 64},
    }
    assert way(read(stated), QUERY) == ("int4", 4.5, "bf16")
    assert way(read(stated | {"quant_type": "int8_weight_only"}), QUERY)[0] == "int8"


def test_what_is_none_is_refused():
    assert "quant_type" in refusal({"quant_method": "torchao"})
    assert "quant_type" in refusal({"quant_method": "torchao", "quant_type": "autoquant"})
    assert "_type" in refusal(scheme(typed("UIntXWeightOnlyConfig")))
    assert "fqn_to_config" in refusal(scheme(typed("FqnToConfig")))


INTX = {"weight_dtype": {"_data": "int4", "_type": "torch.dtype"}}


def per_group(size):
    return {"_type": "PerGroup", "_data": {"group_size": size}}


@pytest.mark.parametrize(
    ("config", "stored"),
    [
        # A byte each, a 16-bit scale and a zero point of a byte for 32.
        (
            typed("IntxWeightOnlyConfig", granularity=per_group(32), **INTX),
            ("int8", 8 + 24 / 32, "bf16"),
        ),
        (
            typed(
                "Int8DynamicActivationIntxWeightConfig", weight_granularity=per_group(64), **INTX
            ),
            ("int8", 8 + 24 / 64, "int8"),
        ),
        # Packed, for a kernel.
        (
            typed(
                "Int8DynamicActivationIntxWeightConfig",
                weight_granularity=per_group(32),
                intx_packing_format="opaque_torchao_auto",
                **INTX,
            ),
            ("int4", 4 + 16 / 32, "int8"),
        ),
    ],
)
def test_few_bits_are_stored_as_bytes_unless_packed(config, stored):
    assert way(read(scheme(config)), QUERY) == stored


def test_few_bits_of_an_unknown_width_are_refused():
    config = typed("IntxWeightOnlyConfig", weight_dtype="int9")
    assert "int9" in refusal(scheme(config))


def test_ends_are_left_alone_unless_included_even_where_they_are_named():
    table = {
        "_default": typed("Int4WeightOnlyConfig", group_size=128),
        "lm_head": typed("Int8WeightOnlyConfig"),
        "model.embed_tokens": typed("Int8WeightOnlyConfig"),
    }
    config = typed("FqnToConfig", fqn_to_config=table)
    assert way(read(scheme(config)), HEAD) == way(read(scheme(config)), EMBEDDING) == PLAIN
    both = read(scheme(config, include_input_output_embeddings=True))
    assert way(both, HEAD)[0] == way(both, EMBEDDING)[0] == "int8"
    del table["model.embed_tokens"]
    default = read(scheme(config, include_input_output_embeddings=True))
    assert way(default, EMBEDDING)[0] == "int4"
