from typing import Any

import pytest

from planner.errors import InputError
from planner.launches.commands import read_command


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("-tp 2 -pp 3 -dp 4 -ep", {"tensor_parallel": 2, "pipeline_parallel": 3}),
        ("-tp 2 -dp 4 -ep", {"attention_parallel": 4, "expert_parallel": 8}),
        ("-tp 2 -dp 4", {"attention_parallel": 4, "expert_parallel": 1}),
        ("-dp 4 --max-num-seqs 64", {"most_sequences": 256}),
        ("-pcp 2 -tp 2", {"sequence_parallel": 2, "replica_chips": 4}),
        ("-tp 8 -pp 2 --nnodes 2", {"chips_per_node": 8}),
        ("--max-model-len auto", {"context_tokens": None}),
        ("--max-model-len 32K", {"context_tokens": 32768}),
        ("--quantization fp8 --kv-cache-dtype fp8_e5m2", {"weight_format": "fp8"}),
        ("--dtype float32", {"weight_format": "fp32"}),
        ("--kv-cache-dtype fp8_e5m2", {"cache_format": "fp8"}),
        ("--kv-cache-dtype turboquant_4bit_nc", {"cache_format": None}),
        ("--no-enable-prefix-caching", {"prefix_caching": False}),
        ("--enforce-eager", {"eager": True}),
        ("--kv-transfer-config.kv_role kv_consumer", {"role": "decode"}),
        ("--kv-transfer-config.kv_role kv_both", {"role": "both"}),
    ],
)
def test_options_say_this_of_a_launch(options: str, fields: dict[str, Any]) -> None:
    launch = read_command(f"vllm serve m {options}").launch
    assert {name: getattr(launch, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("config", "kind", "tokens", "model"),
    [
        ('{"method": "deepseek_mtp", "num_speculative_tokens": 2}', "mtp", 2, ""),
        ('{"method": "ngram", "num_speculative_tokens": 3}', "ngram", 3, ""),
        ('{"model": "[ngram]", "num_speculative_tokens": 3}', "ngram", 3, ""),
        ('{"model": "a/EAGLE3-b", "num_speculative_tokens": 4}', "eagle3", 4, "a/EAGLE3-b"),
        ('{"model": "a/b-1B", "num_speculative_tokens": 5}', "draft-model", 5, "a/b-1B"),
    ],
)
def test_drafts_are_told_as_json(config: str, kind: str, tokens: int, model: str) -> None:
    drafting = read_command(f"vllm serve m --speculative-config '{config}'").launch.drafting
    assert drafting is not None
    assert (drafting.kind, drafting.tokens, drafting.model) == (kind, tokens, model)


def test_drafts_have_short_options_too() -> None:
    drafting = read_command("vllm serve m --spec-method mtp --spec-tokens 3").launch.drafting
    assert drafting is not None
    assert (drafting.kind, drafting.tokens) == ("mtp", 3)


def test_drafts_that_are_not_priced_are_said_to_be_none() -> None:
    reading = read_command("vllm serve m --spec-method medusa --spec-tokens 3")
    assert reading.launch.drafting is None
    assert any("not priced" in one.words for one in reading.told)


@pytest.mark.parametrize(
    "config", ["[1]", '{"method": "mtp"}', '{"method": "mtp", "num_speculative_tokens": 0}']
)
def test_drafts_that_make_no_sense_are_refused(config: str) -> None:
    with pytest.raises(InputError, match=r"speculative|drafted"):
        read_command(f"vllm serve m --speculative-config '{config}'")
