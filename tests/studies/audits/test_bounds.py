"""Bounds that no plan beats, by hand and against the engine."""

import pytest

import planner as pl
from planner.studies.audits.bounds import Roof


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
    free = 2 * 80e9 - roof.graph.weight_bytes
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
