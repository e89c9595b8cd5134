"""`docs/objections.md` names a test for each objection, and each of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "objections.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| objection")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_objection_has_an_answer_and_a_test_that_exists(row):
    objection, answer, _, test = row
    assert objection
    assert answer.endswith(".")
    path, name = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", test).groups()
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
