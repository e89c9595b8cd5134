"""Tests of random models in GGUF: what the product reads of them is what was written."""

import gguf
import pytest

import planner as pl
from benchmarks.random_gguf import SHAPES, Shape, bytes_of, tensors_of, write_random_gguf

SMALL = Shape(2, gguf.GGMLQuantizationType.Q8_0, hidden=64, heads=4, width=96, vocabulary=300)


def test_an_empty_file_is_read_as_a_whole_one(tmp_path):
    whole = write_random_gguf(tmp_path / "whole.gguf", SMALL)
    empty = write_random_gguf(tmp_path / "empty.gguf", SMALL, empty=True)
    assert whole.stat().st_size == empty.stat().st_size
    assert pl.load_model(whole).layers == pl.load_model(empty).layers
    assert {path.name for path in tmp_path.iterdir()} == {"whole.gguf", "empty.gguf"}


def test_weights_repeat(tmp_path):
    once = write_random_gguf(tmp_path / "once.gguf", SMALL)
    again = write_random_gguf(tmp_path / "again.gguf", SMALL)
    assert once.read_bytes() == again.read_bytes()


def test_quantised_matrices_have_a_scale_for_each_32_values():
    # 64 x 64 values of 8 bit, and 128 scales of 16.
    assert bytes_of((64, 64), gguf.GGMLQuantizationType.Q8_0) == 4096 + 256
    assert bytes_of((64, 64), gguf.GGMLQuantizationType.Q4_0) == 2048 + 256


@pytest.mark.parametrize("name", SHAPES)
def test_the_product_counts_the_bytes_of_all_tensors(name, tmp_path):
    graph = pl.load_model(write_random_gguf(tmp_path / "a.gguf", SHAPES[name], empty=True))
    held = sum(bytes_of(axes, kind) for _, axes, kind in tensors_of(SHAPES[name]))
    assert graph.weight_bytes == held
    assert len(graph.inner_positions) == SHAPES[name].layers
    assert graph.remarks == ()
