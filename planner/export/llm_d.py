"""llm-d: values of its chart `llm-d-modelservice`, for vLLM."""

from typing import Any

from planner.export import vllm
from planner.export.pods import Group, environment_of, resources_of, token, words_of

IMAGE = "ghcr.io/llm-d/llm-d-cuda:v0.9.0"
"""As KServe's own templates name it."""


def documents(groups: list[Group]) -> list[dict[str, Any]]:
    """One file of values; what one pool serves alone is its `decode`."""
    order = groups[0].order
    model = order.launch.model
    pools = {
        "prefill" if group.order.launch.role == "prefill" else "decode": group for group in groups
    }
    values: dict[str, Any] = {
        "modelArtifacts": {"name": model, "uri": f"hf://{model}", "size": _size(order.job.score)},
        "multinode": any(group.pods > 1 for group in groups),
        "multinodeEnableLeader": any(group.pods > 1 for group in groups),
    }
    for name in ("decode", "prefill"):
        group = pools.get(name)
        values[name] = {"create": False} if group is None else _pool(group)
    return [values]


def _size(score: Any) -> str:
    """Room for the checkpoint: what all chips of an engine hold, and as much again."""
    held = sum(stage.weight_bytes * stage.chips for stage in score.stages)
    return f"{int(2 * held / 2**30) + 1}Gi"


def _pool(group: Group) -> dict[str, Any]:
    launch = group.order.launch
    made: dict[str, Any] = {
        "create": True,
        "replicas": group.replicas,
        "parallelism": {
            "tensor": launch.tensor_parallel,
            "data": launch.attention_parallel,
            "dataLocal": max(1, launch.attention_parallel // group.pods),
            "workers": group.pods,
        },
        "containers": [_container(group, 0)],
    }
    if group.pods > 1:
        made["workerTemplate"] = {"containers": [_container(group, 1)]}
    return made


def _container(group: Group, rank: int) -> dict[str, Any]:
    start = group.starts[rank]
    made: dict[str, Any] = {
        "name": "vllm",
        "image": IMAGE,
        "env": [token(), *environment_of(start)],
        "resources": resources_of(group),
        "mountModelVolume": True,
    }
    if start.port is not None:
        made["ports"] = [{"containerPort": start.port, "protocol": "TCP"}]
    if group.pods == 1:
        flags = [word for flag in vllm.engine_flags(group.order) for word in flag]
        return made | {"modelCommand": "vllmServe", "args": flags}
    command, *args = words_of(start)
    return made | {"modelCommand": "custom", "command": [command], "args": args}
