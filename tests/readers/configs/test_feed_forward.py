"""Feed-forward parts of configs: widths, gates, experts and where they stand."""

import pytest

from planner.errors import InputError
from planner.models.operators import Experts
from tests.readers.small import EXPERTS, LLAMA, operators, read, routed


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "EEEE"),
        ({"first_k_dense_replace": 1}, "DEEE"),
        ({"moe_layer_start_index": 1, "moe_layer_end_index": 2}, "DEED"),
        ({"moe_layer_freq": [0, 1, 0, 1]}, "DEDE"),
        ({"mlp_layer_types": ["dense", "sparse", "sparse", "dense"]}, "DEED"),
        ({"mlp_only_layers": [2]}, "EEDE"),
        ({"decoder_sparse_step": 2}, "DEDE"),
        ({"moe_layers": [0, 3]}, "EDDE"),
        ({"moe_layers_enum": "1, 2"}, "DEED"),
        ({"expert_layer_period": 2, "expert_layer_offset": 1}, "DEDE"),
        ({"num_dense_layers": 3}, "DDDE"),
    ],
)
def test_experts_stand_where_the_config_says(tmp_path, keys, expected):
    graph = read(tmp_path, {**LLAMA, **EXPERTS, **keys})
    assert "".join("E" if each else "D" for each in routed(graph)) == expected


@pytest.mark.parametrize(
    ("names", "active"),
    [
        ({"num_experts": 8, "top_k_experts": 2}, 2),
        ({"moe_num_experts": 8, "moe_k": 3}, 3),
        ({"num_local_experts": 8, "moe_topk": [2, 2, 2, 2]}, 2),
        ({"n_routed_experts": 8, "num_experts_per_token": 4}, 4),
    ],
)
def test_families_name_experts_differently(tmp_path, names, active):
    graph = read(tmp_path, {**LLAMA, **names, "moe_intermediate_size": 32})
    assert {(o.experts, o.experts_active) for o in operators(graph, Experts)} == {(8, active)}


def test_experts_that_compute_nothing_are_chosen_too(tmp_path):
    graph = read(tmp_path, {**LLAMA, **EXPERTS, "num_experts_per_tok": 3, "zero_expert_num": 4})
    # Of three chosen among 8 and 4, two on average work.
    assert operators(graph, Experts)[0].experts_active == 2
    router = next(o for o in graph.layers[1].operators if o.name == "router")
    assert router.outputs == 12


@pytest.mark.parametrize(
    "keys",
    [
        {"model_type": "grok-1", "residual_moe": True},
        {
            "model_type": "gemma4_text",
            "enable_moe_block": True,
            "head_dim": 8,
            "hidden_size_per_layer_input": 0,
        },
    ],
)
def test_a_dense_part_may_stand_beside_experts(tmp_path, keys):
    graph = read(tmp_path, {**LLAMA, **EXPERTS, **keys})
    names = [operator.name for operator in graph.layers[1].operators]
    assert "feed-forward up" in names
    assert "experts" in names


def test_a_residual_part_is_as_wide_as_the_stream(tmp_path):
    keys = {"model_type": "arctic", "use_residual": True, "parallel_attn_mlp_res": True}
    graph = read(tmp_path, {**LLAMA, **EXPERTS, **keys})
    up = next(o for o in graph.layers[1].operators if o.name == "feed-forward up")
    assert up.outputs == 2 * 64


@pytest.mark.parametrize(
    ("keys", "width"),
    [
        ({"model_type": "qwen"}, 64),
        ({"model_type": "recurrent_gemma", "block_types": ["attention"]}, 64),
        ({"model_type": "lfm2", "full_attn_idxs": [0, 1, 2, 3], "block_multiple_of": 32}, 96),
        ({"model_type": "hf_olmo", "mlp_hidden_size": 512, "intermediate_size": None}, 256),
    ],
)
def test_some_families_state_another_width_than_they_have(tmp_path, keys, width):
    graph = read(tmp_path, {**LLAMA, **keys})
    up = next(o for o in graph.layers[1].operators if o.name == "feed-forward up")
    assert up.outputs == 2 * width


def test_widths_may_differ_from_layer_to_layer(tmp_path):
    graph = read(tmp_path, {**LLAMA, "intermediate_size": [32, 64, 96, 128]})
    downs = [
        o.inputs for layer in graph.layers for o in layer.operators if o.name == "feed-forward down"
    ]
    assert downs == [32, 64, 96, 128]


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("deepseek_v3", {}, [False, False, False, True]),
        ("glm4_moe", {}, [False, True, True, True]),
        ("glm4_moe", {"first_k_dense_replace": 0}, [True, True, True, True]),
        ("qwen3_moe", {}, [True, True, True, True]),
    ],
)
def test_where_nothing_is_said_the_family_says_how_many_layers_are_dense(
    tmp_path, kind, keys, expected
):
    fields = {**LLAMA, **EXPERTS, "model_type": kind, "n_group": 1, **keys}
    if kind == "deepseek_v3":
        fields |= {"kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8}
        fields |= {"v_head_dim": 8, "topk_group": 1}
    assert routed(read(tmp_path, fields)) == expected


def test_layers_that_borrow_a_cache_may_be_twice_as_wide(tmp_path):
    fields = {**LLAMA, "model_type": "gemma4_text", "num_kv_shared_layers": 1, "head_dim": 8}
    fields |= {"sliding_window": 16, "hidden_size_per_layer_input": 0}
    plain = read(tmp_path, fields).parameters
    wide = read(tmp_path, fields | {"use_double_wide_mlp": True}).parameters
    assert wide - plain == 3 * 64 * 128


def test_experts_that_are_chosen_from_must_be_counted(tmp_path):
    for count in (None, 0):
        fields = {**LLAMA, "model_type": "mixtral", "num_local_experts": count}
        with pytest.raises(InputError, match="num_local_experts must be above 0"):
            read(tmp_path, fields | {"num_experts_per_tok": 2})


def test_hunyuan_has_a_shared_expert_unless_it_says_otherwise(tmp_path):
    fields = {**LLAMA, "model_type": "hunyuan_v1_moe", "num_experts": 4, "moe_topk": 1}
    with_it = read(tmp_path, fields).parameters
    without = read(tmp_path, fields | {"num_shared_expert": 0}).parameters
    assert with_it - without == 4 * 3 * 64 * 128
