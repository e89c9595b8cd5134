"""Which tensors a safetensors checkpoint holds: the headers of its files, and nothing of their
data.

A file is eight bytes, little-endian, with the header's length; the header, a JSON object of
`name: {dtype, shape, data_offsets}`; and the tensors' bytes without holes or overlaps [1]. A
checkpoint of several files has an index of which file holds which tensor.

[1] https://github.com/huggingface/safetensors, "Format".
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from planner.errors import InputError, listed, nearest_names, shortened, told
from planner.faults import unique
from planner.readers.files import (
    INDEX_BYTES,
    Pairs,
    file_beside,
    opened,
    parsed_json,
    plain_file,
    read_json,
    text_of,
)
from planner.readers.tensors.inventory import MOST_ELEMENTS, Inventory, Tensor, elements_of

INDEX = "model.safetensors.index.json"
MOST_FILES = 1000
"""Of one checkpoint; the largest published has some 160."""
MOST_TENSORS = 2**18
"""Of one checkpoint; Kimi K2 has 207,000 in four bits."""
MOST_AXES = 16
BITS_OF = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
}
"""Of one element, by the format's names."""
FIELDS = {"dtype", "shape", "data_offsets"}
WHAT = "a safetensors file"


def read_safetensors(path: str | Path) -> Inventory:
    """The tensors of a safetensors file, of an index and the files beside it, or of a folder.

    Files that an index names and that are not there are told in a remark: of their tensors only
    the names are known. An InputError says what is wrong with a file.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError):  # to be told when it is opened
        is_folder = False
    try:
        if is_folder:
            return _of_folder(path)
        return _of_index(path) if path.suffix == ".json" else _of_file(path)
    except OSError as error:  # a folder that may not be listed
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _of_folder(folder: Path) -> Inventory:
    """What the index of a folder says; without one, its only file or all of them."""
    for name in (INDEX, "model.safetensors"):
        if (folder / name).exists():
            return read_safetensors(folder / name)
    found: list[Path] = []
    for path in folder.iterdir():
        if path.suffix == ".safetensors":
            found.append(path)
        if len(found) > MOST_FILES:
            raise InputError(f"{folder} holds more than {MOST_FILES} safetensors files")
    # What is trained on top of a model is no part of it.
    whole = [path for path in found if not path.name.startswith("adapter")] or found
    if not whole:
        raise InputError(f"{folder} holds no {INDEX} and no safetensors file")
    return _joined((_of_file(path) for path in sorted(whole)), folder)


def _joined(parts: Iterable[Inventory], where: Path) -> Inventory:
    """Several files as one."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for part in parts:
        for tensor in part.tensors:
            if tensor.name in tensors:
                raise InputError(f"{where}: two files hold {shortened(tensor.name)}")
            tensors[tensor.name] = tensor
        metadata |= part.metadata
        if len(tensors) > MOST_TENSORS:
            raise InputError(f"{where} holds more than {MOST_TENSORS} tensors")
    return Inventory(tuple(tensors.values()), metadata)


def _of_index(path: Path) -> Inventory:
    """The tensors that an index names, with the shapes that the files beside it state."""
    fields = read_json(path, "an index of safetensors", most_bytes=INDEX_BYTES)
    wanted = _files_of(fields, path)
    names_in: dict[str, set[str]] = {}
    for name, file in wanted.items():
        names_in.setdefault(file, set()).add(name)

    tensors: list[Tensor] = []
    remarks: list[str] = []
    metadata: dict[str, str] = {}
    absent: list[str] = []
    for file, names in sorted(names_in.items()):
        beside = file_beside(file, path)
        if not beside.exists():
            absent.append(file)
            continue
        held = _of_file(beside)
        metadata |= held.metadata
        ours = [tensor for tensor in held.tensors if tensor.name in names]
        tensors += ours
        remarks += _disagreements(file, names, held, ours)
    unread = tuple(sorted(name for file in absent for name in names_in[file]))
    stated = _stated_bytes(fields, path)
    if absent:
        remarks.append(
            f"{len(absent)} of {len(names_in)} files that {path.name} names are not there"
            f" ({listed(absent[:2])}{' and more' * (len(absent) > 2)}): of {len(unread)} tensors"
            " only the names are known"
        )
    return Inventory(
        tuple(tensors), metadata, tuple(remarks), unread, stated if absent and stated else None
    )


def _disagreements(
    file: str, names: set[str], held: Inventory, ours: list[Tensor]
) -> Iterable[str]:
    """Where an index says one thing and a file another."""
    missing = names - {tensor.name for tensor in ours}
    if missing:
        yield (
            f"{file} lacks {len(missing)} tensors that its index lists, such as"
            f" {shortened(min(missing))}"
        )
    beyond = held.total_bytes - sum(tensor.bytes for tensor in ours)
    if beyond:
        yield f"{file} holds {beyond / 1e9:.3g} GB of tensors that its index does not name"


def _files_of(fields: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Of each tensor of an index, the file that holds it."""
    wanted = fields.get("weight_map")
    if not isinstance(wanted, dict) or not wanted:
        raise InputError(
            f"{path}: weight_map is missing; an index says there which file holds which tensor"
        )
    if len(wanted) > MOST_TENSORS:
        raise InputError(f"{path} names {len(wanted)} tensors; at most {MOST_TENSORS} are read")
    known: set[str] = set()
    for file in wanted.values():
        if not isinstance(file, str) or file not in known:
            known.add(plain_file(file, path))
        if len(known) > MOST_FILES:
            raise InputError(
                f"{path} names more than {MOST_FILES} files; no checkpoint has so many"
            )
    return wanted


def _stated_bytes(fields: Mapping[str, Any], path: Path) -> int:
    """Of all tensors; 0: the index does not say."""
    metadata = fields.get("metadata")
    stated = metadata.get("total_size", 0) if isinstance(metadata, dict) else 0
    if isinstance(stated, float) and stated.is_integer():  # some scripts write 1.6e+10
        stated = int(stated)
    if isinstance(stated, bool) or not isinstance(stated, int) or not 0 <= stated < 2**63:
        raise InputError(
            f"{path}: metadata.total_size must be a whole number of bytes, not {told(stated, 30)}"
        )
    return stated


def _of_file(path: Path) -> Inventory:
    with opened(path, WHAT) as (stream, size):
        held, data_bytes = _header_of(stream, size, path)
    try:
        header = parsed_json(text_of(held, path, "its header"), path, paired=_packed)
    except InputError as error:
        raise InputError(_naming(path, error)) from None
    del held
    metadata = _metadata_of(header.pop("__metadata__", {}), path)
    tensors: list[Tensor] = []
    begins: list[tuple[int, int]] = []
    for name, entry in header.items():
        if not isinstance(entry, tuple):
            raise InputError(
                f"{path}: {shortened(name)} must be an object of dtype, shape and data_offsets"
            )
        dtype, shape, offsets = entry
        tensor, begin = _tensor(name, dtype, shape, offsets, path)
        begins.append((begin, len(tensors)))
        tensors.append(tensor)
    begins.sort(key=lambda one: (one[0], tensors[one[1]].bytes))
    _check_filled(begins, tensors, data_bytes, path)
    return Inventory(tuple(tensors[number] for _, number in begins), metadata)


def _header_of(stream: BinaryIO, size: int, path: Path) -> tuple[bytes, int]:
    """The header's bytes, and how many bytes of data follow it."""
    if size < 8:
        raise InputError(
            f"{path} has {size} bytes; {WHAT} begins with eight bytes for the length of its header"
        )
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > size - 8:
        raise InputError(
            f"{path} says that its header has {length} bytes, but only {size - 8} follow; it is"
            " truncated or not a safetensors file"
        )
    if length > INDEX_BYTES:
        raise InputError(
            f"{path} has a header of {length / 2**20:.0f} MiB; at most {INDEX_BYTES // 2**20} are"
            " read"
        )
    held = stream.read(length)
    if not held.startswith(b"{"):
        raise InputError(f"{path} is no safetensors file: its header must begin with a brace")
    return held, size - 8 - length


def _packed(pairs: Pairs) -> Any:
    """What describes a tensor as a tuple, at once: a header may have a hundred thousand."""
    made = unique(pairs)
    if made.keys() == FIELDS:
        return made["dtype"], made["shape"], made["data_offsets"]
    return made


def _naming(path: Path, error: InputError) -> str:
    """The sentence of a fault, with the file in it."""
    return str(error) if str(error).startswith(str(path)) else f"{path}: {error}"


def _metadata_of(given: Any, path: Path) -> dict[str, str]:
    texts = isinstance(given, dict) and all(isinstance(text, str) for text in given.values())
    if not texts:
        raise InputError(f"{path}: __metadata__ must be an object whose values are texts")
    return dict(given)


def _tensor(name: str, dtype: Any, shape: Any, offsets: Any, path: Path) -> tuple[Tensor, int]:
    """A tensor, and where its bytes begin."""
    where = f"{path}: {shortened(name)}"
    if not isinstance(dtype, str) or dtype not in BITS_OF:
        nearest = listed(nearest_names(str(dtype), BITS_OF), "or")
        raise InputError(f"{where} has the dtype {told(dtype, 30)}; it may be {nearest}")
    if not _wholes(shape) or len(shape) > MOST_AXES:
        raise InputError(f"{where} must have a shape of at most {MOST_AXES} whole numbers")
    if not _wholes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InputError(f"{where} must have two data_offsets, its begin and its end")
    elements = elements_of(shape)
    if elements > MOST_ELEMENTS:
        raise InputError(f"{where} has a shape of more elements than any tensor")
    bits = elements * BITS_OF[dtype]
    begin, end = offsets
    if bits != 8 * (end - begin):
        raise InputError(
            f"{where} has {end - begin} bytes, but its shape and dtype need {bits / 8:.15g}"
        )
    return Tensor(name, tuple(shape), dtype, end - begin), begin


def _wholes(given: Any) -> bool:
    """Whether that is a list of whole numbers such as sizes are."""
    return isinstance(given, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63 for one in given
    )


def _check_filled(
    begins: list[tuple[int, int]], tensors: list[Tensor], data_bytes: int, path: Path
) -> None:
    """Refuse tensors that overlap, leave a hole or end elsewhere than the file."""
    reached = 0
    for begin, number in begins:
        if begin != reached:
            fault = "overlaps the tensor before it" if begin < reached else "leaves a gap before it"
            raise InputError(
                f"{path}: {shortened(tensors[number].name)} {fault}; tensors must follow one"
                " another without gaps"
            )
        reached += tensors[number].bytes
    if reached != data_bytes:
        raise InputError(
            f"{path} holds {data_bytes} bytes of data, but its tensors need {reached}; it is"
            " truncated or something was added to it"
        )
