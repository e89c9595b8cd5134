"""Results of vllm bench: milliseconds, totals, a rate that is infinite."""

import json
from pathlib import Path

import pytest

from planner.readers.benchmarks.measured import Spread
from planner.readers.benchmarks.vllm_bench import (
    is_latency,
    is_serve,
    is_throughput,
    read_latency,
    read_serve,
    read_throughput,
)
from tests.readers.benchmarks.texts import VLLM_LATENCY, VLLM_THROUGHPUT, vllm_serve

HERE = Path("result.json")
WRITTEN = Path(__file__).resolve().parents[2] / "data" / "benchmarks" / "vllm-bench-latency.json"


def test_a_run_of_clients_is_read():
    run = read_serve(vllm_serve(), HERE)
    assert (run.load, run.clients, run.requests) == ("clients", 16, 200)
    assert (run.prompt_tokens, run.output_tokens) == (1024.0, 128.0)
    assert run.ttft == Spread(mean_s=0.08, p50_s=0.075, p99_s=0.16)
    assert run.tpot.mean_s == 0.01
    assert run.e2e == Spread()
    assert (run.tokens_per_s, run.engine) == (1280.0, "vllm")


@pytest.mark.parametrize(
    ("asked", "load", "rate"),
    [
        ({"request_rate": "inf", "max_concurrency": None}, "together", None),
        ({"request_rate": float("inf"), "max_concurrency": 4}, "clients", None),
        ({"request_rate": 2.5}, "rate", 2.5),
        ({"request_rate": "trace"}, "unknown", None),
    ],
)
def test_the_load_is_what_bounds_it(asked, load, rate):
    run = read_serve(vllm_serve(**asked), HERE)
    assert (run.load, run.rate_per_s) == (load, rate)


def test_batches_and_lists_of_requests_say_times_alone():
    batch = read_latency(VLLM_LATENCY, HERE)
    assert batch.e2e == Spread(mean_s=1.5, p50_s=1.5, p90_s=1.51, p99_s=1.51)
    assert (batch.load, batch.model, batch.prompt_tokens) == ("together", "", None)
    listed = read_throughput(VLLM_THROUGHPUT, HERE)
    # Its tokens a second count prompts, so they are not what others call throughput.
    assert (listed.requests_per_s, listed.tokens_per_s) == (20.0, None)


def test_what_vllm_wrote_here_is_read():
    """Of 0.32 on a processor: four sequences of 64 + 16 tokens, three times, of a random model."""
    told = json.loads(WRITTEN.read_text(encoding="utf-8"))
    assert (is_serve(told), is_latency(told), is_throughput(told)) == (False, True, False)
    batch = read_latency(told, WRITTEN)
    assert batch.load == "together"
    assert batch.e2e.mean_s == pytest.approx((0.6213651340 + 0.9144020710 + 0.9422029840) / 3)
    assert batch.e2e.p50_s == pytest.approx(0.9144020710)


def test_the_three_are_told_apart():
    told = [
        (is_serve(one), is_latency(one), is_throughput(one))
        for one in (vllm_serve(), VLLM_LATENCY, VLLM_THROUGHPUT, {})
    ]
    assert told == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (False, False, False),
    ]
