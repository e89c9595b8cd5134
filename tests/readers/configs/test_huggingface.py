"""Decoders from a Hugging Face config.json: the same graph as the catalogue's, or one sentence."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

import planner as pl
from planner.errors import InputError
from planner.readers.files import CONFIG_BYTES
from tests.readers.small import EXPERTS, LLAMA, windows

CONFIGS = sorted((Path(__file__).parents[2] / "data" / "configs").glob("*.json"))
"""Named as the catalogue names the models, and reduced to the keys that decide."""


def graph_of(folder, fields, **options):
    return pl.load_model(written(folder, json.dumps(fields)), **options)


def written(folder, content):
    path = folder / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path):
    with pytest.raises(InputError) as refused:
        pl.load_model(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def mixed(fields, **changes):
    return {**fields, **changes}


# ── As the catalogue ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_twenty_eight_configs():
    assert len(CONFIGS) == 28


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_makes_the_graph_of_the_catalogue(path):
    made, known = pl.load_model(path), pl.load_model(path.stem)
    assert made.layers == known.layers
    assert made.edges == known.edges
    same = (
        "name",
        "weight_dtype",
        "kv_dtype",
        "activation_dtype",
        "parameters_active",
        "most_context_tokens",
    )
    assert [getattr(made, name) for name in same] == [getattr(known, name) for name in same]


def test_a_folder_stands_for_the_config_in_it_and_gives_the_name(tmp_path):
    folder = tmp_path / "my-llama"
    folder.mkdir()
    made = graph_of(folder, LLAMA)
    assert made.name == "my-llama"
    assert pl.load_model(folder) == made


def test_a_file_of_another_name_gives_its_stem(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(LLAMA), encoding="utf-8")
    assert pl.load_model(str(path)).name == "mine"


def test_formats_are_chosen_as_for_a_name(tmp_path):
    made = graph_of(tmp_path, LLAMA, weight_dtype="fp8", kv_dtype="fp8")
    assert (made.weight_dtype, made.kv_dtype, made.activation_dtype) == ("fp8", "fp8", "fp8")


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", ["text_config", "llm_config", "language_config"])
def test_the_text_part_of_a_multimodal_config_counts(tmp_path, part):
    vision = {"num_hidden_layers": 99, "hidden_size": 99}
    nested = {"model_type": "llava", "vision_config": vision, "hidden_size": 99, part: LLAMA}
    assert graph_of(tmp_path, nested).layers == graph_of(tmp_path, LLAMA).layers


def test_keys_beside_the_text_part_count_where_it_has_none(tmp_path):
    nested = {"tie_word_embeddings": True, "text_config": LLAMA}
    whole = graph_of(tmp_path, mixed(LLAMA, tie_word_embeddings=True))
    assert graph_of(tmp_path, nested).layers == whole.layers


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("num_hidden_layers", "n_layer"),
        ("hidden_size", "d_model"),
        ("num_attention_heads", "n_head"),
        ("num_key_value_heads", "num_kv_heads"),
        ("intermediate_size", "ffn_dim"),
    ],
)
def test_families_name_one_number_differently(tmp_path, key, other):
    renamed = {(other if name == key else name): value for name, value in LLAMA.items()}
    assert graph_of(tmp_path, renamed) == graph_of(tmp_path, LLAMA)


def test_without_key_value_heads_every_head_has_its_own(tmp_path):
    fields = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    assert graph_of(tmp_path, fields) == graph_of(tmp_path, mixed(LLAMA, num_key_value_heads=8))


def test_multi_query_attention_has_one_key_value_head(tmp_path):
    assert graph_of(tmp_path, mixed(LLAMA, multi_query=True)).splits()["kv_heads"] == (1,)


def test_the_head_width_follows_from_the_heads_unless_it_is_given(tmp_path):
    assert graph_of(tmp_path, LLAMA) == graph_of(tmp_path, mixed(LLAMA, head_dim=8))
    assert graph_of(tmp_path, mixed(LLAMA, head_dim=16)).kv_bytes_per_token == 4 * 2 * 2 * 16 * 2


def test_a_key_that_is_null_counts_as_missing(tmp_path):
    nulls = {"head_dim": None, "sliding_window": None, "num_experts": None, "q_lora_rank": None}
    assert graph_of(tmp_path, {**LLAMA, **nulls}) == graph_of(tmp_path, LLAMA)


def test_older_architectures_have_no_gate(tmp_path):
    gated, plain = graph_of(tmp_path, LLAMA), graph_of(tmp_path, mixed(LLAMA, model_type="arcee"))
    assert gated.parameters - plain.parameters == 4 * 64 * 128


def test_shared_experts_are_as_wide_as_the_routed_ones(tmp_path):
    shared = graph_of(tmp_path, {**LLAMA, **EXPERTS, "n_shared_experts": 2})
    assert (
        shared.parameters - graph_of(tmp_path, {**LLAMA, **EXPERTS}).parameters
        == 4 * 3 * 64 * 2 * 32
    )


def test_sparse_layers_come_every_so_many(tmp_path):
    graph = graph_of(tmp_path, {**LLAMA, **EXPERTS, "decoder_sparse_step": 2})
    assert ["experts" in layer.splits() for layer in graph.layers[1:-1]] == [
        False,
        True,
        False,
        True,
    ]


def test_one_expert_is_none(tmp_path):
    assert graph_of(tmp_path, mixed(LLAMA, num_experts=1)) == graph_of(tmp_path, LLAMA)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"sliding_window": 64}, [64, 64, 64, 64]),
        ({"sliding_window": 64, "use_sliding_window": False}, [0, 0, 0, 0]),
        (
            {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"] * 2},
            [64, 0, 64, 0],
        ),
        (
            {"sliding_window": 64, "layer_types": ["full_attention", "sliding_attention"] * 2},
            [0, 64, 0, 64],
        ),
        (
            {"sliding_window": 64, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]},
            [64, 64, 64, 0],
        ),
    ],
)
def test_a_window_holds_in_the_layers_that_the_config_lists(tmp_path, keys, expected):
    assert windows(graph_of(tmp_path, {**LLAMA, **keys})) == expected


def test_an_irregular_list_of_windows_is_kept_or_refused(tmp_path):
    kinds = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]
    with suppress(InputError):
        assert windows(graph_of(tmp_path, mixed(LLAMA, sliding_window=64, layer_types=kinds))) == [
            64,
            0,
            0,
            64,
        ]


def test_a_pattern_of_windows_leaves_every_so_manieth_layer_full(tmp_path):
    keys = {"model_type": "gemma3_text", "sliding_window": 64, "sliding_window_pattern": 2}
    assert windows(graph_of(tmp_path, {**LLAMA, **keys})) == [64, 0, 64, 0]


@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text"])
def test_later_gemmas_tie_their_embedding_where_the_config_does_not_say(tmp_path, kind):
    assert (
        graph_of(tmp_path, mixed(LLAMA, model_type=kind)).layers[-1].operators[-1].tied_to
        == "embedding"
    )


# ── Formats as published ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("quantised", "dtype"),
    [
        (None, "bf16"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "int8"),
    ],
)
def test_the_published_format_is_that_of_the_quantisation(tmp_path, quantised, dtype):
    assert graph_of(tmp_path, mixed(LLAMA, quantization_config=quantised)).weight_dtype == dtype


def test_what_the_checkpoint_says_of_its_cache_counts_unless_another_is_asked_for(tmp_path):
    weights = {"num_bits": 8, "type": "float"}
    scheme = {
        "quant_method": "compressed-tensors",
        "kv_cache_scheme": {"num_bits": 8, "type": "float"},
        "config_groups": {"g": {"targets": ["Linear"], "weights": weights}},
    }
    fields = mixed(LLAMA, quantization_config=scheme)
    assert graph_of(tmp_path, fields).kv_dtype == "fp8"
    assert graph_of(tmp_path, fields, kv_dtype="bf16").kv_dtype == "bf16"


def test_the_file_of_modelopt_beside_a_config_is_read(tmp_path):
    quantised = {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}
    beside = tmp_path / "hf_quant_config.json"
    beside.write_text(json.dumps({"quantization": quantised}), encoding="utf-8")
    graph = graph_of(tmp_path, LLAMA)
    assert graph.weight_dtype == "fp8"
    assert graph.layers[-1].operators[-1].weight_dtype == "bf16"


@pytest.mark.parametrize(
    ("quantised", "block"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 128),
        ({"quant_method": "fp8", "weight_block_size": [1, 64]}, 64),
        ({"quant_method": "fp8"}, None),
        ({"quant_method": "fp8", "weight_block_size": None}, None),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "g": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}
                },
            },
            None,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "g": {
                        "targets": ["Linear"],
                        "weights": {"num_bits": 8, "type": "float", "block_structure": "128x128"},
                    }
                },
            },
            128,
        ),
    ],
)
def test_the_block_is_that_of_the_quantisation_and_goes_with_it(tmp_path, quantised, block):
    fields = mixed(LLAMA, quantization_config=quantised)
    assert graph_of(tmp_path, fields).weight_block == block
    assert graph_of(tmp_path, fields, weight_dtype="fp8").weight_block == block
    assert graph_of(tmp_path, fields, weight_dtype="bf16").weight_block is None


def test_checkpoints_whose_blocks_share_a_scale_keep_embedding_and_head(tmp_path):
    def vocabulary_dtypes(quantised, **options):
        graph = graph_of(tmp_path, mixed(LLAMA, quantization_config=quantised), **options)
        ends = (graph.layers[0].operators[0], graph.layers[-1].operators[-1])
        assert [end.name for end in ends] == ["tokens", "logits"]
        return {end.weight_dtype for end in ends}

    blocks = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    listed = blocks | {"modules_to_not_convert": ["gate", "lm_head"]}
    assert vocabulary_dtypes(blocks) == vocabulary_dtypes(listed) == {"bf16"}
    # So do engines where nobody lists it; where another format is asked for, all of it is in it.
    assert vocabulary_dtypes({"quant_method": "fp8"}) == {"bf16"}
    assert vocabulary_dtypes(blocks, weight_dtype="int4") == {"int4"}


@pytest.mark.parametrize("stated", [[0, 128], ["128", 128], [128.5, 128], [True, 128], "wide"])
def test_a_block_that_is_none_is_refused(tmp_path, stated):
    quantised = {"quant_method": "fp8", "weight_block_size": stated}
    fields = mixed(LLAMA, quantization_config=quantised)
    said = refusal(written(tmp_path, json.dumps(fields)))
    assert "weight_block_size must be whole numbers" in said


def test_the_published_format_may_stand_in_the_text_part(tmp_path):
    nested = {"text_config": mixed(LLAMA, quantization_config={"quant_method": "fp8"})}
    assert graph_of(tmp_path, nested).weight_dtype == "fp8"


def test_a_method_that_is_not_read_is_refused_unless_a_format_is_asked_for(tmp_path):
    fields = mixed(LLAMA, quantization_config={"quant_method": "riddle", "bits": 3})
    assert "quant_method" in refusal(written(tmp_path, json.dumps(fields)))
    assert graph_of(tmp_path, fields, weight_dtype="int4").weight_dtype == "int4"


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key", ["num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"]
)
def test_a_missing_key_is_named(tmp_path, key):
    path = written(
        tmp_path, json.dumps({name: value for name, value in LLAMA.items() if name != key})
    )
    sentence = refusal(path)
    assert str(path) in sentence
    assert key in sentence


def test_experts_need_the_number_of_active_ones(tmp_path):
    fields = mixed(LLAMA, num_local_experts=8)
    assert "num_experts_per_tok is missing" in refusal(written(tmp_path, json.dumps(fields)))


def test_latent_attention_needs_its_widths(tmp_path):
    key = "qk_nope_head_dim"
    latent = {"kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
    fields = {name: value for name, value in {**LLAMA, **latent}.items() if name != key}
    assert f"{key} is missing" in refusal(written(tmp_path, json.dumps(fields)))


@pytest.mark.parametrize("key", [key for key in LLAMA if key != "model_type"])
@pytest.mark.parametrize("wrong", [-1, "64", 64.0, True, [64], {"a": 64}, 10**12])
def test_a_number_that_is_none_is_refused_by_its_key(tmp_path, key, wrong):
    sentence = refusal(written(tmp_path, json.dumps({**LLAMA, key: wrong})))
    assert f"config.json: {key} must be a whole number" in sentence
    assert sentence.endswith(f", not {wrong!r}")


def test_no_heads_at_all_are_refused(tmp_path):
    assert "num_attention_heads" in refusal(
        written(tmp_path, json.dumps(mixed(LLAMA, num_attention_heads=0)))
    )


@pytest.mark.parametrize(
    "key", ["num_hidden_layers", "hidden_size", "num_key_value_heads", "vocab_size"]
)
def test_a_zero_is_refused_by_its_key(tmp_path, key):
    sentence = refusal(written(tmp_path, json.dumps({**LLAMA, key: 0})))
    assert key in sentence
    assert "config.json" in sentence


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_key_value_heads": 3}, "3 does not divide the 8 heads"),
        ({**EXPERTS, "num_experts_per_tok": 9}, "num_experts_per_tok must lie between 1 and the 8"),
        ({**EXPERTS, "mlp_only_layers": [9]}, "mlp_only_layers names layer 9; there are 4"),
        ({**EXPERTS, "moe_layer_freq": [0, 1]}, "moe_layer_freq has 2 entries; there must be 4"),
        ({**EXPERTS, "n_group": 3, "topk_group": 1}, "3 groups do not divide the 8 experts"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(tmp_path, changes, said):
    assert said in refusal(written(tmp_path, json.dumps({**LLAMA, **changes})))


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "mamba", "d_model": 64},
        {"model_type": "clip", "text_config": {"hidden_size": 64}},
        {"_class_name": "UNet2DConditionModel", "sample_size": 128},
        {"text_config": "a string"},
        {},
    ],
)
def test_what_is_no_decoder_is_refused(tmp_path, fields):
    assert "does not describe a decoder" in refusal(written(tmp_path, json.dumps(fields)))


@pytest.mark.parametrize("kind", ["albert", "electra", "deberta-v2", "modernbert", "bart"])
def test_an_encoder_of_another_make_is_refused(tmp_path, kind):
    said = refusal(written(tmp_path, json.dumps(mixed(LLAMA, model_type=kind))))
    assert "does not describe a decoder" in said
    assert "no num_hidden_layers" not in said


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"block_layers": [1, 2, 1, 2]}, "block_layers"),
        ({"attention_window_pattern": "LLLG"}, "attention_window_pattern"),
        ({"my_layer_kinds": ["a", "b", "a", "b"]}, "my_layer_kinds"),
        ({"num_memory_slots": 7}, "num_memory_slots"),
        ({"layer_types": ["full_attention", "wavelet"] * 2}, "layer_types[1] is 'wavelet'"),
        ({"sliding_window": 64, "sliding_window_pattern": "LLLL"}, "sliding_window_pattern"),
        ({"sliding_window": 64, "sliding_window_pattern": "LXLG"}, "sliding_window_pattern"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries; there must be 4"),
        ({"layer_types": ["linear_attention"] * 4}, "linear_num_value_heads"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings must be true or false"),
        ({**EXPERTS, "num_experts_per_tok": None, "top_k": 2}, "num_experts_per_tok is missing"),
        (
            {"model_type": "nemotron_h", "hybrid_override_pattern": "M-X*"},
            "'X' is not a kind of layer",
        ),
        ({"model_type": "jetmoe"}, "jetmoe is not supported"),
    ],
)
def test_what_may_say_how_layers_are_made_and_is_not_understood_is_refused(tmp_path, keys, named):
    fields = {key: value for key, value in {**LLAMA, **keys}.items() if value is not None}
    assert named in refusal(written(tmp_path, json.dumps(fields)))


def test_what_a_family_gives_by_default_is_said_where_it_matters(tmp_path):
    assert graph_of(tmp_path, mixed(LLAMA, model_type="qwen3", head_dim=8)).remarks == ()
    (said,) = graph_of(tmp_path, mixed(LLAMA, model_type="mistral")).remarks
    assert (
        said == "missing in the config, and taken from the defaults of mistral: sliding_window 4096"
    )


def test_a_family_that_is_not_known_is_read_by_its_keys_and_says_so(tmp_path):
    graph = graph_of(tmp_path, mixed(LLAMA, model_type="newcomer"))
    assert graph.layers == graph_of(tmp_path, LLAMA).layers
    assert graph.remarks == (
        "model_type 'newcomer' is not known: the model is read as a decoder with gated"
        " feed-forward layers and an output head of its own",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not valid JSON"),
        (json.dumps(LLAMA)[:-20], "is it truncated?"),
        ("[1, 2]", "must hold a JSON object; it holds list"),
        (b"\xff\xfe{}", "is not text"),
        (
            '{"num_hidden_layers": 2, "hidden_size": NaN}',
            "hidden_size must be a whole number, not nan",
        ),
    ],
)
def test_a_broken_file_is_refused_by_its_name(tmp_path, content, said):
    path = written(tmp_path, content)
    sentence = refusal(path)
    assert sentence.startswith(str(path))
    assert said in sentence


def test_a_huge_file_is_not_opened(tmp_path):
    path = written(tmp_path, json.dumps(LLAMA))
    with path.open("r+b") as stream:
        stream.truncate(100 * CONFIG_BYTES)
    assert "has 800 MiB; a config.json has at most 8" in refusal(path)


def test_a_folder_without_a_config_says_which_file_is_missing(tmp_path):
    sentence = refusal(tmp_path)
    assert str(tmp_path / "config.json") in sentence
    assert "No such file" in sentence


# ── As transformers ──────────────────────────────────────────────────────────────────────────────

COUNTED = json.loads((CONFIGS[0].parent.parent / "config_parameters.json").read_text("utf-8"))
"""Small configs, varied at random, and the parameters of the model that transformers 5.24 makes of
each on the meta device, with the keys that it leaves to its defaults and without."""


@pytest.mark.slow
@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case["about"])
def test_a_small_config_has_the_parameters_that_transformers_counts(tmp_path, case):
    counted = graph_of(tmp_path, case["fields"]).parameters
    assert counted == pytest.approx(case["parameters"], rel=1e-3)


# ── Of families that are not known ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "keys",
    [
        {"d_intermediate": 300},
        {"layout": "ABAB"},
        {"backbone": "mamba2"},
        {"skip_list": [1, 2]},
        {"cla_factor": 2},
        {"recursion": 2},
        {"mqa": True},
        {"gated_mlp": False},
        {"ffn_multiplier": 2},
        {"attn_ratio": 0.25},
        {"hc_mult": 4},
        {"encoder_layers": 6},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_of_a_family_that_is_not_known_any_count_may_say_something(tmp_path, keys):
    said = refusal(written(tmp_path, json.dumps({**LLAMA, "model_type": "newcomer", **keys})))
    assert f"{next(iter(keys))} is not a known key" in said


def test_two_names_of_one_thing_may_not_differ_where_no_family_says_which_counts(tmp_path):
    fields = {**LLAMA, "model_type": "newcomer", "d_ff": 256}
    said = refusal(written(tmp_path, json.dumps(fields)))
    assert "intermediate_size and d_ff mean the same" in said
    fields["d_ff"] = fields["intermediate_size"]
    assert graph_of(tmp_path, fields).parameters == graph_of(tmp_path, LLAMA).parameters


def test_a_family_may_be_spelled_otherwise(tmp_path):
    fields = {**LLAMA, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2}
    dashed = graph_of(tmp_path, {**fields, "model_type": "GPT-OSS", "sliding_window": 16})
    known = graph_of(tmp_path, {**fields, "model_type": "gpt_oss", "sliding_window": 16})
    assert dashed.layers == known.layers


@pytest.mark.parametrize("kind", [["llama"], 5])
def test_a_model_type_is_a_word(tmp_path, kind):
    said = refusal(written(tmp_path, json.dumps({**LLAMA, "model_type": kind})))
    assert "model_type must be a word" in said


# ── Two text parts ───────────────────────────────────────────────────────────────────────────────


def test_two_text_parts_must_be_alike(tmp_path):
    other = {**LLAMA, "num_hidden_layers": 8}
    said = refusal(written(tmp_path, json.dumps({"text_config": LLAMA, "llm_config": other})))
    assert "num_hidden_layers is 4 in text_config and 8 in llm_config" in said
    said = refusal(written(tmp_path, json.dumps({**other, "text_config": LLAMA})))
    assert "num_hidden_layers is 4 in text_config and 8 in the file itself" in said
    alike = graph_of(tmp_path, {"text_config": LLAMA, "llm_config": LLAMA})
    assert alike.layers == graph_of(tmp_path, LLAMA).layers


def test_an_empty_text_part_beside_sizes_says_nothing(tmp_path):
    plain = graph_of(tmp_path, LLAMA)
    assert graph_of(tmp_path, {**LLAMA, "text_config": {}}).layers == plain.layers


# ── Files that no model has ──────────────────────────────────────────────────────────────────────


def test_layers_of_more_kinds_than_any_model_has_are_refused(tmp_path):
    many = {**LLAMA, "num_hidden_layers": 2000, "intermediate_size": list(range(1, 2001))}
    assert "of more than 1,000 kinds" in refusal(written(tmp_path, json.dumps(many)))
    rows = [{"ffn": {"intermediate_size": number + 1}} for number in range(2000)]
    searched = {**LLAMA, "num_hidden_layers": 2000, "block_configs": rows}
    assert "of more than 1,000 kinds" in refusal(written(tmp_path, json.dumps(searched)))


def test_more_keys_than_any_config_has_are_refused(tmp_path):
    many = LLAMA | {f"x_token_id_{number}": 1 for number in range(10_001)}
    assert "at most 10,000 are read" in refusal(written(tmp_path, json.dumps(many)))
    long = LLAMA | {"a_" * 100: 3}
    assert "too long for a key" in refusal(written(tmp_path, json.dumps(long)))
