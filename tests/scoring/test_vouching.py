"""Plans that no measured row vouches for are said to be so, and have wider intervals."""

import csv
import importlib.resources
import math

import pytest

import planner as pl
from planner.machines.engine import Engine
from planner.report.text import interval_lines, unvouched_lines
from planner.scoring.score import UNMEASURED, residuals_of
from planner.scoring.vouching import (
    MOST_DECODING,
    MOST_EXPERT_PARALLEL,
    residuals_for,
    unvouched,
)
from planner.workload import Workload
from tests.by_hand import plan_of, stage
from tests.instances import tiny_software

SERVER = tiny_software(engine=Engine(version="1.0", like_stages=True, micro_batches="stages"))
LLAMA = pl.load_model("llama-3.1-8b", weight_dtype="fp8", kv_dtype="bf16")
MACHINE = pl.load_topology("hgx-h100", chips=8, software="vllm")
STEADY = pl.Workload(batch_size=8, prompt_tokens=512, output_tokens=64)
PIPELINE = plan_of(stage("a"), stage("b", first=1))


def rows() -> list[dict[str, str]]:
    table = importlib.resources.files("planner.calibration") / "published.csv"
    return list(csv.DictReader(table.read_text().splitlines()))


def test_no_published_row_vouches_for_what_is_said_to_be_unvouched():
    served = [row for row in rows() if row["arrivals"] == "steady"]
    assert len(served) > 100
    assert {row["pipeline_parallel"] for row in served} <= {"", "1"}
    assert widest_of("") == MOST_EXPERT_PARALLEL
    assert widest_of("prefill") == {}
    # Whatever decodes in a pool does so no less than in a server.
    assert widest_of("decode") == MOST_DECODING
    assert all(most > MOST_EXPERT_PARALLEL[stack] for stack, most in MOST_DECODING.items())


def widest_of(phase: str) -> dict[str, int]:
    """By stack, over how many chips its rows share out experts, where they do."""
    widest: dict[str, int] = {}
    for row in rows():
        degree = int(row["expert_parallel"] or 1)
        if degree > 1 and row["phase"] == phase:
            widest[row["software"]] = max(degree, widest.get(row["software"], 1))
    return widest


def test_more_than_one_stage_of_a_serving_engine_is_unvouched():
    (doubt,) = unvouched(PIPELINE, SERVER, Workload())
    assert doubt.startswith("no measured row of plain ")
    assert doubt.endswith("this plan has 2")
    assert unvouched(plan_of(stage("a")), SERVER, Workload()) == ()
    # Pipelines that serve one batch at a time are measured, and so are machines without engines.
    assert unvouched(PIPELINE, SERVER, Workload(arrivals="together")) == ()
    assert unvouched(PIPELINE, tiny_software(), Workload()) == ()


def test_experts_over_more_chips_than_were_ever_measured_are_unvouched():
    # 8 in servers that run prompts too, 48 in decode pools.
    stack = tiny_software(name="sglang")
    work, pool = Workload(), Workload(phase="decode")
    assert unvouched(wide(8), stack, work) == unvouched(wide(48), stack, pool) == ()
    assert (
        unvouched(wide(16), stack, work)
        == unvouched(wide(16), stack, prefill())
        == (
            "no measured row of sglang that runs prompts shares out experts over more than 8 chips,"
            " and this plan over 16",
        )
    )
    assert unvouched(wide(49), stack, pool) == (
        "no measured row of sglang shares out experts over more than 48 chips, and this plan over"
        " 49",
    )


def test_each_stack_has_rows_of_its_own():
    # vLLM has none of decode pools, and most stacks none of experts that are shared out.
    pool = Workload(phase="decode")
    assert unvouched(wide(16), tiny_software(name="tensorrt-llm"), pool) == ()
    assert unvouched(wide(8), tiny_software(name="vllm"), pool) == ()
    (doubt,) = unvouched(wide(16), tiny_software(name="vllm"), pool)
    assert "row of vllm shares out experts over more than 8 chips" in doubt
    assert unvouched(wide(1), tiny_software(), Workload()) == ()
    assert unvouched(wide(2), tiny_software(), Workload()) == (
        "no measured row of plain shares out experts, and this plan does over 2 chips",
    )


def wide(degree: int):
    """One stage whose experts are shared out over so many chips."""
    return plan_of(stage("a", chips=degree, expert_parallel=degree))


def prefill() -> Workload:
    return Workload(phase="prefill", batch_size=None)


def test_what_is_unvouched_is_as_uncertain_as_what_was_never_measured():
    software = MACHINE.software
    measured = {one.field: one.half_width for one in residuals_of(software)}
    wider = {one.field: one.half_width for one in residuals_for(software, ("why",))}
    assert measured["tpot_s"] < UNMEASURED
    assert wider == {field: max(width, UNMEASURED) for field, width in measured.items()}
    assert residuals_for(software, ()) == residuals_of(software)


def test_a_score_says_so_and_widens_its_intervals():
    one = pl.score_plan(pl.uniform_plan(LLAMA, MACHINE, tensor_parallel=8), LLAMA, MACHINE, STEADY)
    plan = pl.uniform_plan(LLAMA, MACHINE, tensor_parallel=4, pipeline_parallel=2)
    two = pl.score_plan(plan, LLAMA, MACHINE, STEADY)
    assert one.unvouched == ()
    assert unvouched_lines(one) == []
    assert len(two.unvouched) == 1
    low, high = two.interval("tpot_s", 0.8)
    assert math.log(high / low) == pytest.approx(2 * UNMEASURED)
    low, high = one.interval("tpot_s", 0.8)
    assert math.log(high / low) < 2 * UNMEASURED


def test_an_answer_prints_what_is_unvouched_beside_its_interval():
    result = pl.partition(LLAMA, MACHINE, STEADY, minimize="tpot_s")
    vouched = interval_lines(result)
    assert len(vouched) == 1
    score = result.score.replace(unvouched=("nobody measured it",))
    assert interval_lines(result.replace(score=score)) == [
        *vouched,
        "nobody measured it: its interval is wider",
    ]
