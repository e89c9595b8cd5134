"""Engines that a manifest starts: of Kubernetes (Pod, Deployment, LeaderWorkerSet and whatever else
has containers), or of docker compose."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from planner.errors import InputError, shortened
from planner.launches.shell import Word, expanded, statements_of
from planner.launches.starts import Started, engine_of_image, started_by
from planner.launches.yaml_text import read_yaml

KUBERNETES = re.compile(r"\$\(([A-Za-z_]\w*)\)")
GPU = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915")
MOST_DEPTH = 12
MOST_CONTAINERS = 200
IS_MANIFEST = re.compile(r"^(apiVersion|services)\s*:", re.M)


def manifest_in(text: str) -> str:
    """A manifest that a text is, or that its commands are given as a here-document; "": none."""
    if IS_MANIFEST.search(text) is None:
        return ""
    if "<<" not in text:
        return text
    documents = [one.document for one in statements_of(text)]
    return "---\n".join(one for one in documents if IS_MANIFEST.search(one))


def started_in_manifest(text: str) -> list[Started]:
    """All engines that a manifest starts, in order."""
    found: list[Started] = []
    for document in read_yaml(text, "the manifest"):
        if not isinstance(document, dict):
            continue
        services = document.get("services")
        if isinstance(services, dict) and "apiVersion" not in document:
            containers = [one for one in services.values() if isinstance(one, dict)]
            found += [one for each in containers for one in _of_compose(each)]
        else:
            found += _of_kubernetes(document)
    return found


def _of_kubernetes(document: dict[str, Any]) -> Iterator[Started]:
    spec = document.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    template = spec.get("leaderWorkerTemplate")
    nodes = 1
    if isinstance(template, dict):
        nodes = _count(template.get("size"), "leaderWorkerTemplate.size")
    replicas = _count(spec.get("replicas"), "spec.replicas")
    for number, container in enumerate(_containers(document, MOST_DEPTH)):
        if number >= MOST_CONTAINERS:
            raise InputError(f"the manifest has more than {MOST_CONTAINERS} containers")
        known = _environment(container.get("env"))
        if isinstance(template, dict):
            known = {"LWS_GROUP_SIZE": str(nodes), "LWS_WORKER_INDEX": "0"} | known
        words = [_word(one, known) for one in _words(container)]
        image = "" if container.get("command") else str(container.get("image") or "")
        for one in _started(words, image, known):
            one.nodes = nodes
            one.replicas = replicas
            one.node_chips = _limit(container)
            yield one


def _containers(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Wherever they stand."""
    if depth == 0:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "containers" and isinstance(inner, list):
                yield from (one for one in inner if isinstance(one, dict))
            else:
                yield from _containers(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _containers(inner, depth - 1)


def _words(container: dict[str, Any]) -> Iterator[str]:
    for key in ("command", "args"):
        stated = container.get(key) or ()
        if isinstance(stated, str):
            yield stated
        elif isinstance(stated, list):
            yield from (_plain(one) for one in stated)


def _plain(value: Any) -> str:
    """As it was written, as far as YAML keeps that."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _word(text: str, known: Mapping[str, str]) -> Word:
    """With the variables of Kubernetes put in; what a shell puts in stays."""
    unknown: list[str] = []

    def value(match: "re.Match[str]") -> str:
        if match[1] in known:
            return known[match[1]]
        unknown.append(match[1])
        return f"${match[1]}"

    if "\n" in text or " " in text.strip():
        # A script, whose shell has the same variables.
        return Word(KUBERNETES.sub(lambda match: f"${{{match[1]}}}", text))
    return Word(KUBERNETES.sub(value, text), tuple(unknown))


def _started(words: list[Word], image: str, known: dict[str, str]) -> list[Started]:
    """What the words start, or else the image by itself; "": its own start is replaced."""
    found = started_by(words, known)
    engine = engine_of_image(image)
    return [Started(engine, words, known)] if not found and engine is not None else found


def _environment(stated: Any) -> dict[str, str]:
    """Variables with values; what comes from secrets and the like has none here."""
    known: dict[str, str] = {}
    if isinstance(stated, dict):
        return {str(name): _plain(value) for name, value in stated.items() if value is not None}
    for one in stated if isinstance(stated, list) else ():
        if isinstance(one, dict) and one.get("value") is not None:
            known[str(one.get("name"))] = _plain(one["value"])
        elif isinstance(one, str) and "=" in one:
            name, _, value = one.partition("=")
            known[name] = value
    return known


def _limit(container: dict[str, Any]) -> int | None:
    resources = container.get("resources")
    limits = resources.get("limits") if isinstance(resources, dict) else None
    if not isinstance(limits, dict):
        return None
    named = next((name for name in GPU if name in limits), None)
    return None if named is None else _count(limits[named], named)


def _count(stated: Any, name: str) -> int:
    if stated is None:
        return 1
    text = str(stated)
    if isinstance(stated, bool) or not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise InputError(f"{name} must be a whole number of at least 1, not {shortened(text)!r}")
    return int(text)


def _of_compose(service: dict[str, Any]) -> Iterator[Started]:
    known = _environment(service.get("environment"))
    words: list[Word] = []
    for key in ("entrypoint", "command"):
        stated = service.get(key)
        if isinstance(stated, list):
            words += [Word(_plain(one).replace("$$", "$")) for one in stated]
        elif isinstance(stated, str):
            for statement in statements_of(stated.replace("$$", "$")):
                words += expanded(statement.words, known)
    known |= _devices(service)
    image = "" if service.get("entrypoint") else str(service.get("image") or "")
    yield from _started(words, image, known)


def _devices(service: dict[str, Any]) -> dict[str, str]:
    """Which chips a service is given by number."""
    value: Any = service
    for key in ("deploy", "resources", "reservations", "devices"):
        value = value.get(key) if isinstance(value, dict) else None
    for one in value if isinstance(value, list) else ():
        numbers = one.get("device_ids") if isinstance(one, dict) else None
        if isinstance(numbers, list) and all(str(each).isdigit() for each in numbers) and numbers:
            return {"CUDA_VISIBLE_DEVICES": ",".join(str(each) for each in numbers)}
    return {}
