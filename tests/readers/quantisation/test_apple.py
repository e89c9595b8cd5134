"""MLX, which quantises the ends too."""

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


@pytest.mark.parametrize(
    ("table", "stored"),
    [
        ({"group_size": 64, "bits": 4}, ("int4", 4.5, "bf16")),
        ({"group_size": 32, "bits": 8}, ("int8", 9.0, "bf16")),
        ({"group_size": 64, "bits": 6, "mode": "affine"}, ("int6", 6.5, "bf16")),
        ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, ("mxfp4", 4.25, "bf16")),
        ({"group_size": 16, "bits": 4, "mode": "nvfp4"}, ("nvfp4", 4.5, "bf16")),
        ({"group_size": 32, "bits": 8, "mode": "mxfp8"}, ("fp8", 8.25, "bf16")),
    ],
)
@pytest.mark.parametrize("key", ["quantization", "quantization_config"])
def test_everything_but_the_router_has_the_same_format(table, stored, key):
    storage = read(**{key: table})
    for module in (QUERY, DOWN, EXPERT, HEAD, EMBEDDING):
        assert way(storage, module) == stored
    assert way(storage, ROUTER) == PLAIN


def test_modules_that_differ_are_keys():
    table = {
        "group_size": 64,
        "bits": 4,
        "lm_head": False,
        "model.embed_tokens": {"group_size": 32, "bits": 8},
        "model.layers.3.mlp.gate": {"group_size": 64, "bits": 8},
        "model.layers.3.mlp.switch_mlp.up_proj": {"bits": 6},
        "model.layers.3.self_attn.q_proj": True,
    }
    storage = read(quantization=table, quantization_config=table)
    assert way(storage, HEAD) == PLAIN
    assert way(storage, EMBEDDING) == ("int8", 9.0, "bf16")
    assert way(storage, ROUTER) == ("int8", 8.5, "bf16")
    assert way(storage, EXPERT) == ("int6", 6.5, "bf16")
    assert way(storage, QUERY) == ("int4", 4.5, "bf16")
    assert way(storage, "layers.4.mlp.experts.up_proj") == ("int4", 4.5, "bf16")


def test_mlx_reads_its_own_table_whatever_the_checkpoint_was_before():
    storage = read({"quant_method": "fp8"}, quantization={"group_size": 64, "bits": 4})
    assert way(storage, QUERY) == ("int4", 4.5, "bf16")


def test_other_kernels_for_the_same_machines_leave_the_ends():
    storage = read({"quant_method": "metal", "bits": 4, "group_size": 64})
    assert way(storage, QUERY) == ("int4", 4.5, "bf16")
    assert way(storage, HEAD) == way(storage, EMBEDDING) == PLAIN


def test_modes_that_are_none_are_refused():
    assert "quantization.mode" in refusal(quantization={"bits": 4, "mode": "nf4"})
    assert "quantization.bits" in refusal(quantization={"bits": 7, "group_size": 64})
