"""Reports of GuideLLM: runs at several loads, requests that succeeded, its own words."""

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.guidellm import (
    is_guidellm,
    is_guidellm_csv,
    read_guidellm,
    read_guidellm_csv,
)
from planner.readers.benchmarks.measured import Spread
from tests.readers.benchmarks.texts import LLAMA, guidellm, guidellm_csv, guidellm_run

HERE = Path("benchmarks.json")


def test_each_run_is_read_at_its_load():
    clients, rate = read_guidellm(guidellm(), HERE)
    assert (clients.load, clients.clients, clients.model) == ("clients", 4, LLAMA)
    assert (rate.load, rate.rate_per_s, rate.in_flight) == ("rate", 5.0, 4.0)
    assert clients.e2e == Spread(mean_s=0.8, p50_s=0.79, p90_s=0.9, p95_s=0.95, p99_s=1.0)
    assert (clients.requests, clients.prompt_tokens, clients.output_tokens) == (40, 256.0, 64.0)
    assert clients.date == "2026-09-21"


def test_its_time_per_output_token_counts_the_first_one_and_is_not_taken():
    run = read_guidellm(guidellm(), HERE)[0]
    # 12.5 ms by 64 tokens are the 0.8 s of the request; 12 ms are those between tokens.
    assert run.tpot.mean_s == 0.012


@pytest.mark.parametrize(
    ("strategy", "load", "clients"),
    [
        ({"type_": "synchronous"}, "clients", 1),
        ({"type_": "throughput", "max_concurrency": 64}, "together", 64),
        ({"type_": "constant", "rate": 2.0}, "rate", None),
        ({"type_": "new"}, "unknown", None),
    ],
)
def test_strategies_are_loads(strategy, load, clients):
    (run,) = read_guidellm(guidellm(benchmarks=[guidellm_run(strategy)]), HERE)
    assert (run.load, run.clients) == (load, clients)


def test_reports_before_metadata_are_read_and_later_schemas_refused():
    run = guidellm_run({"type_": "concurrent", "streams": 2})
    run["args"] = run.pop("config")
    run["worker"] = {"backend_model": "old"}
    del run["args"]["backend"]
    (old,) = read_guidellm({"benchmarks": [run]}, HERE)
    assert (old.clients, old.model, old.version) == (2, "old", "")
    with pytest.raises(InputError, match="GuideLLM schema 3"):
        read_guidellm(guidellm(metadata={"version": 3}), HERE)


def test_the_table_says_the_same():
    (run,) = read_guidellm_csv(guidellm_csv(), HERE)
    whole = read_guidellm(guidellm(), HERE)[0]
    assert (run.ttft, run.tpot.mean_s) == (whole.ttft, whole.tpot.mean_s)
    assert (run.model, run.clients, run.requests, run.version) == (LLAMA, 4, 40, "0.7.0")
    with pytest.raises(InputError, match=r"before 0\.4"):
        read_guidellm_csv("Name,Benchmark,Time to First Token\n", HERE)


def test_it_is_told_by_its_runs():
    assert is_guidellm(guidellm())
    assert not is_guidellm({"benchmarks": []})
    assert not is_guidellm({"benchmarks": [3]})
    assert is_guidellm_csv(guidellm_csv())
