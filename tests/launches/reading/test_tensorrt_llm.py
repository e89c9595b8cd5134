from typing import Any

import pytest

from planner.errors import InputError
from planner.launches.commands import read_command


def read(options: str, yaml: str = "") -> Any:
    written = f"cat > o.yaml <<END\n{yaml}\nEND\n" if yaml else ""
    config = "--config o.yaml" if yaml else ""
    return read_command(f"{written}trtllm-serve m {options} {config}").launch


@pytest.mark.parametrize(
    ("options", "yaml", "fields"),
    [
        ("--tp_size 8 --ep_size 4", "", {"tensor_parallel": 8, "expert_parallel": 4}),
        ("--tp_size 8", "enable_attention_dp: true", {"attention_parallel": 8, "chips": 8}),
        ("--tp_size 8", "moe_tensor_parallel_size: 2", {"expert_parallel": 4}),
        (
            "--tp_size 4 --max_batch_size 64",
            "enable_attention_dp: true",
            {"most_sequences": 256},
        ),
        ("--pp_size 2", "pp_partition: [20, 12]", {"layers": (20, 12)}),
        ("--kv_cache_free_gpu_memory_fraction 0.8", "", {"cache_share": 0.8}),
        ("", "kv_cache_config: {dtype: fp8}", {"cache_format": "fp8"}),
        ("", "kv_cache_config: {enable_block_reuse: false}", {"prefix_caching": None}),
        ("", "quant_config: {quant_algo: NVFP4}", {"weight_format": "nvfp4"}),
        ("--tp_size 16 --gpus_per_node 8", "", {"chips_per_node": 8}),
    ],
)
def test_options_and_keys_say_this_of_a_launch(
    options: str, yaml: str, fields: dict[str, Any]
) -> None:
    launch = read(options, yaml)
    assert {name: getattr(launch, name) for name in fields} == fields


def test_drafts_are_keys() -> None:
    drafting = read(
        "", "speculative_config: {decoding_type: MTP, num_nextn_predict_layers: 3}"
    ).drafting
    assert (drafting.kind, drafting.tokens) == ("mtp", 3)


@pytest.mark.parametrize(
    ("options", "yaml"),
    [
        ("--tp_size 8 --ep_size 3", ""),
        ("--tp_size 8 --ep_size 4", "moe_tensor_parallel_size: 4"),
        ("--pp_size 2", "pp_partition: [20, 12, 4]"),
        ("--pp_size 2", "pp_partition: 20"),
        ("", "speculative_config: {decoding_type: MTP}"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: str, yaml: str) -> None:
    with pytest.raises(InputError):
        read(options, yaml)
