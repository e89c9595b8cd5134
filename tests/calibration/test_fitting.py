"""A fit finds the constants that made its rows, and refuses what rows cannot tell."""

import pytest

import planner as pl
from planner.calibration.fitting import fit_software, profile_toml
from planner.calibration.measurements import Measurement
from planner.calibration.validation import cases_of

TRUTH = {"memory_efficiency": 0.5, "step_overhead_s": 4e-3, "compute_efficiency": 0.4}


def rows(count: int = 24) -> list[Measurement]:
    """What a machine would measure whose software has the true constants."""
    machine = pl.load_topology("hgx-h100", chips=1)
    machine = machine.replace(software=machine.software.replace(**TRUTH))
    graph, made = pl.load_model("llama-3.1-8b"), []
    for number in range(count):
        field = ("tpot_s", "ttft_s")[number % 2]
        batch, prompt = 1 + 3 * (number // 2), 256 * (1 + number % 5)
        work = pl.Workload(
            batch_size=batch, prompt_tokens=prompt, output_tokens=64, arrivals="together"
        )
        score = pl.score_plan(pl.uniform_plan(graph, machine), graph, machine, work)
        made.append(
            Measurement(
                row_id=str(number), field=field, value=getattr(score, field), model="llama-3.1-8b", topology="hgx-h100",
                chips=1, batch_size=batch, prompt_tokens=prompt, output_tokens=64, arrivals="together",
            )
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def fit():
    return fit_software(cases_of(rows())[0], strength=1e-4, rounds=12)


@pytest.mark.slow
def test_the_constants_that_made_the_rows_are_found(fit):
    assert fit.median_before > 0.2
    assert fit.median_after < 0.01
    found = {constant.name: constant.after for constant in fit.constants}
    assert found["memory_efficiency"] == pytest.approx(TRUTH["memory_efficiency"], rel=0.05)
    assert found["compute_efficiency"] == pytest.approx(TRUTH["compute_efficiency"], rel=0.1)


@pytest.mark.slow
def test_constants_that_no_row_touches_stay_as_they_are(fit):
    shipped = pl.load_topology("hgx-h100").software
    assert {"experts_overhead_s", "quantised_efficiency"} <= set(fit.untouched)
    assert fit.software.experts_overhead_s == shipped.experts_overhead_s


@pytest.mark.slow
def test_a_firm_hand_keeps_what_is_shipped():
    firm = fit_software(cases_of(rows())[0], strength=1e6, rounds=2)
    assert all(
        constant.after == pytest.approx(constant.before, rel=1e-3) for constant in firm.constants
    )


def test_too_few_rows_are_refused_with_what_to_measure_next():
    with pytest.raises(pl.InputError, match=r"2 rows cannot tell .* measure more, such as"):
        fit_software(cases_of(rows(2))[0])


def test_rows_of_two_stacks_are_refused():
    mixed = [*rows(4), *(row.replace(software="vllm") for row in rows(4))]
    with pytest.raises(pl.InputError, match="one software stack"):
        fit_software(cases_of(mixed)[0])


@pytest.mark.slow
def test_the_profile_is_a_stack_that_a_topology_takes(fit, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(profile_toml(fit), encoding="utf-8")
    assert pl.load_topology("hgx-h100", software=str(path)).software == fit.software
