import pytest

import planner as pl
from planner.errors import InputError
from planner.export.orders import Order
from planner.export.tensorrt_llm import config, free_share
from planner.export.versions import release_of
from planner.launches.launching import job_of, launch_of
from tests.export.test_vllm import told
from tests.exported import cut_plan, result_of

MACHINE = pl.load_topology("hgx-h200", software="tensorrt-llm", chips=16)


def order(graph, cut=None, speculation=None, **degrees) -> Order:
    cut = cut or (len(graph.inner_positions),)
    plan = cut_plan(graph, MACHINE, cut, **degrees)
    workload = pl.Workload(batch_size=8, speculation=speculation)
    job, _ = job_of(result_of(graph, MACHINE, plan, workload), "tensorrt-llm")
    made = launch_of(job, "tensorrt-llm", model="m", draft="d")
    return Order(job, made, release_of("tensorrt-llm", None).release)


def test_attention_ranks_are_ranks_of_the_tensor_group():
    graph = pl.load_model("deepseek-v3")
    made = config(order(graph, attention=8, expert=8))
    assert made["tensor_parallel_size"] == 8
    assert made["enable_attention_dp"]
    assert (made["moe_expert_parallel_size"], made["moe_tensor_parallel_size"]) == (8, 1)
    assert made["max_batch_size"] == 1


def test_the_cut_is_told_layer_by_layer():
    made = config(order(pl.load_model("llama-3.1-8b"), (18, 14), tensor=2))
    assert made["pp_partition"] == [18, 14]
    assert made["tensor_parallel_size"] == 2


def test_caches_take_what_the_price_left_for_them():
    made = order(pl.load_model("llama-3.1-8b"))
    (stage,) = made.job.score.stages
    reserved = made.job.software.reserved_bytes
    capacity = MACHINE.chip.memory[0].capacity_bytes
    free = capacity - reserved - stage.weight_bytes - stage.activation_bytes
    assert free_share(made) * free == pytest.approx(stage.kv_room_bytes, abs=1e-3 * free)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("mtp", {"decoding_type": "MTP", "num_nextn_predict_layers": 3}),
        ("eagle3", {"decoding_type": "Eagle", "max_draft_len": 3, "speculative_model_dir": "d"}),
        ("ngram", {"decoding_type": "NGram", "max_draft_len": 3, "max_matching_ngram_size": 3}),
    ],
)
def test_drafts_have_types(kind, wanted):
    graph = pl.load_model("llama-3.1-8b")
    draft = None if kind == "ngram" else graph.cut(1)
    drafting = pl.Speculation(kind=kind, tokens=3, draft=draft)
    assert config(order(graph, speculation=drafting))["speculative_config"] == wanted


def test_ranks_that_nodes_do_not_hold_alike_are_refused():
    graph = pl.load_model("llama-3.1-8b")
    with pytest.raises(InputError, match="same ranks on the same chips of every node"):
        told(graph, MACHINE, (12, 10, 10), "tensorrt-llm", {"tensor": 4})
