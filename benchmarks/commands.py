"""Whole commands in fresh processes: wall time and peak memory, start-up included."""

import os
import statistics
import subprocess
import time
from dataclasses import dataclass

from benchmarks.isolated import isolated


@dataclass(frozen=True, slots=True)
class Goal:
    """A command and what it may take."""

    name: str
    arguments: tuple[str, ...]
    most_s: float
    most_bytes: float = 500e6


def plan(
    model: str, machine: str, chips: int, weights: str, *, batch: int = 8, field: str = "tpot_s"
) -> tuple[str, ...]:
    """The command that plans a model for eight users, or for more."""
    machine_and_model = ("plan", model, machine, "--chips", str(chips), "--weights", weights)
    requests = ("--batch", str(batch), "--prompt", "1024", "--output", "256")
    return ("-m", "planner", *machine_and_model, *requests, "--minimize", field)


GOALS = (
    Goal("import planner", ("-c", "import planner"), 0.6),
    Goal("llama-3.1-70b on 8 H100", plan("llama-3.1-70b", "hgx-h100", 8, "fp8"), 3.0),
    Goal("llama-3.1-70b on 576 LPUs", plan("llama-3.1-70b", "groq-lpu-chain", 576, "fp8"), 5.0),
    Goal("llama-3.1-70b on 4 wafers", plan("llama-3.1-70b", "cerebras-cs3", 4, "bf16"), 5.0),
    Goal("llama-3.1-405b on 16 H100", plan("llama-3.1-405b", "hgx-h100", 16, "fp8"), 5.0),
    Goal("llama-3.1-405b on 64 H100", plan("llama-3.1-405b", "hgx-h100", 64, "fp8"), 5.0),
    Goal(
        "llama-3.1-405b on 10,440 LPUs", plan("llama-3.1-405b", "groq-lpu-chain", 10440, "fp8"), 5.0
    ),
    Goal(
        "the same, time to first token",
        plan("llama-3.1-405b", "groq-lpu-chain", 10440, "fp8", field="ttft_s"),
        5.0,
    ),
    Goal(
        "405b on 1,024 H100, 256 users, J",
        plan("llama-3.1-405b", "hgx-h100", 1024, "fp8", batch=256, field="energy_per_token_j"),
        30.0,
    ),
    Goal(
        "deepseek-v3 on 72 B200, 256 users",
        plan("deepseek-v3", "gb200-nvl72", 72, "fp8", batch=256),
        30.0,
    ),
    Goal(
        "kimi-k2 on 32 B200, 64 users, J",
        plan("kimi-k2", "hgx-b200", 32, "fp8", batch=64, field="energy_per_token_j"),
        30.0,
    ),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What it took: the median of several runs, and the largest memory."""

    wall_s: float
    peak_bytes: float


def measured(goal: Goal, runs: int) -> Taken:
    """Run a command several times."""
    walls, peaks = [], []
    for _ in range(runs):
        started = time.perf_counter()
        process = subprocess.Popen(isolated(*goal.arguments), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        walls.append(time.perf_counter() - started)
        peaks.append(usage.ru_maxrss * 1024.0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{goal.name} ended with status {process.returncode}")
    return Taken(statistics.median(walls), max(peaks))
