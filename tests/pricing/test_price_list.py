"""The price list, by hand on a tiny chip: 100 TFLOP/s at one half, 1 TB/s at four fifths, 1 µs a
kernel."""

import numpy as np
import pytest

import planner as pl
from planner.machines.software import CollectiveKernel, Tuning
from planner.machines.topology import Peak, Power
from planner.models.operators import Experts, MatMul, Pointwise, Recurrent
from planner.models.pruning import pruned
from planner.pricing.formats import mostly_multiplied_in
from planner.pricing.operator_table import (
    efficiency_of,
    operator_facts,
    table_of,
    widening_flop_per_byte,
)
from planner.pricing.price_list import (
    CAUSES,
    PriceList,
    Reach,
    Split,
    Step,
    held_tokens,
    host_s,
    made_on_rank,
    reach_of,
    shares_of,
    unoffered,
    useful_work,
    utilisation,
)
from planner.workload import Workload
from tests.by_hand import (
    attention,
    chain,
    head,
    layer,
    matmul,
    round_chip,
    round_machine,
    round_software,
)
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

ALONE = Reach((1,), (1,), (1,))
DECODE = Step(tokens=1.0, sequences=1.0, context_tokens=100.0, decode=True)


def kind_of(graph, name: str) -> int:
    return int(
        graph.kind_of_layer[next(n for n, layer in enumerate(graph.layers) if layer.kind == name)]
    )


def test_a_decode_step_reads_every_weight_once():
    graph = tiny_graph()
    prices = PriceList(graph, tiny_topology(1)).prices(Split(), DECODE, ALONE)
    decoder = next(layer for layer in graph.layers if layer.kind == "decoder")
    least = (decoder.weight_bytes + 100 * decoder.kv_bytes_per_token) / 0.8e12
    assert prices.seconds[CAUSES.index("memory"), kind_of(graph, "decoder")] == pytest.approx(
        least, rel=0.01
    )
    assert prices.seconds[CAUSES.index("memory"), kind_of(graph, "decoder")] >= least


@pytest.mark.parametrize(
    "step", [DECODE, Step(tokens=512.0, sequences=2.0, context_tokens=128.0, decode=False)]
)
def test_operators_of_a_kind_sum_to_its_price_without_collectives(step):
    graph = tiny_moe()
    prices = PriceList(graph, tiny_topology(1))
    seconds = prices.prices(Split(), step, ALONE).seconds
    for number in range(len(graph.kinds)):
        taken = sum(
            one.taken_s for one in prices.operator_times(Split(), step) if one.kind == number
        )
        whole = sum(
            seconds[CAUSES.index(cause), number] for cause in ("compute", "memory", "overhead")
        )
        assert taken == pytest.approx(whole, rel=1e-9)


def test_no_operator_is_quicker_than_its_chip_allows():
    times = PriceList(tiny_graph(), tiny_topology(1)).operator_times(Split(), DECODE)
    assert all(one.light_s <= one.taken_s for one in times)
    assert any(one.light_s == pytest.approx(0.8 * (one.taken_s - 1e-6), rel=1e-3) for one in times)


def test_a_long_prompt_is_bound_by_arithmetic():
    graph = tiny_graph()
    step = Step(tokens=10_000.0, sequences=1.0, context_tokens=1.0, decode=False)
    prices = PriceList(graph, tiny_topology(1)).prices(Split(), step, ALONE)
    matmuls = sum(
        2 * 10_000 * operator.parameters
        for operator in next(layer for layer in graph.layers if layer.kind == "decoder").operators
        if isinstance(operator, MatMul)
    )
    seconds = prices.seconds[:, kind_of(graph, "decoder")]
    assert seconds[CAUSES.index("compute")] == pytest.approx(matmuls / 50e12, rel=0.05)
    assert seconds[CAUSES.index("compute")] > 5 * seconds[CAUSES.index("memory")]


def test_every_kernel_costs_its_launch():
    graph = tiny_graph()
    slow = tiny_software(kernel_overhead_s=1e-3, layer_overhead_s=5e-3)
    prices = PriceList(graph, tiny_topology(1, software=slow)).prices(Split(), DECODE, ALONE)
    decoder = next(layer for layer in graph.layers if layer.kind == "decoder")
    kernels = sum(operator.demand().kernels for operator in decoder.operators)
    assert prices.seconds[CAUSES.index("overhead"), kind_of(graph, "decoder")] == pytest.approx(
        kernels * 1e-3 + 5e-3
    )


def test_two_all_reduces_follow_a_decoder_layer_that_is_split():
    # V = 1024 × 2 B among 2: the one-shot kernel takes 1 µs + one step of 1 µs + 2048 B / 50 GB/s.
    graph, topology = tiny_graph(), tiny_topology(2)
    split = Split(tensor=2)
    prices = PriceList(graph, topology).prices(split, DECODE, reach_of(topology, split, 0))
    once = 1e-6 + 1e-6 + 2048 / 50e9
    assert prices.seconds[CAUSES.index("collective"), kind_of(graph, "decoder")] == pytest.approx(
        2 * once, rel=1e-12
    )


def test_one_chip_alone_needs_no_collective():
    prices = PriceList(tiny_graph(), tiny_topology(4)).prices(Split(), DECODE, ALONE)
    assert not prices.seconds[CAUSES.index("collective")].any()


def test_experts_on_other_chips_cost_a_way_there_and_a_way_back():
    # 8 experts, 2 active, among 4 chips: a chip has none of a token's with C(6, 2) / C(8, 2) =
    # 15 / 28, so each token of 1024 × 2 B goes to 4 × 13 / 28 chips, its own included.
    graph, topology = tiny_moe(), tiny_topology(4)
    split = Split(tensor=1, expert=4, attention=4)
    step = Step(tokens=4.0, sequences=4.0, context_tokens=100.0, decode=True)
    prices = PriceList(graph, topology).prices(split, step, reach_of(topology, split, 0))
    message = 1 * 4 * (13 / 28) * 1024 * 2
    direct = 2e-6 + 1e-6 + 0.75 * message / 40e9
    assert prices.seconds[CAUSES.index("collective"), kind_of(graph, "decoder")] == pytest.approx(
        2 * direct, rel=1e-12
    )


def test_halves_of_a_layer_weigh_half():
    graph, topology = tiny_graph(), tiny_topology(2)
    prices, work = PriceList(graph, topology), Workload(prompt_tokens=100, output_tokens=100)
    whole, half = (prices.holdings(Split(tensor=ways), work, 1.0) for ways in (1, 2))
    decoder = kind_of(graph, "decoder")
    norms = 2 * 1024 * 2.0  # every chip holds the norms
    assert half.weight_bytes[decoder] - norms == pytest.approx(
        (whole.weight_bytes[decoder] - norms) / 2
    )
    assert half.kv_bytes_per_sequence[decoder] == pytest.approx(
        whole.kv_bytes_per_sequence[decoder] / 2
    )


def test_beyond_the_key_value_heads_the_cache_is_copied_and_not_split():
    graph, topology = tiny_graph(), tiny_topology(8)
    prices, work = PriceList(graph, topology), Workload()
    four, eight = (
        prices.holdings(Split(tensor=ways), work, 1.0).kv_bytes_per_sequence for ways in (4, 8)
    )
    assert eight.tolist() == four.tolist()


def test_the_cache_of_a_sequence_is_what_its_tokens_leave():
    # 2 (K and V) × 4 heads × 128 × 2 B = 2048 B a token and layer.
    graph = tiny_graph()
    work = Workload(prompt_tokens=100, output_tokens=28, arrivals="together")
    held = PriceList(graph, tiny_topology(1)).holdings(Split(), work, 1.0)
    assert held.kv_bytes_per_sequence[kind_of(graph, "decoder")] == 128 * 2048
    assert held.kv_bytes_more[kind_of(graph, "decoder")] == 0


def test_sequences_of_every_age_hold_their_mean_and_one_its_full_length():
    graph, work = tiny_graph(), Workload(prompt_tokens=100, output_tokens=28, arrivals="steady")
    held = PriceList(graph, tiny_topology(1)).holdings(Split(), work, 1.0)
    assert held.kv_bytes_per_sequence[kind_of(graph, "decoder")] == 114 * 2048
    assert held.kv_bytes_more[kind_of(graph, "decoder")] == 14 * 2048


def test_sequences_are_shared_out_whole_or_for_bounds_in_fractions():
    step = Step(tokens=5.0, sequences=5.0, context_tokens=1.0, decode=True)
    assert shares_of(Split(attention=2), step) == (3.0, 3.0)
    assert shares_of(Split(attention=2), step, whole=False) == (2.5, 2.5)


def test_the_reach_of_a_group_is_that_of_its_farthest_subgroup():
    topology = tiny_topology(8, fabric("switch", 4), fabric("switch", 2))
    assert reach_of(topology, Split(tensor=2, sequence=2), 0) == Reach((2, 1), (4, 1), (1, 1))
    assert reach_of(topology, Split(tensor=8), 0).tensor == (4, 2)


def test_a_split_that_the_software_has_no_collective_for_is_named():
    reduces = [kernel for kernel in tiny_software().collectives if kernel.algorithm == "one-shot"]
    topology = tiny_topology(4, software=tiny_software(collectives=tuple(reduces)))
    assert unoffered(topology, Split(tensor=2)) == "all_gather"
    assert unoffered(topology, Split()) is None


def test_useful_work_counts_weights_once_and_caches_once_for_each_sequence():
    graph = tiny_graph(vocabulary=1000)
    _, one = useful_work(graph, Step(1.0, 1.0, 100.0, True))
    _, two = useful_work(graph, Step(2.0, 2.0, 100.0, True))
    embedding_row = 1024 * 2
    assert two - one == pytest.approx(100 * graph.kv_bytes_per_token + embedding_row, rel=2e-3)


def test_useful_flop_of_a_token_is_twice_the_parameters_it_meets():
    graph = tiny_graph()
    flop, _ = useful_work(graph, Step(1.0, 1.0, 0.0, True))
    embedding = graph.layers[0].parameters
    assert flop == pytest.approx(2 * (graph.parameters - embedding), rel=0.01)


def test_mfu_is_measured_in_the_format_of_most_matmuls():
    assert mostly_multiplied_in(tiny_graph(), round_machine()) == "bf16"


def test_prices_scale_over_numpy_arrays_of_layers():
    prices = PriceList(tiny_graph(3), tiny_topology(1)).prices(Split(), DECODE, ALONE)
    assert prices.seconds.shape == (len(CAUSES), 3)  # embedding, decoder, head
    assert np.isfinite(prices.seconds).all()


# ── States and zeros ──────────────────────────────────────────────────────────────────────────────


def hybrid(**changes):
    sizes = {
        "state_heads": 8,
        "state_key_heads": 2,
        "state_key": 128,
        "state_value": 128,
        "recurrence": "mamba-2",
    }
    return tiny_graph(layers=4, pattern="M-*-", **{**sizes, **changes})


def test_a_state_is_held_for_every_sequence_however_long():
    graph = hybrid()
    prices = PriceList(graph, tiny_topology(1))
    short, long = (
        prices.holdings(Split(), Workload(prompt_tokens=n, output_tokens=n), 1.0)
        for n in (10, 1000)
    )
    recurrence, attention = (int(graph.kind_of_layer[number]) for number in (1, 3))
    state = 8 * 128 * 128 * 4 + 3 * (8 * 128 + 2 * 2 * 128) * 2
    assert (
        short.kv_bytes_per_sequence[recurrence] == long.kv_bytes_per_sequence[recurrence] == state
    )
    assert long.kv_bytes_per_sequence[attention] == 100 * short.kv_bytes_per_sequence[attention] > 0


def test_a_layer_that_only_feeds_forward_has_no_layer_overhead():
    graph = hybrid()
    slow = tiny_software(kernel_overhead_s=0.0, layer_overhead_s=5e-3)
    prices = PriceList(graph, tiny_topology(1, software=slow)).prices(Split(), DECODE, ALONE)
    overheads = prices.seconds[CAUSES.index("overhead"), graph.kind_of_layer]
    assert overheads.tolist() == [0.0, 5e-3, 0.0, 5e-3, 0.0, 0.0]


def test_a_layer_waits_for_messages_that_cross_its_region_and_for_a_part_alone_keeps_chips_busy():
    # A layer of a quarter of the chip's memory has a region half as wide as the chip: it waits 3 µs
    # and half of 10 µs, a fifth of which keeps the chip busy.
    graph = tiny_graph()
    layer = graph.layers[1]
    software = tiny_software(
        kernel_overhead_s=0.0, layer_overhead_s=3e-6, layer_crossing_s=10e-6, layer_occupancy=0.2
    )
    machine = tiny_topology(2, software=software, chip=tiny_chip(4 * layer.weight_bytes))
    prices = PriceList(graph, machine)
    kind = graph.kind_of_layer[1]
    for split in (Split(), Split(tensor=2)):  # however it is split
        overhead = prices.prices(split, DECODE, ALONE).seconds[CAUSES.index("overhead"), kind]
        assert overhead == pytest.approx(1.6e-6)
        assert prices.latent_s(DECODE)[kind] == pytest.approx(6.4e-6)
    assert prices.latent_s(DECODE)[graph.kind_of_layer[0]] == 0.0  # an embedding mixes nothing


@pytest.mark.parametrize(("skips", "share"), [((), 1.0), (("unstructured",), 1.0), (("2:4",), 0.5)])
def test_zeros_are_skipped_where_the_chip_can(skips, share):
    graph = pruned(tiny_graph(), "2:4")
    step = Step(tokens=10_000.0, sequences=1.0, context_tokens=0.0, decode=False)
    prices = PriceList(graph, tiny_topology(1, chip=tiny_chip(skips=skips))).prices(
        Split(), step, ALONE
    )
    decoder = graph.layers[1]
    matmuls = sum(2 * 10_000 * o.parameters for o in decoder.operators if isinstance(o, MatMul))
    others = sum(
        10_000 * o.demand().flop_per_token for o in decoder.operators if not isinstance(o, MatMul)
    )
    assert prices.flop[kind_of(graph, "decoder")] == pytest.approx(share * matmuls + others)


def test_multiplying_zeros_is_no_useful_work():
    dense, thin = tiny_graph(), pruned(tiny_graph(), "90%")
    saved = (
        2
        * 0.9
        * sum(
            o.parameters
            for layer in dense.layers[1:-1]
            for o in layer.operators
            if isinstance(o, MatMul)
        )
    )
    assert useful_work(dense, DECODE)[0] - useful_work(thin, DECODE)[0] == pytest.approx(saved)


@pytest.mark.parametrize("window", [0, 64])
def test_every_sequence_leaves_half_of_its_last_block_of_the_cache_empty(window):
    graph, work = tiny_graph(window_tokens=window), Workload(prompt_tokens=100, output_tokens=20)
    each, paged = (
        PriceList(graph, tiny_topology(1, software=tiny_software(kv_block_tokens=block))).holdings(
            Split(), work, 1.0
        )
        for block in (1, 17)
    )
    unfilled = paged.kv_bytes_per_sequence - each.kv_bytes_per_sequence
    assert unfilled[kind_of(graph, "decoder")] == 8 * graph.kv_bytes_per_token / 2
    assert (paged.kv_bytes_more == each.kv_bytes_more).all()


@pytest.mark.parametrize(("share", "tokens"), [(0.0, 110), (0.5, 115), (1.0, 120)])
def test_room_may_be_kept_for_tokens_that_are_yet_to_come(share, tokens):
    graph, work = tiny_graph(), Workload(prompt_tokens=100, output_tokens=20)
    software = tiny_software(reserved_output_share=share)
    assert held_tokens(work, software) == tokens  # 100 and half of 20; of the other half a share
    held = PriceList(graph, tiny_topology(1, software=software)).holdings(Split(), work, 1.0)
    each = held.kv_bytes_per_sequence @ np.array(graph.kind_counts)
    assert each == pytest.approx(tokens * graph.kv_bytes_per_token)
    longest = each + held.kv_bytes_more @ np.array(graph.kind_counts)
    assert longest == pytest.approx(120 * graph.kv_bytes_per_token)


@pytest.mark.parametrize("arrivals", ["steady", "together"])
def test_a_cache_that_is_there_from_the_start_is_rounded_up_once(arrivals):
    graph = tiny_graph()
    work = Workload(prompt_tokens=100, output_tokens=20, arrivals=arrivals)
    software = tiny_software(reserved_output_share=1.0, kv_block_tokens=64)
    held = PriceList(graph, tiny_topology(1, software=software)).holdings(Split(), work, 1.0)
    each = held.kv_bytes_per_sequence @ np.array(graph.kind_counts)
    assert each == pytest.approx(128 * graph.kv_bytes_per_token)
    assert not held.kv_bytes_more.any()


# ── On paper: 100 FLOP/s, 10 B/s, 1 s a launch ────────────────────────────────────────────────────

ROUND = chain(
    layer("a", matmul()), layer("b", matmul(), attention()), layer("c", head(), kind="head")
)
"""Three layers that differ."""
TWO = Step(tokens=2.0, sequences=2.0, context_tokens=3.0, decode=True)


def causes(prices, number: int) -> dict[str, float]:
    """The seconds of a kind of layer that are not zero."""
    return {
        cause: one
        for cause, one in zip(CAUSES, prices.seconds[:, number].tolist(), strict=True)
        if one
    }


def test_two_sequences_move_what_a_hand_adds_up():
    prices = PriceList(ROUND, round_machine()).prices(Split(), TWO, ALONE)
    # A matmul: 100 B of weights, 2 × 10 B read, 2 × 20 B written. It does 2 × 100 FLOP, in 2 s:
    # less than 16 s.
    assert causes(prices, 0) == {"memory": 16.0, "overhead": 1.0}
    # Attention: 2 × 3 × 40 B of cache read, 2 × 20 B read, 2 × 20 B written, 2 × 40 B of cache
    # written: 400 B.
    assert causes(prices, 1) == {"memory": 16.0 + 40.0, "overhead": 2.0}
    assert causes(prices, 2) == {"memory": 16.0, "overhead": 1.0}
    assert prices.flop.tolist() == [200.0, 200.0 + 2 * 3 * 40, 200.0]
    assert prices.moved_bytes.tolist() == [160.0, 160.0 + 400.0, 160.0]


def test_a_prompt_makes_one_row_of_the_head_and_verified_tokens_make_one_each():
    prices = PriceList(ROUND, round_machine())
    prompt = prices.prices(
        Split(), Step(tokens=8.0, sequences=2.0, context_tokens=4.0, decode=False), ALONE
    )
    assert prompt.flop.tolist() == [800.0, 800.0 + 8 * 4 * 40, 200.0]
    assert prompt.moved_bytes[2] == 100.0 + 2 * 30
    verified = prices.prices(
        Split(), Step(tokens=8.0, sequences=2.0, context_tokens=4.0, decode=True), ALONE
    )
    assert verified.flop[2] == 800.0
    assert verified.moved_bytes[2] == 100.0 + 8 * 30
    # The cache is read once for each of the two sequences, and written for each of the eight
    # tokens.
    assert verified.moved_bytes[1] - verified.moved_bytes[0] == 2 * 4 * 40 + 8 * (20 + 20 + 40)


def test_peak_and_bandwidth_lose_what_chip_software_and_tuning_each_lose():
    software = {
        "compute_efficiency": 0.5,
        "memory_efficiency": 0.5,
        "tunings": (Tuning(architecture="round", compute_efficiency=0.4, memory_efficiency=0.8),),
    }
    chip = round_chip(architecture="round", compute_efficiency=0.1, memory_efficiency=0.5)
    machine = round_machine(software=software, chip=chip)
    prices = PriceList(ROUND, machine).prices(Split(), TWO, ALONE)
    # 100 FLOP/s × 0.5 × 0.4 × 0.1 = 2 FLOP/s, for 200 FLOP; 10 B/s × 0.5 × 0.8 × 0.5 = 2 B/s, for
    # 160 B.
    assert causes(prices, 0) == pytest.approx({"compute": 100.0, "overhead": 1.0})
    # Attention's 240 FLOP take 120 s, its 400 B take 200 s.
    assert causes(prices, 1) == pytest.approx({"compute": 100.0, "memory": 200.0, "overhead": 2.0})
    elsewhere = round_machine(software=software, chip=chip.replace(architecture="other"))
    untuned = PriceList(ROUND, elsewhere).prices(Split(), TWO, ALONE)
    assert causes(untuned, 0) == pytest.approx(
        {"memory": 64.0, "overhead": 1.0}
    )  # 2.5 B/s; arithmetic takes 40 s


def test_an_operator_takes_its_roof_and_its_launch():
    times = PriceList(ROUND, round_machine(software={"memory_efficiency": 0.5})).operator_times(
        Split(), TWO
    )
    assert [(one.kind, one.name) for one in times] == [
        (0, "matmul"),
        (1, "matmul"),
        (1, "attention"),
        (2, "head"),
    ]
    assert [one.taken_s for one in times] == [33.0, 33.0, 81.0, 33.0]
    assert [one.light_s for one in times] == [16.0, 16.0, 40.0, 16.0]
    long = Step(tokens=1000.0, sequences=1.0, context_tokens=1000.0, decode=False)
    busy = PriceList(ROUND, round_machine(software={"compute_efficiency": 0.5})).operator_times(
        Split(), long
    )[2]
    # 1,000 × 1,000 × 40 FLOP at 100 FLOP/s; half of that is reached.
    assert (busy.light_s, busy.taken_s) == (400_000.0, 800_001.0)


def test_a_row_split_sums_and_a_head_gathers_over_two_chips():
    graph = chain(
        layer("rows", matmul(split="inputs")),
        layer("columns", matmul(split="outputs")),
        layer("head", head()),
    )
    machine, split = round_machine(2), Split(tensor=2)
    one = Step(tokens=1.0, sequences=1.0, context_tokens=3.0, decode=True)
    prices = PriceList(graph, machine).prices(split, one, reach_of(machine, split, 0))
    # Each chip has 50 B of weights. Rows: reads half of 10 B and writes 20 B; columns: reads 10 B
    # and writes half of 20 B. Ring over two chips: the sum of 20 B takes 1 s + 2 steps of (1 s + 10
    # B); gathering 20 B takes 1 s + one such step.
    assert causes(prices, 0) == {"memory": 7.5, "collective": 5.0, "overhead": 1.0}
    assert causes(prices, 1) == {"memory": 7.0, "overhead": 1.0}
    assert causes(prices, 2) == {"memory": 7.0, "collective": 3.0, "overhead": 1.0}
    assert prices.flop.tolist() == [50.0, 50.0, 50.0]


def test_chips_that_share_out_a_sequence_shuffle_what_attention_needs():
    graph, machine, split = chain(layer("b", attention())), round_machine(2), Split(sequence=2)
    prompt = Step(tokens=4.0, sequences=1.0, context_tokens=2.0, decode=False)
    prices = PriceList(graph, machine).prices(split, prompt, reach_of(machine, split, 0))
    # Two of the four tokens each. A token sends 10 + 10 values of queries and results, 20 of keys
    # and values, 2 B each. To the other chip goes half of 2 × 80 B, in 1 s + 1 s + 8 s.
    assert causes(prices, 0)["collective"] == 1.0 + 1.0 + 80 / 10
    assert prices.flop.tolist() == [2 * 2 * 40.0]
    decode = Step(tokens=2.0, sequences=2.0, context_tokens=6.0, decode=True)
    halves = PriceList(graph, machine).prices(split, decode, reach_of(machine, split, 0))
    assert halves.flop.tolist() == [2 * 3 * 40.0]  # two sequences, half of the context


def test_heads_are_exchanged_as_far_as_they_go_round_and_the_rest_is_passed_on():
    # 6 heads over 4 chips: 2 ways, and a ring of two such pairs.
    six = attention(heads=6, kv_heads=6)
    split, prompt = Split(sequence=4), Step(8.0, 1.0, 4.0, decode=False)
    graph, machine = chain(layer("b", six)), round_machine(4)
    prices = PriceList(graph, machine).prices(split, prompt, reach_of(machine, split, 0))
    # Two of the eight tokens each. A token has 60 values of queries and results and 60 of keys and
    # values, 2 B each: 480 B in all, 240 B of keys and values. Half of the 480 B goes to the other
    # of the pair in 1 s + 1 s + 24 s, and one hop of 240 B takes 1 s + 1 s + 24 s.
    assert causes(prices, 0)["collective"] == pytest.approx(26.0 + 26.0)

    # Queries, keys, values and results by themselves: four collectives of 6 s of bytes each.
    apart = round_machine(4, software={"exchanges_apart": True})
    prices = PriceList(graph, apart).prices(split, prompt, reach_of(apart, split, 0))
    assert causes(prices, 0)["collective"] == pytest.approx(4 * (1 + 1 + 6.0) + 26.0)

    # 3 heads over 4 chips: a ring alone, of 3 hops with 120 B each.
    odd = chain(layer("b", attention(heads=3, kv_heads=3)))
    prices = PriceList(odd, machine).prices(split, prompt, reach_of(machine, split, 0))
    assert causes(prices, 0)["collective"] == pytest.approx(3 * (1 + 1 + 12.0))


def test_without_a_ring_heads_that_do_not_go_round_are_exchanged_all_the_same():
    kinds = ("all_reduce", "all_gather", "all_to_all")
    kernel = CollectiveKernel(algorithm="ring", kinds=kinds, base_latency_s=1.0)
    machine = round_machine(4, software={"collectives": (kernel,)})
    split, prompt = Split(sequence=4), Step(8.0, 1.0, 4.0, decode=False)
    graph = chain(layer("b", attention(heads=3, kv_heads=3)))
    prices = PriceList(graph, machine).prices(split, prompt, reach_of(machine, split, 0))
    # Three quarters of two tokens' 120 B: 240 B in all.
    assert causes(prices, 0)["collective"] == pytest.approx(1 + 1 + 0.75 * 240 / 10)


def experts(**changes) -> Experts:
    """Two of four, 5 × 5 in two matrices."""
    numbers = {
        "name": "experts",
        "experts": 4,
        "experts_active": 2,
        "inputs": 5,
        "hidden": 5,
        "matrices": 2,
        "weight_dtype": "bf16",
        "compute_dtype": "bf16",
    }
    return Experts(**{**numbers, **changes})


def test_tokens_go_to_their_experts_and_come_back():
    graph, machine, split = (
        chain(layer("e", experts())),
        round_machine(2),
        Split(expert=2, attention=2),
    )
    step = Step(tokens=4.0, sequences=4.0, context_tokens=1.0, decode=True)
    prices = PriceList(graph, machine).prices(split, step, reach_of(machine, split, 0))
    # Two of four experts are active, two lie on each chip: a chip has none of a token's with
    # 1 / 6. So of two tokens of 5 values of 2 B, 2 × 5 / 6 copies are sent, half of them to the
    # other chip: 1 s + 1 s + 20 B × 5 / 6 / 10 B/s, there and back.
    assert causes(prices, 0)["collective"] == pytest.approx(2 * (1.0 + 1.0 + 20 * 5 / 6 / 10))


def test_the_launches_of_experts_are_given_once_for_all_their_kernels():
    given = {"experts_overhead_s": 5.0, "attention_overhead_s": 3.0, "matmul_overhead_s": 2.0}
    graph = chain(
        layer("e", experts()), layer("b", attention(), matmul(), matmul(name="keys", fused=True))
    )
    one = Step(tokens=1.0, sequences=1.0, context_tokens=1.0, decode=True)
    each = PriceList(graph, round_machine()).prices(Split(), one, ALONE)
    assert [causes(each, number)["overhead"] for number in (0, 1)] == [
        3.0,
        2.0,
    ]  # three kernels; two, one fused
    once = PriceList(graph, round_machine(software=given)).prices(Split(), one, ALONE)
    assert [causes(once, number)["overhead"] for number in (0, 1)] == [5.0, 3.0 + 2.0]


def recurrent(**changes) -> Recurrent:
    """2 heads of 5 × 5, after a convolution over four tokens."""
    numbers = {
        "name": "state",
        "heads": 2,
        "key_heads": 1,
        "key_width": 5,
        "value_width": 5,
        "convolved_tokens": 4,
    }
    return Recurrent(**{**numbers, **changes})


@pytest.mark.parametrize(
    ("operator", "kernels", "seconds"),
    [
        (matmul(), 1.0, 2.0),
        (matmul(fused=True), 0.0, 0.0),
        (matmul(compute_dtype="fp8"), 1.0, 7.0),
        (matmul(compute_dtype="int8"), 1.0, 7.0),
        (matmul(compute_dtype="fp4"), 1.0, 7.0),  # which the chip has not: in 8 bit
        (matmul(weight_dtype="int4"), 1.0, 2.0),  # stored in 4 bit, multiplied in 16
        (attention(), 1.0, 3.0),
        (recurrent(), 2.0, 3.0),
        (experts(), 3.0, 5.0),
        (Pointwise(name="norm", width=10), 1.0, 1.0),
    ],
)
def test_each_operator_has_its_own_launch(operator, kernels, seconds):
    software = round_software(
        matmul_overhead_s=2.0,
        quantised_overhead_s=7.0,
        attention_overhead_s=3.0,
        experts_overhead_s=5.0,
    )
    graph = chain(layer("a", operator))
    bits = {"bf16": 100.0, "fp8": 200.0, "int8": 200.0}
    peaks = tuple(Peak(dtype=dtype, flop_per_s=peak) for dtype, peak in bits.items())
    for stack, expected in ((software, seconds), (round_software(), kernels)):
        machine = round_machine(chip=round_chip(peaks=peaks)).replace(software=stack)
        table = table_of(graph, machine, operator_facts(graph, machine), 1, 1)
        assert table.overhead_s.tolist() == [[expected]]


def test_what_a_chip_has_no_format_for_is_launched_as_what_it_multiplies_in_instead():
    """Int8 on chips with fp8 and bf16: in 16 bit."""
    machine = round_machine(software={"matmul_overhead_s": 2.0, "quantised_overhead_s": 7.0})
    graph = chain(layer("a", matmul(compute_dtype="int8")))
    table = table_of(graph, machine, operator_facts(graph, machine), 1, 1)
    assert table.overhead_s.tolist() == [[2.0]]


def asked(operator) -> str:
    """The format that an operator names."""
    return getattr(operator, "compute_dtype", "fp32")


@pytest.mark.parametrize(
    ("operator", "share"),
    [
        (matmul(), 0.8),
        (matmul(compute_dtype="fp32"), 0.8),
        (matmul(compute_dtype="fp8"), 0.5),
        (matmul(compute_dtype="q8_0"), 0.5),  # 8.5 bit
        (matmul(compute_dtype="fp6"), 0.25),
        (matmul(compute_dtype="nvfp4"), 0.25),
        (attention(), 0.4),
        (attention(compute_dtype="fp8"), 0.4),
        (recurrent(), 0.4),
        (experts(), 0.8 * 0.5),
        (experts(compute_dtype="fp8"), 0.5 * 0.5),
        (Pointwise(name="norm", width=10), 0.8),
    ],
)
def test_each_format_reaches_its_own_share_of_the_peak(operator, share):
    software = round_software(
        compute_efficiency=0.8,
        quantised_efficiency=0.5,
        narrow_efficiency=0.25,
        attention_efficiency=0.4,
        experts_efficiency=0.5,
    )
    assert efficiency_of(software, operator, asked(operator)) == share
    assert efficiency_of(round_software(compute_efficiency=0.8), operator, asked(operator)) == 0.8


def test_four_bits_without_a_share_of_their_own_reach_that_of_eight():
    software = round_software(compute_efficiency=0.8, quantised_efficiency=0.5)
    assert efficiency_of(software, matmul(compute_dtype="fp4"), "fp4") == 0.5


def test_weights_stored_in_fewer_bits_are_widened_once_in_a_pass():
    tuning = Tuning(architecture="round", widening_flop_per_weight=6.0)
    narrow = matmul(weight_dtype="fp8")
    assert widening_flop_per_byte(tuning, narrow, "bf16") == 6.0
    assert (
        widening_flop_per_byte(tuning, matmul(weight_dtype="fp4"), "bf16") == 12.0
    )  # two weights in a byte
    assert widening_flop_per_byte(tuning, experts(weight_dtype="fp8"), "bf16") == 6.0
    assert [widening_flop_per_byte(tuning, one, "bf16") for one in (matmul(), attention())] == [
        0.0,
        0.0,
    ]
    machine = round_machine(chip=round_chip(architecture="round"), software={"tunings": (tuning,)})
    # 50 B of weights: 300 FLOP to widen them, 100 to multiply them; 50 + 10 + 20 B take 8 s.
    step = Step(tokens=1.0, sequences=1.0, context_tokens=1.0, decode=True)
    prices = PriceList(chain(layer("a", narrow)), machine)
    assert causes(prices.prices(Split(), step, ALONE), 0) == {"memory": 8.0, "overhead": 1.0}
    assert prices.prices(Split(), step, ALONE).flop.tolist() == [100.0]
    slow = round_machine(
        chip=round_chip(architecture="round", compute_efficiency=0.25),
        software={"tunings": (tuning,)},
    )
    assert (
        causes(PriceList(chain(layer("a", narrow)), slow).prices(Split(), step, ALONE), 0)[
            "compute"
        ]
        == 400 / 25
    )


def test_what_is_fused_moves_no_bytes_of_its_own():
    graph = chain(layer("norm", Pointwise(name="norm", width=10)))
    one = Step(tokens=1.0, sequences=1.0, context_tokens=1.0, decode=True)
    moved = [
        PriceList(graph, round_machine(software={"unfused_share": share}))
        .prices(Split(), one, ALONE)
        .moved_bytes[0]
        for share in (1.0, 0.25, 0.0)
    ]
    assert moved == [40.0, 10.0, 0.0]


@pytest.mark.parametrize(
    ("split", "tokens", "sequences", "share"),
    [
        (Split(), 100.0, 5.0, (100.0, 5.0)),
        (Split(attention=2), 100.0, 5.0, (50.0, 2.5)),
        (Split(attention=4), 100.0, 1.0, (100.0, 1.0)),  # one prompt is not cut among ranks
        (Split(attention=4), 100.0, 2.0, (50.0, 1.0)),
        (Split(sequence=2), 100.0, 1.0, (50.0, 1.0)),
        (Split(attention=2, sequence=5), 100.0, 4.0, (10.0, 2.0)),
        (Split(tensor=4), 100.0, 2.0, (100.0, 2.0)),
    ],
)
def test_a_prompts_tokens_are_shared_out_by_sequences_and_within_them(
    split, tokens, sequences, share
):
    assert shares_of(split, Step(tokens, sequences, 50.0, False)) == share


def test_verified_tokens_follow_their_sequences():
    assert shares_of(Split(attention=2), Step(15.0, 5.0, 1.0, True)) == (9.0, 3.0)
    assert shares_of(Split(attention=2), Step(15.0, 5.0, 1.0, True), whole=False) == (7.5, 2.5)


def test_a_grid_of_decode_steps_adds_launches_collectives_and_the_host_by_hand():
    graph = chain(
        layer("a", matmul()),
        layer("b", attention(), matmul(split="inputs")),
        layer("b2", attention(), matmul(split="inputs")),
    )
    machine = round_machine(
        2, software={"layer_overhead_s": 0.5, "step_overhead_s": 0.25, "sequence_overhead_s": 0.125}
    )
    split, prices = Split(tensor=2), PriceList(graph, machine)

    # n sequences of c tokens on each of two chips. Columns: 50 + 20 n B. Attention has one head of
    # two: 20 n c B of cache read, 20 n written, 10 n read, 10 n written. Rows: 50 + 25 n B, and a
    # sum of 20 n B: 1 + 2 × (1 + n) s. Three launches of one layer more, half a second where tokens
    # meet, and the host's 0.25 + 0.125 n s.
    def by_hand(n: float, c: float) -> float:
        columns = (50 + 20 * n) / 10 + 1
        mixing = (20 * n * c + 40 * n) / 10 + 1 + (50 + 25 * n) / 10 + 1 + (1 + 2 * (1 + n)) + 0.5
        return columns + 2 * mixing + 0.25 + 0.125 * n

    grid = prices.decode_steps_s(
        split, np.array([1.0, 2.0]), np.array([0.0, 3.0, 4.0]), reach_of(machine, split, 0)
    )
    assert grid.tolist() == [[by_hand(n, c) for c in (0, 3, 4)] for n in (1, 2)]
    kinds = prices.decode_kinds_s(split, np.array([1.0, 2.0]), 3.0, reach_of(machine, split, 0))
    assert (np.array([1.0, 2.0]) @ kinds).tolist() == [
        by_hand(n, 3) - 0.25 - 0.125 * n for n in (1, 2)
    ]


def test_ranks_and_halves_of_a_sequence_have_their_share_of_a_grid_point():
    graph, machine = chain(layer("b", attention())), round_machine(4)
    split = Split(sequence=2, attention=2)
    grid = PriceList(graph, machine).decode_steps_s(
        split, np.array([3.0]), np.array([8.0]), reach_of(machine, split, 0)
    )
    # Two of three sequences on a rank, four of eight tokens on a chip: 2 × 4 × 40 B read, 2 × 80 B
    # for the new tokens, and an all-to-all of 2 × 80 B, half of which leaves.
    assert grid.tolist() == [[(320 + 160) / 10 + 1 + (1 + 1 + 80 / 10)]]
    kinds = PriceList(graph, machine).decode_kinds_s(
        split, np.array([3.0]), 8.0, reach_of(machine, split, 0)
    )
    assert kinds.tolist() == grid.tolist()


def test_a_chip_holds_what_a_hand_adds_up():
    machine = round_machine(4, software={"kv_block_tokens": 5})
    prices, work = PriceList(ROUND, machine), Workload(prompt_tokens=8, output_tokens=4)
    whole = prices.holdings(Split(), work, 16.0)
    assert whole.weight_bytes.tolist() == [100.0, 100.0, 100.0]
    # Sequences of every age hold 8 + 2 tokens on average and two more of a block; the longest is
    # two tokens longer.
    assert whole.kv_bytes_per_sequence.tolist() == [0.0, 12 * 40.0, 0.0]
    assert whole.kv_bytes_more.tolist() == [0.0, 2 * 40.0, 0.0]
    # Buffers: 16 tokens of 2 × 15 values in a matmul, 40 B for a token in attention: the most of
    # one operator.
    assert whole.activation_bytes == 16 * 40.0
    halves = prices.holdings(Split(sequence=2), work, 16.0)
    assert halves.kv_bytes_per_sequence[1] == (5 + 2) * 40.0
    assert halves.kv_bytes_more[1] == 40.0
    assert halves.activation_bytes == 8 * 40.0
    assert (
        prices.holdings(Split(attention=4), work, 16.0).activation_bytes == 8 * 40.0
    )  # two prompts, four ranks
    assert whole.workspace_bytes == 0


def test_sampling_needs_what_the_layers_buffers_do_not_leave():
    stated = {
        "live_streams": 7.0,
        "sampling_streams": 3.0,
        "logit_bytes": 14.0,
        "group_reserved_bytes": 60.0,
    }
    prices, work = PriceList(ROUND, round_machine(4, software=stated)), Workload(prompt_tokens=16)
    assert (ROUND.logits_width, ROUND.stream_bytes) == (10, 20)
    # 16 tokens: seven streams of 20 B, and 40 B of the widest operator. Sampling keeps three of
    # those streams, so 16 × (4 × 20 + 40) B are free again when 50 tokens' logits come.
    assert prices.activation_bytes(Split(), work, 16.0).tolist() == [16 * (7 * 20 + 40)]
    beyond = 50 * 10 * 14 - 16 * (4 * 20 + 40)
    assert prices.logits_bytes(Split(), work, 16.0, 50.0).tolist() == [beyond]
    assert prices.logits_bytes(Split(), work, 16.0, 1.0).tolist() == [0]
    # Tensor ranks share the operator out, and each has all streams and all logits.
    assert prices.activation_bytes(Split(2), work, 16.0)[0] >= 16 * 7 * 20
    assert prices.logits_bytes(Split(2), work, 16.0, 50.0)[0] >= beyond
    assert [prices.holdings(Split(tensor), work, 16.0).workspace_bytes for tensor in (1, 2)] == [
        0,
        60,
    ]
    held = prices.holdings(Split(2), work, 16.0)
    assert held.buffer_bytes == held.activation_bytes + 60


def test_of_chips_held_in_part_only_what_stays_counts():
    machine = round_machine(4, software={"logit_bytes": 14.0}, divisible=True)
    prices = PriceList(ROUND, machine)
    assert prices.logits_bytes(Split(), Workload(), 1.0, 50.0).tolist() == [0]


def test_a_token_adds_its_cache_and_the_state_after_it():
    graph = chain(layer("b", attention()), layer("s", recurrent()))
    prices = PriceList(graph, round_machine())
    # 2 heads × 5 × 5 values in 4 B; three tokens of 2 × 5 + 2 × 5 values in 2 B.
    state = 200.0 + 120.0
    assert prices.token_bytes(Split()).tolist() == [40.0, state]
    assert prices.token_bytes(Split(sequence=2)).tolist() == [20.0, state]


def test_activity_counts_operations_and_bytes_of_layers_that_run_so_often():
    power = Power(chip_w=100.0, idle_share=0.5, compute_activity=7.0, memory_activity=2.0)
    graph = chain(
        layer("a", matmul()),
        layer("a2", matmul()),
        layer("once", matmul(name="once"), runs_per_sample=1),
    )
    prices = PriceList(graph, round_machine(power=power, software={"compute_efficiency": 0.5}))
    step = Step(tokens=2.0, sequences=2.0, context_tokens=3.0, decode=True)
    # 200 FLOP at the peak take 2 s, 160 B at the full bandwidth 16 s.
    assert prices.active_kinds_s([step]).tolist() == [[7 * 2.0 + 2 * 16.0], [0.0]]
    assert prices.active_chip_s(step) == 2 * 46.0
    assert prices.active_chip_s(step, runs_per_sample=1) == 46.0
    assert PriceList(graph, round_machine()).active_chip_s(step) == 0.0


def test_useful_work_is_arithmetic_without_zeros_weights_and_caches():
    graph = chain(
        layer("a", matmul(density=0.25, pattern="unstructured")),
        layer("b", attention()),
        layer("b2", attention()),
    )
    step = Step(tokens=6.0, sequences=2.0, context_tokens=3.0, decode=True)
    # A quarter of the weights: 25 FLOP for two operations each; 12.5 + 6.25 of 50 × 2 B are stored
    # for it, with its map.
    stored = 50 * (0.25 * 2 + 1 / 8)
    assert useful_work(graph, step) == (6 * 25.0 + 2 * 6 * 3 * 40, stored + 2 * 2 * 3 * 40)
    assert useful_work(graph, step, runs_per_sample=1) == (0.0, 0.0)


def test_utilisation_is_work_over_what_the_peak_and_the_bandwidth_allow():
    prices = PriceList(ROUND, round_machine())
    assert utilisation(prices, 20.0, (500.0, 50.0)) == {"mfu_fraction": 0.25, "mbu_fraction": 0.25}


def test_mfu_is_measured_in_the_format_that_most_weights_are_multiplied_in():
    small, large = layer("a", matmul()), layer("b", matmul(inputs=50, compute_dtype="fp8"))
    smaller = layer("c", matmul(inputs=4, compute_dtype="fp8"))
    once = layer("once", matmul(inputs=5000, compute_dtype="fp8"), runs_per_sample=1)
    assert mostly_multiplied_in(chain(small, large), round_machine()) == "fp8"
    assert (
        mostly_multiplied_in(chain(small, once, smaller), round_machine()) == "bf16"
    )  # 50 weights against 40, in how many bytes does not matter
    eleven = [layer(f"a{number}", matmul()) for number in range(11)]
    assert mostly_multiplied_in(chain(*eleven, large), round_machine()) == "bf16"  # 550 against 500
    assert mostly_multiplied_in(chain(layer("b", attention())), round_machine()) == "bf16"


def test_each_rank_that_shares_out_sequences_has_a_host_process_of_its_own():
    nine = Step(tokens=9.0, sequences=9.0, context_tokens=100.0, decode=True)
    assert made_on_rank(Split(attention=4), nine) == 3.0
    assert made_on_rank(Split(attention=4), nine, whole=False) == 2.25
    assert made_on_rank(Split(tensor=4), nine) == 9.0
    assert made_on_rank(Split(attention=4), nine._replace(decode=False)) == 0.0


def test_tokens_are_dispatched_in_the_format_of_the_experts_where_the_software_does_so():
    # 256 values of 1 B and a scale of 4 B for each 128 are 264 B, in place of 512. Two of four
    # experts lie on 5 / 3 of the two chips on average, and half of the copies stay where they are.
    graph = chain(layer("e", experts(inputs=256, compute_dtype="fp8")))
    split = Split(expert=2, attention=2)
    step = Step(tokens=2.0, sequences=2.0, context_tokens=1.0, decode=True)

    def exchanged(**software):
        machine = round_machine(2, software=software)
        prices = PriceList(graph, machine).prices(split, step, reach_of(machine, split, 0))
        return causes(prices, 0)["collective"]

    back = 1.0 + 1.0 + 512 * 5 / 3 / 2 / 10
    there = 1.0 + 1.0 + 264 * 5 / 3 / 2 / 10
    assert exchanged() == pytest.approx(2 * back)
    assert exchanged(quantised_dispatch=True) == pytest.approx(there + back)
    # Where kernels quantise what they were sent, it goes there as wide as it comes back.
    wide = exchanged(quantised_dispatch=True, dispatched_wide=("fp8",))
    assert wide == pytest.approx(2 * back)
    assert exchanged(quantised_dispatch=True, dispatched_wide=("nvfp4",)) == pytest.approx(
        there + back
    )
    half = exchanged(quantised_dispatch=True, hidden_exchange_share=0.5)
    assert half == pytest.approx((there + back) / 2)


def test_the_host_schedules_a_pass_and_samples_for_each_sequence():
    assert host_s(round_software(step_overhead_s=2.0, sequence_overhead_s=0.5), 4.0) == 4.0


def test_tied_weights_are_told_apart():
    graph = chain(layer("a", matmul()), layer("c", head(tied_to="a"), matmul(name="other")))
    held = PriceList(graph, round_machine()).holdings(Split(), Workload(), 1.0)
    assert held.tied_bytes.tolist() == [0.0, 100.0]
    assert held.weight_bytes.tolist() == [100.0, 200.0]


def test_each_rank_of_experts_reaches_as_far_as_they_are_spread():
    topology = tiny_topology(8, fabric("switch", 4), fabric("switch", 2))
    assert reach_of(topology, Split(tensor=2, expert=8, attention=4), 0).expert == (4, 2)
    assert reach_of(topology, Split(tensor=4, expert=4), 0).expert == (1, 1)
    # Chips 2 to 5 as two pairs: each pair lies in one node.
    assert reach_of(topology, Split(tensor=2, attention=2), 2).tensor == (2, 1)
    assert reach_of(topology, Split(tensor=4), 2).tensor == (2, 2)


@pytest.mark.parametrize(
    ("split", "missing"),
    [
        (Split(sequence=2), "all_to_all"),
        (Split(tensor=2, sequence=2), "all_to_all"),
        (Split(expert=2, attention=2), "all_to_all"),
        (Split(tensor=2), None),
        (Split(attention=2), None),
    ],
)
def test_only_what_shares_out_tokens_needs_an_all_to_all(split, missing):
    ring = tiny_software().collectives[0].replace(kinds=("all_reduce", "all_gather"))
    assert (
        unoffered(tiny_topology(4, software=tiny_software(collectives=(ring,))), split) == missing
    )


# ── Wide experts ──────────────────────────────────────────────────────────────────────────────────


def best_expert_degree(name, software, dtype, chips, each, degrees):
    """Of DeepSeek-V3 with so many sequences a chip in a decode pool: the degree with the most
    tokens a second from a chip."""
    graph = pl.load_model("deepseek-v3", weight_dtype=dtype)
    machine = pl.load_topology(name, chips=chips, software=software)
    rates = {}
    for expert in degrees:
        held = chips // expert * expert
        work = pl.Workload(
            batch_size=each * held, prompt_tokens=2048, output_tokens=1024, phase="decode"
        )
        plan = pl.uniform_plan(graph, machine, expert_parallel=expert, data_parallel=held)
        score = pl.score_plan(plan, graph, machine, work)
        rates[expert] = score.tokens_per_s / held
    return max(rates, key=rates.__getitem__)


@pytest.mark.parametrize("software", ["tensorrt-llm", "sglang"])
@pytest.mark.parametrize("each", [32, 64, 128])
def test_inside_one_nvlink_domain_wide_experts_are_best(software, each):
    degrees = (4, 8, 16, 24, 32, 48, 64, 72)
    best = best_expert_degree("gb200-nvl72", software, "nvfp4", 72, each, degrees)
    assert 16 <= best <= 72


@pytest.mark.parametrize(("software", "each"), [("sglang", 64), ("tensorrt-llm", 32)])
def test_across_infiniband_the_load_says_how_wide(software, each):
    degrees = (16, 32, 64, 128)
    best = best_expert_degree("superpod-h100", software, "fp8", 128, each, degrees)
    assert best <= 32


@pytest.mark.parametrize("each", [32, 64, 128])
def test_the_host_and_its_limit_belong_to_a_rank(each):
    # 128 ranks with as many sequences each: up to 16,384 in the replica, at most 4,096 in a process
    # of the engine, which schedules and samples for its own, 19.9 us each.
    graph = pl.load_model("deepseek-v3")
    machine = pl.load_topology("superpod-h100", chips=128, software="sglang")
    plan = pl.uniform_plan(graph, machine, expert_parallel=128, data_parallel=128)
    work = pl.Workload(batch_size=128 * each, prompt_tokens=1024, output_tokens=512, phase="decode")
    score = pl.score_plan(plan, graph, machine, work)
    host = machine.software.step_overhead_s + each * machine.software.sequence_overhead_s
    launched = score.breakdown[0].overhead_s - host
    alone = pl.score_plan(plan, graph, machine, work.replace(batch_size=128))
    one = machine.software.step_overhead_s + machine.software.sequence_overhead_s
    assert launched == pytest.approx(alone.breakdown[0].overhead_s - one)


def test_it_does_not_matter_which_node_holds_the_experts():
    graph, machine = pl.load_model("deepseek-v3"), pl.load_topology("superpod-h100", chips=64)
    prices, split = PriceList(graph, machine), Split(expert=16, attention=16)
    step = Step(tokens=512.0, sequences=512.0, context_tokens=1000.0, decode=True)
    there, elsewhere = (
        prices.prices(split, step, reach_of(machine, split, first)).seconds for first in (0, 32)
    )
    assert there.tolist() == elsewhere.tolist()


def test_experts_multiply_whole_tiles():
    """Each of four experts, of which a token chooses two, has 2,048 of 4,096 tokens, and 64 places
    beside them; at a peak of 0.01 FLOP/s arithmetic is all that counts."""
    graph = chain(layer("e", experts()))
    step = Step(tokens=4096.0, sequences=1.0, context_tokens=1.0, decode=False)
    chip = round_chip(peaks=(Peak(dtype="bf16", flop_per_s=0.01),))

    def arithmetic_s(tile):
        machine = round_machine(chip=chip, software={"experts_tile_tokens": tile})
        return causes(PriceList(graph, machine).prices(Split(), step, ALONE), 0)["compute"]

    assert arithmetic_s(128) == pytest.approx(arithmetic_s(0) * (2048 + 64) / 2048)
