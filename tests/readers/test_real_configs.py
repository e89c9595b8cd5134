"""Real configs of this year's and last year's models, where the package that ships them is
installed: parameters, active ones, caches and bytes against true counts."""

import csv
import importlib.resources
import json
from pathlib import Path

import pytest

from benchmarks.real_configs import COUNTS, rows_of

PAGE = Path(__file__).parents[2] / "docs" / "model_counts.md"


def test_real_files_are_read_right():
    package = pytest.importorskip("aiconfigurator_core")
    folder = Path(str(importlib.resources.files(package))) / "model_configs"
    rows = list(rows_of(folder))
    assert len(rows) == 89
    wrong = [f"{row.name}: {row.verdict}" for row in rows if row.verdict not in ("exact", "right")]
    assert len(wrong) <= 1, wrong


@pytest.mark.slow
def test_every_true_count_stands_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    with COUNTS.open(encoding="utf-8") as table:
        counts = list(csv.DictReader(table))
    assert len(counts) == 173
    for row in counts:
        line = f"| {row['source']}: {row['name']} | {float(row['parameters']) / 1e9:.6g} |"
        assert line in page
    assert "WRONG" not in page


def test_a_config_is_held_against_its_count(tmp_path):
    folder = tmp_path / "xft"
    (folder / "qwen3-0.6b").mkdir(parents=True)
    fields = {
        "model_type": "qwen3",
        "num_hidden_layers": 28,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    }
    config = folder / "qwen3-0.6b" / "config.json"
    config.write_text(json.dumps(fields), encoding="utf-8")
    (row,) = rows_of(folder)
    assert row.verdict == "exact"
    config.write_text(json.dumps({**fields, "vocab_size": 1000}), encoding="utf-8")
    assert next(rows_of(folder)).verdict == "WRONG"
