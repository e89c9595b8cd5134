"""Results become rows: what ran is told by options, a command, the file; each load has its fields."""

import json
from pathlib import Path

import pytest

import planner as pl
from planner.calibration.converting import Ran, launch_of, measurements_of
from planner.calibration.validation import cases_of
from planner.launches.launch import Drafting, Launch
from planner.readers.benchmarks.measured import Benchmark, Measured, Spread
from planner.readers.benchmarks.recognition import measured_in, read_benchmarks
from tests.readers.benchmarks.texts import LLAMA, benchmark_texts, nccl_tests, planner_run

HERE = Path("run.json")
TEXTS = benchmark_texts()
H100 = Ran(machine="hgx-h100")


def rows_in(form, ran=H100):
    return measurements_of(measured_in(TEXTS[form], HERE), ran, HERE).rows


def rows_of(run, ran=H100):
    return measurements_of(Measured((run,)), ran, HERE)


def run_of(**about):
    """A run at eight clients."""
    known = {
        "tool": "any", "model": "llama-3.1-8b", "engine": "vllm", "load": "clients", "clients": 8,
        "requests": 100, "prompt_tokens": 99.7, "output_tokens": 50.2, "tpot": Spread(mean_s=0.01),
    }  # fmt: skip
    return Benchmark(**known | about)


def test_clients_that_wait_are_a_steady_batch():
    first, later = rows_in("vllm bench serve JSON")
    assert (first.field, first.value) == ("ttft_s", 0.08)
    assert (later.field, later.value) == ("tpot_s", 0.01)
    assert (later.batch_size, later.arrivals) == (16, "steady")
    assert (later.prompt_tokens, later.output_tokens) == (1024, 128)
    assert (later.model, later.software, later.chips) == (LLAMA, "vllm", 1)
    assert (later.weight_dtype, later.kv_dtype) == ("bf16", "bf16")
    assert later.row_id == "run-1-tpot_s"
    assert later.source == "vllm bench serve, 20261130-101500: run.json"


def test_a_rate_is_as_many_sequences_as_it_keeps_in_flight():
    made = rows_of(run_of(load="rate", requests_per_s=5.0, e2e=Spread(mean_s=0.8),
                          ttft=Spread(mean_s=0.1)))  # fmt: skip
    (row,) = made.rows
    assert (row.field, row.batch_size, row.arrivals) == ("tpot_s", 4, "steady")
    assert "depend on bursts" in made.remarks[0]
    with pytest.raises(pl.InputError, match="say --batch"):
        rows_of(run_of(load="rate"))


def test_all_at_once_is_a_batch_timed_as_a_whole():
    (row,) = rows_of(run_of(load="together", clients=None, e2e=Spread(mean_s=2.0))).rows
    assert (row.field, row.value, row.batch_size) == ("request_s", 2.0, 100)
    assert row.arrivals == "together"
    # As many clients as requests never replace one.
    few = rows_of(run_of(requests=8, e2e=Spread(mean_s=2.0))).rows[0]
    assert (few.arrivals, few.batch_size) == ("together", 8)


def test_a_whole_request_counts_only_where_no_token_was_timed():
    timed = run_of(e2e=Spread(mean_s=2.0), tokens_per_s=200.0)
    assert [row.field for row in rows_of(timed).rows] == ["tpot_s"]
    untimed = timed.replace(tpot=Spread())
    assert [row.field for row in rows_of(untimed).rows] == ["request_s"]
    (rate,) = rows_of(untimed.replace(e2e=Spread())).rows
    assert (rate.field, rate.value) == ("tokens_per_s", 200.0)
    assert "has none of" in rows_of(untimed.replace(e2e=Spread(), tokens_per_s=None)).remarks[0]


def test_what_files_do_not_say_options_do():
    asked = H100.replace(
        model="llama-3.1-8b", prompt_tokens=32, output_tokens=128, batch_size=8, tensor_parallel=2
    )
    (row,) = rows_in("vllm bench latency JSON", asked)
    assert (row.field, row.value, row.arrivals) == ("request_s", 1.5, "together")
    assert (row.batch_size, row.tensor_parallel, row.chips) == (8, 2, 2)
    (row,) = rows_in("vllm bench throughput JSON", asked.replace(batch_size=None))
    # 20 requests a second of 128 tokens, as many at once as fit.
    assert (row.field, row.value, row.batch_size) == ("tokens_per_s", 2560.0, None)
    for missing, option in (("model", "--model"), ("prompt_tokens", "--prompt"),
                            ("batch_size", "--batch")):  # fmt: skip
        less = asked.replace(**{missing: "" if missing == "model" else None})
        with pytest.raises(pl.InputError, match=option):
            rows_in("vllm bench latency JSON", less)


def test_options_come_before_the_command_and_that_before_the_file():
    run = run_of(tensor_parallel=8, weight_format="fp8")
    launch = Launch(
        engine="sglang", model="Qwen/Qwen3-8B", tensor_parallel=2, replicas=2, attention_parallel=2,
        expert_parallel=4, weight_format="int4", cache_format="fp8",
    )  # fmt: skip
    (file,) = rows_of(run).rows
    assert (file.tensor_parallel, file.weight_dtype, file.software) == (8, "fp8", "vllm")
    (command,) = rows_of(run, H100.replace(launch=launch)).rows
    assert (command.tensor_parallel, command.data_parallel, command.expert_parallel) == (2, 4, 4)
    assert (command.chips, command.software, command.model) == (8, "sglang", "Qwen/Qwen3-8B")
    assert (command.weight_dtype, command.kv_dtype) == ("int4", "fp8")
    asked = H100.replace(launch=launch, tensor_parallel=4, software="vllm", weight_format="bf16")
    (option,) = rows_of(run, asked).rows
    assert (option.tensor_parallel, option.data_parallel, option.chips) == (4, 4, 16)
    assert (option.software, option.weight_dtype) == ("vllm", "bf16")


def test_drafts_by_own_heads_have_a_place_and_others_none():
    launch = Launch(engine="vllm", model="deepseek-v3", drafting=Drafting(kind="mtp", tokens=2))
    run = run_of(tpot=Spread(), itl=Spread(mean_s=0.02), ttft=Spread(mean_s=0.1))
    (row,) = rows_of(run, H100.replace(launch=launch)).rows
    # A piece of an answer has several tokens now: the time between two is not that of a token.
    assert (row.field, row.draft_tokens) == ("ttft_s", 2)
    other = launch.replace(drafting=Drafting(kind="ngram", tokens=2))
    with pytest.raises(pl.InputError, match="cannot have drafts by ngram"):
        rows_of(run, H100.replace(launch=other))


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (LLAMA, LLAMA),  # which the catalogue knows
        ("RedHatAI/Qwen3-30B-A3B-FP8-dynamic", "qwen3-30b-a3b"),
        ("/models/Meta-Llama-3.1-70B-Instruct-AWQ", "llama-3.1-70b"),
    ],
)
def test_names_of_the_hub_are_names_that_are_known(said, known):
    assert rows_of(run_of(model=said)).rows[0].model == known


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(
        pl.InputError, match=r"run\.json: .* is not in the catalogue.*nearest names are"
    ):
        rows_of(run_of(model="org/lama-3.1-8c"))


def test_tests_of_llama_bench_are_one_sequence():
    prompt, tokens = rows_in("llama-bench JSON", Ran(machine="rtx-4090"))
    assert (prompt.field, prompt.value, prompt.prompt_tokens) == ("ttft_s", 0.05, 512)
    assert (tokens.field, tokens.value, tokens.output_tokens) == ("tpot_s", 0.008, 128)
    assert (prompt.batch_size, prompt.arrivals, prompt.weight_dtype) == (1, "together", "q4_k_m")
    assert tokens.software == "llama.cpp"


def test_collectives_are_rows_of_nccl():
    rows = rows_in("nccl-tests text")
    assert [row.message_bytes for row in rows] == [1024, 1048576]
    assert (rows[0].software, rows[0].ranks, rows[0].chips) == ("nccl", 8, 8)
    assert rows[0].ranks_per_node is None
    across = measured_in(nccl_tests(ranks=16, hosts=2), HERE)
    row = measurements_of(across, H100, HERE).rows[0]
    assert (row.chips, row.ranks_per_node) == (16, 8)


def test_commands_are_read_by_the_readers_of_command_lines():
    launch = launch_of("vllm serve meta-llama/Llama-3.1-8B --tensor-parallel-size 8")
    assert (launch.engine, launch.tensor_parallel) == ("vllm", 8)
    with pytest.raises(pl.InputError):
        launch_of("make coffee")


@pytest.fixture
def saved(tmp_path):
    """A run that says all of itself."""
    path = tmp_path / "run.json"
    path.write_text(json.dumps(planner_run()), encoding="utf-8")
    return path


def test_a_run_points_at_its_own_file(saved):
    made = measurements_of(read_benchmarks(saved), Ran(), saved)
    first, later = made.rows
    assert [(row.field, row.value) for row in made.rows] == [("ttft_s", 0.25), ("tpot_s", 0.0625)]
    assert {later.model, later.topology, later.plan_file} == {str(saved)}
    assert (later.software, later.chips, later.batch_size) == ("torch-gloo-cpu", 2, 6)
    assert (later.weight_dtype, later.arrivals) == ("fp32", "together")
    assert made.remarks[0].endswith("added up as on an idle machine")
    cases, refused = cases_of([first, later])
    assert not refused
    assert [len(case.topology.fabrics) for case in cases] == [1, 1]


def test_what_options_say_goes_before_the_run_too(saved):
    measured = read_benchmarks(saved)
    (row, _) = measurements_of(measured, Ran(tensor_parallel=2), saved).rows
    assert (row.plan_file, row.tensor_parallel, row.topology) == ("", 2, str(saved))
    (row, _) = measurements_of(measured, Ran(machine="hgx-h100", chips=4), saved).rows
    assert (row.topology, row.chips, row.plan_file) == ("hgx-h100", 4, str(saved))


def test_cpu_seconds_are_of_the_stack_that_counts_them(saved):
    measured = read_benchmarks(saved)
    with pytest.raises(
        pl.InputError, match="give --software torch-gloo-cpu, or run the plan again"
    ):
        measurements_of(measured, Ran(software="torch-gloo"), saved)
    wall = Measured((measured.benchmarks[0].replace(clock="wall", engine="torch-gloo"),))
    made = measurements_of(wall, Ran(software="torch-gloo"), saved)
    assert (made.rows[0].software, made.remarks) == ("torch-gloo", ())


def test_a_machine_is_needed_where_the_file_has_none():
    with pytest.raises(pl.InputError, match="say --machine"):
        rows_of(run_of(), Ran())
    with pytest.raises(pl.InputError, match="say --machine"):
        rows_in("nccl-tests text", Ran())
