import sys

import pytest

from planner.errors import InputError
from planner.readers.yaml_text import MOST_ALIASES, MOST_DEPTH, read_yaml


def test_documents_are_plain_values() -> None:
    assert read_yaml("a: 1\n---\n[b, true]\n", "x") == [{"a": 1}, ["b", True]]
    assert read_yaml("a: &x [1]\nb: *x\n", "x") == [{"a": [1], "b": [1]}]
    assert read_yaml("", "x") == []


def bomb() -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines)


def indented(depth: int) -> str:
    return "".join(f"{' ' * level}a:\n" for level in range(depth))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(), f"more than {MOST_ALIASES}"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("a: [1", "line 1"),
        ("[" * 3000, "nested more than"),
        ("- " * 3000, "nested more than"),
        (indented(MOST_DEPTH + 2), "nested more than"),
        ("x" * 3 * 2**20, "bytes"),
        ("--- 1\n" * 101, "documents"),
        ("a: 2026-13-45", "not valid YAML"),
        ("? [a]\n: b", "not valid YAML"),
    ],
    ids=range(10),
)
def test_what_is_no_plain_yaml_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_yaml(text, "the manifest")
    assert "\n" not in str(caught.value)


def test_who_reads_less_says_so() -> None:
    with pytest.raises(InputError, match="at most 10 are read"):
        read_yaml("a: 12345678", "the manifest", most_bytes=10)


@pytest.mark.slow
def test_without_the_library_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InputError, match=r"spread-planner\[yaml\]"):
        read_yaml("a: 1", "the manifest")
