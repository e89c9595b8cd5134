"""The best plan only gets better, the bound only tighter, and at the end they meet."""

import itertools

import pytest

import planner as pl
from planner.studies.proofs import ProofCourse, proof_course
from tests.legible import faults_of

MACHINE, WORK, ASKED = (
    pl.load_topology("hgx-h100", chips=4),
    pl.Workload(batch_size=None),
    {"minimize": "energy_per_token_j", "space": "any"},
)


@pytest.fixture(scope="module")
def course() -> ProofCourse:
    graph = pl.load_model("llama-3.1-8b", weight_dtype="fp8")
    return proof_course(graph, MACHINE, WORK, limits={"tpot_s": 0.004}, **ASKED)


def test_plans_get_better_and_bounds_tighter_until_they_meet(course):
    objectives = [row.objective for row in course.rows if row.objective is not None]
    bounds = [row.bound for row in course.rows if row.bound is not None]
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(objectives))
    assert all(after >= before * (1 - 1e-9) for before, after in itertools.pairwise(bounds))
    assert bounds[0] < 0.99 * bounds[-1]
    assert course.status == "optimal"
    assert objectives[-1] == bounds[-1]
    assert [row.elapsed_s for row in course.rows] == sorted(row.elapsed_s for row in course.rows)


@pytest.mark.slow
def test_the_end_is_what_partition_says(course):
    graph = pl.load_model("llama-3.1-8b", weight_dtype="fp8")
    result = pl.partition(graph, MACHINE, WORK, limits={"tpot_s": 0.004}, **ASKED)
    assert course.rows[-1].objective == result.objective


def test_the_picture_has_both_lines_and_units(course):
    pytest.importorskip("plotly")
    figure = course.plot()
    assert [line.name for line in figure.data] == ["best plan so far", "no plan is better: proved"]
    assert figure.layout.yaxis.title.text.endswith("[J]")


@pytest.mark.slow
def test_in_print_both_lines_run_to_the_end_and_nothing_is_cut(course):
    picture = course.picture()
    best, bound = picture.figure.axes[0].lines
    end = course.rows[-1].elapsed_s
    assert best.get_xdata()[-1] == bound.get_xdata()[-1] == end
    assert best.get_ydata()[-1] == pytest.approx(course.rows[-1].objective)
    assert course.told_end in picture.figure.texts[0].get_text().replace("\n", " ")
    assert faults_of(picture.figure) == []
