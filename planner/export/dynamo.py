"""Dynamo: a graph of components, `nvidia.com/v1beta1`; its operator tells nodes of one another."""

from typing import Any

from planner.errors import InputError
from planner.export import sglang, vllm
from planner.export.pods import (
    FILES,
    SECRET,
    Group,
    environment_of,
    files_of,
    plain,
    resources_of,
    volumes_of,
)
from planner.export.scripts import Words
from planner.launches.launch import EngineName

RUNTIME = "1.6.2"
"""The release of Dynamo whose documentation was read."""
BACKENDS: dict[EngineName, str] = {"vllm": "vllm", "sglang": "sglang", "tensorrt-llm": "trtllm"}
IMAGES = {"vllm": "vllm-runtime", "sglang": "sglang-runtime", "trtllm": "tensorrtllm-runtime"}
ALREADY = ("--disaggregation-mode", "--kv-transfer-config")
"""Flags that say which pool an engine is in, which Dynamo has one of its own for."""


def documents(groups: list[Group]) -> list[dict[str, Any]]:
    """One graph: a front, and a component for each pool."""
    first = groups[0].order
    backend = _backend(first.launch.engine)
    graph = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": plain(first.job.graph.name)},
        "spec": {
            "backendFramework": backend,
            "components": [_front(backend), *(_component(group, backend) for group in groups)],
        },
    }
    return [*(one for group in groups for one in files_of(group)), graph]


def _backend(engine: EngineName) -> str:
    if engine not in BACKENDS:
        raise InputError(f"manifest: dynamo runs vllm, sglang and tensorrt-llm, not {engine}")
    return BACKENDS[engine]


def _image(backend: str) -> str:
    return f"nvcr.io/nvidia/ai-dynamo/{IMAGES[backend]}:{RUNTIME}"


def _front(backend: str) -> dict[str, Any]:
    pod = {"containers": [{"name": "main", "image": _image(backend)}]}
    return {"name": "Frontend", "type": "frontend", "replicas": 1, "podTemplate": {"spec": pod}}


def _component(group: Group, backend: str) -> dict[str, Any]:
    role = group.order.launch.role
    kind = "worker" if role == "both" else role
    made: dict[str, Any] = {"name": kind, "type": kind, "replicas": group.replicas}
    if group.pods > 1:
        made["multinode"] = {"nodeCount": group.pods}
    container: dict[str, Any] = {
        "name": "main",
        "image": _image(backend),
        "command": ["python3", "-m", f"dynamo.{backend}"],
        "args": [word for flag in _flags(group, backend) for word in flag],
        "envFrom": [{"secretRef": {"name": SECRET, "optional": True}}],
        "env": environment_of(group.leader),
        "resources": resources_of(group),
    }
    pod: dict[str, Any] = {"containers": [container]}
    if group.files:
        container["volumeMounts"] = [{"name": "files", "mountPath": FILES}]
        pod["volumes"] = volumes_of(group)[1:]
    return {**made, "podTemplate": {"spec": pod}}


def _flags(group: Group, backend: str) -> Words:
    order = group.order
    model = order.launch.model
    pool = () if order.launch.role == "both" else (("--disaggregation-mode", order.launch.role),)
    if backend == "trtllm":
        (name, _), *_ = group.files
        return (("--model-path", model), ("--extra-engine-args", f"{FILES}/{name}"), *pool)
    flags = vllm.engine_flags(order) if backend == "vllm" else sglang.engine_flags(order)
    kept = tuple(flag for flag in flags if flag[0] not in ALREADY)
    named = ("--model", model) if backend == "vllm" else ("--model-path", model)
    return (named, *kept, *pool)
