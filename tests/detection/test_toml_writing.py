import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.detection.toml_writing import toml_text


def test_tables_stand_below_what_they_belong_to():
    fields = {
        "name": "a",
        "chip": {"peak": [{"dtype": "bf16", "value": 1.5}], "skips": [], "memory": [{"name": "m"}]},
        "fabric": [{"units": 2, "link": [{"between": [0, "x"], "bandwidth": {"value": "1 GB/s"}}]}],
    }
    text = toml_text(fields, ["one\ntwo", "three"])
    assert text.startswith("# one two\n# three\n\nname = ")
    assert "[[fabric.link]]" in text
    assert "[[chip.memory]]" in text
    assert tomllib.loads(text) == fields


KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
TEXTS = st.text(max_size=20)


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.dictionaries(KEYS, TEXTS | st.booleans() | st.integers(-(2**60), 2**60), max_size=4),
    st.lists(TEXTS),
)
def test_whatever_a_driver_calls_its_chip_the_file_can_be_read(fields, comment):
    read = tomllib.loads(
        toml_text({f"k{at}": one for at, one in enumerate(fields.values())}, comment)
    )
    for wrote, found in zip(fields.values(), read.values(), strict=True):
        if not isinstance(wrote, str):
            assert found == wrote
        elif wrote.isascii() and wrote.isprintable():
            assert found == " ".join(wrote.split())
