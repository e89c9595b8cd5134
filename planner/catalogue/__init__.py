"""The catalogue: names become nouns. Models stand in `models.toml` and `diffusion.toml`, machines
in the folder `topologies/`.

Knows models, machines and the readers of their files; nothing of plans or prices.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from planner.errors import InputError, UnknownNameError, listed, plain_name, shortened
from planner.guards import guarded
from planner.machines.accounts import counted, with_economics, with_price
from planner.machines.cluster import Cluster
from planner.machines.prices import Economics
from planner.machines.software import Software
from planner.machines.topology import Figure, Topology
from planner.models.blocks import Decoder
from planner.models.decoder import DecoderShape, decoder_graph
from planner.models.diffusion import DiffusionShape, picture_of
from planner.models.diffusion_layers import diffusion_graph
from planner.models.encoder import EncoderShape, encoder_graph
from planner.models.graph import ModelGraph
from planner.models.pruning import pruned
from planner.models.storage import Formats, Storage
from planner.readers.cluster_file import cluster_from
from planner.readers.configs.huggingface import Read, read_fields
from planner.readers.files import read_record, read_toml
from planner.readers.hub_cache import cache_folder, cached_snapshot
from planner.readers.model_files import (
    INDEX,
    SUFFIXES,
    in_words_of_a_config,
    read_model,
    read_module,
)
from planner.readers.naming import with_names
from planner.readers.run_file import read_run
from planner.readers.topology_file import software_from, stack_from, topology_from
from planner.units import parse_count

Fields = dict[str, Any]
AnyModel = ModelGraph | str | Path
"""A model, or its name or file."""
AnyMachine = Topology | str | Path
"""A machine, or its name or file."""
AnyCluster = Cluster | str | Path
"""A cluster, or its name or file."""

SHAPES: dict[str, type[DecoderShape] | type[EncoderShape]] = {
    "decoder": DecoderShape,
    "encoder": EncoderShape,
}
"""By what the model table calls a model's kind."""


@guarded
def load_model(
    name: str | Path | object,
    *,
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
    activation_dtype: str | None = None,
    sparsity: str | None = None,
    height: int | None = None,
    width: int | None = None,
    frames: int | None = None,
    steps: int | None = None,
    dimensions: Mapping[str, int] | None = None,
) -> ModelGraph:
    """A model: a name of the catalogue; a file (Hugging Face's `config.json`, Meta's and Mistral's
    `params.json`, safetensors, GGUF, ONNX) or a folder, read with all that lies in it; the name of
    a model on the hub, whose files lie in the local cache or which the catalogue has, never the
    network; or a module of transformers or a program of `torch.export`, on the meta device too.

    `weight_dtype` None takes the formats in which it is published, module by module; another one
    is that of all its matrices, embedding and head too. `kv_dtype` None is the checkpoint's own, or
    bf16; `activation_dtype` None what
    recipes with such weights multiply in; `sparsity` prunes the layers: "2:4", or a share of zeros
    such as "90%". `height`, `width`, `frames` and `steps` say what a diffusion model makes; None:
    what it makes by default. `dimensions` are the sizes of axes that an ONNX file leaves open. An
    UnknownNameError names the nearest models; an InputError says what
    is wrong with a file.
    """
    found = _model(name, weight_dtype, dimensions)
    if isinstance(found, ModelGraph):
        return _of_a_program(
            found, {"weight_dtype": weight_dtype, "activation_dtype": activation_dtype}, sparsity
        )
    formats = _formats(found, weight_dtype, kv_dtype, activation_dtype)
    picture = {"height": height, "width": width, "frames": frames, "steps": steps}
    as_stored = weight_dtype in (None, found.dtype)
    graph = _graph_of(found, formats, picture, as_stored=as_stored)
    return graph if sparsity is None else pruned(graph, sparsity)


class Found(NamedTuple):
    """A model before its graph is made."""

    name: str
    shape: DecoderShape | Decoder | EncoderShape | DiffusionShape
    dtype: str
    """In which it is published."""
    source: str
    confidence: str
    block: int | None = None
    """Of published weights that share a scale."""
    storage: Storage | None = None
    """How the modules of a checkpoint are stored; None: all alike."""
    kv_dtype: str | None = None
    """Of the cache, where the checkpoint says it."""
    remarks: tuple[str, ...] = ()


def _model(
    name: str | Path | object, weight_dtype: str | None, dimensions: Mapping[str, int] | None
) -> Found | ModelGraph:
    if not isinstance(name, str | Path):
        _refuse_dimensions(dimensions, f"a {type(name).__name__}")
        read = read_module(name)
        return read if isinstance(read, ModelGraph) else _as_found(read, type(name).__name__, "")
    path = _as_path(name, SUFFIXES)
    if path is None or path.suffix != ".onnx":
        _refuse_dimensions(dimensions, str(name))
    if path is None:
        return _model_of_the_table(str(name), weight_dtype)
    if isinstance(name, str) and HUB_NAME.fullmatch(name) and not _exists(path):
        return _model_of_the_hub(name, weight_dtype)
    return _model_of_a_file(path, dimensions, as_stored=weight_dtype is None)


def _refuse_dimensions(dimensions: Mapping[str, int] | None, name: str) -> None:
    if dimensions:
        raise InputError(
            f"dimensions are for ONNX files with open axes, and {shortened(name)} is not an ONNX"
            f" file; leave {listed([shortened(each, 30) for each in dimensions])} out"
        )


HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.json)(?<!\.gguf)(?<!\.onnx)")
"""An owner and a name, as on the hub."""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _model_of_the_hub(name: str, weight_dtype: str | None) -> Found | ModelGraph:
    """From the files that were once fetched, else as the catalogue has it; nothing is fetched."""
    folder = cached_snapshot(name)
    if folder is not None:
        found = _model_of_a_file(folder, None, as_stored=weight_dtype is None)
        called = name.rpartition("/")[2]
        if isinstance(found, ModelGraph):
            return found.replace(name=called)
        return found._replace(name=called, source=f"{found.source} of {name}, in the local cache")
    try:
        return _model_of_the_table(name.rpartition("/")[2], weight_dtype)
    except UnknownNameError as error:
        raise InputError(
            f"{name} is not a file and not in the local cache of the hub ({cache_folder()}); the"
            f" planner downloads nothing. In the catalogue, {error}"
        ) from None


def _of_a_program(
    graph: ModelGraph, formats: Mapping[str, str | None], sparsity: str | None
) -> ModelGraph:
    """A graph that a program states whole, formats and all."""
    for field, dtype in formats.items():
        if dtype is not None:
            raise InputError(
                f"{field} cannot be chosen for {graph.name}: a program file states its own formats;"
                " leave it out"
            )
    return graph if sparsity is None else pruned(graph, sparsity)


def _model_of_the_table(name: str, weight_dtype: str | None) -> Found:
    entry = _found("model", name, model_table(), model_aliases)
    if "config" in entry:
        return _model_of_a_stated_config(entry, weight_dtype)
    shape: DecoderShape | EncoderShape | DiffusionShape
    if entry["name"] in diffusion_table():
        shape = diffusion_shape(entry["name"])
    else:
        shape = SHAPES[entry.get("kind", "decoder")].from_fields(_fields_in(entry, weight_dtype))
    return Found(
        name=entry["name"],
        shape=shape,
        dtype=entry.get("dtype", "bf16"),
        source=entry["source"],
        confidence=entry["confidence"],
        block=entry.get("weight_block"),
    )


def _model_of_a_stated_config(entry: Fields, weight_dtype: str | None) -> Found:
    """A row that holds the fields of its config.json: read as the file is, formats and all; in
    another format as the checkpoint is published in that one, where the row says so."""
    path = f"the catalogue's {entry['name']}"
    fields = in_words_of_a_config(entry["config"], path)
    published = entry.get("quantised_in", {}).get(weight_dtype)
    if published is not None:
        fields["quantization_config"] = published

    read = read_fields(fields, path, as_stored=weight_dtype is None)
    found = _as_found(read, entry["name"], entry["source"])
    return found._replace(confidence=entry["confidence"])


def _fields_in(entry: Fields, weight_dtype: str | None) -> Fields:
    """The shape of a row in a format: with what its published checkpoint in that format leaves at
    16 bit, where the row says so."""
    kept = entry.get("unquantised_in", {}).get(weight_dtype or entry.get("dtype", "bf16"))
    return entry["shape"] if kept is None else {**entry["shape"], "unquantised": kept}


def _model_of_a_file(
    path: Path, dimensions: Mapping[str, int] | None, *, as_stored: bool
) -> Found | ModelGraph:
    read = read_model(path, dimensions, as_stored=as_stored)
    if isinstance(read, ModelGraph):
        return read
    # As a file from a hub it is called config.json, and its folder has the model's name.
    is_folder = not path.suffix or path.is_dir()
    named = path.resolve().name if is_folder else path.stem
    if path.name in ("config.json", "params.json", INDEX):
        named = path.resolve().parent.name
    return _as_found(read, named, "config.json" if is_folder else path.name)


def _as_found(read: Read, name: str, source: str) -> Found:
    return Found(
        name=name,
        shape=read.shape,
        dtype=read.dtype,
        source=source,
        confidence="stated",
        block=read.block,
        storage=read.storage,
        kv_dtype=read.kv_dtype,
        remarks=read.remarks,
    )


def _graph_of(
    found: Found, formats: Formats, picture: dict[str, int | None], *, as_stored: bool
) -> ModelGraph:
    name, shape, source, confidence = found.name, found.shape, found.source, found.confidence
    if isinstance(shape, DiffusionShape):
        made = picture_of(shape, name, picture)
        return diffusion_graph(shape, name, formats, made, source=source, confidence=confidence)

    asked = [field for field, value in picture.items() if value is not None]
    if asked:
        raise InputError(
            f"{asked[0]} is for diffusion models, and {name} is a language model; leave it out"
        )
    if isinstance(shape, EncoderShape):
        return encoder_graph(
            shape,
            name,
            formats,
            source=source,
            confidence=confidence,
            remarks=found.remarks,
        )
    return decoder_graph(
        shape,
        name,
        formats,
        storage=found.storage if as_stored else None,
        source=source,
        confidence=confidence,
        remarks=found.remarks,
    )


class Counted(NamedTuple):
    """A machine by its name or file, and how many chips of it; None: as it is described."""

    name: str | Path
    chips: int | None


def counted_name(entry: str | Path, chips: int | None = None, field: str = "chips") -> Counted:
    """A machine as NAME or NAME:CHIPS, whose count is that of the field where both are given."""
    name, is_counted, text = str(entry).rpartition(":")
    # A colon may stand in a path too: C:\\machines\\mine.toml.
    if isinstance(entry, Path) or not is_counted or not name or "\\" in text or "/" in text:
        return Counted(entry, chips)
    count = parse_count(text, "chips", f"the chips of {shortened(entry)!r}")
    if count < 1:
        raise InputError(f"{shortened(entry)!r} names no chips; give one or more, as in {name}:8")
    if chips is not None and chips != count:
        raise InputError(
            f"{field} {chips} and {shortened(entry)} name different numbers of chips; give one of"
            " them"
        )
    return Counted(name, count)


@guarded
def load_topology(
    name: str | Path,
    *,
    chips: int | None = None,
    software: str | None = None,
    usable_memory: float | None = None,
    price: str | None = None,
    price_basis: str | None = None,
    economics: Economics | None = None,
) -> Topology:
    """A machine of the catalogue, or of a TOML file.

    `chips` shrinks or extends it (16 of hgx-h100 are two nodes over InfiniBand), as does a count
    behind the name: "hgx-h100:16"; `software`
    replaces its stack; `usable_memory` is the share of each chip's memory that the engine is
    started with, such as 0.95 for vLLM's gpu_memory_utilization. `price` says what a chip costs
    ("2.10 USD/h", "20000 USD/month", "0.59/0.79 USD/Mtok"), or `price_basis` what its price pays
    for: "chip", "node", "rental", "lease" or "token"; and `economics` what its owner pays for power
    and how long it serves.

    UnknownNameError: no machine or stack of that name; names the nearest. InputError: what is wrong
    with a file, more chips than the fabrics join, or a price beside a basis.
    """
    if price is not None and price_basis is not None:
        raise InputError("give price or price_basis, not both: a price of your own has no basis")
    topology = _loaded_topology(*counted_name(name, chips), software)
    if economics is not None:
        topology = with_economics(topology, economics)
    if price is not None:
        topology = with_price(topology, price)
    topology = counted(topology, price_basis=price_basis)
    return topology if usable_memory is None else topology.with_usable_memory(usable_memory)


def _loaded_topology(name: str | Path, chips: int | None, software: str | None) -> Topology:
    path = _as_path(name, (".toml", ".json"))
    if path is not None and path.suffix == ".json":
        run = read_run(path, "a topology")
        if run is not None:
            return described_topology(run.machine, chips=chips, software=software)
        topology = read_record(Topology, path, "a machine")
        if software is not None:
            topology = topology.replace(software=load_software(software))
        return topology if chips is None else topology.replace(chips=chips)

    if path is None and _known(str(name), _folder("clusters")) is not None:
        raise _no_machine(name)
    fields = _read_or_found(path, "topology", str(name), topology_table(), topology_aliases)
    if "pool" in fields:
        raise _no_machine(name)
    return described_topology(fields, chips=chips, software=software)


def _no_machine(name: str | Path) -> InputError:
    """What names a cluster where a machine is wanted."""
    return InputError(
        f"{shortened(name)} is a cluster of pools, not a machine; use load_cluster() or `planner"
        " cluster`"
    )


@guarded
def load_cluster(name: str | Path) -> Cluster:
    """A cluster of the catalogue, or of a TOML file: pools of unlike chips and the links between
    them.

    UnknownNameError: no cluster of that name; names the nearest. InputError: what is wrong with a
    file.
    """
    path = _as_path(name, (".toml", ".json"))
    if path is not None and path.suffix == ".json":
        return read_record(Cluster, path, "a cluster")
    is_cluster = path is not None or _known(str(name), _folder("clusters")) is not None
    if not is_cluster and _known(str(name), topology_table(), topology_aliases) is not None:
        raise InputError(
            f"{shortened(name)} is a machine, not a cluster; use load_topology() or `planner plan`"
        )
    fields = _read_or_found(path, "cluster", str(name), _folder("clusters"))
    return described_cluster(fields)


def described_cluster(fields: Mapping[str, Any]) -> Cluster:
    """The cluster that the fields of a file describe."""
    return cluster_from(fields, _pool_topology)


def _pool_topology(
    given: str | Mapping[str, Any], chips: int | None, software: str | None
) -> Topology:
    if isinstance(given, str):
        return load_topology(given, chips=chips, software=software)
    return described_topology(given, chips=chips, software=software)


def described_topology(
    fields: Mapping[str, Any], *, chips: int | None = None, software: str | None = None
) -> Topology:
    """The machine that the fields of a file describe."""
    topology = topology_from(
        fields,
        find_chip=find_chip,
        find_software=find_software,
        find_host=find_host,
        software=software,
    )
    return topology if chips is None else topology.replace(chips=chips)


def topology_fields(name: str | Path) -> Fields:
    """The file of a machine, as it stands; of a run, what it says of its machine."""
    path = _as_path(name, (".toml", ".json"))
    if path is not None and path.suffix == ".json":
        run = read_run(path, "a topology")
        if run is None:
            raise InputError(f"{path} holds a machine as JSON; give the TOML that it was made from")
        return run.machine
    return _read_or_found(path, "topology", str(name), topology_table(), topology_aliases)


def model_of(given: AnyModel) -> ModelGraph:
    """A model as it is, or by its name or file."""
    return given if isinstance(given, ModelGraph) else load_model(given)


def machine_of(given: AnyMachine) -> Topology:
    """A machine as it is, or by its name or file."""
    return given if isinstance(given, Topology) else load_topology(given)


def cluster_of(given: AnyCluster) -> Cluster:
    """A cluster as it is, or by its name or file."""
    return given if isinstance(given, Cluster) else load_cluster(given)


def cluster_names() -> tuple[str, ...]:
    """Names of the clusters, sorted."""
    return tuple(_folder("clusters"))


def load_software(name: str) -> Software:
    """A software stack of the catalogue."""
    return software_from(find_software(name), find_software)


def load_stack(name: str) -> tuple[Software, tuple[Figure, ...]]:
    """A software stack of the catalogue, and where its figures come from."""
    software, figures = stack_from(find_software(name), find_software)
    return software, tuple(figures)


def model_names() -> tuple[str, ...]:
    """Names of the models, in the catalogue's order."""
    return tuple(model_table())


def topology_names() -> tuple[str, ...]:
    """Names of the machines, sorted."""
    return tuple(topology_table())


def software_names() -> tuple[str, ...]:
    """Names of the software stacks, sorted."""
    return tuple(sorted(_folder("software")))


def find_chip(name: str) -> Fields:
    """The file of a chip."""
    return _found("chip", name, _folder("chips"))


def chip_names() -> tuple[str, ...]:
    """Names of the files of chips, sorted."""
    return tuple(_folder("chips"))


def find_host(name: str) -> Fields:
    """The file of a computer that chips stand in."""
    return _found("host", name, _folder("hosts"))


def find_software(name: str) -> Fields:
    """The file of a software stack: a name of the catalogue, or a path to a TOML file such as
    `planner calibrate` writes."""
    path = _as_path(name, (".toml",))
    if path is not None:
        return with_names(read_toml(path, "a software stack"), path.parent)
    return _found("software", name, _folder("software"))


@lru_cache
def model_table() -> dict[str, Fields]:
    """Rows of the model tables by name: language models, then diffusion models."""
    return {entry["name"]: entry for entry in _rows("models")["model"]} | diffusion_table()


@lru_cache
def diffusion_table() -> dict[str, Fields]:
    """Rows of the diffusion models by name."""
    return {entry["name"]: entry for entry in _rows("diffusion")["model"]}


@lru_cache
def diffusion_shape(name: str) -> DiffusionShape:
    """The shape of a diffusion model, its text encoders and its autoencoder looked up."""
    tables = _rows("diffusion")
    encoders = _parts(tables["encoder"])
    autoencoders = _parts(tables["autoencoder"])

    entry = diffusion_table()[name]
    fields = {key: entry[key] for key in DiffusionShape.model_fields if key in entry}
    prompts: dict[str, int] = entry.get("encoders", {})
    fields["encoders"] = [
        {**encoders[part], "prompt_tokens": most} for part, most in prompts.items()
    ]
    if "autoencoder" in entry:
        fields["autoencoder"] = autoencoders[entry["autoencoder"]]
    return DiffusionShape.from_fields(fields)


def _parts(rows: list[Fields]) -> dict[str, Fields]:
    """Text encoders or autoencoders by name, each with its numbers beside its name."""
    return {row["name"]: {"name": row["name"], **row["shape"]} for row in rows}


def _rows(name: str) -> dict[str, list[Fields]]:
    with resources.as_file(resources.files("planner.catalogue") / f"{name}.toml") as path:
        return read_toml(path, "the model table")


def _formats(
    found: Found, weight_dtype: str | None, kv_dtype: str | None, activation_dtype: str | None
) -> Formats:
    """As asked for, else as published; weights that are quantised anew keep no blocks."""
    dtype = weight_dtype or found.dtype
    return Formats.from_fields(
        {
            "weight_dtype": dtype,
            "weight_block": found.block if dtype == found.dtype else None,
            "kv_dtype": kv_dtype or found.kv_dtype or "bf16",
            "activation_dtype": activation_dtype,
        }
    )


@lru_cache
def model_aliases() -> dict[str, str]:
    return _aliases(model_table())


@lru_cache
def topology_table() -> Mapping[str, Fields]:
    """Files of the machines by name."""
    return _folder(".")


@lru_cache
def topology_aliases() -> dict[str, str]:
    return _aliases(topology_table())


def _aliases(table: Mapping[str, Fields]) -> dict[str, str]:
    """Other names of the rows of a table, each with the name that stands in it."""
    found = {}
    for name, entry in table.items():
        found.update(dict.fromkeys(entry.get("aliases", ()), name))
    return found


@lru_cache
def sources() -> dict[str, str]:
    """What the short names of sources stand for."""
    table = read_toml(topologies_folder() / "sources.toml", "sources")
    return {name: str(text) for name, text in table.items()}


@lru_cache
def topologies_folder() -> Path:
    """The folder `topologies/`: inside the package as it is installed, beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "topologies", here.parent / "topologies"):
        if (folder / "sources.toml").is_file():
            return folder
    raise InputError(
        f"the catalogue is missing: there is no folder topologies in {here} or beside it"
    )


class Folder(Mapping[str, Fields]):
    """The files of a folder by name, sorted; each is read when it is first asked for, as one
    question needs a few of some hundred."""

    def __init__(self, name: str) -> None:
        self._name = name
        paths = {path.stem: path for path in (topologies_folder() / name).glob("*.toml")}
        self._paths = {stem: paths[stem] for stem in sorted(paths.keys() - {"sources"})}
        self._read: dict[str, Fields] = {}

    def __getitem__(self, name: str) -> Fields:
        if name not in self._read:
            self._read[name] = read_toml(self._paths[name], self._name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


_folder = lru_cache(Folder)


def reread() -> None:
    """Forget what was read of machines, chips and stacks: their files have changed."""
    for cached in (_folder, topology_table, topology_aliases):
        cached.cache_clear()


def _read_or_found(
    path: Path | None,
    kind: str,
    name: str,
    table: Mapping[str, Fields],
    aliases: Callable[[], dict[str, str]] = dict,
) -> Fields:
    if path is not None:
        return with_names(read_toml(path, f"a {kind}"), path.parent)
    return _found(kind, name, table, aliases)


def _found(
    kind: str,
    name: str,
    table: Mapping[str, Fields],
    aliases: Callable[[], dict[str, str]] = dict,
) -> Fields:
    fields = _known(name, table, aliases)
    if fields is None:
        raise UnknownNameError(kind, name, table)
    return fields


def _known(
    name: str, table: Mapping[str, Fields], aliases: Callable[[], dict[str, str]] = dict
) -> Fields | None:
    """The entry of that name, whatever its case or punctuation."""
    wanted = plain_name(name)
    for candidate in table:
        if plain_name(candidate) == wanted:
            return table[candidate]
    # These stand in the rows, all of which are read for them.
    for alias, target in aliases().items():
        if plain_name(alias) == wanted:
            return table[target]
    return None


def _as_path(name: str | Path, suffixes: tuple[str, ...]) -> Path | None:
    """The path that a user means; None for a name of the catalogue."""
    text = str(name)
    if isinstance(name, Path) or "/" in text or "\\" in text or text.lower().endswith(suffixes):
        return Path(text)
    return None
