"""`docs/models.md` names every family that is known, and its examples are those of the package."""

from pathlib import Path

from planner.readers.configs.encoders import KINDS
from planner.readers.configs.families import FAMILIES
from planner.readers.files import CONFIG_BYTES, INDEX_BYTES

PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
"""Without the ends of lines."""


def test_every_family_stands_on_the_page():
    missing = [name for name in (*FAMILIES, *KINDS) if f"`{name}`" not in PAGE]
    assert missing == []


def test_bounds_are_those_of_the_readers():
    assert f"a config {CONFIG_BYTES // 2**20} MiB" in WORDS
    assert f"a header of tensors {INDEX_BYTES // 2**20} MiB" in WORDS
