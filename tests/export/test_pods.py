import pytest

import planner as pl
from planner.errors import InputError
from planner.export.exporting import to_engine
from planner.export.pods import environment_of, plain, words_of
from planner.export.scripts import Start
from tests.exported import cut_plan, golden_results, result_of


def test_names_are_as_kubernetes_allows_them():
    assert plain("Llama-3.1-70B (fp8)") == "llama-3-1-70b-fp8"
    assert len(plain("x" * 90)) == 40


def test_what_looks_like_a_variable_stays_what_it_is():
    command = (("serve", "$(rm)", "tcp://$NODE_3:1"), ("--node-rank", "2"))
    start = Start(0, 0, 2, (), command)
    assert words_of(start) == [
        "serve", "$$(rm)", "tcp://$(LWS_LEADER_ADDRESS):1", "--node-rank", "$(LWS_WORKER_INDEX)",
    ]  # fmt: skip


def test_pods_are_not_told_which_chips_they_see():
    settings = (("CUDA_VISIBLE_DEVICES", "0"), ("VLLM_NIXL_SIDE_CHANNEL_HOST", "h"), ("A", "1"))
    host, plain_one = environment_of(Start(0, 0, 0, settings, (("x",),)))
    assert host["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert plain_one == {"name": "A", "value": "1"}


@pytest.mark.parametrize(
    ("engine", "form", "words"),
    [
        ("tensorrt-llm", "stages", "over several nodes"),
        ("huggingface", "tensor", "without a server"),
    ],
)
def test_what_no_pod_holds_is_refused(engine, form, words):
    result = golden_results(engine)[form]
    with pytest.raises(InputError, match=words):
        to_engine(result, engine, manifest="leaderworkerset")


def test_pods_ask_for_the_chips_of_their_maker():
    machine = pl.load_topology("mi300x-8", software="vllm")
    graph = pl.load_model("llama-3.1-8b")
    made = result_of(graph, machine, cut_plan(graph, machine, (32,), tensor=2), pl.Workload())
    text = to_engine(made, "vllm", manifest="leaderworkerset").file("leaderworkerset.yaml")
    assert 'amd.com/gpu: "2"' in text
