"""`docs/export.md` says what exports are: its code runs, and its tables name what there is."""

import re
from pathlib import Path

import pytest

from planner.export.exporting import ENGINES
from planner.export.manifests import MANIFESTS
from planner.export.versions import KNOWN

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) >= len(ENGINES)
    space: dict[str, object] = {}
    for block in blocks:
        exec(block, space)


def test_it_names_every_manifest():
    table = TEXT[TEXT.index("| `--manifest`") :]
    assert [name for name in MANIFESTS if f"| `{name}`" not in table] == []


def test_it_says_from_when_on_options_are_as_they_are():
    for engine in ("sglang", "tensorrt-llm", "llama.cpp"):
        assert KNOWN[engine][-1].version in TEXT, engine
