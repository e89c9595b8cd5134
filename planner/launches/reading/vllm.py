"""What vLLM's options say of a launch."""

from typing import Any

from planner.errors import InputError, shortened
from planner.launches.reading.heard import Heard, drafted

CUT = "VLLM_PP_LAYER_PARTITION"
METHODS = {"ngram": "ngram", "ngram_gpu": "ngram", "suffix": "ngram"}
METHODS |= {"draft_model": "draft-model", "eagle": "eagle", "eagle3": "eagle3", "mtp": "mtp"}
SHORT = {
    "method": "--spec-method",
    "model": "--spec-model",
    "num_speculative_tokens": "--spec-tokens",
}
"""Keys of `--speculative-config` that have options of their own."""
ROLES = {"kv_producer": "prefill", "kv_consumer": "decode"}


def vllm_fields(heard: Heard) -> dict[str, Any]:
    """Fields of a launch.

    Its data parallel ranks share out the sequences over common experts, whether `--enable-expert-
    parallel` is given or not; of a model without experts each is an engine by itself, which only
    the model tells.
    """
    given = heard.given
    fields = heard.fields
    _model(heard)
    tensor = given.whole("--tensor-parallel-size") or 1
    stages = given.whole("--pipeline-parallel-size") or 1
    ranks = given.whole("--data-parallel-size") or 1
    tokens = given.whole("--prefill-context-parallel-size") or 1
    fields |= {
        "tensor_parallel": tensor,
        "pipeline_parallel": stages,
        "attention_parallel": ranks,
        "sequence_parallel": tokens,
        "expert_parallel": tensor * ranks if given.value("--enable-expert-parallel") else 1,
        "chips_of_engine": tensor * stages * ranks * tokens,
    }
    heard.spread_over_nodes("--nnodes")
    heard.cut(CUT)
    heard.place(fields.pop("chips_of_engine"), stated=given.value("--device-ids"))
    heard.weights("--quantization")
    heard.full_precision("--dtype")
    heard.cache("--kv-cache-dtype")

    most = given.whole("--max-num-seqs")
    fields["most_sequences"] = None if most is None else most * ranks
    context = given.value("--max-model-len")
    fields["context_tokens"] = None if context == -1 else given.whole("--max-model-len")
    fields["chunk_tokens"] = given.whole("--max-num-batched-tokens")
    fields["memory_share"] = given.share("--gpu-memory-utilization")
    fields["prefix_caching"] = given.value("--enable-prefix-caching")
    fields["eager"] = bool(given.value("--enforce-eager"))
    _drafts(heard)
    _role(heard)
    return fields


def _model(heard: Heard) -> None:
    """The first word without an option, else `--model`."""
    others = heard.given.others
    named = heard.given.value("--model")
    heard.fields["model"] = others[0] if others else named or ""
    for word in others[1:]:
        heard.note(word, "no option's value; vLLM refuses a second model")


def _drafts(heard: Heard) -> None:
    config = heard.given.value("--speculative-config")
    if config is not None and not isinstance(config, dict):
        raise InputError(
            '--speculative-config needs a JSON object such as \'{"method": "mtp",'
            f' "num_speculative_tokens": 1}}\', not {shortened(config)}'
        )
    config = dict(config or {})
    for key, name in SHORT.items():
        value = heard.given.value(name)
        if value is not None:
            config[key] = value
    if not config:
        return
    model = config.get("model") or ""
    method = config.get("method")
    if method is None:
        method = _method_of(str(model))
    kind = "mtp" if str(method).endswith("_mtp") else METHODS.get(str(method))
    if kind is None:
        words = f"drafts by {shortened(method)} are not priced: none are counted"
        heard.note(str(method), words)
        return
    if "num_speculative_tokens" not in config:
        raise InputError("--speculative-config needs num_speculative_tokens")
    is_alone = kind in ("mtp", "ngram")
    named = "" if is_alone or method == model else str(model)
    tokens = config["num_speculative_tokens"]
    heard.fields["drafting"] = drafted(kind, tokens, named)


def _method_of(model: str) -> str:
    """How a model drafts, by its name, as vLLM has it where no method is stated."""
    plain = model.lower()
    if plain in ("ngram", "[ngram]"):
        return "ngram"
    return next((one for one in ("eagle3", "eagle") if one in plain), "draft_model")


def _role(heard: Heard) -> None:
    config = heard.given.value("--kv-transfer-config")
    if not isinstance(config, dict):
        return
    role = config.get("kv_role")
    if role in ROLES:
        heard.fields["role"] = ROLES[role]
    else:
        words = (
            f"kv_role {shortened(role)} does not say which pool this is: both prefill and decode"
            " are priced"
        )
        heard.given.passed_over("--kv-transfer-config", words)
