"""The decoder of an autoencoder, against counts that are known."""

import pytest

import planner as pl
from planner.catalogue import diffusion_shape
from planner.models.autoencoder import Autoencoder, autoencoder_layer


def decoder_of(name, **picture):
    graph = pl.load_model(name, **picture)
    return next(
        layer for layer in graph.layers if layer.kind == "autoencoder"
    ), graph.tokens_per_sample


def test_the_decoder_of_stable_diffusion_has_49_million_parameters():
    """49.5 M: decoder of AutoencoderKL with channels 128, 256, 512, 512 (of the checkpoint, from
    memory)."""
    assert decoder_of("sdxl")[0].parameters == pytest.approx(49.5e6, rel=0.01)


def test_one_convolution_multiplies_as_a_person_counts():
    shape = Autoencoder(
        name="tiny", latent_channels=4, channels=(8,), residual_blocks=1, middle=False
    )
    layer = autoencoder_layer(shape, 1.0, 1, "bf16")
    convolutions = 9 * (4 * 8 + 8 * 8 + 8 * 8 + 8 * 3)
    norms = 4 * (8 + 8 + 8)
    assert layer.flop(100.0, 50.0, 1.0) == pytest.approx(100 * (2 * convolutions + norms))


def test_four_times_the_pixels_are_four_times_the_convolutions():
    (small, few), (large, many) = decoder_of("sdxl", height=512, width=512), decoder_of("sdxl")
    ratio = large.flop(many, many / 2, 1.0) / small.flop(few, few / 2, 1.0)
    assert 4 < ratio < 4.6  # attention in the middle grows faster


def test_a_first_frame_stays_one():
    shape = diffusion_shape("hunyuan-video").autoencoder
    picture, video = (
        autoencoder_layer(shape, 1.0, frames, "bf16").operators[-1].tokens_factor
        for frames in (1, 33)
    )
    assert picture == 64
    assert video == pytest.approx(64 * 129 / 33)


def test_a_decoder_runs_once_for_a_sample():
    assert decoder_of("sdxl")[0].runs_per_sample == 1
