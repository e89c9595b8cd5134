"""A decoder cut in two along its layers: what mixes the tokens of a sequence, and what works on each
token by itself.

Attention-FFN disaggregation [1, 2] puts the two on machines of their own. The attention half has the
embedding, all that leads to the outputs of attention, the norm and the router behind it (which says
to which experts a token goes), and the head. The feed-forward half has the rest.

[1] R. Zhu et al., "MegaScale-Infer: serving mixture-of-experts at scale with disaggregated expert
    parallelism", SIGCOMM 2025.
[2] StepFun, "Step-3 is large yet affordable: model-system co-design for cost-effective decoding",
    2025.
"""

from typing import NamedTuple

from planner.errors import InputError
from planner.models.graph import ENDS, FEED_FORWARD, Layer, ModelGraph
from planner.models.operators import Attention, Experts, LayerOperator, MatMul, Recurrent


class Halves(NamedTuple):
    """Two chains that a token crosses in turn, layer by layer; layers keep their names."""

    attention: ModelGraph
    feed_forward: ModelGraph
    """Of the layers that have such a part; each hands back what the whole layer hands on."""


def halves_of(graph: ModelGraph) -> Halves:
    """The two halves, made once for each graph; an InputError where there are none."""
    return graph.kept(_halved)


def _halved(graph: ModelGraph) -> Halves:
    if not graph.makes_tokens or not graph.is_chain:
        raise InputError(
            f"{graph.name} is not a decoder that is a chain of layers; give a decoder, such as"
            " load_model('deepseek-v3')"
        )
    mixing: list[Layer] = []
    feeding: list[Layer] = []
    for layer in graph.layers:
        border = len(layer.operators) if layer.kind in ENDS else _border(layer, graph.name)
        before, after = layer.operators[:border], layer.operators[border:]
        if before:
            mixing.append(layer.replace(operators=before))
        if after:
            feeding.append(layer.replace(operators=after, kind=FEED_FORWARD))
    if not feeding:
        raise InputError(
            f"{graph.name} has no feed-forward part that could be put on a machine of its own"
        )
    return Halves(
        graph.chain_of(tuple(mixing), f"attention half of {graph.name}"),
        graph.chain_of(tuple(feeding), f"feed-forward half of {graph.name}"),
    )


def _border(layer: Layer, model: str) -> int:
    """Of a layer's operators, the first that belongs to the feed-forward half."""
    operators = layer.operators
    border = _behind_mixers(operators)
    before = operators[:border]
    if any(isinstance(operator, Experts) for operator in before):
        raise InputError(
            f"layer {layer.name!r} of {model} has experts between two mixers of tokens; it cannot"
            " be cut in two"
        )
    if before and isinstance(before[-1], MatMul) and not before[-1].summed:
        raise InputError(
            f"layer {layer.name!r} of {model} runs attention and feed-forward part side by side;"
            " a pair of machines runs one after the other"
        )
    # Norms, and routers, are whole on every chip: they stay before the way to the other machine.
    while border < len(operators) and not _is_shared_out(operators[border]):
        border += 1
    return border


def _behind_mixers(operators: tuple[LayerOperator, ...]) -> int:
    """Behind the projection that sums up what the last mixer of tokens gives; 0 where none
    mixes."""
    mixers = [
        place
        for place, operator in enumerate(operators)
        if isinstance(operator, Attention | Recurrent)
    ]
    if not mixers:
        return 0
    for place in range(mixers[-1] + 1, len(operators)):
        operator = operators[place]
        if isinstance(operator, MatMul) and operator.split == "inputs":
            return place + 1
    return mixers[-1] + 1


def _is_shared_out(operator: LayerOperator) -> bool:
    """Whether chips of a group have a part of it each."""
    return isinstance(operator, Experts) or (
        isinstance(operator, MatMul) and operator.split != "none"
    )
