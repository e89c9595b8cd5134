import pytest

import planner as pl
from planner.export.orders import Order
from planner.export.sglang import static_share
from planner.export.versions import release_of
from planner.launches.launching import job_of, launch_of
from tests.export.test_vllm import told
from tests.exported import cut_plan, options_of, result_of

GRAPH = pl.load_model("llama-3.1-8b")
MACHINE = pl.load_topology("hgx-h100", software="sglang")


def test_buffers_are_left_out_of_the_share_of_weights_and_caches():
    plan = cut_plan(GRAPH, MACHINE, (32,))
    job, _ = job_of(result_of(GRAPH, MACHINE, plan, pl.Workload(batch_size=8)), "sglang")
    order = Order(job, launch_of(job, "sglang"), release_of("sglang", None).release)
    (stage,) = job.score.stages
    held = stage.usable_bytes - stage.activation_bytes - stage.workspace_bytes
    exact = held / MACHINE.chip.memory[0].capacity_bytes
    assert exact - 1e-3 < static_share(order) <= exact


@pytest.mark.parametrize(
    ("kind", "cut", "degrees", "words"),
    [
        ("eagle3", (20, 28), {}, "by mtp or eagle where there are several stages, not by eagle3"),
        ("ngram", (48,), {"attention": 4, "expert": 4}, "not draft by ngram where ranks share out"),
    ],
)
def test_drafts_that_it_would_not_start_with_are_refused(kind, cut, degrees, words):
    graph = pl.load_model("qwen3-30b-a3b")
    draft = None if kind == "ngram" else graph.cut(1)
    drafting = pl.Speculation(kind=kind, tokens=3, draft=draft)
    with pytest.raises(pl.InputError, match=words):
        told(graph, MACHINE, cut, "sglang", degrees, speculation=drafting)


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("mtp", "NEXTN"), ("eagle3", "EAGLE3"), ("ngram", "NGRAM")]
)
def test_drafted_tokens_count_the_one_of_the_pass(kind, algorithm):
    draft = None if kind == "ngram" else GRAPH.cut(1)
    found = told(
        machine=MACHINE,
        engine="sglang",
        speculation=pl.Speculation(kind=kind, tokens=3, draft=draft),
    )
    options = options_of(found.commands[0])
    assert options["--speculative-algorithm"] == algorithm
    assert options["--speculative-num-draft-tokens"] == "4"
    assert options.get("--speculative-num-steps", "3") == "3"


def test_each_attention_rank_gets_a_whole_chunk():
    graph = pl.load_model("qwen3-30b-a3b")
    found = told(graph, MACHINE, (48,), "sglang", {"attention": 4, "expert": 4})
    options = options_of(found.commands[0])
    chunk = int(MACHINE.software.prefill_chunk_tokens)
    assert int(options["--chunked-prefill-size"]) == 4 * chunk
    assert options["--max-running-requests"] == "16"
