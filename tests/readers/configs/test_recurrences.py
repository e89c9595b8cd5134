"""Recurrences of configs: their states and weights by hand."""

import pytest

from planner.models.operators import Recurrent
from tests.readers.small import LLAMA, mixing, operators, read

DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
}


def test_the_gated_delta_rule_keeps_a_matrix_for_each_head(tmp_path):
    keys = {"model_type": "qwen3_5_text", "head_dim": 8, "full_attention_interval": 4, **DELTA}
    graph = read(tmp_path, {**LLAMA, **keys})
    assert mixing(graph) == ["r", "r", "r", "a"]
    # 4 heads of 8 × 16 in 32 bit, and three earlier tokens of 2 × 2 × 8 + 4 × 16 values in 16 bit.
    assert graph.state_bytes_per_sequence == 3 * (4 * 8 * 16 * 4 + 3 * 96 * 2)


def test_kimis_delta_attention_counts_its_layers_from_one(tmp_path):
    keys = {
        "model_type": "kimi_linear",
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "linear_attn_config": {
            "full_attn_layers": [2, 4],
            "kda_layers": [1, 3],
            "head_dim": 8,
            "num_heads": 4,
            "short_conv_kernel_size": 4,
        },
        "num_experts": 1,
    }
    graph = read(tmp_path, {**LLAMA, **keys})
    assert mixing(graph) == ["r", "a", "r", "a"]
    state = operators(graph, Recurrent)[0]
    assert (state.heads, state.key_width, state.value_width) == (4, 8, 8)


def test_lightning_attention_where_the_list_has_a_zero(tmp_path):
    keys = {"model_type": "minimax_text_01", "attn_type_list": [0, 0, 1, 0]}
    graph = read(tmp_path, {**LLAMA, **keys})
    assert mixing(graph) == ["r", "r", "a", "r"]
    assert graph.state_bytes_per_sequence == 3 * 8 * 8 * 8 * 4


def test_a_short_convolution_remembers_a_few_tokens(tmp_path):
    keys = {"model_type": "lfm2", "full_attn_idxs": [1, 3], "conv_L_cache": 3}
    graph = read(tmp_path, {**LLAMA, **keys})
    assert mixing(graph) == ["r", "a", "r", "a"]
    assert graph.state_bytes_per_sequence == 2 * 2 * 64 * 2
    convolved = next(o for o in operators(graph, Recurrent))
    assert convolved.parameters == 3 * 64


def test_a_run_of_kinds_comes_again_and_again(tmp_path):
    keys = {
        "model_type": "recurrent_gemma",
        "block_types": ["recurrent", "recurrent", "attention"],
        "lru_width": 64,
        "attention_window_size": 16,
    }
    graph = read(tmp_path, {**LLAMA, **keys})
    assert mixing(graph) == ["r", "r", "a", "r"]
    # A value for each channel in 32 bit, and three earlier tokens in 16.
    assert graph.state_bytes_per_sequence == 3 * (64 * 4 + 3 * 64 * 2)


def test_mamba_2_beside_attention_and_alone(tmp_path):
    sizes = {
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "ssm_state_size": 16,
        "n_groups": 2,
        "conv_kernel": 4,
    }
    keys = {"model_type": "nemotron_h", "hybrid_override_pattern": "M-*-", **sizes}
    graph = read(tmp_path, {**LLAMA, **keys})
    assert mixing(graph) == ["r", "", "a", ""]
    channels = 4 * 8 + 2 * 2 * 16
    assert graph.state_bytes_per_sequence == 4 * 8 * 16 * 4 + 3 * channels * 2
    projected = next(o for o in graph.layers[1].operators if o.name == "state input")
    assert projected.outputs == 2 * 32 + 2 * 2 * 16 + 4


@pytest.mark.parametrize("kind", ["mamba", "falcon_mamba"])
def test_the_first_mamba_has_no_heads(tmp_path, kind):
    fields = {
        "model_type": kind,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "state_size": 16,
        "intermediate_size": 128,
        "vocab_size": 100,
        "conv_kernel": 4,
    }
    graph = read(tmp_path, fields)
    assert graph.kv_bytes_per_token == 0
    assert graph.state_bytes_per_sequence == 2 * (128 * 16 * 4 + 3 * 128 * 2)
