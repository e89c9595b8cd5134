"""Predictions beside measurements."""

import pytest

import planner as pl
from planner.calibration.measurements import Measurement
from planner.calibration.validation import accuracies_of, cases_of
from planner.machines.topology import with_value
from tests.lanes import some
from tests.measured import published

ROW = Measurement(
    row_id="1", family="decode", field="tpot_s", value=1.0, model="llama-3.1-8b", topology="hgx-h100", chips=1, batch_size=4
)  # fmt: skip
GRAPH, MACHINE = (
    pl.load_model("llama-3.1-8b", weight_dtype="bf16"),
    pl.load_topology("hgx-h100", chips=1),
)
SCORE = pl.score_plan(pl.uniform_plan(GRAPH, MACHINE), GRAPH, MACHINE, pl.Workload(batch_size=4))


def test_a_case_is_predicted_as_score_plan_does():
    (case,), refused = cases_of([ROW])
    assert case.predicted() == SCORE.tpot_s
    assert refused == []


def test_a_case_is_predicted_on_another_version_of_its_machine():
    (case,), _ = cases_of([ROW.replace(arrivals="together")])
    slower = with_value(case.topology, "software.step_overhead_s", 1.0)
    more = 1.0 - case.topology.software.step_overhead_s
    assert case.predicted(slower) - case.predicted() == pytest.approx(more)


def test_a_row_without_chips_is_predicted_on_the_fewest_that_hold_the_model():
    (case,), _ = cases_of([ROW.replace(model="llama-3.1-70b", chips=None, plan="best")])
    assert case.topology.chips == 2


def test_the_best_plan_is_at_least_as_good_as_a_uniform_one():
    eight = {"chips": 8, "model": "llama-3.1-70b"}
    (uniform, best), _ = cases_of(
        [
            ROW.replace(**eight, tensor_parallel=4, data_parallel=2),
            ROW.replace(**eight, plan="best"),
        ]
    )
    assert best.predicted() < uniform.predicted()


def test_a_best_plan_vouches_for_no_degrees():
    eight = ROW.replace(model="llama-3.1-70b", chips=8)
    (uniform, best), _ = cases_of(
        [eight.replace(tensor_parallel=4, data_parallel=2), eight.replace(plan="best")]
    )
    assert uniform.setting.tensor_parallel == 4
    assert (best.setting.tensor_parallel, best.setting.stages) == (1, 1)
    assert best.setting.parameters == uniform.setting.parameters


def test_a_best_plan_that_fills_its_machine_holds_fewer_where_constants_leave_less_room():
    # Else a fit would count a row whose plan no longer fits as predicted without an error.
    full = ROW.replace(field="tokens_per_s", batch_size=None, plan="best", prompt_tokens=2048)
    (case,), _ = cases_of([full])
    half = with_value(case.topology, "software.usable_memory_fraction", 0.45)
    assert 0 < case.predicted(half) < case.predicted()


def test_a_collective_is_predicted_by_itself():
    row = Measurement(
        row_id="1", field="collective_s", value=1e-5, topology="superpod-h100", chips=16, ranks=4, ranks_per_node=2,
        collective="all_reduce", message_bytes=1e6, software="nccl",
    )  # fmt: skip
    (case,), _ = cases_of([row])
    machine = pl.load_topology("superpod-h100", chips=16, software="nccl")
    assert case.predicted() == pl.collective_s(machine, "all_reduce", 4, 1e6, ranks_per_node=2)


def test_what_cannot_be_predicted_says_why():
    cases, refused = cases_of(
        [ROW.replace(model="llama-3.1-405b"), ROW.replace(model="nobody"), ROW]
    )
    assert len(cases) == 1
    assert [("needs" in one.reason, "nobody" in one.reason) for one in refused] == [
        (True, False),
        (False, True),
    ]


def test_errors_are_factors_and_intervals_are_counted():
    (case,), _ = cases_of([ROW])
    low, high = SCORE.interval("tpot_s")
    values = [case.predicted(), 0.999 * high, 2 * high]
    rows = [ROW.replace(row_id=str(n), value=value) for n, value in enumerate(values)]
    (family,) = accuracies_of(*cases_of(rows))
    assert (family.rows, family.predicted) == (3, 3)
    assert family.covered == pytest.approx(2 / 3)
    assert family.median == pytest.approx(0.999 * high / case.predicted() - 1)
    assert family.bias < 0
    assert low < case.predicted() < high


@pytest.mark.slow
def test_one_shipped_measurement_of_many_is_predicted_as_well_as_we_say():
    """Medians of the whole table are in the README; a regression by a third shows here."""
    families = {one.name: one for one in accuracies_of(*cases_of(published()[:: some(87, 29)]))}
    goals = {
        "gpu-decode-tpot": 0.16,
        "gpu-serving-ttft": 0.45,
        "gpu-request-latency": 0.16,
        "card-decode": 0.10,
    }
    for name, most in goals.items():
        assert families[name].median < most, name
    assert sum(one.predicted for one in families.values()) > 0.93 * sum(
        one.rows for one in families.values()
    )


def test_a_row_of_a_decode_pool_with_drafts_is_predicted_as_score_plan_does():
    (case,), _ = cases_of([ROW.replace(phase="decode", draft_tokens=2, acceptance_rate=0.6)])
    drafting = pl.Speculation(draft=GRAPH.cut(1), tokens=2, acceptance_rate=0.6)
    workload = pl.Workload(batch_size=4, phase="decode", speculation=drafting)
    score = pl.score_plan(pl.uniform_plan(GRAPH, MACHINE), GRAPH, MACHINE, workload)
    assert case.predicted() == score.tpot_s != SCORE.tpot_s


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("nobody knows", "called 'nobody knows'"),
        ("batch_size", "called 'batch_size'"),
        ("é" * 900, "…"),
    ],
)
def test_the_best_plan_in_no_field_of_a_score_is_refused(field, words):
    row = Measurement(
        row_id="a", field=field, value=1.0, topology="gh200", model="qwen3-0.6b", plan="best"
    )
    cases, refused = cases_of([row])
    assert cases == []
    assert words in refused[0].reason
    assert len(refused[0].reason) < 500


def test_what_is_no_figure_of_a_score_is_refused():
    row = Measurement(row_id="a", field="stages", value=1.0, topology="gh200", model="qwen3-0.6b")
    assert "is not a field that can be measured" in cases_of([row])[1][0].reason
