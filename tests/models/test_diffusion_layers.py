"""Layers of diffusion models do the work that papers and people count."""

import pytest

import planner as pl
from planner.models.operators import Attention
from tests.models.test_diffusion import PUBLISHED


def macs(graph, *, scores=True):
    """Multiply-accumulates of one pass of one sample through the denoiser."""
    tokens = graph.tokens_per_sample
    return 0.5 * sum(
        float(operator.demand().flop(tokens, tokens / 2, 1.0, False))
        for layer in graph.layers
        if layer.runs_per_sample is None
        for operator in layer.operators
        if scores or not isinstance(operator, Attention)
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_denoisers_have_the_parameters_that_are_published(name):
    assert pl.load_model(name).parameters_active == pytest.approx(1e9 * PUBLISHED[name], rel=0.03)


@pytest.mark.parametrize("name", ["flux-2", "qwen-image"])
def test_denoisers_of_today_have_their_parameters_to_a_thousandth(name):
    assert pl.load_model(name).parameters_active == pytest.approx(1e9 * PUBLISHED[name], rel=1e-3)


def test_dit_xl_2_multiplies_as_often_as_in_its_paper():
    """118.64 G at 256 × 256, 524.6 G at 512 × 512: arXiv 2212.09748, tables 1 and 4."""
    assert macs(pl.load_model("dit-xl-2")) == pytest.approx(118.64e9, rel=0.01)
    assert macs(pl.load_model("dit-xl-2", height=512, width=512)) == pytest.approx(
        524.6e9, rel=0.01
    )


def test_the_unet_of_sdxl_multiplies_as_often_as_profilers_count():
    """About 2.99 T at 1024 × 1024; profilers leave the scores of attention out (from memory)."""
    assert macs(pl.load_model("sdxl"), scores=False) == pytest.approx(2.99e12, rel=0.02)


def test_flux_multiplies_as_often_as_a_person_counts():
    graph, hidden, text, picture = pl.load_model("flux-1"), 3072, 512, 4096
    both = text + picture
    linear = 19 * 12 * hidden**2 * both + 38 * 12 * hidden**2 * both
    scores = 57 * 2 * hidden * both**2
    assert macs(graph) == pytest.approx(linear + scores, rel=0.01)


def test_flux_2_multiplies_as_often_as_a_person_counts():
    """Gated feed-forward parts of three widths: 4 + 9 h² for a token of either stream in a double
    block, and as many in a single one, whose matrices are fused."""
    graph, hidden, both = pl.load_model("flux-2"), 6144, 512 + 4096
    linear = (8 + 48) * 13 * hidden**2 * both
    scores = (8 + 48) * 2 * hidden * both**2
    assert macs(graph) == pytest.approx(linear + scores, rel=0.01)


def test_modulation_for_all_blocks_is_made_once():
    graph = pl.load_model("flux-2")
    made = {
        operator.name: operator.outputs
        for layer in graph.layers
        for operator in layer.operators
        if "modulation" in operator.name
    }
    assert made == {"shared modulation": (6 + 6 + 3 + 2) * 6144}


def test_qwen_image_multiplies_as_often_as_a_person_counts():
    graph, hidden, both = pl.load_model("qwen-image"), 3072, 512 + 4096
    expected = 60 * (12 * hidden**2 * both + 2 * hidden * both**2)
    assert macs(graph) == pytest.approx(expected, rel=0.01)


def test_a_stand_in_says_on_what_it_stands():
    sora, hunyuan = pl.load_model("sora"), pl.load_model("hunyuan-video")
    assert sora.parameters == hunyuan.parameters
    assert sora.confidence == "guess"
    assert "nothing of Sora's shape is published" in sora.source
    assert "HunyuanVideo" in sora.source
    assert sora.tokens_per_sample == 45 * 80 * 31


def test_wan_attends_over_all_frames():
    graph = pl.load_model("wan-2.1-14b", height=720, width=1280, frames=81)
    assert graph.tokens_per_sample == 45 * 80 * 21
    scores = 40 * 2 * 5120 * (graph.tokens_per_sample**2 + 512 * graph.tokens_per_sample)
    assert macs(graph) - macs(graph, scores=False) == pytest.approx(scores)


def test_linear_attention_grows_with_the_tokens_and_not_with_their_pairs():
    small, large = (pl.load_model("sana-1.6b", height=edge, width=edge) for edge in (1024, 4096))
    assert large.tokens_per_sample == 16 * small.tokens_per_sample
    assert macs(large) / macs(small) < 16


def test_a_second_denoiser_is_held_and_not_run():
    one, two = pl.load_model("wan-2.1-14b"), pl.load_model("wan-2.2-a14b")
    assert macs(two) == macs(one)
    held = sum(layer.parameters for layer in two.layers if layer.runs_per_sample != 1)
    assert held == pytest.approx(2 * one.parameters_active)


def test_only_the_denoiser_is_quantised():
    graph = pl.load_model("flux-1", weight_dtype="fp8")
    stored = {
        dtype
        for layer in graph.layers
        if layer.runs_per_sample
        for dtype in layer.weight_bytes_by_dtype()
    }
    assert stored == {"bf16"}
    assert graph.weight_bytes < 0.7 * pl.load_model("flux-1", weight_dtype="bf16").weight_bytes
