"""Machines from TOML: what a file may say, and one sentence for everything that it may not."""

import pytest

import planner as pl
from planner.machines.software import CollectiveKernel
from planner.readers.topology_file import software_toml
from tests.instances import tiny_software

GOOD = """
name = "mine"
chip = "h100-sxm"
chips = 4
software = "vllm"

[[fabric]]
name = "wire"
shape = "switch"
units = 8
bandwidth = "450 GB/s"
latency = { value = "2 us", source = "a data sheet", confidence = "B", note = "one way" }
"""
OWN_CHIP = """
name = "mine"
software = "vllm"

[chip]
name = "own"
peak = [{ dtype = "bf16", value = "100 TFLOP/s" }]
power = "300 W"

[[chip.memory]]
name = "HBM"
capacity = "16 GB"
bandwidth = "1 TB/s"
"""
OWN_SOFTWARE = """
name = "mine"
chip = "h100-sxm"

[software]
name = "own"
kernel_overhead = "1 us"
compute_efficiency = 0.5
memory_efficiency = 0.8
usable_memory = 0.9
prefill_chunk_tokens = 256

[[software.collective]]
algorithm = "ring"
kinds = ["all_reduce"]
base_latency = "2 us"
"""


def machine_of(folder, text, **options):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return pl.load_topology(path, **options)


def refusal(folder, text, **options):
    with pytest.raises(pl.InputError) as refused:
        machine_of(folder, text, **options)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    return refused.value


def with_bandwidth(figure):
    return GOOD.replace('"450 GB/s"', figure)


# ── Read ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_does_not_say_how_many_chips_means_all_that_its_fabrics_join(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("chips = 4\n", ""))
    assert pl.load_topology(path).chips == 8


def test_a_file_names_chip_and_software_of_the_catalogue(tmp_path):
    machine, h100 = machine_of(tmp_path, GOOD), pl.load_topology("hgx-h100", software="vllm")
    assert (machine.name, machine.chips, machine.limit_chips) == ("mine", 4, 8)
    assert (machine.chip, machine.software) == (h100.chip, h100.software)
    assert (machine.fabrics[0].bandwidth_bytes_per_s, machine.fabrics[0].latency_s) == (450e9, 2e-6)


def test_a_file_may_hold_its_own_chip(tmp_path):
    machine = machine_of(tmp_path, OWN_CHIP)
    assert machine.chip.peak_flop_per_s("bf16") == 100e12
    assert machine.chip.memory[0].capacity_bytes == 16e9
    assert machine.power.chip_w == 300
    assert (machine.chips, machine.fabrics, machine.price.basis) == (1, (), "unknown")


def test_a_chip_may_skip_zeros_and_else_skips_none(tmp_path):
    assert machine_of(tmp_path, OWN_CHIP).chip.skips == ()
    skipping = OWN_CHIP.replace('name = "own"', 'name = "own"\nskips = ["2:4"]')
    assert machine_of(tmp_path, skipping).chip.skips == ("2:4",)
    assert "skips" in str(refusal(tmp_path, skipping.replace("2:4", "1:2")))


def test_a_file_may_hold_its_own_software(tmp_path):
    software = machine_of(tmp_path, OWN_SOFTWARE).software
    assert (software.name, software.kernel_overhead_s, software.usable_memory_fraction) == (
        "own",
        1e-6,
        0.9,
    )
    assert (software.collectives[0].algorithm, software.collectives[0].base_latency_s) == (
        "ring",
        2e-6,
    )


@pytest.mark.parametrize(
    ("table", "known"),
    [
        ("", False),
        ('[software.engine]\nnote = "none are known"', False),
        ('[software.engine]\nversion = "2"\nsource = "our own servers"', False),
        ('[software.engine]\nlike_stages = true\nmicro_batches = "one"', True),
    ],
)
def test_rules_of_an_engine_need_neither_version_nor_source(tmp_path, table, known):
    engine = machine_of(tmp_path, f"{OWN_SOFTWARE}\n{table}\n").software.engine
    assert engine.is_known == known
    assert engine.confidence == "stated"


def test_rules_of_an_engine_keep_their_source_confidence_and_note(tmp_path):
    table = """
[software.engine]
version = "0.32"
source = "its parser"
confidence = "A"
note = "run on a CPU"
like_stages = true
micro_batches = "one"
"""
    engine = machine_of(tmp_path, OWN_SOFTWARE + table).software.engine
    told = engine.version, engine.source, engine.confidence, engine.note
    assert told == ("0.32", "its parser", "A", "run on a CPU")
    assert (engine.like_stages, engine.micro_batches) == (True, "one")


def test_half_of_the_rules_of_an_engine_are_refused(tmp_path):
    table = "\n[software.engine]\nmost_stages = 1\n"
    said = str(refusal(tmp_path, OWN_SOFTWARE + table))
    assert "Engine.most_stages" in said
    assert "needs like_stages = true" in said


def test_a_rule_that_no_engine_has_is_refused(tmp_path):
    table = "\n[software.engine]\nlike_stage = true\n"
    assert "like_stages" in str(refusal(tmp_path, OWN_SOFTWARE + table))


def test_chips_and_software_given_beside_the_file_replace_its_own(tmp_path):
    machine = machine_of(tmp_path, GOOD, chips=8, software="sglang")
    assert (machine.chips, machine.software.name) == (8, "sglang")


def test_a_figure_keeps_its_source_confidence_and_note(tmp_path):
    figure = next(f for f in machine_of(tmp_path, GOOD).figures if f.path == "fabrics[0].latency_s")
    assert (figure.value, figure.source, figure.confidence, figure.note) == (
        2e-6,
        "a data sheet",
        "B",
        "one way",
    )


def test_a_bare_figure_stands_as_stated_without_a_source(tmp_path):
    figure = next(
        f
        for f in machine_of(tmp_path, GOOD).figures
        if f.path == "fabrics[0].bandwidth_bytes_per_s"
    )
    assert (figure.value, figure.source, figure.confidence) == (450e9, "", "stated")


@pytest.mark.parametrize(
    ("figure", "bytes_per_s"),
    [
        ('"450 GB/s"', 450e9),
        ('"450GB/s"', 450e9),
        ('"3600 Gb/s"', 450e9),
        ('"1 GiB/s"', 2.0**30),
        ('{ value = "1.5 TB/s" }', 1.5e12),
    ],
)
def test_a_bandwidth_is_read_with_its_unit(tmp_path, figure, bytes_per_s):
    assert (
        machine_of(tmp_path, with_bandwidth(figure)).fabrics[0].bandwidth_bytes_per_s == bytes_per_s
    )


def test_a_rental_is_the_hourly_price(tmp_path):
    price = machine_of(tmp_path, GOOD + '[price]\nrental = "3 USD/h"\n').price
    assert (price.usd_per_chip_hour, price.basis) == (3.0, "rental")


def test_a_purchase_is_spread_over_its_life_with_its_power(tmp_path):
    # 35,040 hours are four years; 1 kW at 0.10 USD/kWh, and 1.2 times that at the site.
    for key in ("purchase", "node"):
        tables = f'[price]\n{key} = "35040 USD"\n[power]\nsystem = "1 kW"\n'
        price = machine_of(tmp_path, GOOD + tables).price
        assert price.basis == "node"
        assert price.usd_per_chip_hour == pytest.approx(1.0 + 0.12)


def test_a_machine_may_have_a_price_on_each_basis(tmp_path):
    # The chip of GOOD draws 700 W alone: 0.07 USD/h, 0.084 at the site.
    tables = """
[price]
chip = "17520 USD"
node = { value = "35040 USD", confidence = "guess", note = "twice the chip", within = 2 }
rental = "3 USD/h"
[power]
system = "1 kW"
"""
    machine = machine_of(tmp_path, GOOD + tables)
    assert machine.price.basis == "node"
    assert machine.price.bases == ("node", "rental", "chip")
    hourly = [machine.price.offer(basis) for basis in ("chip", "node", "rental")]
    assumed = machine.price.economics
    assert [offer.usd_per_chip_hour(assumed) for offer in hourly] == pytest.approx(
        [0.584, 1.12, 3.0]
    )
    figure = machine.figures[-1]
    assert (figure.path, figure.within) == ("price.usd_per_chip_hour", 2)
    assert "twice the chip" in figure.note
    assert "PUE 1.2" in figure.note


def test_a_factor_of_doubt_is_above_one(tmp_path):
    tables = '[price]\nrental = { value = "3 USD/h", within = 0.5 }\n'
    assert "price.rental: Offer.within" in str(refusal(tmp_path, GOOD + tables))


def test_power_of_the_file_goes_before_the_chips(tmp_path):
    power = machine_of(tmp_path, GOOD + '[power]\nchip = "650 W"\nsystem = "1.2 kW"\n').power
    assert (power.chip_w, power.system_w) == (650, 1200)


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ('"450"', "'450' has no unit"),
        ("450", "'450' has no unit"),
        ('"450 GHz"', "the unit of '450 GHz' is not one of bytes per second"),
        ('"450 gb/s"', "the unit of '450 gb/s' is not one of bytes per second"),
        ('"GB/s"', "'GB/s' is not one"),
        ('""', "'' is not one"),
        ("true", "'True' is not one"),
        ('"inf GB/s"', "'inf GB/s' is not one"),
        ('{ source = "x" }', "it has no value"),
        ('{ value = "450 GB/s", sauce = "x" }', "sauce is not one of its fields"),
    ],
)
def test_a_bandwidth_that_is_none_is_refused_by_its_name_in_the_file(tmp_path, figure, said):
    sentence = str(refusal(tmp_path, with_bandwidth(figure)))
    assert sentence.startswith("fabric[0].bandwidth ")
    assert said in sentence


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ('"-450 GB/s"', "above 0, not -4500000000"),
        ('"0 GB/s"', "above 0"),
        ('"1e30 GB/s"', "at most 1"),
    ],
)
def test_a_bandwidth_that_cannot_be_is_refused(tmp_path, figure, said):
    sentence = str(refusal(tmp_path, with_bandwidth(figure)))
    assert sentence.startswith("Topology.fabrics[0].bandwidth_bytes_per_s must be ")
    assert said in sentence


@pytest.mark.parametrize("figure", ['"1.2.3 GB/s"', '"..5 GB/s"'])
def test_a_number_with_two_points_is_refused(tmp_path, figure):
    assert "bandwidth" in str(refusal(tmp_path, with_bandwidth(figure)))


def test_a_decimal_comma_is_never_read_as_thousands(tmp_path):
    assert "bandwidth" in str(refusal(tmp_path, with_bandwidth('"12,5 GB/s"')))


@pytest.mark.parametrize(
    "figure",
    [
        '"1e999 GB/s"',
        '{ value = "450 GB/s", confidence = "Z" }',
        '{ value = "450 GB/s", source = 5 }',
    ],
)
def test_a_figure_that_is_refused_is_named(tmp_path, figure):
    assert "bandwidth" in str(refusal(tmp_path, with_bandwidth(figure)))


LINKS = (
    GOOD.replace('"switch"', '"links"').replace("units = 8", "units = 4")
    + """
[[fabric.link]]
between = [0, 1]
bandwidth = { value = "56 GB/s", source = "a data sheet", confidence = "B" }
latency = "600 ns"

[[fabric.link]]
between = [1, "plx0"]

[[fabric.link]]
between = [2, "plx0"]

[[fabric.link]]
between = [3, "plx0"]
"""
)


def test_a_fabric_may_be_a_list_of_links(tmp_path):
    machine = machine_of(tmp_path, LINKS)
    bridge, *others = machine.fabrics[0].links
    assert (bridge.between, bridge.bandwidth_bytes_per_s) == ((0, 1), 56e9)
    assert bridge.latency_s == pytest.approx(6e-7)
    assert [link.between for link in others] == [(1, "plx0"), (2, "plx0"), (3, "plx0")]
    figure = next(one for one in machine.figures if "links" in one.path)
    assert figure.path == "fabrics[0].links[0].bandwidth_bytes_per_s"
    assert (figure.source, figure.confidence) == ("a data sheet", "B")
    assert pl.Topology.from_json(machine.to_json()) == machine


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("between = [0, 1]", "between = [0, 4]", "Fabric.links[0].between of 'wire': 4 is not one of its chips"),
        ("between = [0, 1]", "between = [0]", "Topology.fabrics[0].links[0].between"),
        ("between = [0, 1]", 'between = [0, "plx1"]', "Topology.fabrics[0].links of 'mine': no way leads from chip 0 to chip"),
        ('"56 GB/s"', '"0 GB/s"', "Topology.fabrics[0].links[0].bandwidth_bytes_per_s must be above 0"),
        ('"600 ns"', '"600 GB"', "fabric[0].link[0].latency needs a number and a unit of seconds"),
        ("between = [0, 1]", "joins = [0, 1]", "link.joins is not a field of a link"),
    ],
)  # fmt: skip
def test_links_that_cannot_be_are_refused_in_one_sentence(tmp_path, old, new, said):
    assert LINKS.count(old) == 1
    assert said in str(refusal(tmp_path, LINKS.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "mine"\n', "", "topology.name is missing"),
        ('name = "mine"', "name = 5", "Topology.name must be text, not 5"),
        ('chip = "h100-sxm"\n', "", "topology.chip must be a name of the catalogue or a table"),
        ('software = "vllm"\n', "", "topology.software must be a name of the catalogue or a table"),
        ("chips = 4", "chips = 9", "its fabrics join at most 8 chips, not 9"),
        ("chips = 4", "chips = 0", "Topology.chips must be at least 1, not 0"),
        ("chips = 4", "chips = 4.5", "Topology.chips must be a whole number"),
        ('"switch"', '"star"', "Topology.fabrics[0].shape must be 'switch', 'full-mesh', 'ring', 'chain', 'torus', 'mesh'"),
        ('"switch"', '"torus"', "Fabric.dimensions of 'wire': a torus of 8 units needs dimensions whose product is 8"),
        ("units = 8", "units = 8\ndimensions = [8]", "only a torus or a mesh has them, not a switch"),
        ("units = 8\n", "", "Topology.fabrics[0].units is missing"),
        ("units = 8", "units = 0", "Topology.fabrics[0].units must be at least 1, not 0"),
        ('bandwidth = "450 GB/s"\n', "", "Topology.fabrics[0].bandwidth_bytes_per_s is missing"),
        ('"2 us"', '"-2 us"', "Topology.fabrics[0].latency_s must be at least 0"),
        ('"2 us"', '"2 GB"', "fabric[0].latency needs a number and a unit of seconds, such as '2 us'"),
        ("[[fabric]]", "[fabric]", "fabric must be an array of tables, written as [[fabric]]"),
        ("[[fabric]]", "power = 5\n[[fabric]]", "power must be a table, written as [power]"),
        ("[[fabric]]", 'power = { rack = "5 W" }\n[[fabric]]', "power.rack is not a field"),
        ("[[fabric]]", 'price = { rental = "3 USD" }\n[[fabric]]', "price.rental needs a number and a unit of dollars per hour"),
        ("[[fabric]]", 'price = { purchase = { note = "x" } }\n[[fabric]]', "price.purchase must be a figure or a table"),
        ('name = "mine"', 'name = "mine', "is not valid TOML"),
        ("units = 8", "units = 8\nunits = 9", "is not valid TOML: Cannot overwrite a value (at line 11"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused_in_one_sentence(tmp_path, old, new, said):
    assert GOOD.count(old) == 1
    assert said in str(refusal(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN_CHIP.replace('"bf16"', '"bf17"'), "Topology.chip.peaks[0].dtype must be one of 30 words, such as 'fp32'"),
        (OWN_CHIP.replace('"100 TFLOP/s"', '"100 TB/s"'), "chip.peak[0] needs a number and a unit of operations per second"),
        (OWN_CHIP.replace('"16 GB"', '"16 GB/s"'), "chip.memory[0].capacity needs a number and a unit of bytes"),
        (OWN_CHIP.partition("[[chip.memory]]")[0], "Topology.chip.memory"),
        (OWN_CHIP.replace("power =", "watts ="), "chip.watts is not a field of a chip; did you mean"),
        (OWN_SOFTWARE.replace("0.5", "1.5"), "Topology.software.compute_efficiency must be at most 1"),
        (OWN_SOFTWARE.replace("0.5", '"half"'), "software.compute_efficiency must be a number, not 'half'"),
        (OWN_SOFTWARE.replace('"all_reduce"', '"all_sum"'), "Topology.software.collectives[0].kinds[0] must be 'all_reduce'"),
        (OWN_SOFTWARE.replace("kinds =", "kind ="), "collective.kind is not a field of a collective; did you mean kinds"),
    ],
)  # fmt: skip
def test_a_chip_or_a_stack_that_cannot_be_is_refused_in_one_sentence(tmp_path, text, said):
    assert said in str(refusal(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('colour = "red"\n' + GOOD, "topology.colour is not a field of a topology; did you mean "),
        (
            GOOD + "wraps = 4\n",
            "fabric.wraps is not a field of a fabric; did you mean wraps_from, ",
        ),
    ],
)
def test_an_unknown_key_gets_the_three_nearest(tmp_path, text, said):
    sentence = str(refusal(tmp_path, text))
    assert sentence.startswith(said)
    assert sentence.count(",") == 1
    assert " or " in sentence


@pytest.mark.parametrize(
    ("old", "new", "kind", "nearest"),
    [("h100-sxm", "h100sxm5", "chip", "h100-sxm"), ("vllm", "vlm", "software", "vllm")],
)
def test_an_unknown_name_in_the_file_gets_the_three_nearest(tmp_path, old, new, kind, nearest):
    error = refusal(tmp_path, GOOD.replace(f'"{old}"', f'"{new}"'))
    assert isinstance(error, pl.UnknownNameError)
    assert (error.kind, error.name, error.nearest[0], len(error.nearest)) == (kind, new, nearest, 3)


def test_an_unknown_software_beside_the_file_gets_the_three_nearest(tmp_path):
    error = refusal(tmp_path, GOOD, software="vlm")
    assert isinstance(error, pl.UnknownNameError)
    assert error.nearest[0] == "vllm"


def test_too_many_chips_beside_the_file_are_refused_with_the_most(tmp_path):
    assert "at most 8 chips, not 9" in str(refusal(tmp_path, GOOD, chips=9))


def test_a_negative_purchase_is_refused(tmp_path):
    assert "price" in str(refusal(tmp_path, GOOD + '[price]\npurchase = "-100 USD"\n'))


def test_a_purchase_beside_a_node_is_refused(tmp_path):
    assert "price.node or price.purchase" in str(
        refusal(tmp_path, GOOD + '[price]\nnode = "3 USD"\npurchase = "30000 USD"\n')
    )


# ── Hosts ────────────────────────────────────────────────────────────────────────────────────────

HOST = """
[host]
name = "board"
peak = [{ dtype = "fp32", value = "2 TFLOP/s" }]
link_bandwidth = { value = "25 GB/s", source = "a data sheet", confidence = "B" }
link_latency = "10 us"

[[host.memory]]
name = "DDR5"
capacity = "56 GB"
bandwidth = "80 GB/s"
"""


def test_a_file_may_hold_the_computer_that_its_chips_stand_in(tmp_path):
    machine = machine_of(tmp_path, GOOD + HOST)
    assert machine.host.bandwidth_bytes_per_s == 25e9
    assert machine.host.processor.memory[0].capacity_bytes == 56e9
    (link,) = [one for one in machine.figures if one.path == "host.bandwidth_bytes_per_s"]
    assert (link.source, link.confidence) == ("a data sheet", "B")
    paths = {one.path for one in machine.figures}
    assert "host.processor.memory[0].bandwidth_bytes_per_s" in paths


def test_a_file_names_a_host_of_the_catalogue_or_none(tmp_path):
    named = GOOD.replace('software = "vllm"', 'software = "vllm"\nhost = "desktop-ddr5"')
    assert machine_of(tmp_path, named).host.processor.memory[0].bandwidth_bytes_per_s == 83.2e9
    assert machine_of(tmp_path, GOOD).host is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('link_latency = "10 us"\n', "", "host.link_latency is missing"),
        ("link_latency", "link_latencies", "host.link_latencies is not a field of a host"),
        ("80 GB/s", "80 GB", r"host.memory\[0\].bandwidth"),
    ],
)
def test_a_host_that_cannot_be_is_refused_in_one_sentence(tmp_path, old, new, said):
    with pytest.raises(pl.InputError, match=said):
        machine_of(tmp_path, GOOD + HOST.replace(old, new))


def test_a_stack_is_written_as_it_is_read(tmp_path):
    plain = CollectiveKernel(
        algorithm="two-shot", kinds=("dispatch", "combine"), base_latency_s=2e-6
    )
    wide = plain.replace(least_units=9, most_ranks=72, across_nodes=False)
    stack = tiny_software(collectives=(plain, wide))
    text = software_toml(stack)
    assert text.count("least_units") == 1  # of the one that asks for more than one
    path = tmp_path / "stack.toml"
    path.write_text(text, encoding="utf-8")
    assert pl.load_topology("hgx-h100", software=str(path)).software == stack


def test_a_lease_a_licence_and_tokens_have_prices_too(tmp_path):
    tables = """
[price]
lease = { value = "2920 USD/month", source = "an offer", confidence = "C" }
lease_fee = "17520 USD"
lease_years = 2
licence = "35040 USD/year"
licence_chips = 4
input_tokens = "0.5 USD/Mtok"
output_tokens = { value = "0.8 USD/Mtok", source = "a list" }
[power]
system = "1 kW"
"""
    price = machine_of(tmp_path, GOOD + tables).price
    assert price.bases == ("lease", "token")
    # 4 USD/h, 1 of the fee, 1 of the licence, 0.12 of power at the site.
    assert (price.basis, price.usd_per_chip_hour) == ("lease", pytest.approx(6.12))
    assert price.offer("lease").source == "an offer"
    assert price.offer("token").usd_per_million_tokens(1000, 1000) == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ('lease = "3 USD/h"', "price.lease needs a number and a unit of dollars per year"),
        ("lease_years = 2", "price.lease_years needs price.lease"),
        ('lease = "3 USD/year"\nlease_fee = "3 USD"', "Offer.lease_years is missing"),
        ('input_tokens = "1 USD/Mtok"', "price.input_tokens needs"),
        ('licence = "-1 USD/year"', "price.licence must lie between"),
        ("licence_chips = 2", "price.licence_chips needs price.licence"),
    ],
)
def test_half_a_price_is_refused(tmp_path, table, named):
    assert named in str(refusal(tmp_path, f"{GOOD}[price]\n{table}\n"))


def test_a_rack_has_chips_and_power(tmp_path):
    tables = '[rack]\nchips = 8\npower = { value = "10 kW", source = "a sheet" }\nrack_units = 8\n'
    rack = machine_of(tmp_path, GOOD + tables).rack
    assert (rack.chips, rack.power_w, rack.density_w_per_rack_unit) == (8, 10_000.0, 1250.0)
    assert rack.figures[0].source == "a sheet"
    assert "rack.power is missing" in str(refusal(tmp_path, GOOD + "[rack]\nchips = 8\n"))
    assert machine_of(tmp_path, GOOD).rack is None
