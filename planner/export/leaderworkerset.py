"""LeaderWorkerSet: each engine a group of pods, of which the first answers."""

from typing import Any

from planner.export.pods import Group, container_of, files_of, volumes_of

NAME = "leaderworkerset.sigs.k8s.io/name"


def documents(groups: list[Group]) -> list[dict[str, Any]]:
    """A set and a service for each pool."""
    return [one for group in groups for one in (*files_of(group), _set(group), _service(group))]


def _set(group: Group) -> dict[str, Any]:
    leader = {"metadata": {"labels": {"role": "leader"}}, "spec": _pod(group, 0)}
    template: dict[str, Any] = {
        "size": group.pods,
        "restartPolicy": "RecreateGroupOnPodRestart",
        "workerTemplate": leader,
    }
    if group.pods > 1:
        template["leaderTemplate"] = leader
        template["workerTemplate"] = {"spec": _pod(group, 1)}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": group.name},
        "spec": {"replicas": group.replicas, "leaderWorkerTemplate": template},
    }


def _pod(group: Group, rank: int) -> dict[str, Any]:
    name = "leader" if rank == 0 else "worker"
    container = container_of(group, group.starts[rank], name)
    return {"containers": [container], "volumes": volumes_of(group)}


def _service(group: Group) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": group.name},
        "spec": {
            "selector": {NAME: group.name, "role": "leader"},
            "ports": [{"port": group.port, "targetPort": group.port}],
        },
    }
