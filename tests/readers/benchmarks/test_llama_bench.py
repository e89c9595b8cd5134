"""Tests of llama-bench: prompts alone, tokens alone, both; as JSON, CSV and Markdown."""

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.llama_bench import (
    is_llama_bench,
    is_llama_bench_csv,
    is_llama_bench_table,
    read_llama_bench,
    read_llama_bench_csv,
    read_llama_bench_table,
)
from tests.readers.benchmarks.texts import (
    LLAMA_BENCH,
    LLAMA_BENCH_CSV,
    LLAMA_BENCH_TABLE,
    llama_bench_row,
)

HERE = Path("bench.json")


def only(row):
    """What is read of one test."""
    (run,) = read_llama_bench([row], HERE).benchmarks
    return run


def test_prompts_give_first_tokens_and_tokens_the_time_of_each():
    prompt, tokens = read_llama_bench(LLAMA_BENCH, HERE).benchmarks
    assert (prompt.ttft.mean_s, prompt.prompt_tokens, prompt.output_tokens) == (0.05, 512, None)
    assert (tokens.tpot.mean_s, tokens.prompt_tokens, tokens.output_tokens) == (0.008, 1, 128)
    assert prompt.model == "Meta-Llama-3.1-8B-Instruct-Q4_K_M"
    assert (prompt.weight_format, prompt.cache_format) == ("q4_k_m", "fp16")
    assert prompt.version == "build 5163"


def test_a_filled_cache_is_a_prompt_of_tokens_and_hides_a_prompt():
    assert only(llama_bench_row(0, 64, 100.0, depth=4096)).prompt_tokens == 4096
    left = read_llama_bench([llama_bench_row(512, 0, 900.0, depth=4096)], HERE)
    assert not left.benchmarks
    assert "n_depth" in left.remarks[0]


def test_both_in_one_are_a_request():
    run = only(llama_bench_row(512, 128, 640.0))
    assert (run.e2e.mean_s, run.prompt_tokens, run.output_tokens) == (1.0, 512, 128)


def test_layers_go_over_all_cards_that_are_seen():
    two = "NVIDIA GeForce RTX 3090, NVIDIA GeForce RTX 3090"
    assert only(llama_bench_row(0, 64, 50.0, gpu_info=two)).pipeline_parallel == 2
    row = llama_bench_row(0, 64, 50.0, gpu_info=two, split_mode="row")
    assert only(row).pipeline_parallel is None


def test_layers_that_the_host_has_are_left_out_unless_it_has_all():
    few = llama_bench_row(0, 64, 5.0, n_gpu_layers=0)
    assert "layers on the card" in read_llama_bench([few], HERE).remarks[0]
    assert only(few | {"backends": "CPU"}).tpot.mean_s == 0.2


def test_a_csv_says_the_same():
    assert read_llama_bench_csv(LLAMA_BENCH_CSV, HERE) == read_llama_bench(LLAMA_BENCH, HERE)
    with pytest.raises(InputError, match="n_prompt, n_gen and avg_ts"):
        read_llama_bench_csv('"build_commit"\n"a"\n', HERE)


def test_the_printed_table_names_no_file():
    found = read_llama_bench_table(LLAMA_BENCH_TABLE, HERE)
    prompt, tokens, deep, both = found.benchmarks
    assert (prompt.ttft.mean_s, tokens.tpot.mean_s) == (0.05, 0.008)
    assert (deep.prompt_tokens, both.e2e.mean_s) == (4096, 1.0)
    assert (prompt.model, prompt.weight_format) == ("", "q4_k_m")
    assert prompt.version == "build 8cf427ff (5163)"
    with pytest.raises(InputError, match="no line with a test"):
        read_llama_bench_table("| test | t/s |\n| --- | --- |\n", HERE)


def test_its_forms_are_told():
    assert is_llama_bench(LLAMA_BENCH[0])
    assert is_llama_bench_csv(LLAMA_BENCH_CSV)
    assert is_llama_bench_table(LLAMA_BENCH_TABLE)
    assert not is_llama_bench_table(LLAMA_BENCH_CSV)
