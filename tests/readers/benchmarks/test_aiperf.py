"""AIPerf and GenAI-Perf: units, settings of several versions, tables."""

import json
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.aiperf import (
    is_aiperf,
    is_aiperf_csv,
    read_aiperf,
    read_aiperf_csv,
)
from planner.readers.benchmarks.measured import Spread
from tests.readers.benchmarks.texts import AIPERF_CSV, GENAI_PERF, LLAMA, PHASES, aiperf, metric

HERE = Path("profile_export_aiperf.json")


@pytest.mark.parametrize("settings", [{}, {"input_config": PHASES}])
def test_a_run_is_read_from_settings_of_each_version(settings):
    run = read_aiperf(aiperf(**settings), HERE)
    assert (run.tool, run.version, run.model) == ("AIPerf", "0.10.0", LLAMA)
    assert (run.load, run.clients, run.requests) == ("clients", 8, 80)
    assert (run.prompt_tokens, run.output_tokens) == (1000.0, 128.0)
    assert run.ttft == Spread(mean_s=0.09, p50_s=0.085, p90_s=0.12, p95_s=0.13, p99_s=0.15)
    assert run.tpot.mean_s == pytest.approx(0.0095)
    assert run.tokens_per_s == 768.0


def test_a_rate_is_a_load_of_its_own():
    asked = {"loadgen": {"request_rate": 2.5}, "endpoint": {"model_names": [LLAMA]}}
    run = read_aiperf(aiperf(input_config=asked), HERE)
    assert (run.load, run.rate_per_s, run.clients) == ("rate", 2.5, None)


def test_its_ancestor_is_read():
    run = read_aiperf(GENAI_PERF, HERE)
    assert (run.tool, run.clients, run.model, run.ttft.mean_s) == ("GenAI-Perf", 16, LLAMA, 0.3)


def test_units_are_obeyed_and_unknown_ones_refused():
    run = read_aiperf(aiperf(request_latency=metric("sec", 1.3)), HERE)
    assert run.e2e.mean_s == 1.3
    with pytest.raises(InputError, match="the unit of request_latency is 'fortnights'"):
        read_aiperf(aiperf(request_latency=metric("fortnights", 1.3)), HERE)
    with pytest.raises(InputError, match="it must be ns, us, ms or s"):
        read_aiperf(aiperf(request_latency={"avg": 1.0, "unit": ["ms"]}), HERE)
    with pytest.raises(InputError, match=r"AIPerf schema '2\.0' is not supported"):
        read_aiperf(aiperf(schema_version="2.0"), HERE)


def test_the_table_says_the_same_times():
    run = read_aiperf_csv(AIPERF_CSV, HERE)
    whole = read_aiperf(aiperf(), HERE)
    assert (run.ttft, run.tpot, run.e2e) == (whole.ttft, whole.tpot, whole.e2e)
    assert (run.requests, run.tokens_per_s) == (80, 768.0)
    assert (run.model, run.load) == ("", "unknown")


def test_it_is_told_by_its_metrics():
    assert is_aiperf(aiperf())
    assert is_aiperf(json.loads(json.dumps(GENAI_PERF)))
    assert not is_aiperf({"request_latency": {"mean": 3.0}})
    assert is_aiperf_csv(AIPERF_CSV)
    assert not is_aiperf_csv("metric;avg\n")
