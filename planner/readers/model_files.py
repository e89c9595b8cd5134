"""A model from whatever file or folder a person has: config.json, params.json, safetensors, GGUF,
ONNX, or the name of a model on the hub whose files lie on this machine.

A folder is read with all that lies in it. What the tensors themselves say of formats and bytes goes
before what a config says of them, and where the two do not agree the answer says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.models.blocks import Decoder
from planner.models.decoder_layers import module_weights
from planner.models.graph import ModelGraph
from planner.models.series import in_series
from planner.models.storage import Storage
from planner.readers.configs.huggingface import Read, read_config, read_fields
from planner.readers.files import CONFIG_BYTES, read_json
from planner.readers.params_file import config_fields_of_params
from planner.readers.programs.onnx_file import load_onnx
from planner.readers.programs.torch_program import graph_of_program, module_inventory
from planner.readers.run_file import is_run, run_in
from planner.readers.tensors.gguf_fields import config_fields, config_remarks
from planner.readers.tensors.gguf_file import read_gguf
from planner.readers.tensors.inventory import Inventory, InventoryStorage, Tensor
from planner.readers.tensors.safetensors_file import read_safetensors

INDEX = "model.safetensors.index.json"
SUFFIXES = (".json", ".gguf", ".onnx", ".safetensors")
"""Of files that may hold a model."""
TORCHS = {
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int8": "I8",
    "uint8": "U8",
    "int32": "I32",
}
"""Formats of torch in the words of safetensors."""
EMPTY = 1_000
"""Bytes of tensors below which a file has no weights to speak of."""


def read_model(
    path: Path, dimensions: Mapping[str, int] | None = None, *, as_stored: bool = True
) -> Read | ModelGraph:
    """What a file or a folder states of a model; of an ONNX file, whose open axes `dimensions`
    fill, the graph itself, its branches in series so that plans can be made of it. `as_stored`
    False: another format of the weights is asked for."""
    if _is_folder(path):
        return _of_folder(path, as_stored=as_stored)
    if path.suffix == ".onnx":
        return in_series(load_onnx(path, dimensions=dimensions))
    if path.suffix == ".gguf":
        return _of_gguf(path)
    if path.suffix == ".safetensors" or path.name == INDEX:
        return _of_tensors(path)
    if path.name == "config.json":
        return _with_tensors(read_config(path, as_stored=as_stored), path.parent)
    return _of_json(path, as_stored=as_stored)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        # Longer than file systems take, or with a null byte: reading it will say so.
        return False


def _of_folder(folder: Path, *, as_stored: bool) -> Read | ModelGraph:
    config = folder / "config.json"
    if config.exists():
        return _with_tensors(read_config(config, as_stored=as_stored), folder)
    params = folder / "params.json"
    if params.exists():
        return _of_json(params, as_stored=as_stored)
    found = sorted(folder.glob("*.gguf"))
    if len(found) == 1 or (found and "-00001-of-" in found[0].name):
        return _of_gguf(found[0])
    if found:
        raise InputError(f"{folder} holds {len(found)} GGUF files; name one of them")
    # Reading it says which file is missing.
    return read_config(config)


def _of_json(path: Path, *, as_stored: bool) -> Read:
    fields = read_json(path, "a config.json", most_bytes=CONFIG_BYTES)
    if is_run(fields):
        return read_fields(run_in(fields, path).config, str(path), as_stored=as_stored)
    if _is_params(fields):
        return read_fields(in_words_of_a_config(fields, str(path)), str(path), as_stored=as_stored)
    return read_config(path, as_stored=as_stored)


def _is_params(fields: Mapping[str, Any]) -> bool:
    """Whether these are the keys that Meta and Mistral ship, whatever the file is called."""
    return "dim" in fields and "n_layers" in fields and "hidden_size" not in fields


def in_words_of_a_config(fields: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The fields of a config.json as they are, those of a params.json in its words; `path` is
    named in refusals."""
    if not _is_params(fields) or fields.get("model_type") is not None:
        return dict(fields)
    made = config_fields_of_params(fields, path)
    made.setdefault("model_type", "llama")
    # In these files a window that is not stated is none.
    made.setdefault("sliding_window", None)
    return made


def _of_gguf(path: Path) -> Read:
    """Metadata in the words of a config.json, and the exact bytes of each tensor."""
    found = read_gguf(path)
    try:
        fields = config_fields(found)
    except InputError as error:
        raise _named(error, path) from None
    read = read_fields(fields, str(path))
    said = (*read.remarks, *config_remarks(found))
    return _stored_as(read._replace(remarks=said), found.inventory, path)


def _of_tensors(path: Path) -> Read:
    """Of tensors alone: how many heads there are stands in the config beside them."""
    config = path.parent / "config.json"
    if not config.is_file():
        raise InputError(
            f"{path} holds tensors alone, which do not say how many heads a model has; put its"
            " config.json beside it"
        )
    return _stored_as(read_config(config), read_safetensors(path), path)


def _with_tensors(read: Read, folder: Path) -> Read:
    """With what the tensors beside a config say, where there are any."""
    index = folder / INDEX
    if index.is_file():
        return _stored_as(read, read_safetensors(index), index)
    if any(folder.glob("*.safetensors")):
        return _stored_as(read, read_safetensors(folder), folder)
    return read


def _stored_as(read: Read, inventory: Inventory, path: Path) -> Read:
    """With the formats and bytes of the tensors themselves."""
    decoder = read.shape
    if not isinstance(decoder, Decoder):
        return read
    if inventory.unread:
        # Names alone say nothing of formats; what their sum says is told.
        stated = inventory.total_bytes / 1e9
        said = f"the index states {stated:.4g} GB of tensors, in files that are not here"
        return read._replace(remarks=(*read.remarks, *inventory.remarks, said))
    if inventory.total_bytes < EMPTY:
        return read
    counted = module_weights(decoder)
    try:
        storage = InventoryStorage(
            inventory,
            decoder.layers,
            expected_parameters=lambda name: counted.get(name, 0.0),
            stated=read.storage,
        )
        remarks = storage.check_against(counted)
        remarks += _unlike_config(read.storage, storage, counted)
        dtype = storage.weight_dtype
    except InputError as error:
        raise _named(error, path) from None
    return read._replace(
        dtype=dtype,
        storage=storage,
        block=storage.weight_block,
        remarks=tuple(dict.fromkeys((*read.remarks, *remarks))),
    )


def _unlike_config(
    said: Storage | None, held: InventoryStorage, counted: Mapping[str, float]
) -> list[str]:
    """Where much of the weights is stored otherwise than a config says: one sentence, or none."""
    if said is None:
        return []
    unlike = [
        module
        for module in counted
        if abs(said.of(module).bits_per_weight / held.of(module).bits_per_weight - 1) > 0.1
    ]
    share = sum(counted[module] for module in unlike) / sum(counted.values())
    if share < 0.05:
        return []
    first = max(unlike, key=lambda module: counted[module])
    return [
        (
            f"formats are taken from the tensors, not from the config: {share:.0%} of the weights"
            f" have another format than the config says, such as {first} ({held.of(first).dtype},"
            f" not {said.of(first).dtype})"
        )
    ]


def _named(error: InputError, path: Path) -> InputError:
    """With the file before it."""
    said = str(error)
    return error if said.startswith(str(path)) else InputError(f"{path}: {said}")


def read_module(module: Any) -> Read | ModelGraph:
    """What a torch module of transformers, or a program that `torch.export` traced, states of
    itself; modules on the meta device as well. Torch is not imported for it."""
    name = shortened(type(module).__name__)
    if hasattr(module, "graph_module") and hasattr(module, "graph_signature"):
        return in_series(graph_of_program(module, name))
    config = getattr(module, "config", None)
    if config is None or not hasattr(config, "to_dict") or not hasattr(module, "named_parameters"):
        raise InputError(
            f"a {name} is not a model; give a name, a path, a module of transformers, or the"
            " result of torch.export.export()"
        )
    read = read_fields(config.to_dict(), name)
    held = [
        Tensor(row.name, row.shape, TORCHS.get(row.dtype, row.dtype), row.stored_bytes)
        for row in module_inventory(module)
    ]
    return _stored_as(read, Inventory(tuple(held)), Path(name))
