"""Which manifests there are, and the file of each."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from planner.errors import InputError, check_word
from planner.export import dynamo, kserve, leaderworkerset, llm_d, ray_serve
from planner.export.orders import Order
from planner.export.pods import Group, group_of
from planner.export.scripts import Start
from planner.export.yaml_text import documents_of

ManifestName = Literal["leaderworkerset", "dynamo", "llm-d", "kserve", "ray-serve"]
MANIFESTS: tuple[ManifestName, ...] = get_args(ManifestName)
WRITERS: Mapping[str, Callable[[list[Group]], list[dict[str, Any]]]] = {
    "leaderworkerset": leaderworkerset.documents,
    "dynamo": dynamo.documents,
    "llm-d": llm_d.documents,
    "kserve": kserve.documents,
    "ray-serve": ray_serve.documents,
}
FOR_VLLM = ("llm-d", "kserve", "ray-serve")
"""Manifests that start vLLM alone."""

Told = tuple[Order, list[Start], dict[str, str]]
"""A pool, its processes and its files."""


def check_manifest(name: str | None, engine: str) -> None:
    """Refuse a manifest that is not known, or not for this engine."""
    check_word(name, MANIFESTS, "manifest")
    if name in FOR_VLLM and engine != "vllm":
        raise InputError(
            f"manifest: {name} is written for vllm, not for {engine}; use leaderworkerset or dynamo"
        )


def manifest_of(name: str, pools: list[Told]) -> tuple[str, str, list[str]]:
    """The file's name and text, and what to know of it."""
    groups = [group_of(*pool) for pool in pools]
    text = documents_of(*WRITERS[name](groups))
    notes = [
        f"{name}.yaml names images for NVIDIA's chips by convention, and leaves it to the cluster which chips of a node"
        " a pod gets."
    ]
    if name == "leaderworkerset" and len(groups) > 1:
        notes.append("leaderworkerset.yaml has no router between its pools; router.sh names one.")
    if name == "ray-serve":
        notes.append("Ray places ranks by itself; the order of chips is not the plan's.")
    return f"{name}.yaml", text, notes
