"""Small GGUF files of random weights, which llama.cpp loads and runs: what `engine_runs` starts it with.

Weights are drawn from a seed, so that a model's tokens repeat. `empty` leaves them out: the file has
the same metadata, tensors and length, and takes no room where files may have holes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

SEED = 11
BYTE_TOKENS = 256
SPECIAL = ("<unk>", "<s>", "</s>")


class Shape(NamedTuple):
    """A model of the Llama family; of experts, of Mixtral's."""

    layers: int
    weights: GGMLQuantizationType
    """Of matrices; vectors, and the router of experts, stay in FP32."""
    hidden: int = 512
    heads: int = 8
    kv_heads: int = 2
    width: int = 1408
    """Of the feed-forward part, or of an expert."""
    vocabulary: int = 4096
    tied: bool = False
    """Whether the head is the table of token embeddings."""
    experts: int = 0
    used: int = 2
    """Experts of a token."""
    context: int = 2048


SHAPES = {
    "dense-f16": Shape(12, GGMLQuantizationType.F16),
    "dense-q8_0": Shape(16, GGMLQuantizationType.Q8_0),
    "tied-q4_0": Shape(10, GGMLQuantizationType.Q4_0, vocabulary=8192, tied=True),
    "experts-q8_0": Shape(8, GGMLQuantizationType.Q8_0, width=704, experts=8),
}
FILE_TYPES = {
    GGMLQuantizationType.F16: gguf.LlamaFileType.MOSTLY_F16,
    GGMLQuantizationType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    GGMLQuantizationType.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
}


def write_random_gguf(path: Path, shape: Shape, *, empty: bool = False) -> Path:
    """Write the file of a model, whole or not at all; give its path."""
    being_made = path.with_name(f"{path.name}.part")
    writer = gguf.GGUFWriter(being_made, "llama")
    try:
        _tell(writer, shape)
        _tell_vocabulary(writer, shape.vocabulary)
        _write_tensors(writer, shape, empty=empty)
        writer.close()
        if empty:
            _stretch(being_made, shape)
        being_made.replace(path)
    finally:
        being_made.unlink(missing_ok=True)
    return path


def _tell(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("random")
    writer.add_file_type(FILE_TYPES[shape.weights])
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.used)


def _tell_vocabulary(writer: gguf.GGUFWriter, count: int) -> None:
    """Special tokens, a token for each byte, and made-up words, as SentencePiece has them."""
    of_bytes = [f"<0x{number:02X}>" for number in range(BYTE_TOKENS)]
    words = [f"w{number}" for number in range(count - len(SPECIAL) - BYTE_TOKENS)]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * BYTE_TOKENS
    kinds += [gguf.TokenType.NORMAL] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*SPECIAL, *of_bytes, *words])
    writer.add_token_scores([-float(number) for number in range(count)])
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def tensors_of(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], GGMLQuantizationType]]:
    """Name, shape and type of each tensor; the innermost axis comes last."""
    plain = GGMLQuantizationType.F32
    hidden, width = shape.hidden, shape.width
    kept = hidden // shape.heads * shape.kv_heads
    yield "token_embd.weight", (shape.vocabulary, hidden), shape.weights
    yield "output_norm.weight", (hidden,), plain
    if not shape.tied:
        yield "output.weight", (shape.vocabulary, hidden), shape.weights
    many = (shape.experts,) if shape.experts else ()
    of_experts = "_exps" if shape.experts else ""
    for number in range(shape.layers):
        layer = f"blk.{number}"
        yield f"{layer}.attn_norm.weight", (hidden,), plain
        yield f"{layer}.attn_q.weight", (hidden, hidden), shape.weights
        yield f"{layer}.attn_k.weight", (kept, hidden), shape.weights
        yield f"{layer}.attn_v.weight", (kept, hidden), shape.weights
        yield f"{layer}.attn_output.weight", (hidden, hidden), shape.weights
        yield f"{layer}.ffn_norm.weight", (hidden,), plain
        if shape.experts:
            yield f"{layer}.ffn_gate_inp.weight", (shape.experts, hidden), plain
        yield f"{layer}.ffn_gate{of_experts}.weight", (*many, width, hidden), shape.weights
        yield f"{layer}.ffn_up{of_experts}.weight", (*many, width, hidden), shape.weights
        yield f"{layer}.ffn_down{of_experts}.weight", (*many, hidden, width), shape.weights


def bytes_of(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    """Of a tensor."""
    values, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // values * size


def _write_tensors(writer: gguf.GGUFWriter, shape: Shape, *, empty: bool) -> None:
    draw = np.random.default_rng(SEED)
    for name, axes, kind in tensors_of(shape):
        if empty:
            # Of a quantised tensor the writer takes the shape in bytes.
            counted = gguf.quant_shape_to_byte_shape(axes, kind) if _is_packed(kind) else axes
            dtype = np.dtype(np.uint8 if _is_packed(kind) else PLAIN[kind])
            writer.add_tensor_info(name, counted, dtype, bytes_of(axes, kind), raw_dtype=kind)
            continue
        drawn = _drawn(draw, axes)
        packed = drawn if kind == GGMLQuantizationType.F32 else gguf.quants.quantize(drawn, kind)
        writer.add_tensor(name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    if empty:
        writer.write_ti_data_to_file()
    else:
        writer.write_tensors_to_file()


PLAIN = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}


def _is_packed(kind: GGMLQuantizationType) -> bool:
    return kind not in PLAIN


def _drawn(draw: np.random.Generator, axes: tuple[int, ...]) -> "np.ndarray":
    """Norms of about one; matrices that keep the size of what goes through them."""
    if len(axes) == 1:
        return 1.0 + 0.1 * draw.standard_normal(axes, dtype=np.float32)
    return draw.standard_normal(axes, dtype=np.float32) / np.float32(np.sqrt(axes[-1]))


def _stretch(path: Path, shape: Shape) -> None:
    """To the length that the tensors would give the file."""
    alignment = gguf.GGUF_DEFAULT_ALIGNMENT
    length = -(-path.stat().st_size // alignment) * alignment
    for _, axes, kind in tensors_of(shape):
        length += -(-bytes_of(axes, kind) // alignment) * alignment
    with path.open("r+b") as stream:
        stream.truncate(length)
