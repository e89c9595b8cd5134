"""Machines of 2025 and 2026: rooflines by hand, formats that chips multiply, and figures that are
guesses because nothing was published."""

from itertools import pairwise

import pytest

import planner as pl
from planner.machines.topology import Figure
from tests.lanes import mostly_slow

NEW = (
    "groq3-lpx",
    "cerebras-cs4",
    "matx-one",
    "tenstorrent-wormhole-n300",
    "tenstorrent-blackhole-p150",
    "xeon-8592",
    "hgx-h800",
    "hgx-h20-141gb",
    "trainium3",
    "apple-m4-max",
    "apple-m5",
    "apple-m5-max",
    "mi450-72",
    "tpu-8i",
    "tpu-8t",
    "ascend-910c",
)
SLOW = ("groq3-lpx", "matx-one")
ALONE = pl.Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)

# Llama-3.1-8B: 32 layers of 218.1 million weights, and a head of 128,256 × 4,096.
LAYER = 4096 * (4096 + 2 * 1024 + 4096 + 3 * 14336)
HEAD = 128_256 * 4096


def scored(name, weight_dtype, *, chips, software=None, work=ALONE, **split):
    machine = pl.load_topology(name, chips=chips, software=software)
    graph = pl.load_model("llama-3.1-8b", weight_dtype=weight_dtype)
    return pl.score_plan(pl.uniform_plan(graph, machine, **split), graph, machine, work)


def figure_of(name, path) -> Figure:
    (found,) = [one for one in pl.load_topology(name).figures if one.path == path]
    return found


# ── By hand ──────────────────────────────────────────────────────────────────────────────────────


def test_a_token_of_the_new_lpu_waits_for_its_layers_more_than_for_its_sram():
    """Two chips of a tray for each stage, 20 stages: of a layer each reads half of 218 MB at 0.48
    of 150 TB/s, 1.5 us, and waits 40.1; of two all-reduces each takes 0.53 us and 8 kB over 104
    GB/s; 19 stages hand on in one hop each; the head is read in 3.6 us."""
    score = scored("groq3-lpx", "fp8", chips=40, tensor_parallel=2, pipeline_parallel=20)
    layer_s = LAYER / 2 / (0.48 * 150e12) + 40.1e-6 + 2 * (0.53e-6 + 8192 / 104e9)
    by_hand = 32 * layer_s + 19 * (0.53e-6 + 8192 / 104e9) + HEAD / 2 / (0.48 * 150e12)
    assert by_hand == pytest.approx(1.39e-3, rel=0.01)
    assert score.tpot_s == pytest.approx(by_hand, rel=0.01)

    first = score.breakdown[0]
    assert first.memory_s == pytest.approx(LAYER / 2 / (0.48 * 150e12), rel=0.01)
    assert score.power_w <= 40 * 530


def test_a_token_of_a_turbo_wafer_waits_for_its_layers_regions():
    """A layer of 436 MB takes a hundredth of 44 GB, the side of its region a tenth of the
    wafer's: 2 us and a tenth of 126, 32 times."""
    score = scored("cerebras-cs4", "bf16", chips=1)
    layer_s = 2e-6 + 126e-6 * (2 * LAYER / 44e9) ** 0.5
    assert 32 * layer_s == pytest.approx(465e-6, rel=0.01)
    assert score.tpot_s == pytest.approx(32 * layer_s, rel=0.01)


def test_a_turbo_wafer_without_its_software_is_bound_by_its_multipliers():
    """15 GFLOP at 31.6 PFLOP/s take 0.48 us; dense, an eighth of 250,000 is what an eighth of
    125,000 is to the WSE-3."""
    score = scored("cerebras-cs4", "bf16", chips=1, software="claims")
    matmuls_s = 2 * (32 * LAYER + HEAD) / 31.6e15
    assert matmuls_s < score.tpot_s < 1.1 * matmuls_s


def test_a_blackhole_reads_its_weights_at_512_gigabytes_a_second():
    """Both in 16 bit: 15.0 GB and a cache of 1,152 tokens of 131 kB take 29.6 ms, and the
    matmuls of a prompt of 4,096 tokens 172 ms at 332 TFLOP/s; attention takes 13 more, activations
    the rest."""
    score = scored("tenstorrent-blackhole-p150", "bf16", chips=1, software="claims")
    read = 2 * (32 * LAYER + HEAD) + 1152 * 32 * 2 * 1024 * 2
    assert score.tpot_s == pytest.approx(read / 512e9, rel=0.005)
    assert score.tpot_s == pytest.approx(29.6e-3, rel=0.005)

    long = pl.Workload(batch_size=1, prompt_tokens=4096, output_tokens=1, arrivals="together")
    prompt = scored("tenstorrent-blackhole-p150", "bf16", chips=1, software="claims", work=long)
    matmuls_s = 2 * 32 * LAYER * 4096 / 332e12
    assert matmuls_s < prompt.ttft_s < 1.25 * matmuls_s


def test_both_chips_of_a_wormhole_card_read_half():
    score = scored(
        "tenstorrent-wormhole-n300", "bf16", chips=2, tensor_parallel=2, software="claims"
    )
    read = (2 * (32 * LAYER + HEAD) + 1152 * 32 * 2 * 1024 * 2) / 2
    exchanged_s = 65 * 2 * 1e-6
    assert score.tpot_s == pytest.approx(read / 288e9 + exchanged_s, rel=0.005)


def test_matx_is_as_fast_as_its_maker_projects():
    """More than 2,000 tokens/s of a large MoE of some 100 layers: here one of 94."""
    machine = pl.load_topology("matx-one")
    graph = pl.load_model("qwen3-235b-a22b", weight_dtype="fp8")
    score = pl.score_plan(
        pl.uniform_plan(graph, machine, tensor_parallel=64), graph, machine, ALONE
    )
    assert score.tpot_s == pytest.approx(94 / 100 / 2000, rel=0.03)


# ── Each of them ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", mostly_slow(NEW, but=tuple(set(NEW) - set(SLOW))))
def test_each_plans_a_small_model_and_says_how_far_it_stands_from_what_was_measured(name):
    machine = pl.load_topology(name)
    found = pl.partition(pl.load_model("llama-3.1-8b"), machine, ALONE)
    assert found.plan is not None
    low, high = found.score.interval("tpot_s")
    assert low < found.score.tpot_s < high
    kin = machine.chip.architecture in ("hopper", "apple")
    assert found.score.evidence == ("near measured" if kin else "extrapolated")


@pytest.mark.parametrize("name", ["groq3-lpx", "cerebras-cs4", "matx-one"])
def test_what_was_taken_from_a_predecessor_is_a_guess_with_its_own_interval(name):
    stated = {one.path: one for one in pl.load_topology(name).figures}
    speeds = ("layer_overhead_s", "compute_efficiency", "memory_efficiency")
    for field in speeds:
        figure = stated[f"software.{field}"]
        assert figure.confidence in ("guess", "derived", "claim"), field
        assert figure.within is not None, field
        assert figure.within >= 1.4, field


def test_every_figure_of_matx_is_a_guess_or_a_claim():
    figures = pl.load_topology("matx-one").figures
    assert {one.confidence for one in figures} == {"guess", "claim"}


@pytest.mark.parametrize("name", ["trainium3", "tpu-8i", "tpu-8t", "matx-one"])
def test_watts_that_nobody_published_are_not_made_up(name):
    power = pl.load_topology(name).power
    assert power.chip_w is None
    assert power.system_w is None


# ── Beside their kin ─────────────────────────────────────────────────────────────────────────────


def test_an_h800_is_an_h100_with_fewer_links():
    h800, h100 = pl.load_topology("hgx-h800"), pl.load_topology("hgx-h100")
    assert h800.chip.replace(name=h100.chip.name) == h100.chip
    links = [one.fabrics[0].bandwidth_bytes_per_s for one in (h800, h100)]
    assert links == [200e9, 450e9]


def test_an_h20_of_141_gb_has_the_first_ones_multipliers_and_an_h200s_memory():
    later, first, h200 = map(pl.load_topology, ("hgx-h20-141gb", "hgx-h20", "hgx-h200"))
    assert later.chip.peaks == first.chip.peaks
    assert later.chip.memory[0].bandwidth_bytes_per_s == h200.chip.memory[0].bandwidth_bytes_per_s
    assert later.chip.memory[0].capacity_bytes == h200.chip.memory[0].capacity_bytes


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (("groq-lpu-chain", "groq3-lpx"), "memory"),
        (("cerebras-cs2", "cerebras-cs3", "cerebras-cs4"), "memory"),
        (("trainium1", "trainium2", "trainium3"), "memory"),
        (("apple-m3-max", "apple-m4-max", "apple-m5-max"), "memory"),
        (("mi300x-8", "mi355x-8", "mi450-72"), "memory"),
        (("xeon-8380", "xeon-8592", "xeon-6980p"), "memory"),
    ],
)
def test_a_later_generation_reads_faster(names, field):
    speeds = [getattr(pl.load_topology(name).chip, field)[0] for name in names]
    assert all(a.bandwidth_bytes_per_s < b.bandwidth_bytes_per_s for a, b in pairwise(speeds))


def test_the_new_lpus_rack_is_as_announced():
    machine = pl.load_topology("groq3-lpx")
    tray, spine = machine.fabrics[:2]
    assert machine.chips == tray.units * spine.units == 256
    assert machine.chips * machine.chip.memory[0].capacity_bytes == pytest.approx(128e9)
    assert machine.chips * machine.chip.peak_flop_per_s("fp8") == pytest.approx(32 * 9.6e15)
    # 96 links of 13 GB/s; 2.5 TB/s of a chip and 640 of the rack count both directions.
    sent = 7 * tray.bandwidth_bytes_per_s + 2 * spine.bandwidth_bytes_per_s
    assert sent == pytest.approx(96 * 13e9, rel=0.01)
    assert 2 * 256 * sent == pytest.approx(640e12, rel=0.01)


def test_a_rubin_rack_is_joined_to_an_lpx_rack():
    cluster = pl.load_cluster("rubin-lpx")
    assert [(pool.topology.name, pool.topology.chips) for pool in cluster.pools] == [
        ("vera-rubin-nvl72", 72),
        ("groq3-lpx", 256),
    ]
    assert cluster.links[0].bandwidth_bytes_per_s == 32 * 100e9


# ── Formats that a chip multiplies ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "stored", "multiplied"),
    [
        ("groq-lpu-chain", "int8", "int8"),
        ("groq-lpu-chain", "fp8", "fp16"),
        ("groq-lpu-chain", "bf16", "fp16"),
        ("groq-lpu-chain", "nvfp4", "fp16"),
        ("cerebras-cs2", "fp8", "fp16"),
        ("cerebras-cs3", "fp8", "bf16"),
        ("cerebras-cs3", "int8", "bf16"),
        ("cerebras-cs4", "fp8", "bf16"),
        ("groq3-lpx", "fp8", "fp8"),
        ("groq3-lpx", "nvfp4", "fp8"),
        ("groq3-lpx", "int8", "bf16"),
        ("ascend-910c", "int8", "int8"),
        ("ascend-910c", "fp8", "bf16"),
        ("xeon-8592", "fp8", "bf16"),
        ("trainium3", "mxfp4", "fp4"),
    ],
)
def test_chips_multiply_in_the_nearest_format_that_they_have(name, stored, multiplied):
    assert pl.load_topology(name).chip.multiplies_in(stored) == multiplied


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("groq-lpu-chain", {"int8", "fp16"}),
        ("groq-lpu-dragonfly", {"int8", "fp16"}),
        ("cerebras-cs2", {"fp16"}),
        ("cerebras-cs3", {"fp16", "bf16"}),
        ("cerebras-cs4", {"fp16", "bf16"}),
    ],
)
def test_lpu_v1_and_wafers_have_no_8_bit_floats(name, formats):
    assert {one.dtype for one in pl.load_topology(name).chip.peaks} == formats


def test_wafers_of_all_generations_pass_over_zeros():
    for name in ("cerebras-cs2", "cerebras-cs3", "cerebras-cs4"):
        assert set(pl.load_topology(name).chip.skips) == {"2:4", "unstructured"}


# ── Watts and prices of nodes ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "chip_w", "system_w", "confidence"),
    [
        ("mi300x-8", 750, 750 + 575, "guess"),
        ("mi325x-8", 1000, 1000 + 575, "guess"),
        ("mi350x-8", 1000, 1000 + 575, "guess"),
        ("mi355x-8", 1400, 125e3 / 64, "C"),
        ("mi450-72", 2300, 235e3 / 72, "C"),
        ("ascend-910c", 780, 559e3 / 384, "M"),
    ],
)
def test_nodes_of_others_than_nvidia_have_watts_at_the_wall(name, chip_w, system_w, confidence):
    """An H100 of 700 W stands in a node of 1,275 for each: 575 beside it."""
    power = pl.load_topology(name).power
    assert power.chip_w == chip_w
    assert power.system_w == pytest.approx(system_w, rel=0.001)
    assert figure_of(name, "power.system_w").confidence == confidence


@pytest.mark.parametrize(
    ("name", "basis", "usd"),
    [
        ("hgx-b300", "chip", 53_000),
        ("hgx-b300", "node", 53_000 + 6_750),
        ("gb300-nvl72", "node", 4e6 / 72),
        ("vera-rubin-nvl72", "chip", 55_000),
        ("vera-rubin-nvl72", "node", 7.8e6 / 72),
    ],
)
def test_newer_racks_have_a_price(name, basis, usd):
    offer = pl.load_topology(name).price.offer(basis)
    assert offer.purchase_usd == pytest.approx(usd, rel=0.01)
