"""What an engine's rules say of a plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.machines.engine import Engine
from planner.models.blocks import Block, Decoder, SelfAttention
from planner.models.decoder import DecoderShape, Formats, decoder_graph
from planner.models.recurrences import gated_delta, mamba_2
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.engines import (
    block_fault,
    engine_faults,
    in_flight,
    micro_batch_fault,
    rules_said,
    split_fault,
)
from planner.pricing.price_list import Split
from tests.instances import tiny_engine, tiny_graph, tiny_moe, tiny_software

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
    assert "the rules of plain's engine are not known" in rules_said(unknown)
    known = tiny_software(engine=Engine(**RULES, version="0.32", source="its parser"))
    assert rules_said(known) == "plans are those that plain 0.32 can run (its parser)"


@pytest.mark.parametrize(
    ("tensor", "expert", "said"),
    [
        (1, 1, None),
        (4, 1, None),  # 384 of 1,536 is three blocks
        (8, 1, "experts of qwen, 1,536 wide, would leave 192 on each of 8 ranks"),
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
    assert "key value of qwen, 256 wide, would leave 64 on each of 4 ranks" in fault
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


@pytest.mark.slow
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


GRAPH = tiny_graph(4)
NAMES = GRAPH.names
"""Embedding, four decoder layers, head."""


def software(**rules):
    return tiny_software(engine=tiny_engine(**rules))


def piped(*cuts, graph=GRAPH, degrees=({},)):
    """A plan of one chip a stage, or of as many as its degrees need; the degrees go round."""
    borders = [0, *cuts, len(graph.layers)]
    stages = []
    first = 0
    for number in range(len(borders) - 1):
        shares = degrees[number % len(degrees)]
        chips = max([1, *shares.values()])
        stage = Stage(
            layers=graph.names[borders[number] : borders[number + 1]],
            groups=(ChipRange(first=first, count=chips),),
            **shares,
        )
        stages.append(stage)
        first += chips
    return Plan(stages=tuple(stages))


def faults(plan, engine, graph=GRAPH):
    return list(engine_faults(plan, graph, engine))


# ── Micro-batches ────────────────────────────────────────────────────────────────────────────────


def test_other_micro_batches_are_a_fault_that_says_which_there_are():
    plan = piped(3).replace(micro_batches=3)
    assert micro_batch_fault(plan, software(), 8) == (
        "plain keeps 2 micro-batches of 8 sequences in flight over 2 stages, not 3"
    )
    one_more = software(micro_batches="stages + 1")
    assert micro_batch_fault(plan, one_more, 8) is None
    assert micro_batch_fault(plan, tiny_software(), 8) is None


def test_no_more_micro_batches_count_than_there_are_sequences():
    plan = piped(3).replace(micro_batches=7)
    assert micro_batch_fault(plan, software(), 2) is None
    assert micro_batch_fault(plan, software(micro_batches="sequences"), 7) is None
    assert "keeps 9 micro-batches" in micro_batch_fault(
        plan, software(micro_batches="sequences"), 9
    )


# ── Splits ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pipeline_may_be_too_deep():
    engine = software(most_stages=3)
    assert split_fault(GRAPH, engine, Split(), 3) is None
    assert (
        split_fault(GRAPH, engine, Split(), 4) == "plain cuts a model into at most 3 stages, not 4"
    )


def test_some_engines_split_no_layers_in_pipelines():
    engine = software(tensor_in_pipelines=False)
    assert split_fault(GRAPH, engine, Split(tensor=2), 1) is None
    assert split_fault(GRAPH, engine, Split(), 2) is None
    assert split_fault(GRAPH, engine, Split(tensor=2), 3) == (
        "plain cannot combine tensor parallel with pipeline stages; with 3 stages make"
        " tensor_parallel 1, not 2"
    )


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [("any", (1, 2, 4, 8), ()), ("none", (1,), (2, 4, 8)), ("all ranks", (1, 8), (2, 4))],
)
def test_experts_are_shared_over_as_many_ranks_as_the_engine_takes(allowed, good, bad):
    # Two tensor ranks, sequences over four: eight ranks.
    engine = software(experts=allowed)
    for ways in good:
        assert split_fault(GRAPH, engine, Split(2, ways, attention=4), 1) is None
    for ways in bad:
        assert "expert_parallel" in split_fault(GRAPH, engine, Split(2, ways, attention=4), 1)


def test_shares_of_experts_and_sequences_have_their_sentences():
    split = Split(2, 4, attention=4)
    assert split_fault(GRAPH, software(experts="none"), split, 1) == (
        "plain does not support expert_parallel; make it 1, not 4"
    )
    assert split_fault(GRAPH, software(experts="all ranks"), split, 1) == (
        "plain supports expert_parallel of 1 or of all 8 ranks of a stage, not 4"
    )
    assert split_fault(GRAPH, software(attention="none"), split, 1) == (
        "plain does not support attention data parallel; make it 1, not 4"
    )
    assert split_fault(GRAPH, software(attention="all ranks"), split, 1) == (
        "plain supports attention data parallel of 1 or of all 8 ranks of a stage, not 4"
    )
    assert split_fault(GRAPH, software(attention="all ranks"), Split(1, 4, attention=4), 1) is None


# ── Plans ────────────────────────────────────────────────────────────────────────────────────────


def test_stages_that_are_split_otherwise_are_told():
    plan = piped(3, degrees=({"tensor_parallel": 2}, {"tensor_parallel": 4}))
    assert faults(plan, software()) == [
        "plain splits all stages alike, and these are split 2 tensor × 1 expert ways and"
        " 4 tensor × 1 expert ways"
    ]
    assert faults(plan, tiny_software()) == []
    assert faults(piped(3, degrees=({"tensor_parallel": 2},)), software()) == []


def test_a_stage_without_a_decoder_layer_is_named():
    engine = software()
    assert faults(piped(1), engine) == [
        "stage 0 has no decoder layer; plain puts the embedding with the first of them and the head"
        " with the last"
    ]
    (fault,) = faults(piped(2, 5), engine)
    assert fault.startswith("stage 2 has no decoder layer")
    assert faults(piped(2, 4), engine) == []
    assert faults(piped(1), software(decoder_on_each_stage=False)) == []


def test_one_stage_alone_needs_no_decoder_layer():
    assert faults(piped(), software()) == []


def test_experts_over_some_ranks_of_a_real_stage():
    graph = tiny_moe(2)
    plan = piped(graph=graph, degrees=({"tensor_parallel": 4, "expert_parallel": 2},))
    (fault,) = faults(plan, software(experts="all ranks"), graph)
    assert "of 1 or of all 4 ranks of a stage, not 2" in fault
    whole = piped(graph=graph, degrees=({"tensor_parallel": 4, "expert_parallel": 4},))
    assert faults(whole, software(experts="all ranks"), graph) == []


def test_an_engine_of_which_nothing_is_known_takes_every_plan():
    plan = piped(1, 3, degrees=({}, {"tensor_parallel": 4}))
    assert faults(plan, tiny_software()) == []
    assert split_fault(GRAPH, tiny_software(), Split(2, 4, attention=4), 9) is None
    assert not Engine().is_known


# ── Layers that are split unlike ─────────────────────────────────────────────────────────────────


def of_parts(*parts, weight_block=128, weight_dtype="fp8", hidden=1024):
    decoder = Decoder(hidden=hidden, vocabulary=1000, blocks=(Block(parts=parts),))
    formats = Formats(weight_dtype=weight_dtype, weight_block=weight_block)
    return decoder_graph(decoder, "parts", formats)


@pytest.mark.parametrize(("tensor", "broken"), [(2, False), (4, True)])
def test_keys_and_values_of_unlike_widths_are_blocks_of_their_own(tensor, broken):
    # Keys 4 × 192 = 768 and values 4 × 128 = 512 wide: 384 and 256 on each of two ranks, 192 and
    # 128 on each of four. Together they are 1280 wide, half of which is 5 blocks.
    graph = of_parts(SelfAttention(heads=16, kv_heads=4, head_dim=192, value_dim=128))
    fault = block_fault(graph, BLOCKS, Split(tensor, 1, 1, 1))
    assert (fault is not None) == broken
    if fault is not None:
        assert "key value of parts, 768 wide, would leave 192 on each of 4 ranks" in fault


def test_a_gate_of_a_value_for_each_head_has_no_blocks():
    # 16 heads of 128, and 16 gates beside them: 2064, which is no whole number of blocks.
    part = SelfAttention(heads=16, kv_heads=4, head_dim=128, gate_width=16)
    assert block_fault(of_parts(part), BLOCKS, Split(4, 1, 1, 1)) is None


@pytest.mark.parametrize(("tensor", "broken"), [(4, False), (8, True)])
def test_what_goes_into_a_recurrence_is_cut_matrix_by_matrix(tensor, broken):
    # Keys 8 × 64 = 512, values 16 × 64 = 1024; with rates of 2 × 16 they are no whole blocks.
    part = gated_delta(1024, heads=16, key_heads=8, key_width=64, value_width=64)
    fault = block_fault(of_parts(part), BLOCKS, Split(tensor, 1, 1, 1))
    assert (fault is not None) == broken


@pytest.mark.parametrize(("keys", "tensor", "broken"), [(8, 8, False), (8, 16, True), (1, 16, False)])  # fmt: skip
def test_key_heads_of_recurrences_are_shared_out_whole_but_a_single_one(keys, tensor, broken):
    part = mamba_2(1024, heads=16, key_heads=keys, key_width=64, value_width=64)
    graph = of_parts(part, weight_block=None, weight_dtype="bf16")
    fault = split_fault(graph, BLOCKS, Split(tensor, 1, 1, 1), 1)
    assert (fault is not None) == broken
    if fault is not None:
        assert "does not repeat the 8 key heads, or groups, of parts's recurrences" in fault
    free = BLOCKS.replace(engine=Engine())
    assert split_fault(graph, free, Split(tensor, 1, 1, 1), 1) is None
