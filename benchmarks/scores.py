"""`python -m benchmarks.scores [CHECKOUT]`: what scoring a plan takes here, and beside another
checkout of this repository.

CPU time of one `score_plan` of llama-3.1-70b in fp8 on 8 H100: split eight ways with a batch of 8
and with an open batch, and in a pipeline of eight stages. The checkouts are measured in turn, each
in processes of its own, and of each the quickest counts: on a busy machine all else is noise.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
CASES = {
    "a batch of 8": ({"tensor_parallel": 8}, 8),
    "an open batch": ({"tensor_parallel": 8}, None),
    "eight stages": ({"pipeline_parallel": 8}, 64),
}
"""How the model is split, and the batch."""
MEASURE = "--measure"
ROUNDS = 12
"""In turn, for each checkout."""
REPETITIONS = 40
"""Of which the mean is one reading."""
READINGS = 6
"""In each process, of which the least counts."""


def score_seconds() -> dict[str, float]:
    """CPU time of one score in each case, by the planner that is imported. [s]"""
    import planner as pl

    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    machine = pl.load_topology("hgx-h100", chips=8)
    found = {}
    for name, (degrees, batch_size) in CASES.items():
        plan = pl.uniform_plan(graph, machine, **degrees)
        work = pl.Workload(batch_size=batch_size, prompt_tokens=1024, output_tokens=256)
        pl.score_plan(plan, graph, machine, work)
        readings = []
        for _ in range(READINGS):
            begin = time.process_time()
            for _ in range(REPETITIONS):
                pl.score_plan(plan, graph, machine, work)
            readings.append((time.process_time() - begin) / REPETITIONS)
        found[name] = min(readings)
    return found


def measured(checkout: Path) -> dict[str, float]:
    """The same by the planner of a checkout, in a process of its own. [s]"""
    # Not above: the other checkout, which runs this file, may have no such module.
    from benchmarks.isolated import isolated

    here = str(Path(__file__).resolve())
    program = f"import runpy; runpy.run_path({here!r}, run_name='__main__')"
    command = isolated("-c", program, MEASURE, checkout=checkout)
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(process.stdout))


def compared(checkouts: list[Path], rounds: int) -> list[dict[str, float]]:
    """The least CPU time of each checkout, in each case. [s]"""
    least = [dict.fromkeys(CASES, float("inf")) for _ in checkouts]
    for _ in range(rounds):
        for known, checkout in zip(least, checkouts, strict=True):
            taken = measured(checkout)
            for name in CASES:
                known[name] = min(known[name], taken[name])
    return least


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.scores", description="Speed of score_plan.")
    parser.add_argument("checkout", type=Path, nargs="?", help="another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(MEASURE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(score_seconds()))
        return
    checkouts = [HERE] if options.checkout is None else [HERE, options.checkout.resolve()]
    here, *others = compared(checkouts, options.rounds)
    for name in CASES:
        line = f"score_plan with {name:<14}{1e3 * here[name]:>8.3f} ms"
        for other in others:
            line += f"{1e3 * other[name]:>10.3f} ms there   × {here[name] / other[name]:.2f}"
        print(line)


if __name__ == "__main__":
    main()
