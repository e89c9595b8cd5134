"""What a chip holds: weights, KV cache, activations, workspace.

[1] W. Kwon et al., "Efficient memory management for large language model serving with
    PagedAttention", SOSP 2023.
"""

import math

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]


def usable_bytes(
    capacity_bytes: Numbers, usable_fraction: Numbers, reserved_bytes: Numbers
) -> Numbers:
    """What a plan may fill: the usable share of the memory, less what the software keeps. [B]"""
    return capacity_bytes * usable_fraction - reserved_bytes


def needed_bytes(
    weight_bytes: Numbers,
    kv_bytes: Numbers,
    activation_bytes: Numbers,
    workspace_bytes: Numbers = 0.0,
) -> Numbers:
    """All that has to fit [1]. [B]"""
    return weight_bytes + kv_bytes + activation_bytes + workspace_bytes


def most_sequences(free_bytes: float, kv_bytes_per_sequence: float) -> int:
    """Sequences whose cache fits into what the weights and activations leave [1]. [1]"""
    if free_bytes < 0:
        return 0
    return (
        math.floor(free_bytes / kv_bytes_per_sequence) if kv_bytes_per_sequence > 0 else 10_000_000
    )


def fewest_chips(demand_bytes: float, usable_bytes_per_chip: float) -> int:
    """Chips that hold so much between them, however it is cut: a lower bound. [1]"""
    return math.ceil(demand_bytes / usable_bytes_per_chip - 1e-12)
