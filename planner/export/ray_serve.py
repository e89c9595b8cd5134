"""Ray Serve: a file for `serve deploy`, for vLLM; Ray places the ranks."""

from typing import Any

from planner.errors import InputError
from planner.export import vllm
from planner.export.pods import Group, plain

BUILDERS = {1: "ray.serve.llm:build_openai_app", 2: "ray.serve.llm:build_pd_openai_app"}
"""By how many pools there are."""


def documents(groups: list[Group]) -> list[dict[str, Any]]:
    """One application."""
    configs = [_config(group) for group in groups]
    args: dict[str, Any] = {"llm_configs": configs}
    if len(groups) > 1:
        args = {"prefill_config": configs[0], "decode_config": configs[1]}
    application = {
        "name": plain(groups[0].order.job.graph.name),
        "route_prefix": "/",
        "import_path": BUILDERS[len(groups)],
        "args": args,
    }
    return [{"applications": [application]}]


def _config(group: Group) -> dict[str, Any]:
    order = group.order
    if order.launch.attention_parallel > 1:
        raise InputError(
            "manifest: attention data parallel of Ray Serve is not written; use leaderworkerset or"
            " dynamo"
        )
    options = {
        name.lstrip("-").replace("-", "_"): value
        for name, value in vllm.engine_options(order).items()
        if value is not None
    }
    made: dict[str, Any] = {
        "model_loading_config": {
            "model_id": order.launch.model,
            "model_source": order.launch.model,
        },
        "deployment_config": {"num_replicas": group.replicas},
        "engine_kwargs": options,
    }
    variables = {name: value for name, value in group.leader.environment if name == vllm.CUT}
    if variables:
        made["runtime_env"] = {"env_vars": variables}
    return made
