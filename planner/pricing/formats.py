"""In which format a machine multiplies: what the operator asks for, or, where it leaves that open,
what chip and stack can.
"""

from planner.machines.software import NativeFormat
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.models.operators import Experts, LayerOperator, MatMul

UNSAID = "fp32"
"""Of operators that name no format: norms, embeddings and other pointwise work."""


def multiplied_in(operator: LayerOperator, topology: Topology) -> str:
    """The format in which a machine multiplies an operator.

    4-bit floats without a recipe for the activations are multiplied as they are stored where the
    chip has a peak for that, unless the stack says what its kernels do there; elsewhere they are
    widened to 16 bit, as Marlin does.
    """
    asked: str = getattr(operator, "compute_dtype", UNSAID)
    if not isinstance(operator, MatMul | Experts) or not operator.natively:
        return asked

    stated = _stated(operator, topology)
    if stated is not None:
        return stated.multiplied_in
    peaks = {peak.dtype for peak in topology.chip.peaks}
    return next((dtype for dtype in (operator.weight_dtype, "fp4") if dtype in peaks), asked)


def _stated(operator: MatMul | Experts, topology: Topology) -> NativeFormat | None:
    """What the stack says of such weights on such a chip; None where it says nothing."""
    for one in topology.software.natives:
        of_chip = not one.architectures or topology.chip.architecture in one.architectures
        of_kind = not one.kinds or operator.kind in one.kinds
        if one.dtype == operator.weight_dtype and of_chip and of_kind:
            return one
    return None


def peak_flop_per_s(graph: ModelGraph, topology: Topology) -> float:
    """The peak that MFU is measured against: of the format that the most weights are multiplied
    in. [FLOP/s]"""
    return topology.chip.peak_flop_per_s(mostly_multiplied_in(graph, topology))


def mostly_multiplied_in(graph: ModelGraph, topology: Topology) -> str:
    """The format that a machine multiplies the most weights of a graph in."""
    operators, _ = graph.sorts
    totals: dict[str, float] = {}
    for sort, weights in graph.weights_by_sort.items():
        dtype = multiplied_in(operators[sort], topology)
        totals[dtype] = totals.get(dtype, 0.0) + weights
    return max(totals, key=lambda dtype: (totals[dtype], dtype), default="bf16")


def formats_of(graph: ModelGraph, topology: Topology) -> str:
    """What matmuls multiply in, in words: where the machine chose it, or has no peak for what was
    asked, that is said."""
    operators, _ = graph.sorts
    chosen = {
        multiplied_in(operators[sort], topology)
        for sort in graph.weights_by_sort
        if getattr(operators[sort], "natively", False)
    }
    if not chosen:
        asked = str(graph.activation_dtype)
        taken = topology.chip.multiplies_in(asked)
        return asked if taken == asked else f"{taken}, since the chip has no {asked}"
    return f"{' and '.join(sorted(chosen))} as chip and stack can"
