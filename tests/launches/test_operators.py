"""Manifests of operators, of a few lines each; those of exports are in tests/test_round_trip.py."""

from typing import Any

import pytest

from planner.errors import InputError
from planner.launches.commands import read_command
from planner.launches.launch import Launch
from planner.launches.operators import is_operators, started_by_operator

DYNAMO = """
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
spec:
  components:
  - {name: Frontend}
  - name: decode
    replicas: 3
    multinode: {nodeCount: 2}
    podTemplate:
      spec:
        containers:
        - command: [python3, -m, dynamo.vllm]
          args: [--model, m, -tp, "8", -pp, "2", --disaggregation-mode, decode]
          resources: {limits: {nvidia.com/gpu: "8"}}
"""
KSERVE = """
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
spec:
  model: {uri: "hf://m", name: m}
  replicas: 2
  parallelism: {tensor: 2, data: 8, dataLocal: 4, expert: true}
  template:
    containers:
    - name: main
      env: [{name: VLLM_ADDITIONAL_ARGS, value: "--max-num-seqs 32"}]
"""
LLM_D = """
modelArtifacts: {name: m}
decode:
  replicas: 2
  containers: [{args: [-tp, "4"]}]
prefill: {create: false}
"""
RAY = """
applications:
- args:
    llm_configs:
    - model_loading_config: {model_id: m}
      deployment_config: {num_replicas: 2}
      engine_kwargs: {tensor_parallel_size: 4, enable_prefix_caching: true}
"""


def launch_of(text: str) -> Launch:
    return read_command(text).launch


def test_a_component_of_dynamo_is_a_launch() -> None:
    launch = launch_of(DYNAMO)
    assert (launch.engine, launch.model, launch.role) == ("vllm", "m", "decode")
    assert (launch.tensor_parallel, launch.pipeline_parallel, launch.replicas) == (8, 2, 3)
    assert launch.chips_per_node == 8


def test_a_service_of_kserve_is_a_launch() -> None:
    launch = launch_of(KSERVE)
    assert (launch.tensor_parallel, launch.attention_parallel, launch.expert_parallel) == (2, 8, 16)
    assert (launch.replicas, launch.most_sequences, launch.role) == (2, 256, "both")


def test_values_of_llm_d_are_a_launch() -> None:
    launch = launch_of(LLM_D)
    assert (launch.model, launch.tensor_parallel, launch.replicas) == ("m", 4, 2)


def test_an_application_of_ray_is_a_launch() -> None:
    launch = launch_of(RAY)
    assert (launch.model, launch.tensor_parallel, launch.replicas) == ("m", 4, 2)
    assert launch.prefix_caching is True


def test_others_are_left_to_kubernetes() -> None:
    assert not is_operators({"apiVersion": "v1", "kind": "Pod", "applications": []})
    assert is_operators({"applications": []})


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "DynamoGraphDeployment", "spec": 3},
        {"kind": "DynamoGraphDeployment", "spec": {"components": [{"podTemplate": []}]}},
        {"kind": "LLMInferenceService"},
        {"modelArtifacts": None, "decode": [1]},
        {"applications": [{"args": "x"}, 4]},
    ],
)
def test_what_lacks_its_parts_starts_nothing(document: dict[str, Any]) -> None:
    assert started_by_operator(document) == []


def test_a_count_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"multinode\.nodeCount must be a whole number"):
        read_command(DYNAMO.replace("nodeCount: 2", "nodeCount: two"))
