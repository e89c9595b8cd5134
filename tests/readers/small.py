"""Small configs that tests change, and what is asked of the graphs made from them."""

import json

import planner as pl
from planner.models.operators import Attention, Experts, Recurrent

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def read(folder, fields):
    """The graph of these fields, written as a config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return pl.load_model(path)


def decoders(graph):
    """Its layers between the ends."""
    return [layer for layer in graph.layers if layer.kind == "decoder"]


def windows(graph):
    """Of each attention, in order."""
    return [o.window_tokens for o in operators(graph, Attention)]


def operators(graph, kind):
    """All of one kind, layer by layer."""
    return [o for layer in graph.layers for o in layer.operators if isinstance(o, kind)]


def mixing(graph):
    """What each layer mixes tokens with: "a" attention, "r" a recurrence, "" nothing."""
    found = []
    for layer in decoders(graph):
        kinds = [type(operator) for operator in layer.operators]
        found.append("a" * kinds.count(Attention) + "r" * kinds.count(Recurrent))
    return found


def routed(graph):
    """Which layers have experts."""
    return [any(isinstance(o, Experts) for o in layer.operators) for layer in decoders(graph)]
