"""KServe: an `LLMInferenceService`, for vLLM; its own templates start the engine."""

from typing import Any

from planner.errors import InputError
from planner.export import vllm
from planner.export.pods import Group, environment_of, plain, resources_of, token
from planner.export.scripts import one_line

TOLD = ("--tensor-parallel-size",)
"""Flags that its template of one pod writes by itself."""
TOLD_OF_SEVERAL = (*TOLD, "--data-parallel-size", "--enable-expert-parallel")
"""Those that its template of several pods writes."""


def documents(groups: list[Group]) -> list[dict[str, Any]]:
    """One service; what one pool serves alone is its main workload, else that is decode."""
    order = groups[0].order
    model = order.launch.model
    main = groups[-1]
    spec: dict[str, Any] = {
        "model": {"uri": f"hf://{model}", "name": model},
        **_workload(main),
        "router": {"scheduler": {}, "route": {}, "gateway": {}},
    }
    if len(groups) > 1:
        spec["prefill"] = _workload(groups[0])
    return [
        {
            "apiVersion": "serving.kserve.io/v1alpha2",
            "kind": "LLMInferenceService",
            "metadata": {"name": plain(order.job.graph.name)},
            "spec": spec,
        }
    ]


def _workload(group: Group) -> dict[str, Any]:
    launch = group.order.launch
    if group.pods > 1 and launch.attention_parallel % group.pods:
        raise InputError(
            "manifest: kserve spreads one engine over nodes by attention data parallel alone, whole"
            f" ranks on each of {group.pods}; use leaderworkerset or dynamo"
        )
    parallelism: dict[str, Any] = {"tensor": launch.tensor_parallel}
    if group.pods > 1:
        parallelism["data"] = launch.attention_parallel
        parallelism["dataLocal"] = launch.attention_parallel // group.pods
        parallelism["expert"] = launch.expert_parallel > 1
    pod = {"containers": [_container(group)]}
    made = {"replicas": group.replicas, "parallelism": parallelism, "template": pod}
    return {**made, "worker": pod} if group.pods > 1 else made


def _container(group: Group) -> dict[str, Any]:
    told = TOLD_OF_SEVERAL if group.pods > 1 else TOLD
    flags = tuple(flag for flag in vllm.engine_flags(group.order) if flag[0] not in told)
    more = {"name": "VLLM_ADDITIONAL_ARGS", "value": one_line(flags)}
    return {
        "name": "main",
        "env": [token(), *environment_of(group.leader), more],
        "resources": resources_of(group),
    }
