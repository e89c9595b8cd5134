"""Laws: each verdict follows the claim's number and the machine's figure."""

import pytest

import planner as pl
from planner.machines.topology import with_value
from planner.studies.audits import laws
from planner.studies.audits.cases import Case
from planner.studies.audits.claims import Claim, Greatest, Growth, Quotient, Total

LPU = {"topology": "groq-lpu-chain", "model": "llama-3.1-70b"}


def verdicts(law, claim: Claim, *others: Claim) -> list:
    return list(law(Case(claim, others)))


def test_one_lpu_does_not_hold_seventy_billion_weights_and_one_of_71_gb_does():
    claim = Claim(name="x", chips=1, tokens_per_s=1500, **LPU)
    (finding,) = verdicts(laws.capacity, claim)
    assert finding.verdict == "needs more chips"
    assert finding.needed_chips == 307
    assert finding.source == "GROQN (B)"
    larger = with_value(pl.load_topology("groq-lpu-chain"), "chip.memory[0].capacity_bytes", 71e9)
    assert not verdicts(laws.capacity, claim.replace(topology=larger))
    assert not verdicts(laws.capacity, claim.replace(chips=307))


def test_the_bandwidth_bound_moves_with_the_claim_and_with_the_bandwidth():
    claim = Claim(name="x", chips=1, batch_size=1, tokens_per_s=1500, **LPU)
    (finding,) = verdicts(laws.roofline, claim)
    assert finding.verdict == "impossible"
    assert finding.factor == pytest.approx(1500 * 69.5e9 / 18.4e12, rel=0.01)
    faster = with_value(
        pl.load_topology("groq-lpu-chain"), "chip.memory[0].bandwidth_bytes_per_s", 6 * 18.4e12
    )
    assert not verdicts(laws.roofline, claim.replace(topology=faster))
    assert not verdicts(laws.roofline, claim.replace(tokens_per_s=260))
    assert not verdicts(laws.roofline, claim.replace(batch_size=32))


def test_a_rate_of_any_batch_is_held_against_the_peak():
    claim = Claim(name="x", chips=1, tokens_per_s=6000, **LPU)
    (finding,) = verdicts(laws.roofline, claim)
    assert "FLOP bound" in finding.law
    assert finding.source == "GROQN (B)"
    assert not verdicts(laws.roofline, claim.replace(tokens_per_s=5000))


def test_joules_times_tokens_per_second_and_watt_are_one():
    (finding,) = verdicts(
        laws.energy_arithmetic, Claim(name="x", energy_per_token_j=0.2, tokens_per_s_per_w=300)
    )
    assert finding.factor == pytest.approx(60)
    assert not verdicts(
        laws.energy_arithmetic, Claim(name="x", energy_per_token_j=0.2, tokens_per_s_per_w=5)
    )


def test_joules_times_tokens_per_second_are_the_watts_of_the_chips():
    claim = Claim(name="x", chips=4, power_w=300, energy_per_token_j=0.2, tokens_per_s=1500)
    (finding,) = verdicts(laws.energy_arithmetic, claim)
    assert finding.factor == pytest.approx(4)
    assert not verdicts(laws.energy_arithmetic, claim.replace(tokens_per_s=6000))


def test_one_chips_watts_over_a_clusters_tokens_are_found():
    claim = Claim(name="x", chips=1, power_w=300, tokens_per_s=1500, energy_per_token_j=0.2, **LPU)
    (finding,) = verdicts(laws.scope, claim)
    assert finding.verdict == "wrong scope"
    assert finding.factor == pytest.approx(307, rel=0.01)
    assert not verdicts(laws.scope, claim.replace(energy_per_token_j=0.2 * 307))
    assert not verdicts(laws.scope, claim.replace(model="bert-base"))


def test_a_token_costs_at_least_its_operations():
    claim = Claim(name="x", tokens_per_s_per_w=300, **LPU)
    (finding,) = verdicts(laws.energy_floor, claim)
    joules = 300 * 2 * 69.5e9 / 750e12
    assert finding.factor == pytest.approx(300 * joules, rel=0.01)
    assert not verdicts(laws.energy_floor, claim.replace(tokens_per_s_per_w=15))
    assert not verdicts(laws.energy_floor, claim.replace(topology="tpu-v5p"))


def test_pictures_are_bound_by_arithmetic_and_tokens_by_memory_up_to_a_batch():
    picture = Claim(name="x", topology="hgx-h100", model="sd3-medium", bound_by="memory")
    assert [one.verdict for one in verdicts(laws.bottleneck, picture)] == ["impossible"]
    assert [
        one.verdict for one in verdicts(laws.bottleneck, picture.replace(bound_by="compute"))
    ] == ["plausible"]
    tokens = Claim(name="x", topology="hgx-h100", model="llama-3.1-70b", bound_by="memory")
    (finding,) = verdicts(laws.bottleneck, tokens)
    assert finding.text == "plausible at batch < 296"
    (finding,) = verdicts(laws.bottleneck, tokens.replace(bound_by="compute"))
    assert finding.least_batch == 296
    assert [one.verdict for one in verdicts(laws.bottleneck, tokens.replace(batch_size=400))] == [
        "impossible"
    ]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (
            Growth(first=15, last=85, years=4, value=0.54),
            Growth(first=15, last=85, years=4, value=0.41),
        ),
        (Total(parts=(85, 2, 1, 12), value=100), Total(parts=(85, 2, 1, 22), value=100)),
        (Quotient(first=0.58, second=0.2, value=2.9), Quotient(first=0.58, second=0.2, value=3.9)),
        (
            Greatest(names=("a", "b"), first=(1, 10), last=(5, 20), winner="a"),
            Greatest(names=("a", "b", "c"), first=(1, 10, 12), last=(5, 20, 17), winner="c"),
        ),
    ],
)
def test_sums_that_add_up_get_no_opinion_and_those_that_do_not_are_impossible(said, wrong):
    assert [one.verdict for one in verdicts(laws.sums, Claim(name="x", arithmetic=said))] == [
        "no opinion"
    ]
    assert [one.verdict for one in verdicts(laws.sums, Claim(name="x", arithmetic=wrong))] == [
        "impossible"
    ]


def test_a_machines_figure_is_held_against_the_catalogues():
    claim = Claim(
        name="x",
        topology="cerebras-cs3",
        figure="chip.memory[0].bandwidth_bytes_per_s",
        value=20e12,
    )
    (finding,) = verdicts(laws.machine_figure, claim)
    assert finding.text == "disagrees with its source, 1,050×"
    assert [one.verdict for one in verdicts(laws.machine_figure, claim.replace(value=21e15))] == [
        "plausible"
    ]
    slower = with_value(
        pl.load_topology("cerebras-cs3"), "chip.memory[0].bandwidth_bytes_per_s", 20e12
    )
    assert [
        one.verdict for one in verdicts(laws.machine_figure, claim.replace(topology=slower))
    ] == ["plausible"]


def test_both_directions_of_a_link_are_the_wrong_scope():
    claim = Claim(
        name="x", topology="hgx-h100", figure="fabrics[0].bandwidth_bytes_per_s", value=900e9
    )
    assert [one.verdict for one in verdicts(laws.machine_figure, claim)] == ["wrong scope"]
    assert [one.verdict for one in verdicts(laws.machine_figure, claim.replace(value=600e9))] == [
        "disagrees with its source"
    ]


def test_watts_are_held_against_the_scope_that_is_nearest():
    h100 = Claim(name="x", topology="hgx-h100", power_w=1275)
    assert [one.verdict for one in verdicts(laws.machine_figure, h100)] == ["plausible"]
    assert [one.verdict for one in verdicts(laws.machine_figure, h100.replace(power_w=350))] == [
        "disagrees with its source"
    ]


def test_sparse_peaks_say_what_density_they_take():
    claim = Claim(
        name="x",
        topology="cerebras-cs3",
        chips=64,
        sparsity="unstructured",
        figure="chip.peaks[0].flop_per_s",
        value=4e18,
    )
    (finding,) = verdicts(laws.machine_figure, claim)
    assert "at most 25%" in finding.law
    assert [one.verdict for one in verdicts(laws.machine_figure, claim.replace(sparsity=None))] == [
        "disagrees with its source"
    ]


def test_parameters_are_counted():
    claim = Claim(name="x", model="llama-3.1-70b", parameters=70.6e9)
    assert [one.verdict for one in verdicts(laws.machine_figure, claim)] == ["plausible"]
    assert [
        one.verdict for one in verdicts(laws.machine_figure, claim.replace(parameters=8e9))
    ] == ["disagrees with its source"]


def test_hops_are_counted_on_the_wires():
    assert [
        one.verdict for one in verdicts(laws.wiring, Claim(name="x", topology="hgx-h100", hops=1))
    ] == ["plausible"]
    (finding,) = verdicts(laws.wiring, Claim(name="x", topology="hgx-h100", hops=2))
    assert finding.factor == 2


def test_a_purchase_is_held_against_the_hourly_price():
    claim = Claim(name="x", topology="hgx-h100", purchase_usd=30_000)
    assert [one.verdict for one in verdicts(laws.purchase, claim)] == ["plausible"]
    assert [one.verdict for one in verdicts(laws.purchase, claim.replace(purchase_usd=90_000))] == [
        "disagrees with its source"
    ]


def test_a_rate_contradicts_a_bandwidth_claimed_elsewhere():
    rate = Claim(
        name="rate",
        chips=1,
        batch_size=1,
        topology="cerebras-cs3",
        model="llama-3.1-70b",
        tokens_per_s=3200,
    )
    slow = Claim(
        name="slow",
        topology="cerebras-cs3",
        figure="chip.memory[0].bandwidth_bytes_per_s",
        value=20e12,
    )
    (finding,) = verdicts(laws.consistency, rate, slow)
    assert finding.text == "inconsistent with claim slow, 22×"
    assert not verdicts(laws.consistency, rate, slow.replace(value=21e15))


def test_two_energies_of_one_model_contradict_each_other():
    one, other = (
        Claim(name="a", energy_per_token_j=0.2, **LPU),
        Claim(name="b", tokens_per_s_per_w=300, **LPU),
    )
    (finding,) = verdicts(laws.consistency, one, other)
    assert finding.other == "b"
    assert finding.factor == pytest.approx(60)
    assert not verdicts(laws.consistency, one, other.replace(tokens_per_s_per_w=5))
    assert not verdicts(laws.consistency, one, other.replace(model="llama-3.1-8b"))


def test_an_advantage_said_to_end_contradicts_prices_that_show_one():
    ends = Claim(name="ends", topology="groq-lpu-chain", over="hgx-h100", ends_at_parameters=200e9)
    ours = Claim(name="ours", topology="groq-lpu-chain", parameters=1e12, usd_per_million_tokens=80)
    theirs = Claim(name="theirs", topology="hgx-b200", parameters=1e12, usd_per_million_tokens=120)
    (finding,) = verdicts(laws.consistency, ends, ours, theirs)
    assert finding.other == "ours"
    assert not verdicts(laws.consistency, ends, ours.replace(usd_per_million_tokens=130), theirs)
    assert not verdicts(laws.consistency, ends.replace(ends_at_parameters=2e12), ours, theirs)


def test_no_plan_is_more_frugal_than_the_floor():
    case = Case(Claim(name="x", topology="hgx-h100", chips=1, model="llama-3.1-8b", scope="chip"))
    best = case.score("fp8", 256, "energy_per_token_j").energy_per_token_j
    assert laws.floor_j(case, "fp8") < best
