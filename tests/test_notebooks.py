"""Notebooks ask one question, carry small static pictures, and end by asserting what their prose
claims."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request) -> list[dict]:
    return json.loads(request.param.read_text(encoding="utf-8"))["cells"]


def test_there_is_a_notebook():
    assert NOTEBOOKS


def test_its_title_asks_a_question(cells):
    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).splitlines()[0].rstrip().endswith("?")


def test_it_ends_by_asserting(cells):
    last = [cell for cell in cells if cell["cell_type"] == "code"][-1]
    assert "assert " in "".join(last["source"])


def test_it_was_run_from_top_to_bottom_without_an_error(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])


def test_it_has_a_picture_that_is_seen_where_notebooks_are_only_read(cells):
    pictures = {"image/png", "image/svg+xml"}
    assert any(
        pictures & set(output.get("data", {}))
        for cell in cells
        for output in cell.get("outputs", ())
    )


def test_its_outputs_are_small_and_static(cells):
    size = len(json.dumps(cells))
    kinds = {
        kind
        for cell in cells
        for output in cell.get("outputs", ())
        for kind in output.get("data", {})
    }
    assert size < 600_000
    assert kinds <= {"text/plain", "text/html", "image/png", "image/svg+xml"}
