"""Which keys may stay unread: names of real configs, sorted by hand."""

import pytest

from planner.readers.configs.keys import INERT, STRUCTURAL


@pytest.mark.parametrize(
    "name",
    [
        "num_beams",
        "attention_dropout",
        "initializer_range",
        "rope_theta",
        "rms_norm_eps",
        "torch_dtype",
        "transformers_version",
        "image_token_id",
        "num_nextn_predict_layers",
        "router_aux_loss_coef",
        "max_position_embeddings",
    ],
)
def test_a_key_that_says_nothing_of_layers(name):
    assert INERT.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        "layer_types",
        "block_configs",
        "intermediate_size",
        "moe_intermediate_size",
        "num_experts",
        "linear_num_value_heads",
        "hybrid_override_pattern",
        "sliding_window",
        "index_topk",
        "qk_rope_head_dim",
        "q_lora_rank",
        "ssm_state_size",
        "compress_ratios",
        "num_kv_shared_layers",
    ],
)
def test_a_key_that_says_how_layers_are_made(name):
    assert STRUCTURAL.fullmatch(name)
    assert not INERT.fullmatch(name)
