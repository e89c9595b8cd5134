"""Engines that a manifest starts: of Kubernetes (Pod, Deployment, LeaderWorkerSet and whatever else
has containers), of operators and charts, or of docker compose."""

import re
from collections.abc import Iterator
from typing import Any

from planner.errors import InputError
from planner.launches.containers import (
    chips_of,
    containers_in,
    count_of,
    environment_of,
    filled_in,
    plain_text,
    words_of,
)
from planner.launches.operators import is_operators, started_by_operator
from planner.launches.shell import MOST_BYTES, Word, expanded, statements_of
from planner.launches.starts import Started, engine_of_image, started_by
from planner.readers.yaml_text import read_yaml

MOST_DEPTH = 12
MOST_CONTAINERS = 200
IS_MANIFEST = re.compile(r"^(apiVersion|services|modelArtifacts|applications)\s*:", re.M)


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
    files: dict[str, str] = {}
    for document in read_yaml(text, "the manifest", most_bytes=MOST_BYTES):
        if not isinstance(document, dict):
            continue
        if document.get("kind") == "ConfigMap":
            files |= environment_of(document.get("data"))
        services = document.get("services")
        if isinstance(services, dict) and "apiVersion" not in document:
            containers = [one for one in services.values() if isinstance(one, dict)]
            found += [one for each in containers for one in _of_compose(each)]
        elif is_operators(document):
            found += started_by_operator(document)
        else:
            found += _of_kubernetes(document)
    for one in found:
        one.files = files | one.files
    return found


def _of_kubernetes(document: dict[str, Any]) -> Iterator[Started]:
    spec = document.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    template = spec.get("leaderWorkerTemplate")
    nodes = 1
    if isinstance(template, dict):
        nodes = count_of(template.get("size"), "leaderWorkerTemplate.size")
    replicas = count_of(spec.get("replicas"), "spec.replicas")
    # Workers start what their leader does, with another rank.
    leader = template.get("leaderTemplate") if isinstance(template, dict) else None
    for number, container in enumerate(containers_in(leader or document, MOST_DEPTH)):
        if number >= MOST_CONTAINERS:
            raise InputError(f"the manifest has more than {MOST_CONTAINERS} containers")
        known = environment_of(container.get("env"))
        if isinstance(template, dict):
            known = {"LWS_GROUP_SIZE": str(nodes), "LWS_WORKER_INDEX": "0"} | known
        words = [filled_in(one, known) for one in words_of(container)]
        image = "" if container.get("command") else str(container.get("image") or "")
        for one in _started(words, image, known):
            one.nodes = nodes
            one.replicas = replicas
            one.node_chips = chips_of(container)
            yield one


def _started(words: list[Word], image: str, known: dict[str, str]) -> list[Started]:
    """What the words start, or else the image by itself; "": its own start is replaced."""
    found = started_by(words, known)
    engine = engine_of_image(image)
    return [Started(engine, words, known)] if not found and engine is not None else found


def _of_compose(service: dict[str, Any]) -> Iterator[Started]:
    known = environment_of(service.get("environment"))
    words: list[Word] = []
    for key in ("entrypoint", "command"):
        stated = service.get(key)
        if isinstance(stated, list):
            words += [Word(plain_text(one).replace("$$", "$")) for one in stated]
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
