"""`python -m sglang.bench_serving --output-file`: one JSON object a line, a run each.

Since 2025 a line holds what the server said of itself too: its model and its degrees.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import InputError
from planner.readers.benchmarks.figures import (
    count_of,
    part_of,
    positive_of,
    stored_as,
    word_of,
)
from planner.readers.benchmarks.measured import Benchmark
from planner.readers.benchmarks.vllm_bench import load_of, served_figures

FORMAT = "sglang.bench_serving JSONL"
DTYPES = {"fp8": "fp8", "w8a8_fp8": "fp8", "modelopt_fp4": "nvfp4", "mxfp4": "mxfp4"}
CACHES = {"fp8_e5m2": "fp8", "fp8_e4m3": "fp8", "bf16": "bf16", "bfloat16": "bf16"}


def is_sglang(fields: Mapping[str, Any]) -> bool:
    """Whether an object is a line of SGLang's tool."""
    return "random_input_len" in fields and "backend" in fields


def read_sglang(fields: Mapping[str, Any], path: Path) -> Benchmark:
    """One line."""
    if "total_input_tokens" not in fields:
        raise InputError(
            f"{path} was written by sglang.bench_serving before 0.4, which used one name for"
            " seconds and milliseconds; run the benchmark again with a newer version"
        )
    server = part_of(fields, "server_info")
    model = word_of(server, "model_path")
    load, clients, rate = load_of(fields, path)
    return Benchmark(
        tool="sglang.bench_serving",
        version=word_of(server, "version"),
        date=word_of(fields, "date"),
        model=model,
        engine="sglang" if fields.get("backend") == "sglang-oai" else word_of(fields, "backend"),
        load=load,
        clients=clients,
        rate_per_s=rate,
        mean_sequences=positive_of(fields, "concurrency", path),
        pipeline_parallel=count_of(server, "pp_size", path),
        expert_parallel=count_of(server, "ep_size", path),
        **_degrees(server, path),
        weight_format=DTYPES.get(word_of(server, "quantization"), stored_as(model)),
        cache_format=CACHES.get(word_of(server, "kv_cache_dtype"), ""),
        **served_figures(fields, path, "e2e_latency"),
    )


def _degrees(server: Mapping[str, Any], path: Path) -> dict[str, int | None]:
    """Of the attention, whose ranks the tool's tensor degree counts all."""
    ranks = count_of(server, "tp_size", path)
    data = count_of(server, "dp_size", path) or 1
    sharing = count_of(server, "attn_dp_size", path) or 1
    # Before there was a degree of its own, the same one said both.
    if server.get("enable_dp_attention") and sharing == 1:
        sharing, data = data, 1
    if ranks is None:
        return {}
    return {"tensor_parallel": max(1, ranks // sharing), "data_parallel": data * sharing}
