"""Spellings of modules."""

import pytest

from planner.readers.quantisation.modules import (
    ATTENTION,
    ENDS,
    Part,
    beginnings_of,
    is_elsewhere,
    is_small,
    part_of,
    paths_of,
    runs_of,
)
from planner.readers.quantisation.storage import LEAVES


def test_a_canonical_name_has_a_layer_or_is_an_end():
    assert part_of("layers.12.mlp.experts.up_proj") == Part(12, "mlp.experts.up_proj")
    assert part_of("lm_head") == Part(None, "lm_head")
    assert part_of("layers.x.mlp") == Part(None, "layers.x.mlp")
    assert part_of("layers.3.mlp.gate").is_router
    assert part_of("layers.3.mlp.experts.up_proj").is_expert
    assert not part_of("layers.3.mlp.shared_experts.up_proj").is_expert
    assert part_of("embed_tokens").is_end


@pytest.mark.parametrize("leaf", [*LEAVES, *ENDS])
def test_the_usual_spelling_comes_first(leaf):
    usual = ".".join(paths_of(leaf)[0]).replace(".#", "")
    assert usual == leaf


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("kind", ["", "llama", "gemma4_text", "kimi_linear", "dbrx"])
def test_no_two_spellings_are_alike(leaf, kind):
    paths = paths_of(leaf, kind)
    assert len(set(paths)) == len(paths)
    assert () in beginnings_of(leaf, kind)
    assert () in runs_of(leaf, kind)
    assert set(paths) <= beginnings_of(leaf, kind) & runs_of(leaf, kind)


def test_fused_matrices_are_a_spelling_of_each_part():
    for name in ("q_proj", "k_proj", "v_proj"):
        assert ("self_attn", "qkv_proj") in paths_of(f"self_attn.{name}")
    assert ("self_attn", "qkv_proj") not in paths_of("self_attn.o_proj")
    for name in ("gate_proj", "up_proj"):
        assert ("mlp", "experts", "gate_up_proj") in paths_of(f"mlp.experts.{name}")
    assert set(ATTENTION) == {leaf[10:] for leaf in LEAVES if leaf.startswith("self_attn.")}


def test_families_that_call_other_things_by_usual_names():
    """Gemma 4 has its routed experts beside `mlp`, which is its dense one."""
    assert ("mlp",) not in beginnings_of("mlp.experts.up_proj", "gemma4_text")
    assert ("mlp", "up_proj") in paths_of("mlp.shared_experts.up_proj", "gemma4_text")
    assert paths_of("linear_attn.in_proj", "kimi_linear")[0] == ("self_attn", "q_proj")


def test_other_parts_of_a_checkpoint_are_known():
    assert is_elsewhere("model.vision_tower.layers")
    assert is_elsewhere("mtp.layers.0")
    assert not is_elsewhere("model.language_model.layers")
    assert is_small("layers.0.input_layernorm")
    assert is_small("LlamaRMSNorm")
    assert not is_small("layers.0.self_attn")
