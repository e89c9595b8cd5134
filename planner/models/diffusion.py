"""Diffusion models: a shape (what papers and config.json files state) and the layer graph that it
stands for.

A sample is made in three parts: its text is encoded once, a denoiser (a transformer over patches of
the latent picture, or a UNet over the picture itself) runs in every step, and an autoencoder
decodes the result once. All three are ordinary operators; those that work on another number of
tokens than the patches say so in `tokens_factor`.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.models.autoencoder import Autoencoder
from planner.models.operators import Width
from planner.records import Record

Some = Annotated[int, Field(ge=0, le=100_000_000)]
Many = Annotated[int, Field(ge=1, le=100_000)]

MOST = {"height": 65_536, "width": 65_536, "frames": 100_000, "steps": 100_000}


class TextEncoder(Record):
    """A transformer that reads the prompt once."""

    name: str
    layers: Many
    hidden: Width
    heads: Width
    kv_heads: Width
    head_dim: Width
    ffn: Width
    matrices: Annotated[int, Field(ge=2, le=3)]
    vocabulary: Width
    causal: bool = False
    prompt_tokens: Width
    """To which every prompt is padded."""


class UNetLevel(Record):
    """One resolution of a UNet, half of the one before."""

    channels: Width
    heads: Width
    transformers: Some = 0
    """Transformer blocks after each residual block; 0: none."""


class UNet(Record):
    """A denoiser of residual blocks and transformers over the latent picture itself, at falling,
    then rising resolutions."""

    kind: Literal["unet"] = "unet"
    levels: Annotated[tuple[UNetLevel, ...], Field(min_length=1)]
    """Finest first."""
    residual_blocks: Many = 2
    """In each level on the way down; one more on the way up."""

    @property
    def sees_text(self) -> bool:
        """By cross attention, in the transformers of its levels."""
        return True


class Transformer(Record):
    """A denoiser of blocks over patches of the latent picture."""

    kind: Literal["transformer"] = "transformer"
    hidden: Width
    heads: Width
    head_dim: Width
    ffn: Width
    matrices: Annotated[int, Field(ge=2, le=3)] = 2
    """Of a feed-forward layer: 3 with a gate, 2 without."""
    depthwise: bool = False
    """Whether the feed-forward layer has a depthwise convolution of 3 × 3 inside."""
    linear_attention: bool = False

    layers: Some = 0
    """Blocks over one stream of tokens."""
    text: Literal["none", "cross", "joined"] = "none"
    """How those blocks see the text: not at all, by cross attention, or as more tokens of the
    stream."""
    skips: Some = 0
    """Blocks that take in the output of an early one."""

    double_layers: Some = 0
    """Blocks with weights of their own for picture and text, and attention over both."""
    single_layers: Some = 0
    """Blocks over picture and text, with the feed-forward part beside attention."""
    dual_layers: Some = 0
    """Double blocks with a second attention, over the picture alone."""
    text_ends_early: bool = False
    """Whether the last double block leaves the text as it is."""
    refiner_layers: Some = 0
    """Blocks over the text alone, in every step."""

    modulation: Some = 0
    """Vectors by which each block over one stream is modulated, made in the block; double and
    single blocks make their own, unless there are shared ones."""
    shared_modulation: Some = 0
    """Those that are made once for all blocks, and for the final norm."""
    modulation_inputs: Some = 0
    """Width of what they are made from; 0: `hidden`."""
    classes: Some = 0
    position_table: Some = 0
    """Entries of a table of positions that is stored as weights."""

    @model_validator(mode="after")
    def check_blocks(self) -> Self:
        if not (self.layers or self.double_layers):
            raise InputError(
                "Transformer.layers: a diffusion transformer needs layers or double_layers"
            )
        return self

    @property
    def sees_text(self) -> bool:
        return self.text != "none" or self.double_layers > 0

    @property
    def width(self) -> int:
        """Of all heads together."""
        return self.heads * self.head_dim

    @property
    def modulated_from(self) -> int:
        """Width of what modulation is made from."""
        return self.modulation_inputs or self.hidden


Denoiser = Annotated[Transformer | UNet, Field(discriminator="kind")]


class Conditions(Record):
    """What a sample is made to fit: a text, a class, the time step."""

    vectors: tuple[Width, ...] = ()
    """Widths of what conditions the whole sample: the time step, a class, a pooled text."""
    text_tokens: Some = 0
    text_widths: tuple[Width, ...] = ()
    """From what the encoders give, through the projections, to what the blocks read."""


class Picture(Record):
    """What is made: pixels, frames, steps."""

    height: Many = 1024
    width: Many = 1024
    frames: Many = 1
    steps: Many = 50


class Latent(Record):
    """What the denoiser works on: values of the autoencoder, cut into patches."""

    channels: Width
    output_channels: Some = 0
    """0: as many as come in."""
    patch: Many = 1
    """Values along each edge of a patch."""
    patch_frames: Many = 1
    compression: Many = 8
    """Pixels for one latent value, along an edge."""
    frame_compression: Many = 1
    """Frames for one latent frame, after a first one of its own."""
    chunk_frames: Some = 0
    """Where frames are compressed in chunks: their length, and what they become."""
    chunk_latents: Some = 0

    @property
    def patch_values(self) -> int:
        """Places in one patch, each with a value in every channel."""
        return self.patch**2 * self.patch_frames

    def frames_of(self, frames: int) -> int:
        """Frames of the latent video."""
        if self.chunk_frames:
            return max(1, frames // self.chunk_frames * self.chunk_latents)
        return 1 + math.ceil((frames - 1) / self.frame_compression)

    def tokens_of(self, picture: Picture) -> int:
        """Patches of one sample."""
        edge = self.compression * self.patch
        rows = math.ceil(picture.height / edge)
        columns = math.ceil(picture.width / edge)
        frames = math.ceil(self.frames_of(picture.frames) / self.patch_frames)
        return rows * columns * frames


class DiffusionShape(Record):
    """The numbers that make a diffusion model."""

    denoiser: Denoiser
    denoisers: Annotated[int, Field(ge=1, le=2)] = 1
    """Two take turns over the steps; both are held."""
    guidance_passes: Annotated[int, Field(ge=1, le=2)] = 2
    """Of each sample in a step: 2 with classifier-free guidance, 1 where it is distilled."""
    conditions: Conditions = Conditions()
    latent: Latent
    picture: Picture = Picture()
    """What is made where nobody says otherwise."""
    encoders: tuple[TextEncoder, ...] = ()
    autoencoder: Autoencoder | None = None
    """None: it runs elsewhere, as the text encoders then do."""

    @model_validator(mode="after")
    def check_text(self) -> Self:
        told = self.conditions.text_tokens and self.conditions.text_widths
        if self.denoiser.sees_text and not told:
            raise InputError(
                "DiffusionShape.conditions: a model that sees a text needs text_tokens and"
                " text_widths"
            )
        return self


def picture_of(shape: DiffusionShape, name: str, given: dict[str, Any]) -> Picture:
    """The picture that is asked for, checked; what is not given is as the model makes it by
    default."""
    asked = {field: value for field, value in given.items() if value is not None}
    for field, value in asked.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= MOST[field]:
            raise InputError(
                f"{field} must be a whole number between 1 and {MOST[field]}, not {value!r}"
            )
    if shape.picture.frames == 1 and asked.get("frames", 1) > 1:
        raise InputError(f"frames is {asked['frames']}, but {name} makes pictures; leave it out")
    return shape.picture.replace(**asked)
