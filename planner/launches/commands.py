"""`read_command`: what the text of a command, or of a manifest, starts."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from planner.errors import InputError, shortened
from planner.guards import guarded
from planner.launches.gathering import Process, cards_lent, gathered, in_order_of_stages
from planner.launches.launch import EngineName, Launch, Reading
from planner.launches.manifests import manifest_in, started_in_manifest
from planner.launches.options import (
    MOST_NEAREST,
    Given,
    Table,
    given_in,
    option_table,
    words_of_file,
    words_of_variables,
)
from planner.launches.reading.heard import Heard
from planner.launches.reading.llama_cpp import llama_cpp_fields
from planner.launches.reading.sglang import sglang_fields
from planner.launches.reading.tensorrt_llm import tensorrt_llm_fields
from planner.launches.reading.vllm import vllm_fields
from planner.launches.shell import MOST_BYTES, Word
from planner.launches.starts import Started, started_on_nodes
from planner.readers.files import file_below, read_text
from planner.readers.yaml_text import read_yaml

MOST_PROCESSES = 576
"""Of one text, or scripts of one folder."""
SCRIPTS = "*start*.sh"
"""Of an export, as it calls them."""
MEETING = {
    "vllm": ("--node-rank", ("--master-addr", "--master-port")),
    "sglang": ("--node-rank", ("--dist-init-addr",)),
}
"""Which node of its engine a process is told that it is, and where they meet."""
FIELDS: dict[EngineName, Callable[[Heard], dict[str, Any]]] = {
    "vllm": vllm_fields,
    "sglang": sglang_fields,
    "llama.cpp": llama_cpp_fields,
    "tensorrt-llm": tensorrt_llm_fields,
}


CommandText = Annotated[str, Field(max_length=2**20)]
"""More than is read of one, so that the reader can say how much that is."""


@guarded
def read_command(text: CommandText | Path, *, alone: bool = False) -> Reading:
    """What a command starts: a line of a shell, or several; a manifest of Kubernetes or docker
    compose; a file that holds one; or a folder with the scripts of an export. Nothing is run and
    nothing fetched; of the disk, only files of options that the command names are read, and
    `alone` none: the text is all that there is.

    InputError: what of the text is no command of an engine that is known, or has a value that is
    none.
    """
    path = None if alone else _path_of(text)
    whole, folder = (str(text), None) if path is None else _text_and_folder(path)
    if not whole.strip():
        raise InputError("the command is empty; give one that starts an engine, or a file with one")
    manifest = manifest_in(whole)
    started = started_in_manifest(manifest) if manifest else started_on_nodes(whole)
    engines = [one for one in started if not one.lends]
    if not engines:
        raise InputError(
            f"{shortened(whole)!r} does not start a known engine; give vllm serve, sglang serve,"
            " llama-server, trtllm-serve, or a manifest with one of them"
        )
    lent = cards_lent(one for one in started if one.lends)
    # Others than the first are looked at only where they may be parts of the same.
    several = engines if len(engines) <= MOST_PROCESSES else engines[:1]
    # What is said of options is said of the first; to look for nearest names takes longest.
    first = _process_of(several[0], folder, lent, alone=alone)
    others = [_process_of(one, folder, lent, most_nearest=0, alone=alone) for one in several[1:]]
    return gathered([first, *others])


def _text_and_folder(path: Path) -> tuple[str, Path]:
    """The text of a file, or of all scripts of a folder, and where the files lie that it names."""
    if not path.is_dir():
        return read_text(path, "a command", most_bytes=MOST_BYTES), path.parent
    scripts = sorted(path.glob(SCRIPTS), key=lambda one: (len(one.name), one.name))
    if not scripts:
        raise InputError(
            f"{shortened(path)} is a folder without scripts of an export ({SCRIPTS}); name a file"
        )
    if len(scripts) > MOST_PROCESSES:
        raise InputError(f"{shortened(path)} has {len(scripts)} scripts; name one of them")
    texts = [read_text(one, "a command", most_bytes=MOST_BYTES) for one in scripts]
    return "\n".join(texts), path


def _path_of(text: str | Path) -> Path | None:
    """The file that is meant, if any."""
    if isinstance(text, Path):
        return text
    stripped = text.strip()
    if not stripped or len(stripped) > 1000 or any(letter in stripped for letter in " \n\t"):
        return None
    try:
        return Path(stripped) if Path(stripped).exists() else None
    except (OSError, ValueError):
        return None


def _process_of(
    started: Started,
    folder: Path | None,
    lent: dict[str, int],
    *,
    most_nearest: int = MOST_NEAREST,
    alone: bool = False,
) -> Process:
    table = option_table(started.engine)
    given = _given(started, table, folder, most_nearest, alone=alone)
    heard = Heard(
        given,
        started.known,
        nodes=started.nodes,
        node=started.place,
        hosts=started.hosts,
        lent=lent,
    )
    fields = FIELDS[started.engine](heard)
    launch = Launch(engine=started.engine, version=table.version, **fields)
    launch = _as_started(in_order_of_stages(launch), started)
    if not launch.model:
        given.asked.append("the command does not name a model; give it with --model")
    reading = Reading(launch=launch, told=given.lines(), asked=tuple(given.asked))
    if started.engine not in MEETING:
        return Process(reading)
    rank, meeting = MEETING[started.engine]
    return Process(
        reading,
        nodes=heard.nodes,
        rank=given.whole(rank, least=0),
        meeting=":".join(given.text(name) for name in meeting),
        here=None if started.place is None else heard.here,
    )


def _given(
    started: Started, table: Table, folder: Path | None, most_nearest: int, *, alone: bool
) -> Given:
    """What the engine is told, by its file of options too."""
    stated = list(words_of_variables(started.known, table))
    given = given_in([*stated, *started.words], table, most_nearest=most_nearest)
    if table.named("--config") is None:
        return given
    path = given.value("--config")
    if path is None:
        return given
    text = _written(str(path), started) if alone else _text_of(str(path), started, folder)
    if text is None and alone:
        raise InputError(
            f"{shortened(path)} is a file of options, and only the text of the command is read"
            " here; write its options into the command"
        )
    if text is None:
        given.asked.append(
            f"the file {shortened(path)} is missing, so that its options are not read; put it"
            " beside the command"
        )
        return given
    documents = read_yaml(text, path, most_bytes=MOST_BYTES)
    fields = documents[0] if documents else None
    if fields is None:
        return given
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise InputError(f"{shortened(path)} must hold options by name")
    words = list(words_of_file(fields, table))
    # What comes last counts: for TensorRT-LLM the file, for others the command.
    every = [*started.words, *words] if table.keys else [*_behind_model(started.words, words)]
    return given_in(every, table, most_nearest=most_nearest)


def _behind_model(words: list[Word], more: list[Word]) -> list[Word]:
    """Options of a file behind the model, which may stand first, and before all others."""
    count = 1 if words and not words[0].text.startswith("-") else 0
    return [*words[:count], *more, *words[count:]]


def _text_of(path: str, started: Started, folder: Path | None) -> str | None:
    """A file that the text itself writes, or one that lies beside it or below: whoever wrote a file
    may not choose what else is read here. What is typed (`folder` None) may name any."""
    written = _written(path, started)
    if written is not None:
        return written
    try:
        beside = Path(path) if folder is None else file_below(path, folder, "--config")
        is_there = beside.is_file()
    except (OSError, ValueError, InputError):
        return None
    return read_text(beside, "a file of options", most_bytes=MOST_BYTES) if is_there else None


def _written(path: str, started: Started) -> str | None:
    """What the text itself writes into a file."""
    name = path.rpartition("/")[2]
    for written, text in started.files.items():
        if written == path or written.rpartition("/")[2] == name:
            return text
    return None


def _as_started(launch: Launch, started: Started) -> Launch:
    """With what a manifest says of replicas and chips."""
    given = started.node_chips
    if given is not None and launch.replica_chips * launch.replicas > given * started.nodes:
        raise InputError(
            f"the manifest gives the engine {given * started.nodes} chips, but its degrees need"
            f" {launch.replica_chips * launch.replicas}"
        )
    if given is not None and launch.spread:
        degree = "pipeline_parallel" if launch.spread == "stages" else "tensor_parallel"
        launch = launch.replace(**{degree: given, "spread": ""})
    if started.replicas > 1:
        launch = launch.replace(replicas=launch.replicas * started.replicas, devices=None)
    return launch
