"""The decoder of an autoencoder: from latent values to the pixels of a picture or a video, in
convolutions."""

import math
from typing import Annotated

from pydantic import Field

from planner.models.graph import Layer
from planner.models.operators import (
    Attention,
    LayerOperator,
    MatMul,
    Pointwise,
    Width,
    plain_attention,
)
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
        self.shape = shape
        self.latent_factor = latent_factor
        self.frames = frames
        self.dtype = dtype

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
                "name": name,
                "inputs": inputs,
                "outputs": outputs,
                "split": "none",
                "weight_dtype": self.dtype,
                "compute_dtype": self.dtype,
                "positions": positions,
                "tokens_factor": self.factor(level),
            }
        )

    def convolution(self, name: str, inputs: int, outputs: int, level: int) -> MatMul:
        return self.matmul(name, inputs, outputs, level, self.shape.positions)

    def norm(self, width: int, level: int) -> Pointwise:
        return Pointwise(name="norm", width=width, tokens_factor=self.factor(level))

    def attention(self, width: int, level: int, keys: int) -> Attention:
        """One head over each frame (pairs within frames are fewer by their number), or over a
        state of so many keys."""
        # The factor stands in the pairs squared, and pairs are to be fewer by the frames alone.
        apart = 1.0 if keys else math.sqrt(self.frames)
        return plain_attention(
            "attention",
            1,
            width,
            kv_dtype=self.dtype,
            compute_dtype=self.dtype,
            causal=False,
            cached=False,
            fixed_tokens=keys,
            linear=keys > 0,
            tokens_factor=self.factor(level) / apart,
        )

    def residual(self, inputs: int, outputs: int, level: int) -> list[LayerOperator]:
        operators: list[LayerOperator] = [
            self.norm(inputs, level),
            self.convolution("convolution in", inputs, outputs, level),
            self.norm(outputs, level),
            self.convolution("convolution out", outputs, outputs, level),
        ]
        if inputs != outputs:
            operators.append(self.matmul("shortcut", inputs, outputs, level))
        return operators

    def middle(self, width: int) -> list[LayerOperator]:
        """Attention over the latent picture, between two residual blocks."""
        return [
            *self.residual(width, width, 0),
            self.norm(width, 0),
            self.matmul("query key value", width, 3 * width, 0),
            self.attention(width, 0, 0),
            self.matmul("attention output", width, width, 0),
            *self.residual(width, width, 0),
        ]

    def linear_block(self, width: int, level: int) -> list[LayerOperator]:
        """Linear attention at two scales, then a gated feed-forward part with a depthwise
        convolution."""
        return [
            self.matmul("query key value", width, 3 * width, level),
            self.attention(2 * width, level, 32),
            self.matmul("attention output", 2 * width, width, level),
            self.matmul("ffn up", width, 8 * width, level),
            Pointwise(
                name="ffn convolution",
                width=8 * width,
                weights=72 * width,
                flop_per_value=18,
                tokens_factor=self.factor(level),
            ),
            self.matmul("ffn down", 4 * width, width, level),
        ]

    def block(self, inputs: int, outputs: int, level: int) -> list[LayerOperator]:
        """Of a level: linear attention innermost where there is any, else a residual block."""
        if level < self.shape.linear_levels:
            return self.linear_block(outputs, level)
        return self.residual(inputs, outputs, level)

    def width_after(self, level: int, channels: int) -> int:
        """To how many channels the doubling at the end of a level goes."""
        if self.shape.narrowing:
            return channels // 2
        # Blocks of linear attention keep their width, and so the doubling itself must change it;
        # a residual block does that at the start of the next level.
        if self.shape.linear_levels:
            return self.shape.channels[level + 1]
        return channels


def autoencoder_layer(shape: Autoencoder, latent_factor: float, frames: int, dtype: str) -> Layer:
    """The decoder as one layer that runs once for each sample; `latent_factor` is latent values
    for one token."""
    maker = _Maker(shape, latent_factor, frames, dtype)
    inputs = shape.channels[0]
    operators: list[LayerOperator] = [maker.convolution("in", shape.latent_channels, inputs, 0)]
    if shape.middle:
        operators += maker.middle(inputs)

    last = len(shape.channels) - 1
    for level, channels in enumerate(shape.channels):
        for _ in range(shape.residual_blocks):
            operators += maker.block(inputs, channels, level)
            inputs = channels
        if level < last:
            outputs = maker.width_after(level, inputs)
            operators.append(maker.convolution("doubling", inputs, outputs, level + 1))
            inputs = outputs

    operators += [maker.norm(inputs, last), maker.convolution("out", inputs, 3, last)]
    return Layer(
        name="autoencoder",
        kind="autoencoder",
        operators=tuple(operators),
        activation_width=3,
        runs_per_sample=1,
    )
