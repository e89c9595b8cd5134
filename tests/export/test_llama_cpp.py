import numpy as np
import pytest

import planner as pl
from planner.export import to_engine
from tests.exported import cut_plan, options_of, result_of

GRAPH = pl.load_model("llama-3.1-8b")
MACHINE = pl.load_topology("rtx-4090", chips=4, software="llama.cpp")


def told(plan, machine=MACHINE, **fields):
    workload = pl.Workload(**{"batch_size": 4, "prompt_tokens": 100, "output_tokens": 20, **fields})
    made = result_of(GRAPH, machine, plan, workload)
    return to_engine(made, "llama.cpp", model="m.gguf", chips_per_node=2, draft="d.gguf")


def cards_of(shares: str, layers: int) -> list[int]:
    """The card of each layer and of the output, as llama.cpp's loader counts them, in single
    precision."""
    parts = np.array([float(share) for share in shares.split(",")], dtype=np.float32)
    ends = np.cumsum(parts, dtype=np.float32) / parts.sum(dtype=np.float32)
    places = np.arange(layers + 1, dtype=np.float32) / np.float32(layers + 1)
    return [int(np.searchsorted(ends, place, side="right")) for place in places]


@pytest.mark.parametrize("cut", [(8, 8, 8, 8), (11, 9, 7, 5), (1, 1, 1, 29), (29, 1, 1, 1)])
def test_its_loader_puts_layers_where_the_plan_has_them(cut):
    line = told(cut_plan(GRAPH, MACHINE, cut, sequences=4)).commands[-1]
    cards = cards_of(options_of(line)["-ts"], 32)
    assert [cards[:-1].count(card) for card in range(4)] == list(cut)
    assert cards[-1] == 3


def test_the_context_counts_all_slots():
    options = options_of(told(cut_plan(GRAPH, MACHINE, (16, 16), sequences=4)).commands[-1])
    assert options["-np"] == "4"
    # 120 tokens in a slot, which llama.cpp rounds up to 256.
    assert int(options["-c"]) == 4 * 256
    assert options["-ngl"] == "33"


def test_a_slot_is_as_long_as_was_priced():
    plan = cut_plan(GRAPH, MACHINE, (16, 16), sequences=4)
    made = result_of(
        GRAPH, MACHINE, plan, pl.Workload(batch_size=4, prompt_tokens=500, output_tokens=12)
    )
    options = options_of(to_engine(made, "llama.cpp", model="m.gguf").commands[-1])
    assert options["-c"] == str(4 * 512)
    assert made.score.stages[0].kv_bytes == 4 * 512 * GRAPH.kv_bytes_per_token / 2


def test_cards_of_other_nodes_come_before_its_own():
    *cards, server = told(cut_plan(GRAPH, MACHINE, (8, 8, 8, 8), sequences=4)).commands
    assert [options_of(card)["-p"] for card in cards] == ["50052", "50053"]
    assert options_of(server)["--rpc"] == "$NODE_0:50052,$NODE_0:50053"
    assert options_of(server)["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize(
    ("version", "lender"), [("b9500", "rpc-server"), (None, "ggml-rpc-server")]
)
def test_who_lends_a_card_is_called_as_the_build_calls_it(version, lender):
    plan = cut_plan(GRAPH, MACHINE, (8, 8, 8, 8), sequences=4)
    workload = pl.Workload(batch_size=4, prompt_tokens=100, output_tokens=20)
    made = result_of(GRAPH, MACHINE, plan, workload)
    first, *_ = to_engine(
        made, "llama.cpp", model="m.gguf", chips_per_node=2, version=version
    ).commands
    assert first.split()[1] == lender


def test_scales_of_a_cache_that_was_priced_without_them_are_told():
    graph = pl.load_model("llama-3.1-8b", kv_dtype="int8")
    plan = cut_plan(graph, MACHINE, (16, 16), sequences=4)
    workload = pl.Workload(batch_size=4, prompt_tokens=100, output_tokens=20)
    made = to_engine(result_of(graph, MACHINE, plan, workload), "llama.cpp", model="m.gguf")
    words = " ".join(made.file("start.sh").replace("#", "").split())
    # 34 bytes for each 32 values.
    assert "as q8_0, whose scales take 6% more than was priced; plan with kv_dtype=q8_0" in words


def test_its_benchmark_takes_the_cards_of_all_nodes():
    plan = cut_plan(GRAPH, MACHINE, (8, 8, 8, 8), sequences=4)
    assert options_of(told(plan).benchmark)["--rpc"] == "$NODE_0:50052,$NODE_0:50053"


def test_one_card_is_not_split():
    options = options_of(told(cut_plan(GRAPH, MACHINE, (32,), sequences=4)).commands[0])
    assert options["-sm"] == "none"
    assert "-ts" not in options


def test_drafts_are_told_as_the_build_knows_them():
    drafting = pl.Speculation(kind="draft-model", tokens=5, draft=pl.load_model("qwen3-0.6b"))
    plan = cut_plan(GRAPH, MACHINE, (32,), sequences=4)
    options = options_of(told(plan, speculation=drafting).commands[0])
    assert options["--spec-draft-n-max"] == "5"
    assert options["-md"] == "d.gguf"
    made = result_of(GRAPH, MACHINE, plan, pl.Workload(batch_size=4, speculation=drafting))
    old = to_engine(made, "llama.cpp", model="m.gguf", draft="d.gguf", version="b7100")
    assert options_of(old.commands[0])["--draft-max"] == "5"
    assert "--spec-type" not in old.commands[0]


def test_processors_are_no_cards():
    machine = pl.load_topology("xeon-8380", software="llama.cpp")
    graph = pl.load_model("qwen3-0.6b")
    made = result_of(graph, machine, cut_plan(graph, machine, (28,), sequences=1), pl.Workload())
    options = options_of(to_engine(made, "llama.cpp", model="m.gguf").commands[0])
    assert options["-ngl"] == "0"
    assert "CUDA_VISIBLE_DEVICES" not in options
    with pytest.raises(pl.InputError, match="vllm does not run on Intel Xeon"):
        to_engine(made, "vllm")


def test_cards_of_other_makers_have_variables_of_their_own():
    machine = pl.load_topology("arc-pro-b60", software="llama.cpp")
    graph = pl.load_model("qwen3-0.6b")
    made = result_of(graph, machine, cut_plan(graph, machine, (28,), sequences=1), pl.Workload())
    line = to_engine(made, "llama.cpp", model="m.gguf").commands[0]
    assert line.startswith("ZE_AFFINITY_MASK=0 llama-server")
