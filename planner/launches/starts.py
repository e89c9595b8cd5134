"""Where in a text an engine is started: behind assignments, other programs, containers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from planner.errors import InputError
from planner.launches.launch import EngineName
from planner.launches.shell import ASSIGNED, PROMPT, Statement, Word, expanded, statements_of

MODULES: dict[str, EngineName] = {
    "vllm.entrypoints.openai.api_server": "vllm",
    "vllm.entrypoints.api_server": "vllm",
    "vllm.entrypoints.cli.main": "vllm",
    "sglang.launch_server": "sglang",
    "sglang.srt.entrypoints.http_server": "sglang",
    "tensorrt_llm.commands.serve": "tensorrt-llm",
}
"""That `python -m` starts."""
PROGRAMS: dict[str, EngineName] = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llama-server": "llama.cpp",
    "llama-cli": "llama.cpp",
    "llama-server.exe": "llama.cpp",
    "llama-cli.exe": "llama.cpp",
    "trtllm-serve": "tensorrt-llm",
    "rpc-server": "llama.cpp",
    "ggml-rpc-server": "llama.cpp",
}
HELPERS = ("rpc-server", "ggml-rpc-server")
"""Programs that lend an engine the cards of their host."""
MPI = ("mpirun", "mpiexec")
WITH_SERVE = ("vllm", "sglang")
"""Programs that serve only when they are told to."""
IMAGES: dict[str, EngineName] = {
    "vllm-openai": "vllm",
    "vllm/vllm": "vllm",
    "rocm/vllm": "vllm",
    "/vllm:": "vllm",
    "llama.cpp:server": "llama.cpp",
    "llama.cpp:full": "llama.cpp",
}
"""Images of containers that start an engine by themselves."""
SETTERS = ("export", "env", "set", "declare", "local")
SHELLS = ("sh", "bash", "zsh", "dash")
RUNNERS = ("docker", "podman", "nerdctl")
GPUS = re.compile(r"device=\"?([\d,]+)")
MOST_NESTED = 4
"""Of shells that start shells."""
PLACE = re.compile(r"^# Node (\d{1,7}): chips (\d{1,7}) to (\d{1,7}) of the machine\.$", re.M)
"""As scripts of an export say where they are run."""
ADDRESS = re.compile(r"\bNODE_(\d{1,7})\b")
"""Variables that stand there for the addresses of nodes."""


class Place(NamedTuple):
    """A node of a machine, as a script says where it is run."""

    node: int
    first_chip: int
    chips: int


def address_of(node: int) -> str:
    """What stands for a node's address where nobody said it."""
    return f"node-{node}"


def node_of(address: str) -> int | None:
    """The way back; None: it is an address that somebody said."""
    found = re.fullmatch(r"node-(\d{1,7})", address)
    return int(found[1]) if found else None


@dataclass(slots=True)
class Started:
    """An engine as a text starts it."""

    engine: EngineName
    words: list[Word]
    """All that it is told."""
    known: dict[str, str]
    """Its environment, as far as the text sets it."""
    files: dict[str, str] = field(default_factory=dict)
    """What the text writes, by the name of the file."""
    replicas: int = 1
    nodes: int = 1
    """That one engine runs on, where what starts it says so."""
    node_chips: int | None = None
    """That it is given on each node, where what starts it says so."""
    lends: bool = False
    """Whether it is a helper, which lends an engine cards."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Addresses of nodes with their ranks, as MPI is told them."""
    place: Place | None = None


def started_on_nodes(text: str) -> list[Started]:
    """All engines that a text starts: a command, or scripts of an export one after another, each of
    which says on which node it is run."""
    places = [_place(match) for match in PLACE.finditer(text)]
    if not places:
        return started_in(text)
    addresses = {f"NODE_{node}": address_of(int(node)) for node in ADDRESS.findall(text)}
    found = []
    for place, part in zip(places, PLACE.split(text)[4::4], strict=True):
        for one in started_in(part, addresses):
            one.place = place
            found.append(one)
    return found


def _place(match: "re.Match[str]") -> Place:
    node, first, last = (int(number) for number in match.groups())
    return Place(node, first, max(1, last - first + 1))


def started_in(text: str, known: Mapping[str, str] | None = None, depth: int = 0) -> list[Started]:
    """All engines that the commands of a text start, in order."""
    found: list[Started] = []
    environment = dict(known or {})
    files: dict[str, str] = {}
    for statement in statements_of(text):
        words = expanded(statement.words, environment)
        _keep_document(statement, environment, files)
        words, own = _without_assignments(words, environment)
        if not words:
            environment |= own
            continue
        found += started_by(words, environment | own, depth)
    for one in found:
        one.files = files | one.files
    return found


def started_by(words: Sequence[Word], known: Mapping[str, str], depth: int = 0) -> list[Started]:
    """The engines that one command starts."""
    texts = [word.text for word in words]
    script = _script_in(texts)
    if script is not None and depth < MOST_NESTED:
        inner = {**known, **_container_environment(texts[:script])}
        return started_in(texts[script], inner, depth + 1)
    start = _start_in(texts)
    if start is None:
        return []
    engine, first = start
    environment = {**known, **_container_environment(texts[:first])}
    made = Started(engine, list(words[first:]), environment)
    made.lends = texts[first - 1].rpartition("/")[2] in HELPERS
    made.hosts = _hosts(texts[:first])
    return [made]


def _keep_document(statement: Statement, known: Mapping[str, str], files: dict[str, str]) -> None:
    """A file that the text itself writes."""
    if statement.written_to is None or not statement.document:
        return
    [*named] = expanded([statement.written_to], known)
    if named:
        files[named[0].text] = statement.document


def _without_assignments(
    words: list[Word], known: Mapping[str, str]
) -> tuple[list[Word], dict[str, str]]:
    """A command without the assignments that stand before it, and these."""
    own: dict[str, str] = {}
    at = 0
    while at < len(words):
        text = words[at].text
        if text in SETTERS or (at == 0 and text in PROMPT):
            at += 1
        elif ASSIGNED.match(text) and not words[at].unknown:
            name, _, value = text.partition("=")
            own[name] = value
            at += 1
        elif ASSIGNED.match(text):
            at += 1
        else:
            break
    return words[at:], own


def _script_in(texts: Sequence[str]) -> int | None:
    """The place of the text that a shell is given to run; None: there is none."""
    for at, text in enumerate(texts[:-2]):
        options = texts[at + 1]
        is_shell = text.rpartition("/")[2] in SHELLS and re.fullmatch(r"-[a-z]*c", options)
        if is_shell:
            return at + 2
    return None


def _start_in(texts: Sequence[str]) -> tuple[EngineName, int] | None:
    """The engine that a command starts and the first word that it is told."""
    for at, text in enumerate(texts):
        following = texts[at + 1] if at + 1 < len(texts) else ""
        program = text.rpartition("/")[2]
        if text == "-m" and following in MODULES:
            is_cli = following.endswith((".cli.main", "commands.serve"))
            serves = is_cli and texts[at + 2 : at + 3] == ["serve"]
            return MODULES[following], at + 2 + serves
        if program not in PROGRAMS or (at and texts[at - 1].startswith("-")):
            continue
        if program in WITH_SERVE and following != "serve":
            continue
        _refuse_other(program, following)
        return PROGRAMS[program], at + 1 + (following == "serve")
    return _image_in(texts)


def _refuse_other(program: str, following: str) -> None:
    if program == "trtllm-serve" and following in ("disaggregated", "mm_embedding_serve", "grpc"):
        raise InputError(
            f"trtllm-serve {following} is not read; give the command of one of its servers"
        )


def _hosts(texts: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Nodes that MPI starts ranks on."""
    if not any(text.rpartition("/")[2] in MPI for text in texts):
        return ()
    stated = next((value for name, value in _pairs(texts) if name in ("--host", "-H")), "")
    pairs = [one.partition(":") for one in stated.split(",") if one]
    return tuple(
        (address, int(ranks) if re.fullmatch(r"[1-9]\d{0,6}", ranks) else 1)
        for address, _, ranks in pairs
    )


def _image_in(texts: Sequence[str]) -> tuple[EngineName, int] | None:
    """A container whose image starts an engine by itself."""
    if not any(text.rpartition("/")[2] in RUNNERS for text in texts[:3]):
        return None
    for at, text in enumerate(texts):
        engine = engine_of_image(text)
        if engine is not None and not text.startswith("-"):
            return engine, at + 1
    return None


def engine_of_image(image: str) -> EngineName | None:
    """What an image of a container starts by itself."""
    return next((engine for part, engine in IMAGES.items() if part in image), None)


def _container_environment(texts: Sequence[str]) -> dict[str, str]:
    """What the options of a container before its image set: variables, and which chips it sees."""
    known: dict[str, str] = {}
    if not any(text.rpartition("/")[2] in RUNNERS for text in texts[:3]):
        return known
    for name, value in _pairs(texts):
        if name in ("-e", "--env") and ASSIGNED.match(value):
            variable, _, text = value.partition("=")
            known[variable] = text
        devices = GPUS.search(value) if name == "--gpus" else None
        if devices:
            known.setdefault("CUDA_VISIBLE_DEVICES", devices[1].strip(","))
    return known


def _pairs(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, whichever way they are written."""
    for at, text in enumerate(texts):
        name, equals, value = text.partition("=")
        if equals and name.startswith("--"):
            yield name, value
        elif text.startswith("-") and at + 1 < len(texts):
            yield text, texts[at + 1]
