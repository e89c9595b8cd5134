"""How published checkpoints are stored, by what their files say: bytes counted by hand, and what
holds of all files."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalogue import load_model
from planner.errors import InputError
from planner.models.storage import PLAIN
from planner.readers.quantisation import PublishedStorage, published_storage
from tests.running.models import config_of

HIDDEN = 3072
KV = 1024
FFN = 9216
VOCABULARY = 60_000
LAYERS = 20
LLAMA = {
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "tie_word_embeddings": False,
}
ATTENTION = {
    "self_attn.q_proj": HIDDEN * HIDDEN,
    "self_attn.k_proj": HIDDEN * KV,
    "self_attn.v_proj": HIDDEN * KV,
    "self_attn.o_proj": HIDDEN * HIDDEN,
}
DENSE = {f"mlp.{name}_proj": HIDDEN * FFN for name in ("gate", "up", "down")}
LINEARS = (*ATTENTION, *DENSE)
MOE = LLAMA | {"model_type": "qwen3_moe", "num_experts": 64}
ROUTED = tuple(f"mlp.experts.{name}_proj" for name in ("gate", "up", "down"))
SHARED = tuple(f"mlp.shared_experts.{name}_proj" for name in ("gate", "up", "down"))


def read(quantised=None, sidecar=None, model=LLAMA, **fields) -> PublishedStorage:
    stated = {} if quantised is None else {"quantization_config": quantised}
    return published_storage({**model, **stated, **fields}, sidecar, "config.json")


def bits(storage, module, layer=3):
    return storage.of(f"layers.{layer}.{module}").bits_per_weight


def gigabytes(storage) -> float:
    """Of a Llama's matrices, without its norms."""
    total = 0.0
    for layer in range(LAYERS):
        for name, weights in (ATTENTION | DENSE).items():
            total += weights * storage.of(f"layers.{layer}.{name}").bits_per_weight / 8
    for end in ("embed_tokens", "lm_head"):
        total += VOCABULARY * HIDDEN * storage.of(end).bits_per_weight / 8
    return total / 1e9


GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}


def group(targets, bits, kind="int", size=None, **more):
    weights = {"num_bits": bits, "type": kind, "symmetric": True} | more
    return {"targets": targets, "weights": weights | ({"group_size": size} if size else {})}


def compressed(*groups, ignore=("lm_head",), **more):
    named = {f"group_{number}": one for number, one in enumerate(groups)}
    return {
        "quant_method": "compressed-tensors",
        "config_groups": named,
        "ignore": list(ignore),
    } | more


# All matrices of the layers: 20 × 110,100,480 weights; the ends: 2 × 184,320,000 at 16 bit.
@pytest.mark.parametrize(
    ("quantised", "right_gb"),
    [
        # 4 bits, a 16-bit scale and a 4-bit zero point for 128; 32 bits for each of 3072 inputs.
        (GPTQ, 20 * 0.11010048 * (4.15625 + 32 / 3072) / 8 + 0.73728),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 1.8812928),
        # Two bits more for each 16.
        (
            GPTQ | {"bits": 3, "group_size": 32},
            20 * 0.11010048 * (3 + 19 / 32 + 32 / 3072) / 8 + 0.73728,
        ),
        (FP8, 20 * 0.11010048 + 0.73728),
        ({"quant_method": "fp8"}, 20 * 0.11010048 + 0.73728),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            20 * 0.11010048 * 4.5 / 8 + 0.73728,
        ),
        # Half of the layers' weights but the attention's: only the feed-forward is quantised.
        (
            compressed(group(["Linear"], 4, size=32), ignore=["lm_head", "re:.*self_attn.*"]),
            20 * (0.025165824 * 16 + 0.084934656 * 4.5) / 8 + 0.73728,
        ),
        (
            compressed(
                group(["re:.*down_proj"], 8, "float"),
                group(["re:.*(q|k|v|o|gate|up)_proj"], 4, size=128),
                format="mixed-precision",
            ),
            20 * (0.028311552 * 8 + 0.081788928 * 4.125) / 8 + 0.73728,
        ),
    ],
)
def test_bytes_are_those_counted_by_hand(quantised, right_gb):
    assert gigabytes(read(quantised)) == pytest.approx(right_gb, rel=1e-9)


def test_bytes_are_those_of_public_reports():
    assert gigabytes(read(GPTQ)) == pytest.approx(1.8812928, rel=0.002)
    mlx = read(quantization={"group_size": 64, "bits": 4})
    assert gigabytes(mlx) == pytest.approx(1.4459904)
    sidecar = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    assert gigabytes(read(sidecar=sidecar)) == pytest.approx(2.9392896)


def test_experts_of_another_format_beside_8_bit_floats():
    storage = read(FP8, model=MOE, expert_dtype="fp4")
    assert {bits(storage, name) for name in ROUTED} == {4.25}
    assert {bits(storage, name) for name in (*ATTENTION, *SHARED)} == {8.0}
    assert storage.of("embed_tokens") == storage.of("lm_head") == PLAIN
    assert storage.of("layers.3.mlp.gate") == PLAIN
    assert storage.weight_dtype == "mxfp4"
    assert storage.weight_block is None
    assert read(FP8, model=MOE).weight_block == 128


@pytest.mark.parametrize("quantised", [None, {}])
def test_what_nobody_has_quantised_is_plain(quantised):
    storage = read(quantised)
    assert storage.is_plain
    assert storage.weight_dtype == "bf16"
    assert storage.kv_dtype is None
    assert not storage.remarks
    assert all(storage.of(f"layers.0.{name}") == PLAIN for name in LINEARS)


def test_32_bit_weights_are_priced_as_16_with_a_remark():
    for key in ("torch_dtype", "dtype"):
        storage = read(**{key: "float32"})
        assert storage.is_plain
        assert storage.weight_dtype == "bf16"
        assert "priced as bf16" in storage.remarks[0]
    assert not read(torch_dtype="float16").remarks


def test_weights_that_are_asked_for_by_format_are_not_said_to_be_priced_in_another(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_of(torch_dtype="float32")), encoding="utf-8")
    assert "priced as bf16" in str(load_model(path).remarks)
    assert load_model(path, weight_dtype="fp32").remarks == ()
    assert load_model(path, weight_dtype="fp32").weight_dtype == "fp32"


def test_the_table_may_lie_in_the_text_part_or_bear_an_older_name():
    wanted = gigabytes(read(GPTQ))
    nested = published_storage(LLAMA | {"text_config": {"quantization_config": GPTQ}}, None, "c")
    assert gigabytes(nested) == wanted
    scheme = compressed(group(["Linear"], 4, size=128))
    del scheme["quant_method"]
    for stated in (scheme, {"quantization_config": scheme}):
        older = published_storage(LLAMA | {"compression_config": stated}, None, "c")
        assert bits(older, "self_attn.q_proj") == 4.125


def test_the_config_goes_before_the_file_beside_it_which_may_know_the_cache():
    sidecar = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    storage = read(FP8, sidecar)
    assert storage.weight_dtype == "fp8"
    assert storage.kv_dtype == "fp8"
    assert read(sidecar=sidecar).weight_dtype == "nvfp4"


@pytest.mark.parametrize(
    ("quantised", "named"),
    [
        ({"quant_method": "aqlm"}, "quant_method"),
        ({"quant_method": "vptq"}, "quant_method"),
        ({"quant_method": "something-new", "bits": 4}, "quant_method"),
        ({"quant_method": 4}, "quant_method"),
        ({"foo": 1}, "quant_method is missing"),
        ("fp8", "quantization_config"),
        (GPTQ | {"bits": 7}, "bits"),
        (GPTQ | {"bits": True}, "bits"),
        (GPTQ | {"bits": "4"}, "bits"),
        (GPTQ | {"group_size": 0}, "group_size"),
        (GPTQ | {"group_size": -2}, "group_size"),
        (GPTQ | {"group_size": 100.5}, "group_size"),
        (GPTQ | {"desc_act": "false"}, "desc_act"),
        (GPTQ | {"sym": "yes"}, "sym"),
        (GPTQ | {"dynamic": ["x"]}, "dynamic"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": "true"}, "load_in_4bit"),
        ({"quant_method": "bitsandbytes"}, "load_in_4bit"),
        ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "weight_block_size"),
        ({"quant_method": "fp8", "modules_to_not_convert": "lm_head"}, "modules_to_not_convert"),
        (compressed(group(["Linear"], 4, "letters")), "type"),
        (compressed(group(["Linear"], 4, strategy="group")), "group_size"),
        (compressed(group(["Linear"], 4), ignore=["re:(a"]), "ignore"),
        ({"quant_method": "modelopt", "quant_algo": "W3A3"}, "quant_algo"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "quantized_layers"),
    ],
)
def test_what_is_not_read_is_refused_by_its_field(quantised, named):
    with pytest.raises(InputError, match="weight_dtype") as refused:
        read(quantised)
    assert named in str(refused.value)
    assert str(refused.value).startswith("config.json")


def test_a_tied_head_is_the_embedding():
    tied = LLAMA | {"tie_word_embeddings": True}
    scheme = compressed(group(["Linear"], 8, "float"), ignore=[])
    assert read(scheme).of("lm_head").dtype == "fp8"
    assert read(scheme, model=tied).of("lm_head") == PLAIN
    mlx = {"group_size": 64, "bits": 8}
    assert read(model=tied, quantization=mlx).of("lm_head").bits_per_weight == 8.5


# What holds of all lists.

PREFIXES = ("", "model.", "model.language_model.", "language_model.model.", "backbone.")
SPELLINGS = {
    "self_attn.q_proj": ("self_attn.q_proj", "attn.q_proj", "mixer.q_proj", "self_attn.qkv_proj"),
    "self_attn.o_proj": ("self_attn.o_proj", "attention.wo", "self_attention.dense"),
    "mlp.down_proj": ("mlp.down_proj", "feed_forward.w2", "ffn.down_proj", "mlp.fc2"),
    "mlp.up_proj": ("mlp.up_proj", "mlp.gate_up_proj", "feed_forward.w3"),
    "mlp.experts.gate_proj": (
        *("mlp.experts.gate_up_proj", "block_sparse_moe.experts.*.w1", "mlp.experts"),
        *("mixer.experts", "feed_forward.experts", "mlp.switch_mlp.gate_proj", "experts"),
    ),
    "mlp.shared_experts.up_proj": ("mlp.shared_expert.up_proj", "ffn.shared_experts"),
    "linear_attn.in_proj": ("linear_attn.in_proj_qkvz", "mixer.in_proj", "linear_attn"),
}
SPELLED = [(module, name) for module, names in SPELLINGS.items() for name in names]


def as_written(style, prefix, layer, name):
    if style == "name":
        return f"{prefix}layers.{layer}.{name}"
    if style == "glob":
        return f"{prefix}layers.{layer}.{name}*"
    escaped = f"{prefix}layers.{layer}.{name}".replace(".", r"\.").replace("*", r"\d+")
    return f"re:.*{escaped}.*" if style == "search" else rf"re:{escaped}(\..*)?$"


@pytest.mark.slow
@given(
    spelled=st.sampled_from(SPELLED),
    prefix=st.sampled_from(PREFIXES),
    style=st.sampled_from(("name", "glob", "expression", "search")),
    layer=st.integers(0, LAYERS - 1),
)
def test_what_a_list_ignores_stays_at_16_bit_in_every_spelling(spelled, prefix, style, layer):
    module, name = spelled
    written = as_written(style, prefix, layer, name)
    if style == "name" and "*" in name:
        written = written.replace("*", "0")
    model = MOE | {"num_experts": 1}
    storage = read(compressed(group(["Linear"], 4, size=128), ignore=[written]), model=model)
    assert storage.of(f"layers.{layer}.{module}") == PLAIN, written
    other = (layer + 1) % LAYERS
    assert bits(storage, module, other) == 4.125, written
    assert not storage.remarks


@pytest.mark.slow
@given(seed=st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(seed):
    def shuffled(value):
        if not isinstance(value, dict):
            return value
        keys = list(value)
        seed.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    stated = [
        compressed(
            group(["Linear"], 4, size=128),
            group(["re:.*down_proj"], 8, "float"),
            ignore=["lm_head", "re:.*layers\\.3\\..*"],
        ),
        GPTQ | {"dynamic": {"-:.*q_proj": {}, "+:.*down_proj": {"bits": 8}}},
        {"bits": 4, "group_size": 64, "model.layers.3.mlp.down_proj": {"bits": 8}},
    ]
    for quantised in stated:
        one = read(quantised)
        other = read(shuffled(quantised))
        names = [f"layers.{layer}.{name}" for layer in (2, 3) for name in LINEARS]
        assert [one.of(name) for name in names] == [other.of(name) for name in names]
        assert one.remarks == other.remarks


WORDS = st.sampled_from(
    [
        *("gptq", "awq", "fp8", "modelopt", "compressed-tensors", "quark", "torchao", "hqq", "mlx"),
        *("bitsandbytes", "auto-round", "mxfp4", "exl2", "bitnet", "NVFP4", "FP8", "int", "float"),
        *("re:(a+)+$", "re:.*", "*", "lm_head", "model.layers.0", "group", "MIXED_PRECISION"),
    ]
)
KEYS = st.sampled_from(
    [
        *("quant_method", "bits", "group_size", "sym", "dynamic", "weights", "num_bits", "type"),
        *("config_groups", "targets", "ignore", "strategy", "quant_algo", "quantized_layers"),
        *("exclude_modules", "kv_cache_scheme", "mode", "quant_type", "default", "_type", "_data"),
        *("quant_config", "weight_quant_params", "global_quant_config", "weight", "dtype"),
        *("layer_quant_config", "weight_block_size", "modules_to_not_convert", "load_in_4bit"),
        *("extra_config", "expert_dtype", "quantization", "quantization_config", "producer"),
    ]
)
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-2, 300), st.floats(allow_nan=False), WORDS),
    st.text(max_size=5),
)
GARBAGE = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=15,
)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    quantised=GARBAGE,
    method=st.none() | WORDS,
    sidecar=st.none() | st.dictionaries(KEYS, GARBAGE, max_size=4),
    expert=GARBAGE,
)
def test_garbage_is_read_or_refused_in_a_sentence(quantised, method, sidecar, expert):
    if isinstance(quantised, dict) and method is not None:
        quantised = {"quant_method": method} | quantised
    try:
        storage = read(quantised, sidecar, model=MOE, expert_dtype=expert)
    except InputError as error:
        said = str(error)
        storage = None
    if storage is None:
        assert "config.json" in said
        assert "\n" not in said
        assert len(said) < 600
        return
    for name in (*LINEARS, *ROUTED, *SHARED, "mlp.gate"):
        assert 0 < bits(storage, name) <= 32
    assert storage.of("embed_tokens").bits_per_weight <= 16
    assert json.dumps(storage.remarks)
    assert storage.weight_dtype
