"""What an engine's rules say of a plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.machines.engine import Engine
from planner.models.decoder import DecoderShape, Formats, decoder_graph
from planner.pricing.engines import block_fault, in_flight, rules_said, split_fault
from planner.pricing.price_list import Split
from tests.instances import tiny_software

RULES = {"like_stages": True, "micro_batches": "stages"}
BLOCKS = tiny_software(engine=Engine(**RULES, whole_blocks=True))
QWEN = DecoderShape(
    layers=2,
    hidden=4096,
    heads=64,
    kv_heads=4,
    head_dim=128,
    vocabulary=151936,
    experts=128,
    experts_active=8,
    expert_ffn=1536,
)


def in_blocks(block=128, weight_dtype="fp8", **changes):
    """Qwen3-235B-A22B with two layers, as its FP8 checkpoint has it."""
    formats = Formats(weight_dtype=weight_dtype, weight_block=block)
    return decoder_graph(QWEN.replace(**changes), "qwen", formats)


@pytest.mark.parametrize(
    ("micro_batches", "stages", "sequences", "expected"),
    [
        ("any", 4, 64, None),
        ("one", 4, 64, 1),
        ("one", 1, 64, 1),
        ("stages", 1, 64, 1),
        ("stages", 4, 64, 4),
        ("stages", 4, 3, 3),
        ("stages + 1", 1, 64, 1),
        ("stages + 1", 4, 64, 5),
        ("stages + 1", 4, 4, 4),
        ("sequences", 4, 64, 64),
    ],
)
def test_micro_batches_are_as_many_as_the_engine_keeps(micro_batches, stages, sequences, expected):
    engine = Engine(like_stages=micro_batches != "any", micro_batches=micro_batches)
    assert in_flight(engine, stages, sequences) == expected


def test_an_engine_without_known_rules_says_so():
    unknown = tiny_software(engine=Engine(note="none are known"))
    assert "no rules of plain's engine are known" in rules_said(unknown)
    known = tiny_software(engine=Engine(**RULES, version="0.32", source="its parser"))
    assert rules_said(known) == "plans are those that plain 0.32 can be started with (its parser)"


@pytest.mark.parametrize(
    ("tensor", "expert", "said"),
    [
        (1, 1, None),
        (4, 1, None),  # 384 of 1,536 is three blocks
        (8, 1, "experts of qwen, 1,536 wide, leaves 192 on each of 8 ranks"),
        (8, 8, None),  # whole experts; 64 heads of 128 leave 1,024
        (8, 2, None),  # two groups of four ranks each
        (64, 64, None),  # one head each; key-value heads repeat
        (2, 8, None),
    ],
)
def test_widths_that_tensor_ranks_share_out_leave_whole_blocks(tensor, expert, said):
    fault = block_fault(in_blocks(), BLOCKS, Split(tensor, expert, 1, max(1, expert // tensor)))
    assert fault is None if said is None else said in fault
    assert split_fault(in_blocks(), BLOCKS, Split(tensor, expert, 1, 1), 1) == fault


def test_keys_and_values_are_matrices_of_their_own():
    """Four key-value heads of 64 leave 64 on each of four ranks, although keys and values
    together would be 128; the queries of 64 heads are whole."""
    fault = block_fault(in_blocks(head_dim=64), BLOCKS, Split(4, 4, 1, 1))
    assert "key value of qwen, 256 wide, leaves 64 on each of 4 ranks" in fault
    assert fault.endswith("make tensor_parallel less than 4")


@pytest.mark.parametrize(
    ("graph", "software"),
    [
        (in_blocks(block=None), BLOCKS),
        (in_blocks(), tiny_software()),
        (in_blocks(weight_dtype="bf16", unquantised=()).replace(weight_dtype="fp8"), BLOCKS),
    ],
)
def test_no_block_no_rule_and_weights_that_are_not_quantised_may_be_cut(graph, software):
    assert block_fault(graph, software, Split(8, 1, 1, 1)) is None


@given(
    tensor=st.sampled_from((1, 2, 4, 8, 16)),
    block=st.sampled_from((32, 64, 128)),
    width=st.integers(1, 64),
)
def test_a_width_is_refused_exactly_where_its_shards_are_no_whole_blocks(tensor, block, width):
    graph = in_blocks(block, expert_ffn=32 * width)
    fault = block_fault(graph, BLOCKS, Split(tensor, 1, 1, 1))
    whole = tensor == 1 or (32 * width / tensor) % block == 0
    assert (fault is None) == whole


@pytest.mark.parametrize(("tensor", "fits"), [(16, True), (32, False)])
def test_deepseek_v3_is_cut_sixteen_ways_in_whole_blocks_and_not_further(tensor, fits):
    """Its shared expert is 2,048 wide: one block of 128 on each of 16 ranks."""
    graph = pl.load_model("deepseek-v3")
    software = pl.load_topology("hgx-h100", software="vllm").software
    fault = split_fault(graph, software, Split(tensor, tensor, 1, 1), 1)
    assert (fault is None) == fits


@pytest.mark.parametrize(("asked", "block"), [(None, 128), ("fp8", 128), ("bf16", None)])
def test_weights_quantised_anew_have_no_blocks(asked, block):
    assert pl.load_model("deepseek-r1", weight_dtype=asked).weight_block == block
    assert pl.load_model("qwen3-8b", weight_dtype="fp8").weight_block is None
