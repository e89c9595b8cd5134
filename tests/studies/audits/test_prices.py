"""What the engine says of claims that no law forbids."""

import pytest

import planner as pl
from planner.machines.topology import Power, Price, with_value
from planner.studies.audits import prices
from planner.studies.audits.cases import Case
from planner.studies.audits.claims import Claim
from planner.units import spoken, trimmed
from tests.lanes import EVERYTHING

EIGHT = {"topology": "hgx-h100", "chips": 1, "model": "llama-3.1-8b", "weight_dtype": "fp8"}


def verdicts(price, claim: Claim) -> list:
    return list(price(Case(claim)))


@pytest.mark.slow
def test_a_rate_is_plausible_from_the_batch_at_which_the_best_plan_reaches_it():
    (finding,) = verdicts(prices.reach, Claim(name="x", tokens_per_s=2000, **EIGHT))
    assert finding.verdict == "plausible at batch"
    work = pl.Workload(batch_size=finding.least_batch)
    graph, machine = (
        pl.load_model("llama-3.1-8b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100", chips=1),
    )
    assert pl.partition(graph, machine, work, maximize="tokens_per_s").score.tokens_per_s >= 2000
    (finding,) = verdicts(prices.reach, Claim(name="x", tokens_per_s=50, **EIGHT))
    assert finding.verdict == "plausible"


def test_a_speed_of_one_user_is_implausible_where_the_best_plan_is_far_below():
    (finding,) = verdicts(
        prices.reach, Claim(name="x", batch_size=1, tokens_per_s_per_user=3000, **EIGHT)
    )
    assert finding.verdict == "implausible"
    twice = with_value(
        pl.load_topology("hgx-h100", chips=1), "chip.memory[0].bandwidth_bytes_per_s", 6.7e12
    )
    faster = Claim(
        name="x", batch_size=1, tokens_per_s_per_user=3000, **{**EIGHT, "topology": twice}
    )
    assert verdicts(prices.reach, faster)[0].factor < finding.factor


def test_a_figure_within_the_engines_error_is_said_to_be():
    best = Case(Claim(name="x", **EIGHT)).score("fp8", 1, "tpot_s").tokens_per_s_per_user
    (finding,) = verdicts(
        prices.reach, Claim(name="x", batch_size=1, tokens_per_s_per_user=1.05 * best, **EIGHT)
    )
    assert finding.verdict == "plausible"
    assert "within the engine's error" in finding.law


@pytest.mark.slow
def test_a_rate_of_one_chip_may_be_a_share_of_several():
    claim = Claim(name="x", tokens_per_s=1200, topology="hgx-h100", chips=1, model="llama-3.1-70b")
    asked = prices.Asked(300, "tokens_per_s", "tokens_per_s", True)
    share = prices._as_share(Case(claim), asked)
    assert share.by_a_plan
    assert "as a share of 2 chips" in share.finding.text


@pytest.mark.slow
def test_a_rate_of_one_chip_may_come_near_a_share_of_several():
    """The best of two, four and eight chips comes to a little over 1,000 for each; one chip alone,
    which the weights fill, to a fifth of that."""
    claim = Claim(name="x", tokens_per_s=1200, topology="hgx-h100", chips=1, model="llama-3.1-70b")
    (finding,) = verdicts(prices.reach, claim.replace(weight_dtype="fp8"))
    assert finding.verdict == "plausible at batch"
    assert "as a share of 2 chips" in finding.text
    assert "within the engine's error" in finding.law
    if EVERYTHING:
        (absurd,) = verdicts(prices.reach, claim.replace(weight_dtype="fp8", tokens_per_s=12_000))
        assert absurd.verdict == "implausible"


@pytest.mark.slow
def test_what_no_one_published_is_what_a_claim_allows_it_to_be():
    claim = Claim(name="x", topology="tpu-v5p", model="llama-3.1-8b", energy_per_token_j=1)
    (finding,) = verdicts(prices.reach, claim)
    assert finding.law.startswith("the power of tpu-v5p is not published; the best plan in")
    assert "so at 1 J a token a chip may draw" in finding.law
    (silent,) = verdicts(prices.reach, claim.replace(model="llama-3.1-405b", chips=1))
    assert silent.verdict == "no opinion"
    assert "fits on it" in silent.law


def test_a_density_is_no_utilisation():
    claim = Claim(
        name="x",
        topology="hgx-h100",
        model="llama-3.1-8b",
        sparsity="2:4",
        utilisation_fraction=0.5,
    )
    assert [one.verdict for one in verdicts(prices.zeros, claim)] == ["wrong scope"]
    assert not verdicts(prices.zeros, claim.replace(utilisation_fraction=0.4))


def test_zeros_that_a_chip_does_not_skip_are_no_use():
    claim = Claim(
        name="x",
        topology="groq-lpu-chain",
        model="llama-3.1-8b",
        sparsity="50%",
        utilisation_fraction=0.99,
    )
    (finding,) = verdicts(prices.zeros, claim)
    assert finding.factor == pytest.approx(1.98)
    assert not verdicts(prices.zeros, claim.replace(topology="cerebras-cs3"))


@pytest.mark.slow
def test_a_speed_up_is_bounded_by_the_density():
    claim = Claim(name="x", topology="xeon-8380", model="bert-base", sparsity="90%", speed_up=8)
    assert not verdicts(prices.zeros, claim)
    assert [one.verdict for one in verdicts(prices.sparse_speed, claim)] == ["implausible"]
    assert [one.verdict for one in verdicts(prices.sparse_speed, claim.replace(speed_up=2))] == [
        "plausible"
    ]
    assert [one.verdict for one in verdicts(prices.zeros, claim.replace(speed_up=12))] == [
        "impossible"
    ]


def test_weights_stay_where_they_fit():
    claim = Claim(name="x", topology="cerebras-cs3", chips=1, model="sd3-medium", resident=True)
    assert [one.verdict for one in verdicts(prices.residence, claim)] == ["plausible"]
    assert not verdicts(prices.residence, claim.replace(topology="groq-lpu-chain"))


@pytest.mark.slow
def test_an_advantage_is_priced_on_both_machines():
    claim = Claim(
        name="x",
        topology="hgx-h200",
        over="hgx-h100",
        model="llama-3.1-8b",
        advantage=1.0,
        metric="tpot_s",
        chips=1,
    )
    assert [one.verdict for one in verdicts(prices.advantage, claim)] == ["plausible"]
    assert [one.verdict for one in verdicts(prices.advantage, claim.replace(advantage=3.0))] == [
        "implausible"
    ]
    unknown = claim.replace(topology="tpu-v5p", metric="energy_per_token_j")
    assert [one.verdict for one in verdicts(prices.advantage, unknown)] == ["plausible if"]


@pytest.mark.slow
def test_an_advantage_that_never_was_cannot_end():
    claim = Claim(
        name="x",
        topology="hgx-a100",
        over="hgx-h100",
        ends_at_parameters=40e9,
        metric="tpot_s",
        batch_size=1,
    )
    (finding,) = verdicts(prices.advantage, claim)
    assert "no advantage to lose" in finding.law
    swapped = claim.replace(topology="hgx-h100", over="hgx-a100")
    assert [one.verdict for one in verdicts(prices.advantage, swapped)] == ["plausible"]


@pytest.mark.slow
def test_latency_on_a_chain_hardly_grows_with_its_chips():
    claim = Claim(name="x", topology="groq-lpu-chain", model="llama-3.1-8b", latency_exponent=1.0)
    (finding,) = verdicts(prices.trend, claim)
    assert finding.verdict == "implausible"
    assert [
        one.verdict for one in verdicts(prices.trend, claim.replace(latency_exponent=0.05))
    ] == ["plausible"]


@pytest.mark.slow
def test_linear_scaling_by_replicas_is_priced_and_its_denial_refused():
    claim = Claim(
        name="x", topology="cerebras-cs3", chips=4, model="llama-3.1-8b", efficiency_fraction=0.9
    )
    assert [one.verdict for one in verdicts(prices.efficiency, claim)] == ["plausible"]
    assert [one.verdict for one in verdicts(prices.efficiency, claim.replace(denied=True))] == [
        "implausible"
    ]


def silent(machine, **paths):
    """A machine of which a figure is not published."""
    topology = pl.load_topology(machine, chips=1)
    return topology.replace(**paths)


def test_where_no_power_is_published_a_claim_says_what_it_may_be():
    machine = silent("hgx-h100", power=Power())
    claim = Claim(name="x", batch_size=1, **{**EIGHT, "topology": machine})
    (finding,) = verdicts(prices.reach, claim.replace(energy_per_token_j=2.0))
    assert finding.verdict == "plausible if"
    rate = Case(claim).score("fp8", 1, "tokens_per_s").tokens_per_s
    assert finding.figure == spoken(2.0 * rate, "W")


def test_where_no_price_is_published_a_claim_says_what_a_chip_may_cost():
    machine = silent("hgx-h100", price=Price())
    claim = Claim(name="x", batch_size=1, **{**EIGHT, "topology": machine})
    (finding,) = verdicts(prices.reach, claim.replace(usd_per_million_tokens=10.0))
    assert finding.verdict == "plausible if"
    rate = Case(claim).score("fp8", 1, "tokens_per_s").tokens_per_s
    assert finding.figure == f"{trimmed(10.0 / 1e6 * rate * 3600)} USD/h"


def test_an_advantage_of_a_machine_of_unknown_power_takes_so_many_watts():
    machine = silent("hgx-h100", power=Power())
    claim = Claim(
        name="x", over="hgx-h100", advantage=2.0, batch_size=1, **{**EIGHT, "topology": machine}
    )
    (finding,) = verdicts(prices.advantage, claim)
    assert finding.verdict == "plausible if"
    # The same chip twice as frugal: half of what it draws.
    twin = Case(claim.replace(topology=pl.load_topology("hgx-h100")))
    joules = twin.score("fp8", 1, "energy_per_token_j").energy_per_token_j
    rate = Case(claim).score("fp8", 1, "tokens_per_s_per_chip").tokens_per_s_per_chip
    assert spoken(joules / 2 * rate, "W") in finding.text


def test_an_advantage_of_an_unknown_machine_takes_operations_for_each_joule():
    told = {"over": "hgx-h100", "model": "llama-3.1-8b", "chips": 1, "batch_size": 1}
    (few,) = verdicts(prices.frugality, Claim(name="x", advantage=10, **told))
    assert few.verdict == "plausible if"
    (absurd,) = verdicts(prices.frugality, Claim(name="x", advantage=1e5, **told))
    assert absurd.verdict == "implausible"
    share = float(few.figure.split()[0])
    assert absurd.factor == pytest.approx(1e4 * share, rel=0.05)


def test_the_best_peak_a_watt_is_no_claims():
    best, name = prices.best_flop_per_j()
    assert best > 989e12 / 700
    assert "article" not in name


def test_what_stays_in_a_memory_are_weights_and_caches():
    claim = Claim(name="x", near_memory=True, batch_size=1, **EIGHT)
    (finding,) = verdicts(prices.saved, claim)
    assert 0.98 < float(finding.figure.split("%")[0]) / 100 < 1
    assert "HBM3" in finding.law


def test_pictures_lie_in_a_second_memory_where_the_first_is_too_small():
    claim = Claim(name="x", topology="dmatrix-corsair", chips=1, model="sd3-medium", batch_size=1)
    score = Case(claim).score("int8", 1, "samples_per_s")
    assert score.stages[0].offloaded_layers > 0
    assert [one.kind for one in score.traffic] == ["memory", "memory"]
    # Without such a memory there is no plan.
    corsair = pl.load_topology("dmatrix-corsair")
    bare = corsair.replace(chip=corsair.chip.replace(memory=corsair.chip.memory[:1]))
    assert Case(claim.replace(topology=bare)).score("int8", 1, "samples_per_s") is None
