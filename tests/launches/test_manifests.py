import pytest

from planner.errors import InputError
from planner.launches.commands import read_command
from planner.launches.manifests import manifest_in, started_in_manifest

POD = """
apiVersion: v1
kind: Pod
metadata: {name: x}
spec:
  containers:
  - name: side
    image: nginx
  - name: engine
    image: vllm/vllm-openai:latest
    args: ["--model", "m", "-tp", "$(TP)", "--max-num-seqs", "$(MOST)"]
    env:
    - {name: TP, value: "4"}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: a, key: b}}}
    resources: {limits: {nvidia.com/gpu: GPUS}}
"""
LWS = """
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: vllm}
spec:
  replicas: 2
  leaderWorkerTemplate:
    size: 2
    leaderTemplate:
      spec:
        containers:
        - name: leader
          image: vllm/vllm-openai:latest
          command:
          - sh
          - -c
          - "bash multi-node-serving.sh leader --ray_cluster_size=$(LWS_GROUP_SIZE);
             python3 -m vllm.entrypoints.openai.api_server --model m -tp 8 -pp 2"
          resources: {limits: {nvidia.com/gpu: "8"}}
    workerTemplate:
      spec:
        containers:
        - name: worker
          image: vllm/vllm-openai:latest
          command: ["sh", "-c", "bash multi-node-serving.sh worker"]
"""
COMPOSE = """
services:
  web: {image: nginx}
  engine:
    image: lmsysorg/sglang:latest
    environment: ["TP=2"]
    entrypoint: python3 -m sglang.launch_server
    command: --model-path m --tp $TP
    deploy:
      resources:
        reservations:
          devices: [{driver: nvidia, device_ids: ["2", "3"], capabilities: [gpu]}]
"""


def test_a_pod_starts_what_its_image_does_with_its_variables() -> None:
    reading = read_command(POD.replace("GPUS", "4"))
    assert reading.launch.tensor_parallel == 4
    assert "$MOST has no value" in reading.asked[0]


def test_more_chips_than_a_pod_is_given_are_refused() -> None:
    with pytest.raises(InputError, match="gives the engine 2 chips"):
        read_command(POD.replace("GPUS", "2"))
    with pytest.raises(InputError, match="nvidia"):
        read_command(POD.replace("GPUS", "none"))


def test_a_set_of_leaders_and_workers_has_replicas_and_nodes() -> None:
    launch = read_command(LWS).launch
    assert (launch.tensor_parallel, launch.pipeline_parallel, launch.replicas) == (8, 2, 2)
    [started] = started_in_manifest(LWS)
    assert (started.nodes, started.known["LWS_GROUP_SIZE"]) == (2, "2")


def test_compose_has_entrypoints_commands_and_devices() -> None:
    launch = read_command(COMPOSE).launch
    assert (launch.engine, launch.tensor_parallel) == ("sglang", 2)
    assert launch.devices == ((2, 3),)


def test_a_manifest_may_stand_in_a_here_document() -> None:
    text = f"cat <<EOF | kubectl apply -f -\n{POD}EOF\n"
    assert manifest_in(text).strip() == POD.strip()
    assert manifest_in("vllm serve m") == ""


def test_llama_cpp_takes_the_cards_that_its_pod_is_given() -> None:
    text = POD.replace("vllm/vllm-openai:latest", "ghcr.io/ggml-org/llama.cpp:server-cuda")
    text = text.replace(
        '"--model", "m", "-tp", "$(TP)", "--max-num-seqs", "$(MOST)"', '"-m", "m.gguf"'
    )
    assert read_command(text.replace("GPUS", "2")).launch.pipeline_parallel == 2


def test_a_manifest_without_an_engine_is_refused() -> None:
    with pytest.raises(InputError, match="does not start a known engine"):
        read_command("apiVersion: v1\nkind: Service\n")
