from pathlib import Path

import pytest

from planner.errors import InputError
from planner.launches.launch import Launch
from planner.launches.models import model_of


def graph_and_remarks(name: str, engine: str = "vllm", **fields: object):
    return model_of(Launch(engine=engine, model=name, **fields))


@pytest.mark.parametrize(
    ("name", "entry", "dtype"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b", "bf16"),
        ("RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b", "fp8"),
        ("Qwen/Qwen3-32B-AWQ", "qwen3-32b", "int4"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-v3", "fp8"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b", "bf16"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "qwen3-235b-a22b", "bf16"),
        ("/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "llama-3.1-8b", "q4_k_m"),
        ("unsloth/Llama-3.3-70B-Instruct-GGUF:Q5_K_M", "llama-3.1-70b", "q5_k"),
        ("nvidia/DeepSeek-R1-0528-NVFP4-v2", "deepseek-v3", "nvfp4"),
        ("google/gemma-3-27b-it", "gemma-3-27b", "bf16"),
    ],
)
def test_names_that_differ_where_the_shape_does_not_are_one_model(
    name: str, entry: str, dtype: str
) -> None:
    graph, remarks = graph_and_remarks(name)
    assert (graph.name, graph.weight_dtype) == (entry, dtype)
    assert entry.replace("-", "") in name.replace("-", "").lower() or remarks


@pytest.mark.parametrize(
    "name",
    ["facebook/opt-125m", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "/no/where", "x.gguf"],
)
def test_a_name_of_another_shape_is_refused_with_the_way_to_give_it(name: str) -> None:
    with pytest.raises(InputError, match="--model NAME"):
        graph_and_remarks(name)


def test_another_model_may_stand_in() -> None:
    launch = Launch(engine="vllm", model="a/b")
    assert model_of(launch, "qwen3-8b").graph.name == "qwen3-8b"


def test_formats_of_the_command_are_taken() -> None:
    graph, remarks = graph_and_remarks("qwen3-8b", weight_format="fp8", cache_format="fp8")
    assert (graph.weight_dtype, graph.kv_dtype) == ("fp8", "fp8")
    assert remarks == ()


def test_a_repository_of_llama_cpp_has_its_usual_format_unless_it_is_published_in_4_bits() -> None:
    assert graph_and_remarks("a/Qwen3-8B-GGUF", "llama.cpp")[0].weight_dtype == "q4_k_m"
    graph, _ = graph_and_remarks("ggml-org/gpt-oss-20b-GGUF", "llama.cpp")
    assert graph.weight_dtype == "mxfp4"


def test_qwens_8_bit_weights_share_scales_in_blocks() -> None:
    assert graph_and_remarks("Qwen/Qwen3-235B-A22B-FP8")[0].weight_block == 128
    assert graph_and_remarks("RedHatAI/Qwen3-32B-FP8-dynamic")[0].weight_block is None


def test_a_checkpoint_that_is_quantised_stays_as_it_is_stored() -> None:
    graph, remarks = graph_and_remarks("deepseek-v3", weight_format="int4")
    assert graph.weight_dtype == "fp8"
    assert "deepseek-v3 is stored in fp8" in remarks[0]


def test_a_folder_with_a_config_is_read(tmp_path: Path) -> None:
    config = Path(__file__).parents[1] / "data" / "configs"
    one = next(iter(sorted(config.rglob("*.json"))))
    (tmp_path / "config.json").write_text(one.read_text(encoding="utf-8"), encoding="utf-8")
    assert model_of(Launch(engine="vllm", model=str(tmp_path))).graph.layers
