"""Laws of what is no plan, by hand."""

import pytest

from planner.machines.topology import Rack
from planner.studies.audits import facts
from planner.studies.audits.cases import Case
from planner.studies.audits.claims import Area, Claim, Distance, Known, Lookup
from tests.by_hand import round_machine


def verdict_of(law, **fields):
    found = list(law(Case(Claim(name="x", **fields))))
    assert len(found) <= 1
    return found[0] if found else None


def known(**fields):
    given = {"what": "cores", "source": "CEREP", "confidence": "B", **fields}
    return verdict_of(facts.known, known=Known(**given))


@pytest.mark.parametrize(
    ("claimed", "verdict", "factor"),
    [
        (9.0, "plausible", None),
        (8.0, "plausible", None),
        (10.4, "plausible", None),
        (20.0, "disagrees with its source", 2.0),
        (4.0, "disagrees with its source", 2.0),
    ],
)
def test_a_figure_is_held_against_a_sources_range(claimed, verdict, factor):
    row = known(claimed=claimed, low=8.0, high=10.0)
    assert row.verdict == verdict
    assert row.factor == (None if factor is None else pytest.approx(factor))
    assert row.source == "CEREP (B)"
    assert row.figure == "8 to 10"


def test_words_are_held_against_a_sources_words():
    assert known(agrees=True, words="so it is").verdict == "plausible"
    assert known(agrees=False, words="it is not").verdict == "disagrees with its source"
    assert verdict_of(facts.known) is None


def test_units_and_large_numbers_are_written_out():
    assert known(claimed=1.2e12, low=1.18e12, high=1.25e12, unit="B/s").figure == (
        "1.18 TB/s to 1.25 TB/s"
    )
    assert known(claimed=4e12, low=4e12, high=4e12).figure == "4,000,000,000,000"


def test_cores_of_a_mesh_lie_two_thirds_of_a_side_apart_in_each_direction():
    # 100 × 100 cores: by summing |a - b| over all pairs, 33.33 in each of two directions.
    side = range(100)
    mean = 2 * sum(abs(a - b) for a in side for b in side) / 100**2
    row = verdict_of(facts.distances, arithmetic=Distance(cores=10_000, value=1))
    assert row.verdict == "impossible"
    assert row.factor == pytest.approx(mean, rel=1e-3)
    near = Distance(cores=10_000, value=70, cycles_per_hop=1)
    assert verdict_of(facts.distances, arithmetic=near).verdict == "plausible"
    assert "198 at the most" in row.law


def test_a_share_of_a_die_is_its_bits_at_the_density_of_its_arrays():
    # 100 MB are 800 Mbit, at 0.05 mm² 40 mm², 10 % of 400.
    fields = {"memory_bytes": 100e6, "cell_mm2_per_mbit": 0.05, "die_mm2": 400.0}
    assert verdict_of(facts.areas, arithmetic=Area(**fields, value=0.1)).verdict == "plausible"
    row = verdict_of(facts.areas, arithmetic=Area(**fields, value=0.4))
    assert (row.verdict, row.figure) == ("implausible", "10% of the die")
    assert row.factor == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("row_bytes", "value", "figure"),
    [
        (256, 0.8, "6 rows a look-up"),
        (512, 0.9, "11 rows a look-up"),
        (64, 0.6, "3 rows a look-up"),
    ],
)
def test_summed_rows_save_all_but_one_and_their_indices(row_bytes, value, figure):
    row = verdict_of(facts.lookups, arithmetic=Lookup(row_bytes=row_bytes, value=value))
    assert (row.verdict, row.figure) == ("plausible if", figure)


def test_rows_as_small_as_their_indices_save_nothing():
    row = verdict_of(facts.lookups, arithmetic=Lookup(row_bytes=4, value=0.8))
    assert row.verdict == "impossible"


def test_one_chip_is_not_made_specifically_for_two_things():
    assert verdict_of(facts.purposes, purposes=("tea", "coffee")).verdict == "inconsistent"
    assert verdict_of(facts.purposes, purposes=("tea",)) is None


def test_a_family_is_the_catalogues():
    machine = round_machine(1)
    machine = machine.replace(chip=machine.chip.replace(architecture="blackwell"))
    row = verdict_of(facts.architectures, topology=machine, architecture="hopper")
    assert (row.verdict, row.figure) == ("disagrees with its source", "blackwell")
    same = verdict_of(facts.architectures, topology=machine, architecture="Blackwell")
    assert same.verdict == "plausible"


def test_racks_are_as_dense_as_their_watts_over_their_height():
    dense = round_machine(1, rack=Rack(chips=1, power_w=40_000.0, rack_units=10.0))
    row = verdict_of(facts.racks, topology=dense, denser_than=("hgx-h100",))
    assert (row.verdict, row.figure) == ("plausible", "4 kW a U")
    # 1,275 W a U of an H100's box are not more than 2,625 of a rack of 72.
    row = verdict_of(facts.racks, topology="hgx-h100", denser_than=("gb200-nvl72",))
    assert row.factor == pytest.approx(2625 / 1275)
    bare = verdict_of(facts.racks, topology=round_machine(1), denser_than=("hgx-h100",))
    assert bare.verdict == "no opinion"
