from typing import Any

import pytest

from planner.errors import InputError
from planner.launches.commands import read_command


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("", {"spread": "stages", "most_sequences": 4}),
        ("-sm tensor", {"spread": "tensor"}),
        ("-sm row", {"spread": "tensor"}),
        ("-sm none -mg 2", {"spread": "", "devices": ((2,),)}),
        ("-dev CUDA1,CUDA0", {"pipeline_parallel": 2, "devices": ((1, 0),)}),
        ("-dev CUDA1,CUDA0 -sm tensor", {"tensor_parallel": 2}),
        ("-ngl 20", {"kept_layers": 20}),
        ("-ngl all", {"kept_layers": None}),
        ("-ngl -1", {"kept_layers": None}),
        ("-c 8192 -np 4", {"context_tokens": 2048, "most_sequences": 4}),
        ("-c 8192 -np 4 -kvu", {"context_tokens": 8192}),
        ("-c 8192", {"context_tokens": 8192}),
        ("-ctk q8_0 -ctv q8_0", {"cache_format": "q8_0"}),
        ("-ts 3,1", {"stage_shares": (3.0, 1.0)}),
        ("-sm tensor -ts 3,1", {"stage_shares": None}),
        ("-hf a/b:Q4_K_M", {"model": "m.gguf"}),
    ],
)
def test_options_say_this_of_a_launch(options: str, fields: dict[str, Any]) -> None:
    launch = read_command(f"llama-server -m m.gguf {options}").launch
    assert {name: getattr(launch, name) for name in fields} == fields


def test_visible_cards_are_its_stages_and_those_without_a_share_get_none() -> None:
    launch = read_command("CUDA_VISIBLE_DEVICES=2,3,4 llama-server -m m.gguf -ts 1,1").launch
    assert launch.pipeline_parallel == 3
    assert launch.devices == ((2, 3, 4),)
    assert launch.stage_shares == (1.0, 1.0, 0.0)


def test_variables_stand_for_options_that_are_not_given() -> None:
    known = "LLAMA_ARG_CTX_SIZE=8192 LLAMA_ARG_N_PARALLEL=2 LLAMA_ARG_KV_UNIFIED=0"
    launch = read_command(f"{known} llama-server -m m.gguf -np 4").launch
    assert (launch.context_tokens, launch.most_sequences) == (2048, 4)


def test_a_draft_model_drafts() -> None:
    text = "llama-server -m m.gguf -md d.gguf --spec-draft-n-max 8"
    drafting = read_command(text).launch.drafting
    assert drafting is not None
    assert (drafting.kind, drafting.tokens, drafting.model) == ("draft-model", 8, "d.gguf")


@pytest.mark.parametrize(
    "options", ["-sm columns", "-ts 0,0", "-ts a", "-ngl many", "-ctk q9", "-dev CUDA0,CUDA0"]
)
def test_what_is_none_is_refused(options: str) -> None:
    with pytest.raises(InputError):
        read_command(f"llama-server -m m.gguf {options}")
