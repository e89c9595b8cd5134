"""`python -m benchmarks.engine_space`: how long the best plan that an engine can be started with
takes, its proof included.

The question is the one that people ask: the least USD for a million tokens, as many sequences as
pay, under limits on the means of TTFT and TPOT. CPU seconds of `partition` alone, once the model
and the machine are read. The last band also asks whether more chips ever make an answer worse.
"""

import argparse
import time
from dataclasses import dataclass

import planner as pl

FIELD = "usd_per_million_tokens"
WORSE = 1 + 1e-9
"""Relative: how much worse an answer on more chips may seem, for rounding."""


@dataclass(frozen=True, slots=True)
class Band:
    """Numbers of chips for which one goal holds."""

    name: str
    most_cpu_s: float


SMALL = Band("8 to 16 chips", 1.0)
MIDDLE = Band("32 to 72 chips", 3.0)
LARGE = Band("1,024 to 4,096 chips", 10.0)
BANDS = (SMALL, MIDDLE, LARGE)


@dataclass(frozen=True, slots=True)
class Case:
    """A model on a machine, and the limits that its users set."""

    model: str
    machine: str
    chips: int
    ttft_s: float
    tpot_s: float
    software: str | None = None

    @property
    def band(self) -> Band:
        if self.chips <= 16:
            return SMALL
        return MIDDLE if self.chips <= 72 else LARGE

    @property
    def name(self) -> str:
        stack = f", {self.software}" if self.software else ""
        return f"{self.model} on {self.chips:,} {self.machine}{stack}"

    @property
    def question(self) -> tuple[str, str, str | None, float, float]:
        """What is asked, whatever the number of chips."""
        return self.model, self.machine, self.software, self.ttft_s, self.tpot_s


CASES = (
    Case("llama-3.1-8b", "hgx-h100", 8, 1.0, 0.02),
    Case("llama-3.1-70b", "hgx-h100", 8, 2.0, 0.03),
    Case("llama-3.1-70b", "hgx-h100", 16, 2.0, 0.03),
    Case("llama-3.1-70b", "hgx-h100", 16, 2.0, 0.03, software="vllm"),
    Case("qwen3-235b-a22b", "hgx-h200", 8, 2.0, 0.05, software="sglang"),
    Case("mixtral-8x22b", "hgx-h100", 16, 2.0, 0.05),
    Case("gpt-oss-120b", "hgx-b200", 8, 2.0, 0.02),
    Case("deepseek-v3", "hgx-h200", 16, 5.0, 0.05),
    Case("llama-3.1-405b", "hgx-h100", 64, 5.0, 0.05),
    Case("deepseek-v3", "gb200-nvl72", 72, 5.0, 0.05, software="sglang"),
    Case("deepseek-v3", "hgx-h100", 64, 5.0, 0.05, software="sglang"),
    Case("kimi-k2", "hgx-b200", 32, 5.0, 0.05),
    Case("kimi-k2", "gb200-nvl72", 72, 5.0, 0.05, software="sglang"),
    Case("llama-3.1-70b", "superpod-h100", 72, 2.0, 0.03),
    Case("llama-3.1-70b", "superpod-h100", 1024, 2.0, 0.03),
    Case("llama-3.1-405b", "superpod-h100", 1024, 5.0, 0.05),
    Case("llama-3.1-70b", "tpu-v5p", 4096, 2.0, 0.03),
    Case("deepseek-v3", "gb200-nvl72", 4096, 5.0, 0.05, software="sglang"),
    Case("kimi-k2", "gb200-nvl72", 4096, 5.0, 0.05, software="sglang"),
)


@dataclass(frozen=True, slots=True)
class Answered:
    """How long an answer took, and what it was."""

    cpu_s: float
    objective: float
    gap: float


def answered(case: Case, *, time_limit_s: float | None = None) -> Answered:
    """Ask once."""
    graph = pl.load_model(case.model, weight_dtype="fp8")
    machine = pl.load_topology(case.machine, chips=case.chips, software=case.software)
    work = pl.Workload(batch_size=None, prompt_tokens=2048, output_tokens=256)
    limits = {"ttft_s": case.ttft_s, "tpot_s": case.tpot_s}
    started = time.process_time()
    result = pl.partition(
        graph, machine, work, minimize=FIELD, limits=limits, time_limit_s=time_limit_s
    )
    return Answered(time.process_time() - started, result.objective, result.gap)


FRONT_MOST_CPU_S = 2.0
FRONT_NAME = "whole front within 1 %, llama-3.1-70b, 16 H100"


def front_cpu_s() -> float:
    """CPU seconds of the whole front of TPOT, tokens/s and USD on 16 H100, complete within 1 %."""
    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    machine = pl.load_topology("hgx-h100", chips=16)
    work = pl.Workload(batch_size=None, prompt_tokens=2048, output_tokens=256)
    started = time.process_time()
    front = pl.pareto(graph, machine, work, tolerance=0.01)
    if front.status != "complete":
        raise SystemExit("the front is not complete")
    return time.process_time() - started


def worse_than(case: Case, answer: Answered, before: dict[Case, Answered]) -> Case | None:
    """The case on fewer chips of the machine that had a better answer; None where none had."""
    for other, known in before.items():
        alike = other.question == case.question and other.chips < case.chips
        if alike and answer.objective > known.objective * WORSE:
            return other
    return None


def table(figures: dict[str, float], before: dict[str, float], *, limit_s: float | None) -> None:
    """Ask every case and print what it took; `figures` and `before` hold CPU seconds by name."""
    columns = ("CPU", "goal", "of goal", "gap", "before")
    print(f"\n{'engine space, proof included':<46}" + "".join(f"{name:>9}" for name in columns))
    known: dict[Case, Answered] = {}
    for case in CASES:
        found = answered(case, time_limit_s=limit_s)
        key = f"engine space: {case.name}"
        figures[key] = found.cpu_s
        most = case.band.most_cpu_s
        ratio = f"× {found.cpu_s / before[key]:.2f}" if key in before else ""
        worse = worse_than(case, found, known)
        told = "" if worse is None else f"  worse than on {worse.chips} chips"
        print(
            f"{case.name:<46}{found.cpu_s:>7.2f} s{most:>7.1f} s{found.cpu_s / most:>9.0%}"
            f"{100 * found.gap:>7.2g} %{ratio:>9}{told}",
            flush=True,
        )
        known[case] = found
    figures[FRONT_NAME] = front_cpu_s()
    share = figures[FRONT_NAME] / FRONT_MOST_CPU_S
    print(f"{FRONT_NAME:<46}{figures[FRONT_NAME]:>7.2f} s{FRONT_MOST_CPU_S:>7.1f} s{share:>9.0%}")


def main() -> None:
    """Print the table alone."""
    parser = argparse.ArgumentParser(description="Speed of the search of what engines can run.")
    parser.add_argument("--time-limit", type=float, help="seconds for each case")
    options = parser.parse_args()
    table({}, {}, limit_s=options.time_limit)


if __name__ == "__main__":
    main()
