"""From pool to pool: what a transfer over the links of a cluster takes."""

import numpy as np
from numpy.typing import NDArray

from planner.cost.collectives import send_s
from planner.errors import InputError
from planner.machines.cluster import Cluster

Floats = NDArray[np.float64]


def crossing_s(
    cluster: Cluster, sender: int, receiver: int, message_bytes: float | Floats
) -> Floats:
    """One transfer between chips of two pools, by number, over the path that is quickest for so
    many bytes. [s]

    `message_bytes` counts all that crosses at once: every rank and every replica of a stage.
    """
    ways = cluster.ways(sender, receiver)
    if not ways:
        names = " to ".join(repr(cluster.pools[number].name) for number in (sender, receiver))
        raise InputError(
            f"Cluster.links of {cluster.name!r}: no path goes from {names}; join them by a link"
        )
    seconds = np.array(
        [send_s(message_bytes, way.bandwidth_bytes_per_s, way.latency_s) for way in ways]
    )
    return np.asarray(seconds.min(axis=0)) + cluster.pools[sender].topology.software.hop_overhead_s
