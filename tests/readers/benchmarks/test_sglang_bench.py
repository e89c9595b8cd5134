"""Lines of SGLang's tool, and what the server says in them."""

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.sglang_bench import is_sglang, read_sglang
from tests.readers.benchmarks.texts import sglang, vllm_serve

HERE = Path("result.jsonl")


def server(**said):
    return read_sglang(sglang(server_info=said), HERE)


def test_a_run_at_a_rate_is_read_with_the_servers_degrees():
    run = read_sglang(sglang(), HERE)
    assert (run.load, run.rate_per_s, run.in_flight) == ("rate", 4.0, 3.2)
    assert (run.prompt_tokens, run.output_tokens) == (512.0, 64.0)
    assert run.model == "Qwen/Qwen3-30B-A3B-FP8"
    assert (run.weight_format, run.cache_format) == ("fp8", "fp8")
    # Four ranks of which two share out the sequences: the attention is cut in two.
    assert (run.tensor_parallel, run.data_parallel, run.expert_parallel) == (2, 2, 4)


def test_degrees_are_those_of_the_attention_in_old_and_new_words():
    assert server(tp_size=8, attn_dp_size=4, dp_size=1).tensor_parallel == 2
    assert server(tp_size=8, attn_dp_size=4, dp_size=2).data_parallel == 8
    replicas = server(tp_size=2, dp_size=4)
    assert (replicas.tensor_parallel, replicas.data_parallel) == (2, 4)
    assert read_sglang(sglang(server_info=None), HERE).tensor_parallel is None


def test_lines_of_old_versions_are_refused():
    old = sglang()
    del old["total_input_tokens"]
    with pytest.raises(InputError, match=r"before 0\.4"):
        read_sglang(old, HERE)


def test_it_is_told_from_vllms():
    assert is_sglang(sglang())
    assert not is_sglang(vllm_serve())
