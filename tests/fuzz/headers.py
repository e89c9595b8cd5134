"""Tampering with binary headers: lengths and counts above all, and where a file ends."""

import copy
import json
import struct

from planner.readers.tensors.safetensors_file import BITS_OF
from tests.fuzz.trees import parsed, tampered_json, tampered_tree, written
from tests.onnx_writer import varint
from tests.written import BLOCKS, KINDS, gguf_bytes, safetensors_bytes

MOST_CHANGES = 3
LOOKED_AT = 4096
"""Bytes at the beginning in which numbers are looked for."""
NUMBERS = (
    0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 31, 33, 255, 256, 1000, 65535, 2**16, 2**20, 2**24, 2**31 - 1,
    2**31, 2**32 - 1, 2**32, 2**40, 2**60, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
PARTS = (
    "weight", "qweight", "qzeros", "scales", "g_idx", "weight_packed", "weight_scale", "biases",
    "weight_scale_inv", "weight_scale_2", "weight_zero_point", "weight.absmax", "SCB", "bias",
    "weight_global_scale", "blocks", "weight_shape", "input_scale",
)  # fmt: skip
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def likely_numbers(data):
    """Where lengths and counts may stand: eight or four bytes that are not above the file's own
    length."""
    found = []
    for width in (8, 4):
        letter = struct.Struct(f"<{WIDTHS[width]}")
        for at in range(min(len(data), LOOKED_AT) - width):
            if 0 < letter.unpack_from(data, at)[0] <= len(data):
                found.append((at, width))
    return found


def _number(held, draw):
    """Another number where a length or a count may stand."""
    places = likely_numbers(bytes(held)) or [(0, 1)]
    at, width = draw.choice(places)
    if draw.random() < 0.5:
        made = draw.choice(NUMBERS)
    else:
        before = int.from_bytes(held[at : at + width], "little")
        made = before + draw.choice([-8, -1, 1, 8, len(held)])
    held[at : at + width] = (made % 256**width).to_bytes(
        width, draw.choice(["little"] * 5 + ["big"])
    )


def _cut(held, draw):
    del held[draw.randrange(len(held)) :]


def _extend(held, draw):
    held += draw.choice([b"\0", b"x" * 7, bytes(4096), bytes(held[:100])])


def _flip(held, draw):
    at = draw.randrange(min(len(held), LOOKED_AT))
    held[at] ^= 1 << draw.randrange(8)


def _scatter(held, draw):
    for _ in range(draw.randint(1, 8)):
        held[draw.randrange(min(len(held), LOOKED_AT))] = draw.randrange(256)


def _begin(held, draw):
    """Not the word that such files begin with."""
    held[:4] = draw.choice([b"GGUF", b"FUGG", b"\x08\0\0\0", b"PK\x03\x04", b"\x89HDF", bytes(4)])


def _copy(held, draw):
    """A piece over another, or between."""
    at, to = (draw.randrange(min(len(held), LOOKED_AT)) for _ in range(2))
    piece = held[at : at + draw.choice([1, 8, 24, 100])]
    held[to : to + draw.choice([0, len(piece)])] = piece


def _delete(held, draw):
    at = draw.randrange(min(len(held), LOOKED_AT))
    del held[at : at + draw.choice([1, 4, 8, 30])]


CHANGES = (_number, _number, _number, _cut, _extend, _flip, _flip, _scatter, _begin, _copy, _delete)


def tampered_bytes(data, draw, others=()):
    """A few changes in the beginning of a binary file."""
    held = bytearray(data)
    for _ in range(draw.randint(1, MOST_CHANGES)):
        if not held:
            break
        draw.choice(CHANGES)(held, draw)
    return bytes(held)


def tampered_safetensors(data, draw, others=()):
    """A safetensors file whose header was tampered with as JSON, or as bytes; or one of other
    tensors, rightly written."""
    way = draw.random()
    if way < 0.3:
        return tampered_bytes(data, draw)
    if way < 0.6:
        return _of_other_tensors(data, draw)
    (length,) = struct.unpack("<Q", data[:8])
    tree = tampered_tree(parsed(data[8 : 8 + length]), draw)
    text = written(tree).encode("utf-8", "surrogatepass") + b" " * draw.choice([0, 0, 5])
    stated = len(text) + draw.choice([0] * 9 + [-1, 1, 2**60])
    rest = data[8 + length :]
    return struct.pack("<Q", stated % 2**64) + text + rest[: draw.choice([len(rest)] * 9 + [0, 5])]


def _of_other_tensors(data, draw):
    """Good files whose names, types and shapes do not go together."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    made = {}
    for name, entry in header.items():
        if draw.random() < 0.7:
            made[name] = (entry["dtype"], entry["shape"])
    stems = [name.rpartition(".")[0] for name in header]
    for _ in range(draw.randint(1, 5)):
        name = draw.choice([*header, f"{draw.choice(stems)}.{draw.choice(PARTS)}"])
        shape = [draw.choice([0, 1, 2, 3, 8])] * draw.randrange(4)
        made[name] = (draw.choice(sorted(BITS_OF)), [*shape, 8])
    return safetensors_bytes([(name, *entry) for name, entry in made.items()])


def _value(draw, depth=0):
    """A key's value of any type, rightly written."""
    kind = draw.choice(sorted(KINDS))
    if kind == "array":
        if depth == 5:
            return "u8", 1
        inner, value = _value(draw, depth + 1)
        return "array", (inner, [value] * draw.choice([0, 1, 2, 4, 5000 if depth == 0 else 3]))
    if kind == "str":
        return kind, draw.choice(["", "llama", "x" * 3000, b"\xff\xfe", "\0", "é", "mamba"])
    if kind in ("f32", "f64"):
        return kind, draw.choice([0.0, -1.0, 2.5, float("nan"), float("inf"), 1e30])
    if kind == "bool":
        return kind, draw.random() < 0.5
    bits = 8 * struct.calcsize("=" + {"8": "b", "16": "h", "32": "i", "64": "q"}[kind[1:]])
    made = draw.choice([0, 1, 2, 3, 100, draw.choice(NUMBERS)]) % 2**bits
    return kind, made - 2 ** (bits - 1) if kind[0] == "i" else made


def tampered_gguf(specs):
    """Tampers with GGUF files made from (metadata, tensors): with what they say, which is then
    rightly written, or with their bytes."""

    def tampered(data, draw, others=()):
        if draw.random() < 0.4:
            return tampered_bytes(data, draw)
        metadata, tensors = copy.deepcopy(draw.choice(specs))
        for _ in range(draw.randint(1, 4)):
            _say_otherwise(metadata, tensors, draw, specs)
        order, version = draw.choice("<<<>"), draw.choice([2, 3, 3, 3, 1, 4])
        alignment = draw.choice([32] * 8 + [1, 64])
        held = gguf_bytes(metadata, tensors, order=order, version=version, alignment=alignment)
        return tampered_bytes(held, draw) if draw.random() < 0.15 else held

    return tampered


def _say_otherwise(metadata, tensors, draw, specs):
    """One change in what a GGUF file says."""
    key = draw.choice(sorted(metadata)) if metadata else "a"
    what = draw.randrange(8)
    if what == 0:
        metadata.pop(key, None)
    elif what in (1, 2):
        metadata[key] = _value(draw)
    elif what == 3:
        metadata |= {one: draw.choice(specs)[0].get(one, ("u8", 0)) for one in [key]}
        metadata["general.architecture"] = draw.choice(specs)[0]["general.architecture"]
    elif what == 4:
        family = key.partition(".")[0]
        name = draw.choice(sorted(draw.choice(specs)[0])).partition(".")[2]
        metadata[f"{family}.{name}"] = _value(draw)
    elif tensors and what == 5:
        del tensors[draw.randrange(len(tensors))]
    elif tensors and what == 6:
        at = draw.randrange(len(tensors))
        name, axes, kind = tensors[at]
        others = draw.choice(specs)[1] or tensors
        tensors[at] = (draw.choice([name, "", "x" * 2000, draw.choice(others)[0]]), axes, kind)
    elif tensors:
        at = draw.randrange(len(tensors))
        name, _, _ = tensors[at]
        kind = draw.choice(sorted(BLOCKS))
        axes = [
            BLOCKS[kind][1] * draw.choice([0, 1, 2]),
            *[draw.choice([0, 1, 3])] * draw.randrange(4),
        ]
        tensors[at] = (name, tuple(axes), kind)


MESSAGES = {
    "model": {7: "graph", 8: "opset", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute", 9: "property"},
    "attribute": {5: "tensor", 6: "graph"},
    "value": {2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dim"},
}
"""Of a message of `onnx.proto` the fields that are messages themselves."""
WORDS = (
    b"Loop", b"Conv", b"MatMul", b"Gather", b"Reshape", b"Slice", b"LSTM", b"Attention", b"Einsum",
    b"MatMulNBits", b"Resize", b"Range", b"", b"x" * 3000, b"\xff\xfe", b"axes", b"perm", b"pads",
)  # fmt: skip


def read_varint(held, at):
    value = shift = 0
    while True:
        byte = held[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def parsed_message(held, kind="model"):
    """Fields as [number, wire, what it holds]; what is a message itself as such a list, with its
    kind."""
    found, at = [], 0
    while at < len(held):
        tag, at = read_varint(held, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            content, at = read_varint(held, at)
        else:
            length, at = read_varint(held, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
            content = bytes(held[at : at + length])
            at += length
            inner = MESSAGES.get(kind, {}).get(number)
            if wire == 2 and inner:
                content = parsed_message(content, inner)
        found.append([number, wire, content])
    return found


def written_message(fields):
    held = bytearray()
    for number, wire, content in fields:
        held += varint(number << 3 | wire)
        if wire == 0:
            held += varint(content)
            continue
        whole = written_message(content) if isinstance(content, list) else content
        held += (varint(len(whole)) if wire == 2 else b"") + whole
    return bytes(held)


def _fields_of(fields):
    """Every field, with the list that it stands in."""
    for at, field in enumerate(fields):
        yield fields, at
        if isinstance(field[2], list):
            yield from _fields_of(field[2])


def tampered_onnx(data, draw, others=()):
    """An ONNX file whose bytes were tampered with, or that says something else, rightly written."""
    if draw.random() < 0.25:
        return tampered_bytes(data, draw)
    tree = parsed_message(data)
    for _ in range(draw.randint(1, 4)):
        places = list(_fields_of(tree))
        held, at = draw.choice(places)
        theirs, spot = draw.choice(places)
        number, wire, content = held[at]
        what = draw.randrange(8)
        if what == 0:
            del held[at]
        elif what == 1:
            held.insert(draw.randrange(len(held) + 1), copy.deepcopy(held[at]))
        elif what == 2:
            held[at] = copy.deepcopy(theirs[spot])
        elif what == 3:
            held[at] = [number, theirs[spot][1], copy.deepcopy(theirs[spot][2])]
        elif wire == 0:
            held[at][2] = draw.choice([*NUMBERS, content + 1, content * 2, content // 2])
        elif isinstance(content, bytes) and what < 7:
            held[at][2] = draw.choice([*WORDS, content[:-1], content * 2, bytes(len(content))])
        elif isinstance(content, bytes):
            held[at][2] = bytes(draw.randrange(256) for _ in content[:100])
        else:
            draw.shuffle(content)
        if not tree:
            break
    return written_message(tree)


def tampered_folder(data, draw, others=()):
    """A config, its tensors and what lies beside them, in one file: one of them tampered with."""
    parts = json.loads(data)
    name = draw.choice(sorted(parts))
    held = bytes.fromhex(parts[name])
    if draw.random() < 0.1:
        del parts[name]
    else:
        change = tampered_safetensors if name.endswith(".safetensors") else tampered_json
        parts[name] = change(held, draw, [held]).hex()
    return json.dumps(parts).encode()
