"""Tests of the mirror of density: figures of a page that a person counts by hand."""

import ast

import pytest

from benchmarks.density import complexity, density, main, read_density, rows

PAGE = '''"""A module."""

import math  # noqa: F401

WIDTH = 3
"""Of a page."""


def both(a, b):
    """Two thoughts."""
    # They belong together.
    x, y = (a, b) if a else (b, a)
    p, q = x, y
    return [one for one in (p, q) if one]


def none():
    """Nothing at all."""
'''


def test_a_page_is_counted_as_a_person_counts_it():
    page = read_density(PAGE)
    assert page.lines == 18
    assert page.code_lines == 7  # neither docstrings nor the comment; with the import for a tool
    assert page.code_characters == sum(
        len(line)
        for line in (
            "import math  # noqa: F401",
            "WIDTH = 3",
            "def both(a, b):",
            "x, y = (a, b) if a else (b, a)",
            "p, q = x, y",
            "return [one for one in (p, q) if one]",
            "def none():",
        )
    )
    assert page.choices == 1
    assert page.comprehensions == 1
    assert page.tuple_assignments == 1  # the choice between pairs is counted as a choice
    assert page.comments == 1  # the other one is for a tool
    assert page.bodies == (3, 0)
    assert page.a_thousand(1) == pytest.approx(1000 / 7)


def test_only_lines_beyond_a_hundred_columns_are_long():
    fits = "x = '" + "a" * 94 + "'"
    assert len(fits) == 100
    assert read_density(fits).long_lines == 0
    assert read_density(fits + " ").long_lines == 1


@pytest.mark.parametrize(
    ("body", "ways"),
    [
        ("return 1", 1),
        ("return 1 if a else 2", 2),
        ("return a and b and c", 3),
        ("return [x for x in a if x if b]", 4),
        ("for x in a:\n  pass\n else:\n  pass", 3),
        ("while a:\n  a = b", 2),
        ("try:\n  a\n except KeyError:\n  b\n except OSError:\n  c", 3),
        ("assert a", 2),
        ("if a:\n  pass\n elif b:\n  pass", 3),
        ("match a:\n  case 1:\n   pass\n  case 2:\n   pass", 3),
    ],
)
def test_each_place_where_ways_part_adds_one(body, ways):
    assert complexity(ast.parse(f"def f(a, b, c):\n {body}\n").body[0]) == ways


def test_folders_are_measured_each_and_together(tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.py").write_text(PAGE, encoding="utf-8")
    both = density([tmp_path / "one", tmp_path / "two" / "page.py"])
    assert both.lines == 2 * 18
    assert both.bodies == (3, 0, 3, 0)

    main([str(tmp_path / "one"), str(tmp_path / "two")])
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split(" | ")[1:] == [str(tmp_path / "one"), str(tmp_path / "two"), "all"]
    assert lines[0] == "lines | 18 | 18 | 36"
    assert len(lines) == len(rows(both))
