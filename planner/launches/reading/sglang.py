"""What SGLang's options say of a launch."""

from typing import Any

from planner.errors import InputError, shortened
from planner.launches.reading.heard import Heard, drafted

CUT = "SGLANG_PP_LAYER_PARTITION"
ALGORITHMS = {"NEXTN": "mtp", "EAGLE": "mtp", "EAGLE3": "eagle3", "NGRAM": "ngram"}
ALGORITHMS |= {"STANDALONE": "draft-model", "LOOKAHEAD": "ngram", "FROZEN_KV_MTP": "mtp"}
DRAFT_STEPS = 3
"""Passes of the draft where nobody states them; SGLang chooses by model, from 1 to 5."""
ROLES = {"prefill": "prefill", "decode": "decode"}


def sglang_fields(heard: Heard) -> dict[str, Any]:
    """Fields of a launch. `--tp-size` counts all ranks of a stage: those of attention data parallel
    and of context parallel lie inside."""
    given = heard.given
    fields = heard.fields
    _model(heard)
    _degrees(heard)
    heard.spread_over_nodes("--nnodes")
    heard.cut(CUT)
    _place(heard)
    heard.weights("--quantization")
    heard.full_precision("--dtype")
    heard.cache("--kv-cache-dtype")

    most = given.whole("--max-running-requests")
    fields["context_tokens"] = given.whole("--context-length")
    chunk = given.value("--chunked-prefill-size")
    whole = None if chunk == -1 else given.whole("--chunked-prefill-size")
    # It shares chunk and sequences out over the attention ranks, rounded down (parallel_hook,
    # kv_cache_configurator of 0.5.23).
    ranks = fields["attention_parallel"]
    fields["chunk_tokens"] = None if whole is None else max(1, whole // ranks)
    fields["most_sequences"] = None if most is None else max(1, most // ranks) * ranks
    fields["memory_share"] = given.share("--mem-fraction-static")
    fields["prefix_caching"] = False if given.value("--disable-radix-cache") else None
    fields["eager"] = bool(given.value("--disable-cuda-graph"))
    fields["role"] = ROLES.get(str(given.value("--disaggregation-mode")), "both")
    _drafts(heard)
    return fields


def _model(heard: Heard) -> None:
    others = heard.given.others
    heard.fields["model"] = heard.given.value("--model-path") or (others[0] if others else "")
    rest = others if heard.given.value("--model-path") else others[1:]
    for word in rest:
        heard.note(word, "no option's value; SGLang refuses it")


def _degrees(heard: Heard) -> None:
    given = heard.given
    ranks = given.whole("--tp-size") or 1
    stages = given.whole("--pp-size") or 1
    replicas = given.whole("--dp-size") or 1
    attention = given.whole("--attn-dp-size") or 1
    tokens = given.whole("--attn-cp-size") or 1
    if given.value("--enable-dp-attention") and attention == 1:
        attention, replicas = replicas, 1
    if ranks % (attention * tokens):
        raise InputError(
            f"SGLang shares its --tp-size = {ranks} ranks out among attention data parallel ="
            f" {attention} × context parallel = {tokens}, which must divide it"
        )
    experts = given.whole("--ep-size") or 1
    backend = given.value("--moe-a2a-backend")
    if backend not in (None, "none", "ascend_tp"):
        experts = ranks
    if ranks % experts:
        raise InputError(f"--ep-size = {experts} must divide SGLang's --tp-size = {ranks}")
    heard.fields |= {
        "tensor_parallel": ranks // (attention * tokens),
        "pipeline_parallel": stages,
        "attention_parallel": attention,
        "sequence_parallel": tokens,
        "expert_parallel": experts,
        "replicas": replicas,
        "chips_of_engine": ranks * stages,
    }


def _place(heard: Heard) -> None:
    chips = heard.fields.pop("chips_of_engine")
    first = heard.given.whole("--base-gpu-id", least=0)
    if not first:
        heard.place(chips, heard.fields["replicas"])
        return
    seen = heard.visible()
    needed = chips * heard.fields["replicas"]
    taken = tuple(range(first, first + needed)) if seen is None else seen[first : first + needed]
    if len(taken) < needed:
        raise InputError(
            f"--base-gpu-id {first} leaves {len(taken)} chips, but the degrees need {needed}; the"
            " engine refuses that"
        )
    heard.fields["devices"] = tuple(taken[at : at + chips] for at in range(0, needed, chips))


def _drafts(heard: Heard) -> None:
    given = heard.given
    stated = given.value("--speculative-algorithm")
    if stated is None:
        return
    model = given.value("--speculative-draft-model-path") or ""
    kind = ALGORITHMS.get(str(stated).upper())
    if kind is None:
        words = f"drafts by {shortened(stated)} are not priced: none are counted"
        given.passed_over("--speculative-algorithm", words)
        return
    if str(stated).upper() == "EAGLE" and model:
        kind = "eagle"
    tokens = given.whole("--speculative-num-steps")
    if kind == "ngram":
        # The root of its tree of drafts is the token that the pass itself yields.
        tree = given.whole("--speculative-num-draft-tokens", least=2)
        tokens = tokens if tree is None else tree - 1
    if tokens is None:
        tokens = DRAFT_STEPS
        heard.note(
            given.text("--speculative-algorithm"),
            f"SGLang chooses the depth of the draft by model: {DRAFT_STEPS} tokens are priced",
        )
    if (given.whole("--speculative-eagle-topk") or 1) > 1:
        heard.note(
            given.text("--speculative-eagle-topk"), "a tree of drafts is priced as one chain"
        )
    named = model if kind in ("eagle", "eagle3", "draft-model") else ""
    heard.fields["drafting"] = drafted(kind, tokens, named)
