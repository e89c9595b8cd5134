"""A graph with branches as a chain: what runs side by side becomes one layer, cut where a single
activation goes on."""

from planner.errors import InputError
from planner.models.dtypes import stream_bytes_of
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import Contraction, LayerOperator, MatMul


def in_series(graph: ModelGraph) -> ModelGraph:
    """The chain of a graph, which `partition` can plan: the layers between two places at which just
    one layer hands anything on become one, and nothing else changes. An InputError where layers
    that run in every step stand beside such as run once for a sample."""
    if graph.is_chain:
        return graph
    pieces = _pieces(graph)
    names = {layer.name: _name(piece) for piece in pieces for layer in piece}
    handing = _handing(graph)
    layers = tuple(_merged(piece, names, handing) for piece in pieces)
    return graph.replace(layers=layers, edges=chain_edges(layers))


def _pieces(graph: ModelGraph) -> list[list[Layer]]:
    """Runs of layers, each of which gets what one layer before it hands on."""
    senders, receivers = graph.ends_of_edges
    # Of each layer the last one that still needs it.
    last = list(range(len(graph.layers)))
    for sender, receiver in zip(senders.tolist(), receivers.tolist(), strict=True):
        last[sender] = max(last[sender], receiver)

    pieces: list[list[Layer]] = []
    open_until: dict[int, int] = {}
    for position, layer in enumerate(graph.layers):
        open_until = {each: until for each, until in open_until.items() if until >= position}
        # A piece hands on what it makes itself, and no more than that.
        first = position - len(pieces[-1]) if pieces else 0
        if len(open_until) == 1 and min(open_until) >= first:
            pieces.append([layer])
        elif pieces:
            pieces[-1].append(layer)
        else:
            pieces = [[layer]]
        if last[position] > position:
            open_until[position] = last[position]
    return pieces


def _handing(graph: ModelGraph) -> dict[str, int]:
    """Of each layer that hands anything on, the position of the last that needs it."""
    found: dict[str, int] = {}
    for sender, receiver in graph.edges:
        found[sender] = max(found.get(sender, 0), graph.position_of_layer[receiver])
    return found


def _name(piece: list[Layer]) -> str:
    first, last = piece[0].name, piece[-1].name
    return first if len(piece) == 1 else f"{first} … {last}"


def _merged(piece: list[Layer], names: dict[str, str], handing: dict[str, int]) -> Layer:
    """Layers as one, which hands on what the one of them does that is needed longest."""
    if len({layer.runs_per_sample for layer in piece}) > 1:
        raise InputError(
            f"layers {piece[0].name!r} to {piece[-1].name!r} do not run equally often; they cannot"
            " become one"
        )
    giver = max(piece, key=lambda layer: handing.get(layer.name, -1))
    if giver.name not in handing:
        giver = piece[-1]
    name = names[piece[0].name]
    operators = [_renamed(operator, name, names) for layer in piece for operator in layer.operators]
    kinds = [layer.kind for layer in piece]
    ends_graph = kinds[-1] not in kinds[:-1] and giver.name not in handing
    return Layer(
        name=name,
        kind=kinds[-1] if len(set(kinds)) == 1 or ends_graph else "block",
        operators=tuple(operators),
        activation_width=giver.activation_width,
        activation_dtype=giver.activation_dtype,
        runs_per_sample=piece[0].runs_per_sample,
    )


def _renamed(operator: LayerOperator, name: str, names: dict[str, str]) -> LayerOperator:
    """An operator in the merged layer of that name: weights that it borrows are borrowed from the
    lender's new layer, or are there already."""
    if not isinstance(operator, MatMul) or not operator.tied_to:
        return operator
    lender = names[operator.tied_to]
    if lender != name:
        return operator.replace(tied_to=lender)
    stream = stream_bytes_of(operator.compute_dtype) * operator.tokens_factor
    flop = 2.0 * operator.inputs * operator.outputs * operator.positions * operator.tokens_factor
    return Contraction(
        name=operator.name,
        flop_per_token=flop,
        weight_dtype=operator.weight_dtype,
        compute_dtype=operator.compute_dtype,
        read_bytes_per_token=operator.inputs * stream,
        written_bytes_per_token=operator.outputs * stream,
    )
