"""Tests of the mirror of slices: the parts of all ranks make up the whole, by hand-counted rows."""

import numpy as np
import pytest

from planner.running.slices import Place, heads_of, sliced

CONFIG = {"num_attention_heads": 8, "num_key_value_heads": 2}


def parts_of(name, tensor, ranks, expert_ways=1):
    places = [Place(rank, ranks, expert_ways) for rank in range(ranks)]
    return [sliced(name, tensor, place, CONFIG) for place in places]


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("layers.0.self_attn.q_proj.weight", 0),
        ("layers.0.mlp.shared_expert.up_proj.weight", 0),
        ("model.embed_tokens.weight", 0),
        ("layers.0.self_attn.o_proj.weight", 1),
        ("layers.0.mlp.down_proj.weight", 1),
    ],
)
def test_parts_side_by_side_are_the_whole(name, axis):
    whole = np.arange(64.0).reshape(8, 8)
    assert (np.concatenate(parts_of(name, whole, 4), axis=axis) == whole).all()


def test_fewer_key_heads_than_ranks_are_copied():
    whole = np.arange(8.0).reshape(4, 2)  # two heads of two rows
    first, second, third, fourth = parts_of("layers.0.self_attn.k_proj.weight", whole, 4)
    assert (first == whole[:2]).all()
    assert (second == first).all()
    assert (third == whole[2:]).all()
    assert (fourth == third).all()
    assert heads_of(8, 1, 2) == (4, 4)


def test_a_bias_behind_a_sum_is_added_once():
    bias = np.ones(8)
    assert sum(parts_of("layers.0.self_attn.o_proj.bias", bias, 4)).tolist() == bias.tolist()


def test_norms_and_routers_are_whole():
    for name in ("layers.0.input_layernorm.weight", "layers.0.mlp.gate.weight"):
        whole = np.ones((4, 4))
        assert all(part is whole for part in parts_of(name, whole, 2))


def test_experts_go_by_blocks_and_each_is_split_by_the_rest():
    whole = np.arange(4 * 8 * 2.0).reshape(4, 8, 2)  # four experts, gate over up, of four rows each
    name = "layers.0.mlp.experts.gate_up_proj"
    blocks = parts_of(name, whole, 2, expert_ways=2)
    assert (np.concatenate(blocks) == whole).all()
    mixed = parts_of(name, whole, 4, expert_ways=2)
    assert mixed[0].shape == (2, 4, 2)
    # The second rank of the first block has the last rows of gate and of up.
    assert (mixed[1] == whole[:2, [2, 3, 6, 7]]).all()
    assert (mixed[2] == whole[2:, [0, 1, 4, 5]]).all()
    down = whole.swapaxes(1, 2)
    assert (parts_of("x.experts.down_proj", down, 2)[1] == down[:, :, 4:]).all()
