"""Records in one line: what `repr` says of answers and nouns, however much they hold."""

import pytest

import planner as pl
from planner.machines.cluster import Cluster, Pool, PoolLink
from planner.records import LINE
from planner.report import lines
from tests.instances import tiny_graph, tiny_topology
from tests.two_layers import GRAPH, WORK, machine

WORKLOAD = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)


@pytest.fixture(scope="module")
def result():
    return pl.partition(tiny_graph(2), tiny_topology(4), WORKLOAD, minimize="chips")


def test_a_result_says_what_was_found_by_which_plan_of_what_on_what(result):
    assert repr(result) == "Result(optimal, chips = 1, one chip, tiny on 4 × tiny of tiny)"


def test_nouns_say_what_they_are(result):
    assert repr(result.plan) == "Plan(one chip, 1 chips, micro_batches=1)"
    assert repr(result.topology) == "Topology(4 × tiny of tiny, software plain)"
    assert repr(result.graph).startswith("ModelGraph(tiny, 0.0")
    assert repr(result.graph).endswith(" B parameters, 4 layers, weights bf16)")


def test_a_score_says_times_rate_chips_and_sequences(result):
    score = result.score.replace(ttft_s=0.5, tpot_s=0.01, tokens_per_s=400.0)
    assert repr(score) == (
        "Score(ttft_s = 500 ms, tpot_s = 10 ms, tokens_per_s = 400 tokens/s, 1 chips, 4 in flight)"
    )
    sampled = score.replace(step_s=0.1, image_s=2.0, samples_per_s=2.0)
    assert repr(sampled).startswith("Score(step_s = 100 ms, image_s = 2 s, samples_per_s = 2 ")


def cluster():
    pools = [Pool(name=name, topology=tiny_topology(1, name=name)) for name in "abcde"]
    links = [
        PoolLink(between=("a", name), bandwidth_bytes_per_s=1e9, latency_s=1e-5) for name in "bcde"
    ]
    return Cluster(name="shed", pools=tuple(pools), links=tuple(links))


def everything(result):
    """One of each answer, and of the nouns that hold much."""
    graph, link = tiny_graph(2), pl.Link(bandwidth_bytes_per_s=1e9, latency_s=1e-3)
    yield from (result, result.plan, result.score, result.graph, result.topology, result.workload)
    certificate = result.certificate()
    yield from (certificate, pl.verify(certificate))
    pools = pl.disaggregate(
        graph, pl.Workload(batch_size=4), prefill=tiny_topology(2), link=link, minimize="tpot_s"
    )
    yield from (pools, pools.score)
    pair = pl.disaggregate_attention(
        graph,
        pl.Workload(phase="decode", batch_size=4),
        attention=tiny_topology(2),
        experts=tiny_topology(2),
        link=link,
    )
    yield from (pair, pair.score, pair.plan)
    yield from (cluster(), pl.partition_cluster(graph, cluster(), WORKLOAD, minimize="tpot_s"))
    yield pl.partition_fleet(graph, cluster(), WORKLOAD.replace(batch_size=None))
    yield pl.replan(pl.partition(graph, tiny_topology(4), WORKLOAD, minimize="chips"), lost=(0,))
    yield pl.pareto(graph, tiny_topology(2), WORKLOAD, fields=("tpot_s", "chips"))
    yield pl.fewest_chips(graph, {str(n): tiny_topology(n) for n in range(1, 7)}, WORKLOAD)
    missed = pl.partition(
        GRAPH, machine(), WORK, minimize="usd_per_million_tokens", limits={"tpot_s": 33.0}
    )
    yield from (missed.why(), *missed.near_misses())


@pytest.mark.slow
def test_every_answer_is_one_short_line_that_names_its_class(result):
    shown = [(type(record).__name__, repr(record)) for record in everything(result)]
    assert len({name for name, _ in shown}) >= 18
    for name, line in shown:
        assert line.startswith(f"{name}(")
        assert line.endswith(")")
        assert "\n" not in line
        assert len(line) <= LINE


@pytest.mark.slow
def test_of_many_machines_or_pools_a_few_are_named():
    assert lines.cluster_line(cluster()).endswith("d: 1 × tiny of d, 1 more pools")
    sizing = pl.fewest_chips(
        tiny_graph(2), {str(n): tiny_topology(n) for n in range(1, 7)}, WORKLOAD
    )
    assert repr(sizing).endswith(", 2 more)")
