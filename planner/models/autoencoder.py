"""The decoder of an autoencoder: from latent values to the pixels of a picture or a video, in
convolutions."""

import math
from typing import Annotated

from pydantic import Field

from planner.models.graph import Layer
from planner.models.operators import Attention, LayerOperator, MatMul, Pointwise, Width
from planner.records import Record


class Autoencoder(Record):
    """The numbers that make the decoding half; levels are counted from the latent picture
    outwards."""

    name: str
    latent_channels: Width
    channels: Annotated[tuple[Width, ...], Field(min_length=1)]
    """Of each level; the picture doubles along both edges between two."""
    residual_blocks: Width
    """In each level."""
    positions: Width = 9
    """That a convolution sees: 9 in a picture, 27 in a video."""
    frame_doublings: Annotated[int, Field(ge=0, le=8)] = 0
    """Levels before whose end the frames double too."""
    linear_levels: Annotated[int, Field(ge=0, le=16)] = 0
    """Innermost levels with blocks of linear attention in place of residual ones."""
    middle: bool = True
    """Whether two residual blocks, with attention between them, stand before the levels."""
    narrowing: bool = False
    """Whether a doubling halves the channels."""


class _Maker:
    def __init__(self, shape: Autoencoder, latent_factor: float, frames: int, dtype: str) -> None:
        self.shape, self.latent_factor, self.frames, self.dtype = (
            shape,
            latent_factor,
            frames,
            dtype,
        )

    def factor(self, level: int) -> float:
        """Values at a level for one token of the denoiser: a first frame of a video stays one."""
        doublings = min(level, self.shape.frame_doublings)
        frames: int = 1 + (self.frames - 1) * 2**doublings
        grown = self.latent_factor * 4**level * frames / self.frames
        return float(grown)

    def matmul(
        self, name: str, inputs: int, outputs: int, level: int, positions: int = 1
    ) -> MatMul:
        return MatMul.from_fields(
            {
                "name": name, "inputs": inputs, "outputs": outputs, "split": "none", "weight_dtype": self.dtype,
                "compute_dtype": self.dtype, "positions": positions, "tokens_factor": self.factor(level),
            }
        )  # fmt: skip

    def convolution(self, name: str, inputs: int, outputs: int, level: int) -> MatMul:
        return self.matmul(name, inputs, outputs, level, self.shape.positions)

    def norm(self, width: int, level: int) -> Pointwise:
        return Pointwise(name="norm", width=width, tokens_factor=self.factor(level))

    def attention(self, width: int, level: int, keys: int) -> Attention:
        """One head over each frame (pairs within frames are fewer by their number), or over a
        state of so many keys."""
        return Attention.from_fields(
            {
                "name": "attention", "heads": 1, "kv_heads": 1, "key_width": width, "value_width": width,
                "cached_width": 2 * width, "decode_key_width": width, "decode_value_width": width, "kv_dtype": self.dtype,
                "compute_dtype": self.dtype, "causal": False, "cached": False, "fixed_tokens": keys,
                "tokens_factor": self.factor(level) / (1.0 if keys else math.sqrt(self.frames)),
            }
        )  # fmt: skip

    def residual(self, inputs: int, outputs: int, level: int) -> list[LayerOperator]:
        shortcut = [self.matmul("shortcut", inputs, outputs, level)] if inputs != outputs else []
        return [
            self.norm(inputs, level), self.convolution("convolution in", inputs, outputs, level),
            self.norm(outputs, level), self.convolution("convolution out", outputs, outputs, level), *shortcut,
        ]  # fmt: skip

    def linear_block(self, width: int, level: int) -> list[LayerOperator]:
        """Linear attention at two scales, then a gated feed-forward part with a depthwise
        convolution."""
        return [
            self.matmul("query key value", width, 3 * width, level),
            self.attention(2 * width, level, 32),
            self.matmul("attention output", 2 * width, width, level),
            self.matmul("ffn up", width, 8 * width, level),
            Pointwise(name="ffn convolution", width=8 * width, weights=72 * width, flop_per_value=18,
                      tokens_factor=self.factor(level)),
            self.matmul("ffn down", 4 * width, width, level),
        ]  # fmt: skip


def autoencoder_layer(shape: Autoencoder, latent_factor: float, frames: int, dtype: str) -> Layer:
    """The decoder as one layer that runs once for each sample; `latent_factor` is latent values
    for one token."""
    maker = _Maker(shape, latent_factor, frames, dtype)
    inputs = shape.channels[0]
    operators: list[LayerOperator] = [maker.convolution("in", shape.latent_channels, inputs, 0)]
    if shape.middle:
        operators += [
            *maker.residual(inputs, inputs, 0), maker.norm(inputs, 0), maker.matmul("query key value", inputs, 3 * inputs, 0),
            maker.attention(inputs, 0, 0), maker.matmul("attention output", inputs, inputs, 0),
            *maker.residual(inputs, inputs, 0),
        ]  # fmt: skip
    for level, channels in enumerate(shape.channels):
        for _ in range(shape.residual_blocks):
            linear = level < shape.linear_levels
            operators += (
                maker.linear_block(channels, level)
                if linear
                else maker.residual(inputs, channels, level)
            )
            inputs = channels
        if level < len(shape.channels) - 1:
            outputs = (
                inputs // 2
                if shape.narrowing
                else shape.channels[level + 1]
                if shape.linear_levels
                else inputs
            )
            operators.append(maker.convolution("doubling", inputs, outputs, level + 1))
            inputs = outputs
    last = len(shape.channels) - 1
    operators += [maker.norm(inputs, last), maker.convolution("out", inputs, 3, last)]
    return Layer(
        name="autoencoder",
        kind="autoencoder",
        operators=tuple(operators),
        activation_width=3,
        runs_per_sample=1,
    )
