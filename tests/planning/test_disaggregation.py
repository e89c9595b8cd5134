"""`disaggregate` against all pairs of pools, and what must hold of every answer."""

import math
import random

import pytest

import planner as pl
from planner.answers.question import FIELDS, TOTALS
from planner.planning.disaggregation import ASKED, disaggregate
from planner.pricing.served import Served
from planner.scoring.disaggregated import Link, handover, score_disaggregated
from planner.scoring.plans import score_plan
from tests.clock import ticking
from tests.engine_oracle import Case, engine_plans
from tests.instances import (
    ENGINES,
    fabric,
    random_graph,
    tiny_chip,
    tiny_graph,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow, paired, some, spread
from tests.oracle import all_plans, kept, scored_as

LINK = Link(bandwidth_bytes_per_s=1e9, latency_s=1e-4)
CASES = some(1, 3)


class Together:
    """Two scores of pools as one, put together from their definitions."""

    def __init__(self, sizes, first, later, over, machines, workload):
        tokens = workload.output_tokens
        rates = (first.tokens_per_s / tokens, later.tokens_per_s / tokens, over.link_requests_per_s)
        self.tokens_per_s = tokens * (workload.requests_per_s or min(rates))
        self.ttft_s = first.ttft_s
        self.request_s = first.ttft_s + later.request_s
        self.tpot_s = later.request_s / (tokens - 1)
        self.tokens_per_s_per_user = 1 / self.tpot_s
        self.chips = sum(sizes)
        hourly = sum(
            size * machine.price.usd_per_chip_hour
            for size, machine in zip(sizes, machines, strict=True)
        )
        self.requests_per_s = self.tokens_per_s / tokens
        self.tokens_per_s_per_chip = self.tokens_per_s / self.chips
        self.usd_per_hour = hourly
        self.usd_per_million_tokens = 1e6 * hourly / 3600 / self.tokens_per_s


def plans_on(graph, machine, workload, space):
    """All plans of a pool."""
    if space == "any":
        yield from all_plans(graph, machine, workload)
        return
    for plan in engine_plans(Case(graph, machine, workload)):
        if pl.check_plan(plan, graph, machine, workload, space="engine") == ():
            yield plan


def pools_of(graph, machine, workload, sizes, space):
    """What matters of each plan of a pool, by its size."""
    found = {}
    for chips in sizes:
        smaller = machine.replace(chips=chips)
        served = Served(graph, smaller, workload)
        scores = (scored_as(plan, served) for plan in plans_on(graph, smaller, workload, space))
        told = {}
        for score in scores:
            if score is not None:
                told.setdefault((score.ttft_s, score.request_s, score.tokens_per_s), score)
        found[chips] = list(told.values())
    return found


def best_of_all(graph, workload, machines, shared, field, limits, space="any"):
    """The best value over all pairs of pools; None where there is none."""
    over, most, best = handover(graph, workload, LINK), FIELDS[field].best == "most", None
    chips = [machine.chips for machine in machines]
    sides = zip(machines, (over.prefill, over.decode), chips, strict=True)
    pools = [
        pools_of(graph, machine, work, range(1, count + 1 - shared), space)
        for machine, work, count in sides
    ]
    for x, firsts in pools[0].items():
        for y, laters in pools[1].items():
            if shared and x + y > chips[0]:
                continue
            for first in firsts:
                for later in laters:
                    both = Together((x, y), first, later, over, machines, workload)
                    value = getattr(both, field)
                    if (best is None or (value > best if most else value < best)) and kept(
                        both, limits
                    ):
                        best = value
    return best


def solved(graph, workload, machines, shared, field, limits):
    direction = "maximize" if FIELDS[field].best == "most" else "minimize"
    pools = {"prefill": machines[0]} if shared else {"prefill": machines[0], "decode": machines[1]}
    try:
        return disaggregate(
            graph, workload, **pools, link=LINK, limits=limits, **{direction: field}
        )
    except pl.InfeasibleError:
        return None


def random_machine(dice, chips):
    fabrics = [fabric("switch", chips)] if dice.random() < 0.5 or chips % 2 else [
        fabric(dice.choice(("full-mesh", "chain")), 2), fabric("switch", 2, bandwidth_bytes_per_s=5e8, latency_s=2e-5),
    ]  # fmt: skip
    software = tiny_software(
        most_sequences=4, prefill_chunk_tokens=dice.choice((64, 4096)), request_overhead_s=1e-3
    )
    return tiny_topology(
        chips, *fabrics, chip=tiny_chip(dice.choice((15e6, 30e6, 400e6))), software=software
    )


WAYS = paired(tuple(ASKED), (True, False))
"""What is asked, of pools of one machine or of two."""


@pytest.mark.parametrize("way", mostly_slow(WAYS, but=WAYS[:2]), ids=str)
def test_the_pools_are_as_good_as_the_best_of_all_pairs(way):
    field, shared = way
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"{field} {shared} {case}"), case + 1
        graph = random_graph(dice)
        machines = (
            [random_machine(dice, 4)] * 2
            if shared
            else [random_machine(dice, 3), random_machine(dice, 2)]
        )
        workload = pl.Workload(
            batch_size=dice.choice((None, 1, 3)),
            prompt_tokens=dice.choice((8, 500)),
            output_tokens=20,
        )
        if dice.random() < 0.3 and field not in TOTALS:
            workload = workload.replace(batch_size=None, requests_per_s=dice.choice((1.0, 30.0)))
        limits = {}
        if dice.random() < 0.6 and (
            other := solved(graph, workload, machines, shared, "request_s", {})
        ):
            limitable = ("ttft_s", "tpot_s", "chips", "usd_per_hour")
            name = dice.choice([name for name in limitable if name != field])
            limits = {name: float(getattr(other.score, name)) * dice.choice((1.0, 1.3, 3.0))}
        best = best_of_all(graph, workload, machines, shared, field, limits)
        result = solved(graph, workload, machines, shared, field, limits)
        assert (best is None) == (result is None)
        if result is not None:
            feasible += 1
            assert result.status == "optimal"
            assert result.objective == pytest.approx(best, rel=1e-9)
            agrees_with_its_score(result)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tpot_s", "tokens_per_s"])
def test_pools_with_drafted_tokens_are_as_good_as_the_best_of_all_pairs(field):
    dice, feasible = random.Random(f"drafts {field}"), 0
    while feasible < some(1, 2):
        graph, machines = (
            tiny_graph(2, vocabulary=1000),
            [random_machine(dice, 3), random_machine(dice, 2)],
        )
        draft = pl.Speculation(
            draft=dice.choice((None, graph.cut(1))), tokens=3, acceptance_rate=0.8
        )
        workload = pl.Workload(
            batch_size=None, prompt_tokens=500, output_tokens=20, speculation=draft
        )
        best = best_of_all(graph, workload, machines, False, field, {})
        result = solved(graph, workload, machines, False, field, {})
        assert (best is None) == (result is None)
        if result is not None:
            feasible += 1
            assert result.objective == pytest.approx(best, rel=1e-9)
            agrees_with_its_score(result)


def test_the_caches_of_the_draft_cross_the_link_and_its_weights_lie_in_both_pools():
    graph, machine = tiny_graph(2), tiny_topology(2)
    workload = pl.Workload(batch_size=2, prompt_tokens=100, output_tokens=20)
    drafted = workload.replace(speculation=pl.Speculation(draft=graph.cut(1)))
    plain, over = handover(graph, workload, LINK), handover(graph, drafted, LINK)
    assert over.transfer_bytes == pytest.approx(1.5 * plain.transfer_bytes)
    plan = pl.uniform_plan(graph, machine)
    for one, other in ((plain.prefill, over.prefill), (plain.decode, over.decode)):
        before, after = (score_plan(plan, graph, machine, work).stages[0] for work in (one, other))
        assert after.weight_bytes == pytest.approx(before.weight_bytes + graph.cut(1).weight_bytes)
    assert (
        score_plan(plan, graph, machine, over.prefill).ttft_s
        > score_plan(plan, graph, machine, plain.prefill).ttft_s
    )


def agrees_with_its_score(result):
    score = score_disaggregated(
        result.prefill_plan, result.decode_plan, result.graph, result.workload, prefill=result.prefill_topology,
        decode=result.decode_topology, link=result.link,
    )  # fmt: skip
    assert score == result.score
    assert getattr(score, result.field) == result.objective
    assert kept(score, dict(result.limits))


def llama(**changes):
    graph, gpus = pl.load_model("llama-3.1-8b", weight_dtype="fp8"), pl.load_topology("hgx-h100")
    work = pl.Workload(
        **{"requests_per_s": 10.0, "prompt_tokens": 2048, "output_tokens": 128, **changes}
    )
    return graph, gpus, work, Link(bandwidth_bytes_per_s=50e9, latency_s=1e-5)


@pytest.mark.slow
def test_throughput_is_that_of_pools_that_keep_up_with_each_other_and_hold_no_spare_chip():
    graph, gpus, work, link = llama(requests_per_s=None, batch_size=16)
    result = disaggregate(graph, work, prefill=gpus, link=link, maximize="tokens_per_s")
    assert result.status == "optimal"
    for chips in range(1, 8):
        over = handover(graph, work, link)
        rates = [
            pl.partition(graph, gpus.replace(chips=size), side, maximize="tokens_per_s").objective
            for size, side in ((chips, over.prefill), (8 - chips, over.decode))
        ]
        assert min(rates) <= result.objective * (1 + 1e-9)
    smaller = result.prefill_topology.chips - 1
    if smaller:
        over = handover(graph, work, link)
        less = pl.partition(
            graph, gpus.replace(chips=smaller), over.prefill, maximize="tokens_per_s"
        )
        assert less.objective < result.objective


@pytest.mark.slow
def test_more_chips_and_a_wider_link_never_worsen_the_pools():
    graph, gpus, work, _ = llama()
    times = []
    for chips, bandwidth in ((4, 5e9), (8, 5e9), (8, 5e10)):
        link = Link(bandwidth_bytes_per_s=bandwidth)
        machine = gpus.replace(chips=chips)
        times.append(
            disaggregate(graph, work, prefill=machine, link=link, minimize="request_s").objective
        )
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 3


@pytest.mark.slow
def test_pools_of_different_machines_each_have_their_own_price():
    graph, gpus, work, link = llama()
    other = pl.load_topology("hgx-h200")
    result = disaggregate(
        graph, work, prefill=gpus, decode=other, link=link, minimize="usd_per_million_tokens"
    )
    hourly = sum(
        machine.chips * machine.price.usd_per_chip_hour
        for machine in (result.prefill_topology, result.decode_topology)
    )
    assert result.objective == pytest.approx(1e6 * hourly / 3600 / (10.0 * 128))
    assert result.decode_topology.chip.name == other.chip.name


@pytest.mark.slow
def test_two_pools_that_do_not_fit_are_refused_with_what_would_do():
    graph, gpus, work, link = llama(requests_per_s=None, batch_size=1)
    large = pl.load_model("llama-3.1-70b", weight_dtype="bf16")
    with pytest.raises(pl.InfeasibleError, match=r"^no prefill pool: ") as refused:
        disaggregate(large, work, prefill=gpus.replace(chips=2), link=link, minimize="tpot_s")
    assert refused.value.smallest_chips == 2
    with pytest.raises(
        pl.InfeasibleError,
        match="2 chips for the prefill pool and 2 for the decode pool, but there are 3 chips in all",
    ) as refused:
        disaggregate(large, work, prefill=gpus.replace(chips=3), link=link, minimize="tpot_s")
    assert (refused.value.demand, refused.value.capacity, refused.value.gap) == (4, 3, 1)
    assert graph.name != large.name


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (
            {"minimize": "energy_per_token_j"},
            "energy_per_token_j cannot be optimised or limited for two pools",
        ),
        (
            {"minimize": "tpot_s", "limits": {"request_s": 1.0}},
            r"limits\['request_s'\]: two pools cannot limit the whole request",
        ),
        ({"maximize": "tokens_per_s"}, "tokens_per_s is fixed by Workload.requests_per_s"),
    ],
)
def test_what_two_pools_are_not_asked_is_refused(question, sentence):
    graph, gpus, work, link = llama()
    with pytest.raises(pl.InputError, match=f"^{sentence}"):
        disaggregate(graph, work, prefill=gpus, link=link, **question)


def test_a_price_is_a_limit_only_where_the_rate_is_known_or_sought():
    graph, gpus, work, link = llama(requests_per_s=None, batch_size=4)
    limits = {"usd_per_million_tokens": 10.0}
    with pytest.raises(
        pl.InputError, match=r"^limits\['usd_per_million_tokens'\] depends on the rate"
    ):
        disaggregate(graph, work, prefill=gpus, link=link, minimize="tpot_s", limits=limits)
    result = disaggregate(
        graph, work, prefill=gpus, link=link, maximize="tokens_per_s", limits=limits
    )
    assert result.score.usd_per_million_tokens <= 10.0


def test_a_machine_that_is_no_whole_number_of_units_is_not_cut_in_two():
    graph, _, work, link = llama()
    with pytest.raises(
        pl.InputError,
        match="which is not a multiple of 8, the chips of one unit; two pools need whole units",
    ):
        disaggregate(graph, work, prefill=pl.load_topology("hgx-h100", chips=12), link=link)
    ring = tiny_topology(4, fabric("ring", 4), chip=tiny_chip(1e10))
    with pytest.raises(
        pl.InputError, match="cannot be split into a prefill pool and a decode pool"
    ):
        disaggregate(tiny_graph(2), work, prefill=ring, link=link)


def test_time_that_runs_out_before_any_pools_proves_nothing():
    graph, gpus, work, link = llama()
    with pytest.raises(pl.NoPlanFoundError, match="nothing is proved"):
        disaggregate(graph, work, prefill=gpus, link=link, time_limit_s=0.0)


@pytest.mark.slow
def test_a_bound_that_is_not_reached_is_still_a_bound():
    graph, gpus, work, link = llama(requests_per_s=None, batch_size=None, prompt_tokens=4096)
    best = disaggregate(
        graph,
        work,
        prefill=gpus.replace(chips=3),
        link=link,
        maximize="tokens_per_s",
        space="any",
    )
    statuses = set()
    for limit in spread(range(3, 60, 3), 7):
        try:
            with ticking(0.02):
                early = disaggregate(
                    graph,
                    work,
                    prefill=gpus.replace(chips=3),
                    link=link,
                    maximize="tokens_per_s",
                    time_limit_s=limit,
                    space="any",
                )
        except pl.NoPlanFoundError:
            continue
        statuses.add(early.status)
        assert early.objective <= best.objective * (1 + 1e-9) <= early.bound * (1 + 1e-9) ** 2
        assert (early.status == "optimal") == math.isclose(
            early.objective, early.bound, rel_tol=1e-9
        )
    assert "feasible" in statuses


@pytest.mark.slow
def test_the_plans_are_those_of_their_pools():
    graph, gpus, work, link = llama()
    result = disaggregate(
        graph, work, prefill=gpus, link=link, minimize="chips", limits={"tpot_s": 0.02}
    )
    over = handover(graph, work, link)
    assert (
        score_plan(result.prefill_plan, graph, result.prefill_topology, over.prefill)
        == result.score.prefill
    )
    assert (
        score_plan(result.decode_plan, graph, result.decode_topology, over.decode)
        == result.score.decode
    )


# ── Plans that an engine can be started with ─────────────────────────────────────────────────────


def engine_machine(dice, chips, graph):
    """One whose software has rules, and of whose chips a pool often needs two."""
    engine = dice.choice(list(ENGINES.values()))
    machine = random_machine(dice, chips)
    return machine.replace(
        software=machine.software.replace(engine=engine),
        chip=tiny_chip(dice.choice((0.4, 0.7, 3.0)) * graph.weight_bytes),
    )


def engine_case(dice, shared):
    graph = random_graph(dice) if dice.random() < 0.5 else tiny_graph(3, heads=2, kv_heads=2)
    sizes = (4, 4) if shared else (3, 2)
    machines = [engine_machine(dice, chips, graph) for chips in sizes]
    workload = pl.Workload(
        batch_size=dice.choice((None, 1, 3)), prompt_tokens=dice.choice((8, 500)), output_tokens=20
    )
    return graph, workload, [machines[0]] * 2 if shared else machines


@pytest.mark.parametrize("way", mostly_slow(WAYS, but=WAYS[:2]), ids=str)
def test_the_pools_of_engines_are_as_good_as_the_best_of_all_pairs(way):
    field, shared = way
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"engine {field} {shared} {case}"), case + 1
        graph, workload, machines = engine_case(dice, shared)
        if dice.random() < 0.3 and field not in TOTALS:
            workload = workload.replace(batch_size=None, requests_per_s=dice.choice((1.0, 30.0)))
        limits = {}
        other = solved(graph, workload, machines, shared, "request_s", {})
        if dice.random() < 0.6 and other is not None:
            name = dice.choice([name for name in ("ttft_s", "tpot_s", "chips") if name != field])
            limits = {name: float(getattr(other.score, name)) * dice.choice((1.0, 1.3, 3.0))}
        best = best_of_all(graph, workload, machines, shared, field, limits, "engine")
        result = solved(graph, workload, machines, shared, field, limits)
        assert (best is None) == (result is None)
        if result is not None:
            feasible += 1
            assert (result.status, result.space) == ("optimal", "engine")
            assert result.objective == pytest.approx(best, rel=1e-9)
            agrees_with_its_score(result)
            keeps_the_rules(result)


def keeps_the_rules(result):
    """Both pools' plans are ones that their engines can be started with."""
    over = handover(result.graph, result.workload, LINK)
    for plan, machine, work in (
        (result.prefill_plan, result.prefill_topology, over.prefill),
        (result.decode_plan, result.decode_topology, over.decode),
    ):
        assert pl.check_plan(plan, result.graph, machine, work, space="engine") == ()


@pytest.mark.parametrize("number", mostly_slow(range(some(4, 8)), but=(0, 1)))
def test_more_chips_never_make_the_pools_of_engines_worse(number):
    dice = random.Random(f"larger {number}")
    graph, workload, machines = engine_case(dice, True)
    field = dice.choice(list(ASKED))
    chip = tiny_chip(dice.choice((0.8, 1.5)) * graph.weight_bytes)
    machine = machines[0].replace(fabrics=(fabric("switch", 6),), chip=chip)
    before = math.inf
    for chips in range(2, 7):
        larger = [machine.replace(chips=chips)] * 2
        result = solved(graph, workload, larger, True, field, {})
        if result is None:
            assert before == math.inf
            continue
        worth = 1 / result.bound if FIELDS[field].best == "most" else result.bound
        assert worth <= before * (1 + 1e-9)
        before = worth
    assert before < math.inf
