"""Decoders block by block: layers that are thinned out, doubled, or said to be of a kind."""

import pytest

from planner.errors import InputError
from tests.readers.small import LLAMA, decoders, mixing, read


def block(heads_in_group, factor, no_attention=False, no_ffn=False):
    return {
        "attention": {"no_op": no_attention, "n_heads_in_group": heads_in_group},
        "ffn": {"no_op": no_ffn, "ffn_mult": factor},
    }


def test_blocks_that_a_search_has_thinned_out(tmp_path):
    keys = {
        "model_type": "nemotron-nas",
        "num_key_value_heads": None,
        "intermediate_size": None,
        "block_configs": [
            block(4, 1.0),
            block(None, 2.0, no_attention=True),
            block(8, None, no_ffn=True),
            block(None, None, no_attention=True, no_ffn=True),
        ],
    }
    graph = read(tmp_path, {**LLAMA, **keys})
    assert mixing(graph) == ["a", "", "a", ""]
    # Two key-value heads, then one; widths of 2/3 × 64 × factor in whole blocks of 256.
    assert graph.kv_bytes_per_token == (2 + 1) * 2 * 8 * 2
    assert [layer.parameters for layer in decoders(graph)] == [
        64 * (64 + 32 + 64) + 3 * 64 * 256 + 2 * 64,
        3 * 64 * 256 + 64,
        64 * (64 + 16 + 64) + 64,
        0,
    ]


def test_two_attentions_in_a_layer(tmp_path):
    keys = {
        "model_type": "longcat_flash",
        "ffn_hidden_size": 128,
        "expert_ffn_hidden_size": 16,
        "kv_lora_rank": 16,
        "q_lora_rank": 24,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 8,
        "zero_expert_num": 4,
        "moe_topk": 3,
    }
    fields = {key: value for key, value in LLAMA.items() if key != "intermediate_size"}
    graph = read(tmp_path, {**fields, **keys})
    assert mixing(graph) == ["aa"] * 4
    assert graph.kv_bytes_per_token == 4 * 2 * (16 + 4) * 2


def test_a_stream_of_its_own_for_each_layer(tmp_path):
    keys = {
        "model_type": "gemma3n_text",
        "head_dim": 8,
        "hidden_size_per_layer_input": 4,
        "vocab_size_per_layer_input": 90,
        "altup_num_inputs": 4,
        "laurel_rank": 2,
        "sliding_window": 8,
        "num_kv_shared_layers": 0,
    }
    graph = read(tmp_path, {**LLAMA, **keys})
    tables = {operator.name: operator for operator in graph.layers[0].operators}
    assert tables["side tokens"].parameters == 90 * 4 * 4
    assert tables["side projection"].parameters == 64 * 16
    assert tables["stream copies"].parameters == 3 * 64 * 64
    inner = {operator.name: operator for operator in graph.layers[1].operators}
    assert inner["laurel down"].parameters == 64 * 2
    assert inner["side gate"].parameters == 64 * 4


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"attn_type_list": [1, 1, 2, 1]}, "attn_type_list has 2"),
        ({"full_attn_idxs": [7]}, "full_attn_idxs names layer 7"),
        ({"block_types": []}, "block_types must be a list"),
        ({"block_configs": [1, 2, 3, 4]}, r"block_configs\[0\] must be an object"),
        ({"attn_layer_period": 2, "attn_layer_offset": 2}, "attn_layer_offset must be less"),
        ({"num_hidden_layers": 20_000}, "num_hidden_layers must be a whole number of at most"),
        ({"hidden_size": 63}, "hidden_size 63 is not a multiple of the 8 heads"),
        ({"compress_ratios": [4, 4]}, "compress_ratios has 2 entries"),
        ({"linear_attn_config": {"head_dim": 8}}, "full_attn_layers is missing"),
    ],
)
def test_lists_that_do_not_fit_are_refused_by_name(tmp_path, keys, said):
    with pytest.raises(InputError, match=said):
        read(tmp_path, {**LLAMA, **keys})


def test_learned_positions_are_as_wide_as_the_stream(tmp_path):
    """OPT-350m embeds tokens in 512 values, positions in the 1024 of its stream."""
    fields = {"model_type": "opt", "num_hidden_layers": 1, "hidden_size": 64, "ffn_dim": 128}
    fields |= {"num_attention_heads": 8, "vocab_size": 100, "max_position_embeddings": 30}
    fields |= {"word_embed_proj_dim": 32}
    ends = read(tmp_path, fields).parameters
    assert read(tmp_path, fields | {"max_position_embeddings": 31}).parameters - ends == 64
    after = read(tmp_path, fields | {"do_layer_norm_before": False}).parameters
    assert ends - after == 2 * 64


def test_families_of_mixed_layers_know_their_period(tmp_path):
    linear = {"linear_num_value_heads": 4, "linear_num_key_heads": 2}
    linear |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
    assert mixing(read(tmp_path, {**LLAMA, "model_type": "qwen3_5_text", **linear})) == [
        "r",
        "r",
        "r",
        "a",
    ]
