"""Files of tensors, written by hand: small ones that readers are tried on. No data but zeros."""

import json
import struct
from pathlib import Path

from planner.readers.tensors.gguf_file import TYPES
from planner.readers.tensors.safetensors_file import BITS_OF

BLOCKS = {name: (number, values, size) for number, (name, values, size) in TYPES.items()}
KINDS = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8,
         "array": 9, "u64": 10, "i64": 11, "f64": 12}  # fmt: skip
LETTERS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f",
           "bool": "?", "u64": "Q", "i64": "q", "f64": "d"}  # fmt: skip


def count_of(shape):
    count = 1
    for length in shape:
        count *= length
    return count


def header_of(tensors, metadata=None):
    """Of a safetensors file with (name, dtype, shape) tensors one after another."""
    header, reached = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, dtype, shape in tensors:
        length = count_of(shape) * BITS_OF[dtype] // 8
        header[name] = {
            "dtype": dtype, "shape": list(shape), "data_offsets": [reached, reached + length]
        }  # fmt: skip
        reached += length
    return header, reached


def with_header(header, data_bytes):
    """A safetensors file with that header, as JSON text or as what it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data_bytes)


def safetensors_bytes(tensors, metadata=None):
    return with_header(*header_of(tensors, metadata))


def write_safetensors(path: Path, tensors, metadata=None):
    """A file with room for its data, which takes no disk."""
    header, data_bytes = header_of(tensors, metadata)
    path.write_bytes(with_header(header, 0))
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + data_bytes)
    return path


def write_index(folder: Path, files, total_size=None):
    """Shards and their index; `files` maps a name to its tensors, or to names where the file is
    left out."""
    where = {}
    for file, tensors in files.items():
        if all(isinstance(tensor, str) for tensor in tensors):
            where |= dict.fromkeys(tensors, file)
            continue
        write_safetensors(folder / file, tensors)
        where |= {name: file for name, _, _ in tensors}
    path = folder / "model.safetensors.index.json"
    metadata = {} if total_size is None else {"total_size": total_size}
    path.write_text(json.dumps({"metadata": metadata, "weight_map": where}), encoding="utf-8")
    return path


class GgufWriter:
    """Bytes of a GGUF file, number by number."""

    def __init__(self, order="<", version=3):
        self.order = order
        self.held = b"GGUF" + struct.pack(f"{order}I", version)

    def number(self, letter, value):
        self.held += struct.pack(f"{self.order}{letter}", value)

    def text(self, text):
        held = text if isinstance(text, bytes) else text.encode()
        self.number("Q", len(held))
        self.held += held

    def value(self, kind, value):
        if kind == "str":
            self.text(value)
        elif kind == "array":
            inner, values = value
            self.number("I", KINDS[inner])
            self.number("Q", len(values))
            for one in values:
                self.value(inner, one)
        else:
            self.number(LETTERS[kind], value)


def gguf_bytes(metadata, tensors, *, order="<", version=3, alignment=32, data=True):
    """A GGUF file of {key: (kind, value)} and of (name, axes innermost first, type) tensors."""
    made = GgufWriter(order, version)
    made.number("Q", len(tensors))
    made.number("Q", len(metadata))
    for key, (kind, value) in metadata.items():
        made.text(key)
        made.number("I", KINDS[kind])
        made.value(kind, value)
    reached = 0
    for name, axes, kind in tensors:
        number, values, size = BLOCKS[kind]
        made.text(name)
        made.number("I", len(axes))
        for length in axes:
            made.number("Q", length)
        made.number("I", number)
        made.number("Q", reached)
        length = count_of(axes) // values * size
        reached += -(-length // alignment) * alignment
    held = made.held
    held += bytes(-len(held) % alignment)
    return held + bytes(reached) if data else held


LLAMA_KEYS = {
    "general.architecture": ("str", "llama"),
    "llama.block_count": ("u32", 2),
    "llama.embedding_length": ("u32", 256),
    "llama.feed_forward_length": ("u32", 512),
    "llama.context_length": ("u32", 8192),
    "llama.attention.head_count": ("u32", 4),
    "llama.attention.head_count_kv": ("u32", 2),
    "llama.rope.freq_base": ("f32", 5e5),
    "llama.rope.dimension_count": ("u32", 64),
    "tokenizer.ggml.model": ("str", "gpt2"),
    "tokenizer.ggml.tokens": ("array", ("str", ["a", "bc", "d" * 5000] + ["x"] * 93)),
    "tokenizer.ggml.scores": ("array", ("f32", [0.0] * 96)),
}
"""A small Llama with 96 tokens."""


def llama_tensors(layers=2, kind="Q4_K"):
    """Its tensors in llama.cpp's names."""
    made = [("token_embd.weight", (256, 96), "Q6_K"), ("output_norm.weight", (256,), "F32")]
    for number in range(layers):
        made += [
            (f"blk.{number}.attn_norm.weight", (256,), "F32"),
            (f"blk.{number}.attn_q.weight", (256, 256), kind),
            (f"blk.{number}.attn_k.weight", (256, 128), kind),
            (f"blk.{number}.attn_v.weight", (256, 128), "Q6_K"),
            (f"blk.{number}.attn_output.weight", (256, 256), kind),
            (f"blk.{number}.ffn_gate.weight", (256, 512), kind),
            (f"blk.{number}.ffn_up.weight", (256, 512), kind),
            (f"blk.{number}.ffn_down.weight", (512, 256), kind),
        ]
    return made


def hugging_face_tensors(layers=2, dtype="BF16"):
    """The same in Hugging Face's names, with a head of its own."""
    made = [("model.embed_tokens.weight", dtype, (96, 256)), ("model.norm.weight", dtype, (256,))]
    made.append(("lm_head.weight", dtype, (96, 256)))
    for number in range(layers):
        at = f"model.layers.{number}"
        made += [
            (f"{at}.input_layernorm.weight", dtype, (256,)),
            (f"{at}.self_attn.q_proj.weight", dtype, (256, 256)),
            (f"{at}.self_attn.k_proj.weight", dtype, (128, 256)),
            (f"{at}.self_attn.v_proj.weight", dtype, (128, 256)),
            (f"{at}.self_attn.o_proj.weight", dtype, (256, 256)),
            (f"{at}.mlp.gate_proj.weight", dtype, (512, 256)),
            (f"{at}.mlp.up_proj.weight", dtype, (512, 256)),
            (f"{at}.mlp.down_proj.weight", dtype, (256, 512)),
        ]
    return made
