"""Values of strangers, checked as they are read."""

import pytest

from planner.errors import InputError
from planner.readers.quantisation.fields import Section


def section(**fields):
    return Section(fields, "config.json", "quantization_config")


def test_what_is_right_is_read():
    made = section(a=True, b=4, c=[128, 64], d="word", e=["x"], f={"g": {}}, h=-1, i=4.25)
    assert made.flag("a")
    assert not made.flag("missing")
    assert made.bits("b") == made.whole("b") == 4
    assert made.sides("c") == (128, 64)
    assert section(c="128x64").sides("c") == (128, 64)
    assert section(c=32).sides("c") == (32, 32)
    assert made.sides("missing") == section(c=[]).sides("c") == ()
    assert made.text("d") == "word"
    assert made.names("e", "missing") == ("x",)
    assert [name for name, _ in made.parts("f")] == ["g"]
    assert made.part("missing") is None
    assert made.group("h") == 0
    assert made.group("missing", default=64) == 64
    assert made.number("i", 1, 8) == 4.25
    assert made.first("nothing", "d", "a") == "d"
    assert made.said("a") == "config.json: quantization_config.a"


@pytest.mark.parametrize(
    ("ask", "value"),
    [
        *(("flag", value) for value in ("true", 1, [])),
        *(("whole", value) for value in (True, 0, "4", 4.0, 10**9)),
        *(("bits", value) for value in (True, 7, "4", 4.0, -4)),
        *(("group", value) for value in (True, 0, -2, 4, 12, "128", 128.0, 2**18)),
        *(("text", value) for value in (4, [], {})),
        *(("names", value) for value in ("lm_head", [4], [""], {"a": 1}, ["x" * 2_001])),
        *(("part", value) for value in ("x", [], 4)),
        *(("parts", value) for value in ("x", {"a": 4}, {"a": None})),
        *(("sides", value) for value in ([0, 1], [1, 2, 3], "axb", [1.5, 2], True, {"a": 1})),
    ],
)
def test_what_is_none_is_refused_by_its_name(ask, value):
    with pytest.raises(InputError, match="weight_dtype") as refused:
        getattr(section(key=value), ask)("key")
    assert str(refused.value).startswith("config.json: quantization_config.key")


@pytest.mark.parametrize("value", ["4", True, 0.5, 99, None])
def test_a_number_lies_between_two_others(value):
    with pytest.raises(InputError, match="between 1 and 8"):
        section(key=value).number("key", 1, 8)
