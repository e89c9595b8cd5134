"""One operator on one chip.

[1] S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
    multicore architectures", Communications of the ACM 52(4), 2009.
"""

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]


def compute_s(
    flop: Numbers, peak_flop_per_s: Numbers, compute_efficiency: Numbers = 1.0
) -> Numbers:
    """Time of the arithmetic alone [1]. [s]"""
    return flop / (peak_flop_per_s * compute_efficiency)


def fed_fraction(efficiency: Numbers, arithmetic_share: Numbers) -> Numbers:
    """Share of its peak that an operator reaches on a chip of which so much of the arithmetic of
    its generation is left.

    An operator's time is that of its arithmetic at the peak P, and of what feeds it (caches, shared
    memory, issue, the prologue and epilogue of tiles) at a rate F that belongs to the generation:
    1/(eP) = 1/P + 1/F, two roofs of [1] one after the other. Where e is what the whole chip
    reaches, F = P·e/(1 - e); on a chip whose peak is s·P the same F leaves e/(e + s(1 - e)). [1]
    """
    return efficiency / (efficiency + arithmetic_share * (1.0 - efficiency))


def memory_s(
    moved_bytes: Numbers, bandwidth_bytes_per_s: Numbers, memory_efficiency: Numbers = 1.0
) -> Numbers:
    """Time of the memory traffic alone [1]. [s]"""
    return moved_bytes / (bandwidth_bytes_per_s * memory_efficiency)


def operator_s(arithmetic_s: Numbers, traffic_s: Numbers, overhead_s: Numbers = 0.0) -> Numbers:
    """Roofline: arithmetic and traffic overlap, the launch does not [1]. [s]"""
    return np.maximum(arithmetic_s, traffic_s) + overhead_s


def intensity_flop_per_byte(flop: Numbers, moved_bytes: Numbers) -> Numbers:
    """Operations for each byte moved [1]. [FLOP/B]"""
    return flop / moved_bytes


def attainable_flop_per_s(
    intensity: Numbers, peak_flop_per_s: Numbers, bandwidth_bytes_per_s: Numbers
) -> Numbers:
    """The roof over an operator of that intensity [1]. [FLOP/s]"""
    return np.minimum(peak_flop_per_s, intensity * bandwidth_bytes_per_s)
