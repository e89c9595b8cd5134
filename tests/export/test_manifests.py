import pytest

from planner.errors import InputError
from planner.export.exporting import to_engine
from planner.export.manifests import MANIFESTS, check_manifest
from tests.exported import GOLDEN, golden_manifests, golden_results


def test_files_are_those_that_stand_in_the_data():
    texts = golden_manifests()
    there = {one.name for one in GOLDEN.iterdir() if one.name.startswith("manifest-")}
    assert set(texts) == there
    for name, text in texts.items():
        assert text == (GOLDEN / name).read_text(encoding="utf-8"), name


def test_a_manifest_is_for_the_engines_that_it_knows():
    for name in MANIFESTS:
        check_manifest(name, "vllm")
    with pytest.raises(InputError, match="llm-d is written for vllm, not for sglang"):
        check_manifest("llm-d", "sglang")
    with pytest.raises(InputError, match="manifest must be leaderworkerset"):
        check_manifest("lws", "vllm")


def test_what_a_cluster_decides_is_said():
    export = to_engine(golden_results("vllm")["tensor"], "vllm", manifest="ray-serve")
    assert "Ray places ranks by itself; the order of chips is not the plan's." in export.notes
