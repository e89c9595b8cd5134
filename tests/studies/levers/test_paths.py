"""Figures by path."""

import pytest

import planner as pl
from planner.errors import InputError, UnknownNameError
from planner.scoring.doubts import SPREADS
from planner.studies.levers.paths import (
    changed,
    figure_text,
    figures_of,
    new_value,
    paths_like,
    ranges_of,
    unit_of,
)

MACHINE = pl.load_topology("groq-lpu-chain")
ONE = pl.Workload()
KNOWN = figures_of(MACHINE, ONE)


def test_every_figure_of_the_catalogue_is_one():
    for name in ("hgx-h100", "groq-lpu-chain", "cerebras-cs3"):
        machine = pl.load_topology(name)
        known = figures_of(machine, ONE)
        for figure in machine.figures:
            assert known.get(figure.path, figure.value) == figure.value
    assert KNOWN["chip.memory[0].capacity_bytes"] == 230e6
    assert KNOWN["chips"] == 576
    assert KNOWN["workload.prompt_tokens"] == 1024
    assert not any(path.startswith("figures") for path in KNOWN)
    assert "divisible" not in KNOWN


def test_a_star_stands_for_every_place():
    assert paths_like("fabrics[*].latency_s", KNOWN) == [
        "fabrics[0].latency_s",
        "fabrics[1].latency_s",
    ]
    machine, _ = changed(MACHINE, ONE, {"fabrics[*].latency_s": "x2"})
    assert [fabric.latency_s for fabric in machine.fabrics] == pytest.approx([1.06e-6, 1.06e-6])


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("fabric[0].latency", "fabrics"),
        ("chip.memory.bandwidth", "chip.memory"),
        ("workload.batch", "workload.batch_size"),
    ],
)
def test_a_wrong_path_gets_the_nearest(wrong, nearest):
    with pytest.raises(UnknownNameError, match=f"no figure called.*{nearest}"):
        changed(MACHINE, ONE, {wrong: 1})


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (5e-7, 5e-7),
        ("x2", 6e-7),
        ("× 0.5", 1.5e-7),
        ("+10 %", 3.3e-7),
        ("-20%", 2.4e-7),
        ("1 us", 1e-6),
    ],
)
def test_changes_are_values_factors_shares_or_quantities(change, value):
    assert new_value("fabrics[0].latency_s", 3e-7, change) == pytest.approx(value)


def test_whole_numbers_stay_whole():
    _, asked = changed(MACHINE, ONE, {"workload.prompt_tokens": "x1.5", "workload.batch_size": 8})
    assert (asked.prompt_tokens, asked.batch_size) == (1536, 8)


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("fabrics[0].latency_s", "twice", "needs a number and a unit of seconds"),
        ("fabrics[0].latency_s", "x1.2.3", "must be a number, 'x2' or"),
        ("software.usable_memory_fraction", "much", "must be a number, 'x2' or"),
        ("power.chip_w", "x2", "give a number"),
        ("software.usable_memory_fraction", 3, "at most 1"),
    ],
)
def test_wrong_changes_are_refused(path, change, words):
    machine = MACHINE.replace(power=MACHINE.power.replace(chip_w=None))
    with pytest.raises(InputError, match=words):
        changed(machine, ONE, {path: change})


def test_figures_are_told_with_their_unit():
    assert figure_text("fabrics[0].latency_s", 3e-7) == "300 ns"
    assert figure_text("software.most_sequences", 4096) == "4,096"
    assert figure_text("chip.peaks[2].flop_per_s", 1.98e15) == "1.98 PFLOP/s"
    assert unit_of("workload.batch_size") == ""


def test_ranges_follow_the_grade_of_the_source():
    ranges = {one.path: one for one in ranges_of(MACHINE, ONE)}
    told = {figure.path: figure for figure in MACHINE.figures}
    for path, one in ranges.items():
        by = told[path].within or 1 + SPREADS[told[path].confidence]
        assert one.low == pytest.approx(one.value / by)
        assert one.high == pytest.approx(one.value * by) or one.high <= 1
    assert "chip.memory[0].capacity_bytes" in ranges


@pytest.mark.slow
def test_every_range_of_the_catalogue_makes_a_machine():
    machine = pl.load_topology("hgx-h100")
    for one in ranges_of(machine, ONE):
        for end in (one.low, one.high):
            changed(machine, ONE, {one.path: end})


def test_ranges_may_be_given():
    low_high, spread = ranges_of(MACHINE, ONE, {"chips": (8, 64), "price.usd_per_chip_hour": 0.5})
    assert low_high[2:4] == (8, 64)
    assert spread.high == pytest.approx(1.5 * spread.value)
    (batch,) = ranges_of(MACHINE, pl.Workload(batch_size=10), "workload.batch_size")
    assert (batch.low, batch.high, batch.confidence) == (pytest.approx(10 / 1.2), 12, "")


@pytest.mark.parametrize(
    ("figures", "words"),
    [({"chips": (64, 8)}, "lower first"), (["workload.transfer_s"], "must have a value above 0")],
)
def test_wrong_ranges_are_refused(figures, words):
    with pytest.raises(InputError, match=words):
        ranges_of(MACHINE, ONE, figures)


@pytest.mark.parametrize("change", [0, -1, "-100 %", "x0"])
def test_a_count_that_changes_to_nothing_is_refused_and_not_taken_for_one(change):
    with pytest.raises(InputError, match=r"batch_size|x0"):
        changed(MACHINE, ONE, {"workload.batch_size": change})
