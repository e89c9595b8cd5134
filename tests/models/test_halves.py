"""A model cut in two along its layers, by hand and over the catalogue."""

import pytest

import planner as pl
from planner.models.graph import FEED_FORWARD
from planner.models.halves import halves_of
from tests.by_hand import attention, chain, head, layer, matmul
from tests.instances import tiny_graph, tiny_moe


def names(kind):
    return [operator.name for operator in kind[0].operators]


def test_a_layer_is_cut_behind_its_norm_and_router():
    mixing, feeding = halves_of(pl.load_model("deepseek-v3"))
    assert names(mixing.kinds[1])[-2:] == ["attention output", "feed-forward norm"]
    assert names(mixing.kinds[2])[-2:] == ["feed-forward norm", "router"]
    assert names(feeding.kinds[0])[0] == "feed-forward up"
    assert names(feeding.kinds[1]) == [
        "shared expert up", "shared expert activation", "shared expert down", "experts",
    ]  # fmt: skip
    assert (len(mixing.layers), len(feeding.layers)) == (63, 61)


@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "mixtral-8x7b", "kimi-k2", "gemma-3-12b", "qwen3.5-397b-a17b",
             "nemotron-nano-9b-v2", "gpt-oss-120b"],
)  # fmt: skip
def test_nothing_is_lost_and_nothing_is_there_twice(name):
    graph = pl.load_model(name)
    mixing, feeding = halves_of(graph)
    for figure in ("parameters", "weight_bytes", "parameters_active"):
        whole = sum(getattr(each, figure) for each in graph.layers) if (
            figure == "parameters_active"
        ) else getattr(graph, figure)  # fmt: skip
        assert getattr(mixing, figure) + getattr(feeding, figure) == pytest.approx(whole)
    assert mixing.kv_bytes_per_token == graph.kv_bytes_per_token
    assert feeding.kv_bytes_per_token == feeding.state_bytes_per_sequence == 0
    assert mixing.names[0] == graph.names[0]
    assert mixing.names[-1] == graph.names[-1]


def test_experts_are_all_on_one_side():
    mixing, feeding = halves_of(tiny_moe(3))
    assert mixing.splits().get("experts") is None
    assert feeding.splits()["experts"] == (8,)
    assert feeding.splits().get("heads") is None


def test_a_feed_forward_half_is_a_whole_layer_of_its_machine():
    _, feeding = halves_of(tiny_graph(2))
    assert {each.kind for each in feeding.layers} == {FEED_FORWARD}
    assert feeding.mixes_tokens.tolist() == [1.0]


def test_halves_are_made_once():
    graph = tiny_graph(2)
    assert halves_of(graph).attention is halves_of(graph).attention


def test_what_cannot_be_cut_is_said():
    with pytest.raises(pl.InputError, match="is not a decoder that is a chain of layers"):
        halves_of(pl.load_model("flux.1-dev"))
    with pytest.raises(pl.InputError, match="attention and feed-forward part side by side"):
        halves_of(pl.load_model("falcon-7b"))
    mixer = [attention(), matmul(name="output", split="inputs")]
    with pytest.raises(pl.InputError, match="has no feed-forward part"):
        halves_of(chain(layer("a", *mixer), layer("b", head(), kind="head")))
