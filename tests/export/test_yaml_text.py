import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.export.yaml_text import documents_of, yaml_of

yaml = pytest.importorskip("yaml")

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["no", "1e3", "0o7", "~", "- a"])
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_nested_lists_and_mappings_stand_below_their_keys():
    data = {"a": [{"b": "no", "c": [1, 2]}, "x"], "on": {}, "d": None}
    assert yaml_of(data) == (
        'a:\n  - b: "no"\n    c:\n      - 1\n      - 2\n  - "x"\n"on": {}\nd: null\n'
    )


@settings(max_examples=40)
@given(DATA)
def test_every_reader_gets_back_what_was_written(data):
    assert yaml.safe_load(yaml_of(data)) == data


def test_documents_are_kept_apart():
    assert list(yaml.safe_load_all(documents_of({"a": 1}, {"b": 2}))) == [{"a": 1}, {"b": 2}]
