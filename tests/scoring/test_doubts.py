"""Doubts: which uncertain inputs move the answer, by how much, and which are left out."""

import math

import pytest

import planner as pl
from planner.machines.topology import Figure, Power, with_value
from planner.scoring.doubts import DOUBTFUL, MATTERS, SPREADS, STEP, WORDS, doubts_about, spread_of
from tests.instances import tiny_graph, tiny_software, tiny_topology

GRAPH = tiny_graph()
WORKLOAD = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=16)


def figure(path, value, confidence="guess"):
    return Figure(path=path, value=value, source="here", confidence=confidence)


def machine(*figures, **changes):
    return tiny_topology(2, **changes).replace(figures=figures)


def plan_on(topology):
    return pl.uniform_plan(GRAPH, topology, tensor_parallel=2)


def doubts(topology, field="tpot_s", **options):
    return doubts_about(field, plan_on(topology), GRAPH, topology, WORKLOAD, **options)


def rescored(topology, path, value, field="tpot_s"):
    """The field of the same plan, with one figure of the machine changed."""
    return getattr(
        pl.score_plan(plan_on(topology), GRAPH, with_value(topology, path, value), WORKLOAD), field
    )


SEVERAL = (
    figure("software.kernel_overhead_s", 1e-6),
    figure("software.memory_efficiency", 0.8),
    figure("software.step_overhead_s", 1e-5),
    figure("chip.memory[0].bandwidth_bytes_per_s", 1e12),
    figure("fabrics[0].latency_s", 1e-6),
    figure("software.collectives[0].base_latency_s", 2e-6),
)


def test_what_matters_most_comes_first():
    effects = [abs(doubt.effect) for doubt in doubts(machine(*SEVERAL))]
    assert len(effects) >= 3
    assert effects == sorted(effects, reverse=True)


@pytest.mark.parametrize("field", ["tpot_s", "ttft_s", "tokens_per_s", "energy_per_token_j"])
def test_each_effect_is_that_of_scoring_again(field):
    topology = machine(*SEVERAL)
    base = getattr(pl.score_plan(plan_on(topology), GRAPH, topology, WORKLOAD), field)
    found = doubts(topology, field)
    assert found
    for doubt in found:
        moved = rescored(topology, doubt.figure.path, doubt.figure.value * (1 + doubt.step), field)
        assert doubt.effect == pytest.approx(moved / base - 1)


def test_power_that_is_a_fifth_higher_is_a_fifth_more_energy():
    (doubt,) = doubts(machine(figure("power.system_w", 150.0)), "energy_per_token_j")
    assert (doubt.step, doubt.effect) == (STEP, pytest.approx(STEP))


@pytest.mark.parametrize("confidence", sorted(WORDS))
def test_just_what_nobody_is_sure_of_is_doubted(confidence):
    found = doubts(machine(figure("software.kernel_overhead_s", 1e-6, confidence)))
    assert bool(found) == (confidence in DOUBTFUL)


def test_a_share_that_cannot_grow_is_moved_down():
    topology = machine(
        figure("software.memory_efficiency", 0.9), software=tiny_software(memory_efficiency=0.9)
    )
    (doubt,) = doubts(topology)
    assert doubt.step == -STEP
    assert doubt.effect > 0


def test_what_moves_the_answer_by_less_than_a_hundredth_is_left_out():
    topology = machine(
        figure("software.step_overhead_s", 1e-7), software=tiny_software(step_overhead_s=1e-7)
    )
    base, path = (
        pl.score_plan(plan_on(topology), GRAPH, topology, WORKLOAD).tpot_s,
        "software.step_overhead_s",
    )
    assert 0 < rescored(topology, path, 1.2e-7) / base - 1 < MATTERS
    assert doubts(topology) == ()


def test_what_does_not_touch_the_field_is_left_out():
    assert doubts(machine(figure("power.system_w", 150.0)), "tpot_s") == ()


def test_a_figure_of_nothing_is_left_out():
    topology = machine(figure("fabrics[0].latency_s", 0.0))
    assert doubts(with_value(topology, "fabrics[0].latency_s", 0.0)) == ()


def test_a_whole_number_stays_one():
    topology = machine(
        figure("software.prefill_chunk_tokens", 54), software=tiny_software(prefill_chunk_tokens=54)
    )
    (doubt,) = doubts(topology, "ttft_s")
    base = pl.score_plan(plan_on(topology), GRAPH, topology, WORKLOAD).ttft_s
    assert doubt.step == STEP
    assert doubt.effect == pytest.approx(
        rescored(topology, doubt.figure.path, 65, "ttft_s") / base - 1
    )


def test_only_the_strongest_are_kept():
    topology = machine(*SEVERAL)
    assert doubts(topology, most=2) == doubts(topology)[:2]


@pytest.mark.slow
def test_a_doubtful_figure_of_the_catalogue_is_named_with_its_effect():
    graph, topology = pl.load_model("qwen3-8b"), pl.load_topology("hgx-h100", chips=1)
    plan, workload = pl.uniform_plan(graph, topology), pl.Workload(batch_size=1)
    first = doubts_about("tpot_s", plan, graph, topology, workload)[0]
    assert first.figure.path == "software.memory_efficiency"
    moved = with_value(
        topology, first.figure.path, (1 + first.step) * topology.software.memory_efficiency
    )
    before, after = (
        pl.score_plan(plan, graph, machine, workload).tpot_s for machine in (topology, moved)
    )
    assert first.effect == pytest.approx(after / before - 1)
    assert abs(first.effect) > 0.1


def test_a_field_that_is_not_known_has_no_doubts():
    assert doubts(machine(*SEVERAL, power=Power()), "energy_per_token_j") == ()


def test_a_field_that_is_nothing_has_no_relative_change():
    one = tiny_topology(1).replace(figures=SEVERAL)
    plan = pl.uniform_plan(GRAPH, one)
    together = WORKLOAD.replace(arrivals="together", batch_size=1)
    free = one.replace(price=one.price.replace(usd_per_chip_hour=0.0))
    assert pl.score_plan(plan, GRAPH, free, together).usd_per_million_tokens == 0.0
    assert doubts_about("usd_per_million_tokens", plan, GRAPH, free, together) == ()


def test_five_doubts_are_told_where_nobody_asks_for_more():
    changes = {
        "kernel_overhead_s": 1e-5,
        "matmul_overhead_s": 1e-5,
        "attention_overhead_s": 5e-5,
        "layer_overhead_s": 5e-5,
        "step_overhead_s": 1e-4,
        "hop_overhead_s": 1e-4,
        "collective_overhead_s": 2e-5,
    }
    figures = [figure(f"software.{name}", value) for name, value in changes.items()]
    topology = machine(*figures, software=tiny_software(**changes))
    assert len(doubts(topology, most=10)) > 5
    assert len(doubts(topology)) == 5


def test_a_single_sequence_moved_by_a_fifth_stays_single():
    limit = figure("software.most_sequences", 1)
    topology = machine(limit, software=tiny_software(most_sequences=1))
    open_batch = WORKLOAD.replace(batch_size=None)
    assert doubts_about("tokens_per_s", plan_on(topology), GRAPH, topology, open_batch) == ()


def test_a_figure_that_states_its_own_doubt_has_that_and_others_that_of_their_grade():
    guess = figure("software.step_overhead_s", 1e-3)
    assert spread_of(guess) == SPREADS["guess"]
    assert spread_of(guess.replace(within=2.0)) == math.log(2.0)
    with pytest.raises(pl.InputError, match="within"):
        guess.replace(within=0.5)


def test_a_figure_is_as_far_off_as_it_says_itself_or_as_its_grade():
    figures = {one.path: one for one in pl.load_topology("groq-lpu-chain").figures}
    assert spread_of(figures["software.layer_occupancy"]) == math.log(3.0)
    assert spread_of(figures["software.usable_memory_fraction"]) == SPREADS["guess"]
