"""Weights of a model by name: which part of each a tensor rank holds.

A rule is told by the last parts of a parameter's name, as transformers 5 names them; what has no
rule (norms, routers, gates of shared experts) is whole on every rank.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

ROWS = ("q_proj", "gate_proj", "up_proj", "embed_tokens", "lm_head")
"""Matrices whose outputs are shared out; the vocabulary's too."""
KEYS = ("k_proj", "v_proj")
"""The same, in whole heads, which are copied where there are fewer than ranks."""
COLUMNS = ("o_proj", "down_proj")
"""Matrices whose inputs are shared out, and whose outputs are then added up."""


class Place(NamedTuple):
    """A rank in the group of its stage."""

    rank: int
    ranks: int
    expert_ways: int = 1
    """Ways in which whole experts are shared out."""

    @property
    def experts_block(self) -> int:
        """Which share of the experts is its own."""
        return self.rank // self.expert_splits

    @property
    def expert_splits(self) -> int:
        """Ranks that split each expert."""
        return self.ranks // self.expert_ways

    @property
    def within_expert(self) -> int:
        """Which of them it is."""
        return self.rank % self.expert_splits


def share(count: int, rank: int, ranks: int) -> slice:
    """Of so many rows, those of a rank."""
    each = count // ranks
    return slice(rank * each, (rank + 1) * each)


def heads_of(groups: int, rank: int, ranks: int) -> tuple[int, int]:
    """First key-value head of a rank and how many it has: its share, or one that others have
    too."""
    if groups % ranks == 0:
        each = groups // ranks
        return rank * each, each
    return rank * groups // ranks, 1


def sliced(name: str, tensor: Any, place: Place, config: Mapping[str, Any]) -> Any:
    """The part of a parameter that a rank holds."""
    parts = name.split(".")
    if "experts" in parts:
        return _of_experts(parts[-1], tensor, place)
    module = parts[-2]
    is_bias = parts[-1] == "bias"
    if module in KEYS:
        return tensor[_key_rows(len(tensor), place, config)]
    if module in ROWS:
        return tensor[share(len(tensor), place.rank, place.ranks)]
    if module in COLUMNS and is_bias:
        # What each rank adds is summed up, so only one of them may add it.
        return tensor if place.rank == 0 else tensor * 0.0
    if module in COLUMNS:
        return tensor[:, share(tensor.shape[1], place.rank, place.ranks)]
    return tensor


def _key_rows(rows: int, place: Place, config: Mapping[str, Any]) -> slice:
    groups = config.get("num_key_value_heads") or config["num_attention_heads"]
    width = rows // groups
    first, count = heads_of(groups, place.rank, place.ranks)
    return slice(first * width, (first + count) * width)


def _of_experts(leaf: str, tensor: Any, place: Place) -> Any:
    """Whole experts by blocks, and of each the share of the ranks that split it: of gate and up,
    which lie one above the other, the same rows."""
    own = tensor[share(len(tensor), place.experts_block, place.expert_ways)]
    splits = place.expert_splits
    if splits == 1:
        return own
    if leaf == "down_proj":
        return own[:, :, share(own.shape[2], place.within_expert, splits)]
    experts, rows, width = own.shape
    halves = own.reshape(experts, 2, rows // 2, width)
    taken = halves[:, :, share(rows // 2, place.within_expert, splits)]
    return taken.reshape(experts, rows // splits, width)
