"""Pods: what all manifests for Kubernetes have in common.

Which chips of a node a pod gets is for Kubernetes to say, so no chips are named; a pod holds what one
process of a script would.
"""

import re
from dataclasses import dataclass
from typing import Any

from planner.errors import InputError
from planner.export.orders import VISIBLE, Order
from planner.export.scripts import ADDRESS, Start
from planner.launches.launch import EngineName

IMAGES: dict[EngineName, str] = {
    "vllm": "vllm/vllm-openai:v{version}.0",
    "sglang": "lmsysorg/sglang:v{version}",
    "tensorrt-llm": "nvcr.io/nvidia/tensorrt-llm/release:{version}.0",
    "llama.cpp": "ghcr.io/ggml-org/llama.cpp:server-cuda-{version}",
}
"""By convention; nobody looked them up."""
LEADER = "$(LWS_LEADER_ADDRESS)"
"""Of the first pod of a group, as LeaderWorkerSet tells every pod of it."""
INDEX = "$(LWS_WORKER_INDEX)"
RESOURCES = {
    "AMD": "amd.com/gpu",
    "Intel Arc": "gpu.intel.com/xe",
    "Intel Gaudi": "habana.ai/gaudi",
}
"""What a pod asks for, by how chips' names begin; else NVIDIA's."""
DEVICES = ("CUDA_VISIBLE_DEVICES", *VISIBLE.values())
SECRET = "hf-token"
FILES = "/etc/engine"
"""Where the files of an engine are mounted, and where it runs."""


@dataclass(frozen=True, slots=True)
class Group:
    """Engines alike, each of as many pods."""

    order: Order
    name: str
    starts: tuple[Start, ...]
    """Of one engine, a pod each."""
    files: tuple[tuple[str, str], ...] = ()

    @property
    def leader(self) -> Start:
        return self.starts[0]

    @property
    def replicas(self) -> int:
        return self.order.launch.replicas

    @property
    def pods(self) -> int:
        """Of one engine."""
        return len(self.starts)

    @property
    def chips(self) -> int:
        """Of one pod."""
        return self.order.launch.replica_chips // self.pods

    @property
    def port(self) -> int:
        assert self.leader.port is not None
        return self.leader.port


def group_of(order: Order, starts: list[Start], files: dict[str, str]) -> Group:
    """The pods of a pool."""
    engine = order.launch.engine
    own = tuple(start for start in starts if start.replica == 0)
    if engine not in IMAGES:
        raise InputError(f"manifest: {engine} is a library without a server; leave manifest out")
    spread = order.launch.replica_chips > (
        order.launch.chips_per_node or order.launch.replica_chips
    )
    if spread and engine not in ("vllm", "sglang"):
        raise InputError(
            f"manifest: one engine of {engine} over several nodes is written as scripts alone; leave"
            " the manifest out, or ask for replicas of one node"
        )
    role = order.launch.role
    name = plain(order.job.graph.name)
    if role != "both":
        name = f"{name}-{role}"
    return Group(order, name, own, tuple(files.items()))


def plain(name: str) -> str:
    """A name as Kubernetes allows it."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-")


def image_of(order: Order) -> str:
    """Of the engine alone."""
    return IMAGES[order.launch.engine].format(version=order.release.version)


def words_of(start: Start) -> list[str]:
    """A command for a pod of a group: its leader is found by the group's own variables."""
    words = [word for group in start.command for word in group]
    found = [ADDRESS.sub("\0", word).replace("$(", "$$(").replace("\0", LEADER) for word in words]
    if "--node-rank" in found:
        found[found.index("--node-rank") + 1] = INDEX
    return found


def environment_of(start: Start) -> list[dict[str, Any]]:
    """Variables of a process, less those that say which chips it sees, and whose address is its
    own."""
    found: list[dict[str, Any]] = []
    for name, value in start.environment:
        if name in DEVICES:
            continue
        if name == "VLLM_NIXL_SIDE_CHANNEL_HOST":
            place = {"fieldRef": {"fieldPath": "status.podIP"}}
            found.append({"name": name, "valueFrom": place})
            continue
        found.append({"name": name, "value": value})
    return found


def token() -> dict[str, Any]:
    """What lets a hub hand out a model that not everybody may load."""
    key = {"name": SECRET, "key": "HF_TOKEN", "optional": True}
    return {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": key}}


def resources_of(group: Group) -> dict[str, Any]:
    """The chips that a pod asks for."""
    name = group.order.job.topology.chip.name
    found = (resource for begin, resource in RESOURCES.items() if name.startswith(begin))
    return {"limits": {next(found, "nvidia.com/gpu"): str(group.chips)}}


def container_of(group: Group, start: Start, name: str) -> dict[str, Any]:
    """An engine's process in a container."""
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]
    if group.files:
        mounts.append({"name": "files", "mountPath": FILES})
    made: dict[str, Any] = {
        "name": name,
        "image": image_of(group.order),
        "command": words_of(start),
        "env": [token(), *environment_of(start)],
        "resources": resources_of(group),
        "volumeMounts": mounts,
    }
    if group.files:
        made["workingDir"] = FILES
    if start.port is not None:
        made["ports"] = [{"containerPort": start.port}]
        made["readinessProbe"] = {
            "httpGet": {"path": "/health", "port": start.port},
            "periodSeconds": 10,
            "failureThreshold": 360,
        }
    return made


def volumes_of(group: Group) -> list[dict[str, Any]]:
    """Shared memory for the ranks of a pod, and its files."""
    found: list[dict[str, Any]] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    if group.files:
        found.append({"name": "files", "configMap": {"name": f"{group.name}-files"}})
    return found


def files_of(group: Group) -> list[dict[str, Any]]:
    """The files as an object of their own; none where there are none."""
    if not group.files:
        return []
    metadata = {"name": f"{group.name}-files"}
    data = dict(group.files)
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}]
