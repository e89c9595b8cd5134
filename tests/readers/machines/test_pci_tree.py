import pytest

from planner.readers.machines.pci_tree import Hung, way_between, ways_between


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (("n0", "r0", ("s0",)), ("n0", "r0", ("s0",)), "pix"),
        (("n0", "r0", ("s0", "p0")), ("n0", "r0", ("s0", "p1")), "pix"),
        (("n0", "r0", ("s0", "s1", "p0")), ("n0", "r0", ("s0", "s2", "p1")), "pxb"),
        (("n0", "r0", ("s0",)), ("n0", "r0", ("s1",)), "phb"),
        (("n0", "r0", ()), ("n0", "r1", ()), "node"),
        (("n0", "r0", ("s0",)), ("n1", "r0", ("s0",)), "sys"),
    ],
)
def test_ways_are_called_as_nvidia_smi_calls_them(one, other, kind):
    assert way_between(Hung("a", *one), Hung("b", *other)) == kind
    assert way_between(Hung("b", *other), Hung("a", *one)) == kind


def test_each_pair_comes_once_and_cards_only_with_gpus():
    gpus = [Hung(f"GPU{at}", "n", "r", ()) for at in range(3)]
    cards = [Hung(f"NIC{at}", "n", "r", ()) for at in range(2)]
    assert len(list(ways_between(gpus, cards))) == 3 + 6
