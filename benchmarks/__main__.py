"""`python -m benchmarks [--quick] [--save FILE] [--against FILE]`."""

import argparse
import json
from pathlib import Path

from benchmarks import engine_space
from benchmarks.commands import GOALS, measured
from benchmarks.growth import CURVES, best_s, exponent


def main() -> None:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Speed and size of the planner."
    )
    parser.add_argument("--quick", action="store_true", help="one run of each command")
    parser.add_argument("--save", type=Path, help="write the figures here, as JSON")
    parser.add_argument(
        "--against", type=Path, help="figures of an earlier state, for the last column"
    )
    options = parser.parse_args()
    before = json.loads(options.against.read_text(encoding="utf-8")) if options.against else {}
    figures: dict[str, float] = {}
    _commands(figures, before, runs=1 if options.quick else 5)
    engine_space.table(figures, before, limit_s=None)
    _curves(figures, before)
    if options.save:
        options.save.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _commands(figures: dict[str, float], before: dict[str, float], *, runs: int) -> None:
    columns = ("wall", "goal", "of goal", "memory", "before")
    print(f"{'command, start-up included':<34}" + "".join(f"{name:>9}" for name in columns))
    for goal in GOALS:
        taken = measured(goal, runs)
        figures[goal.name] = taken.wall_s
        share = taken.wall_s / goal.most_s
        print(
            f"{goal.name:<34}{taken.wall_s:>7.2f} s{goal.most_s:>7.1f} s{share:>9.0%}"
            f"{taken.peak_bytes / 1e6:>6.0f} MB{_ratio(figures, before, goal.name):>9}"
        )


def _curves(figures: dict[str, float], before: dict[str, float]) -> None:
    print(f"\n{'growth':<34}{'':>9}{'time':>12}{'before':>9}")
    for title, axis, made, sizes in CURVES:
        points = []
        for size in sizes:
            name = f"{title}, {size} {axis}"
            figures[name] = best_s(made(size))
            points.append((float(size), figures[name]))
            took_ms = 1e3 * figures[name]
            ratio = _ratio(figures, before, name)
            print(f"{title:<34}{size:>6,} {axis:<7}{took_ms:>8.1f} ms{ratio:>9}")
        print(f"{'':<34}grows as {axis}^{exponent(points):.2f}")


def _ratio(figures: dict[str, float], before: dict[str, float], name: str) -> str:
    return f"× {figures[name] / before[name]:.2f}" if name in before else ""


main()
