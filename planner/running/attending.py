"""Attention over a cache that is there from the start, as long as the context will be.

transformers' own cache grows by copying itself for every token; here a token is written to its
place, and what was written before is read where it lies.
"""

from typing import Any, NamedTuple

NAME = "planner"
"""Of this attention, among those that transformers may be told to use."""


class Cache:
    """Keys and values of a stage's layers, of all sequences."""

    def __init__(self, torch: Any, layers: list[int], shape: tuple[int, int, int, int]) -> None:
        # Filled, and not `zeros`: the system hands out pages when they are first written to.
        self.keys = {layer: torch.empty(shape).fill_(0.0) for layer in layers}
        """By number of layer, each of shape (sequences, heads, tokens, width)."""
        self.values = {layer: torch.empty(shape).fill_(0.0) for layer in layers}

    @property
    def held_bytes(self) -> float:
        """Of all layers. [B]"""
        tensors = [*self.keys.values(), *self.values.values()]
        return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


class Window(NamedTuple):
    """The part of a cache that one pass reads and writes; what transformers takes for a cache."""

    cache: Cache
    first: int
    """Sequence."""
    last: int
    """Behind the last sequence."""
    seen: int
    """Tokens that were written before."""

    def update(self, keys: Any, values: Any, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Write a pass's keys and values, and give back all that it may see."""
        until = self.seen + keys.shape[2]
        found = []
        for held, new in ((self.cache.keys[layer], keys), (self.cache.values[layer], values)):
            held[self.first : self.last, :, self.seen : until] = new
            found.append(held[self.first : self.last, :, :until])
        return found[0], found[1]


def registered(torch: Any, functions: Any) -> str:
    """Let transformers know this attention; gives back its name."""

    def attend(
        module: Any, query: Any, keys: Any, values: Any, mask: Any, scaling: float, **_: Any
    ) -> tuple[Any, None]:
        attend_one = query.shape[2] == 1
        found = _to_one(torch, query, keys, values, scaling) if attend_one else None
        if found is None:
            product = torch.nn.functional.scaled_dot_product_attention
            copies = query.shape[1] // keys.shape[1]
            spread = [tensor.repeat_interleave(copies, dim=1) for tensor in (keys, values)]
            found = product(query, *spread, is_causal=True, scale=scaling)
        return found.transpose(1, 2), None

    functions.register(NAME, attend)
    return NAME


def _to_one(torch: Any, query: Any, keys: Any, values: Any, scaling: float) -> Any:
    """Of one token for each sequence: the queries that share keys are rows of one product."""
    sequences, heads, _, width = query.shape
    groups = keys.shape[1]
    rows = query.reshape(sequences, groups, heads // groups, width) * scaling
    scores = torch.matmul(rows, keys.transpose(2, 3))
    mixed = torch.matmul(scores.softmax(dim=-1), values)
    return mixed.reshape(sequences, heads, 1, values.shape[3])
