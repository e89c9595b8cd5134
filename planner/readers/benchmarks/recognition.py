"""`read_benchmarks`: what a tool measured, in any format that is known, told by what it holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, listed
from planner.readers.benchmarks import (
    aiperf,
    guidellm,
    llama_bench,
    nccl_tests,
    planner_run,
    sglang_bench,
    vllm_bench,
)
from planner.readers.benchmarks.measured import Benchmark, Measured
from planner.readers.files import json_value, read_text
from planner.readers.run_file import is_run

MOST_BYTES = 64 * 2**20
MOST_VALUES = 2**22
"""Of JSON: results of each request may stand in it too."""
MOST_LINES = 10_000
"""Of JSON, a run each."""
FORMATS = (
    aiperf.FORMAT, aiperf.CSV_FORMAT, guidellm.FORMAT, guidellm.CSV_FORMAT, vllm_bench.SERVE,
    vllm_bench.LATENCY, vllm_bench.THROUGHPUT, sglang_bench.FORMAT, llama_bench.FORMAT,
    nccl_tests.FORMAT, planner_run.FORMAT,
)  # fmt: skip


def read_benchmarks(path: str | Path) -> Measured:
    """All that a file of a tool holds."""
    path = Path(path)
    return measured_in(read_text(path, "a result of a benchmark", most_bytes=MOST_BYTES), path)


def measured_in(text: str, path: Path) -> Measured:
    """What a text says that a tool measured; `path` says where it comes from."""
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(_objects(text, path), path)
    if aiperf.is_aiperf_csv(text):
        return Measured((aiperf.read_aiperf_csv(text, path),))
    if llama_bench.is_llama_bench_csv(text):
        return llama_bench.read_llama_bench_csv(text, path)
    if guidellm.is_guidellm_csv(text):
        return Measured(guidellm.read_guidellm_csv(text, path))
    if nccl_tests.is_nccl_tests(text):
        return nccl_tests.read_nccl_tests(text, path)
    if llama_bench.is_llama_bench_table(text):
        return llama_bench.read_llama_bench_table(text, path)
    raise _unknown(path)


def _objects(text: str, path: Path) -> list[dict[str, Any]]:
    """One object, a list of them, or one a line."""
    lines = [line for line in text.splitlines() if line.strip()]
    each = [line for line in lines if line.startswith("{") and line.rstrip().endswith("}")]
    if len(each) == len(lines) > 1:
        if len(lines) > MOST_LINES:
            raise InputError(f"{path} has {len(lines)} lines; at most {MOST_LINES} are read")
        found = [json_value(line, path, most_values=MOST_VALUES) for line in lines]
    else:
        whole = json_value(text, path, most_values=MOST_VALUES)
        found = whole if isinstance(whole, list) else [whole]
    if not found or not all(isinstance(one, dict) for one in found):
        raise _unknown(path)
    return found


def _of_json(objects: Sequence[dict[str, Any]], path: Path) -> Measured:
    if all(llama_bench.is_llama_bench(one) for one in objects):
        return llama_bench.read_llama_bench(objects, path)
    found: list[Benchmark] = []
    for one in objects:
        found += _runs(one, path)
    return Measured(tuple(found))


def _runs(fields: Mapping[str, Any], path: Path) -> Sequence[Benchmark]:
    if is_run(fields):
        return (planner_run.read_planner_run(fields, path),)
    if guidellm.is_guidellm(fields):
        return guidellm.read_guidellm(fields, path)
    if vllm_bench.is_serve(fields):
        return (vllm_bench.read_serve(fields, path),)
    if sglang_bench.is_sglang(fields):
        return (sglang_bench.read_sglang(fields, path),)
    if aiperf.is_aiperf(fields):
        return (aiperf.read_aiperf(fields, path),)
    if vllm_bench.is_latency(fields):
        return (vllm_bench.read_latency(fields, path),)
    if vllm_bench.is_throughput(fields):
        return (vllm_bench.read_throughput(fields, path),)
    raise _unknown(path)


def _unknown(path: Path) -> InputError:
    return InputError(
        f"{path} is not a known result of a benchmark; give {listed(FORMATS, 'or')}, or a CSV of"
        " measurements with a column row_id"
    )
