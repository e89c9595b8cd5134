"""How a checkpoint stores its modules: exact bits of a weight, and what is left over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.models.storage import Storage, Stored
from planner.readers.tensors.gguf_file import TYPES
from planner.readers.tensors.inventory import STORED_AS, Inventory, InventoryStorage, Tensor
from planner.readers.tensors.names import MTP
from planner.readers.tensors.safetensors_file import BITS_OF
from tests.written import BLOCKS, count_of, hugging_face_tensors, llama_tensors

AT = "model.layers.0.mlp.up_proj"
UP = "layers.0.mlp.up_proj"


def inventory_of(*tensors, **more):
    """Of (name, dtype, shape), as safetensors files call them."""
    made = [
        Tensor(name, shape, dtype, count_of(shape) * BITS_OF[dtype] // 8)
        for name, dtype, shape in tensors
    ]
    return Inventory(tuple(made), **more)


def gguf_inventory(tensors):
    made = []
    for name, axes, kind in tensors:
        _, values, size = BLOCKS[kind]
        made.append(Tensor(name, axes[::-1], kind, count_of(axes) // values * size))
    return Inventory(tuple(made))


def stored(*parts, stem=AT, module=UP, **more):
    inventory = inventory_of(*[(f"{stem}.{part}", dtype, shape) for part, dtype, shape in parts])
    return InventoryStorage(inventory, 1, **more).of(module)


# A matrix of 1024 outputs and 512 inputs, 524,288 weights, in every scheme: its bits by hand.
SCHEMES = {
    "bf16": ([("weight", "BF16", (1024, 512))], "bf16", 16),
    "fp32": ([("weight", "F32", (1024, 512))], "fp32", 32),
    # fp8 with a 32-bit scale for 128 × 128: 32 / 16384
    "fp8 in blocks": (
        [("weight", "F8_E4M3", (1024, 512)), ("weight_scale_inv", "F32", (8, 4))],
        "fp8", 8 + 32 / 16384,
    ),
    # a scale for the matrix and one for its inputs
    "fp8": (
        [("weight", "F8_E4M3", (1024, 512)), ("weight_scale", "F32", ()), ("input_scale", "F32", ())],
        "fp8", 8 + 64 / 524288,
    ),
    "int8": (
        [("weight", "I8", (1024, 512)), ("weight_scale", "BF16", (1024, 1))],
        "int8", 8 + 16 / 512,
    ),
    # GPTQ: groups of 128 inputs with a 16-bit scale and a 4-bit zero; an index of each input
    "gptq": (
        [("qweight", "I32", (64, 1024)), ("qzeros", "I32", (4, 128)), ("scales", "F16", (4, 1024)),
         ("g_idx", "I32", (512,))],
        "int4", 4 + (16 + 4) / 128 + 32 / 1024,
    ),
    "gptq of 3 bits": (
        [("qweight", "I32", (48, 1024)), ("qzeros", "I32", (4, 96)), ("scales", "F16", (4, 1024))],
        "int3", 3 + (16 + 3) / 128,
    ),
    "gptq without zeros": (
        [("qweight", "I32", (128, 1024)), ("scales", "F16", (4, 1024)), ("g_idx", "I32", (512,))],
        "int8", 8 + 16 / 128 + 32 / 1024,
    ),
    "awq": (
        [("qweight", "I32", (512, 128)), ("qzeros", "I32", (4, 128)), ("scales", "F16", (4, 1024))],
        "int4", 4 + (16 + 4) / 128,
    ),
    "packed with zero points": (
        [("weight_packed", "I32", (1024, 64)), ("weight_scale", "BF16", (1024, 4)),
         ("weight_zero_point", "I32", (128, 4)), ("weight_shape", "I64", (2,))],
        "int4", 4 + (16 + 4) / 128 + 128 / 524288,
    ),
    # a byte as scale for 16, and two figures for the whole
    "nvfp4": (
        [("weight", "U8", (1024, 256)), ("weight_scale", "F8_E4M3", (1024, 32)),
         ("weight_scale_2", "F32", ()), ("input_scale", "F32", ())],
        "nvfp4", 4.5 + 64 / 524288,
    ),
    "nvfp4 packed": (
        [("weight_packed", "U8", (1024, 256)), ("weight_scale", "F8_E4M3", (1024, 32)),
         ("weight_global_scale", "F32", (1,))],
        "nvfp4", 4.5 + 32 / 524288,
    ),
    "mxfp4": (
        [("blocks", "U8", (1024, 16, 16)), ("scales", "U8", (1024, 16))],
        "mxfp4", 4.25,
    ),
    "mxfp4 packed": (
        [("weight", "U8", (1024, 256)), ("weight_scale", "U8", (1024, 16))],
        "mxfp4", 4.25,
    ),
    "mxfp4 of mlx": (
        [("weight", "U32", (1024, 64)), ("scales", "U8", (1024, 16))],
        "mxfp4", 4.25,
    ),
    "nvfp4 of mlx": (
        [("weight", "U32", (1024, 64)), ("scales", "U8", (1024, 32))],
        "nvfp4", 4.5,
    ),
    # bitsandbytes: a 32-bit scale for 64, a table of 16 figures, and how to read it
    "nf4": (
        [("weight", "U8", (262144, 1)), ("weight.absmax", "F32", (8192,)),
         ("weight.quant_map", "F32", (16,)), ("weight.quant_state.bitsandbytes__nf4", "U8", (90,))],
        "int4", 4 + 32 / 64 + (16 * 32 + 90 * 8) / 524288,
    ),
    "llm.int8": ([("weight", "I8", (1024, 512)), ("SCB", "F32", (1024,))], "int8", 8 + 32 / 512),
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bits_of_a_weight_are_all_bytes_over_all_weights(scheme):
    parts, dtype, bits = SCHEMES[scheme]
    found = stored(*parts)
    assert found.dtype == dtype
    assert found.bits_per_weight == pytest.approx(bits, rel=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_biases_are_no_weights(scheme):
    parts, _, _ = SCHEMES[scheme]
    assert stored(*parts, ("bias", "BF16", (1024,))) == stored(*parts)


MLX = [("weight", "U32", (1024, 64)), ("scales", "F16", (1024, 8)), ("biases", "F16", (1024, 8))]
PACKED = [("weight_packed", "I32", (1024, 64)), ("weight_scale", "BF16", (1024, 4))]


@pytest.mark.parametrize(("parts", "share"), [(MLX, 32 / 64), (PACKED, 16 / 128)])
def test_bits_that_no_tensor_tells_come_from_the_config_or_the_model(parts, share):
    for more in ({"packed_bits": 4}, {"expected_parameters": lambda module: 1024 * 512.0}):
        found = stored(*parts, **more)
        assert found.dtype == "int4"
        assert found.bits_per_weight == pytest.approx(4 + share)
    # As many bytes are eight bits of half as many weights.
    found = stored(*parts, packed_bits=8)
    assert found.dtype == "int8"
    assert found.bits_per_weight == pytest.approx(8 + 2 * share)
    assert stored(*parts) == Stored(dtype="int4", activation_dtype="bf16")


def test_packed_integers_are_multiplied_as_they_were_before():
    assert stored(*SCHEMES["gptq without zeros"][0]).compute_dtype == "bf16"
    assert stored(*SCHEMES["int8"][0]).compute_dtype == "int8"
    assert stored(*SCHEMES["mxfp4 of mlx"][0]).activation_dtype is None


def test_a_fused_matrix_stands_for_all_its_modules():
    tensors = [("model.layers.0.self_attn.qkv_proj.weight", "F8_E4M3", (512, 256)),
               ("model.layers.0.self_attn.qkv_proj.weight_scale", "F32", (512, 1))]  # fmt: skip
    storage = InventoryStorage(inventory_of(*tensors), 1)
    found = [storage.of(f"layers.0.self_attn.{one}_proj") for one in "qkv"]
    assert found[0] == found[1] == found[2]
    assert found[0].bits_per_weight == 8 + 32 / 256


def test_the_matrices_of_all_experts_are_one_module():
    tensors = []
    for number in range(4):
        at = f"model.layers.0.mlp.experts.{number}.up_proj"
        tensors += [
            (f"{at}.weight_packed", "I32", (64, 8)),
            (f"{at}.weight_scale", "BF16", (64, 2)),
        ]
    storage = InventoryStorage(
        inventory_of(*tensors), 1, expected_parameters=lambda module: 4 * 64 * 64.0
    )
    found = storage.of("layers.0.mlp.experts.up_proj")
    assert found.dtype == "int4"
    assert found.bits_per_weight == 4 + 16 * 2 / 64


def test_experts_in_two_formats_are_their_mean():
    tensors = [
        ("model.layers.0.mlp.experts.0.up_proj.weight", "BF16", (64, 64)),
        ("model.layers.0.mlp.experts.1.up_proj.weight", "F8_E4M3", (64, 64)),
    ]
    found = InventoryStorage(inventory_of(*tensors), 1).of("layers.0.mlp.experts.up_proj")
    assert found.dtype == "bf16"
    assert found.bits_per_weight == 12


def test_more_bits_than_any_format_has_are_refused():
    with pytest.raises(InputError, match="no format has more than 64 bits a weight"):
        stored(*MLX, expected_parameters=lambda module: 100.0)


def test_a_module_without_a_tensor_is_stored_as_most_are():
    storage = InventoryStorage(inventory_of(*hugging_face_tensors(dtype="F16")), 2)
    assert storage.of("layers.9.mlp.up_proj") == Stored(dtype="fp16")
    assert storage.weight_dtype == "fp16"
    assert InventoryStorage(inventory_of(), 2).of("lm_head") == Stored(dtype="bf16")


def test_a_head_without_a_tensor_is_the_embeddings():
    storage = InventoryStorage(gguf_inventory(llama_tensors()), 2)
    assert storage.of("lm_head") == Stored(dtype="q6_k", stated_bits_per_weight=6.5625)


def test_blocks_are_found_where_most_weights_have_them():
    parts = [("weight", "F8_E4M3", (7168, 2048)), ("weight_scale_inv", "F32", (56, 16))]
    tensors = [(f"{AT}.{part}", dtype, shape) for part, dtype, shape in parts]
    storage: Storage = InventoryStorage(inventory_of(*tensors), 1)
    assert storage.weight_block == 128
    assert storage.weight_dtype == "fp8"
    # A last block may be partly filled; rows that each have a scale are no blocks.
    odd = [(f"{AT}.weight", "F8_E4M3", (576, 100)), (f"{AT}.weight_scale_inv", "F32", (5, 1))]
    assert InventoryStorage(inventory_of(*odd), 1).weight_block == 128
    rows = [(f"{AT}.weight", "F8_E4M3", (576, 7168)), (f"{AT}.weight_scale", "F32", (576, 1))]
    assert InventoryStorage(inventory_of(*rows), 1).weight_block is None


@pytest.mark.parametrize("kind", sorted(set(BLOCKS) - {"I16", "I32", "I64"}))
def test_every_type_of_ggml_has_its_bits(kind):
    name, values, size = TYPES[BLOCKS[kind][0]]
    inventory = gguf_inventory([("blk.0.ffn_gate.weight", (512, 64), name)])
    found = InventoryStorage(inventory, 1).of("layers.0.mlp.gate_proj")
    assert found.dtype == STORED_AS[name]
    assert found.bits_per_weight == 8 * size / values


def test_names_of_llama_cpp_are_settled_by_their_neighbours():
    tensors = [
        ("blk.0.attn_qkv.weight", (64, 256), "Q8_0"), ("blk.0.attn_gate.weight", (64, 64), "Q8_0"),
        ("blk.0.ssm_out.weight", (64, 64), "F16"), ("blk.0.ffn_up.weight", (64, 256), "F16"),
        ("blk.1.attn_qkv.weight", (64, 256), "Q8_0"), ("blk.1.ffn_up.weight", (64, 256), "Q8_0"),
        ("blk.1.ffn_gate.weight", (64, 256), "F16"),
    ]  # fmt: skip
    storage = InventoryStorage(gguf_inventory(tensors), 2)
    assert set(storage.modules) == {
        "layers.0.linear_attn.in_proj", "layers.0.linear_attn.out_proj", "layers.0.mlp.gate_proj",
        "layers.0.mlp.up_proj", "layers.1.self_attn.q_proj", "layers.1.self_attn.k_proj",
        "layers.1.self_attn.v_proj", "layers.1.mlp.gate_proj", "layers.1.mlp.up_proj",
    }  # fmt: skip
    assert storage.of("layers.0.mlp.gate_proj").dtype == "fp16"
    assert storage.of("layers.1.mlp.up_proj").dtype == "q8_0"
    assert storage.beside_bytes == {}


def modules_of_llama(layers=2):
    """Of the model that `tests.written` writes, with the weights of each."""
    made = {"embed_tokens": 96 * 256.0, "lm_head": 96 * 256.0}
    for number in range(layers):
        at = f"layers.{number}"
        made |= {f"{at}.self_attn.{one}_proj": 256 * 256.0 for one in "qo"}
        made |= {f"{at}.self_attn.{one}_proj": 128 * 256.0 for one in "kv"}
        made |= {f"{at}.mlp.{one}_proj": 512 * 256.0 for one in ("gate", "up", "down")}
    return made


def test_a_checkpoint_that_is_its_model_has_no_remarks():
    inventory = inventory_of(*hugging_face_tensors())
    assert InventoryStorage(inventory, 2).check_against(modules_of_llama()) == []
    modules = modules_of_llama()
    del modules["lm_head"]
    assert InventoryStorage(gguf_inventory(llama_tensors()), 2).check_against(modules) == []


def test_what_belongs_to_no_module_is_told_in_one_line():
    tensors = [
        *hugging_face_tensors(),
        ("vision_tower.encoder.layers.0.fc1.weight", "BF16", (1000, 500_000)),
        ("multi_modal_projector.linear_1.weight", "BF16", (1000, 50_000)),
        ("model.layers.0.cross_attn.q_proj.weight", "BF16", (1000, 1000)),
        ("model.layers.0.odd_vector", "BF16", (1000,)),
    ]
    storage = InventoryStorage(inventory_of(*tensors), 2)
    assert storage.check_against(modules_of_llama()) == [
        "1.1 GB of tensors belong to no module: vision 1 GB, projector 0.1 GB and other, such as"
        " model.layers.0.cross_attn.q_proj.weight, 0.002 GB"
    ]


def test_layers_beyond_the_models_own_predict_later_tokens():
    tensors = hugging_face_tensors(3)
    storage = InventoryStorage(inventory_of(*tensors), 2)
    extra = 2 * sum(count_of(shape) for name, _, shape in tensors if ".layers.2." in name)
    assert storage.beside_bytes == {MTP: extra}
    assert storage.check_against(modules_of_llama()) == [
        f"{extra / 1e9:.3g} GB of tensors predict later tokens (layers from 2 on and the like);"
        " they are no part of the model's own layers"
    ]


def test_modules_without_a_tensor_are_told():
    tensors = hugging_face_tensors(1)
    told = InventoryStorage(inventory_of(*tensors), 3).check_against(modules_of_llama(2))
    assert told == [
        "7 modules have no tensor: layers.1.self_attn.q_proj, layers.1.self_attn.o_proj and"
        " layers.1.self_attn.k_proj and more"
    ]
    named = [name for name, _, _ in hugging_face_tensors(2) if ".layers.1." in name]
    inventory = inventory_of(*tensors, unread=tuple(named), remarks=("a file is missing",))
    told = InventoryStorage(inventory, 2).check_against(modules_of_llama(2))
    assert told == ["a file is missing"]


def test_modules_with_other_than_their_weights_are_told():
    modules = modules_of_llama() | {"layers.1.mlp.up_proj": 512 * 300.0, "layers.0.mlp.new": 0.0}
    told = InventoryStorage(inventory_of(*hugging_face_tensors()), 2).check_against(modules)
    assert told == [
        "1 modules have another number of weights in the file than in the model: layers.1.mlp.up_proj"
        " (131072 for 153600)"
    ]


def test_modules_that_share_a_matrix_are_counted_together():
    tensors = [("model.layers.0.self_attn.qkv_proj.weight", "BF16", (512, 256))]
    storage = InventoryStorage(inventory_of(*tensors), 1)
    right = {
        f"layers.0.self_attn.{one}_proj": rows * 256.0
        for one, rows in zip("qkv", (256, 128, 128), strict=True)
    }
    assert storage.check_against(right) == []
    wrong = dict.fromkeys(right, 128 * 256.0)
    assert "(131072 for 98304)" in storage.check_against(wrong)[0]


NAMED = st.sampled_from(
    [
        "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "mtp.fc.weight",
        "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight_scale",
        "model.layers.1.self_attn.qkv_proj.qweight", "model.layers.1.self_attn.qkv_proj.scales",
        "model.layers.7.mlp.up_proj.weight", "visual.blocks.0.attn.qkv.weight", "who.knows",
        "model.layers.0.mlp.up_proj.bias", "model.layers.0.mlp.experts.3.w1.weight",
        "model.layers.0.odd.weight", "blk.0.ffn_up.weight", "blk.0.ssm_out.weight",
    ]
)  # fmt: skip


@pytest.mark.slow
@given(
    st.dictionaries(
        NAMED,
        st.tuples(st.sampled_from(sorted(BITS_OF)), st.lists(st.integers(0, 40), max_size=3)),
    )
)
def test_every_byte_is_counted_once(tensors):
    made = inventory_of(*[(name, dtype, tuple(shape)) for name, (dtype, shape) in tensors.items()])
    storage = InventoryStorage(made, 2)
    counted = storage.module_bytes + storage.small_bytes + sum(storage.beside_bytes.values())
    assert counted == made.total_bytes
    for module in storage.modules:
        try:
            assert 0 <= storage.of(module).bits_per_weight <= 64
        except InputError:
            assert storage.bytes_of(module) > 0
    assert all("\n" not in told for told in storage.check_against({UP: 10.0}))


def test_names_of_both_file_formats_that_are_alike_mean_the_same():
    for name in BLOCKS.keys() & BITS_OF.keys():
        _, values, size = BLOCKS[name]
        assert 8 * size // values == BITS_OF[name]


def stated_as(**of_module):
    class Said:
        weight_dtype = "nvfp4"
        weight_block = None

        def of(self, module):
            return Stored(**of_module)

    return Said()


def test_what_weights_are_multiplied_in_is_what_a_config_of_their_format_says():
    parts = [
        ("weight_packed", "U8", (1024, 256)), ("weight_scale", "F8_E4M3", (1024, 32)),
        ("weight_global_scale", "F32", (1,)),
    ]  # fmt: skip
    assert stored(*parts).compute_dtype == "nvfp4"
    said = stated_as(dtype="nvfp4", activation_dtype="bf16")
    assert stored(*parts, stated=said).compute_dtype == "bf16"
    other = stated_as(dtype="int4", activation_dtype="bf16")
    assert stored(*parts, stated=other).compute_dtype == "nvfp4"


def test_torchao_keeps_one_or_two_weights_in_a_byte():
    scale = ("_weight_scale", "BF16", (1024, 4))
    whole = stored(("_weight_qdata", "I8", (1024, 512)), scale, expected_parameters=lambda _: 2**19)
    assert (whole.dtype, whole.bits_per_weight) == ("int8", 8 + 16 / 128)
    half = stored(("_weight_qdata", "I8", (1024, 256)), scale, expected_parameters=lambda _: 2**19)
    assert (half.dtype, half.bits_per_weight) == ("int4", 4 + 16 / 128)


def test_eight_bit_floats_of_mlx_are_four_to_a_word():
    parts = [("weight", "U32", (1024, 128)), ("scales", "U8", (1024, 16))]
    assert (stored(*parts).dtype, stored(*parts).bits_per_weight) == ("fp8", 8.25)


def test_whole_numbers_of_modelopt_have_scales_that_are_no_powers_of_two():
    parts = [
        ("weight", "U8", (512, 512)), ("weight_scale", "F32", (1024, 4)),
        ("weight_scale_2", "F32", ()), ("pre_quant_scale", "BF16", (512,)),
    ]  # fmt: skip
    found = stored(*parts)
    assert found.dtype == "int4"
    held = 512 * 512 + 1024 * 4 * 4 + 4 + 512 * 2
    assert found.bits_per_weight == 8 * held / (1024 * 512)


def test_blocks_may_have_an_axis_of_one_after_each():
    parts = [("weight", "F8_E4M3", (512, 1536)), ("weight_scale", "F32", (4, 1, 12, 1))]
    inventory = inventory_of(*[(f"{AT}.{part}", dtype, shape) for part, dtype, shape in parts])
    assert InventoryStorage(inventory, 1).weight_block == 128
