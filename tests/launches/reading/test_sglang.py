from typing import Any

import pytest

from planner.errors import InputError
from planner.launches.commands import read_command


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("--tp 8", {"tensor_parallel": 8, "replica_chips": 8}),
        ("--tp 8 --attn-dp-size 4", {"tensor_parallel": 2, "attention_parallel": 4}),
        ("--tp 8 --dp 8 --enable-dp-attention", {"tensor_parallel": 1, "attention_parallel": 8}),
        ("--tp 2 --dp 4", {"tensor_parallel": 2, "replicas": 4, "chips": 8}),
        ("--tp 8 --attn-cp-size 2", {"tensor_parallel": 4, "sequence_parallel": 2}),
        ("--tp 8 --ep-size 4", {"expert_parallel": 4}),
        ("--tp 8 --moe-a2a-backend deepep", {"expert_parallel": 8}),
        ("--tp 8 --pp-size 2 --nnodes 2", {"chips_per_node": 8}),
        ("--chunked-prefill-size -1", {"chunk_tokens": None}),
        ("--disable-radix-cache", {"prefix_caching": False}),
        ("--disable-cuda-graph", {"eager": True}),
        ("--disaggregation-mode prefill", {"role": "prefill"}),
        ("--base-gpu-id 4 --tp 2", {"devices": ((4, 5),)}),
        ("--mem-fraction-static 0.8", {"memory_share": 0.8}),
    ],
)
def test_options_say_this_of_a_launch(options: str, fields: dict[str, Any]) -> None:
    launch = read_command(f"sglang serve m {options}").launch
    assert {name: getattr(launch, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("options", "kind", "tokens", "model"),
    [
        ("--speculative-algorithm NEXTN --speculative-num-steps 2", "mtp", 2, ""),
        ("--speculative-algorithm EAGLE --speculative-num-steps 2", "mtp", 2, ""),
        (
            "--speculative-algo EAGLE3 --speculative-draft-model-path a/b --speculative-num-steps 5",
            "eagle3",
            5,
            "a/b",
        ),
        ("--speculative-algorithm NGRAM --speculative-num-draft-tokens 12", "ngram", 11, ""),
    ],
)
def test_drafts(options: str, kind: str, tokens: int, model: str) -> None:
    drafting = read_command(f"sglang serve m {options}").launch.drafting
    assert drafting is not None
    assert (drafting.kind, drafting.tokens, drafting.model) == (kind, tokens, model)


def test_what_the_engine_chooses_by_itself_is_said_to_be_assumed() -> None:
    reading = read_command("sglang serve m --speculative-algorithm NEXTN")
    assert any("chooses the depth" in one.words for one in reading.told)


def test_its_cut_is_a_variable() -> None:
    text = "SGLANG_PP_LAYER_PARTITION=20,12 sglang serve m --pp-size 2"
    assert read_command(text).launch.layers == (20, 12)


@pytest.mark.parametrize("options", ["--tp 8 --ep-size 3", "--tp 6 --attn-dp-size 4"])
def test_ranks_that_do_not_divide_are_refused(options: str) -> None:
    with pytest.raises(InputError, match="must divide"):
        read_command(f"sglang serve m {options}")


def test_what_attention_ranks_share_out_is_read_as_each_gets_it() -> None:
    ranks = "sglang serve m --tp 8 --attn-dp-size 4"
    launch = read_command(f"{ranks} --chunked-prefill-size 8192 --max-running-requests 30").launch
    assert (launch.chunk_tokens, launch.most_sequences) == (2048, 28)
