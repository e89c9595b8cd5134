"""What llama.cpp's options say of a launch."""

import math
from typing import Any

from planner.errors import InputError, listed, shortened
from planner.launches.reading.heard import CACHES, Heard, drafted

SLOTS = 4
"""Sequences of a server that is told no number, with one cache for all."""
CARDS = ("CUDA", "ROCM", "HIP", "VULKAN", "SYCL", "METAL", "GPU")
DRAFTS = {"draft": "draft-model", "eagle3": "eagle3", "draft-simple": "draft-model"}
DRAFTS |= {"mtp": "mtp", "draft-mtp": "mtp", "draft-eagle3": "eagle3"}

NAMED = ("draft-model", "eagle3")
"""Kinds of drafts that a file of their own makes."""


def llama_cpp_fields(heard: Heard) -> dict[str, Any]:
    """Fields of a launch. No degrees are told: it takes all cards that it sees, as stages by
    default."""
    given = heard.given
    fields = heard.fields
    fields["model"] = _model(heard, "--model", "--hf-repo")
    _spread(heard)
    _layers(heard)
    slots = given.value("--parallel")
    is_auto = slots is None or slots < 0
    most = SLOTS if is_auto else given.whole("--parallel")
    if is_auto:
        heard.note(
            "--parallel", f"not given: {SLOTS} sequences in flight, the default of its server"
        )
    fields["most_sequences"] = most
    context = given.whole("--ctx-size", least=0) or None
    shared = given.value("--kv-unified")
    is_whole = is_auto if shared is None else shared
    if context is not None and not is_whole:
        context = max(1, context // (most or 1))
    fields["context_tokens"] = context
    fields["chunk_tokens"] = given.whole("--ubatch-size")
    _cache(heard)
    _drafts(heard)
    return fields


def _model(heard: Heard, file: str, repository: str) -> str:
    path = heard.given.value(file)
    named = heard.given.value(repository)
    return str(path or named or "")


def _spread(heard: Heard) -> None:
    given = heard.given
    mode = given.value("--split-mode") or "layer"
    if mode not in ("none", "layer", "row", "tensor"):
        raise InputError(
            f"--split-mode must be none, layer, row or tensor, not {shortened(mode)!r}"
        )
    seen = _with_lent(heard, _cards(heard))
    if mode == "none":
        card = given.whole("--main-gpu", least=0) or 0
        if seen is not None and card < len(seen):
            card = seen[card] or 0
        heard.fields["devices"] = ((card,),)
        return
    if seen is None:
        heard.fields["spread"] = "stages" if mode == "layer" else "tensor"
    else:
        degree = "pipeline_parallel" if mode == "layer" else "tensor_parallel"
        is_placed = None not in seen
        heard.fields |= {degree: len(seen), "devices": (seen,) if is_placed else None}
    _shares(heard, seen, mode)


def _cards(heard: Heard) -> tuple[int, ...] | None:
    """By number, in order; None: all."""
    seen = heard.visible()
    stated = heard.given.value("--device")
    if stated is None:
        return seen
    if stated == "none":
        heard.given.passed_over(
            "--device", "no card is used: only cards are priced, not the host alone"
        )
        return seen
    numbers = []
    for name in stated.split(","):
        letters = name.strip().rstrip("0123456789")
        number = name.strip()[len(letters) :]
        if letters.upper() not in CARDS or not number:
            heard.given.passed_over(
                "--device", "cards are given by names that do not say their place"
            )
            return seen
        numbers.append(int(number))
    if seen is not None and max(numbers) >= len(seen):
        raise InputError(f"--device {stated} names a card beyond the {len(seen)} that are visible")
    taken = tuple(numbers if seen is None else [seen[one] for one in numbers])
    if len(set(taken)) != len(taken):
        raise InputError(f"--device names a card twice: {listed(taken)}")
    return taken


def _with_lent(heard: Heard, seen: tuple[int, ...] | None) -> tuple[int | None, ...] | None:
    """With the cards of other hosts, which stand before its own [1]: a card for each address, by
    number where the text says which it lends.

    [1] `llama_model_load_from_file_impl` of llama.cpp.
    """
    stated = heard.given.value("--rpc")
    if not stated:
        return seen
    addresses = [one.strip() for one in stated.split(",") if one.strip()]
    if seen is None:
        heard.given.passed_over(
            "--rpc",
            "the number of cards in its own host is not given: all cards of the machine are"
            " priced; set CUDA_VISIBLE_DEVICES",
        )
        return None
    return (*(heard.lent.get(one) for one in addresses), *seen)


def _shares(heard: Heard, seen: tuple[int | None, ...] | None, mode: str) -> None:
    stated = heard.given.value("--tensor-split")
    if stated is None:
        return
    try:
        shares = tuple(float(one) for one in stated.replace("/", ",").split(","))
    except ValueError:
        shares = ()
    if not shares or min(shares) < 0 or not 0 < sum(shares) < math.inf:
        raise InputError(f"--tensor-split must be shares such as 3,1, not {shortened(stated)!r}")
    if mode != "layer":
        if len(set(shares)) > 1:
            heard.given.passed_over(
                "--tensor-split", "cards are priced with equal shares of a layer"
            )
        return
    if seen is not None:
        # It has a place for each card; what is not stated is nothing.
        shares = (*shares, *(0.0,) * len(seen))[: len(seen)]
    heard.fields["stage_shares"] = shares


def _layers(heard: Heard) -> None:
    stated = heard.given.value("--gpu-layers")
    if stated is None or stated in ("auto", "all"):
        return
    try:
        layers = int(stated)
    except ValueError:
        raise InputError(
            f"--gpu-layers must be a number, auto or all, not {shortened(stated)!r}"
        ) from None
    if 0 <= layers < 10_000_000:
        heard.fields["kept_layers"] = layers


def _cache(heard: Heard) -> None:
    """Of the coarser of keys and values, where they differ."""
    stated = [heard.given.value(name) for name in ("--cache-type-k", "--cache-type-v")]
    for one in stated:
        if one is not None and one not in CACHES:
            raise InputError(f"a cache cannot be {shortened(one)!r}; name a format such as q8_0")
    keys, values = ("f16" if one is None else one for one in stated)
    if keys != values:
        heard.note("--cache-type-k, -v", f"they differ: both are priced as {keys}")
    if stated != [None, None]:
        heard.fields["cache_format"] = CACHES[keys]


def _drafts(heard: Heard) -> None:
    given = heard.given
    model = _model(heard, "--spec-draft-model", "--spec-draft-hf")
    stated = str(given.value("--spec-type") or ("draft" if model else "none")).split(",")[0]
    if stated == "none":
        return
    kind = "ngram" if stated.startswith("ngram") else DRAFTS.get(stated)
    if kind is None:
        given.passed_over("--spec-type", f"drafts by {shortened(stated)} are not priced")
        return
    name = "--spec-ngram-simple-size-m" if stated == "ngram-simple" else "--spec-draft-n-max"
    tokens = given.whole(name)
    if tokens is None:
        tokens = 3
        heard.note(name, "not given: 3 drafted tokens are priced")
    heard.fields["drafting"] = drafted(kind, tokens, model if kind in NAMED else "")
