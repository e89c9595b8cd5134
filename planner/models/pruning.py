"""Pruning: the same graph with zeros among the weights of its layers."""

import re

from planner.errors import InputError, told
from planner.models.dtypes import Zeros
from planner.models.graph import ENDS, Layer, ModelGraph
from planner.models.operators import Experts, LayerOperator, MatMul


def pruned(graph: ModelGraph, sparsity: str) -> ModelGraph:
    """A graph whose matmuls and experts are pruned, but for embedding, head and pooler.

    `sparsity` is "2:4" (two zeros in every four neighbours) or a share of zeros that may lie
    anywhere, such as "90%".
    """
    pattern, density = pattern_of(sparsity)
    thinned: dict[int, tuple[LayerOperator, ...]] = {}

    def operator_of(operator: LayerOperator) -> LayerOperator:
        if isinstance(operator, MatMul | Experts):
            return operator.replace(pattern=pattern, density=density)
        return operator

    def layer_of(layer: Layer) -> Layer:
        if layer.kind in ENDS:
            return layer
        # Equal layers share one tuple of operators; so must they when pruned, or a graph of a
        # hundred layers would validate and compare a hundred copies.
        key = id(layer.operators)
        if key not in thinned:
            thinned[key] = tuple(map(operator_of, layer.operators))
        return layer.model_copy(update={"operators": thinned[key]})

    return graph.replace(layers=tuple(map(layer_of, graph.layers)), sparsity=sparsity)


def pattern_of(sparsity: str) -> tuple[Zeros, float]:
    """How the zeros lie, and the share of weights that is left."""
    if sparsity == "2:4":
        return "2:4", 0.5

    share = None
    if isinstance(sparsity, str):
        share = re.fullmatch(r"(\d{1,2}(?:\.\d{1,6})?)\s*%", sparsity)
    if share is None or not float(share[1]) > 0:
        raise InputError(
            'sparsity must be "2:4" or a share of zeros between 0 and 100 %, such as "90%",'
            f" not {told(sparsity, 30)}"
        )
    return "unstructured", (100 - float(share[1])) / 100
