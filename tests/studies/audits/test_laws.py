"""Laws: each verdict follows the claim's number and the machine's figure."""

import math

import pytest

import planner as pl
from planner.machines.prices import Economics, Offer, offered
from planner.machines.topology import Figure, Power, Price, with_value
from planner.studies.audits import laws
from planner.studies.audits.bounds import Roof
from planner.studies.audits.cases import Case
from planner.studies.audits.claims import Claim, Greatest, Growth, Quotient, Total
from tests.by_hand import attention, chain, layer, matmul, round_chip, round_machine
from tests.instances import fabric

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


# ── On paper: 100 FLOP/s (200 in 8 bit), 10 B/s, 50 weights ───────────────────────────────────────


class Small(Case):
    """A case of a model of 50 weights: 100 B in 16 bit, 50 B in 8, 25 B in 4."""

    def graph(self, dtype):
        return chain(
            layer("a", matmul(weight_dtype=dtype, compute_dtype=dtype)), weight_dtype=dtype
        )


def small(law, machine=None, **said) -> list:
    machine = machine or round_machine(8)
    return list(law(Small(Claim(**{"name": "x", "topology": machine, "model": "small", **said}))))


def machine_of(capacity_bytes: float = 1000.0, **changes):
    tier = round_chip().memory[0].replace(capacity_bytes=capacity_bytes)
    return round_machine(8, chip=round_chip(memory=(tier,)), **changes)


def sourced(machine, *paths: str):
    """A machine whose figures at these paths have a source, the path itself."""
    return machine.replace(
        figures=tuple(Figure(path=path, value=1.0, source=path, confidence="A") for path in paths)
    )


def test_weights_fill_the_fewest_chips_in_the_narrowest_format_that_the_chip_multiplies_in():
    # Of 40 B each: three chips in 16 bit, two in 8; the chip has no peak in 4.
    (finding,) = small(laws.capacity, machine_of(40.0), chips=1)
    assert (finding.needed_chips, finding.factor, finding.text) == (2, 2.0, "needs 2 chips, 2×")
    assert "50 B in fp8" in finding.law
    assert "the weights alone need 3 chips in bf16, 2 chips in fp8, 1 chip in fp4" in finding.law
    assert not small(laws.capacity, machine_of(40.0), chips=2)
    (finding,) = small(laws.capacity, machine_of(40.0), chips=2, weight_dtype="bf16")
    assert (finding.needed_chips, finding.factor) == (3, 1.5)
    assert not small(laws.capacity, machine_of(40.0))  # as many as it takes
    assert not small(laws.capacity, machine_of(40.0), chips=1, model=None)


@pytest.mark.parametrize("field", ["tokens_per_s", "tokens_per_s_per_user"])
def test_a_token_takes_its_bytes_over_the_bandwidth_of_all_chips(field):
    machine = sourced(round_machine(8), laws.BANDWIDTH)
    # 50 B over 2 × 10 B/s: 2.5 s in 8 bit; in 16 bit twice as long.
    (finding,) = small(laws.roofline, machine, chips=2, batch_size=1, **{field: 0.8})
    assert (finding.verdict, finding.factor) == ("impossible", pytest.approx(2.0))
    assert finding.law.startswith(
        "bandwidth bound: a decode pass of 1 sequence takes at least 2.5 s on 2 × round in fp8"
    )
    assert finding.source == f"{laws.BANDWIDTH} (A)"
    assert not small(laws.roofline, machine, chips=2, batch_size=1, **{field: 0.4 * 1.04})
    assert small(laws.roofline, machine, chips=2, batch_size=1, **{field: 0.4 * 1.06})
    (wide,) = small(
        laws.roofline, machine, chips=2, batch_size=1, weight_dtype="bf16", **{field: 0.8}
    )
    assert wide.factor == pytest.approx(4.0)
    assert not small(
        laws.roofline,
        machine,
        chips=2,
        batch_size=1,
        figure=laws.BANDWIDTH,
        value=1.0,
        **{field: 0.8},
    )


def test_a_large_batch_takes_its_operations_over_the_peak_of_its_format():
    machine = sourced(round_machine(8), "chip.peaks[1].flop_per_s")
    # 100 tokens: 10,000 FLOP over 2 × 200 FLOP/s take 25 s, so 4 tokens a second.
    (finding,) = small(laws.roofline, machine, chips=2, batch_size=100, tokens_per_s=8.0)
    assert finding.factor == pytest.approx(2.0)
    assert finding.law.startswith("FLOP bound: a decode pass of 100 sequences takes at least 25 s")
    assert finding.source == "chip.peaks[1].flop_per_s (A)"
    assert not small(laws.roofline, machine, chips=2, batch_size=100, tokens_per_s=4.1)
    assert small(laws.roofline, machine, chips=2, tokens_per_s=8.0)[0].factor == pytest.approx(
        2.0
    )  # at any batch
    # A user among a hundred has no more than one alone.
    assert not small(laws.roofline, machine, chips=2, batch_size=100, tokens_per_s_per_user=0.4)
    assert small(laws.roofline, machine, chips=2, batch_size=100, tokens_per_s_per_user=0.8)


@pytest.mark.parametrize(
    ("said", "factor"),
    [
        ({"energy_per_token_j": 0.5, "tokens_per_s_per_w": 4.0}, 2.0),
        ({"energy_per_token_j": 0.5, "tokens_per_s_per_w": 1.0}, 2.0),
        ({"energy_per_token_j": 0.5, "tokens_per_s_per_w": 2.08}, None),
        ({"energy_per_token_j": 0.5, "tokens_per_s_per_w": 2.12}, 1.06),
        ({"energy_per_token_j": 0.5, "tokens_per_s": 10.0, "power_w": 10.0, "chips": 4}, 8.0),
        ({"energy_per_token_j": 0.5, "tokens_per_s": 1000.0, "power_w": 10.0, "chips": 4}, 12.5),
        ({"energy_per_token_j": 0.5, "tokens_per_s": 80.0, "power_w": 10.0, "chips": 4}, None),
        ({"energy_per_token_j": 0.5, "tokens_per_s": 85.0, "power_w": 10.0, "chips": 4}, 1.0625),
        ({"energy_per_token_j": 0.5, "tokens_per_s": 1000.0, "power_w": 10.0}, None),
    ],
)
def test_joules_and_watts_agree_within_a_twentieth(said, factor):
    found = list(laws.energy_arithmetic(Case(Claim(name="x", **said))))
    assert [one.factor for one in found] == ([] if factor is None else [pytest.approx(factor)])


def test_the_watts_of_all_chips_that_are_named_are_held_against_those_that_are_needed():
    # 20 B each: three chips in 8 bit. Two of 300 W make 600 W, that is 6 J for each of 100 tokens a
    # second.
    said = {"chips": 2, "power_w": 300.0, "tokens_per_s": 100.0}
    (finding,) = small(laws.scope, machine_of(20.0), energy_per_token_j=6.0, **said)
    assert (finding.verdict, finding.needed_chips, finding.factor) == (
        "wrong scope",
        3,
        pytest.approx(1.5),
    )
    assert "6 J a token counts the 600 W of 2 chips" in finding.law
    assert "draw 900 W, which is 9 J a token" in finding.law
    assert not small(
        laws.scope, machine_of(20.0), energy_per_token_j=3.0, **said
    )  # one chip's are not those of two
    assert not small(laws.scope, machine_of(20.0), energy_per_token_j=9.0, **said)
    assert not small(laws.scope, machine_of(25.0), energy_per_token_j=6.0, **said)  # two chips do
    # Where nobody names the watts, those of the catalogue count: first the chip's, else the
    # system's.
    unsaid = {"chips": 1, "tokens_per_s": 100.0}
    both = machine_of(20.0, power=Power(chip_w=100.0, system_w=150.0))
    system = machine_of(20.0, power=Power(system_w=150.0))
    assert small(laws.scope, both, energy_per_token_j=1.0, **unsaid)[0].factor == pytest.approx(3.0)
    assert small(laws.scope, system, tokens_per_s_per_w=1 / 1.5, **unsaid)[
        0
    ].factor == pytest.approx(3.0)
    assert not small(laws.scope, machine_of(20.0, power=Power()), energy_per_token_j=1.0, **unsaid)


def test_the_floor_of_a_token_is_its_time_at_the_peak_on_a_chip_as_active_as_that():
    power = Power(chip_w=100.0, system_w=150.0, idle_share=0.2, compute_activity=1.0)
    machine = round_machine(8, power=power)
    # 100 FLOP take 1 s in 16 bit, half in 8; at an activity of 1 a chip draws its idle 20 W and 1 -
    # 1/e of the rest.
    drawn_w = 20 + 80 * (1 - math.exp(-1))
    case = Small(Claim(name="x", topology=machine, model="small"))
    assert laws.floor_j(case, "bf16") == pytest.approx(drawn_w)
    assert laws.floor_j(case, "fp8") == pytest.approx(drawn_w / 2)
    whole = Small(Claim(name="x", topology=machine, model="small", scope="system"))
    assert laws.floor_j(whole, "bf16") == pytest.approx(drawn_w + 50)
    wall = Small(Claim(name="x", topology=machine_of(power=Power(system_w=150.0)), model="small"))
    assert laws.floor_j(wall, "bf16") == 150.0
    (finding,) = small(laws.energy_floor, machine, energy_per_token_j=drawn_w / 8)
    assert finding.factor == pytest.approx(4.0)  # of the most frugal format
    assert not small(laws.energy_floor, machine, energy_per_token_j=drawn_w / 2.08)
    assert small(laws.energy_floor, machine, tokens_per_s_per_w=2.12 / drawn_w)
    assert not small(laws.energy_floor, round_machine(8, power=Power()), energy_per_token_j=1e-9)


def test_a_batch_turns_from_bytes_to_operations_where_a_hand_finds_it():
    # In 16 bit 100 B take 10 s, n tokens n s: compute binds from eleven on.
    roof = Roof(chain(layer("a", matmul())), round_machine(8), 1, 0.0)
    assert laws._turning_point(roof) == 11
    # With caches of 40 B for each of 8 tokens that are seen, 32 s a sequence, it never does.
    assert (
        laws._turning_point(
            Roof(chain(layer("a", matmul(), attention())), round_machine(8), 1, 8.0)
        )
        is None
    )
    said = {"weight_dtype": "bf16", "chips": 4}
    verdicts_of = {
        (bound_by, batch): small(laws.bottleneck, bound_by=bound_by, batch_size=batch, **said)[0]
        for bound_by in ("memory", "compute")
        for batch in (None, 10, 11)
    }
    assert {key: one.verdict for key, one in verdicts_of.items() if key[1]} == {
        ("memory", 10): "plausible",
        ("memory", 11): "impossible",
        ("compute", 10): "impossible",
        ("compute", 11): "plausible",
    }
    assert [verdicts_of[name, None].text for name in ("memory", "compute")] == [
        "plausible at batch < 11",
        "plausible at batch >= 11",
    ]
    assert [verdicts_of[name, None].least_batch for name in ("memory", "compute")] == [None, 11]


@pytest.mark.parametrize(("tokens", "binds", "share"), [(5, "memory", 0.5), (40, "compute", 4.0)])
def test_a_step_of_a_sample_is_bound_as_its_tokens_have_it(tokens, binds, share):
    class Picture(Case):
        def graph(self, dtype):
            return chain(layer("a", matmul()), steps=3, tokens_per_sample=tokens)

    other = {"memory": "compute", "compute": "memory"}[binds]
    for said, verdict, factor in (
        (binds, "plausible", None),
        (other, "impossible", max(share, 1 / share)),
    ):
        claim = Claim(name="x", topology=round_machine(8), model="picture", bound_by=said)
        (finding,) = laws.bottleneck(Picture(claim))
        assert (finding.verdict, finding.factor) == (verdict, factor)
        assert f"the operations of a denoising step take {share:.3g} times as long" in finding.law


@pytest.mark.parametrize(
    ("said", "factor"),
    [
        (Total(parts=(1.0, 2.0, 3.0), value=12.0), 2.0),
        (Total(parts=(1.0, 2.0, 3.0), value=6.25), None),
        (Total(parts=(1.0, 2.0, 3.0), value=5.65), 6 / 5.65),
        (Quotient(first=6.0, second=2.0, value=1.0), 3.0),
        (Quotient(first=6.0, second=2.0, value=3.1), None),
        (Growth(first=1.0, last=4.0, years=2.0, value=1.0), None),  # doubles twice
        (Growth(first=1.0, last=4.0, years=2.0, value=0.985), None),  # 1.985 a year against 2
        (Growth(first=1.0, last=4.0, years=2.0, value=0.5), 2.0),
        (Growth(first=1.0, last=4.0, years=2.0, value=1.03), 1.03),
        (Greatest(names=("a", "b"), first=(1, 10), last=(5, 20), winner="b"), None),  # by points
        (Greatest(names=("a", "b", "c"), first=(1, 10, 10), last=(5, 20, 14), winner="c"), 5 / 1.4),
    ],
)
def test_sums_are_done_again(said, factor):
    (finding,) = laws.sums(Case(Claim(name="x", arithmetic=said)))
    assert finding.verdict == ("no opinion" if factor is None else "impossible")
    assert finding.factor == (None if factor is None else pytest.approx(factor))


@pytest.mark.parametrize(
    ("shape", "hops", "verdict"),
    [
        ("chain", 3, "plausible"),
        ("chain", 4, "disagrees with its source"),
        ("ring", 2, "plausible"),
        ("ring", 3, "disagrees with its source"),
        ("dragonfly", 3, "plausible"),
    ],
)
def test_hops_are_those_of_the_farthest_chip(shape, hops, verdict):
    machine = round_machine(4, fabrics=(fabric(shape, 4),))
    (finding,) = laws.wiring(Case(Claim(name="x", topology=machine, hops=hops)))
    assert finding.verdict == verdict
    assert finding.factor == (None if verdict == "plausible" else hops / (hops - 1))


def test_a_purchase_is_that_of_the_catalogue_on_any_basis():
    offers = (
        Offer(basis="chip", purchase_usd=20_000.0),
        Offer(basis="node", purchase_usd=30_000.0),
        Offer(basis="rental", rent_usd_per_chip_hour=2.0),
    )
    machine = round_machine(2, price=Price(offers=offers))
    half = Claim(name="x", topology=machine, purchase_usd=10_000.0)
    (finding,) = laws.purchase(Case(half))
    assert finding.factor == pytest.approx(2)
    for claimed, verdict in ((19_000.0, True), (31_000.0, True), (40_000.0, False)):
        found = verdicts(laws.purchase, half.replace(purchase_usd=claimed))[0].verdict
        assert (found == "plausible") == verdict
    rented = machine.replace(price=Price(usd_per_chip_hour=2.0, basis="rental"))
    assert not list(laws.purchase(Case(half.replace(topology=rented))))


@pytest.mark.parametrize(
    ("confidence", "value", "verdict"),
    [
        ("A", 10.4, "plausible"),
        ("A", 10.6, "disagrees with its source"),
        ("C", 11.4, "plausible"),
        ("C", 11.6, "disagrees with its source"),
        ("B", 9.6, "plausible"),
        ("B", 9.4, "disagrees with its source"),
    ],
)
def test_a_figure_is_held_as_closely_as_it_is_known(confidence, value, verdict):
    known = Figure(path=laws.BANDWIDTH, value=10.0, source="here", confidence=confidence)
    machine = round_machine(2).replace(figures=(known,))
    claim = Claim(name="x", topology=machine, figure=laws.BANDWIDTH, value=value)
    (finding,) = laws.machine_figure(Case(claim))
    assert (finding.verdict, finding.source) == (verdict, f"here ({confidence})")
    (finding,) = laws.machine_figure(Case(claim.replace(value=3 * value, chips=3)))
    assert finding.verdict == verdict


def test_both_directions_and_skipped_zeros_explain_a_figure():
    machine = round_machine(2, chip=round_chip(skips=("unstructured",)))
    wires = Claim(name="x", topology=machine, figure="fabrics[0].bandwidth_bytes_per_s", value=20.5)
    (finding,) = laws.machine_figure(Case(wires))
    assert (finding.verdict, finding.factor) == ("wrong scope", pytest.approx(2.05))
    assert (
        verdicts(laws.machine_figure, wires.replace(value=22.0))[0].verdict
        == "disagrees with its source"
    )
    peak = Claim(
        name="x", topology=machine, figure="chip.peaks[0].flop_per_s", value=400.0, sparsity="90%"
    )
    (finding,) = laws.machine_figure(Case(peak))
    assert (finding.verdict, "density of at most 25%" in finding.law) == ("plausible", True)
    assert (
        verdicts(laws.machine_figure, peak.replace(value=25.0))[0].verdict
        == "disagrees with its source"
    )
    dense = peak.replace(topology=round_machine(2))
    assert verdicts(laws.machine_figure, dense)[0].factor == 4.0


@pytest.mark.parametrize(
    ("one", "other", "ratio"), [(2.0, 8.0, 4.0), (8.0, 2.0, 4.0), (3.0, 3.0, 1.0)]
)
def test_two_figures_are_as_far_apart_either_way(one, other, ratio):
    assert laws.ratio_of(one, other) == ratio
    assert laws.ratio_of(0.0, other) == laws.ratio_of(one, -1.0) == math.inf


def test_of_several_formats_the_kindest_is_told_and_one_that_passes_ends_it():
    mild, harsh = (laws.found("impossible", "law", factor=factor) for factor in (2.0, 3.0))
    assert list(laws.least_bad(iter([harsh, mild]))) == [mild]
    assert list(laws.least_bad(iter([harsh, None]))) == []
    assert list(laws.least_bad(iter([]))) == []


def test_joules_are_given_or_turned_over():
    assert laws.joules_of(Claim(name="x", energy_per_token_j=0.5, tokens_per_s_per_w=8.0)) == 0.5
    assert laws.joules_of(Claim(name="x", tokens_per_s_per_w=8.0)) == 0.125
    assert laws.joules_of(Claim(name="x")) is None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("fabrics[0].bandwidth_bytes_per_s", "8 GB/s"),
        ("chip.peaks[0].flop_per_s", "8 GFLOP/s"),
        ("chip.memory[0].capacity_bytes", "8 GB"),
        ("power.chip_w", "8 GW"),
        ("fabrics[0].latency_s", "8e+09 s"),
    ],
)
def test_a_figure_has_the_unit_of_its_field(path, text):
    assert laws.figure_text(path, 8e9) == text


def test_a_better_price_beyond_the_end_contradicts_it():
    machine, other = round_machine(2), round_machine(2, name="other")
    ends = Claim(name="ends", topology=machine, ends_at_parameters=10.0)
    ours = Claim(name="ours", topology=machine, parameters=20.0, usd_per_million_tokens=2.0)
    theirs = Claim(name="theirs", topology=other, parameters=20.0, usd_per_million_tokens=3.0)
    (finding,) = laws._beyond_end(Case(ends, (ours, theirs)))
    assert (finding.factor, finding.other, finding.text) == (
        1.5,
        "ours",
        "inconsistent with claim ours, 1.5×",
    )
    for changed in (
        (ours, theirs.replace(usd_per_million_tokens=2.08)),
        (ours, theirs.replace(parameters=30.0)),
        (ours, theirs.replace(over=machine)),
        (ours.replace(parameters=10.0), theirs.replace(parameters=10.0)),
        (ours,),
    ):
        assert not list(laws._beyond_end(Case(ends, changed)))


def test_a_lease_is_held_against_what_owning_costs():
    # 35,040 USD over four years and 1 kW at 0.10 USD/kWh and 1.2: 9,811 a year.
    offer = Offer(basis="node", purchase_usd=35_040.0, power_w=1000.0)
    machine = round_machine(1, price=offered((offer,), Economics()))

    def leased(usd):
        claim = Claim(name="x", topology=machine, lease_usd_per_year=usd)
        return next(laws.lease(Case(claim)))

    assert leased(9_811.0).verdict == "plausible"
    dear = leased(29_433.6)
    assert dear.verdict == "implausible"
    assert dear.factor == pytest.approx(3.0, rel=1e-3)
    assert "paid for it after 1.2 years" in dear.law
