"""Engines that operators start by fields of their own: Dynamo, KServe, llm-d's chart, Ray Serve."""

import itertools
import json
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from planner.launches.containers import chips_of, count_of, environment_of, filled_in, words_of
from planner.launches.options import option_table, words_of_file
from planner.launches.shell import Word
from planner.launches.starts import Started

DYNAMO = {"vllm": "vllm", "sglang": "sglang", "trtllm": "tensorrt-llm"}
"""Engines, as Dynamo's modules call them."""
ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}
CLAIMED = ("DynamoGraphDeployment", "LLMInferenceService")
"""Kinds of objects that are read here."""


def is_operators(document: dict[str, Any]) -> bool:
    """Whether a document is for one of these."""
    is_values = "modelArtifacts" in document or "applications" in document
    return document.get("kind") in CLAIMED or ("apiVersion" not in document and is_values)


def started_by_operator(document: dict[str, Any]) -> list[Started]:
    """All engines of one document, in order."""
    kind = document.get("kind")
    spec = _fields(document, "spec")
    if kind == "DynamoGraphDeployment":
        return [one for each in _items(spec, "components") for one in _of_dynamo(each)]
    if kind == "LLMInferenceService":
        return list(_of_kserve(spec))
    if "modelArtifacts" in document:
        return list(_of_llm_d(document))
    return [one for each in _items(document, "applications") for one in _of_ray(each)]


def _fields(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _items(value: Any, name: str) -> list[dict[str, Any]]:
    found = value.get(name) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _first_container(spec: Any) -> dict[str, Any]:
    return next(iter(_items(spec, "containers")), {})


def _plain(texts: Iterable[str]) -> list[Word]:
    return [Word(text) for text in texts]


def _of_dynamo(component: dict[str, Any]) -> Iterator[Started]:
    container = _first_container(_fields(_fields(component, "podTemplate"), "spec"))
    texts = list(words_of(container))
    name = next((text for text in texts if text.startswith("dynamo.")), "").removeprefix("dynamo.")
    if name not in DYNAMO:
        return
    told = texts[texts.index(f"dynamo.{name}") + 1 :]
    yield Started(
        engine=DYNAMO[name],  # type: ignore[arg-type]
        words=_plain(_in_engines_words(name, told)),
        known=environment_of(container.get("env")),
        replicas=count_of(component.get("replicas"), "replicas"),
        nodes=count_of(_fields(component, "multinode").get("nodeCount"), "multinode.nodeCount"),
        node_chips=chips_of(container),
    )


def _in_engines_words(name: str, told: list[str]) -> Iterator[str]:
    """Options that Dynamo has in place of an engine's own."""
    values = dict(itertools.pairwise(told))
    role = values.get("--disaggregation-mode")
    if name == "vllm" and role in ROLES:
        yield from ("--kv-transfer-config", json.dumps({"kv_role": ROLES[role]}))
        at = told.index("--disaggregation-mode")
        told = told[:at] + told[at + 2 :]
    if name == "trtllm" and "--model-path" in values:
        at = told.index("--model-path")
        yield values["--model-path"]
        told = told[:at] + told[at + 2 :]
    for text in told:
        yield "--config" if (name, text) == ("trtllm", "--extra-engine-args") else text


def _of_kserve(spec: dict[str, Any]) -> Iterator[Started]:
    model = str(_fields(spec, "model").get("name") or "")
    for pool, role in ((_fields(spec, "prefill"), "prefill"), (spec, "decode")):
        if not pool or not model:
            continue
        container = _first_container(_fields(pool, "template"))
        known = environment_of(container.get("env"))
        is_pool = bool(spec.get("prefill"))
        told = [*_shape(_fields(pool, "parallelism")), *_split(known)]
        if is_pool and "--kv-transfer-config" not in told:
            told += ["--kv-transfer-config", json.dumps({"kv_role": ROLES[role]})]
        ranks = _fields(pool, "parallelism")
        data = count_of(ranks.get("data"), "parallelism.data")
        here = count_of(ranks.get("dataLocal"), "parallelism.dataLocal")
        yield Started(
            engine="vllm",
            words=_plain([model, *told]),
            known=known,
            replicas=count_of(pool.get("replicas"), "replicas"),
            nodes=max(1, data // here) if "dataLocal" in ranks else 1,
            node_chips=chips_of(container),
        )


def _split(known: dict[str, str]) -> list[str]:
    try:
        return shlex.split(known.get("VLLM_ADDITIONAL_ARGS", ""))
    except ValueError:
        return []


def _shape(ranks: dict[str, Any]) -> list[str]:
    """Degrees, as its templates write them."""
    told = []
    for key, option in (("tensor", "--tensor-parallel-size"), ("data", "--data-parallel-size")):
        if key in ranks:
            told += [option, str(count_of(ranks[key], f"parallelism.{key}"))]
    return [*told, "--enable-expert-parallel"] if ranks.get("expert") is True else told


def _of_llm_d(values: dict[str, Any]) -> Iterator[Started]:
    model = str(_fields(values, "modelArtifacts").get("name") or "")
    for name in ("prefill", "decode"):
        pool = _fields(values, name)
        container = _first_container(pool)
        texts = list(words_of(container))
        if not texts or pool.get("create") is False:
            continue
        known = {"LWS_WORKER_INDEX": "0"} | environment_of(container.get("env"))
        is_command = texts[:2] == ["vllm", "serve"]
        told = texts[2:] if is_command else [model, *texts]
        workers = _fields(pool, "parallelism").get("workers")
        yield Started(
            engine="vllm",
            words=[filled_in(text, known) for text in told],
            known=known,
            replicas=count_of(pool.get("replicas"), "replicas"),
            nodes=count_of(workers, "parallelism.workers"),
            node_chips=chips_of(container),
        )


def _of_ray(application: dict[str, Any]) -> Iterator[Started]:
    args = _fields(application, "args")
    pools = [_fields(args, "prefill_config"), _fields(args, "decode_config")]
    for config in (*_items(args, "llm_configs"), *(one for one in pools if one)):
        loading = _fields(config, "model_loading_config")
        model = str(loading.get("model_source") or loading.get("model_id") or "")
        options = words_of_file(_fields(config, "engine_kwargs"), option_table("vllm"))
        known = environment_of(_fields(config, "runtime_env").get("env_vars"))
        replicas = _fields(config, "deployment_config").get("num_replicas")
        yield Started(
            engine="vllm",
            words=[Word(model), *options],
            known=known,
            replicas=count_of(replicas, "num_replicas"),
        )
