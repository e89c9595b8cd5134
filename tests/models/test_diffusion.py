"""Diffusion models: parameters and operations as published, tokens of pictures and videos."""

import csv
import math
from pathlib import Path

import pytest

import planner as pl
from planner.catalogue import diffusion_shape, diffusion_table
from planner.models.diffusion import (
    DiffusionShape,
    Latent,
    Picture,
    Transformer,
    UNet,
    UNetLevel,
)

with (Path(__file__).parent.parent / "data" / "diffusion_parameters.csv").open() as table:
    PUBLISHED = {row["model"]: float(row["parameters_billion"]) for row in csv.DictReader(table)}


def test_every_diffusion_model_has_a_published_count():
    assert set(PUBLISHED) == set(diffusion_table())


@pytest.mark.parametrize(
    ("name", "picture", "tokens"),
    [
        ("dit-xl-2", {}, 256),
        ("flux-1", {}, 4096),
        ("sana-1.6b", {}, 1024),
        ("flux-1", {"height": 2048, "width": 1024}, 8192),
        ("sdxl", {}, 128 * 128),
        ("hunyuan-video", {}, 118_800),
        ("cogvideox-2b", {}, 17_550),
        ("cogvideox-1.5-5b", {"frames": 81}, 48 * 85 * 11),
        ("step-video-30b", {}, 34 * 62 * 36),
    ],
)
def test_a_picture_has_the_tokens_that_a_person_counts(name, picture, tokens):
    assert pl.load_model(name, **picture).tokens_per_sample == tokens


def test_a_video_keeps_its_first_frame():
    wan = diffusion_shape("wan-2.1-14b").latent
    assert [wan.frames_of(frames) for frames in (1, 5, 81)] == [1, 2, 21]


def test_a_video_in_chunks_has_so_many_latent_frames_for_each():
    assert diffusion_shape("step-video-30b").latent.frames_of(204) == 204 // 17 * 3


def test_a_picture_that_does_not_divide_into_patches_has_one_more_along_that_edge():
    latent = Latent(channels=4, patch=2, compression=8)
    assert latent.tokens_of(Picture(height=64, width=64)) == 4 * 4
    assert latent.tokens_of(Picture(height=65, width=64)) == 5 * 4


def test_text_encoders_have_the_parameters_that_are_published():
    """T5-XXL encoder 4.76 B, CLIP-L 123 M, OpenCLIP bigG 695 M, umT5-XXL 5.68 B: of the
    checkpoints, from memory. Qwen2.5-VL's text tower is that of Qwen2 7B (7,615,616,512) without a
    head of 152,064 × 3584; Mistral Small's 40 × 555.7 M and an embedding, by hand."""

    def count(model, encoder):
        return sum(
            layer.parameters
            for layer in pl.load_model(model).layers
            if layer.name.startswith(f"{encoder} ")
        )

    assert count("flux-1", "t5-xxl") == pytest.approx(4.76e9, rel=0.01)
    assert count("sdxl", "clip-l") == pytest.approx(123e6, rel=0.01)
    assert count("sdxl", "clip-bigg") == pytest.approx(695e6, rel=0.02)
    assert count("wan-2.1-14b", "umt5-xxl") == pytest.approx(5.68e9, rel=0.01)
    qwen = 7_615_616_512 - 152_064 * 3584
    assert count("qwen-image", "qwen2.5-vl-7b") == pytest.approx(qwen, rel=1e-3)
    layer = 5120 * (2 * 4096 + 2 * 1024) + 3 * 5120 * 32768
    mistral = 40 * layer + 131_072 * 5120
    assert count("flux-2", "mistral-small-3.2-24b") == pytest.approx(mistral, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "picture", "words"),
    [
        ("llama-3.1-8b", {"height": 512}, "height is for diffusion models"),
        ("llama-3.1-8b", {"steps": 5}, "steps is for diffusion models"),
        ("sdxl", {"frames": 16}, "frames is 16, but sdxl makes pictures"),
        ("sdxl", {"steps": 0}, "steps must be a whole number between 1 and 100000"),
        ("sdxl", {"width": 0.5}, "width must be a whole number"),
        ("sdxl", {"height": True}, "height must be a whole number"),
    ],
)
def test_a_wrong_picture_gets_one_sentence(name, picture, words):
    with pytest.raises(pl.InputError, match=words) as refused:
        pl.load_model(name, **picture)
    assert "\n" not in str(refused.value)


def test_a_transformer_without_blocks_is_refused():
    with pytest.raises(pl.InputError, match="needs layers or double_layers"):
        Transformer(hidden=64, heads=1, head_dim=64, ffn=256)


def test_a_transformer_without_a_width_is_refused():
    with pytest.raises(pl.InputError, match=r"^Transformer\.hidden is missing"):
        Transformer(layers=2)


LEVEL = UNetLevel(channels=320, heads=5)


@pytest.mark.parametrize(
    "denoiser",
    [
        UNet(levels=(LEVEL,)),
        Transformer(hidden=64, heads=1, head_dim=64, ffn=256, layers=1, text="cross"),
        Transformer(hidden=64, heads=1, head_dim=64, ffn=256, double_layers=1),
    ],
)
def test_a_denoiser_that_sees_a_text_needs_one(denoiser):
    with pytest.raises(pl.InputError, match="needs text_tokens and text_widths"):
        DiffusionShape(denoiser=denoiser, latent=Latent(channels=4))


def test_a_denoiser_that_sees_no_text_needs_none():
    denoiser = Transformer(hidden=64, heads=1, head_dim=64, ffn=256, layers=1)
    shape = DiffusionShape(denoiser=denoiser, latent=Latent(channels=4))
    assert shape.conditions.text_tokens == 0


def test_a_field_of_the_other_kind_of_denoiser_is_refused_by_name():
    fields = {"kind": "unet", "levels": [{"channels": 320, "heads": 5}], "hidden": 64}
    with pytest.raises(pl.InputError, match=r"denoiser\.hidden is not a field of it"):
        DiffusionShape.from_fields({"denoiser": fields, "latent": {"channels": 4}})


def test_a_shape_comes_back_from_json_with_its_kind_of_denoiser():
    for name in ("sdxl", "flux-1"):
        shape = diffusion_shape(name)
        assert DiffusionShape.from_json(shape.to_json()) == shape


def test_the_factors_of_a_text_are_those_of_its_tokens():
    block = next(layer for layer in pl.load_model("flux-1").layers if layer.kind == "double")
    factors = {
        operator.tokens_factor for operator in block.operators if operator.kind != "embedding"
    }
    assert {factor for factor in factors if not math.isclose(factor, 1.0)} == {
        512 / 4096,
        1 + 512 / 4096,
    }
