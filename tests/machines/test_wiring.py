"""Lists of links: which ways messages take through them, and what groups get, by hand."""

import itertools

import networkx as nx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import planner as pl
from planner.errors import InputError
from planner.machines.topology import Fabric, with_value
from planner.machines.wiring import Lane, Wire, Wiring, blocks_of, worst_of
from planner.pricing.collectives import collective_s, group_collective_s, hop_s, spans_of
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology

PCIE = 25e9
BRIDGE = 100e9
STAR = tuple(Wire(between=(card, "switch")) for card in range(4))
PAIRS = (
    Wire(between=(0, 1), bandwidth_bytes_per_s=BRIDGE, latency_s=0.5e-6),
    Wire(between=(2, 3), bandwidth_bytes_per_s=BRIDGE, latency_s=0.5e-6),
)
MB = 1e6


def cards(links, units=4):
    """Cards with links of 25 GB/s and 1 µs where they state nothing else."""
    return Fabric(
        name="cards",
        shape="links",
        units=units,
        bandwidth_bytes_per_s=PCIE,
        latency_s=1e-6,
        links=links,
    )


def machine(links=STAR + PAIRS, units=4, **changes):
    return tiny_topology(units, cards(links, units), **changes)


def mesh(units, without=()):
    return [
        Wire(between=pair)
        for pair in itertools.combinations(range(units), 2)
        if pair not in without
    ]


def wiring(links, units=4):
    return Wiring(links, units, PCIE, 1e-6)


# ── By hand ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pair_takes_its_bridge_and_others_the_switch():
    found = wiring(STAR + PAIRS)
    assert found.lanes(0, 1) == (Lane(BRIDGE, 0.5e-6),)
    assert found.lanes(1, 2) == (Lane(PCIE, 2e-6),)
    topology = machine()
    overhead_s = topology.software.hop_overhead_s
    (bridged, straddling), kinds = topology.ways(([0, 1], [0, 1]), ([1, 2], [1, 2]))
    assert (bridged, straddling) == (0, 1)
    # A MB takes 0.5 + 10 µs over the bridge, 2 + 40 µs past the switch.
    assert hop_s(topology, 0, int(kinds[0]), MB) == pytest.approx(overhead_s + 10.5e-6, rel=1e-12)
    assert hop_s(topology, 1, int(kinds[1]), MB) == pytest.approx(overhead_s + 42e-6, rel=1e-12)


def test_short_messages_take_the_near_way_and_long_ones_the_wide_one():
    """Two chips have a slow link; by way of a third it is wider and farther."""
    links = [
        Wire(between=(0, 1), bandwidth_bytes_per_s=1e9),
        Wire(between=(0, 2)),
        Wire(between=(1, 2)),
    ]
    assert wiring(links, 3).lanes(0, 1) == (Lane(PCIE, 2e-6), Lane(1e9, 1e-6))


def test_a_ring_passes_its_slowest_link_and_shares_what_it_passes_twice():
    found = wiring(STAR + PAIRS)
    assert found.ring((0, 1)) == (Lane(BRIDGE, 0.5e-6),)
    # 0 → 1 and 2 → 3 over bridges, 1 → 2 and 3 → 0 past the switch: each card sends there once.
    assert found.ring((0, 1, 2, 3)) == (Lane(PCIE, 2e-6),)
    # Two switches joined by one link: a ring crosses it once in each direction, all to all nine times.
    halves = [
        *(Wire(between=(card, "left")) for card in range(3)),
        *(Wire(between=(card, "right")) for card in range(3, 6)),
        Wire(between=("left", "right")),
    ]
    split = wiring(halves, 6)
    assert split.ring(tuple(range(6))) == (Lane(PCIE, 3e-6),)
    assert split.exchange(tuple(range(6))) == (Lane(5 * PCIE / 9, 3e-6),)
    # Round both halves in turn, a ring would cross it three times.
    assert split._loaded(
        [split.paths[0][hop] for hop in ((0, 3), (3, 1), (1, 4), (4, 2), (2, 5), (5, 0))]
    ) == Lane(PCIE / 3, 3e-6)


def test_a_bridged_pair_is_faster_than_two_cards_of_different_pairs():
    """All-reduce of a MB by ring: 2 + 2 × 0.5 + 10 / 0.8 µs over the bridge, of which 0.8 is
    reached, and 2 + 2 × 2 + 40 / 0.8 µs past the switch; one-shot 1 + 0.5 + 10 and 1 + 2 + 40."""
    topology = machine()
    bridged, straddling = spans_of(topology, 0, 2), spans_of(topology, 1, 2)
    assert (bridged, straddling) == ((2, 1), (1, 2))
    priced = [group_collective_s(topology, "all_reduce", one, MB) for one in (bridged, straddling)]
    assert priced == pytest.approx([11.5e-6, 43e-6], rel=1e-12)
    gathered = [
        group_collective_s(topology, "all_gather", one, MB) for one in (bridged, straddling)
    ]
    expected = [2 + 0.5 + 5 / 0.8, 2 + 2 + 20 / 0.8]
    assert gathered == pytest.approx([one * 1e-6 for one in expected], rel=1e-12)
    # Round all four: three steps of 2 µs and a quarter of a MB over 20 GB/s each.
    assert group_collective_s(topology, "all_gather", (2, 2), MB) == pytest.approx(
        (2 + 3 * (2 + 12.5)) * 1e-6, rel=1e-12
    )


def test_of_pairs_that_stand_alike_the_slowest_counts():
    """Two stages of one chip on each pair: where one pair has no bridge, both are priced without."""
    one_bridge = machine(STAR + PAIRS[:1])
    assert spans_of(one_bridge, 0, 2) == spans_of(one_bridge, 2, 2)
    assert group_collective_s(one_bridge, "all_gather", (2, 1), MB) == pytest.approx(
        (2 + 2 + 20 / 0.8) * 1e-6, rel=1e-12
    )
    _, kinds = one_bridge.ways(([0, 2], [0, 2]), ([1, 3], [1, 3]))
    assert kinds[0] == kinds[1]
    assert worst_of([(Lane(9.0, 2.0), Lane(3.0, 1.0)), (Lane(8.0, 1.5),)]) == (
        Lane(8.0, 2.0),
        Lane(3.0, 1.5),
    )


@pytest.mark.parametrize(
    ("units", "blocks"),
    [(1, []), (2, [2]), (3, [3]), (4, [2, 2]), (6, [2, 3]), (8, [2, 2, 2]), (10, [2, 5])],
)
def test_a_node_falls_into_pairs_and_pairs_of_pairs(units, blocks):
    assert blocks_of(units) == blocks


# ── Against measurements ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "ranks", "message_bytes", "measured_s"),
    [
        ("a100-pcie-nvlink-4", 2, 138016770, 750e-6),
        ("a100-pcie-nvlink-4", 4, 138016770, 8829e-6),
        ("a100-pcie-nvlink-4", 4, 2359296, 218e-6),
        ("h100-nvl-pairs", 2, 47185920, 257e-6),
        ("h100-nvl-pairs", 4, 47185920, 1472e-6),
        ("h100-nvl-pairs", 4, 5505024, 217e-6),
    ],
)
def test_all_reduces_of_bridged_pairs_against_vidur(name, ranks, message_bytes, measured_s):
    """Measured by microsoft/vidur@7d47513 on nodes of its kind `pairwise_nvlink`; no constant was
    fitted on them."""
    found = collective_s(
        pl.load_topology(name), "all_reduce", ranks, message_bytes, software="nccl-pytorch"
    )
    assert found == pytest.approx(measured_s, rel=0.27)


# ── Laws ──────────────────────────────────────────────────────────────────────────────────────────

KINDS = ("all_reduce", "all_gather", "all_to_all", "broadcast", "send_recv")


def prices(topology, tensor_bytes):
    """Of all groups of consecutive chips, and of all pairs."""
    found = []
    for first, last in itertools.combinations(range(topology.chips), 2):
        spans = spans_of(topology, first, last - first + 1)
        found += [group_collective_s(topology, kind, spans, tensor_bytes) for kind in KINDS]
        levels, kinds = topology.ways(([first], [first]), ([last], [last]))
        found.append(hop_s(topology, int(levels[0]), int(kinds[0]), tensor_bytes))
    return [float(price) for price in found]


@pytest.mark.slow
@pytest.mark.parametrize("broken", [(0, 1), (1, 2), (3, 4), (0, 7)])
@pytest.mark.parametrize("tensor_bytes", [1e3, 1e7])
def test_a_broken_link_of_a_full_mesh_slows_and_never_speeds(broken, tensor_bytes):
    whole = prices(machine(tuple(mesh(8)), 8), tensor_bytes)
    less = prices(machine(tuple(mesh(8, without=[broken])), 8), tensor_bytes)
    assert all(after >= before * (1 - 1e-12) for before, after in zip(whole, less, strict=True))
    assert sum(less) > sum(whole)


@pytest.mark.slow
@example(
    [1e9, 256690083565.0, 256690083559.0, 64172520892.0, 96258781337.0, 192517562674.0], 4, 2.0, 1e4
)
@given(
    st.lists(st.floats(1e9, 1e12), min_size=6, max_size=6),
    st.integers(0, 5),
    st.floats(1, 100),
    st.sampled_from((0.0, 1e4, 1e8)),
)
def test_more_bandwidth_of_any_link_is_never_slower(widths, which, factor, tensor_bytes):
    links = [
        link.replace(bandwidth_bytes_per_s=width)
        for link, width in zip(STAR + PAIRS, widths, strict=True)
    ]
    before = machine(tuple(links))
    path = f"fabrics[0].links[{which}].bandwidth_bytes_per_s"
    after = with_value(before, path, factor * widths[which])
    for slow, fast in zip(prices(before, tensor_bytes), prices(after, tensor_bytes), strict=True):
        assert fast <= slow * (1 + 1e-12)


@pytest.mark.slow
@given(st.permutations(range(4)), st.lists(st.floats(1e9, 1e11), min_size=6, max_size=6))
def test_relabelled_chips_have_the_ways_of_their_links(order, widths):
    links = [
        link.replace(bandwidth_bytes_per_s=width)
        for link, width in zip(STAR + PAIRS, widths, strict=True)
    ]
    named = {card: order[card] for card in range(4)} | {"switch": "hub"}
    other = wiring(
        [link.replace(between=tuple(named[end] for end in link.between)) for link in links]
    )
    one = wiring(links)
    for pair in itertools.permutations(range(4), 2):
        assert one.lanes(*pair) == other.lanes(order[pair[0]], order[pair[1]])
    for members in ((0, 1), (0, 1, 2), (0, 1, 2, 3)):
        moved = tuple(order[card] for card in members)
        assert one.ring(members) == other.ring(moved)
        assert one.exchange(members) == other.exchange(moved)


def test_pairs_of_chips_are_relabelled_along_with_their_links():
    """With the pairs exchanged the machine is the same, and so is every price."""
    links = (*STAR, PAIRS[0].replace(bandwidth_bytes_per_s=40e9), PAIRS[1])
    swapped = {0: 2, 1: 3, 2: 0, 3: 1, "switch": "switch"}
    other = tuple(
        link.replace(between=tuple(swapped[end] for end in link.between)) for link in links
    )
    assert prices(machine(links), MB) == pytest.approx(prices(machine(other), MB), rel=1e-12)


def test_a_model_is_split_over_a_bridged_pair_and_not_across():
    graph, workload = tiny_graph(4), pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=8)
    topology = machine(chip=tiny_chip(1e8), software=tiny_software(collectives=RING))
    result = pl.partition(graph, topology, workload, minimize="tpot_s")
    again = pl.score_plan(result.plan, graph, topology, workload)
    assert again.tpot_s == result.objective
    assert all(group.first % 2 == 0 for stage in result.plan.stages for group in stage.groups)
    plan = pl.uniform_plan(graph, topology, tensor_parallel=2)
    (group,) = plan.stages[0].groups
    assert (group.first, group.count) == (0, 2)
    stage = plan.stages[0]
    across = plan.replace(stages=(stage.replace(groups=(group.replace(first=1),)),))
    here, there = (pl.score_plan(one, graph, topology, workload).tpot_s for one in (plan, across))
    assert here < there


RING = tuple(kernel for kernel in tiny_software().collectives if kernel.algorithm == "ring")


# ── Drawn, and refused ────────────────────────────────────────────────────────────────────────────


def test_links_are_drawn_as_they_are_listed():
    drawn = machine().to_networkx()
    assert set(drawn) == {0, 1, 2, 3, "switch 0"}
    assert drawn.edges[0, 1]["bandwidth_bytes_per_s"] == BRIDGE
    assert drawn.edges[2, "switch 0"]["bandwidth_bytes_per_s"] == PCIE
    assert drawn.number_of_edges() == 6
    servers = pl.load_topology("h100-nvl-pairs", chips=8).to_networkx()
    assert nx.is_connected(servers)
    assert {"PCIe switch 0", "PCIe switch 1"} <= set(servers)


@pytest.mark.parametrize(
    ("links", "sentence"),
    [
        (PAIRS, "Topology.fabrics[0].links of 'tiny': no way leads from chip 0 to chip 2 and 3"),
        ((*STAR, Wire(between=(0, 4))), "links[4].between of 'cards': 4 is not one of its chips"),
        ((*STAR, Wire(between=(1, 1))), "links[4].between of 'cards': it joins 1 to itself"),
        (STAR + PAIRS + PAIRS, "links[6].between of 'cards': 0 and 1 are joined twice"),
        ((), "Fabric.links of 'cards': a fabric has a list of links where its shape is 'links'"),
    ],
)
def test_links_that_make_no_node_are_refused_in_a_sentence(links, sentence):
    with pytest.raises(InputError) as refused:
        machine(links)
    assert sentence in str(refused.value)


def test_a_link_without_bandwidth_is_refused():
    with pytest.raises(InputError, match=r"Wire\.bandwidth_bytes_per_s must be above 0"):
        Wire(between=(0, 1), bandwidth_bytes_per_s=0.0)


def test_only_the_first_fabric_is_a_list_of_links():
    outer = cards(STAR)
    with pytest.raises(InputError, match=r"fabrics\[1\]\.shape .* only the first fabric"):
        tiny_topology(8, cards(STAR), outer)


def test_fewer_cards_have_fewer_links():
    three = machine().replace(chips=3)
    assert three.levels[0].wiring.chips == 3
    assert three.levels[0].wiring.lanes(1, 2) == (Lane(PCIE, 2e-6),)
    assert machine().replace(chips=1).levels == ()


def test_a_large_node_has_a_ring_that_can_be_run():
    """Ten chips in a circle, numbered along it: the ring in their order has every link once."""
    circle = [Wire(between=(card, (card + 1) % 10)) for card in range(10)]
    assert wiring(circle, 10).ring(tuple(range(10))) == (Lane(PCIE, 1e-6),)
