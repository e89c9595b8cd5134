"""`docs/running.md`: its tables are those of the runs that are kept, priced as they are today."""

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.running import Bench, picks, picks_table, summary, sureness, wall_summary
from planner import catalogue
from planner.calibration.runs import FOLDER, RUNS, median_run, repeats_of
from planner.catalogue import load_software

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "running.md").read_text(encoding="utf-8")


def bench_of(model, machine="machine"):
    return Bench(FOLDER / f"{model}.json", FOLDER / f"{machine}.toml", RUNS)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "machine"), [("dense", "machine"), ("mixture", "busy")])
def test_the_errors_are_those_of_plans_that_were_held_out(model, machine):
    bench = bench_of(model, machine)
    held = [median_run(alike) for alike in repeats_of(bench.known())]
    lines = summary([bench.compared(one) for one in held if one.sort != "fitted on"])
    assert "\n".join(lines) in PAGE


@pytest.mark.slow
def test_times_by_the_wall_are_as_far_off_as_the_page_says():
    bench = bench_of("dense")
    assert "\n".join(wall_summary(bench, bench.known())) in PAGE


@pytest.mark.slow
def test_what_was_picked_stands_beside_the_fastest():
    bench = bench_of("dense")
    found = picks(bench, bench.known())
    assert "\n".join(picks_table(found)) in PAGE
    assert sum(pick.slower <= 0.1 for pick in found) >= 10


@pytest.mark.slow
@pytest.mark.parametrize(("stack", "by_wall"), [("torch-gloo", True), ("torch-gloo-cpu", False)])
def test_a_stack_says_how_sure_it_is_by_the_runs_that_are_kept(stack, by_wall):
    bench = bench_of("dense")
    lines = sureness(bench, bench.known(), by_wall=by_wall)
    text = (catalogue.topologies_folder() / "software" / f"{stack}.toml").read_text()
    stated = tomllib.loads(text)
    found = tomllib.loads("\n".join(lines))
    assert stated["residual"] == found["residual"]
    assert stated["covers"] == found["covers"]
    # What was never left out here is as unsure as of most other stacks.
    others = [load_software(name).widenings for name in catalogue.software_names()]
    widths = Counter((one.reason, one.half_width) for stack in others for one in stack)
    for reason, width in stated["widening"].items():
        assert widths[reason, width] == max(
            count for (name, _), count in widths.items() if name == reason
        )
