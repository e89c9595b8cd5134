"""A run as files that others read: whole, for `planner calibrate`, or a row for each stage."""

import csv
import io
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from planner.detection.origins import today
from planner.errors import InputError
from planner.plan import Plan
from planner.readers.run_file import Clock, SavedRun
from planner.running.comparing import STACK, PlanRun, Question
from planner.running.launching import NEEDED

FIGURES = ("prefill_cpu_s", "decode_cpu_s", "weight_bytes", "cache_bytes")
PACKAGE = "spread-planner"


def clock_for(clock: Clock | None, ranks: int, cores: int) -> Clock:
    """By what a run is timed: the wall's clock where every rank has a core, unless something else
    is asked for; an InputError where seconds by the wall would say nothing."""
    if clock is None:
        return "wall" if ranks <= cores else "cpu"
    if clock == "wall" and ranks > cores:
        raise InputError(
            f"--clock wall: {ranks} ranks share {cores} cores, so wall-clock times are"
            " wrong; use --clock cpu, or a plan with fewer ranks"
        )
    return clock


def saved_run(
    found: PlanRun,
    plan: Plan,
    asked: Question,
    machine: Mapping[str, Any],
    *,
    seed: int,
    clock: Clock,
) -> SavedRun:
    """A run whole; `machine` are the fields of its file."""
    first, whole = found.idle_ttft_s, found.idle_request_s
    if clock == "wall":
        first, whole = found.ttft_s, found.request_s
    later_tokens = asked.workload.output_tokens - 1
    each_s = (whole.measured - first.measured) / later_tokens if later_tokens else None
    return SavedRun(
        planner=_version(PACKAGE),
        engine=_engine(),
        date=today(),
        clock=clock,
        config=dict(asked.config),
        # Whatever stack predicted it: what is calibrated is the one that is shipped.
        machine={**machine, "software": STACK},
        plan=plan,
        workload=asked.workload,
        seed=seed,
        ttft_s=first.measured,
        tpot_s=each_s,
        request_s=whole.measured,
        run=found.model_dump(mode="json", exclude={"tokens"}),
    )


def _engine() -> str:
    """What ran, with versions."""
    return ", ".join(f"{name} {_version(name)}" for name in NEEDED)


def _version(name: str) -> str:
    """Of an installed package; a checkout that was never installed has none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def stages_csv(found: PlanRun) -> str:
    """Each stage a row, for spreadsheets."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [f"{kind}_{name}" for name in FIGURES for kind in ("predicted", "measured")]
    writer.writerow(["stage", "layers", "ranks", *columns])
    for stage in found.stages:
        pairs = [getattr(stage, name) for name in FIGURES]
        figures = [value for pair in pairs for value in (pair.predicted, pair.measured)]
        writer.writerow([stage.stage, stage.layers, stage.ranks, *figures])
    return stream.getvalue().rstrip("\n")
