"""Bounds that no plan beats, by hand and against the engine."""

import pytest

import planner as pl
from planner.studies.audits.bounds import MOST_BATCH, Pass, Roof
from tests.by_hand import attention, chain, layer, matmul, round_machine


@pytest.fixture(scope="module")
def roof():
    return Roof(
        pl.load_model("llama-3.1-8b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100", chips=2),
        2,
        1000.0,
    )


def test_a_pass_of_one_takes_its_bytes_over_the_bandwidth(roof):
    step = roof.decode(1)
    layers = (
        roof.graph.weight_bytes - roof.graph.layers[0].weight_bytes
    )  # of the embedding, one row is read
    assert step.memory_s == pytest.approx(
        (layers + 1000 * roof.graph.kv_bytes_per_token) / (2 * 3.35e12), rel=1e-3
    )
    assert step.seconds == step.memory_s > step.compute_s


def test_memory_holds_what_the_weights_leave(roof):
    # The driver of an "80 GB" H100 grants 79.19 GiB.
    free = 2 * 79.19 * 2**30 - roof.graph.weight_bytes
    assert roof.most_sequences == int(free / (1000 * roof.graph.kv_bytes_per_token))
    assert roof.fewest_chips == 1


@pytest.mark.parametrize("batch_size", [1, 16, 128])
def test_no_plan_is_faster_than_the_roof(roof, batch_size):
    work = pl.Workload(batch_size=batch_size, prompt_tokens=900, output_tokens=200)
    best = pl.partition(roof.graph, roof.topology, work, maximize="tokens_per_s").score
    assert best.tokens_per_s <= roof.most_tokens_per_s(batch_size)


def test_a_picture_is_bound_by_arithmetic():
    step = Roof(pl.load_model("sd3-medium"), pl.load_topology("hgx-h100"), 1, 0.0).sample_step()
    assert step.compute_s > 5 * step.memory_s


def test_a_roof_by_hand():
    graph, machine = chain(layer("a", matmul()), layer("b", attention())), round_machine(8)
    roof = Roof(graph, machine, 2, 4.0)
    # Three sequences: 100 B of weights and 3 × 4 × 40 B of caches over 20 B/s; 3 × (100 + 4 × 40)
    # FLOP over 200 FLOP/s.
    assert roof.decode(3) == Pass(memory_s=29.0, compute_s=3.9)
    assert (roof.decode(3).seconds, Pass(1.0, 2.0).seconds) == (29.0, 2.0)
    assert roof.most_tokens_per_s(3) == pytest.approx(3 / 29)
    assert roof.most_sequences == 11  # 1,900 B are free, each takes 160 B
    assert roof.fewest_chips == 1
    assert Roof(graph, machine, 2, 0.0).most_sequences == MOST_BATCH
    picture = chain(layer("a", matmul()), steps=3, tokens_per_sample=40)
    assert Roof(picture, machine, 2, 0.0).sample_step() == Pass(memory_s=5.0, compute_s=20.0)
