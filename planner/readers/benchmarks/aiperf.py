"""NVIDIA AIPerf, and GenAI-Perf before it: `profile_export_aiperf.json`, `….csv`.

Each metric says its unit. The time between tokens is that of a request: from its first token to its
last, by the tokens after the first. The CSV says neither model nor load.
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.readers.benchmarks.figures import (
    as_number,
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

FORMAT = "AIPerf JSON"
CSV_FORMAT = "AIPerf CSV"
UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
SPREAD = {"mean_s": "avg", **{f"p{share}_s": f"p{share}" for share in (50, 90, 95, 99)}}
METRIC = re.compile(r"\s*([A-Za-z][A-Za-z0-9 ]*?)\s*(?:\(([^()]*)\))?\s*")
MOST_LINES = 10_000


def is_aiperf(fields: Mapping[str, Any]) -> bool:
    """Whether an object is a summary of either."""
    told = fields.get("request_latency"), fields.get("request_throughput")
    return any(isinstance(metric, Mapping) and "avg" in metric for metric in told)


def read_aiperf(fields: Mapping[str, Any], path: Path) -> Benchmark:
    """One run; settings stand at other places in each version, under the same names."""
    schema = word_of(fields, "schema_version")
    if schema and not schema.startswith("1."):
        raise InputError(
            f"{path}: AIPerf schema {shortened(schema)!r} is not supported; use a version of"
            " AIPerf whose schema begins with 1"
        )
    asked = fields.get("input_config")
    clients = first_count(asked, "concurrency")
    rate = first_rate(asked, "request_rate")
    load: Load = "unknown"
    if clients or rate:
        load = "rate" if rate else "clients"
    told = {name: metric for name, metric in fields.items() if isinstance(metric, Mapping)}
    return _benchmark(
        told,
        path,
        tool="AIPerf" if schema or "aiperf" in first_name(asked, "cli_command") else "GenAI-Perf",
        version=word_of(fields, "aiperf_version"),
        date=word_of(fields, "start_time"),
        model=_model(asked),
        load=load,
        clients=clients,
        rate_per_s=rate,
    )


def _model(asked: object) -> str:
    settings = asked if isinstance(asked, Mapping) else {}
    named = first_name(settings, "model_names", "model")
    return named or first_name(part_of(settings, "models"), "name") or first_name(asked, "models")


def _benchmark(told: Mapping[str, Any], path: Path, **about: Any) -> Benchmark:
    """From metrics by their tags, as the JSON has them."""

    def alone(name: str) -> float | None:
        return positive_of(told.get(name, {}), "avg", path)

    requests = count_of(told.get("request_count", {}), "avg", path)
    return Benchmark(
        requests=requests,
        prompt_tokens=alone("input_sequence_length"),
        output_tokens=alone("output_sequence_length"),
        ttft=_spread(told, "time_to_first_token", path),
        tpot=_spread(told, "inter_token_latency", path),
        itl=_spread(told, "inter_chunk_latency", path),
        e2e=_spread(told, "request_latency", path),
        requests_per_s=alone("request_throughput"),
        tokens_per_s=alone("output_token_throughput"),
        weight_format=stored_as(about["model"]),
        **about,
    )


def _spread(told: Mapping[str, Any], name: str, path: Path) -> Spread:
    metric = told.get(name)
    if metric is None:
        return Spread()
    unit = metric.get("unit") or "ms"
    if not isinstance(unit, str) or unit not in UNITS_S:
        raise InputError(
            f"{path}: the unit of {name} is {shortened(repr(unit))}; it must be ns, us, ms or s"
        )
    return spread_of(metric, SPREAD, path, unit_s=UNITS_S[unit])


def is_aiperf_csv(text: str) -> bool:
    """Whether a text is a table of either."""
    first = text.lstrip().partition("\n")[0].replace('"', "").replace(" ", "").lower()
    return first.startswith("metric,avg,") or first == "metric,value"


def read_aiperf_csv(text: str, path: Path) -> Benchmark:
    """Tables of metrics with percentiles and of metrics alone."""
    told: dict[str, dict[str, Any]] = {}
    header: list[str] = []
    for number, row in enumerate(csv.reader(io.StringIO(text))):
        if number > MOST_LINES:
            raise InputError(
                f"{path} has more than {MOST_LINES:,} lines, which is too long for a table of"
                " AIPerf; give the file that AIPerf wrote"
            )
        cells = [cell.strip() for cell in row]
        if cells[:1] == ["Metric"]:
            header = [{"Value": "avg"}.get(name, name) for name in cells]
        elif len(cells) > 1 and header:
            told |= _metric(cells, header)
    tool = "AIPerf" if "p1" in header or "Benchmark Duration" in text else "GenAI-Perf"
    return _benchmark(told, path, tool=tool, model="")


def _metric(cells: list[str], header: list[str]) -> dict[str, dict[str, Any]]:
    """A line as the JSON has it; what is no number, such as N/A, is left out."""
    found = METRIC.fullmatch(cells[0])
    if found is None:
        return {}
    numbers: dict[str, Any] = {"unit": found[2] or ""}
    for name, cell in zip(header[1:], cells[1:], strict=False):
        value = as_number(cell)
        if not math.isnan(value):
            numbers[name] = value
    return {found[1].lower().replace(" ", "_"): numbers}
