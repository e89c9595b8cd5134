"""Collectives on each shape of fabric, on the wire: software's fixed cost is added by whoever picks
the algorithm.

Conventions. `tensor_bytes` is V: of an all-reduce the tensor that every rank holds; of an
all-gather what every rank ends with; of a reduce-scatter what every rank starts with; of an
all-to-all what every rank sends, its own share included. `bandwidth_bytes_per_s` is of one link,
per direction: a switch port, or the link to one neighbour. `latency_s` is one step. One rank needs
no time.

[1] R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in
    MPICH", IJHPCA 19(1), 2005.
[2] P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    JPDC 69(2), 2009.
[3] P. Sanders, J. Speck, J. L. Träff, "Two-tree algorithms for full bandwidth broadcast, reduction
    and scan", 2009.
[4] J. Austin et al., "How to Scale Your Model", chapter "Sharded matrices", Google DeepMind, 2025.
[5] NVIDIA, "NVLink SHARP" in the NCCL 2.17 and later documentation: the switch adds up what passes
    through it.
[6] NVIDIA TensorRT-LLM, customAllReduceKernels: one-shot and two-shot all-reduce over peer memory.
[7] S. Rashidi et al., "ASTRA-sim", ISPASS 2020: hierarchical collectives, level by level.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]


def steps_of_tree(ranks: int) -> int:
    """Depth of a binary tree of so many ranks."""
    return math.ceil(math.log2(ranks)) if ranks > 1 else 0


# ── A switch, or anything that gives every rank one port ─────────────────────────────────────────


def ring_all_reduce_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Ring: a reduce-scatter, then an all-gather [1, 2]. [s]"""
    share = (ranks - 1) / ranks
    return 2 * (ranks - 1) * latency_s + 2 * share * tensor_bytes / bandwidth_bytes_per_s


def tree_all_reduce_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Two binary trees, up and down, pipelined [3]. [s]"""
    return (ranks > 1) * (
        2 * steps_of_tree(ranks) * latency_s + 2 * tensor_bytes / bandwidth_bytes_per_s
    )


def one_shot_all_reduce_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Every rank sends everything to every other through its port and adds up what comes [6].
    [s]"""
    return (ranks > 1) * (latency_s + (ranks - 1) * tensor_bytes / bandwidth_bytes_per_s)


def two_shot_all_reduce_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Reduce-scatter and all-gather, each in one step to all ranks through the port [6]. [s]"""
    share = (ranks - 1) / ranks
    return (ranks > 1) * (2 * latency_s + 2 * share * tensor_bytes / bandwidth_bytes_per_s)


def in_switch_all_reduce_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """The switch adds up: every rank sends its tensor once and receives the sum once, at the
    same time [5]. [s]"""
    return (ranks > 1) * (2 * latency_s + tensor_bytes / bandwidth_bytes_per_s)


def ring_all_gather_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Ring all-gather; a reduce-scatter takes as long [1]. [s]"""
    return (ranks - 1) * (latency_s + tensor_bytes / ranks / bandwidth_bytes_per_s)


def direct_all_gather_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """All-gather in one step to all ranks through the port; a reduce-scatter takes as long [6].
    [s]"""
    return (ranks > 1) * (latency_s + (ranks - 1) / ranks * tensor_bytes / bandwidth_bytes_per_s)


def direct_all_to_all_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Every rank sends each other its share through the port [1]. [s]"""
    return direct_all_gather_s(tensor_bytes, ranks, bandwidth_bytes_per_s, latency_s)


def tree_broadcast_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Pipelined binary tree [3]. [s]"""
    return (ranks > 1) * (steps_of_tree(ranks) * latency_s + tensor_bytes / bandwidth_bytes_per_s)


# ── Full mesh: a link to every peer ──────────────────────────────────────────────────────────────


def mesh_one_shot_all_reduce_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Everything to every peer over its own link, all links at once [6]. [s]"""
    return (ranks > 1) * (latency_s + tensor_bytes / bandwidth_bytes_per_s)


def mesh_two_shot_all_reduce_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """Reduce-scatter and all-gather, one share of the tensor over each link each time [1, 6].
    [s]"""
    return (ranks > 1) * 2 * (latency_s + tensor_bytes / ranks / bandwidth_bytes_per_s)


def mesh_all_gather_s(
    tensor_bytes: Numbers, ranks: int, bandwidth_bytes_per_s: Numbers, latency_s: Numbers
) -> Numbers:
    """One share over each link; a reduce-scatter and an all-to-all take as long [1]. [s]"""
    return (ranks > 1) * (latency_s + tensor_bytes / ranks / bandwidth_bytes_per_s)


# ── Grids: rings and chains are grids of one axis; a torus wraps, a mesh does not ────────────────


def grid_all_gather_s(
    tensor_bytes: Numbers,
    axes: Sequence[int],
    wraps: Sequence[bool],
    bandwidth_bytes_per_s: Numbers,
    latency_s: Numbers,
) -> Numbers:
    """All axes at once, each carrying a part in both directions; a reduce-scatter takes as long
    [4].

    A closed axis brings data from both sides; the end of an open one receives everything through a
    single link. [s]
    """
    ranks = math.prod(axes)
    steps = sum(
        length // 2 if closed else length - 1 for length, closed in zip(axes, wraps, strict=True)
    )
    links = sum(
        2 if closed else 1 for length, closed in zip(axes, wraps, strict=True) if length > 1
    )
    return steps * latency_s + (ranks - 1) / ranks * tensor_bytes / (
        max(1, links) * bandwidth_bytes_per_s
    )


def grid_all_reduce_s(
    tensor_bytes: Numbers,
    axes: Sequence[int],
    wraps: Sequence[bool],
    bandwidth_bytes_per_s: Numbers,
    latency_s: Numbers,
) -> Numbers:
    """A reduce-scatter, then an all-gather [1, 4]. [s]"""
    return 2 * grid_all_gather_s(tensor_bytes, axes, wraps, bandwidth_bytes_per_s, latency_s)


def grid_all_to_all_s(
    tensor_bytes: Numbers,
    axes: Sequence[int],
    wraps: Sequence[bool],
    bandwidth_bytes_per_s: Numbers,
    latency_s: Numbers,
) -> Numbers:
    """Bound by the bisection of the longest axis: n/8 of the tensor per link on a ring of n, n/4
    on a chain [4]. [s]"""
    pairs = list(zip(axes, wraps, strict=True))
    steps = sum(length // 2 if closed else length - 1 for length, closed in pairs)
    load = max(
        (length / (8 if closed else 4) for length, closed in pairs if length > 1), default=0.0
    )
    return steps * latency_s + load * tensor_bytes / bandwidth_bytes_per_s


# ── From stage to stage ──────────────────────────────────────────────────────────────────────────


def send_s(
    tensor_bytes: Numbers, bandwidth_bytes_per_s: Numbers, latency_s: Numbers, hops: int = 1
) -> Numbers:
    """One message over `hops` hops, cut through: the hops add their latency, not their bandwidth
    [7]. [s]"""
    return hops * latency_s + tensor_bytes / bandwidth_bytes_per_s
