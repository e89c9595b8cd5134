from pathlib import Path

import pytest

import planner as pl
from planner.errors import InputError
from planner.launches.scoring import score_command

LOAD = pl.Workload(batch_size=32, prompt_tokens=512, output_tokens=64)
PIPELINE = "vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 2 -pp 2 --quantization fp8"


def test_the_price_is_that_of_the_plan_and_the_gain_that_of_the_best() -> None:
    found = score_command(PIPELINE, "hgx-h100", LOAD)
    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    machine = pl.load_topology("hgx-h100", software="vllm")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=2, pipeline_parallel=2)
    assert found.plan == plan
    assert found.score == pl.score_plan(plan, graph, machine, LOAD)

    same = pl.load_topology("hgx-h100", software="vllm", chips=4)
    best = pl.partition(graph, same, LOAD, minimize="request_s")
    assert found.best_on_same_chips is not None
    assert found.best_on_same_chips.objective == pytest.approx(best.objective)
    gain = found.gain(found.best_on_same_chips)
    assert gain == pytest.approx(found.score.request_s / best.objective - 1)
    assert found.best_on_machine is not None
    assert found.best_on_machine.objective <= best.objective


def test_a_rate_gains_by_more_of_it() -> None:
    found = score_command(PIPELINE, "hgx-h100", LOAD, maximize="tokens_per_s")
    assert found.best_on_machine is not None
    assert found.score is not None
    gain = found.gain(found.best_on_machine)
    assert gain == pytest.approx(
        found.best_on_machine.score.tokens_per_s / found.score.tokens_per_s - 1
    )


def test_what_an_engine_refuses_has_no_price_but_a_best_plan() -> None:
    found = score_command("vllm serve Qwen/Qwen3-235B-A22B-FP8 -tp 8", "hgx-h100", LOAD)
    assert found.score is None
    assert "a block of 128 weights that share a scale" in found.faults[0]
    assert found.best_on_same_chips is not None
    assert found.gain(found.best_on_same_chips) is None


def test_what_does_not_fit_says_by_how_much() -> None:
    found = score_command("vllm serve meta-llama/Llama-3.1-70B", "hgx-h100", LOAD, best=False)
    assert "needs" in found.faults[0]
    assert found.best_on_same_chips is None


def test_more_sequences_than_it_is_told_to_take_wait() -> None:
    found = score_command(f"{PIPELINE} --max-num-seqs 8", "hgx-h100", LOAD, best=False)
    assert found.score is not None
    assert (found.score.batch_size, found.score.queued) == (8, 24)


def test_a_machine_is_as_large_as_the_command_asks_for() -> None:
    text = "python3 -m sglang.launch_server --model qwen3-235b-a22b --tp 16 --nnodes 2"
    found = score_command(text, "hgx-h100", LOAD, best=False)
    assert found.topology.chips == 16
    assert "16 chips" in found.remarks[-1]
    with pytest.raises(InputError, match="--chips 16"):
        score_command(text, "hgx-h100", LOAD, chips=8)


def test_machines_and_readings_may_be_given_as_they_are() -> None:
    machine = pl.load_topology("hgx-h100", software="vllm")
    reading = pl.read_command(PIPELINE)
    found = score_command(reading, machine, LOAD, model=pl.load_model("qwen3-8b"), best=False)
    assert found.graph.name == "qwen3-8b"
    with pytest.raises(InputError, match="leave out"):
        score_command(reading, machine, LOAD, chips=4)
    with pytest.raises(InputError, match="one field"):
        score_command(reading, machine, LOAD, minimize="tpot_s", maximize="tokens_per_s")


def test_a_file_with_a_command_is_read(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text(f"#!/bin/sh\n{PIPELINE}\n")
    assert score_command(script, "hgx-h100", LOAD, best=False).plan.chips == 4
