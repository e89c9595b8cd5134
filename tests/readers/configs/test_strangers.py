"""Files that are no config of a decoder: one sentence for each, that says what they are."""

import json

import pytest

import planner as pl
from planner.errors import InputError
from tests.readers.small import LLAMA


def refusal(folder, fields):
    path = folder / "config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        pl.load_model(path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"peft_type": "LORA", "r": 16, "target_modules": ["q_proj"]}, "LoRA adapter"),
        ({"tokenizer_class": "LlamaTokenizer", "model_max_length": 4096}, "config of a tokenizer"),
        ({"image_processor_type": "CLIPImageProcessor"}, "config of a preprocessor"),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, "generation_config.json"),
        ({"weight_map": {"a": "b"}}, "index of a checkpoint"),
        ({"_class_name": "StableDiffusionPipeline"}, "StableDiffusionPipeline of diffusers"),
        ({"vision_config": {"depth": 32}}, "no text part"),
        ({"talker_config": {"text_config": LLAMA}}, "no text part"),
        ({"architectures": ["LlamaForCausalLM"]}, "not the number of its layers"),
        ({"hidden_size": 64}, "no num_hidden_layers"),
        ({**LLAMA, "is_encoder_decoder": True}, "is an encoder, or has one"),
    ],
)
def test_each_kind_of_file_is_told_apart(tmp_path, fields, said):
    assert said in refusal(tmp_path, fields)


@pytest.mark.parametrize("kind", ["zaya", "gemma4_assistant", "hrm_text"])
def test_a_family_that_would_be_read_as_another_is_refused_at_any_depth(tmp_path, kind):
    assert f"{kind} is not supported" in refusal(tmp_path, {**LLAMA, "model_type": kind})
    whole = {"model_type": kind, "text_config": LLAMA}
    assert f"{kind} is not supported" in refusal(tmp_path, whole)
