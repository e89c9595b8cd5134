"""Command lines of `planner` itself: options of every command with values valid and absurd.

A case is a list of words in JSON. It is run in this process, in a folder of its own with a few files
that the words may name; what a command writes lands there.
"""

import contextlib
import functools
import io
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import typer

import planner as pl
from planner import cli
from planner.calibration import measurements
from planner.cli import running as running_commands
from planner.detection import measuring, probing
from planner.doors import mcp_server
from planner.doors.web import running as web_running
from planner.errors import InputError
from planner.readers.machines.processors import read_processor
from planner.studies.audits import audits
from tests.fuzz import nouns
from tests.readers.machines.test_processors import LSCPU
from tests.readers.machines.written import matrix_text, named, square_matrix

TIME_LIMIT_S = 0.3
"""Of what is asked without one."""
NO_TIME = 4
"""A busy machine has found no plan yet: no fault of the words."""
STATUSES = {0, 2, 3, 4, 5, 6, cli.INTERRUPTED}
SMALL = ["--batch", "2", "--prompt", "64", "--output", "8"]
GOOD: tuple[tuple[str, ...], ...] = (
    ("plan", "qwen3-0.6b", "hgx-h100", "--chips", "2", *SMALL),
    ("plan", "model.json", "machine.toml", *SMALL, "--out", "new.json", "--certificate", "proof.json"),
    ("plan", "llama-3.2-1b", "gh200", *SMALL, "--limit", "tpot_s=20ms", "--why", "--format", "json"),
    ("plan", "qwen3-8b", "hgx-h100", "--chips", "2", "--rate", "2", "--arrivals", "poisson"),
    ("plan", "qwen3-8b", "hgx-h100", "--chips", "2", *SMALL, "--export", "vllm"),
    ("disaggregate", "qwen3-0.6b", "l4", "gh200", "--link", "50 GB/s", "--chips", "1", *SMALL),
    ("pair", "qwen3-30b-a3b", "gh200", "gh200", "--link", "50 GB/s", *SMALL),
    ("cluster", "llama-3.2-1b", "three-macs", *SMALL),
    ("cluster", "llama-3.2-1b", "cluster.toml", "--unlike", "--prompt", "64", "--output", "8"),
    ("score", "model.json", "machine.toml", "--plan", "plan.json", *SMALL),
    ("score", "qwen3-0.6b", "hgx-h100", "--tensor", "2", "--pipeline", "2", *SMALL),
    ("score", "--from", "vllm serve Qwen/Qwen3-0.6B -tp 2", "--machine", "hgx-h100", "--no-best"),
    ("score", "--from", "start.sh", "--machine", "hgx-h100", *SMALL),
    ("compare", "qwen3-0.6b", "hgx-h100:1", "gh200", *SMALL),
    ("size", "qwen3-0.6b", "hgx-h100", "l4", "--limit", "tpot_s=50ms", *SMALL),
    ("sweep", "spec.toml", "--file", "new.sqlite", "--out", "table.csv", "--processes", "1"),
    ("verify", "certificate.json"),
    ("run", "model.json", "--prompt", "8", "--output", "2"),
    ("models",),
    ("serve", "--port", "0", "--host", "127.0.0.1", "--token", "a-token-of-some-length"),
    ("topologies", "--format", "json"),
    ("clusters",),
    ("validate", "rows.csv"),
    ("audit", "claims.toml"),
    ("calibrate", "rows.csv", "--out", "fitted.toml", "--software", "vllm"),
    ("calibrate", "result.json", "--machine", "hgx-h100", "--to-csv", "new.csv"),
    ("machine", "detect", "--from", "topo.txt", "--from", "names.txt", "--out", "found.toml"),
    ("machine", "measure", "--repeats", "1"),
    ("machine", "cores", "--repeats", "1"),
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1", "2", "3", "8", "64", "1000", "10000000", "99999999999999999999", "1e400", "nan",
    "inf", "-inf", "0.5", "1e-320", "0x10", "1_000", "", " ", "true", "max", "best", "9" * 5000, "٣", "1.0",
)  # fmt: skip
NAMES = (
    "qwen3-0.6b", "llama-3.2-1b", "Qwen 3 0.6B", "no-such-model", "model.json", "a" * 5000, "/dev/zero",
    "bert-base", "sd3-medium", "mixtral-8x7b", "..", "", "model.json\0", "\x1b[31mred", "\ud800", "-", "--",
    "hgx-h100", "hgx-h100:1", "gh200:2", "l4:3", "hgx-h100:0", "hgx-h100:-1", "hgx-h100:99999999999", "l4:x",
    ":8", "machine.toml", "machine.toml:2", "three-macs", "cluster.toml", "groq-lpu-chain", "nowhere.toml",
    "vllm", "sglang", "nccl", "stack.toml", "lookup",
)  # fmt: skip
WORDS = (
    "tpot_s", "tokens_per_s", "ttft_s", "chips", "energy_per_token_j", "usd_per_million_tokens", "image_s",
    "mfu_fraction", "memory_headroom_bytes", "nobody knows", "json", "table", "yaml", "engine", "any",
    "steady", "together", "poisson", "fp8", "bf16", "int4", "q4_k_m", "fp7", "chip", "system", "facility",
    "rental", "node", "drawn", "provisioned", "auto", "cp-sat", "mtp", "eagle3", "ngram", "kubernetes",
)  # fmt: skip
PHRASES = (
    "tpot_s=20ms", "tpot_s=0", "ttft_p99_s=2 s", "x=1", "tpot_s=1e400", "=", "tpot_s=", "chips=4", "tpot_s=nan",
    "usd_per_hour=1 USD/h", "batch=1", "batch=-1", "50 GB/s", "0 GB/s", "-1 us", "1e400 GB/s", "5e-324 GB/s", "1 furlong",
    "2.10 USD/h", "0.59/0.79 USD/Mtok", "20000 USD/month", "0 USD/h", "1e300 USD/h", "4500 USD/year", "free",
    "vllm serve", "vllm serve no-such -tp 3", "llama-server -m x.gguf", "rm -rf $HOME", "trtllm-serve qwen3-8b --tp_size 2",
)  # fmt: skip
FILES = (
    "plan.json", "certificate.json", "claims.toml", "rows.csv", "spec.toml", "topo.txt", "names.txt", "start.sh",
    "result.json", "kept.sqlite", "new.json", "new.toml", "new.csv", "no/folder.json", "/nonexistent/x.json",
    "/dev/full", "/dev/null", ".", "a" * 300, "x\0y", "link", "loop", "\x1b]0;x\x07.json",
)  # fmt: skip
"""No name of anything that a command may write to and that is of use to anybody."""
POOLS = (NUMBERS, NAMES, WORDS, PHRASES, FILES)
SOUND: dict[str, tuple[str, ...]] = {
    "--format": ("table", "json"), "--space": ("engine", "any"), "--batch": ("1", "3", "max"),
    "--arrivals": ("steady", "together", "poisson"), "--limit": ("tpot_s=1s", "ttft_p99_s=9s", "chips=2", "usd_per_hour=9"),
    "--minimize": ("ttft_s", "chips", "energy_per_token_j"), "--maximize": ("tokens_per_s", "memory_headroom_bytes"),
    "--software": ("vllm", "sglang", "stack.toml"), "--weights": ("fp8", "int4", "bf16"), "--kv": ("fp8", "bf16"),
    "--power-scope": ("chip", "system", "facility"), "--power-basis": ("drawn", "provisioned"),
    "--price-basis": ("node", "rental", "chip"), "--price": ("2.10 USD/h", "0.5/0.8 USD/Mtok"),
    "--draft": ("lookup", "llama-3.2-1b"),
    "--draft-kind": ("ngram", "draft-model", "eagle3"), "--speculative-tokens": ("2", "best"), "--sure": ("0.8", "0.5"),
    "--acceptance": ("0.7", "0", "1"), "--usable-memory": ("0.9", "0.1"), "--rate": ("0.1", "5"), "--solver": ("auto", "cp-sat"),
    "--cached-share": ("0", "0.5", "1"), "--utilisation": ("0.3", "1"), "--pue": ("1", "1.5"), "--link": ("50 GB/s",),
    "--link-latency": ("0 s", "10 us"), "--machine": ("hgx-h100", "machine.toml"), "--chip": ("rtx-3090", "l4"),
    "--export": ("vllm", "sglang", "kserve", "llama.cpp"), "--model": ("qwen3-0.6b", "model.json"), "--plan": ("plan.json",),
    "--command": ("start.sh", "vllm serve m -tp 2"), "--from": ("start.sh", "topo.txt"), "--licence": ("4500 USD/year",),
}  # fmt: skip
"""Values that an option takes, for cases that should come further."""
OF_SOUND_TYPE = {
    "int": ("1", "2", "3"),
    "float": ("0.5", "1", "2"),
    "Path": ("new.json", "new.toml"),
}
OF_TYPE = {"int": NUMBERS, "float": NUMBERS, "Path": FILES}


# ── What is asked ────────────────────────────────────────────────────────────────────────────────


def command_line_files(folder: Path) -> list[Path]:
    """Good ones, a file each."""
    paths = []
    for number, words in enumerate(GOOD):
        paths.append(folder / f"{number}.words")
        paths[-1].write_text(json.dumps(words), encoding="utf-8")
    return paths


@functools.cache
def parameters(command: str, within: str = "") -> tuple[Any, ...]:
    """What a command takes."""
    found: Any = commands_of(cli.app_for(command)).commands[command]
    if within:
        found = found.commands.get(within)
    return tuple(getattr(found, "params", ()))


commands_of = functools.cache(typer.main.get_command)


def tampered_words(held: bytes, draw: Random, others: Sequence[bytes] = ()) -> bytes:
    """Words dropped, doubled, swapped or exchanged for others, and options more, with a value of their
    type or of none."""
    words = json.loads(held)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(1, len(words) + 1)
        what = draw.randrange(10)
        if what < 6:
            words[at:at] = _option(words, draw)
        elif what == 6:
            del words[at : at + 1]
        elif what == 7:
            words[at : at + 1] = [_value(draw, draw.choice(POOLS))]
        elif what == 8:
            words[at:at] = words[at : at + 2]
        else:
            words[at:at] = json.loads(draw.choice(others))[1:][: draw.randint(1, 3)]
    if draw.random() < 0.02:
        words[0] = draw.choice(("", "plans", "--help", "-x", *cli.COMMANDS))
    return json.dumps(words).encode()


def _option(words: Sequence[str], draw: Random) -> list[str]:
    """One that the command knows, and what it is given."""
    known = cli.COMMANDS.get(words[0])
    if known is None:
        return ["--format", "json"]
    within = words[1] if known.function == "commands" and len(words) > 1 else ""
    options = [one for one in parameters(words[0], within) if one.param_type_name == "option"]
    if not options:
        return ["--no-such", "1"]
    chosen = draw.choice(options)
    name = draw.choice([*chosen.opts, *chosen.secondary_opts])
    if chosen.is_flag:
        return [name]
    kind = getattr(chosen.type_descriptor.annotation, "__name__", "")
    pool = OF_TYPE.get(kind)
    sound = SOUND.get(chosen.opts[0], OF_SOUND_TYPE.get(kind))
    if sound is not None and draw.random() < 0.6:
        pool = sound
    elif pool is None or draw.random() < 0.2:
        pool = draw.choice(POOLS)
    value = _value(draw, pool)
    return [f"{name}={value}"] if draw.random() < 0.3 else [name, value]


def _value(draw: Random, pool: Sequence[str]) -> str:
    return str(draw.choice(pool))


# ── What is answered ─────────────────────────────────────────────────────────────────────────────


@functools.cache
def room() -> Path:
    """A folder with the files that words name; each case gets a copy of it."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-words-"))
    graph_text = json.dumps(CONFIG)
    plan = pl.uniform_plan(nouns.graph(), "gh200").to_json()
    proof = nouns.certificate_files(folder)[0].read_text(encoding="utf-8")
    for path in folder.iterdir():
        path.unlink()
    files = {
        "model.json": graph_text,
        "plan.json": plan,
        "certificate.json": proof,
        "machine.toml": (nouns.CATALOGUE / "gh200.toml").read_text(encoding="utf-8"),
        "cluster.toml": (nouns.CATALOGUE / "clusters" / "three-macs.toml").read_text(
            encoding="utf-8"
        ),
        "stack.toml": nouns.STACK,
        "claims.toml": nouns.CLAIMS.replace("[[claim]]", "[[claim]]\nbatch_size = 1", 1),
        "rows.csv": nouns.ROWS,
        "spec.toml": SWEPT,
        "start.sh": "vllm serve Qwen/Qwen3-0.6B --max-num-seqs 4\n",
        "topo.txt": matrix_text(square_matrix(["NV4 SYS SYS", "SYS SYS", "NV4"])),
        "names.txt": named(*["NVIDIA GeForce RTX 3090"] * 4),
        "result.json": BENCHMARK,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "link").symlink_to("plan.json")
    (folder / "loop").symlink_to("loop")
    return folder


CONFIG = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
    "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16",
}  # fmt: skip
SWEPT = """models = ["qwen3-0.6b"]
topologies = ["hgx-h100:1", "gh200"]
[[workload]]
batch_size = [1, 2]
prompt_tokens = 64
output_tokens = 8
"""
BENCHMARK = """{"date": "20260101-000000", "backend": "vllm", "model_id": "Qwen/Qwen3-0.6B", "num_prompts": 8,
"request_rate": "inf", "max_concurrency": 4, "duration": 2.0, "completed": 8, "total_input_tokens": 1024,
"total_output_tokens": 512, "request_throughput": 4.0, "output_throughput": 256.0, "mean_ttft_ms": 20.0,
"median_ttft_ms": 20.0, "mean_tpot_ms": 5.0, "median_tpot_ms": 5.0}
"""


def run_words(path: Path) -> Any:
    """Run a command line, and hold what it says against what a command may say."""
    words = [str(word) for word in json.loads(path.read_bytes())]
    status, out, err = said(_bounded(words))
    if status not in STATUSES:
        raise AssertionError(f"status {status}: {err[-300:]}")
    if "Traceback" in err:
        raise AssertionError(err[-300:])
    if any(mark in out + err for mark in "\x1b\x07\x00"):
        raise AssertionError(f"orders of a terminal in {out[-200:]!r} {err[-200:]!r}")
    if status == 0 and _wants_json(words) and "--help" not in words:
        json.loads(out, parse_constant=_refuse_constant)
    if status == NO_TIME:
        return status
    if status in (2, 3) and err:
        last = err.rstrip("\n").rpartition("\n")[2]
        assert last.startswith("planner: "), err[-300:]
        raise InputError(last[:900])
    return status


def _refuse_constant(word: str) -> None:
    raise AssertionError(f"{word} in JSON")


def _wants_json(words: Sequence[str]) -> bool:
    """Whether the last word on it is that the answer be JSON."""
    formats = [b for a, b in itertools.pairwise(words) if a == "--format"]
    formats += [word.partition("=")[2] for word in words if word.startswith("--format=")]
    return bool(formats) and set(formats) == {"json"}


def _bounded(words: list[str]) -> list[str]:
    """The same with an end in time, and without what would change the catalogue or read all that was
    ever measured."""
    if "--shipped" in words:
        return [*(word for word in words if word != "--"), "rows.csv"]
    timed = words and words[0] in cli.COMMANDS and (words[0] != "score" or "--from" in words)
    takes = timed and any("--time-limit" in one.opts for one in parameters(words[0]))
    return [words[0], "--time-limit", str(TIME_LIMIT_S), *words[1:]] if takes else words


def said(words: Sequence[str]) -> tuple[Any, str, str]:
    """Status, and what was said on both streams."""
    out, err = io.StringIO(), io.StringIO()
    status: Any = 0
    told = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    named = mock.patch.object(sys, "argv", ["planner", *words])
    with _fresh_room(), _left_out(), told[0], told[1], named:
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
    return status, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _fresh_room() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "room"
        shutil.copytree(room(), place, symlinks=True)
        with contextlib.chdir(place):
            yield


@contextlib.contextmanager
def _left_out() -> Iterator[None]:
    """Measuring this machine, and tables that take a minute each: they are no reader's work."""
    small = str(room() / "rows.csv")
    audited = audits.audit
    few = room() / "claims.toml"
    with contextlib.ExitStack() as stack:
        for module, name, stand_in in (
            (typer.main, "get_command", commands_of),
            (measurements, "PUBLISHED", Path(small)),
            (audits, "audit", lambda claims, **options: audited(claims or few, **options)),
            (measuring, "measured_here", _not_measured),
            (probing, "machine_here", lambda: read_processor(LSCPU, Path(os.curdir))),
            (running_commands, "_here", _not_measured),
            (mcp_server, "serve_mcp", _not_served),
            (web_running, "serve_http", _not_served),
        ):
            stack.enter_context(mock.patch.object(module, name, stand_in))
        yield


def _not_served(*given: Any, **options: Any) -> Any:
    raise InputError("nothing is served while command lines are tried; ask for it alone")


def _not_measured(*given: Any) -> Any:
    raise InputError("nothing is measured while command lines are tried; ask for it alone")
