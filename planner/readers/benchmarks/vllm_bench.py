"""`vllm bench serve --save-result`, `vllm bench latency` and `vllm bench throughput --output-json`.

Times are in milliseconds in the first and in seconds in the others. The last two say neither the
model nor lengths; who gives the file must.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.readers.benchmarks.figures import (
    count_of,
    number_of,
    positive_of,
    spread_of,
    stored_as,
    word_of,
)
from planner.readers.benchmarks.measured import Benchmark, Load, Spread

SERVE = "vllm bench serve JSON"
LATENCY = "vllm bench latency JSON"
THROUGHPUT = "vllm bench throughput JSON"
MILLISECOND = 1e-3


def is_serve(fields: Mapping[str, Any]) -> bool:
    """Whether an object is the result of `vllm bench serve`, or of the script that it came from."""
    return {"model_id", "request_throughput", "total_input_tokens"} <= set(fields)


def is_latency(fields: Mapping[str, Any]) -> bool:
    """Whether it is that of `vllm bench latency`."""
    return {"avg_latency", "percentiles"} <= set(fields)


def is_throughput(fields: Mapping[str, Any]) -> bool:
    """Whether it is that of `vllm bench throughput`."""
    return {"elapsed_time", "num_requests", "tokens_per_second"} <= set(fields)


def read_serve(fields: Mapping[str, Any], path: Path) -> Benchmark:
    """One run of `vllm bench serve`."""
    model = word_of(fields, "model_id")
    load, clients, rate = load_of(fields, path)
    return Benchmark(
        tool="vllm bench serve",
        date=word_of(fields, "date"),
        model=model,
        engine=word_of(fields, "backend") or word_of(fields, "endpoint_type"),
        load=load,
        clients=clients,
        rate_per_s=rate,
        weight_format=stored_as(model),
        **served_figures(fields, path, "e2el"),
    )


def load_of(fields: Mapping[str, Any], path: Path) -> tuple[Load, int | None, float | None]:
    """Clients, a rate or all at once, as the two tools of this family say it: a rate that is
    infinite is none."""
    clients = count_of(fields, "max_concurrency", path)
    asked = fields.get("request_rate")
    endless = asked in ("inf", None) or asked == float("inf")
    if not endless and asked != "trace":
        return "rate", clients, positive_of(fields, "request_rate", path)
    if asked == "trace":
        return "unknown", clients, None
    return ("clients" if clients else "together"), clients, None


def served_figures(fields: Mapping[str, Any], path: Path, whole: str) -> dict[str, Any]:
    """Lengths, times and rates of a run of either tool; `whole` is what it calls the time of a
    request."""
    requests = count_of(fields, "completed", path)
    found: dict[str, Any] = {
        "requests": requests,
        "requests_per_s": positive_of(fields, "request_throughput", path),
        "tokens_per_s": positive_of(fields, "output_throughput", path),
    }
    for name in ("prompt_tokens", "output_tokens"):
        of_all = positive_of(fields, f"total_{name.replace('prompt', 'input')}", path)
        if requests and of_all:
            found[name] = of_all / requests
    for name, key in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", whole)):
        names = {"mean_s": f"mean_{key}_ms", "p50_s": f"median_{key}_ms"}
        names |= {f"p{share}_s": f"p{share}_{key}_ms" for share in (90, 95, 99)}
        found[name] = spread_of(fields, names, path, unit_s=MILLISECOND)
    return found


def read_latency(fields: Mapping[str, Any], path: Path) -> Benchmark:
    """Batches of requests that start together, one after the other."""
    shares = fields["percentiles"] if isinstance(fields["percentiles"], dict) else {}
    times = {"mean_s": number_of(fields, "avg_latency", path)}
    times |= {f"p{share}_s": number_of(shares, str(share), path) for share in (50, 90, 99)}
    return Benchmark(tool="vllm bench latency", engine="vllm", load="together", e2e=Spread(**times))


def read_throughput(fields: Mapping[str, Any], path: Path) -> Benchmark:
    """A list of requests, as fast as the engine works them off; its tokens count prompts too."""
    return Benchmark(
        tool="vllm bench throughput",
        engine="vllm",
        requests=count_of(fields, "num_requests", path),
        requests_per_s=positive_of(fields, "requests_per_second", path),
    )
