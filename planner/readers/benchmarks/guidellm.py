"""GuideLLM's `benchmarks.json` and `benchmarks.csv`: several runs, each at a load of its own.

Its time per output token counts the first token in; what others call so is its time between
tokens. Only requests that succeeded count. Its CSV has three lines of header since 0.4; before, it
had one, which is not read.
"""

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.readers.benchmarks.figures import (
    count_of,
    first_count,
    first_name,
    first_rate,
    part_of,
    positive_of,
    spread_of,
    stored_as,
    word_of,
)
from planner.readers.benchmarks.measured import Benchmark, Load, Spread

FORMAT = "GuideLLM JSON"
CSV_FORMAT = "GuideLLM CSV"
SCHEMAS = (None, 1, 2)
"""Of reports, by the number that they carry; those before 0.4 carry none."""
MOST_RUNS = 1000
TIMES = {
    "ttft": ("time_to_first_token_ms", "Time to First Token", "ms", 1e-3),
    "tpot": ("inter_token_latency_ms", "Inter Token Latency", "ms", 1e-3),
    "e2e": ("request_latency", "Request Latency", "Sec", 1.0),
}
"""A field of ours: its name in the JSON, its column and unit in the CSV, and that unit."""
FIGURES = {
    "prompt_tokens": ("prompt_token_count", "Token Metrics", "Input Tokens"),
    "output_tokens": ("output_token_count", "Token Metrics", "Output Tokens"),
    "requests_per_s": ("requests_per_second", "Server Throughput", "Requests/Sec"),
    "mean_sequences": ("request_concurrency", "Server Throughput", "Concurrency"),
    "tokens_per_s": ("output_tokens_per_second", "Token Throughput", "Output Tokens/Sec"),
}
LOADS: dict[str, Load] = {
    "synchronous": "clients", "concurrent": "clients", "throughput": "together",
    "constant": "rate", "poisson": "rate", "async": "rate",
}  # fmt: skip
Column = tuple[str, ...]
"""Its group, its name, and what of it: three lines of header."""
Cells = Mapping[Column, str]


def is_guidellm(fields: Mapping[str, Any]) -> bool:
    """Whether an object is a report of GuideLLM."""
    runs = fields.get("benchmarks")
    first = runs[0] if isinstance(runs, list) and runs else None
    return "request_latency" in part_of({"run": first}, "run", "metrics")


def read_guidellm(fields: Mapping[str, Any], path: Path) -> tuple[Benchmark, ...]:
    """The runs of a report, in its order."""
    metadata = part_of(fields, "metadata")
    schema = metadata.get("version")
    if schema not in SCHEMAS:
        raise InputError(
            f"{path}: GuideLLM schema {shortened(repr(schema))} is not supported; use a version of"
            " GuideLLM whose schema is 2 or older"
        )
    runs = fields["benchmarks"]
    if len(runs) > MOST_RUNS:
        raise InputError(f"{path} has {len(runs)} runs; at most {MOST_RUNS} are read")
    version = word_of(metadata, "guidellm_version")
    told = [one for one in runs if isinstance(one, dict)]
    return tuple(_run(one, fields, version, path) for one in told)


def _run(one: Mapping[str, Any], report: Mapping[str, Any], version: str, path: Path) -> Benchmark:
    metrics = part_of(one, "metrics")
    config = part_of(one, "config") or part_of(one, "args")
    strategy = part_of(config, "strategy")
    load = LOADS.get(word_of(strategy, "type_"), "unknown")
    clients = first_count(strategy, "streams", "max_concurrency")
    model = _model(part_of(config, "backend"), one.get("worker"), report)
    figures = {
        name: positive_of(part_of(metrics, tag, "successful"), "mean", path)
        for name, (tag, *_) in FIGURES.items()
    }
    times = {
        name: _spread(part_of(metrics, tag, "successful"), path, unit_s)
        for name, (tag, _, _, unit_s) in TIMES.items()
    }
    return Benchmark(
        tool="GuideLLM",
        version=version,
        date=_date(one),
        model=model,
        load=load,
        clients=1 if strategy.get("type_") == "synchronous" else clients,
        rate_per_s=first_rate(strategy, "rate") if load == "rate" else None,
        requests=count_of(part_of(metrics, "request_totals"), "successful", path),
        weight_format=stored_as(model),
        **figures,
        **times,
    )


def _model(*places: object) -> str:
    for place in places:
        if found := first_name(place, "backend_model", "model", "model_name", "model_id"):
            return found
    return ""


def _date(one: Mapping[str, Any]) -> str:
    """When a run began, from seconds since 1970."""
    began = one.get("start_time") or part_of(one, "scheduler_metrics").get("start_time")
    if not isinstance(began, int | float) or not 0 < began < 1e11:
        return ""
    return datetime.fromtimestamp(began, UTC).date().isoformat()


def _spread(told: Mapping[str, Any], path: Path, unit_s: float) -> Spread:
    flat = {**part_of(told, "percentiles"), "mean": told.get("mean"), "median": told.get("median")}
    names = {"mean_s": "mean", "p50_s": "median", "p90_s": "p90", "p95_s": "p95", "p99_s": "p99"}
    return spread_of(flat, names, path, unit_s=unit_s)


def is_guidellm_csv(text: str) -> bool:
    """Whether a text is GuideLLM's table, of any version."""
    head = text[:20_000]
    return head.startswith("Run Info,") or ("Time to First Token" in head and "Benchmark" in head)


def read_guidellm_csv(text: str, path: Path) -> tuple[Benchmark, ...]:
    """The runs of a table, a line each."""
    if not text.startswith("Run Info,"):
        raise InputError(
            f"{path} is a CSV file of GuideLLM before 0.4, whose columns are not supported; give"
            " its JSON file"
        )
    csv.field_size_limit(2**24)
    lines = list(csv.reader(io.StringIO(text)))
    if len(lines) > MOST_RUNS + 3:
        raise InputError(f"{path} has {len(lines)} lines; at most {MOST_RUNS} runs are read")
    header, runs = lines[:3], lines[3:]
    columns = list(zip(*header, strict=False)) if len(header) == 3 else []
    tables = [dict(zip(columns, cells, strict=False)) for cells in runs]
    return tuple(_line(cells, path) for cells in tables)


def _line(cells: Cells, path: Path) -> Benchmark:
    kind = cells.get(("Benchmark", "Strategy", ""), "")
    model = _model(_json(cells, "Run Info", "Backend"), _json(cells, "Runtime Info", "Arguments"))
    load = LOADS.get(kind, "unknown")
    figures = {
        name: _figure(cells, path, group, f"Successful {column}", "Mean")
        for name, (_, group, column) in FIGURES.items()
    }
    times = {
        name: _times(cells, path, group, unit, unit_s)
        for name, (_, group, unit, unit_s) in TIMES.items()
    }
    # The table says how many clients there were only as the mean of requests in flight.
    in_flight = figures["mean_sequences"]
    metadata = _json(cells, "Runtime Info", "Metadata")
    return Benchmark(
        tool="GuideLLM",
        version=first_name(metadata, "guidellm_version"),
        date=cells.get(("Timings", "Start Time", ""), "")[:10],
        model=model,
        load=load,
        clients=max(1, round(in_flight)) if in_flight and load == "clients" else None,
        requests=round(_figure(cells, path, "Request Counts", "Successful", "") or 0) or None,
        weight_format=stored_as(model),
        **figures,
        **times,
    )


def _json(cells: Cells, group: str, name: str) -> object:
    """What a cell holds as JSON; nothing where it is none."""
    with suppress(ValueError, RecursionError):
        return json.loads(cells.get((group, name, ""), "")[: 2**16])
    return None


def _figure(cells: Cells, path: Path, *column: str) -> float | None:
    return positive_of({column[1]: cells.get(column)}, column[1], path)


def _times(cells: Cells, path: Path, group: str, unit: str, unit_s: float) -> Spread:
    """A time's mean, median and percentiles, of which the table has eleven in one cell."""
    column = f"Successful {unit}"
    told: dict[str, Any] = {
        "mean": cells.get((group, column, "Mean")),
        "median": cells.get((group, column, "Median")),
    }
    shares = cells.get((group, column, "Percentiles"), "").strip("[]").split(",")
    if len(shares) == 11:
        told |= {"percentiles": dict(zip(("p90", "p95", "p99"), shares[7:10], strict=True))}
    return _spread(told, path, unit_s)
