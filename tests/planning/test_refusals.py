"""A refusal names what binds, by how much, and what would do."""

import pytest

import planner as pl
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.machines.test_cluster import line


def refused(model: str, dtype: str, machine: str, chips: int) -> pl.InfeasibleError:
    graph, topology = (
        pl.load_model(model, weight_dtype=dtype),
        pl.load_topology(machine, chips=chips),
    )
    with pytest.raises(pl.InfeasibleError) as caught:
        pl.partition(graph, topology, pl.Workload(batch_size=1), minimize="tpot_s")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dtype", "machine", "chips", "least"),
    [
        ("llama-3.1-70b", "fp8", "groq-lpu-chain", 300, 307),
        ("llama-3.1-70b", "bf16", "cerebras-cs3", 3, 4),
        ("llama-3.1-70b", "bf16", "hgx-h100", 1, 2),
        ("gpt-4-rumour", "bf16", "cerebras-cs3", 64, 84),
    ],
)
def test_bare_facts_about_memory_come_out(model, dtype, machine, chips, least):
    error = refused(model, dtype, machine, chips)
    assert error.resource == "memory for weights"
    assert f"at least {least} chips" in str(error)
    assert error.gap == pytest.approx(error.demand - error.capacity)
    assert error.gap > 0
    assert error.smallest_chips >= least


@pytest.mark.slow
def test_as_many_chips_as_the_refusal_says_do():
    graph, work = tiny_graph(8), pl.Workload(batch_size=1)
    for memory in (3e7, 6e7, 1e8):
        topology = tiny_topology(64, chip=tiny_chip(memory))
        with pytest.raises(pl.InfeasibleError) as caught:
            pl.partition(graph, topology.replace(chips=1), work, minimize="tpot_s")
        enough = caught.value.smallest_chips
        assert (
            pl.partition(graph, topology.replace(chips=enough), work, minimize="tpot_s").score.chips
            <= enough
        )
        with pytest.raises(pl.InfeasibleError):
            pl.partition(graph, topology.replace(chips=enough - 1), work, minimize="tpot_s")


def test_where_no_number_of_chips_would_do_that_is_said():
    topology = tiny_topology(2, chip=tiny_chip(1e6))
    with pytest.raises(
        pl.InfeasibleError, match="even 2 chips, the most of this machine, are not enough"
    ) as caught:
        pl.partition(tiny_graph(), topology, pl.Workload(), minimize="tpot_s")
    assert caught.value.smallest_chips is None


def test_a_cache_that_does_not_fit_is_told_from_weights_that_do_not():
    topology = tiny_topology(1, chip=tiny_chip(1.2e8))
    with pytest.raises(pl.InfeasibleError, match="KV cache of 64") as caught:
        pl.partition(
            tiny_graph(),
            topology,
            pl.Workload(batch_size=64, prompt_tokens=10_000),
            minimize="tpot_s",
        )
    assert caught.value.resource == "memory for weights, KV cache and activations"


def test_states_count_with_the_cache():
    graph = tiny_graph(
        2,
        pattern="M-",
        recurrence="mamba-2",
        state_heads=8,
        state_key_heads=2,
        state_key=128,
        state_value=128,
    )
    topology = tiny_topology(1, chip=tiny_chip(graph.weight_bytes / 0.9 + 1e6))
    with pytest.raises(pl.InfeasibleError) as caught:
        pl.partition(graph, topology, pl.Workload(batch_size=64), minimize="tpot_s")
    state = 8 * 128 * 128 * 4 + 3 * (8 * 128 + 2 * 2 * 128) * 2
    assert caught.value.demand == graph.weight_bytes + 64 * state


@pytest.mark.slow
def test_a_limit_that_the_wait_breaks_says_who_waits():
    topology = tiny_topology(1, software=tiny_software(most_sequences=4))
    work = pl.Workload(batch_size=9, prompt_tokens=1)
    waited = pl.partition(tiny_graph(), topology, work, minimize="ttft_s").score
    assert waited.queued_s > 0.9 * waited.ttft_s
    with pytest.raises(pl.InfeasibleError, match="4 of the 9 sequences are in flight") as caught:
        pl.partition(
            tiny_graph(), topology, work, minimize="tpot_s", limits={"ttft_s": waited.ttft_s / 2}
        )
    assert caught.value.capacity == pytest.approx(waited.ttft_s)


@pytest.mark.slow
def test_a_limit_that_cannot_be_met_says_what_can():
    with pytest.raises(pl.InfeasibleError, match="tpot_s cannot be under") as caught:
        pl.partition(
            tiny_graph(), tiny_topology(4), pl.Workload(), minimize="chips", limits={"tpot_s": 1e-9}
        )
    best = pl.partition(tiny_graph(), tiny_topology(4), pl.Workload(), minimize="tpot_s").objective
    assert caught.value.resource == "limit on tpot_s"
    assert caught.value.capacity == pytest.approx(best)


@pytest.mark.slow
def test_limits_that_hold_one_by_one_but_not_together_are_told_apart():
    graph, work = tiny_graph(4), pl.Workload(batch_size=4)
    machine = tiny_topology(4)
    fastest = pl.partition(graph, machine, work, minimize="tpot_s")
    assert fastest.score.chips > 1
    with pytest.raises(pl.InfeasibleError, match="can be kept by itself"):
        pl.partition(
            graph,
            machine,
            work,
            minimize="ttft_s",
            limits={"tpot_s": fastest.objective * 1.0001, "chips": 1},
        )


@pytest.mark.slow
def test_a_rate_beyond_what_any_plan_serves_is_told_with_what_one_does():
    graph, topology = tiny_graph(2), tiny_topology(2)
    with pytest.raises(
        pl.InfeasibleError, match=r"more than any plan on 2 × tiny can serve"
    ) as caught:
        pl.partition(graph, topology, pl.Workload(requests_per_s=1e6), minimize="tpot_s")
    assert caught.value.resource == "rate of requests"
    served = pl.Workload(requests_per_s=0.95 * caught.value.capacity)
    assert pl.partition(graph, topology, served, minimize="tpot_s").status == "optimal"


@pytest.mark.slow
def test_a_limit_that_no_plan_keeps_at_the_rate_is_named():
    with pytest.raises(pl.InfeasibleError, match=r"^ttft_s cannot be under"):
        pl.partition(
            tiny_graph(2),
            tiny_topology(2),
            pl.Workload(requests_per_s=1.0),
            minimize="chips",
            limits={"ttft_s": 1e-9},
        )


def test_what_a_cluster_lacks_is_counted_over_its_pools():
    """Weights that exceed the memory of all chips are told from caches that do."""
    cluster, graph = line("a", "b"), pl.load_model("llama-3.1-405b")
    with pytest.raises(
        pl.InfeasibleError, match="add a pool, or store the weights in fewer bits"
    ) as caught:
        pl.partition_cluster(graph, cluster, pl.Workload())
    memory = [pool.topology.chip.memory[0].capacity_bytes for pool in cluster.pools]
    chips = [pool.topology.chips for pool in cluster.pools]
    assert caught.value.resource == "memory for weights"
    assert caught.value.demand == graph.weight_bytes
    assert caught.value.capacity == sum(m * n for m, n in zip(memory, chips, strict=True))
    assert caught.value.smallest_chips is None


def test_who_leaves_chips_out_is_told_to_leave_out_fewer():
    topology = tiny_topology(2, chip=tiny_chip(6e7))
    with pytest.raises(pl.InfeasibleError, match="exclude fewer chips"):
        pl.partition(tiny_graph(8), topology, pl.Workload(), minimize="tpot_s", exclude=(1,))


@pytest.mark.slow
def test_limits_on_a_cluster_that_hold_one_by_one_are_told_apart():
    cluster, graph = line("a", "b"), tiny_graph(4)
    fastest = pl.partition_cluster(graph, cluster, pl.Workload(batch_size=4), minimize="tpot_s")
    assert fastest.score.chips > 1
    limits = {"tpot_s": fastest.objective * 1.0001, "chips": 1}
    with pytest.raises(pl.InfeasibleError, match="can be kept by itself") as caught:
        pl.partition_cluster(
            graph, cluster, pl.Workload(batch_size=4), minimize="ttft_s", limits=limits
        )
    assert caught.value.resource == "limits together"


@pytest.mark.slow
def test_a_limit_that_is_out_of_reach_on_any_number_of_chips_is_told_before_one_on_chips():
    graph, machine = tiny_graph(), tiny_topology(4, chip=tiny_chip(6e7))
    limits = {"chips": 1, "tpot_s": 1e-9}
    with pytest.raises(pl.InfeasibleError, match="tpot_s cannot be under"):
        pl.partition(graph, machine, pl.Workload(), minimize="ttft_s", limits=limits)
    with pytest.raises(pl.InfeasibleError, match="chips cannot be under 2") as caught:
        pl.partition(graph, machine, pl.Workload(), minimize="ttft_s", limits={"chips": 1})
    assert caught.value.capacity > 1
