"""Decode steps of uniform plans over a whole grid of degrees, batches and contexts at once.

The same price list as `score_plan`, with arrays in place of figures: one stage on one group, every
sequence at the same length, nothing else going on. A grid point equals `tpot_s` of the uniform plan
for a batch that starts as one.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import InputError
from planner.guards import guarded
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.pricing.degrees import tensor_fault
from planner.pricing.price_list import PriceList, Split, reach_of, unoffered

Floats = NDArray[np.float64]
Degrees = Annotated[Sequence[int], Field(min_length=1)]


@guarded
def decode_grid_s(
    graph: AnyModel,
    topology: AnyMachine,
    *,
    tensor_parallel: Degrees,
    batch_sizes: Sequence[int] | NDArray[np.generic],
    context_tokens: Sequence[float] | NDArray[np.generic],
) -> Floats:
    """Time of one decode step [s], shape (degrees, batches, contexts).

    `context_tokens` is what each sequence finds in its cache. Memory limits are not looked at. An
    InputError names a degree that does not divide the heads or does not fit the machine.
    """
    graph, topology = model_of(graph), machine_of(topology)
    prices = PriceList(graph, topology)
    batches = np.asarray(batch_sizes, dtype=float)
    contexts = np.asarray(context_tokens, dtype=float)
    lists = batches.ndim == contexts.ndim == 1
    if not lists or not (batches >= 1).all() or not (contexts >= 0).all():
        raise InputError(
            "batch_sizes and context_tokens must be lists of numbers, at least 1 and at least 0"
        )
    splits = [_split(graph, topology, degree) for degree in tensor_parallel]
    return np.stack(
        [
            prices.decode_steps_s(split, batches, contexts, reach_of(topology, split, 0))
            for split in splits
        ]
    )


def _split(graph: ModelGraph, topology: Topology, degree: int) -> Split:
    if not 1 <= degree <= topology.chips:
        raise InputError(
            f"tensor_parallel = {degree} must lie between 1 and the {topology.chips} chips"
            f" of {topology.name}"
        )
    fault = tensor_fault(graph, topology.software, degree)
    if fault is not None:
        raise InputError(fault)
    split = Split(tensor=degree)
    missing = unoffered(topology, split)
    if missing is not None:
        raise InputError(
            f"{topology.software.name} has no {missing} over {degree} chips of {topology.name}"
        )
    return split
