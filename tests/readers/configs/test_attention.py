"""Attention of configs: heads, windows, indexers and caches, layer by layer."""

import pytest

from planner.models.operators import Attention, Indexer
from tests.readers.small import LLAMA, operators, read, windows


def test_heads_may_differ_from_layer_to_layer(tmp_path):
    graph = read(tmp_path, {**LLAMA, "num_key_value_heads_per_layer": [8, 4, 2, 1]})
    assert [o.kv_heads for o in operators(graph, Attention)] == [8, 4, 2, 1]
    # Keys and values of 8 values in 16 bit.
    assert graph.kv_bytes_per_token == (8 + 4 + 2 + 1) * 2 * 8 * 2


def test_a_list_of_unlike_heads_under_the_usual_name_counts_too(tmp_path):
    graph = read(tmp_path, {**LLAMA, "num_key_value_heads": [8, 4, 2, 1]})
    assert [o.kv_heads for o in operators(graph, Attention)] == [8, 4, 2, 1]


def test_global_layers_may_have_other_heads_and_one_projection_for_both(tmp_path):
    changes = {
        "model_type": "gemma4_text",
        "head_dim": 8,
        "global_head_dim": 16,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "hidden_size_per_layer_input": 0,
        "sliding_window": 32,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }
    graph = read(tmp_path, {**LLAMA, **changes})
    near, far = operators(graph, Attention)[:2]
    assert (near.kv_heads, near.key_width, near.window_tokens) == (2, 8, 32)
    assert (far.kv_heads, far.key_width, far.window_tokens) == (1, 16, 0)
    # Keys and values are both kept, though one matrix makes them.
    assert far.cached_width == 32
    made = [o for o in graph.layers[2].operators if o.name == "key value"]
    assert made[0].outputs == 16


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "gemma2", "sliding_window": 8, "head_dim": 8}, [8, 0, 8, 0]),
        ({"model_type": "qwen2", "sliding_window": 8}, [0, 0, 0, 0]),
        (
            {
                "model_type": "qwen2",
                "sliding_window": 8,
                "use_sliding_window": True,
                "max_window_layers": 3,
            },
            [0, 0, 0, 8],
        ),
        (
            {"model_type": "exaone4", "sliding_window": 8, "sliding_window_pattern": "LG"},
            [8, 0, 8, 0],
        ),
        (
            {
                "model_type": "gpt_neo",
                "window_size": 8,
                "attention_types": [[["global", "local"], 2]],
            },
            [0, 8, 0, 8],
        ),
        ({"sliding_window": [8, 0, 16, 0]}, [8, 0, 16, 0]),
        (
            {
                "model_type": "mimo_v2_flash",
                "sliding_window": 8,
                "hybrid_layer_pattern": [0, 1, 1, 0],
            },
            [0, 8, 8, 0],
        ),
    ],
)
def test_windows_lie_where_the_family_has_them(tmp_path, changes, expected):
    assert windows(read(tmp_path, {**LLAMA, **changes})) == expected


def test_the_last_layers_may_read_the_caches_of_earlier_ones(tmp_path):
    whole = read(tmp_path, LLAMA)
    shared = read(tmp_path, {**LLAMA, "num_kv_shared_layers": 1})
    assert shared.kv_bytes_per_token == 0.75 * whole.kv_bytes_per_token
    # They make no keys and values: 64 × 2 × 2 heads of 8 weights are gone.
    assert whole.parameters - shared.parameters == 64 * 32
    # A step reads no less of the cache: the matrix is left out, and what goes into it.
    reads = [graph.layers[4].read_bytes(1.0, 100.0, 1.0) for graph in (whole, shared)]
    assert reads[0] - reads[1] == pytest.approx(64 * 32 * 2 + 64 * 2)


LATENT = {
    "model_type": "deepseek_v32",
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "index_topk": 64,
    "index_n_heads": 4,
    "index_head_dim": 32,
    "first_k_dense_replace": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
}


def test_an_indexer_keeps_a_key_of_its_own_and_limits_what_is_read(tmp_path):
    graph = read(tmp_path, {**LLAMA, **LATENT})
    latent = 4 * (16 + 4) * 2
    keys = 4 * (32 + 4)
    assert graph.kv_bytes_per_token == latent + keys
    # All tokens are kept: at a thousand, a thousand times as much.
    assert graph.cache_bytes(1000) == 1000 * (latent + keys)
    demand = graph.demand()
    read_bytes = float(demand.kv_read_bytes(1000.0, 1.0).sum())
    kept = float(demand.held_kv_bytes(1000.0, 1.0).sum())
    # Of the kinds of layer one: 64 of 1,000 latent vectors are read, and every key.
    assert read_bytes == pytest.approx(64 * 40 + 1000 * 36)
    assert kept == pytest.approx(1000 * (40 + 36))


def test_a_choice_may_be_shared_by_later_layers(tmp_path):
    types = {"indexer_types": ["full", "shared", "shared", "full"]}
    graph = read(tmp_path, {**LLAMA, **LATENT, "model_type": "glm_moe_dsa", **types})
    assert len(operators(graph, Indexer)) == 2
    assert [o.chosen_tokens for o in operators(graph, Attention)] == [64] * 4
    # Or said by a period, after the first ones.
    period = {"index_topk_freq": 2, "index_skip_topk_offset": 1}
    again = read(tmp_path, {**LLAMA, **LATENT, "model_type": "glm_moe_dsa", **period})
    assert [sum(isinstance(o, Indexer) for o in each.operators) for each in again.layers[1:-1]] == [
        1,
        0,
        1,
        0,
    ]


def test_a_compressed_cache_keeps_an_entry_for_several_tokens(tmp_path):
    changes = {
        "model_type": "deepseek_v4",
        "head_dim": 32,
        "q_lora_rank": 24,
        "o_groups": 2,
        "o_lora_rank": 16,
        "sliding_window": 8,
        "compress_ratios": [0, 4, 128, 0],
        "index_topk": 64,
        "index_n_heads": 4,
        "index_head_dim": 16,
        **{key: LATENT[key] for key in ("n_routed_experts", "num_experts_per_tok")},
        "moe_intermediate_size": 16,
    }
    graph = read(tmp_path, {**LLAMA, **changes})
    near = 4 * 8 * 32 * 2
    entries = 1024 * (32 * 2 / 4 + (16 + 4) / 4 + 32 * 2 / 128)
    assert graph.cache_bytes(1024) == pytest.approx(near + entries)


def test_layers_that_attend_to_a_picture_keep_it_once(tmp_path):
    changes = {
        "model_type": "mllama_text_model",
        "cross_attention_layers": [1],
        "vision_config": {"image_size": 56, "patch_size": 14, "max_num_tiles": 2},
    }
    graph = read(tmp_path, {**LLAMA, **changes})
    tokens = 2 * (4 * 4 + 1)
    assert graph.kv_bytes_per_token == 3 * 2 * 2 * 8 * 2
    assert graph.state_bytes_per_sequence == tokens * 2 * 2 * 8 * 2


def kv_bytes(folder, fields):
    return read(folder, fields).kv_bytes_per_token


def test_falcons_first_generation_has_one_key_for_all_heads_or_one_for_each(tmp_path):
    fields = {**LLAMA, "model_type": "falcon", "num_kv_heads": 2}
    fields.pop("num_key_value_heads")
    head = 2 * 2 * 8 * 4
    assert kv_bytes(tmp_path, {**fields, "multi_query": True}) == head
    assert kv_bytes(tmp_path, fields) == head
    assert kv_bytes(tmp_path, {**fields, "multi_query": False}) == 8 * head
    assert kv_bytes(tmp_path, {**fields, "new_decoder_architecture": True}) == 2 * head


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("cwm", {}, [0, 16, 16, 16, 0, 16]),
        ("afmoe", {"global_attn_every_n_layers": 3}, [16, 16, 0, 16, 16, 0]),
        ("gemma4_text", {}, [16, 16, 16, 16, 16, 0]),
        ("gemma4_text", {"sliding_window_pattern": 4}, [16, 16, 16, 0, 16, 0]),
        ("mimo_v2_flash", {"num_experts": 0}, [0, 16, 16, 16, 16, 0]),
        ("qwen2_moe", {"use_sliding_window": True, "max_window_layers": 3}, [16, 0, 16, 0, 0, 0]),
    ],
)
def test_where_no_list_says_it_the_family_says_which_layers_see_everything(
    tmp_path, kind, keys, expected
):
    fields = {**LLAMA, "model_type": kind, "num_hidden_layers": 6, "sliding_window": 16}
    fields |= {"num_experts": 4, "num_experts_per_tok": 1, "moe_intermediate_size": 32, **keys}
    if fields["num_experts"] == 0:
        fields |= {"num_experts": 0, "num_experts_per_tok": 0, "n_routed_experts": 0}
    assert windows(read(tmp_path, fields)) == expected


def test_gemmas_global_layers_are_wide_unless_a_table_says_otherwise(tmp_path):
    fields = {**LLAMA, "model_type": "gemma4_text", "num_hidden_layers": 2, "head_dim": 8}
    fields |= {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
    narrow = 2 * 2 * 2 * 8
    assert kv_bytes(tmp_path, fields) == narrow + 2 * 2 * 2 * 512
    table = {"per_layer_config": {"1": {"head_dim": 32}}}
    assert kv_bytes(tmp_path, fields | table) == narrow + 2 * 2 * 2 * 32
    fewer = {"global_head_dim": 16, "num_global_key_value_heads": 1}
    assert kv_bytes(tmp_path, fields | fewer) == narrow + 2 * 2 * 2 * 16
    assert kv_bytes(tmp_path, fields | fewer | {"attention_k_eq_v": True}) == narrow + 2 * 2 * 16


def test_a_switch_says_whether_attention_is_latent(tmp_path):
    fields = {**LLAMA, "model_type": "deepseek_v2", "use_mla": False, "kv_lora_rank": 16}
    fields |= {"n_routed_experts": 0}
    assert kv_bytes(tmp_path, fields) == kv_bytes(tmp_path, LLAMA)
    assert kv_bytes(tmp_path, fields | {"use_mla": True}) == 4 * 2 * (16 + 64)


def test_queries_that_no_key_speaks_of_are_said_to_be_whole(tmp_path):
    fields = {**LLAMA, "model_type": "deepseek_v3", "kv_lora_rank": 16, "qk_rope_head_dim": 4}
    fields |= {"qk_nope_head_dim": 8, "v_head_dim": 8, "first_k_dense_replace": 4}
    assert any("q_lora_rank is missing" in said for said in read(tmp_path, fields).remarks)
    stated = read(tmp_path, fields | {"q_lora_rank": None})
    assert not any("q_lora_rank" in said for said in stated.remarks)
