"""`docs/method.md` is followed to the letter: its blocks are run, in order."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "method.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_method_can_be_followed_by_hand():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert sum(block.count("assert ") for block in blocks) > 12
    known: dict = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/method.md, block {number}", "exec"), known)


def test_what_the_method_points_to_is_there():
    here = Path(__file__).resolve().parent.parent / "docs"
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert all((here / link).exists() for link in links if "://" not in link)
