"""The price list, by hand on a tiny chip: 100 TFLOP/s at one half, 1 TB/s at four fifths, 1 µs a
kernel."""

import numpy as np
import pytest

from planner.models.operators import MatMul
from planner.models.pruning import pruned
from planner.pricing.price_list import (
    CAUSES,
    PriceList,
    Reach,
    Split,
    Step,
    multiplied_in,
    reach_of,
    shares_of,
    unoffered,
    useful_work,
)
from planner.workload import Workload
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


def test_experts_on_other_chips_cost_two_all_to_alls():
    # 8 experts, 2 active: every token goes to 2 of them, 1024 × 2 B each, among 4 chips.
    graph, topology = tiny_moe(), tiny_topology(4)
    split = Split(tensor=1, expert=4, attention=4)
    step = Step(tokens=4.0, sequences=4.0, context_tokens=100.0, decode=True)
    prices = PriceList(graph, topology).prices(split, step, reach_of(topology, split, 0))
    message = 1 * 2 * 1024 * 2
    direct = 2e-6 + 1e-6 + 0.75 * message / 40e9
    assert prices.seconds[CAUSES.index("collective"), kind_of(graph, "decoder")] == pytest.approx(
        2 * direct, rel=1e-12
    )


def test_halves_of_a_layer_weigh_half():
    graph, topology = tiny_graph(), tiny_topology(2)
    prices, work = PriceList(graph, topology), Workload(prompt_tokens=100, output_tokens=100)
    whole, half = (prices.holdings(Split(tensor=ways), work, 1.0, 1.0) for ways in (1, 2))
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
        prices.holdings(Split(tensor=ways), work, 1.0, 1.0).kv_bytes_per_sequence for ways in (4, 8)
    )
    assert eight.tolist() == four.tolist()


def test_the_cache_of_a_sequence_is_what_its_tokens_leave():
    # 2 (K and V) × 4 heads × 128 × 2 B = 2048 B a token and layer.
    graph = tiny_graph()
    work = Workload(prompt_tokens=100, output_tokens=28, arrivals="together")
    held = PriceList(graph, tiny_topology(1)).holdings(Split(), work, 1.0, 1.0)
    assert held.kv_bytes_per_sequence[kind_of(graph, "decoder")] == 128 * 2048
    assert held.kv_bytes_more[kind_of(graph, "decoder")] == 0


def test_sequences_of_every_age_hold_their_mean_and_one_its_full_length():
    graph, work = tiny_graph(), Workload(prompt_tokens=100, output_tokens=28, arrivals="steady")
    held = PriceList(graph, tiny_topology(1)).holdings(Split(), work, 1.0, 1.0)
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
    assert multiplied_in(tiny_graph()) == "bf16"


def test_prices_scale_over_numpy_arrays_of_layers():
    prices = PriceList(tiny_graph(3), tiny_topology(1)).prices(Split(), DECODE, ALONE)
    assert prices.seconds.shape == (len(CAUSES), 3)  # embedding, decoder, head
    assert np.isfinite(prices.seconds).all()


# ── States and zeros ─────────────────────────────────────────────────────────────────────────────────────────────────


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
        prices.holdings(Split(), Workload(prompt_tokens=n, output_tokens=n), 1.0, 1.0)
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
            Split(), work, 1.0, 1.0
        )
        for block in (1, 17)
    )
    unfilled = paged.kv_bytes_per_sequence - each.kv_bytes_per_sequence
    assert unfilled[kind_of(graph, "decoder")] == 8 * graph.kv_bytes_per_token / 2
    assert (paged.kv_bytes_more == each.kv_bytes_more).all()
