"""`planner run --save RUN.json`: one batch that starts together, with its model, machine and plan
in the file itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.readers.benchmarks.measured import Benchmark, Spread
from planner.readers.run_file import run_in

FORMAT = "planner run JSON"
PRICED_AS = {"wall": "torch-gloo", "cpu": "torch-gloo-cpu"}
"""The stack whose seconds are those of a clock."""


def read_planner_run(fields: Mapping[str, Any], path: Path) -> Benchmark:
    """One run of `planner run`."""
    run = run_in(fields, path)
    return Benchmark(
        tool="planner run",
        version=f"{run.planner} ({run.engine})",
        date=run.date,
        engine=PRICED_AS[run.clock],
        load="together",
        requests=run.workload.batch_size,
        prompt_tokens=run.workload.prompt_tokens,
        output_tokens=run.workload.output_tokens,
        ttft=Spread(mean_s=run.ttft_s),
        tpot=Spread(mean_s=run.tpot_s),
        e2e=Spread(mean_s=run.request_s),
        weight_format="fp32",
        cache_format="fp32",
        clock=run.clock,
        chips=run.chips,
        is_whole=True,
    )
