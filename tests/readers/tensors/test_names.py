"""Names of tensors: of which module each is, in every family's spelling."""

import pytest

from planner.readers.tensors.names import LAST_WORDS, MTP, PART, place_of

Q, K, V = (f"self_attn.{one}_proj" for one in "qkv")
GATE, UP, DOWN = (f"mlp.{one}_proj" for one in ("gate", "up", "down"))
EXPERTS = [f"mlp.experts.{one}_proj" for one in ("gate", "up", "down")]
SHARED = [f"mlp.shared_experts.{one}_proj" for one in ("gate", "up", "down")]
IN, OUT = "linear_attn.in_proj", "linear_attn.out_proj"

NAMES = {
    # Hugging Face's
    "model.layers.3.self_attn.q_proj.weight": [Q],
    "model.language_model.layers.3.self_attn.k_proj.weight": [K],
    "language_model.model.layers.3.self_attn.qkv_proj.weight": [Q, K, V],
    "transformer.h.3.self_attention.query_key_value.weight": [Q, K, V],
    "transformer.h.3.self_attention.dense.weight": ["self_attn.o_proj"],
    "transformer.h.3.attn.c_attn.weight": [Q, K, V],
    "transformer.h.3.attn.c_proj.weight": ["self_attn.o_proj"],
    "transformer.h.3.mlp.c_fc.weight": [UP],
    "transformer.h.3.mlp.c_proj.weight": [DOWN],
    "transformer.h.3.mlp.dense_h_to_4h.weight": [GATE, UP],
    "transformer.h.3.attn.attention.out_proj.weight": ["self_attn.o_proj"],
    "transformer.h.3.mlp.c_fc_0.weight": [GATE],
    "transformer.h.3.mlp.w1.weight": [UP],
    "transformer.blocks.3.norm_attn_norm.attn.Wqkv.weight": [Q, K, V],
    "transformer.blocks.3.ffn.experts.mlp.v1": [EXPERTS[1]],
    "transformer.blocks.3.attn.out_proj.weight": ["self_attn.o_proj"],
    "gpt_neox.layers.3.mlp.dense_4h_to_h.weight": [DOWN],
    "model.decoder.layers.3.fc1.weight": [UP],
    "model.layers.3.attention.wqkv.weight": [Q, K, V],
    "layers.3.attention.wo.weight": ["self_attn.o_proj"],
    "layers.3.feed_forward.w1.weight": [GATE],
    "layers.3.feed_forward.w2.weight": [DOWN],
    "model.layers.3.mlp.gate_up_proj.weight": [GATE, UP],
    "model.layers.3.self_attn.kv_a_proj_with_mqa.weight_scale_inv": ["self_attn.kv_a_proj_with_mqa"],
    "model.layers.3.self_attn.fused_qkv_a_proj_with_mqa.weight": [
        "self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa",
    ],
    "model.layers.3.mlp.experts.17.down_proj.weight": [EXPERTS[2]],
    "model.layers.3.mlp.experts.gate_up_proj_blocks": EXPERTS[:2],
    "model.layers.3.mlp.experts.gate_up_proj": EXPERTS[:2],
    "model.layers.3.mlp.switch_mlp.up_proj.scales": [EXPERTS[1]],
    "model.layers.3.feed_forward.experts.down_proj": [EXPERTS[2]],
    "model.layers.3.block_sparse_moe.experts.0.w3.weight": [EXPERTS[1]],
    "model.layers.3.block_sparse_moe.input_linear.weight": EXPERTS[:2],
    "model.layers.3.block_sparse_moe.router.layer.weight": ["mlp.gate"],
    "model.layers.3.block_sparse_moe.gate.weight": ["mlp.gate"],
    "model.layers.3.mlp.gate.weight": ["mlp.gate"],
    "model.layers.3.mlp.router.weight": ["mlp.gate"],
    "model.layers.3.mlp.shared_experts.gate_proj.weight": [SHARED[0]],
    "model.layers.3.mlp.shared_expert.up_proj.weight": [SHARED[1]],
    "model.layers.3.feed_forward.shared_expert.down_proj.weight": [SHARED[2]],
    "model.layers.3.shared_mlp.input_linear.weight": SHARED[:2],
    "model.layers.3.linear_attn.in_proj_qkvz.weight": [IN],
    "model.layers.3.linear_attn.out_proj.weight": [OUT],
    "backbone.layers.3.mixer.in_proj.weight": [IN],
    "backbone.layers.3.mixer.out_proj.weight": [OUT],
    "backbone.layers.3.mixer.up_proj.weight": [UP],
    "backbone.layers.3.mixer.o_proj.weight": ["self_attn.o_proj"],
    "model.layers.3.conv.in_proj.weight": [IN],
    "bert.encoder.layer.3.attention.self.query.weight": [Q],
    "bert.encoder.layer.3.attention.output.dense.weight": ["self_attn.o_proj"],
    "bert.encoder.layer.3.intermediate.dense.weight": [UP],
    "bert.encoder.layer.3.output.dense.weight": [DOWN],
    # llama.cpp's
    "blk.3.attn_q.weight": [Q],
    "blk.3.attn_qkv.weight": [Q, K, V],
    "blk.3.attn_output.weight": ["self_attn.o_proj"],
    "blk.3.attn_q_a.weight": ["self_attn.q_a_proj"],
    "blk.3.attn_kv_a_mqa.weight": ["self_attn.kv_a_proj_with_mqa"],
    "blk.3.attn_k_b.weight": ["self_attn.kv_b_proj"],
    "blk.3.attn_v_b.weight": ["self_attn.kv_b_proj"],
    "blk.3.ffn_gate.weight": [GATE],
    "blk.3.ffn_down_exps.weight": [EXPERTS[2]],
    "blk.3.ffn_gate_up_exps.weight": EXPERTS[:2],
    "blk.3.ffn_up_shexp.weight": [SHARED[1]],
    "blk.3.ffn_gate_inp.weight": ["mlp.gate"],
    "blk.3.ssm_in.weight": [IN],
    "blk.3.ssm_out.weight": [OUT],
    "blk.3.shortconv.in_proj.weight": [IN],
}  # fmt: skip


@pytest.mark.parametrize(("name", "below"), NAMES.items())
def test_a_matrix_of_a_layer_is_that_of_its_modules(name, below):
    place = place_of(name)
    assert place.modules == tuple(f"layers.3.{one}" for one in below)
    assert (place.layer, place.beside, place.small) == (3, "", False)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("model.embed_tokens.weight", "embed_tokens"),
        ("model.language_model.embed_tokens.weight", "embed_tokens"),
        ("transformer.wte.weight", "embed_tokens"),
        ("tok_embeddings.weight", "embed_tokens"),
        ("token_embd.weight", "embed_tokens"),
        ("backbone.embeddings.weight", "embed_tokens"),
        ("lm_head.weight", "lm_head"),
        ("lm_head.qweight", "lm_head"),
        ("output.weight", "lm_head"),
        ("embed_out.weight", "lm_head"),
        ("transformer.output_layer.weight", "lm_head"),
        ("model.language_model.embed_tokens_per_layer.weight", "embed_tokens_per_layer"),
        ("per_layer_token_embd.weight", "embed_tokens_per_layer"),
        ("per_layer_model_proj.weight", "per_layer_model_projection"),
        ("model.altup_projections.2.weight", "altup_projections"),
        ("altup_unembd_proj.weight", "altup_unembed_projections"),
    ],
)
def test_embeddings_and_heads_are_known(name, module):
    assert place_of(name).modules == (module,)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.3.input_layernorm.weight",
        "model.layers.3.self_attn.q_norm.weight",
        "model.layers.3.self_attn.q_proj.bias",
        "model.layers.3.mlp.experts.gate_up_proj_bias",
        "model.layers.3.self_attn.sinks",
        "model.layers.3.linear_attn.A_log",
        "model.layers.3.linear_attn.conv1d.weight",
        "model.layers.3.mlp.gate.e_score_correction_bias",
        "transformer.h.3.ln_1.weight",
        "transformer.ln_f.weight",
        "model.norm.weight",
        "bert.embeddings.LayerNorm.weight",
        "output_norm.weight",
        "rope_freqs.weight",
        "blk.3.attn_norm.weight",
        "blk.3.exp_probs_b.bias",
        "blk.3.ssm_a",
        "blk.3.ssm_dt.bias",
    ],
)
def test_norms_and_biases_are_small(name):
    place = place_of(name)
    assert place.small
    assert not place.modules
    assert not place.beside


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("vision_tower.vision_model.encoder.layers.3.self_attn.q_proj.weight", "vision"),
        ("model.visual.blocks.3.attn.qkv.weight", "vision"),
        ("v.blk.3.attn_q.weight", "vision"),
        ("v.patch_embd.weight", "vision"),
        ("audio_tower.layers.3.fc1.weight", "audio"),
        ("a.blk.3.attn_q.weight", "audio"),
        ("multi_modal_projector.linear_1.weight", "projector"),
        ("mm.0.weight", "projector"),
        ("mtp.layers.0.self_attn.q_proj.weight", MTP),
        ("model.mtp_layers.0.self_attn.q_proj.weight", MTP),
        ("blk.46.nextn.eh_proj.weight", MTP),
    ],
)
def test_what_stands_beside_the_language_model_is_told_apart(name, beside):
    place = place_of(name)
    assert place.beside == beside
    assert not place.modules


@pytest.mark.parametrize(
    "part",
    [
        "qweight", "qzeros", "scales", "g_idx", "weight_packed", "weight_scale", "weight_shape",
        "weight_scale_inv", "weight_scale_2", "weight_zero_point", "input_scale", "biases",
        "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4", "SCB",
        "weight_global_scale", "input_global_scale", "blocks",
    ],
)  # fmt: skip
def test_the_parts_of_a_packed_matrix_have_one_stem(part):
    place = place_of(f"model.layers.3.mlp.up_proj.{part}")
    assert place == place_of("model.layers.3.mlp.up_proj.weight")._replace(part=part)


def test_what_nobody_knows_is_of_no_module():
    place = place_of("model.layers.3.cross_attn.q_proj.weight")
    assert (place.modules, place.small, place.beside) == ((), False, "")
    assert place_of("").modules == ()
    assert place_of("layers.99999999999.mlp.up_proj").layer is None


def test_the_commonest_parts_are_parts_like_any_other():
    for part in LAST_WORDS:
        split = PART.match(f"model.layers.3.mlp.up_proj.{part}")
        assert (split["stem"], split["part"]) == ("model.layers.3.mlp.up_proj", part)


@pytest.mark.parametrize(
    "name",
    ["transformer.wpe.weight", "position_embd.weight", "model.decoder.embed_positions.weight"],
)
def test_tables_of_positions_are_a_module_of_the_model(name):
    place = place_of(name)
    assert place.modules == ("embed_positions",)
    assert not place.small


@pytest.mark.parametrize(
    ("name", "stem", "part"),
    [
        ("lm_head._weight_qdata", "lm_head", "qdata"),
        ("model.layers.3.mlp.up_proj._weight_scale", "model.layers.3.mlp.up_proj", "weight_scale"),
        # as torchao 0.14 called them
        ("model.layers.3.mlp.up_proj.weight:qdata", "model.layers.3.mlp.up_proj", "qdata"),
        ("model.layers.3.mlp.up_proj.weight:_data", "model.layers.3.mlp.up_proj", "qdata"),
        ("lm_head._weight_zero_point", "lm_head", "weight_zero_point"),
        ("lm_head._weight_act_quant_scale", "lm_head", "weight_act_quant_scale"),
    ],
)
def test_parts_that_torchao_has_taken_apart(name, stem, part):
    place = place_of(name)
    assert (place.stem, place.part) == (stem, part)
    assert place.modules


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("model.layers.3.self_attn.embed_q.weight", "self_attn.kv_b_proj"),
        ("model.layers.3.self_attn.unembed_out.scales", "self_attn.kv_b_proj"),
        ("model.layers.3.self_attn.gate_proj.weight", "self_attn.q_proj"),
        ("blk.3.attn_gate.weight", "self_attn.q_proj"),
        ("blk.3.laurel_l.weight", "laurel.linear"),
        ("model.layers.3.laurel.linear_right.weight", "laurel.linear"),
        ("blk.3.inp_gate.weight", "per_layer_input_gate"),
        ("blk.3.proj.weight", "per_layer_projection"),
        ("blk.3.ssm_x.weight", "linear_attn.x_proj"),
        ("model.layers.3.mamba.dt_proj.weight", "linear_attn.dt_proj"),
    ],
)
def test_matrices_that_few_families_have(name, module):
    assert place_of(name).modules == (f"layers.3.{module}",)
