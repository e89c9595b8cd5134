"""What a figure must be."""

import pytest

import planner as pl
from planner.errors import InputError, UnknownNameError
from planner.studies import Required, required

GRAPH = pl.load_model("llama-3.2-1b", weight_dtype="fp8")
MACHINE = pl.load_topology("rtx-4090")
ONE = pl.Workload()
BANDWIDTH, CAPACITY = "chip.memory[0].bandwidth_bytes_per_s", "chip.memory[0].capacity_bytes"


def tpot(machine, workload=ONE):
    return pl.partition(GRAPH, machine, workload, minimize="tpot_s").objective


@pytest.fixture(scope="module")
def faster():
    return required(
        BANDWIDTH, GRAPH, MACHINE, ONE, target=0.002, minimize="tpot_s", between=(2e11, 1e13)
    )


def test_the_value_just_meets_the_target(faster):
    assert faster.outcome == "found"
    assert faster.is_least
    assert tpot(pl.with_value(MACHINE, BANDWIDTH, faster.value)) <= 0.002
    assert tpot(pl.with_value(MACHINE, BANDWIDTH, faster.value / 1.011)) > 0.002
    assert "must be at least" in str(faster)
    assert "tpot_s of at most 2 ms" in str(faster)


def test_no_value_suffices_and_the_limit_is_told():
    none = required(BANDWIDTH, GRAPH, MACHINE, ONE, target=1e-5, minimize="tpot_s")
    assert (none.outcome, none.value) == ("never", None)
    assert none.best.value == max(row.value for row in none.rows)
    assert "the best is" in str(none)


def test_every_value_may_suffice():
    every = required(BANDWIDTH, GRAPH, MACHINE, ONE, target=10.0, minimize="tpot_s")
    assert every.outcome == "always"
    assert str(every).startswith("every chip.memory[0].bandwidth")


@pytest.mark.slow
def test_less_may_be_what_is_needed():
    less = required(
        "software.step_overhead_s",
        GRAPH,
        MACHINE,
        ONE,
        target=0.99 * tpot(MACHINE),
        minimize="tpot_s",
    )
    assert not less.is_least
    assert less.value < less.now
    assert "at most" in str(less)


@pytest.mark.slow
def test_values_without_a_plan_do_not_meet_the_target():
    room = required(CAPACITY, GRAPH, MACHINE, ONE, target=10.0, minimize="tpot_s")
    assert room.is_least
    assert room.rows[0].objective is None
    assert "does not fit" in room.rows[0].message
    assert 1e9 < room.value < 3e9


@pytest.mark.slow
def test_whole_figures_are_found_exactly():
    most = required(
        "workload.batch_size",
        GRAPH,
        MACHINE,
        ONE,
        target=1.5 * tpot(MACHINE),
        minimize="tpot_s",
        between=(1, 500),
    )
    assert most.value == int(most.value)
    assert tpot(MACHINE, pl.Workload(batch_size=int(most.value))) <= 1.5 * tpot(MACHINE)
    assert tpot(MACHINE, pl.Workload(batch_size=int(most.value * 1.01) + 1)) > 1.5 * tpot(MACHINE)


@pytest.mark.slow
def test_a_machine_is_beaten_with_its_own_best_plan():
    rival = pl.load_topology("hgx-h100", chips=1)
    made = required(BANDWIDTH, GRAPH, MACHINE, ONE, target=rival, minimize="tpot_s")
    assert made.against == "hgx-h100"
    assert {row.target for row in made.rows} == {tpot(rival)}
    assert "as on hgx-h100" in str(made)


@pytest.mark.slow
def test_chips_may_be_free():
    graph = pl.load_model("llama-3.1-8b", weight_dtype="bf16")
    options = {"target": 1.0, "minimize": "tpot_s", "between": (8e9, 16e9)}
    machine = pl.load_topology("hgx-h100", chips=1)
    assert required(CAPACITY, graph, machine, ONE, **options).outcome == "never"
    assert required(CAPACITY, graph, machine, ONE, free_chips=True, **options).outcome == "always"


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        (BANDWIDTH, {"target": 0.0}, "target must be a number above 0"),
        (BANDWIDTH, {"target": 1.0, "between": (2, 1)}, "lower first"),
        ("workload.transfer_s", {"target": 1.0}, "has a value above 0"),
    ],
)
def test_wrong_questions_are_refused(path, options, words):
    with pytest.raises(InputError, match=words):
        required(path, GRAPH, MACHINE, ONE, **options)


@pytest.mark.slow
def test_wrong_names_get_the_nearest():
    with pytest.raises(UnknownNameError, match=r"chip\.memory"):
        required("memory.bandwidth", GRAPH, MACHINE, ONE, target=1.0)
    with pytest.raises(InputError, match=r"no plan to compare with.*does not fit"):
        required(
            BANDWIDTH,
            pl.load_model("llama-3.1-70b"),
            "hgx-h100",
            ONE,
            target=MACHINE,
            between=(1e12, 2e12),
        )


def test_a_picture_has_the_curve_the_target_and_the_answer(faster):
    figure = faster.plot()
    assert [trace.name for trace in figure.data] == ["best plan", "target", "now", "required"]
    assert figure.data[3].x == (faster.value,)
    assert "[B/s]" in figure.layout.xaxis.title.text


def test_json_gives_it_back(faster):
    assert Required.from_json(faster.to_json()) == faster


@pytest.mark.slow
def test_no_more_chips_are_tried_than_fabrics_join():
    machine = pl.load_topology("hgx-h100", chips=8)
    assert machine.limit_chips < 8 * 1000
    found = required(
        "chips", "llama-3.2-1b", machine, pl.Workload(batch_size=1), target=1e-9,
        minimize="tpot_s", progress=False,
    )  # fmt: skip
    assert max(row.value for row in found.rows) == machine.limit_chips
