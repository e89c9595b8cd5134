import sys
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.yaml_text import parsed_yaml

HERE = Path("x.yaml")


def test_plain_values_are_read():
    pytest.importorskip("yaml")
    assert parsed_yaml("a: [1, two]\n", HERE) == {"a": [1, "two"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &b [1]\nc: *b\n", "uses an alias"),
        ("a: [\n", "not valid YAML"),
        ("a: !!python/object:os.system x\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("a: 2020-99-99\n", "not valid YAML"),
        ("x" * 3 * 2**20, "longer than any"),
    ],
)
def test_what_is_not_plain_is_refused(text, said):
    pytest.importorskip("yaml")
    with pytest.raises(InputError, match=said):
        parsed_yaml(text, HERE)


def test_without_pyyaml_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InputError, match=r"spread-planner\[machines\]"):
        parsed_yaml("a: b", HERE)
