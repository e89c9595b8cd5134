"""llama.cpp's `llama-bench -o json | jsonl | csv | md`: prompts and tokens by themselves, one
sequence at a time.

A prompt's rate gives the time to the first token, that of tokens the time of each, at the depth
that the cache was filled to.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from planner.errors import InputError
from planner.readers.benchmarks.figures import as_number, count_of, positive_of, word_of
from planner.readers.benchmarks.measured import Benchmark, Measured, Spread

FORMAT = "llama-bench JSON, JSONL, CSV or Markdown"
MOST_ROWS = 10_000
FEW_LAYERS = 16
"""On the card: no model that is measured has fewer, so the others are computed by the host."""
WEIGHTS = (
    ("Q4_K - Medium", "q4_k_m"), ("Q4_K - Small", "q4_k"), ("Q5_K", "q5_k"), ("Q6_K", "q6_k"),
    ("Q3_K", "q3_k"), ("Q2_K", "q2_k"), ("Q8_0", "q8_0"), ("Q4_0", "q4_0"), ("Q4_1", "q4_1"),
    ("Q5_0", "q5_0"), ("MXFP4", "mxfp4"), ("BF16", "bf16"), ("F16", "fp16"), ("F32", "fp32"),
)  # fmt: skip
"""How a model's type says that its weights are stored, and what the catalogue calls that."""
CACHES = {"f16": "fp16", "bf16": "bf16", "f32": "fp32", "q8_0": "q8_0", "q4_0": "q4_0"}
TEST = re.compile(r"(?:pp(\d{1,8}))?(?:\+?tg(\d{1,8}))?(?: @ d(\d{1,8}))?")
RATE = re.compile(r"([\d.]{1,30})(?:\s*±.*)?")
BUILD = re.compile(r"^build: (\S{1,40} \(\d+\))", re.MULTILINE)


class _Test(NamedTuple):
    """What a line is of."""

    prompt_tokens: int
    output_tokens: int
    depth_tokens: int
    tokens_per_s: float


def is_llama_bench(fields: Mapping[str, Any]) -> bool:
    """Whether an object, or a line of a table, is of llama-bench."""
    return {"n_prompt", "n_gen", "avg_ts"} <= set(fields)


def is_llama_bench_csv(text: str) -> bool:
    """Whether a text is its CSV."""
    return text.lstrip().replace('"', "").startswith("build_commit,")


def is_llama_bench_table(text: str) -> bool:
    """Whether a text holds its table in Markdown."""
    return any({"test", "t/s"} <= set(_cells(line)) for line in text.splitlines()[:1000])


def read_llama_bench(rows: Sequence[Mapping[str, Any]], path: Path) -> Measured:
    """Lines as JSON has them."""
    if len(rows) > MOST_ROWS:
        raise InputError(f"{path} has {len(rows)} lines; at most {MOST_ROWS} are read")
    benchmarks = []
    remarks: dict[str, None] = {}
    for row in rows:
        test = _Test(
            count_of(row, "n_prompt", path) or 0,
            count_of(row, "n_gen", path) or 0,
            count_of(row, "n_depth", path) or 0,
            positive_of(row, "avg_ts", path) or 0.0,
        )
        reason = _refused(test, row.get("n_gpu_layers"), word_of(row, "backends"))
        if reason:
            remarks[reason] = None
        else:
            benchmarks.append(_benchmark(test, _about(row)))
    return Measured(tuple(benchmarks), remarks=tuple(remarks))


def read_llama_bench_csv(text: str, path: Path) -> Measured:
    """The same as a table of CSV."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if rows and not is_llama_bench(rows[0]):
        raise InputError(
            f"{path} needs the columns n_prompt, n_gen and avg_ts; give a file that llama-bench"
            " wrote"
        )
    return read_llama_bench(rows, path)


def _refused(test: _Test, layers: object, backends: str) -> str:
    """Why a line tells nothing that we predict; "" where it does."""
    if not test.tokens_per_s or not test.prompt_tokens + test.output_tokens:
        return "lines without a rate are left out"
    if test.depth_tokens and test.prompt_tokens:
        return (
            "lines with n_depth and a prompt are left out: their time is not the time to the first"
            " token of a request"
        )
    told = as_number(str(layers)) if layers is not None else -1.0
    on_host = backends.replace("BLAS", "").replace("CPU", "").strip(", ") == "" and backends
    if 0 <= told < FEW_LAYERS and not on_host:
        return (
            f"lines with fewer than {FEW_LAYERS} layers on the card are left out: the host"
            " computes the other layers"
        )
    return ""


def _about(row: Mapping[str, Any]) -> dict[str, Any]:
    cards = [name for name in word_of(row, "gpu_info").split(",") if name.strip()]
    spread = row.get("split_mode") == "layer" and len(cards) > 1
    filename = word_of(row, "model_filename").replace("\\", "/")
    number = row.get("build_number")
    return {
        "version": f"build {number}" if isinstance(number, int | str) and number else "",
        "date": word_of(row, "test_time"),
        "model": PurePath(filename).name.removesuffix(".gguf"),
        "weight_format": _stored_as(word_of(row, "model_type")),
        "cache_format": CACHES.get(word_of(row, "type_k"), ""),
        "pipeline_parallel": len(cards) if spread else None,
    }


def _stored_as(kind: str) -> str:
    return next((name for words, name in WEIGHTS if words in kind), "")


def _benchmark(test: _Test, about: Mapping[str, Any]) -> Benchmark:
    each_s = 1 / test.tokens_per_s
    times: dict[str, Any] = {"prompt_tokens": max(1, test.prompt_tokens + test.depth_tokens)}
    if test.output_tokens:
        times["output_tokens"] = test.output_tokens
    if not test.output_tokens:
        times["ttft"] = Spread(mean_s=test.prompt_tokens * each_s)
    elif not test.prompt_tokens:
        times["tpot"] = Spread(mean_s=each_s)
    else:
        times["e2e"] = Spread(mean_s=(test.prompt_tokens + test.output_tokens) * each_s)
    return Benchmark(
        tool="llama-bench", engine="llama.cpp", load="together", requests=1, **times, **about
    )


def read_llama_bench_table(text: str, path: Path) -> Measured:
    """The table that it prints: it names no file of weights, and no card."""
    build = BUILD.search(text)
    rows = [_row(cells) for cells in _lines(text)]
    known = [row | {"build_number": build[1] if build else ""} for row in rows if row]
    if not known:
        raise InputError(f"{path} has no line with a test (pp512, tg128) and a rate")
    return read_llama_bench(known, path)


def _lines(text: str) -> Iterator[dict[str, str]]:
    """Lines of tables, cell by cell under the names of their columns."""
    header: list[str] = []
    for line in text.splitlines():
        cells = _cells(line)
        if {"test", "t/s"} <= set(cells):
            header = cells
        elif header and len(cells) == len(header):
            yield dict(zip(header, cells, strict=True))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _row(cells: Mapping[str, str]) -> dict[str, Any]:
    """As the JSON has it; nothing of a rule between lines."""
    test = TEST.fullmatch(cells["test"])
    rate = RATE.fullmatch(cells["t/s"])
    if test is None or rate is None:
        return {}
    return {
        "n_prompt": test[1] or 0,
        "n_gen": test[2] or 0,
        "n_depth": test[3] or 0,
        "avg_ts": rate[1],
        "model_type": cells.get("model", ""),
        "backends": cells.get("backend", ""),
        "type_k": cells.get("type_k", "f16"),
        "n_gpu_layers": cells.get("ngl"),
    }
