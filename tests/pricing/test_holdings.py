"""What chips hold, by hand."""

from dataclasses import replace

import pytest

from planner import fewest_chips, load_model, load_topology, partition
from planner.errors import InfeasibleError
from planner.machines.engine import Engine
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.deployment import Deployment
from planner.pricing.holdings import (
    Ledger,
    StageHoldings,
    held_weight_bytes,
    largest,
    layers_of,
    most_fitting,
    split_of,
)
from planner.pricing.price_list import PriceList, Split
from planner.pricing.schedule import scheduled
from planner.pricing.served import Served
from planner.workload import Workload
from tests.by_hand import attention, chain, head, layer, matmul, plan_of, round_machine, stage
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.machines.test_tiers import round_host


def one_stage(graph, chips: int = 1, **changes) -> Plan:
    names = tuple(layer.name for layer in graph.layers)
    return Plan(
        stages=(
            Stage(layers=names, groups=(ChipRange(first=0, count=chips),), tensor_parallel=chips),
        ),
        **changes,
    )


def ledger(graph, batch: int = 1, **changes):
    topology, plan = tiny_topology(1), one_stage(graph)
    work = Workload(batch_size=batch, **changes)
    at = scheduled(work, topology.software, batch_size=batch, replicas=1, micro_batches=1)
    return StageHoldings(Served(graph, topology, work), plan.stages[0]).ledger(at)


def test_one_chip_holds_all_weights():
    graph = tiny_graph()
    assert ledger(graph).weight_bytes == graph.weight_bytes


def test_every_sequence_leaves_its_own_cache():
    graph = tiny_graph()
    sizes = {"prompt_tokens": 100, "output_tokens": 28, "arrivals": "together"}
    one, four = (ledger(graph, batch, **sizes).kv_bytes for batch in (1, 4))
    assert one == 128 * graph.kv_bytes_per_token
    assert four == 4 * one


def test_tied_weights_are_held_once_by_a_chip_that_has_both():
    graph = tiny_graph(tied_embedding=True)
    table = 8192 * 1024 * 2
    assert graph.tied_layers == ((3, 0),)
    assert ledger(graph).weight_bytes == graph.weight_bytes
    assert ledger(tiny_graph()).weight_bytes - ledger(graph).weight_bytes == table


@pytest.mark.parametrize("tied", [False, True])
def test_a_table_of_embeddings_that_stays_with_the_host_is_on_no_chip(tied):
    graph = tiny_graph(tied_embedding=tied)
    table = 8192 * 1024 * 2
    software = tiny_software(embedding_on_host=True)
    machine = tiny_topology(2, software=software, host=round_host())
    served = Served(graph, machine, Workload())
    first, last = (
        StageHoldings(served, Stage(layers=names, groups=(ChipRange(first=at, count=1),)))
        for at, names in enumerate((graph.names[:1], graph.names[1:]))
    )
    whole = StageHoldings(served, one_stage(graph).stages[0])
    assert first.weight_bytes == 0.0
    # A tied head is a copy, whatever else is on its chip.
    assert whole.weight_bytes == last.weight_bytes
    assert whole.weight_bytes == graph.weight_bytes - (0 if tied else table)
    assert held_weight_bytes(graph, machine) == whole.weight_bytes
    # Chips that are the host have it in their own memory.
    alone = tiny_topology(1, software=software)
    assert StageHoldings(
        Served(graph, alone, Workload()), one_stage(graph).stages[0]
    ).weight_bytes == (graph.weight_bytes)
    assert held_weight_bytes(graph, alone) == graph.weight_bytes


def test_a_model_fits_that_fits_without_its_table_of_embeddings():
    graph = tiny_graph()
    table = 8192 * 1024 * 2
    room = (graph.weight_bytes - table / 2) / 0.9
    chip = tiny_chip()
    chip = chip.replace(memory=(chip.memory[0].replace(capacity_bytes=room),))
    work = Workload(batch_size=1, prompt_tokens=8, output_tokens=8)
    machine = tiny_topology(1, chip=chip, host=round_host())
    with pytest.raises(InfeasibleError):
        partition(graph, machine, work)
    there = machine.replace(software=tiny_software(embedding_on_host=True))
    result = partition(graph, there, work)
    assert result.score.stages[0].weight_bytes == graph.weight_bytes - table
    assert fewest_chips(graph, there, work, limits={"ttft_s": 10.0}).machines[0].most_chips == 1


def test_what_may_be_filled_is_the_usable_share_less_what_is_reserved():
    software = tiny_software(usable_memory_fraction=0.9, reserved_bytes=1e8)
    assert PriceList(
        tiny_graph(), tiny_topology(1, software=software)
    ).usable_bytes == pytest.approx(8e8)


def test_an_open_batch_holds_as_many_sequences_as_fit():
    graph, work = tiny_graph(), Workload(batch_size=None, prompt_tokens=900, output_tokens=100)
    cache = 1000 * graph.kv_bytes_per_token
    topology = tiny_topology(1, chip=tiny_chip((graph.weight_bytes + 10.5 * cache) / 0.9))
    served, plan = Served(graph, topology, work), one_stage(graph)
    fitting = Deployment(plan, [served]).most_sequences
    assert 9 <= fitting <= 10  # activations take a little
    for sequences, holds in ((fitting, True), (fitting + 1, False)):
        at = scheduled(work, topology.software, batch_size=sequences, replicas=1, micro_batches=1)
        assert (StageHoldings(served, plan.stages[0]).ledger(at).headroom_bytes >= 0) == holds


@pytest.mark.parametrize("true_most", [0, 1, 2, 3, 7, 64, 99, 100])
def test_the_largest_that_fits_is_found_whatever_it_is(true_most):
    assert largest(lambda number: number <= true_most, 100) == true_most


def room_of(shape: str, true_most: int, number: int) -> float:
    """Bytes left when so many are held: along a line, in steps of eight, or with a steep end."""
    if shape == "line":
        return 3.0 * (true_most + 0.5 - number)
    if shape == "steps":
        return float(8 * (true_most // 8 + 1) - 8 * ((number - 1) // 8 + 1))
    return 1e9 * (true_most + 0.5 - number) if number > true_most else 0.01 * (true_most - number)


@pytest.mark.parametrize("shape", ["line", "steps", "bend"])
@pytest.mark.parametrize("most", [1, 2, 100, 4096])
def test_the_most_that_leaves_room_is_found_in_few_probes(shape, most):
    for true_most in sorted({0, 1, 2, 3, 7, 63, 64, 65, 98, 99, 100, 2000, 4095, 4096, 9000}):
        probed: list[int] = []

        def room(number, probed=probed, true_most=true_most):
            probed.append(number)
            return room_of(shape, true_most, number)

        fitting = max(
            (n for n in range(1, most + 1) if room_of(shape, true_most, n) >= 0), default=0
        )
        assert most_fitting(room, most) == fitting
        assert len(probed) <= (4 if shape == "line" else 40)
        assert len(probed) == len(set(probed))


def test_layers_are_found_by_name():
    graph = tiny_graph()
    stage = Stage(layers=("decoder.1", "head"), groups=(ChipRange(first=0, count=1),))
    assert layers_of(stage, graph).tolist() == [2, 3]


# ── On paper: 1,000 B a chip ──────────────────────────────────────────────────────────────────────

CHAIN = chain(
    layer("a", matmul()), layer("b", matmul(), attention()), layer("c", head(), kind="head")
)
"""100 B of weights in each, 40 B of cache for a token of b."""


def test_a_ledger_adds_up_what_each_sequence_and_the_longest_of_them_hold():
    machine, work = round_machine(), Workload(batch_size=5, prompt_tokens=6, output_tokens=4)
    at = scheduled(work, machine.software, batch_size=5, replicas=1, micro_batches=1)
    whole = StageHoldings(Served(CHAIN, machine, work), stage("a", "b", "c")).ledger(at)
    # Five sequences of 6 + 2 tokens on average, the longest two tokens longer; buffers for 6 tokens
    # of 40 B.
    assert whole == Ledger(
        weight_bytes=300,
        kv_bytes=5 * 8 * 40 + 2 * 40,
        activation_bytes=6 * 40,
        workspace_bytes=0,
        usable_bytes=1000,
    )
    assert whole.needed_bytes == 300 + 1680 + 240
    assert whole.headroom_bytes == 1000 - 2220
    without = StageHoldings(Served(CHAIN, machine, work), stage("a", "c")).ledger(at)
    assert (without.weight_bytes, without.kv_bytes) == (200, 0)
    ranks = StageHoldings(Served(CHAIN, machine, work), stage("b", chips=2)).ledger(at)
    assert (ranks.weight_bytes, ranks.kv_bytes) == (
        100,
        3 * 8 * 40 + 2 * 40,
    )  # three of five sequences


def test_guidance_runs_pass_by_pass_where_memory_asks_for_it():
    graph = chain(layer("a", matmul()), steps=20, tokens_per_sample=16, passes_per_step=2)
    machine, work = round_machine(), Workload(batch_size=3, prompt_tokens=16)
    at = scheduled(work, machine.software, batch_size=3, replicas=1, micro_batches=1, graph=graph)
    assert (
        StageHoldings(Served(graph, machine, work), stage("a")).ledger(at).activation_bytes
        == 3 * 16 * 30
    )


def test_a_tied_head_on_another_stage_holds_its_own_copy():
    graph = chain(
        layer("a", matmul()),
        layer("b", matmul(inputs=10)),
        layer("c", head(tied_to="a"), kind="head"),
    )
    machine, work = round_machine(), Workload(batch_size=1)
    at = scheduled(work, machine.software, batch_size=1, replicas=1, micro_batches=1)
    served = Served(graph, machine, work)
    weights = [
        StageHoldings(served, one).ledger(at).weight_bytes
        for one in (stage("a", "b", "c"), stage("a"), stage("b", "c"))
    ]
    assert weights == [300, 100, 300]
    assert StageHoldings(served, stage("a", "c")).ledger(at).weight_bytes == 100


def most_sequences(graph, machine, plan, work):
    return Deployment(plan, [Served(graph, machine, work)] * len(plan.stages)).most_sequences


def test_every_stage_of_every_replica_must_hold_its_sequences():
    # Stage b holds 100 B of weights and 40 B in buffers, n × 8 × 40 B of caches and 80 B more: two
    # fit into 1,000 B.
    machine = round_machine(4, software={"prefill_chunk_tokens": 1})
    work = Workload(batch_size=None, prompt_tokens=6, output_tokens=4)
    assert (
        most_sequences(
            CHAIN, machine, plan_of(stage("a"), stage("b", first=1), stage("c", first=2)), work
        )
        == 2
    )
    two = plan_of(stage("a", "c", replicas=2), stage("b", first=2, replicas=2))
    assert most_sequences(CHAIN, machine, two, work) == 2  # in each replica
    ranks = plan_of(stage("a", "c"), stage("b", first=1, chips=2))
    assert most_sequences(CHAIN, machine, ranks, work) == 4
    assert (
        most_sequences(
            CHAIN, machine, plan_of(stage("a", "b", "c")), work.replace(prompt_tokens=25)
        )
        == 0
    )  # 27 × 40 B
    few = round_machine(4, software={"prefill_chunk_tokens": 1, "most_sequences": 3})
    assert most_sequences(CHAIN, few, ranks, work) == 3


def test_micro_batches_make_buffers_smaller():
    machine = round_machine(1, software={"prefill_chunk_tokens": 1})
    work = Workload(batch_size=None, prompt_tokens=1, output_tokens=2)
    graph = chain(layer("b", matmul(), attention()))
    # 100 B of weights, 40 B for the longest, and n sequences of 2 tokens of 40 B: with n in one
    # micro-batch 140 + 120 n B.
    assert most_sequences(graph, machine, plan_of(stage("b")), work) == 7
    assert (
        most_sequences(graph, machine, plan_of(stage("b"), micro_batches=9), work) == 9
    )  # 140 + 80 n + 40 × ⌈n / 9⌉


def test_degrees_of_a_stage_are_those_of_its_split():
    assert split_of(
        stage("a", chips=24, tensor_parallel=2, expert_parallel=8, sequence_parallel=3)
    ) == Split(2, 8, 3, 4)


def test_the_largest_that_fits_is_found_in_few_probes():
    tried = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= 700

    assert largest(fits, 4096) == 700
    assert len(tried) == len(set(tried)) <= 22
    assert max(tried) <= 1024


# ── Layers off the first memory ──────────────────────────────────────────────────────────────────


def ledger_with(mode: str, away: tuple[str, ...]) -> Ledger:
    """Two layers, each of 100 B of weights and 40 B of cache for a token; two sequences of five."""
    graph = chain(layer("a", attention(), matmul()), layer("b", attention(), matmul()))
    topology = round_machine(1, software={"engine": Engine(offload=mode)}, host=round_host())
    sizes = {"prompt_tokens": 4, "output_tokens": 1, "arrivals": "together"}
    work = Workload(batch_size=2, **sizes)
    at = scheduled(work, topology.software, batch_size=2, replicas=1, micro_batches=1)
    found = StageHoldings(Served(graph, topology, work), stage("a", "b", offloaded=away)).ledger(at)
    assert found.usable_bytes == 1000
    return found


def test_weights_that_are_read_elsewhere_leave_their_caches_behind():
    here = ledger_with("streams", ())
    away = ledger_with("streams", ("a",))
    assert (here.weight_bytes, here.kv_bytes, here.offloaded_bytes) == (200, 2 * 2 * 5 * 40, 0)
    assert (away.weight_bytes, away.kv_bytes, away.offloaded_bytes) == (100, 2 * 2 * 5 * 40, 100)
    assert away.offload_bytes == 5000


def test_whole_layers_take_their_caches_along():
    away = ledger_with("layers", ("a",))
    assert (away.weight_bytes, away.kv_bytes) == (100, 2 * 5 * 40)
    assert away.offloaded_bytes == 100 + 2 * 5 * 40


def test_headroom_is_that_of_the_memory_with_less():
    away = ledger_with("layers", ("a",))
    assert away.headroom_bytes == 1000 - away.needed_bytes
    assert replace(away, offload_bytes=501.0).headroom_bytes == 1


@pytest.mark.slow
def test_576_lpus_hold_a_model_of_70_billion_and_the_caches_of_a_user_on_each_node_of_eight():
    # 68.7 GB of weights in 8 bit, and 72 users with 4,096 tokens of 163,840 B: 48.3 GB. At 207 MB a
    # chip these fill 565 of 576 chips; whole layers on eight chips each take a few more.
    graph = load_model("llama-2-70b", weight_dtype="int8", kv_dtype="int8")
    machine = load_topology("groq-lpu-chain", chips=700)
    usable = 0.9 * 230e6
    caches = 72 * 4096 * 2 * 80 * 8 * 128
    by_hand = (graph.weight_bytes + caches) / usable
    assert 550 < by_hand < 576
    work = Workload(batch_size=72, prompt_tokens=3796, output_tokens=300)
    fewest = partition(graph, machine, work, minimize="chips").score.chips
    assert by_hand < fewest < 1.15 * 576
    # One user's caches are a hundredth of that: the same question without the others.
    alone = partition(graph, machine, work.replace(batch_size=1), minimize="chips").score.chips
    assert alone < 440
