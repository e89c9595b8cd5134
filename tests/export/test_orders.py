import pytest

import planner as pl
from planner.errors import InputError
from planner.export.orders import (
    Order,
    asked_of_server,
    assumed,
    check_drafts_in_pipeline,
    lengths_of,
)
from planner.export.versions import release_of
from planner.launches.launching import job_of, launch_of
from tests.exported import cut_plan, result_of

GRAPH = pl.load_model("llama-3.1-8b")
MACHINE = pl.load_topology("hgx-h100", software="vllm")


def order(cut=(32,), **fields) -> Order:
    workload = pl.Workload(
        **{"batch_size": 10, "prompt_tokens": 100, "output_tokens": 20, **fields}
    )
    plan = cut_plan(GRAPH, MACHINE, cut, sequences=10)
    job, _ = job_of(result_of(GRAPH, MACHINE, plan, workload), "vllm")
    return Order(job, launch_of(job, "vllm", draft="d"), release_of("vllm", None).release)


def test_a_benchmark_asks_for_what_was_planned_for():
    assert asked_of_server(order()) == (80, 10, None)
    assert asked_of_server(order(arrivals="together")) == (10, 10, None)
    assert asked_of_server(order(batch_size=None, requests_per_s=5.0)) == (300, None, 5.0)


def test_a_shared_beginning_is_told_apart_from_the_rest():
    assert lengths_of(order(cached_prompt_share=0.3)) == (30, 70, 20)


def test_a_cut_of_the_model_does_not_fit_its_draft_model():
    drafted = {"speculation": pl.Speculation(kind="draft-model", draft=pl.load_model("qwen3-0.6b"))}
    check_drafts_in_pipeline(order(**drafted), "CUT")
    with pytest.raises(InputError, match="cuts a draft model by the same CUT"):
        check_drafts_in_pipeline(order((20, 12), **drafted), "CUT")


def test_what_the_price_assumed_is_said_in_figures():
    sentences = assumed(order((20, 12)))
    assert "at most 10 sequences in each, of 100 + 20 tokens" in sentences[0]
    assert "Decoder layers of the stages: 20, 12." in sentences
