import json

import pytest

import planner as pl
from planner.export import to_engine
from tests.exported import cut_plan, options_of, result_of

GRAPH = pl.load_model("llama-3.1-8b")
MACHINE = pl.load_topology("hgx-h100", software="vllm")


def told(graph=GRAPH, machine=MACHINE, cut=(32,), engine="vllm", degrees=None, **fields):
    workload = pl.Workload(**{"batch_size": 16, **fields})
    plan = cut_plan(graph, machine, cut, sequences=16, **(degrees or {}))
    return to_engine(result_of(graph, machine, plan, workload), engine, draft="some/draft")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("mtp", {"method": "mtp", "num_speculative_tokens": 2}),
        ("eagle3", {"method": "eagle3", "num_speculative_tokens": 2, "model": "some/draft"}),
        ("ngram", {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 2}),
    ],
)
def test_drafts_are_told_as_json(kind, wanted):
    draft = None if kind == "ngram" else GRAPH.cut(1)
    found = told(speculation=pl.Speculation(kind=kind, tokens=2, draft=draft))
    options = options_of(found.commands[0])
    drafted = json.loads(options["--speculative-config"])
    assert {name: drafted.get(name) for name in wanted} == wanted


def test_formats_are_told_where_they_are_not_the_models_own():
    graph = pl.load_model("llama-3.1-8b", weight_dtype="fp8", kv_dtype="fp8")
    options = options_of(told(graph).commands[0])
    assert (options["--quantization"], options["--kv-cache-dtype"]) == ("fp8", "fp8")
    plain = options_of(told().commands[0])
    assert "--quantization" not in plain
    assert "--dtype" not in plain


def test_each_attention_rank_has_a_limit_of_its_own():
    graph = pl.load_model("qwen3-30b-a3b")
    found = told(graph, cut=(48,), degrees={"attention": 4, "expert": 4})
    options = options_of(found.commands[0])
    assert options["--max-num-seqs"] == "4"
    assert options["--data-parallel-size"] == "4"


def test_the_first_node_answers_and_the_others_are_headless():
    machine = pl.load_topology("hgx-h100", chips=16, software="vllm")
    first, second = told(machine=machine, cut=(16, 16), degrees={"tensor": 8}).commands
    assert "--headless" not in options_of(first)
    assert "--port" in options_of(first)
    assert "--headless" in options_of(second)
    assert options_of(second)["--node-rank"] == "1"
