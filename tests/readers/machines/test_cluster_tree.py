import pytest

from planner.errors import InputError
from planner.readers.machines.cluster_tree import Switch, machine_of


def test_hosts_hang_below_switches():
    tree = [Switch("top", ("a", "b")), Switch("a", (), ("h0", "h1")), Switch("b", (), ("h2",))]
    seen = machine_of(tree, "by hand")
    assert [one.name for one in seen.of_kind("cpu")] == ["h0", "h1", "h2"]
    assert len(seen.of_kind("switch")) == 3
    assert ("h2", "b") in [link.between for link in seen.links]
    assert len(seen.links) == 5


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([Switch("a", (), ())], "has a host below it"),
        ([Switch("a", (), ("h",)), Switch("a", (), ("h",))], "described twice"),
        ([Switch("a", ("b",), ("h",))], "not described"),
        ([Switch("a", ("b",)), Switch("b", ("a",), ("h",))], "below itself"),
        (
            [Switch("a", ("c",)), Switch("b", ("c",)), Switch("c", (), ("h",))],
            "one other switch only",
        ),
        ([Switch("a", (), ("a",))], "of both a host and a switch"),
    ],
)
def test_what_is_no_tree_is_refused(tree, said):
    with pytest.raises(InputError, match=said):
        machine_of(tree, "by hand")
