"""What plans move for each token, by memory and fabric: by hand, and never more than can be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.pricing.traffic import Volumes, fabric_levels
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

LLAMA = pl.load_model("llama-3.1-8b")
LAYERS, WIDTH, FFN, KEYS, TOKENS = 32, 4096, 14336, 1024, 128256
READ = LAYERS * (2 * WIDTH**2 + 2 * WIDTH * KEYS + 3 * WIDTH * FFN) + TOKENS * WIDTH
"""Weights that every token reads: layers and head, and of the embedding a row."""
CACHED_BYTES = 2 * 2 * KEYS * LAYERS
"""Keys and values of a token in 16 bit."""


def moved(graph, topology, work, **degrees):
    plan = pl.uniform_plan(graph, topology, **degrees)
    return pl.score_plan(plan, graph, topology, work)


def test_one_h100_reads_the_weights_and_half_an_answer_of_cache_for_a_token():
    work = pl.Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)
    (memory,) = moved(LLAMA, pl.load_topology("hgx-h100", chips=1), work).traffic
    assert (memory.tier, memory.kind) == ("HBM3", "memory")
    # The first of 256 tokens is the prompt's.
    by_hand = 255 / 256 * (2 * READ + CACHED_BYTES * (1024 + 256 / 2))
    assert memory.decode_bytes == pytest.approx(by_hand, rel=2e-3)
    assert memory.prefill_bytes > 2 * READ / 256
    assert memory.prefill_bytes < 2 * memory.decode_bytes / 255 * 2


def test_with_64_users_the_weights_are_shared():
    topology = pl.load_topology("hgx-h100", chips=1)
    one, many = (
        moved(LLAMA, topology, pl.Workload(batch_size=users, prompt_tokens=1024, output_tokens=256))
        for users in (1, 64)
    )
    saved = one.traffic[0].decode_bytes - many.traffic[0].decode_bytes
    assert saved == pytest.approx(255 / 256 * 63 / 64 * 2 * READ, rel=2e-3)


def test_on_upmem_the_weights_stay_in_the_modules_and_activations_cross_the_host():
    graph = pl.load_model("llama-3.1-8b", weight_dtype="int8")
    work = pl.Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)
    score = moved(graph, pl.load_topology("upmem-pim"), work, pipeline_parallel=20)
    bank, bus = score.traffic
    assert (bank.tier, bus.tier) == ("MRAM", "DDR4 through the host")
    by_hand = 255 / 256 * (READ + CACHED_BYTES * (1024 + 256 / 2))
    assert bank.decode_bytes == pytest.approx(by_hand, rel=3e-3)
    # 19 hands over of a stream of 16 bit.
    assert bus.decode_bytes == pytest.approx(255 / 256 * 19 * 2 * WIDTH)
    assert bus.prefill_bytes == pytest.approx(1024 / 256 * 19 * 2 * WIDTH)
    assert score.moved_bytes_per_token == {
        "MRAM": bank.moved_bytes,
        "DDR4 through the host": bus.moved_bytes,
    }


def test_two_ranks_take_in_each_tensor_once_for_each_all_reduce():
    work = pl.Workload(batch_size=1, prompt_tokens=1, output_tokens=1001)
    topology = pl.load_topology("hgx-h100", chips=2)
    score = moved(LLAMA, topology, work, tensor_parallel=2)
    nvlink = next(one for one in score.traffic if one.kind == "fabric")
    reduced = 2 * 2 * LAYERS * 2 * WIDTH  # two chips, two all-reduces a layer, 16 bit
    assert nvlink.decode_bytes > reduced * 1000 / 1001
    # The embedding is reduced too, and each gathers the other's half of the logits.
    assert nvlink.decode_bytes < reduced + 2 * 2 * WIDTH + 2 * 4 * TOKENS


def test_layers_off_the_chip_are_read_in_the_host():
    graph = pl.load_model("llama-3.1-70b", weight_dtype="int4")
    topology = pl.load_topology("rtx-4090", chips=1)
    found = pl.partition(graph, topology, pl.Workload(batch_size=1), minimize="tpot_s")
    kinds = [one.kind for one in found.score.traffic]
    assert kinds == ["memory", "host", "fabric"]
    near, host, link = found.score.traffic
    assert host.decode_bytes > 0.5 * found.score.stages[0].offloaded_bytes
    assert link.decode_bytes < 1e-4 * host.decode_bytes
    # Nothing is lost on the way from one memory to the other.
    assert near.decode_bytes + host.decode_bytes > 0.9 * graph.weight_bytes


def test_of_pictures_texts_are_encoded_once_and_weights_read_in_every_step():
    graph = pl.load_model("sd3-medium")
    work = pl.Workload(batch_size=1, prompt_tokens=1, output_tokens=1)
    corsair = pl.load_topology("dmatrix-corsair", chips=1)
    found = pl.partition(graph, corsair, work, maximize="samples_per_s")
    away = found.score.stages[0].offloaded_bytes
    by_tier = {one.tier: one for one in found.score.traffic}
    far = by_tier["LPDDR5X"]
    # What lies there is read once at least, and what takes steps once in each.
    assert far.prefill_bytes + far.decode_bytes / graph.steps == pytest.approx(away, rel=0.05)


@pytest.mark.slow
@settings(max_examples=30)
@given(
    machine=st.sampled_from(["hgx-h100", "upmem-pim", "tpu-v5e", "groq-lpu-chain"]),
    tensor=st.sampled_from([1, 2, 4]),
    pipeline=st.sampled_from([1, 2, 4]),
    users=st.sampled_from([1, 3, 16]),
    prompt=st.sampled_from([1, 100, 2000]),
    together=st.booleans(),
)
def test_no_memory_and_no_fabric_moves_more_than_it_can(
    machine, tensor, pipeline, users, prompt, together
):
    topology = pl.load_topology(machine)
    big = topology.chip.memory[0].replace(capacity_bytes=1e12)
    chip = topology.chip.replace(memory=(big, *topology.chip.memory[1:]))
    topology = topology.replace(chip=chip, chips=16)
    work = pl.Workload(
        batch_size=users,
        prompt_tokens=prompt,
        output_tokens=33,
        arrivals="together" if together else "steady",
    )
    graph = tiny_moe(8)
    try:
        score = moved(graph, topology, work, tensor_parallel=tensor, pipeline_parallel=pipeline)
    except pl.InputError:  # software that has no such collective
        return
    assert score.traffic[0].moved_bytes > 0
    for one in score.traffic:
        if one.most_bytes_per_s is not None:
            assert one.moved_bytes * score.tokens_per_s <= one.most_bytes_per_s * 1.0001, one


def test_chips_that_split_a_model_move_no_less_than_one():
    work = pl.Workload(batch_size=4, prompt_tokens=100, output_tokens=11)
    topology = tiny_topology(4, chip=tiny_chip(1e10))
    alone = moved(tiny_graph(4), topology, work)
    split = moved(tiny_graph(4), topology, work, tensor_parallel=2)
    assert split.traffic[0].moved_bytes >= alone.traffic[0].moved_bytes
    assert [one.kind for one in alone.traffic] == ["memory"]


def test_what_a_chip_takes_in_of_each_collective():
    whole = Volumes((0,))
    assert whole.seconds("all_reduce", (4, 1), 100.0) == 100.0
    assert whole.seconds("all_gather", (4, 1), 100.0) == 75.0
    assert whole.seconds("all_to_all", (4, 1), 100.0) == 75.0
    assert whole.seconds("all_reduce", (1, 4), 100.0) == 0.0
    # Beyond the node each chip is left with its share.
    assert Volumes((1,)).seconds("all_reduce", (4, 2), 100.0) == 25.0


def test_a_list_of_links_is_one_fabric():
    switches = tiny_topology(16, fabric("switch", 8), fabric("switch", 2), software=tiny_software())
    assert [levels for _, levels in fabric_levels(switches)] == [(0,), (1,)]
    bridges = pl.load_topology("a100-pcie-nvlink-4")
    names = [name for name, _ in fabric_levels(bridges)]
    assert len(names) == len(set(names))
