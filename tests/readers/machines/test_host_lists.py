import pytest

from planner.errors import InputError
from planner.readers.machines.host_lists import names_of


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tux[0-3,12,18-20]", ["tux0", "tux1", "tux2", "tux3", "tux12", "tux18", "tux19", "tux20"]),
        ("a,b[1-2]", ["a", "b1", "b2"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("r[1-2]n[1-2]x", ["r1n1x", "r1n2x", "r2n1x", "r2n2x"]),
        ("switch.2.[1-2]", ["switch.2.1", "switch.2.2"]),
        ("one", ["one"]),
    ],
)
def test_lists_are_written_out(text, names):
    assert list(names_of(text, "Nodes")) == names


@pytest.mark.parametrize("text", ["", "a[", "a[]", "a[3-1]", "a[x]", "a,,b", "a b", "a]", "a[1-]"])
def test_what_is_no_list_is_refused_by_name(text):
    with pytest.raises(InputError, match="Nodes"):
        names_of(text, "Nodes")


@pytest.mark.parametrize("text", ["a[0-99999999]", "a[0-9999]b[0-9999]", "a" + "[1-2]" * 40])
def test_more_names_than_any_cluster_are_refused_before_they_are_made(text):
    with pytest.raises(InputError):
        names_of(text, "Nodes")
