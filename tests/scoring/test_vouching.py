"""Plans beyond what was measured are said to be so, and have wider intervals."""

import math

import pytest

import planner as pl
from planner.calibration.validation import cases_of
from planner.machines.engine import Engine
from planner.machines.software import Covered, Residual, Widening
from planner.report.text import interval_lines, unvouched_lines
from planner.scoring.score import UNMEASURED
from planner.scoring.vouching import Setting, reasons_for, setting_of, vouched
from planner.workload import Speculation, Workload
from tests.by_hand import plan_of, stage
from tests.instances import tiny_graph, tiny_software, tiny_topology
from tests.measured import published

SERVER = Engine(version="1.0", like_stages=True, micro_batches="stages")
LLAMA = pl.load_model("llama-3.1-8b", weight_dtype="fp8", kv_dtype="bf16")
MACHINE = pl.load_topology("hgx-h100", chips=8, software="vllm")
STEADY = pl.Workload(batch_size=8, prompt_tokens=512, output_tokens=64)
HERE = Setting(
    phase="both",
    service="served",
    maker="NVIDIA",
    architecture="hopper",
    chip="NVIDIA H100 SXM",
    kind="dense",
    parameters=70e9,
    weight_dtype="fp8",
    tensor_parallel=8,
    expert_parallel=1,
    stages=1,
    across_nodes=False,
    drafts=False,
    offloaded=0,
    sequences=64.0,
    context_tokens=4096.0,
)
COVERED = Covered(
    makers=("NVIDIA",),
    architectures=("hopper",),
    chips=("NVIDIA H100 SXM",),
    dense=(8e9, 70e9),
    weight_dtypes=("fp8",),
    most_tensor_parallel=8,
    sequences=(1.0, 256.0),
    context_tokens=(256.0, 8192.0),
)
RESIDUALS = (Residual(field="tpot_s", half_width=0.3), Residual(field="power_w", half_width=0.1))


def stack(**changes):
    return tiny_software(
        **({"name": "mine", "covers": (COVERED,), "residuals": RESIDUALS} | changes)
    )


def reasons(**changes) -> dict[str, bool]:
    """Keys of the reasons of a changed setting, and whether they are far."""
    return {one.key: one.is_far for one in reasons_for(HERE._replace(**changes), stack())}


def test_what_was_measured_has_no_reasons():
    assert reasons() == {}
    # A size read from another file differs by a little.
    assert reasons(parameters=70.6e9) == {}


@pytest.mark.parametrize(
    ("changes", "key", "is_far"),
    [
        ({"chip": "NVIDIA H200 SXM"}, "chip", False),
        ({"chip": "NVIDIA B200", "architecture": "blackwell"}, "architecture", True),
        ({"chip": "AMD X", "architecture": "cdna", "maker": "AMD"}, "maker", True),
        ({"kind": "experts"}, "kind", True),
        ({"parameters": 139e9}, "size", False),
        ({"parameters": 141e9}, "far size", True),
        ({"parameters": 4.1e9}, "size", False),
        ({"parameters": 3.9e9}, "far size", True),
        ({"weight_dtype": "nvfp4"}, "format", False),
        ({"tensor_parallel": 16}, "split", False),
        ({"tensor_parallel": 32}, "far split", True),
        ({"expert_parallel": 2}, "experts", False),
        ({"expert_parallel": 4}, "far experts", True),
        ({"stages": 2}, "stages", True),
        ({"across_nodes": True}, "nodes", True),
        ({"drafts": True}, "drafts", True),
        ({"offloaded": 3}, "offloaded", True),
        ({"sequences": 1024.0}, "batch", False),
        ({"sequences": 1025.0}, "far batch", True),
        ({"context_tokens": 32768.0}, "context", False),
        ({"context_tokens": 60.0}, "far context", True),
        ({"phase": "decode"}, "phase", False),
    ],
)
def test_each_way_to_lie_beyond_is_a_reason_near_or_far(changes, key, is_far):
    assert reasons(**changes) == {key: is_far}


def test_a_phase_has_rows_of_its_own():
    pool = COVERED.replace(phase="decode", most_expert_parallel=48)
    both = stack(covers=(COVERED, pool))
    wide = HERE._replace(phase="decode", expert_parallel=48)
    assert list(reasons_for(wide, both)) == []
    assert [one.key for one in reasons_for(HERE._replace(expert_parallel=48), both)] == [
        "far experts"
    ]


def test_a_stack_without_rows_says_so_and_one_of_ones_own_does_not():
    (reason,) = reasons_for(HERE, stack(covers=(), residuals=()))
    assert reason.words == "there is no measurement of mine"
    assert list(reasons_for(HERE, stack(covers=()))) == []


def test_a_setting_is_that_of_the_question():
    graph = tiny_graph()
    machine = tiny_topology(4, software=stack(engine=SERVER))
    plan = plan_of(stage("a"), stage("b", first=1))
    work = Workload(batch_size=6, prompt_tokens=100, output_tokens=20)
    found = setting_of(plan, graph, machine, work, 6)
    assert (found.stages, found.sequences, found.context_tokens) == (2, 6.0, 120.0)
    assert (found.kind, found.service, found.drafts) == ("dense", "served", False)
    together = setting_of(plan, graph, machine, work.replace(arrivals="together"), 6)
    # Pipelines that serve one batch at a time are no serving engine's.
    assert (together.stages, together.service) == (1, "together")
    assert setting_of(plan, graph, machine, work.replace(batch_size=1), 1).service == "alone"
    assert setting_of(plan, graph, machine, work.replace(batch_size=None), 9).service == "full"
    draft = Speculation(draft=graph, tokens=2)
    pool = work.replace(phase="decode", speculation=draft)
    assert setting_of(plan, graph, machine, pool, 6).service == "pool with drafts"


def test_reasons_widen_in_squares_and_one_that_nobody_measured_leaves_no_more_than_nothing():
    # 0.3 and 0.4 make 0.5; an unmeasured reason at least ln 2.
    software = stack(widenings=(Widening(reason="size", half_width=0.4),))
    machine = MACHINE.replace(software=software.replace(covers=()))

    def width(**changes) -> tuple[str, float]:
        made = machine.replace(software=software.replace(covers=(_covers(**changes),)))
        plan = pl.uniform_plan(LLAMA, made, tensor_parallel=8)
        score = pl.score_plan(plan, LLAMA, made, STEADY)
        low, high = score.interval("tpot_s")
        return score.evidence, math.log(high / low) / 2

    assert width() == ("measured", pytest.approx(0.3))
    assert width(dense=(9e9, 70e9)) == ("near measured", pytest.approx(0.5))
    assert width(makers=("AMD",)) == ("extrapolated", pytest.approx(UNMEASURED))


def _covers(**changes) -> Covered:
    return COVERED.replace(**({"dense": (1e9, 70e9)} | changes))


def test_what_lies_beyond_is_never_surer():
    software = stack(widenings=(Widening(reason="far batch", half_width=0.2),))
    machine = MACHINE.replace(software=software)
    plan = pl.uniform_plan(LLAMA, machine, tensor_parallel=8)
    inside = vouched(plan, LLAMA, machine, STEADY, 64)
    for batch_size in (300, 3000, 30_000):
        beyond = vouched(plan, LLAMA, machine, STEADY, batch_size)
        for one, other in zip(inside.residuals, beyond.residuals, strict=True):
            assert one.field == other.field
            assert one.half_width <= other.half_width + 1e-12


@pytest.mark.slow
def test_the_rows_that_a_stack_was_fitted_on_lie_within_what_it_says_that_they_have():
    rows = [row for row in published() if row.plan == "uniform"]
    cases, _ = cases_of(rows[::97])
    assert len(cases) > 40
    assert {case.evidence for case in cases} == {"measured"}


def test_a_pipeline_of_a_server_is_extrapolated_and_says_so():
    plan = pl.uniform_plan(LLAMA, MACHINE, tensor_parallel=4, pipeline_parallel=2)
    two = pl.score_plan(plan, LLAMA, MACHINE, STEADY)
    assert two.evidence == "extrapolated"
    assert "has more than one stage, but this plan has 2" in two.unvouched[0]
    low, high = two.interval("tpot_s", 0.8)
    assert math.log(high / low) >= 2 * UNMEASURED - 1e-9


def test_an_answer_prints_what_is_unvouched_beside_its_interval():
    result = pl.partition(LLAMA, MACHINE, STEADY, minimize="tpot_s")
    plain = result.score.replace(unvouched=(), evidence="measured")
    vouched_lines = interval_lines(result.replace(score=plain))
    assert len(vouched_lines) == 1
    assert unvouched_lines(plain) == []
    score = result.score.replace(unvouched=("nobody measured it",), evidence="near measured")
    assert interval_lines(result.replace(score=score)) == [
        *vouched_lines,
        "evidence: near measured, so the intervals are wider",
        "  - nobody measured it",
    ]
