import pytest

from planner.errors import InputError
from planner.export.exporting import to_engine
from tests.exported import golden_pools, golden_results

yaml = pytest.importorskip("yaml")


def application(result):
    text = to_engine(result, "vllm", manifest="ray-serve").file("ray-serve.yaml")
    return yaml.safe_load(text)["applications"][0]


def test_options_are_arguments_of_the_engine():
    (config,) = application(golden_results("vllm")["stages"])["args"]["llm_configs"]
    assert config["engine_kwargs"]["pipeline_parallel_size"] == 2
    assert config["runtime_env"]["env_vars"] == {"VLLM_PP_LAYER_PARTITION": "41,39"}
    assert config["deployment_config"] == {"num_replicas": 1}


def test_pools_have_a_builder_of_their_own():
    made = application(golden_pools("vllm"))
    assert made["import_path"].endswith("build_pd_openai_app")
    assert set(made["args"]) == {"prefill_config", "decode_config"}
    kept = made["args"]["decode_config"]["engine_kwargs"]["kv_transfer_config"]
    assert kept["kv_role"] == "kv_consumer"


def test_attention_ranks_are_refused():
    with pytest.raises(InputError, match="attention data parallel of Ray Serve"):
        application(golden_results("vllm")["experts"])
