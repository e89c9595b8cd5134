"""A fit of what chips draw finds the constants that made its rows, whatever the predicted time,
and refuses too few."""

import pytest

import planner as pl
from planner.calibration.measurements import Measurement
from planner.calibration.powers import fit_host_share, fit_power
from planner.calibration.validation import cases_of

TRUTH = {"idle_share": 0.3, "compute_activity": 5.0, "memory_activity": 2.0}


def rows(
    count: int = 24, slower: float = 1.0, scope: str = "chip", **power: float
) -> list[Measurement]:
    """What a machine would measure whose chips draw by the true constants, at so much of the
    predicted rate."""
    machine = pl.load_topology("hgx-h100", chips=1)
    machine = machine.replace(power=machine.power.replace(**{**TRUTH, **power}))
    software = machine.software
    if slower != 1.0:
        lost = {
            name: getattr(software, name) / slower
            for name in ("compute_efficiency", "memory_efficiency")
        }
        lost |= {
            name: getattr(software, name) / slower
            for name in ("quantised_efficiency", "attention_efficiency")
        }
        machine = machine.replace(software=software.replace(**lost))
    graph, made = pl.load_model("llama-3.1-8b"), []
    for number in range(count):
        batch, prompt = 2 ** (number % 8), 256 * (1 + number % 5)
        work = pl.Workload(batch_size=batch, prompt_tokens=prompt, output_tokens=64)
        score = pl.score_plan(
            pl.uniform_plan(graph, machine), graph, machine, work, power_scope=scope
        )
        made += [
            Measurement(
                row_id=f"{number} {field}", field=field, value=getattr(score, field), model="llama-3.1-8b", chips=1,
                topology="hgx-h100", batch_size=batch, prompt_tokens=prompt, output_tokens=64, power_scope=scope,
            )
            for field in ("power_w", "energy_per_token_j")
        ]  # fmt: skip
    return made


def found(measurements: list[Measurement]) -> dict[str, float]:
    shared, hopper = fit_power(cases_of(measurements)[0])
    assert (shared.architecture, hopper.architecture, hopper.rows) == (
        "",
        "hopper",
        len(measurements) // 2,
    )
    assert hopper.median < 0.02
    return {name: getattr(hopper.power, name) for name in TRUTH}


@pytest.mark.slow
def test_the_constants_that_made_the_rows_are_found():
    assert found(rows()) == pytest.approx(TRUTH, rel=0.1)


@pytest.mark.slow
def test_errors_of_the_predicted_time_stay_out_of_the_fit():
    assert found(rows(slower=1.5)) == pytest.approx(TRUTH, rel=0.1)


def test_too_few_rows_are_refused_with_what_to_measure_next():
    with pytest.raises(pl.InputError, match=r"10 measured rows of power_w .* measure more"):
        fit_power(cases_of(rows(3))[0])
    with pytest.raises(pl.InputError, match="10 measured rows"):
        fit_power([])


@pytest.mark.slow
def test_the_hosts_share_is_told_by_rows_at_the_wall():
    measured = rows(
        6,
        scope="system",
        **{name: getattr(pl.load_topology("hgx-h100").power, name) for name in TRUTH},
    )
    cases = cases_of(measured)[0]
    assert fit_host_share(cases) == pytest.approx(
        pl.load_topology("hgx-h100").power.host_share, rel=1e-6
    )
    with pytest.raises(pl.InputError, match="power_scope system"):
        fit_host_share(cases_of(rows(2))[0])


def test_chips_of_one_generation_share_their_constants_and_others_draw_what_is_provisioned():
    assert (
        pl.load_topology("hgx-h200").power.idle_share
        == pl.load_topology("hgx-h100").power.idle_share
        < 1
    )
    for name in ("sn40l", "article-h100", "article-lpu", "article-wse3"):
        assert pl.load_topology(name).power.idle_share == 1.0
