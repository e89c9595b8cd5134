import datetime

from planner.detection.origins import cited, figure, meanings, table, today


def test_a_figure_says_where_it_comes_from():
    assert figure("1 GB", "x", "A") == {"value": "1 GB", "source": "x", "confidence": "A"}
    assert figure("1 GB", "x", "A", note="n", within=2)["within"] == 2
    assert datetime.date.fromisoformat(today())


def test_short_names_that_are_cited_are_explained():
    fields = {
        "a": figure(1, "OURS", "guess"),
        "b": [{"c": figure(1, "as seen", "A")}],
        "source": "MEM",
    }
    assert cited(fields) == ["MEM", "OURS"]
    assert meanings(fields)[1] == "OURS: our own assumption"


def test_tables_cite_what_is_explained():
    for name in ("products", "wires"):
        found = set()
        todo = [table(name)]
        while todo:
            one = todo.pop()
            if isinstance(one, dict):
                todo += one.values()
                found |= {one["source"]} if "source" in one else set()
            elif isinstance(one, list):
                todo += one
        assert found
        assert cited([{"source": each} for each in found]) == sorted(found)
