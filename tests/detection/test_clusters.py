from planner import catalogue
from planner.detection.clusters import tree_fabrics
from planner.readers.machines.cluster_tree import Switch, machine_of

HGX = catalogue.topology_fields("hgx-h100")


def fabrics(switches):
    inner, outer, remarks = tree_fabrics(machine_of(switches, "by hand"), HGX, 8)
    assert [one["name"] for one in inner] == ["NVLink 4"]
    return outer, remarks


def test_each_level_of_switches_is_a_level_of_the_fabric():
    hosts = [f"h{at}" for at in range(8)]
    leaves = [Switch(f"leaf{at}", (), tuple(hosts[4 * at : 4 * at + 4])) for at in range(2)]
    outer, remarks = fabrics([Switch("spine", ("leaf0", "leaf1")), *leaves])
    assert [one["units"] for one in outer] == [4, 2]
    assert outer[0]["bandwidth"]["value"] == "50 GB/s"
    assert [one["latency"]["value"] for one in outer] == ["4.5 us", "5.5 us"]
    assert len(remarks) == 1


def test_blocks_without_a_switch_above_are_joined_by_a_guess():
    blocks = [Switch(f"b{at}", (), (f"x{at}", f"y{at}"), domain=True) for at in range(3)]
    outer, remarks = fabrics(blocks)
    assert [one["units"] for one in outer] == [2, 3]
    assert "no switch joins the 3 parts" in remarks[1]


def test_blocks_of_a_rack_are_joined_by_its_nvlink():
    rack = catalogue.topology_fields("gb200-nvl72")
    blocks = [
        Switch(f"b{at}", (), tuple(f"h{at}.{one}" for one in range(18)), domain=True)
        for at in range(2)
    ]
    inner, outer, _ = tree_fabrics(machine_of(blocks, "by hand"), rack, 4)
    assert [one["units"] for one in inner] == [72]
    assert [one["units"] for one in outer] == [2]
    # Blocks of machines whose NVLink ends at the node are joined by the network.
    inner, outer, _ = tree_fabrics(machine_of(blocks, "by hand"), HGX, 8)
    assert [one["units"] for one in inner] == [8]
    assert [one["units"] for one in outer] == [18, 2]


def test_a_level_of_one_is_left_out():
    outer, _ = fabrics([Switch("top", ("leaf",)), Switch("leaf", (), ("a", "b"))])
    assert [one["units"] for one in outer] == [2]


def test_a_machine_without_a_network_gets_a_guess():
    tree = machine_of([Switch("s", (), ("a", "b"))], "by hand")
    _, outer, _ = tree_fabrics(tree, {"fabric": []}, 1)
    assert outer[0]["bandwidth"]["confidence"] == "guess"
