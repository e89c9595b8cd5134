"""What the options of `trtllm-serve` and the keys of its YAML say of a launch."""

from typing import Any

from planner.errors import InputError, shortened
from planner.launches.reading.heard import Heard, drafted
from planner.launches.starts import node_of

DECODING = {"MTP": "mtp", "Eagle": "eagle3", "Eagle3": "eagle3", "NGram": "ngram"}
DECODING |= {"DraftTarget": "draft-model", "Draft_Target": "draft-model"}


def tensorrt_llm_fields(heard: Heard) -> dict[str, Any]:
    """Fields of a launch. With attention data parallel every rank of a stage has sequences of its
    own."""
    given = heard.given
    fields = heard.fields
    fields["model"] = given.others[0] if given.others else ""
    for word in given.others[1:]:
        heard.note(word, "no option's value; trtllm-serve refuses it")
    _degrees(heard)
    _cut(heard)
    chips = fields.pop("chips_of_engine")
    heard.place(chips)
    _place_over_nodes(heard, chips)
    heard.weights("--quant_config.quant_algo")
    heard.full_precision("--dtype")
    heard.cache("--kv_cache_config.dtype")

    most = given.whole("--max_batch_size")
    fields["most_sequences"] = None if most is None else most * fields["attention_parallel"]
    fields["context_tokens"] = given.whole("--max_seq_len")
    fields["chunk_tokens"] = given.whole("--max_num_tokens")
    nested = given.share("--kv_cache_config.free_gpu_memory_fraction")
    fields["cache_share"] = nested or given.share("--free_gpu_memory_fraction")
    fields["prefix_caching"] = given.value("--kv_cache_config.enable_block_reuse")
    _drafts(heard)
    return fields


def _degrees(heard: Heard) -> None:
    given = heard.given
    ranks = given.whole("--tensor_parallel_size") or 1
    stages = given.whole("--pipeline_parallel_size") or 1
    tokens = given.whole("--context_parallel_size") or 1
    shared = bool(given.value("--enable_attention_dp"))
    experts = given.whole("--moe_expert_parallel_size") or 1
    each = given.whole("--moe_tensor_parallel_size")
    if each is not None and given.value("--moe_expert_parallel_size") is None:
        experts = ranks // each
    if ranks % experts or (each is not None and experts * each != ranks):
        raise InputError(
            f"TensorRT-LLM needs moe_tensor_parallel_size × moe_expert_parallel_size ="
            f" tensor_parallel_size = {ranks}, and {each or ranks // experts} × {experts} is not"
        )
    per_node = given.whole("--gpus_per_node")
    heard.fields |= {
        "tensor_parallel": 1 if shared else ranks,
        "attention_parallel": ranks if shared else 1,
        "pipeline_parallel": stages,
        "sequence_parallel": tokens,
        "expert_parallel": experts,
        "chips_per_node": per_node if heard.node is None else heard.node.chips,
        "chips_of_engine": ranks * stages * tokens,
    }
    heard.nodes = 2 if per_node is not None and ranks * stages * tokens > per_node else heard.nodes


def _place_over_nodes(heard: Heard, needed: int) -> None:
    """MPI gives each node the same variables: the same chips by their number on it."""
    node = heard.node
    if node is None or heard.here is None or not heard.hosts:
        return
    own = [chip - node.first_chip for chip in heard.here]
    nodes = [(node_of(address), ranks) for address, ranks in heard.hosts]
    chips = [
        number * node.chips + chip
        for number, ranks in nodes
        if number is not None
        for chip in own[:ranks]
    ]
    if len(chips) == needed:
        heard.fields["devices"] = (tuple(chips),)


def _cut(heard: Heard) -> None:
    stated = heard.given.value("--pp_partition")
    if stated is None:
        return
    is_counts = isinstance(stated, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in stated
    )
    if not is_counts or len(stated) != heard.fields["pipeline_parallel"]:
        raise InputError(
            "pp_partition must state the layers of each of the"
            f" {heard.fields['pipeline_parallel']} stages, not {shortened(stated)}"
        )
    heard.fields["layers"] = tuple(stated)


def _drafts(heard: Heard) -> None:
    given = heard.given
    stated = given.value("--speculative_config.decoding_type")
    if stated is None:
        return
    kind = DECODING.get(str(stated))
    if kind is None:
        words = f"drafts by {shortened(stated)} are not priced: none are counted"
        given.passed_over("--speculative_config.decoding_type", words)
        return
    nested = "--speculative_config."
    heads = given.whole(f"{nested}num_nextn_predict_layers") if kind == "mtp" else None
    tokens = heads or given.whole(f"{nested}max_draft_len")
    if tokens is None:
        raise InputError("speculative_config needs max_draft_len, or num_nextn_predict_layers")
    model = given.value(f"{nested}speculative_model_dir")
    model = model or given.value(f"{nested}speculative_model")
    named = str(model or "") if kind in ("eagle3", "draft-model") else ""
    heard.fields["drafting"] = drafted(kind, tokens, named)
