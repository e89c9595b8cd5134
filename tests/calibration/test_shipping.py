"""The shipped constants: made by their recipes, and by nothing else."""

import re

import pytest

from planner import catalogue
from planner.calibration.fitting import errors_of, place_of
from planner.calibration.intervals import intervals_from
from planner.calibration.leaving_out import Outside
from planner.calibration.powers import Drawn
from planner.calibration.shipping import (
    INTERVALS_TITLE,
    Shipped,
    cases_for,
    constant_of,
    fit_recipe,
    read_left_out,
    recipes,
    ship,
    ship_draws,
    with_figures,
    with_intervals,
    write_left_out,
)
from planner.machines.topology import Power
from tests.lanes import mostly_slow
from tests.measured import published

BY_STACK = {recipe.stack: recipe for recipe in recipes()}
FILE = """name = "mine"
step_overhead = { value = "1 ms", source = "OURS", confidence = "guess" }
memory_efficiency = 0.8

[[collective]]
algorithm = "ring"
base_latency = "1 us"

[[collective]]
algorithm = "tree"
base_latency = "2 us" # as stated

[[tuning]]
architecture = "hopper"
memory_efficiency = 0.9
"""


@pytest.mark.parametrize(
    "stack",
    mostly_slow(
        ["custom", "custom-eager", "nccl-pytorch", "lmdeploy", "groq-compiler"],
        but=("custom", "custom-eager", "nccl-pytorch", "lmdeploy"),
    ),
)
def test_a_recipe_gives_the_constants_that_are_shipped(stack):
    shipped = fit_recipe(BY_STACK[stack])
    machine = catalogue.load_topology("superpod-a100", software=stack)
    for name, value in shipped.constants.items():
        assert value == pytest.approx(constant_of(machine, name), rel=0.02), name


def test_fewer_than_130_constants_are_fitted_and_each_is_marked_as_such():
    """Beside these, three for each generation of chips say what it draws."""
    assert sum(len(recipe.start) for recipe in recipes()) < 130
    for recipe in recipes():
        text = (catalogue.topologies_folder() / "software" / f"{recipe.stack}.toml").read_text(
            encoding="utf-8"
        )
        own = [name for name in recipe.start if place_of(name).table not in ("fabrics", "chips")]
        assert len(re.findall(r'source = "FIT"', text)) == len(own), recipe.stack


def test_no_other_stack_says_that_it_was_fitted():
    for path in (catalogue.topologies_folder() / "software").glob("*.toml"):
        assert path.stem in BY_STACK or 'source = "FIT"' not in path.read_text(encoding="utf-8"), (
            path.stem
        )


def test_figures_are_replaced_where_they_stand_and_nothing_else_is():
    constants = {
        "step_overhead_s": 2.5e-3,
        "collectives[1].base_latency_s": 3e-6,
        "tunings[hopper].memory_efficiency": 0.7,
    }
    text = with_figures(FILE, constants, "9 rows")
    fitted = ', source = "FIT", confidence = "fit", note = "9 rows" }'
    changed = [line for line in text.splitlines() if line not in FILE.splitlines()]
    assert changed == [
        f'step_overhead = {{ value = "2.5 ms"{fitted}',
        f'base_latency = {{ value = "3 us"{fitted}',
        f"memory_efficiency = {{ value = 0.7{fitted}",
    ]
    assert text.index("3 us") > text.index("tree")


def test_intervals_stand_at_the_end_and_replace_what_stood_there():
    once = with_intervals(FILE, ["", "[residual]", "tpot_s = 0.2"])
    assert once == f"{FILE}\n{INTERVALS_TITLE}\n[residual]\ntpot_s = 0.2\n"
    assert with_intervals(once, ["[residual]", "tpot_s = 0.3"]) == once.replace("0.2", "0.3")


def test_rows_left_out_are_a_table_that_reads_back(tmp_path):
    row = Outside(
        "R", "mine", "f", "tpot_s", "model", "m", 0.25, 0.125, ("served", ""), ("far size",), True
    )
    inside = row._replace(reasons=(), is_far=False)
    made = intervals_from([inside] * 10 + [row] * 10)
    write_left_out([row], made, tmp_path / "table.csv")
    (found,) = read_left_out(tmp_path / "table.csv")
    assert (found.row_id, found.by, found.evidence) == ("R", "model", "extrapolated")
    assert (found.left_out, found.fitted, found.half_width) == (0.25, 0.125, 0.25)


@pytest.mark.slow
def test_the_table_that_is_shipped_has_published_rows_and_covers_four_of_five():
    rows = read_left_out()
    assert {row.row_id for row in rows} <= {row.row_id for row in published()}
    for evidence in ("measured", "near measured", "extrapolated"):
        found = [row for row in rows if row.evidence == evidence]
        covered = sum(abs(row.left_out) <= row.half_width for row in found) / len(found)
        assert 0.75 < covered < 0.87, evidence


@pytest.mark.slow
def test_an_interval_covers_half_of_every_generation_of_a_software_that_was_left_out():
    rows = {row.row_id: row for row in read_left_out() if row.by == "generation"}
    for stack in ("groq-compiler", "cerebras-sdk"):
        for year, named in BY_STACK[stack].generations.items():
            found = [rows[name] for name in named if name in rows]
            covered = sum(abs(row.left_out) <= row.half_width for row in found)
            assert 2 * covered >= len(found), (stack, year)
    assert {*BY_STACK["groq-compiler"].year_of} <= {*rows}


def test_shipping_writes_what_was_fitted(tmp_path):
    recipe = BY_STACK["nccl"]
    (tmp_path / "software").mkdir()
    (tmp_path / "chips").mkdir()
    for name in ("software/nccl", "chips/h100-sxm", "chips/a100-sxm", "chips/l4"):
        text = (catalogue.topologies_folder() / f"{name}.toml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    constants = dict.fromkeys(recipe.start, 0.5)
    ship(recipe, Shipped(stack="nccl", constants=constants, rows=7, median=0.1), tmp_path)
    written = (tmp_path / "software" / "nccl.toml").read_text(encoding="utf-8")
    assert written.count('value = 0.5, source = "FIT"') == 6
    # Of Hopper one of two is fitted, the other a guess of ours that stays.
    for name, fitted in (("a100-sxm", 2), ("h100-sxm", 1)):
        chip = (tmp_path / "chips" / f"{name}.toml").read_text(encoding="utf-8")
        assert chip.count('_latency = { value = "500 ms", source = "FIT"') == fitted
    ada = (catalogue.topologies_folder() / "chips" / "l4.toml").read_text(encoding="utf-8")
    assert (tmp_path / "chips" / "l4.toml").read_text(encoding="utf-8") == ada


@pytest.mark.slow
def test_constants_of_a_recipe_change_its_predictions():
    for stack in ("custom", "lmdeploy"):
        recipe = BY_STACK[stack]
        cases = cases_for(recipe)
        shipped, at_start = errors_of(cases, {}), errors_of(cases, recipe.start)
        assert abs(shipped).mean() < abs(at_start).mean()


@pytest.mark.slow
def test_what_was_not_measured_is_shipped_as_a_guess(tmp_path):
    """Rubin takes Blackwell's draw, an unknown generation that of all, and hosts are a guess but
    for the machine whose runs were measured at the wall."""
    for folder in ("chips", "software"):
        (tmp_path / folder).mkdir()
    stacks = {"diffusers", "tensorrt-llm", "vllm", "vllm-eager"}
    names = ["hgx-b200", "hgx-h100", *(f"software/{one}" for one in stacks)]
    names += ["chips/vera-rubin", "chips/b200-sxm", "chips/mi300x"]
    for name in names:
        text = (catalogue.topologies_folder() / f"{name}.toml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")

    everything = Power(idle_share=0.11, compute_activity=1.0, memory_activity=1.0)
    blackwell = everything.replace(idle_share=0.22)
    draws = [Drawn("", everything, 30, 0.1, 0.2), Drawn("blackwell", blackwell, 20, 0.1, 0.2)]
    ship_draws(draws, 0.5, tmp_path)

    def told(name, key):
        text = (tmp_path / f"{name}.toml").read_text(encoding="utf-8")
        (line,) = [line for line in text.splitlines() if line.startswith(f"{key} = ")]
        return line.removeprefix(f"{key} = {{ value = ").removesuffix('" }')

    fit = 'source = "FIT", confidence ='
    assert told("chips/b200-sxm", "idle_share") == f'0.22, {fit} "fit", note = "20 rows'
    assert told("chips/vera-rubin", "idle_share") == (
        f'0.22, {fit} "guess", note = "as Blackwell, 20 rows'
    )
    assert told("chips/mi300x", "idle_share").startswith(f'0.11, {fit} "guess", note = "30 rows of')
    wall = "runs of MLPerf at the wall on B200"
    assert told("hgx-b200", "host_share") == f'0.5, {fit} "fit", note = "{wall}'
    assert told("hgx-h100", "host_share") == f'0.5, {fit} "guess", note = "as {wall}'
