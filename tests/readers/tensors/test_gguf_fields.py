"""GGUF metadata in the words of a config.json, family by family, against values by hand."""

import pytest

from planner.errors import InputError
from planner.readers.configs.huggingface import read_fields
from planner.readers.tensors.gguf_fields import MODEL_TYPES, config_fields, config_remarks
from planner.readers.tensors.gguf_file import GgufFile, Passed, read_gguf
from planner.readers.tensors.inventory import Inventory, Tensor
from tests.written import LLAMA_KEYS, gguf_bytes, llama_tensors


def fields_of(architecture, tensors=(), **keys):
    """Of a file of that architecture; `a__b` stands for the key `a.b`."""
    own = {f"{architecture}.{key.replace('__', '.')}": value for key, value in keys.items()}
    metadata = {"general.architecture": architecture, f"{architecture}.block_count": 4} | own
    made = tuple(Tensor(name, (2, 2), "F32", 16) for name in tensors)
    return config_fields(GgufFile(metadata, Inventory(made), 3))


def test_a_llama_is_read_as_its_config_would_be(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(LLAMA_KEYS, llama_tensors()))
    fields = config_fields(read_gguf(path))
    assert fields == {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 256,
        "intermediate_size": 512,
        "max_position_embeddings": 8192,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 96,
        "tie_word_embeddings": True,
    }
    shape = read_fields(fields, "m.gguf").shape
    attention, _ = shape.blocks[0].parts
    assert (len(shape.blocks), shape.hidden, shape.vocabulary) == (2, 256, 96)
    assert (attention.heads, attention.kv_heads, attention.head_dim) == (4, 2, 64)
    with_head = [*llama_tensors(), ("output.weight", (256, 96), "Q6_K")]
    path.write_bytes(gguf_bytes(LLAMA_KEYS, with_head))
    assert config_fields(read_gguf(path))["tie_word_embeddings"] is False


def test_without_tensors_the_vocabulary_is_as_long_as_its_tokens():
    metadata = {"general.architecture": "llama", "llama.block_count": 1,
                "tokenizer.ggml.tokens": Passed(32000)}  # fmt: skip
    assert config_fields(GgufFile(metadata, Inventory(()), 3))["vocab_size"] == 32000
    metadata["llama.vocab_size"] = 32064
    fields = config_fields(GgufFile(metadata, Inventory(()), 3))
    assert fields["vocab_size"] == 32064
    assert "tie_word_embeddings" not in fields


def test_a_mixtral_is_a_llama_with_experts():
    fields = fields_of("llama", feed_forward_length=14336, expert_count=8, expert_used_count=2)
    assert fields["model_type"] == "mixtral"
    assert fields["num_local_experts"] == 8
    assert fields["num_experts_per_tok"] == 2
    assert fields["intermediate_size"] == 14336


def test_layers_that_predict_later_tokens_are_none_of_the_model():
    fields = fields_of(
        "glm4moe", block_count=47, nextn_predict_layers=1, leading_dense_block_count=1,
        expert_count=128, expert_used_count=8, expert_shared_count=1, expert_group_count=1,
        attention__key_length=128, attention__value_length=128, expert_feed_forward_length=1408,
    )  # fmt: skip
    assert fields["num_hidden_layers"] == 46
    assert fields["n_routed_experts"] == 128
    assert fields["first_k_dense_replace"] == 1
    assert fields["moe_intermediate_size"] == 1408
    assert fields["head_dim"] == 128
    assert "v_head_dim" not in fields


@pytest.mark.parametrize(
    "keys",
    [
        # as converted with the projections in one, and with one of them absorbed
        {"attention__key_length": 192, "attention__value_length": 128, "attention__head_count_kv": 128},
        {"attention__key_length": 576, "attention__value_length": 512, "attention__head_count_kv": 1,
         "attention__key_length_mla": 192, "attention__value_length_mla": 128},
    ],
)  # fmt: skip
def test_latent_attention_is_read_from_either_conversion(keys):
    fields = fields_of(
        "deepseek2", attention__kv_lora_rank=512, attention__q_lora_rank=1536, expert_count=256,
        attention__head_count=128, rope__dimension_count=64, expert_gating_func=2,
        expert_group_count=8, expert_group_used_count=4, **keys,
    )  # fmt: skip
    assert fields["model_type"] == "deepseek_v3"
    assert (fields["qk_nope_head_dim"], fields["qk_rope_head_dim"]) == (128, 64)
    assert fields["v_head_dim"] == 128
    assert fields["num_key_value_heads"] == 128
    assert (fields["kv_lora_rank"], fields["q_lora_rank"]) == (512, 1536)
    assert (fields["n_group"], fields["topk_group"]) == (8, 4)
    assert "head_dim" not in fields


def test_a_deepseek_whose_router_takes_a_softmax_is_of_the_second_version():
    fields = fields_of("deepseek2", expert_count=64, expert_gating_func=1)
    assert fields["model_type"] == "deepseek_v2"


FULL, WINDOW = "full_attention", "sliding_attention"


@pytest.mark.parametrize(
    ("architecture", "keys", "kinds"),
    [
        ("gpt-oss", {}, [WINDOW, FULL] * 2),
        ("gemma2", {}, [WINDOW, FULL] * 2),
        ("gemma3", {}, [WINDOW] * 4),
        ("cohere2", {}, [WINDOW] * 3 + [FULL]),
        ("gemma3", {"attention__sliding_window_pattern": 2}, [WINDOW, FULL] * 2),
        ("gemma4", {"attention__sliding_window_pattern": (True, True, False, True)},
         [WINDOW, WINDOW, FULL, WINDOW]),
        ("afmoe", {"attention__sliding_window_pattern": (True,) * 4}, [WINDOW] * 4),
    ],
)  # fmt: skip
def test_which_layers_see_a_window(architecture, keys, kinds):
    fields = fields_of(architecture, attention__sliding_window=128, **keys)
    assert fields["layer_types"] == kinds
    assert fields["sliding_window"] == 128
    assert "layer_types" not in fields_of(architecture, **keys)


def test_what_a_family_has_none_of_is_left_out():
    none = {"feed_forward_length": 0, "attention__head_count": 0, "attention__head_count_kv": 0}
    fields = fields_of("mamba2", embedding_length=2048, vocab_size=500, **none, **STATES)
    assert not {"intermediate_size", "num_attention_heads", "num_key_value_heads"} & fields.keys()
    assert len(read_fields(fields, "m.gguf").shape.blocks) == 4


def test_every_fourth_layer_of_a_qwen3_next_sees_everything_unless_it_says_otherwise():
    keys = {"embedding_length": 2048, "feed_forward_length": 4096, "vocab_size": 500}
    keys |= {"attention__head_count": 16, "attention__head_count_kv": 2}
    fields = fields_of("qwen3next", **keys, **STATES)
    assert fields["full_attention_interval"] == 4
    kinds = [block.parts[0].kind for block in read_fields(fields, "m.gguf").shape.blocks]
    assert kinds == ["recurrence"] * 3 + ["self-attention"]


def test_a_window_of_all_layers_has_no_list():
    fields = fields_of("starcoder2", attention__sliding_window=4096)
    assert fields["sliding_window"] == 4096
    assert "layer_types" not in fields


def test_gpt_oss_has_the_width_of_its_experts():
    fields = fields_of(
        "gpt-oss", feed_forward_length=0, expert_feed_forward_length=2880, expert_count=32
    )
    assert fields["intermediate_size"] == 2880
    assert fields["num_local_experts"] == 32


def test_llama_4_has_two_widths():
    fields = fields_of(
        "llama4", feed_forward_length=16384, expert_feed_forward_length=8192, expert_count=16,
        interleave_moe_layer_step=1,
    )  # fmt: skip
    assert (fields["intermediate_size"], fields["intermediate_size_mlp"]) == (8192, 16384)
    assert fields["interleave_moe_layer_step"] == 1


def test_falcons_have_their_own_words():
    small = fields_of("falcon", attention__head_count=71, attention__head_count_kv=1)
    assert small["multi_query"] is True
    assert small["new_decoder_architecture"] is False
    large = fields_of("falcon", attention__head_count=128, attention__head_count_kv=8)
    assert (large["multi_query"], large["num_kv_heads"]) == (False, 8)
    assert large["parallel_attn"] is True


STATES = {"ssm__conv_kernel": 4, "ssm__inner_size": 4096, "ssm__state_size": 128,
          "ssm__time_step_rank": 32, "ssm__group_count": 16}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "keys", "wanted"),
    [
        ("mamba", {}, {"intermediate_size": 4096, "state_size": 128, "time_step_rank": 32,
                       "conv_kernel": 4}),
        ("mamba2", {}, {"num_heads": 32, "head_dim": 128, "expand": 2, "n_groups": 16,
                        "state_size": 128}),
        ("qwen3next", {"full_attention_interval": 4}, {
            "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
            "linear_num_value_heads": 32, "linear_value_head_dim": 128,
            "full_attention_interval": 4}),
        ("granitehybrid", {"attention__head_count_kv": (0, 8, 0, 0)}, {
            "layer_types": ["mamba", "attention", "mamba", "mamba"], "num_key_value_heads": 8,
            "mamba_n_heads": 32, "mamba_d_head": 128, "mamba_d_state": 128}),
        ("falcon-h1", {}, {"mamba_d_ssm": 4096, "mamba_n_heads": 32}),
        ("plamo2", {}, {"plamo2.ssm.inner_size": 4096, "plamo2.ssm.state_size": 128}),
    ],
)  # fmt: skip
def test_state_spaces_are_in_each_familys_words(architecture, keys, wanted):
    fields = fields_of(architecture, embedding_length=2048, **STATES, **keys)
    assert wanted.items() <= fields.items()


def test_a_nemotron_h_is_spelled_by_its_tensors():
    tensors = ["blk.0.ssm_out.weight", "blk.1.ffn_up.weight", "blk.2.attn_q.weight",
               "blk.3.ffn_gate_inp.weight", "blk.3.ffn_up_exps.weight"]  # fmt: skip
    fields = fields_of(
        "nemotron_h_moe", tensors, attention__head_count_kv=(0, 0, 8, 0), **STATES,
        attention__head_count=(0, 0, 32, 0), feed_forward_length=(0, 1856, 0, 1856),
    )  # fmt: skip
    assert fields["model_type"] == "nemotron_h"
    assert fields["hybrid_override_pattern"] == "M-*E"
    assert fields["num_attention_heads"] == 32
    assert fields["num_key_value_heads"] == 8
    assert fields["intermediate_size"] == 1856
    with pytest.raises(
        InputError, match=r"blk\.0 has no tensor that shows what kind of layer it is"
    ):
        fields_of("nemotron_h", **STATES)


def test_an_lfm2_has_convolutions_where_it_has_no_heads():
    fields = fields_of("lfm2", attention__head_count_kv=(0, 0, 8, 0), shortconv__l_cache=3)
    assert fields["layer_types"] == ["conv", "conv", FULL, "conv"]
    assert fields["num_key_value_heads"] == 8
    assert fields["conv_L_cache"] == 3


def test_lists_of_layers_are_handed_on():
    fields = fields_of(
        "deci", feed_forward_length=(8, 16, 16, 8), attention__head_count=(4, 4, 4, 4)
    )
    assert fields["intermediate_size"] == [8, 16, 16, 8]
    assert fields["num_attention_heads"] == 4


def test_what_is_structural_and_not_known_keeps_its_name():
    fields = fields_of("llama", new_layer_count=3, strange_list=(1, 2), long_list=Passed(9999),
                       rope__freq_base=1e4, attention__layer_norm_rms_epsilon=1e-5,
                       some_scale=2.0, logit_scale=2.0)  # fmt: skip
    assert fields["llama.new_layer_count"] == 3
    assert fields["llama.strange_list"] == [1, 2]
    assert fields["llama.long_list"] == Passed(9999)
    assert len(fields) == 5


def test_an_architecture_that_is_not_known_is_told():
    metadata = {
        "general.architecture": "newest",
        "newest.block_count": 3,
        "newest.embedding_length": 64,
    }
    gguf = GgufFile(metadata, Inventory(()), 3)
    fields = config_fields(gguf)
    assert (fields["model_type"], fields["hidden_size"]) == ("newest", 64)
    assert config_remarks(gguf) == (
        "general.architecture newest is not known; only the keys that all families share were read",
    )
    assert config_remarks(GgufFile({"general.architecture": "llama"}, Inventory(()), 3)) == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"block_count": None}, "llama.block_count must be a whole number, not missing"),
        ({"block_count": "x"}, "llama.block_count must be a whole number, not 'x'"),
        ({"block_count": 0}, "must leave at least one layer, not 0"),
        ({"block_count": 1, "nextn_predict_layers": 2}, "must leave at least one layer, not -1"),
        ({"block_count": 2**31}, "must leave at least one layer"),
        ({"feed_forward_length": Passed(9999)}, "has 9999 elements; too many"),
        ({"attention__kv_lora_rank": 512}, "llama.rope.dimension_count must be a whole number"),
        ({"ssm__inner_size": 2.0}, "llama.ssm.inner_size must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused(keys, said):
    with pytest.raises(InputError) as refused:
        fields_of("llama", **keys)
    assert said in str(refused.value)


@pytest.mark.parametrize("given", [None, "", 3])
def test_a_file_must_name_its_architecture(given):
    with pytest.raises(InputError, match=r"general\.architecture is missing"):
        config_fields(GgufFile({"general.architecture": given}, Inventory(()), 3))


def test_architectures_are_llama_cpps():
    gguf = pytest.importorskip("gguf")
    assert MODEL_TYPES.keys() <= set(gguf.MODEL_ARCH_NAMES.values())


def with_shapes(architecture, shapes, **keys):
    own = {f"{architecture}.{key.replace('__', '.')}": value for key, value in keys.items()}
    metadata = {"general.architecture": architecture, f"{architecture}.block_count": 4} | own
    made = tuple(Tensor(name, shape, "F32", 16) for name, shape in shapes.items())
    return config_fields(GgufFile(metadata, Inventory(made), 3))


def test_what_no_key_says_is_taken_from_the_tensors():
    side = {"per_layer_token_embd.weight": (500, 256), "blk.0.laurel_l.weight": (16, 64)}
    fields = with_shapes("gemma3n", side)
    assert (fields["vocab_size_per_layer_input"], fields["laurel_rank"]) == (500, 16)
    biased = with_shapes("llama", {"blk.0.attn_output.bias": (64,), "blk.0.ffn_down.bias": (64,)})
    assert biased["attention_bias"] is biased["mlp_bias"] is True
    assert not {"attention_bias", "mlp_bias"} & with_shapes("llama", {}).keys()


def test_the_feed_forward_of_an_lfm2_is_as_long_as_its_file_says():
    assert with_shapes("lfm2", {}, feed_forward_length=1536)["block_auto_adjust_ff_dim"] is False


def test_a_granite_hybrid_may_have_no_experts():
    fields = with_shapes(
        "granitehybrid", {}, expert_count=0, expert_used_count=0, feed_forward_length=1024
    )
    assert fields["num_local_experts"] == 0
    assert fields["shared_intermediate_size"] == 1024
    assert "num_experts_per_tok" not in fields


def test_a_shared_expert_of_ernie_is_as_wide_as_the_others():
    fields = with_shapes(
        "ernie4_5-moe", {}, expert_count=8, expert_used_count=2, expert_feed_forward_length=256,
        expert_shared_count=1, expert_shared_feed_forward_length=768,
    )  # fmt: skip
    assert "shared_expert_intermediate_size" not in fields


def test_a_jamba_says_its_layers_by_period():
    routed = {f"blk.{number}.ffn_gate_inp.weight": (4, 64) for number in (1, 3)}
    fields = with_shapes(
        "jamba", routed, embedding_length=512, attention__head_count_kv=(0, 0, 2, 0),
        ssm__conv_kernel=4, ssm__inner_size=1024, ssm__state_size=16, ssm__time_step_rank=32,
        expert_count=4, expert_used_count=2,
    )  # fmt: skip
    assert (fields["attn_layer_period"], fields["attn_layer_offset"]) == (4, 2)
    assert (fields["expert_layer_period"], fields["expert_layer_offset"]) == (2, 1)
    assert (fields["mamba_expand"], fields["mamba_dt_rank"]) == (2, 32)
    assert fields["num_key_value_heads"] == 2
