"""Machines: what their chips and fabrics say, how they grow and shrink, and which are refused."""

import math
import random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.catalogue import load_topology
from planner.errors import InputError
from planner.machines.software import CollectiveKernel, Software
from planner.machines.topology import (
    Figure,
    MemoryTier,
    Peak,
    Power,
    Price,
    Rack,
    Topology,
    described,
    grid_axes,
    with_value,
)
from tests.instances import SHAPES, fabric, random_topology, tiny_chip, tiny_software, tiny_topology

GRIDS = [
    fabric("ring", 7),
    fabric("ring", 8),
    fabric("ring", 2),
    fabric("chain", 7),
    fabric("torus", 16, dimensions=(4, 4)),
    fabric("torus", 12, dimensions=(2, 6)),
    fabric("torus", 24, dimensions=(2, 3, 4)),
    fabric("torus", 16, dimensions=(4, 4), wraps_from=5),
    fabric("torus", 20, dimensions=(4, 5), wraps_from=5),
    fabric("mesh", 12, dimensions=(3, 4)),
    fabric("mesh", 24, dimensions=(4, 3, 2)),
]


def only_level(joined, chips=None):
    (level,) = tiny_topology(chips or joined.units, joined).levels
    return level


def links(chips, *fabrics):
    return tiny_topology(chips, *fabrics).to_networkx()


# ── Chips ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_chip_multiplies_a_format_at_its_own_peak():
    chip = tiny_chip(
        peaks=(Peak(dtype="bf16", flop_per_s=1e15), Peak(dtype="fp8", flop_per_s=2e15))
    )
    assert (chip.peak_flop_per_s("bf16"), chip.peak_flop_per_s("fp8")) == (1e15, 2e15)


@pytest.mark.parametrize(
    ("dtype", "peak"),
    [
        ("nvfp4", 2e15),
        ("mxfp4", 2e15),
        ("int8", 1e15),
        ("int4", 1e15),
        ("fp16", 1e15),
        ("fp32", 6e13),
    ],
)
def test_without_a_formats_peak_a_chip_multiplies_in_the_next_that_it_has(dtype, peak):
    chip = tiny_chip(
        peaks=[
            Peak(dtype="fp32", flop_per_s=6e13),
            Peak(dtype="bf16", flop_per_s=1e15),
            Peak(dtype="fp8", flop_per_s=2e15),
        ]
    )
    assert chip.peak_flop_per_s(dtype) == peak


def test_a_chip_says_which_format_it_falls_to():
    chip = tiny_chip(
        peaks=(Peak(dtype="fp16", flop_per_s=2e12), Peak(dtype="int8", flop_per_s=4e12))
    )
    asked = ("fp16", "bf16", "fp8", "int8", "nvfp4", "fp32")
    assert [chip.multiplies_in(one) for one in asked] == [
        "fp16",
        "fp16",
        "fp16",
        "int8",
        "fp16",
        "fp16",
    ]


def test_a_chip_says_which_format_it_multiplies_as_it_is_or_that_there_is_none():
    assert load_topology("groq-lpu-chain").chip.nearest_multiplied("fp8") == "int8"
    assert load_topology("cerebras-cs3").chip.nearest_multiplied("fp8") == "bf16"
    with pytest.raises(InputError, match=r"weight_dtype: UPMEM .* neither bf16 nor any wider"):
        load_topology("upmem-pim").chip.nearest_multiplied("bf16")


def test_a_chip_with_one_format_multiplies_everything_in_it():
    chip = tiny_chip(peaks=(Peak(dtype="int8", flop_per_s=7e14),))
    assert chip.peak_flop_per_s("bf16") == 7e14


# ── Levels ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("chips", "levels"),
    [
        (1, []),
        (5, [(5, 1)]),
        (8, [(8, 1)]),
        (9, [(8, 1), (2, 8)]),
        (20, [(8, 1), (3, 8)]),
        (32, [(8, 1), (4, 8)]),
    ],
)
def test_a_machine_is_wired_for_the_chips_that_are_there(chips, levels):
    cluster = tiny_topology(chips, fabric("switch", 8), fabric("switch", 4))
    assert [(level.units, level.unit_chips) for level in cluster.levels] == levels


def test_a_shrunk_machine_grows_back():
    cluster = tiny_topology(32, fabric("switch", 8), fabric("switch", 4))
    assert cluster.replace(chips=5).replace(chips=32) == cluster
    assert cluster.replace(chips=5).replace(chips=32).levels == cluster.levels


def test_levels_of_one_unit_are_left_out():
    cluster = tiny_topology(8, fabric("switch", 1), fabric("ring", 8), fabric("switch", 1))
    assert [level.fabric.shape for level in cluster.levels] == ["ring"]


def test_levels_span_whole_units():
    inner, outer = tiny_topology(12, fabric("switch", 4), fabric("ring", 8)).levels
    assert (inner.span_chips, outer.span_chips) == (4, 12)


@pytest.mark.parametrize(
    ("units", "most", "axes"),
    [
        (16, (4, 4), (4, 4)),
        (4, (4, 4), (2, 2)),
        (8, (4, 4), (2, 4)),
        (8, (2, 4), (2, 4)),
        (8, (4, 2), (4, 2)),
        (5, (4, 4), (2, 3)),
        (7, (4, 4), (2, 4)),
        (8, (4, 4, 4), (2, 2, 2)),
        (3, (1, 8), (1, 3)),
        (99, (4, 4), (4, 4)),
    ],
)
def test_a_smaller_grid_is_the_most_compact_that_has_room(units, most, axes):
    assert grid_axes(units, most) == axes


@pytest.mark.slow
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), st.data())
def test_a_grid_has_room_and_stays_within_its_axes(most, data):
    units = data.draw(st.integers(1, math.prod(most)))
    axes = grid_axes(units, most)
    assert len(axes) == len(most)
    assert units <= math.prod(axes) <= math.prod(most)
    assert all(length <= limit for length, limit in zip(axes, most, strict=True))


@pytest.mark.parametrize(
    "joined", GRIDS, ids=lambda joined: f"{joined.shape} {joined.dimensions or joined.units}"
)
def test_consecutive_chips_of_a_grid_are_neighbours(joined):
    level = only_level(joined)
    assert [level.hops(chip, chip + 1) for chip in range(joined.units - 1)] == [1] * (
        joined.units - 1
    )
    assert (
        len({tuple(map(int, level.coordinates(chip))) for chip in range(joined.units)})
        == joined.units
    )


@pytest.mark.parametrize(
    "joined", GRIDS, ids=lambda joined: f"{joined.shape} {joined.dimensions or joined.units}"
)
def test_hops_are_the_shortest_path_over_the_links(joined):
    level, drawn = only_level(joined), links(joined.units, joined)
    shortest = dict(nx.all_pairs_shortest_path_length(drawn))
    chips = range(joined.units)
    assert all(level.hops(one, other) == shortest[one][other] for one in chips for other in chips)


@pytest.mark.parametrize(("shape", "hops"), [("switch", 1), ("full-mesh", 1), ("dragonfly", 3)])
def test_every_pair_is_equally_far_where_all_are_joined(shape, hops):
    level = only_level(fabric(shape, 6))
    assert {level.hops(one, other) for one in range(6) for other in range(6) if one != other} == {
        hops
    }
    assert level.hops(4, 4) == 0


@pytest.mark.parametrize(
    ("shape", "length", "wraps_from", "closed"),
    [("ring", 8, 1, True), ("ring", 2, 1, False), ("chain", 8, 1, False), ("torus", 8, 1, True), ("torus", 4, 16, False),
     ("torus", 16, 16, True), ("torus", 2, 1, False), ("mesh", 8, 1, False)],
)  # fmt: skip
def test_an_axis_closes_where_its_shape_and_length_allow(shape, length, wraps_from, closed):
    dimensions = {"dimensions": (length,)} if shape in ("torus", "mesh") else {}
    assert only_level(fabric(shape, length, wraps_from=wraps_from, **dimensions)).wraps(0) is closed


def test_a_message_crosses_the_level_that_holds_both_ends():
    cluster = tiny_topology(32, fabric("switch", 8), fabric("switch", 4))
    assert [cluster.level_between(0, chip) for chip in (0, 7, 8, 31)] == [None, 0, 1, 1]
    assert cluster.level_between(15, 8) == 0
    with pytest.raises(InputError, match=r"has chips 0 to 31; 32 is not one of them$"):
        cluster.level_between(0, 32)


def test_a_chip_alone_is_no_level_away_from_itself():
    assert tiny_topology(1).level_between(0, 0) is None


def test_a_chip_that_is_not_there_is_refused_within_the_span_too():
    with pytest.raises(InputError, match="is not one of them"):
        tiny_topology(12, fabric("switch", 8), fabric("switch", 4)).level_between(0, 13)


def test_what_nobody_states_costs_nothing_and_forbids_nothing():
    plain = Software(
        name="plain", kernel_overhead_s=0, compute_efficiency=1, memory_efficiency=1, prefill_chunk_tokens=1,
        usable_memory_fraction=1,
    )  # fmt: skip
    overheads = (
        plain.layer_overhead_s,
        plain.step_overhead_s,
        plain.hop_overhead_s,
        plain.reserved_bytes,
    )
    assert overheads == (0.0, 0.0, 0.0, 0.0)
    assert (plain.collectives, plain.most_tensor_parallel >= 100_000) == ((), True)
    kernel = CollectiveKernel(algorithm="ring", kinds=("all_reduce",), base_latency_s=0)
    assert (kernel.step_latency_s, kernel.across_step_latency_s, kernel.bandwidth_fraction) == (
        0.0,
        0.0,
        1.0,
    )
    assert (kernel.most_ranks >= 1_000_000, kernel.across_nodes) == (True, True)


# ── Links ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("joined", "nodes", "edges"),
    [
        (fabric("switch", 8), 9, 8),
        (fabric("full-mesh", 8), 8, 28),
        (fabric("ring", 8), 8, 8),
        (fabric("ring", 2), 2, 1),
        (fabric("chain", 8), 8, 7),
        (fabric("torus", 8, dimensions=(2, 4)), 8, 4 + 8),
        (fabric("torus", 16, dimensions=(4, 4)), 16, 32),
        (fabric("torus", 27, dimensions=(3, 3, 3)), 27, 81),
        (fabric("torus", 16, dimensions=(4, 4), wraps_from=5), 16, 24),
        (fabric("mesh", 8, dimensions=(2, 4)), 8, 4 + 6),
        (fabric("dragonfly", 8), 8, 28),
    ],
    ids=lambda given_value: getattr(given_value, "shape", None),
)
def test_each_shape_has_the_links_that_a_hand_counts(joined, nodes, edges):
    drawn = links(joined.units, joined)
    assert (drawn.number_of_nodes(), drawn.number_of_edges()) == (nodes, edges)
    assert nx.is_connected(drawn)


def test_units_are_joined_place_by_place():
    drawn = links(12, fabric("switch", 4), fabric("ring", 3))
    assert drawn.number_of_nodes() == 12 + 3
    assert drawn.number_of_edges() == 12 + 4 * 3
    assert set(drawn[5]) & set(range(12)) == {1, 9}
    assert sum(drawn.nodes[neighbour]["kind"] == "switch" for neighbour in drawn[5]) == 1


def test_a_second_level_of_switches_has_one_for_each_rail():
    drawn = links(16, fabric("switch", 8), fabric("switch", 2))
    switches = [name for name, kind in drawn.nodes(data="kind") if kind == "switch"]
    assert len(switches) == 2 + 8
    assert drawn.number_of_edges() == 16 + 16


def test_links_carry_the_bandwidth_of_one_direction():
    drawn = links(
        12,
        fabric("chain", 4),
        fabric("switch", 3, bandwidth_bytes_per_s=1e9, latency_s=5e-6, name="rail"),
    )
    assert drawn.edges[0, 1] == {
        "fabric": "chain",
        "latency_s": 1e-6,
        "bandwidth_bytes_per_s": 50e9,
    }
    rails = [wire for *_, wire in drawn.edges(data=True) if wire["fabric"] == "rail"]
    assert len(rails) == 12
    assert all(
        wire == {"fabric": "rail", "latency_s": 5e-6, "bandwidth_bytes_per_s": 1e9}
        for wire in rails
    )
    assert drawn.nodes[0] == {"kind": "chip", "chip": "tiny"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chips", [1, 2, 3, 5, 7, 11, 12])
def test_a_machine_that_is_partly_filled_is_still_connected(shape, chips):
    drawn = links(
        chips,
        fabric(shape, 4),
        fabric(shape, 3, **({"dimensions": (3,)} if shape in ("torus", "mesh") else {})),
    )
    assert nx.is_connected(drawn)
    assert {node for node in drawn if isinstance(node, int)} == set(range(chips))


# ── Growing, and changing one figure ─────────────────────────────────────────────────────────────────────────────────


def test_the_fabrics_limit_the_chips_unless_fewer_were_described():
    cluster = tiny_topology(8, fabric("switch", 8), fabric("switch", 4))
    assert cluster.limit_chips == 32
    assert cluster.replace(most_chips=24).limit_chips == 24
    assert cluster.replace(most_chips=1000).limit_chips == 32
    assert tiny_topology(1).replace(fabrics=()).limit_chips == 1


def test_one_figure_is_changed_and_no_other():
    cluster = tiny_topology(8, fabric("switch", 4), fabric("ring", 4))
    faster = with_value(cluster, "fabrics[1].bandwidth_bytes_per_s", 1e9)
    assert faster.fabrics[1].bandwidth_bytes_per_s == 1e9
    assert with_value(faster, "fabrics[1].bandwidth_bytes_per_s", 50e9) == cluster
    assert cluster.fabrics[1].bandwidth_bytes_per_s == 50e9


@pytest.mark.parametrize(
    ("path", "value"),
    [("chips", 4), ("chip.memory[0].capacity_bytes", 5e9), ("chip.peaks[0].flop_per_s", 1e15), ("power.chip_w", None),
     ("software.collectives[1].base_latency_s", 3e-6), ("software.memory_efficiency", 0.5)],
)  # fmt: skip
def test_every_figure_has_a_path(path, value):
    changed = with_value(tiny_topology(8), path, value)
    place = changed
    for key in path.replace("]", "").replace("[", ".").split("."):
        place = place[int(key)] if key.isdigit() else getattr(place, key)
    assert place == value
    assert changed != tiny_topology(8)


@pytest.mark.parametrize(
    "path",
    ["", "latency_s", "fabrics[3].latency_s", "fabrics[-1].latency_s", "fabrics[²].latency_s", "²", "fabrics[0].speed",
     "chip.memory.capacity_bytes", "chips.count", "name[0]", "power.chip_w.peak", "fabrics[0]"],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_refused(path):
    with pytest.raises(InputError, match=r"^[Tt]opology[^\n]+$"):
        with_value(tiny_topology(8), path, 1.0)


@pytest.mark.parametrize("path", ["fabrics[²].latency_s", "²"])
def test_a_path_with_a_superscript_is_refused_by_name(path):
    with pytest.raises(InputError, match=r"has no figure at|is not a field of it"):
        with_value(tiny_topology(8), path, 1.0)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [("fabrics[0].latency_s", math.nan, "Topology.fabrics[0].latency_s"), ("chips", 9, "Topology.chips"),
     ("chips", 0, "Topology.chips"), ("chip.memory[0].capacity_bytes", 0.0, "Topology.chip.memory[0].capacity_bytes"),
     ("software.usable_memory_fraction", 1.5, "Topology.software.usable_memory_fraction")],
)  # fmt: skip
def test_a_changed_figure_is_validated(path, value, field):
    with pytest.raises(InputError) as refusal:
        with_value(tiny_topology(8), path, value)
    assert str(refusal.value).startswith(f"{field} ")


# ── In words, and refused ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_machine_is_described_level_by_level():
    pods = tiny_topology(
        16, fabric("switch", 4), fabric("torus", 16, dimensions=(4, 4), name="ICI")
    )
    assert described(pods) == "16 × tiny, 4 by switch (switch) then 2 × 2 by torus (ICI)"
    assert described(tiny_topology(1)) == "1 × tiny"


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: tiny_topology(9, fabric("switch", 8)),
            "Topology.chips of 'tiny': its fabrics join at most 8 chips, not 9",
        ),
        (
            lambda: tiny_topology(8).replace(most_chips=4),
            "Topology.chips of 'tiny': its fabrics join at most 4 chips, not 8",
        ),
        (
            lambda: fabric("torus", 8, dimensions=(2, 3)),
            "Fabric.dimensions of 'torus': a torus of 8 units needs dimensions whose product is 8, such as (8,)",
        ),
        (
            lambda: fabric("mesh", 8, dimensions=()),
            "Fabric.dimensions of 'mesh': a mesh of 8 units needs dimensions whose product is 8, such as (8,)",
        ),
        (
            lambda: fabric("ring", 8, dimensions=(8,)),
            "Fabric.dimensions of 'ring': only a torus or a mesh has them, not a ring",
        ),
        (
            lambda: fabric("hypercube", 8),
            "Fabric.shape must be 'switch', 'full-mesh', 'ring', 'chain', 'torus', 'mesh', 'dragonfly' or 'links'"
            ", not 'hypercube'",
        ),
    ],
)
def test_a_machine_that_is_none_is_refused_in_a_sentence(build, sentence):
    with pytest.raises(InputError) as refusal:
        build()
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: fabric("ring", 0), "Fabric.units"),
        (lambda: fabric("ring", 8, bandwidth_bytes_per_s=0), "Fabric.bandwidth_bytes_per_s"),
        (
            lambda: fabric("ring", 8, bandwidth_bytes_per_s="450 GB/s"),
            "Fabric.bandwidth_bytes_per_s",
        ),
        (lambda: fabric("ring", 8, bandwidth_bytes_per_s=math.inf), "Fabric.bandwidth_bytes_per_s"),
        (lambda: fabric("ring", 8, latency_s=-1e-6), "Fabric.latency_s"),
        (lambda: fabric("ring", 8, latency_s=math.nan), "Fabric.latency_s"),
        (lambda: fabric("ring", 8, cables=8), "Fabric.cables"),
        (lambda: fabric("torus", 8, dimensions=(0, 8)), "Fabric.dimensions[0]"),
        (lambda: Peak(dtype="fp3", flop_per_s=1e12), "Peak.dtype"),
        (lambda: Peak(dtype="fp8", flop_per_s=0), "Peak.flop_per_s"),
        (
            lambda: MemoryTier(name="HBM", capacity_bytes=0, bandwidth_bytes_per_s=1e12),
            "MemoryTier.capacity_bytes",
        ),
        (lambda: tiny_chip(memory=()), "Chip.memory"),
        (lambda: tiny_chip(peaks=()), "Chip.peaks"),
        (lambda: tiny_software(compute_efficiency=1.1), "Software.compute_efficiency"),
        (lambda: tiny_software(memory_efficiency=0), "Software.memory_efficiency"),
        (lambda: tiny_software(prefill_chunk_tokens=0), "Software.prefill_chunk_tokens"),
        (
            lambda: CollectiveKernel(algorithm="magic", kinds=(), base_latency_s=0),
            "CollectiveKernel.algorithm",
        ),
        (
            lambda: CollectiveKernel(algorithm="ring", kinds=("gossip",), base_latency_s=0),
            "CollectiveKernel.kinds[0]",
        ),
        (lambda: Figure(path="chips", value=8, source="", confidence="sure"), "Figure.confidence"),
        (lambda: Power(chip_w=-1), "Power.chip_w"),
        (lambda: Price(usd_per_chip_hour=math.inf), "Price.usd_per_chip_hour"),
        (lambda: tiny_topology(0), "Topology.chips"),
        (lambda: tiny_topology(4, racks=2), "Topology.racks"),
    ],
)
def test_a_bad_figure_is_refused_by_name(build, field):
    with pytest.raises(InputError) as refusal:
        build()
    assert str(refusal.value).startswith(f"{field} ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "build",
    [
        lambda: tiny_topology(9, fabric("switch", 8), name="two\nlines"),
        lambda: fabric("ring", 8, name="two\nlines", dimensions=(8,)),
        lambda: tiny_topology(8, name="two\nlines").level_between(0, 99),
        lambda: with_value(tiny_topology(8, name="two\nlines"), "no\nwhere", 1.0),
    ],
)
def test_a_refusal_is_one_line_whatever_the_names(build):
    with pytest.raises(InputError) as refusal:
        build()
    assert "\n" not in str(refusal.value)


def test_a_machine_stays_as_it_is():
    with pytest.raises(ValidationError, match="frozen"):
        tiny_topology(8).chips = 4


@pytest.mark.slow
@settings(max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from(SHAPES))
def test_json_gives_back_an_equal_machine(seed, shape):
    made = random_topology(random.Random(seed), shape)
    levels = made.levels  # what was worked out once must not count
    again = Topology.from_json(made.to_json())
    assert again == made
    assert again.levels == levels


def test_an_engine_can_be_started_with_another_share_of_the_memory():
    machine = load_topology("hgx-h100", chips=8, software="vllm", usable_memory=0.95)
    assert machine.software.usable_memory_fraction == 0.95
    path = "software.usable_memory_fraction"
    assert [figure.value for figure in machine.figures if figure.path == path] == [0.95]
    for share in (0.0, 1.5, True):
        with pytest.raises(InputError, match="usable_memory must be a"):
            load_topology("hgx-h100", usable_memory=share)


def test_a_rack_says_how_dense_its_power_is():
    box = Rack(chips=8, power_w=10_000.0, rack_units=8.0, floor_m2=0.5)
    assert (box.density_w_per_rack_unit, box.density_w_per_m2) == (1250.0, 20_000.0)
    bare = Rack(chips=8, power_w=10_000.0)
    assert bare.density_w_per_rack_unit is bare.density_w_per_m2 is None


def test_racks_of_the_catalogue_draw_what_their_chips_do():
    for name in ("hgx-h100", "gb200-nvl72", "cerebras-cs3", "groq-lpu-chain"):
        machine = load_topology(name)
        assert machine.rack is not None
        each_w = machine.rack.power_w / machine.rack.chips
        assert each_w == pytest.approx(machine.power.system_w, rel=0.3), name
        assert all(figure.source for figure in machine.rack.figures)
