"""`python benchmarks/published_instances.py FILE --mode {contiguous,free,latency,helix}
[--time-limit S] [--json]`.

Solves one published instance and prints objective, bound, status, CPU and wall seconds, peak memory
and the assignment: one JSON line, or a few lines to read. `FILE` is an operator graph of Tarnawski
et al. (NeurIPS 2020) or a cluster of Mei et al. (ASPLOS 2025); neither is part of this project.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner.errors import PlannerError

LIMITS_S = {"contiguous": 60.0, "free": 120.0, "latency": 120.0, "helix": 8.0}


def main() -> int:
    """Solve, measure, print."""
    parser = argparse.ArgumentParser(description="One published instance, solved and measured.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--mode", choices=tuple(LIMITS_S), required=True)
    parser.add_argument(
        "--time-limit", type=float, help=f"wall seconds, {LIMITS_S} where none are given"
    )
    parser.add_argument("--json", action="store_true", help="one JSON line")
    options = parser.parse_args()
    limit_s = LIMITS_S[options.mode] if options.time_limit is None else options.time_limit
    started = time.monotonic()
    try:
        answer = (
            _cluster(options.file, limit_s)
            if options.mode == "helix"
            else _graph(options.file, options.mode, limit_s)
        )
    except PlannerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    answer |= {
        "cpu_s": round(time.process_time(), 3),
        "wall_s": round(time.monotonic() - started, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 * 1.024, 1),
        "assignment": answer.pop("assignment"),
    }
    print(
        json.dumps(answer)
        if options.json
        else "\n".join(f"{name}: {value}" for name, value in answer.items())
    )
    return 0


def _graph(path: Path, mode: str, limit_s: float) -> dict[str, Any]:
    from planner.planning.placement import partition_operators
    from planner.readers.operator_file import load_operators

    graph = load_operators(path)
    result = partition_operators(
        graph,
        mode="latency" if mode == "latency" else "throughput",
        contiguous=mode != "free",
        time_limit_s=limit_s,
    )
    names = [node.name for node in graph.operators]
    return {
        "objective": result.objective,
        "bound": result.bound,
        "status": result.status,
        "assignment": dict(zip(names, result.devices, strict=True)),
    }


def _cluster(path: Path, limit_s: float) -> dict[str, Any]:
    from benchmarks.flow import solve
    from benchmarks.flow_file import read_cluster

    layout = solve(read_cluster(path), time_limit_s=limit_s)
    proved = layout.bound <= layout.objective * (1 + 1e-9)
    return {
        "objective": layout.objective,
        "bound": layout.bound,
        "status": "optimal" if proved else "feasible",
        "assignment": {str(node): list(run) for node, run in enumerate(layout.runs)},
    }


if __name__ == "__main__":
    sys.exit(main())
