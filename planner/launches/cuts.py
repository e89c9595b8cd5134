"""The layers of each stage that engines choose where nobody states them."""

import bisect
from collections.abc import Sequence
from itertools import accumulate

from planner.errors import InputError
from planner.launches.launch import EngineName


def own_cut(engine: EngineName, layers: int, stages: int) -> tuple[int, ...]:
    """Of so many decoder layers.

    Equally many in each; what is left over goes, with vLLM, to the stages before the last, from
    there backwards; with SGLang to the last ones; with TensorRT-LLM to the first ones [1].

    [1] `get_pp_indices` of vLLM 0.32 and SGLang 0.5.23; `Mapping.pp_layers` of TensorRT-LLM.
    """
    if stages > layers:
        raise InputError(
            f"{engine} needs at least one layer on each stage: the model's {layers} are not enough"
            f" for {stages}"
        )
    if engine == "llama.cpp":
        return cut_by_shares([1.0] * stages, layers)
    each, left = divmod(layers, stages)
    counts = [each] * stages
    first = {"vllm": stages - 1 - left, "sglang": stages - left}.get(engine, 0)
    for stage in range(first, first + left):
        counts[stage] += 1
    return tuple(counts)


def cut_by_shares(shares: Sequence[float], layers: int, kept: int | None = None) -> tuple[int, ...]:
    """llama.cpp's: of the layers that stay on the cards, the output layer counted as the last, each
    goes to the card whose share it falls into; layers that do not stay come first, and are counted
    with the first card here. `kept` counts those that stay; None: all [1].

    [1] `llama_model::load_tensors` of llama.cpp.
    """
    staying = layers + 1 if kept is None else min(kept, layers + 1)
    away = layers + 1 - staying
    whole = sum(shares)
    ends = [share / whole for share in accumulate(shares)]
    counts = [0] * len(shares)
    for layer in range(away, layers):
        card = bisect.bisect_right(ends, (layer - away) / staying)
        counts[min(card, len(shares) - 1)] += 1
    counts[0] += min(away, layers)
    return tuple(counts)
