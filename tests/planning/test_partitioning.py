"""`partition` against the oracle, and what must hold of every result."""

import itertools
import math
import random

import pytest

import planner as pl
from planner.answers.question import FIELDS, NOT_IN_PHASE, TOTALS
from planner.answers.results import Result
from planner.machines.cluster import Cluster, Pool
from planner.machines.engine import Engine
from planner.machines.topology import Peak, Price
from planner.scoring.plans import score_plan
from tests.clock import ticking
from tests.engine_oracle import Case, best_of, priced
from tests.instances import (
    CONSTANT,
    FOLLOWING,
    LISTED,
    SHAPES,
    fabric,
    random_graph,
    random_topology,
    random_workload,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow, paired, some
from tests.oracle import HIGHER_IS_BETTER, all_plans, best_plan, best_pooled_plan, scored

CASES = some(2, 4)
"""That have a plan, for pairs of a shape of fabric and a field in which each of them comes; `make
oracle` takes 4 for every pair: 480; infeasible ones are compared besides."""
OPEN_CASES = some(1, 3)
"""The same where the batch is open: 360."""
PAIRS = paired(LISTED, tuple(FIELDS))
QUICK = PAIRS[0], PAIRS[1]
"""Those of the fast lane."""


def solved(graph, topology, workload, field, limits=None, **options) -> Result | None:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition(
            graph, topology, workload, limits=limits, **{direction: field}, **options
        )
    except pl.InfeasibleError:
        return None


def agrees_with_the_oracle(graph, topology, workload, field, limits) -> bool:
    """Whether there is a plan at all; fails where solver and oracle disagree."""
    plan, value = best_plan(
        graph, topology, workload, field, most=field in HIGHER_IS_BETTER, limits=limits
    )
    result = solved(graph, topology, workload, field, limits)
    assert (plan is None) == (result is None)
    if result is None:
        return False
    assert result.status == "optimal"
    # One with fewer chips is taken within a thousandth, and then the bound is the best of all.
    assert result.bound == pytest.approx(value, rel=1e-9)
    if result.score.chips >= plan.chips:
        assert result.objective == pytest.approx(value, rel=1e-9)
    assert result.objective == pytest.approx(value, rel=1e-3)
    score = score_plan(result.plan, graph, topology, workload)
    assert getattr(score, field) == pytest.approx(result.objective, rel=1e-9)
    assert score == result.score
    return True


def limited(graph, topology, workload, field, dice) -> dict[str, float]:
    """A limit on another field, sometimes: a little worse than what the best plan for it
    reaches."""
    if dice.random() < 0.6:
        return {}
    name = dice.choice([name for name in FIELDS if name != field])
    result = solved(graph, topology, workload, name)
    if result is None:
        return {}
    slack = dice.choice((1.02, 1.3, 3.0))
    return {
        name: result.objective / slack if name in HIGHER_IS_BETTER else result.objective * slack
    }


@pytest.mark.parametrize("pair", mostly_slow(PAIRS, but=QUICK), ids="-".join)
def test_the_plan_is_as_good_as_the_exhaustive_oracles(pair):
    shape, field = pair
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"{shape} {field} {case}"), case + 1
        graph, topology, workload = (
            random_graph(dice),
            random_topology(dice, shape),
            random_workload(dice),
        )
        limits = limited(graph, topology, workload, field, dice)
        feasible += agrees_with_the_oracle(graph, topology, workload, field, limits)


@pytest.mark.parametrize("pair", mostly_slow(PAIRS, but=QUICK[:1]), ids="-".join)
def test_with_an_open_batch_the_plan_is_as_good_as_the_exhaustive_oracles(pair):
    shape, field = pair
    feasible = case = 0
    while feasible < OPEN_CASES:
        dice, case = random.Random(f"open {shape} {field} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, shape)
        topology = topology.replace(software=topology.software.replace(most_sequences=6))
        workload = random_workload(dice).replace(batch_size=None)
        limits = limited(graph, topology, workload, field, dice)
        feasible += agrees_with_the_oracle(graph, topology, workload, field, limits)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "batch_size"),
    [("tokens_per_s", None), ("usd_per_million_tokens", None), ("tpot_s", 7), ("tokens_per_s", 7)],
)
def test_ranks_that_share_out_experts_and_sequences_do_so_as_well_as_the_oracles(field, batch_size):
    """Three chips, experts held twice or not, and few sequences on each rank."""
    twice = 0
    for case in range(some(4, 8)):
        dice = random.Random(f"ranks of three {batch_size} {field} {case}")
        engine = Engine(redundant_experts=dice.random() < 0.7)
        software = tiny_software(
            most_sequences=dice.choice((2, 3)), most_tensor_parallel=1, engine=engine
        )
        graph = tiny_moe(1)
        share = dice.choice((0.6, 0.9, 2.0))
        machine = tiny_topology(3, chip=tiny_chip(share * graph.weight_bytes), software=software)
        work = random_workload(dice).replace(batch_size=batch_size)
        if agrees_with_the_oracle(graph, machine, work, field, {}):
            plan = solved(graph, machine, work, field).plan
            twice += any(stage.expert_parallel == 3 for stage in plan.stages)
    assert twice  # eight experts over three ranks, somewhere


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "limited_field"),
    [("chips", "tokens_per_s"), ("power_w", "tokens_per_s"), ("tokens_per_s", "chips"), ("energy_per_token_j", "power_w"),
     ("chips", "usd_per_million_tokens"), ("usd_per_hour", "requests_per_s"), ("requests_per_s", "usd_per_hour"),
     ("requests_per_s", "power_w"), ("power_w", "requests_per_s"), ("tokens_per_s_per_chip", "requests_per_s"),
     ("chips", "tokens_per_s_per_chip")],
)  # fmt: skip
def test_with_an_open_batch_no_more_replicas_are_held_than_the_question_wants(field, limited_field):
    feasible = case = 0
    while feasible < OPEN_CASES:
        dice, case = random.Random(f"replicas {field} {limited_field} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        topology = topology.replace(software=topology.software.replace(most_sequences=6))
        workload = random_workload(dice).replace(batch_size=None)
        best = solved(graph, topology, workload, limited_field)
        if best is not None:
            factor = dice.choice((1.0, 2.0, 3.0))
            worst = (
                best.objective / factor
                if limited_field in HIGHER_IS_BETTER
                else best.objective * factor
            )
            feasible += agrees_with_the_oracle(
                graph, topology, workload, field, {limited_field: worst}
            )


LEFT_OPEN = tuple(name for name in FIELDS if name not in (*TOTALS, "mfu_fraction", "mbu_fraction"))
"""What a rate of requests leaves a choice in."""


@pytest.mark.parametrize("field", mostly_slow(LEFT_OPEN, but=("chips",)))
def test_under_a_rate_of_requests_the_plan_is_as_good_as_the_exhaustive_oracles(field):
    feasible = case = 0
    while feasible < OPEN_CASES:
        dice, case = random.Random(f"rate {field} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        software = topology.software.replace(most_sequences=dice.choice((6, 12)))
        topology = topology.replace(
            software=software, power=CONSTANT
        )  # what follows the work is refused at a rate
        workload = random_workload(dice).replace(batch_size=None, arrivals="steady")
        most = solved(graph, topology, workload, "tokens_per_s")
        if most is None:
            continue
        rate = most.objective / workload.output_tokens * dice.choice((0.01, 0.1, 0.3, 0.6, 0.9))
        workload = workload.replace(requests_per_s=rate)
        limits = (
            {} if dice.random() < 0.5 else limited_times(graph, topology, workload, field, dice)
        )
        feasible += agrees_with_the_oracle(graph, topology, workload, field, limits)


@pytest.mark.parametrize("field", ["power_w", "energy_per_token_j"])
def test_power_that_follows_the_work_is_no_objective_under_a_rate(field):
    topology = tiny_topology(2).replace(power=FOLLOWING)
    with pytest.raises(pl.InputError, match="depends on the number of sequences in flight"):
        pl.partition(tiny_graph(2), topology, pl.Workload(requests_per_s=1.0), minimize=field)


def limited_times(graph, topology, workload, field, dice) -> dict[str, float]:
    """A limit on a field that a rate of requests leaves a choice in, a little worse than the
    best."""
    name = dice.choice(
        [
            name
            for name in ("ttft_s", "tpot_s", "request_s", "chips", "energy_per_token_j")
            if name != field
        ]
    )
    result = solved(graph, topology, workload, name)
    return {} if result is None else {name: result.objective * dice.choice((1.02, 1.3, 3.0))}


POOLS = [
    (phase, field, rated)
    for phase, field, rated in itertools.product(
        ("prefill", "decode"),
        (
            "ttft_s",
            "tpot_s",
            "request_s",
            "tokens_per_s",
            "requests_per_s",
            "tokens_per_s_per_chip",
            "chips",
            "usd_per_million_tokens",
            "usd_per_hour",
            "energy_per_token_j",
            "memory_headroom_bytes",
        ),
        (False, True),
    )
    if field not in NOT_IN_PHASE[phase] and not (rated and field in (*TOTALS, "energy_per_token_j"))
]
"""A phase, a field, and whether requests come at a rate."""


@pytest.mark.parametrize("asked", mostly_slow(POOLS, but=POOLS[:2]), ids=str)
def test_the_plan_of_a_pool_for_one_phase_is_as_good_as_the_exhaustive_oracles(asked):
    phase, field, rated = asked
    feasible = case = 0
    while feasible < some(1, 3):
        dice, case = random.Random(f"{phase} {field} {rated} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        topology = topology.replace(software=topology.software.replace(most_sequences=6))
        workload = random_workload(dice).replace(output_tokens=20, arrivals="steady")
        batch = None if phase == "prefill" or rated else dice.choice((None, workload.batch_size))
        transfer_s = dice.choice((0.0, 0.01)) if phase == "decode" else 0.0
        workload = workload.replace(phase=phase, batch_size=batch, transfer_s=transfer_s)
        name = dice.choice(
            [name for name in ("chips", "request_s", "ttft_s") if name not in NOT_IN_PHASE[phase]]
        )
        if rated:
            most = solved(graph, topology, workload, "tokens_per_s")
            if most is None:
                continue
            workload = workload.replace(
                requests_per_s=most.objective / 20 * dice.choice((0.1, 0.5, 0.9))
            )
        best = solved(graph, topology, workload, name)
        limits = (
            {}
            if name == field or best is None or dice.random() < 0.5
            else {name: 1.3 * best.objective}
        )
        feasible += agrees_with_the_oracle(graph, topology, workload, field, limits)


def test_a_pool_is_not_asked_for_what_it_has_no_part_in():
    for phase, field in (("prefill", "tpot_s"), ("decode", "ttft_s")):
        with pytest.raises(pl.InputError, match=rf"^{field} does not exist in a {phase} pool; "):
            pl.partition(tiny_graph(2), tiny_topology(2), pl.Workload(phase=phase), minimize=field)


@pytest.mark.slow
def test_a_queue_is_not_left_to_an_engine_that_is_linear():
    work = pl.Workload(requests_per_s=1.0)
    with pytest.raises(pl.InputError, match="'cp-sat' cannot use ttft_s"):
        pl.partition(tiny_graph(2), tiny_topology(2), work, minimize="ttft_s", engine="cp-sat")
    labels, linear = (pl.partition(tiny_graph(2), tiny_topology(2), work, minimize="tpot_s", engine=engine)
                      for engine in ("auto", "cp-sat"))  # fmt: skip
    assert linear.objective == pytest.approx(labels.objective, rel=1e-4)


@pytest.mark.parametrize(
    "field", ["tokens_per_s", "requests_per_s", "mfu_fraction", "mbu_fraction"]
)
def test_what_a_rate_of_requests_settles_is_not_asked_for(field):
    with pytest.raises(pl.InputError, match=rf"^{field} is fixed by Workload.requests_per_s"):
        pl.partition(
            tiny_graph(2), tiny_topology(2), pl.Workload(requests_per_s=1.0), maximize=field
        )


@pytest.mark.slow
def test_the_fewest_chips_that_keep_up_with_a_rate_are_more_for_a_higher_rate():
    graph, topology = (
        pl.load_model("llama-3.1-8b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100"),
    )
    chips = []
    for rate in (5.0, 40.0, 80.0):
        work = pl.Workload(requests_per_s=rate)
        result = pl.partition(graph, topology, work, minimize="chips", limits={"tpot_s": 0.03})
        assert result.status == "optimal"
        assert result.score.tokens_per_s == pytest.approx(rate * 256)
        assert pl.score_plan(result.plan, graph, topology, work) == result.score
        chips.append(result.objective)
    assert chips == sorted(chips)
    assert chips[0] < chips[-1]


@pytest.mark.slow
def test_the_bound_is_never_better_than_the_objective():
    cut_off = 0
    for case in range(some(20, 60)):
        dice = random.Random(f"bound {case}")
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        field = dice.choice(list(FIELDS))
        limit_s = 2 if case % 2 else None
        try:
            with ticking(0.02):
                result = solved(graph, topology, random_workload(dice), field, time_limit_s=limit_s)
        except pl.NoPlanFoundError:
            continue
        if result is not None:
            cut_off += result.status == "feasible"
            sign = 1 if result.direction == "minimize" else -1
            assert sign * result.bound <= sign * result.objective * (1 + sign * 1e-12)
    assert cut_off


REAL = [
    ("llama-3.1-70b", "fp8", "hgx-h100", 8),
    ("llama-3.1-70b", "fp8", "groq-lpu-chain", 576),
    ("llama-3.1-70b", "bf16", "cerebras-cs3", 4),
    ("llama-3.1-405b", "bf16", "hgx-h100", 16),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "dtype", "machine", "chips"), REAL)
def test_real_models_on_three_architectures_are_planned_with_a_proof(model, dtype, machine, chips):
    graph, topology = (
        pl.load_model(model, weight_dtype=dtype),
        pl.load_topology(machine, chips=chips),
    )
    result = pl.partition(graph, topology, pl.Workload(batch_size=8), minimize="tpot_s")
    assert result.status == "optimal"
    assert result.bound == result.objective == result.score.tpot_s
    assert result.gap == 0.0
    assert sum(part.total_s for part in result.score.breakdown) == pytest.approx(
        result.objective, rel=1e-9
    )
    assert pl.check_plan(result.plan, graph, topology, pl.Workload(batch_size=8)) == ()


def test_on_eight_gpus_tensor_parallel_8_is_proposed():
    """A list of plans that stops at TP × PP < chips never proposes it."""
    graph, topology = (
        pl.load_model("llama-3.1-70b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100"),
    )
    result = pl.partition(graph, topology, pl.Workload(batch_size=8), minimize="tpot_s")
    assert [stage.tensor_parallel for stage in result.plan.stages] == [8]


@pytest.mark.slow
def test_no_uniform_plan_is_better_than_the_optimum():
    graph, topology = (
        pl.load_model("llama-3.1-8b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100"),
    )
    work = pl.Workload(batch_size=16)
    for field in ("tpot_s", "request_s", "energy_per_token_j"):
        best = pl.partition(graph, topology, work, minimize=field).objective
        for tensor, pipeline, data in (
            (8, 1, 1),
            (4, 2, 1),
            (2, 4, 1),
            (1, 8, 1),
            (4, 1, 2),
            (2, 2, 2),
            (1, 1, 8),
            (1, 1, 1),
        ):
            plan = pl.uniform_plan(
                graph,
                topology,
                tensor_parallel=tensor,
                pipeline_parallel=pipeline,
                data_parallel=data,
            )
            assert best <= getattr(pl.score_plan(plan, graph, topology, work), field) * (1 + 1e-12)


@pytest.mark.slow
def test_a_limit_is_kept():
    graph, topology = (
        pl.load_model("llama-3.1-8b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100"),
    )
    work = pl.Workload(batch_size=64)
    free = pl.partition(graph, topology, work, minimize="usd_per_million_tokens")
    bound = pl.partition(
        graph,
        topology,
        work,
        minimize="usd_per_million_tokens",
        limits={"tpot_s": free.score.tpot_s / 2},
    )
    assert bound.score.tpot_s <= free.score.tpot_s / 2
    assert bound.objective > free.objective


def test_an_open_batch_serves_as_many_as_fit():
    graph, topology = (
        pl.load_model("llama-3.1-8b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100", chips=2),
    )
    result = pl.partition(
        graph,
        topology,
        pl.Workload(batch_size=None),
        maximize="tokens_per_s",
        limits={"tpot_s": 0.05},
    )
    assert result.score.batch_size == result.plan.batch_size > 100
    assert result.status == "optimal"


@pytest.mark.slow
@pytest.mark.parametrize("shape", LISTED)
def test_plans_that_leave_chips_out_are_as_good_as_the_oracles(shape):
    feasible = case = 0
    while feasible < some(2, 6):
        dice, case = random.Random(f"exclude {shape} {case}"), case + 1
        graph, topology, workload = (
            random_graph(dice),
            random_topology(dice, shape),
            random_workload(dice),
        )
        if topology.chips < 3:
            topology = tiny_topology(
                4, fabric(shape, 4), chip=topology.chip, software=topology.software
            )
        exclude = tuple(dice.sample(range(topology.chips), dice.choice((1, 1, 2))))
        field = dice.choice([field for field in FIELDS if field != "power_w"])
        cluster = Cluster(
            name="one", pools=(Pool(name="only", topology=topology, exclude=exclude),)
        )
        plan, value = best_pooled_plan(
            graph, cluster, workload, field, most=field in HIGHER_IS_BETTER, limits={}
        )
        result = solved(graph, topology, workload, field, exclude=exclude)
        assert (plan is None) == (result is None)
        if result is not None:
            feasible += 1
            assert result.status == "optimal"
            assert result.objective == pytest.approx(value, rel=1e-9)
            assert pl.check_plan(result.plan, graph, topology, workload, exclude=exclude) == ()
            score = score_plan(result.plan, graph, topology, workload, exclude=exclude)
            assert getattr(score, field) == pytest.approx(result.objective, rel=1e-9)


def test_a_chip_that_is_left_out_is_not_used_and_one_that_is_used_is_named():
    graph, topology, work = tiny_graph(4), tiny_topology(4), pl.Workload(batch_size=4)
    whole = pl.partition(graph, topology, work, minimize="tpot_s")
    result = pl.partition(graph, topology, work, minimize="tpot_s", exclude=(1,))
    assert result.exclude == (1,)
    assert result.objective > whole.objective
    used = {
        chip
        for stage in result.plan.stages
        for group in stage.groups
        for chip in range(group.first, group.last + 1)
    }
    assert 1 not in used
    broken = pl.check_plan(whole.plan, graph, topology, work, exclude=(1,))
    assert [violation.rule for violation in broken] == ["exclude"]
    with pytest.raises(pl.InputError, match="a stage uses chip 1, which is excluded"):
        pl.score_plan(whole.plan, graph, topology, work, exclude=(1,))


def test_at_a_rate_a_machine_without_a_chip_is_as_good_as_one_that_never_had_it():
    graph, work = tiny_graph(4), pl.Workload(requests_per_s=2.0)
    less = pl.partition(graph, tiny_topology(4), work, minimize="tpot_s", exclude=(3,))
    small = pl.partition(graph, tiny_topology(3), work, minimize="tpot_s")
    assert less.status == small.status == "optimal"
    assert less.objective == pytest.approx(small.objective, rel=1e-9)
    assert less.score.load == small.score.load


# ── Micro-batches that are asked for ─────────────────────────────────────────────────────────────


def cut_into(plan, workload, parts: int):
    """A plan with so many micro-batches, of a fixed batch no more than sequences; of an open one each
    batch of like ones."""
    if workload.batch_size is not None:
        sequences = math.ceil(workload.batch_size / plan.replicas)
        yield plan.replace(micro_batches=min(parts, sequences))
    elif workload.requests_per_s is not None:
        yield plan.replace(micro_batches=parts, batch_size=None)
    else:
        for sequences in range(parts, 61, parts):
            yield plan.replace(micro_batches=parts, batch_size=sequences * plan.replicas)


def of_micro_batches(graph, topology, workload, field: str, parts: int) -> float | None:
    """The best value of all plans with so many micro-batches; None where there is none."""
    bare = {plan.stages: plan for plan in all_plans(graph, topology, workload)}
    every = [one for plan in bare.values() for one in cut_into(plan, workload, parts)]
    scores = [scored(plan, graph, topology, workload) for plan in every]
    values = [float(getattr(score, field)) for score in scores if score is not None]
    choose = max if field in HIGHER_IS_BETTER else min
    return choose(values, default=None)


@pytest.mark.parametrize("kind", mostly_slow(("fixed", "open", "rate"), but=("fixed",)))
def test_with_micro_batches_that_are_asked_for_the_plan_is_as_good_as_the_exhaustive_oracles(kind):
    feasible = case = 0
    while feasible < some(3, 40):
        dice, case = random.Random(f"micro-batches {kind} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        software = topology.software.replace(most_sequences=6)
        topology = topology.replace(software=software, power=CONSTANT)
        parts, work = dice.choice((1, 2, 3, 4)), random_workload(dice)
        if kind == "fixed":
            work = work.replace(batch_size=max(work.batch_size, parts))
        else:
            rate = dice.choice((1.0, 10.0, 50.0)) if kind == "rate" else None
            work = work.replace(batch_size=None, arrivals="steady", requests_per_s=rate)
        fields = ("tpot_s", "ttft_s", "usd_per_million_tokens", "memory_headroom_bytes")
        field = dice.choice(fields if kind == "rate" else (*fields, "tokens_per_s", "mfu_fraction"))
        direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
        best = of_micro_batches(graph, topology, work, field, parts)
        if best is None:
            continue
        feasible += 1
        result = pl.partition(
            graph, topology, work, space="any", micro_batches=parts, **{direction: field}
        )
        assert result.status == "optimal"
        assert result.objective == pytest.approx(best, rel=1e-9)
        sequences = result.score.batch_size / result.plan.replicas
        assert result.plan.micro_batches in (parts, math.ceil(sequences))
        certificate = result.certificate()
        assert certificate.micro_batches == parts
        assert pl.verify(certificate).confirmed


def test_micro_batches_that_are_asked_for_are_never_better_than_all_of_them():
    graph, topology, work = tiny_graph(6), tiny_topology(4), pl.Workload(batch_size=8)
    asked = graph, topology, work
    free = pl.partition(*asked, maximize="tokens_per_s", space="any")
    each = [
        pl.partition(*asked, maximize="tokens_per_s", space="any", micro_batches=parts).objective
        for parts in range(1, 9)
    ]
    assert max(each) == pytest.approx(free.objective, rel=1e-9)
    assert min(each) < free.objective


def test_a_certificate_of_other_micro_batches_than_were_asked_for_is_false():
    graph, topology, work = tiny_graph(4), tiny_topology(2), pl.Workload(batch_size=8)
    result = pl.partition(graph, topology, work, space="any", micro_batches=4)
    assert "all with 4 micro-batches, as asked for" in str(result)
    other = result.certificate().replace(micro_batches=3)
    with pytest.raises(pl.InputError, match=r"4 micro-batches of 8 sequences, and .* is 3"):
        pl.verify(other)


def test_where_nobody_can_ask_for_micro_batches_is_said():
    graph, work = pl.load_model("qwen3-0.6b"), pl.Workload(batch_size=8)
    with pytest.raises(pl.InputError, match=r"vllm chooses its own .* \(--space any\)"):
        pl.partition(graph, pl.load_topology("hgx-h100", software="vllm"), work, micro_batches=4)
    tiny = tiny_graph(2), tiny_topology(2)
    with pytest.raises(pl.InputError, match="micro_batches=9 is more than there are sequences"):
        pl.partition(*tiny, work, micro_batches=9)
    with pytest.raises(pl.InputError, match="micro_batches=2 cannot be combined with percentiles"):
        pl.partition(*tiny, work, micro_batches=2, limits={"ttft_p99_s": 1.0})
    with pytest.raises(pl.InputError, match="micro_batches cannot be combined with exclude="):
        pl.partition(*tiny, work, micro_batches=2, exclude=(1,))
    with pytest.raises(pl.InputError, match="a prefill pool has no micro-batches"):
        pl.partition(*tiny, pl.Workload(phase="prefill"), minimize="ttft_s", micro_batches=2)
    with pytest.raises(pl.InputError, match="a diffusion model has no micro-batches"):
        pl.partition(pl.load_model("sdxl"), "hgx-h100", work, micro_batches=2)


def test_what_exclude_cannot_do_is_said_in_one_sentence():
    graph, topology, work = tiny_graph(2), tiny_topology(4), pl.Workload(batch_size=2)
    with pytest.raises(pl.InputError, match="has chips 0 to 3; 4 is not one of them"):
        pl.partition(graph, topology, work, minimize="tpot_s", exclude=(4,))
    with pytest.raises(pl.InputError, match="cannot exclude chips; leave solver out"):
        pl.partition(graph, topology, work, minimize="tpot_s", exclude=(1,), engine="cp-sat")
    with pytest.raises(pl.InfeasibleError) as caught:
        pl.partition(graph, topology, work, minimize="tpot_s", exclude=range(4))
    assert (caught.value.capacity, caught.value.demand > 0) == (0.0, True)


@pytest.mark.parametrize("is_open", [False, True], ids=["fixed", "open"])
@pytest.mark.parametrize(
    "field", mostly_slow(["ttft_s", "tokens_per_s", "memory_headroom_bytes"], but=("tokens_per_s",))
)
def test_with_sequence_parallel_degrees_the_plan_is_as_good_as_the_exhaustive_oracles(
    field, is_open
):
    feasible = used = case = 0
    while feasible < some(1, 2) or (field == "ttft_s" and not used):
        dice, case = random.Random(f"sequence {field} {is_open} {case}"), case + 1
        graph, topology, workload = (
            random_graph(dice),
            random_topology(dice, dice.choice(SHAPES)),
            random_workload(dice),
        )
        workload = workload.replace(prompt_tokens=dice.choice((500, 5_000)))
        if is_open:
            topology = topology.replace(software=topology.software.replace(most_sequences=3))
            workload = workload.replace(batch_size=None)
        plan, value = best_plan(
            graph,
            topology,
            workload,
            field,
            most=field in HIGHER_IS_BETTER,
            limits={},
            sequences=True,
        )
        result = solved(graph, topology, workload, field, sequence_parallel=True)
        assert (plan is None) == (result is None)
        if result is not None:
            feasible += 1
            used += any(stage.sequence_parallel > 1 for stage in result.plan.stages)
            assert (result.status, result.score) == (
                "optimal",
                score_plan(result.plan, graph, topology, workload),
            )
            assert result.objective == pytest.approx(value, rel=1e-9)


@pytest.mark.slow
def test_a_long_prompt_is_shared_out_over_chips_and_the_proof_is_checked():
    graph, machine = (
        tiny_graph(2),
        tiny_topology(4, software=tiny_software(prefill_chunk_tokens=100_000)),
    )
    workload = pl.Workload(batch_size=1, prompt_tokens=50_000, output_tokens=4)
    apart = pl.partition(graph, machine, workload, minimize="ttft_s")
    shared = pl.partition(graph, machine, workload, minimize="ttft_s", sequence_parallel=True)
    assert shared.objective < 0.9 * apart.objective
    assert any(stage.sequence_parallel > 1 for stage in shared.plan.stages)
    certificate = pl.Certificate.from_json(shared.certificate().to_json())
    assert certificate.sequence_parallel
    assert pl.verify(certificate).confirmed
    reasons = shared.why()
    assert "sequence" in reasons.shape
    assert not any("sequence" in one.shape for one in apart.why().alternatives)
    assert "SP" in str(shared)


def test_sequence_parallel_degrees_are_not_searched_around_excluded_chips():
    with pytest.raises(pl.InputError, match="leave one of them out"):
        pl.partition(
            tiny_graph(2), tiny_topology(4), pl.Workload(), exclude=(0,), sequence_parallel=True
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hgx-h100", "hgx-h20"])
def test_one_long_prompt_over_two_nodes_is_pipelined_in_chunks(name):
    # As in every public comparison: two stages of eight hand on one chunk after the other, where
    # sixteen ranks of tensor parallel sum each layer across the network.
    machine = pl.load_topology(name, chips=16, software="sglang")
    graph = pl.load_model("deepseek-v3", weight_dtype="fp8", kv_dtype="fp8")
    workload = pl.Workload(batch_size=1, prompt_tokens=131072, output_tokens=128)
    wide = pl.uniform_plan(graph, machine, tensor_parallel=16)
    deep = pl.uniform_plan(graph, machine, tensor_parallel=8, pipeline_parallel=2)
    summed = pl.score_plan(wide, graph, machine, workload)
    piped = pl.score_plan(deep, graph, machine, workload)
    assert piped.ttft_s < summed.ttft_s
    assert piped.tpot_s < 0.5 * summed.tpot_s
    found = pl.partition(graph, machine, workload, minimize="ttft_s")
    assert found.status == "optimal"
    assert [stage.tensor_parallel for stage in found.plan.stages] == [8, 8]


@pytest.mark.parametrize("field", ["energy_per_token_j", "usd_per_million_tokens", "tokens_per_s"])
@pytest.mark.parametrize("stages", [1, 2])
def test_more_micro_batches_than_stages_pay_where_tokens_wait_beside_a_free_stage(field, stages):
    # Two layers wait 1 ms each, and work for about 0.1 ms on each sequence: half a batch works while
    # the other half waits.
    stack = tiny_software(
        layer_overhead_s=1e-3, layer_occupancy=0.1, most_sequences=14, most_tensor_parallel=1
    )
    graph = tiny_graph(2)
    slow = (Peak(dtype="bf16", flop_per_s=2 * graph.parameters / 0.5 / 0.2e-3),)
    memory_bytes = (1.3 if stages == 1 else 0.8) * graph.weight_bytes + 2e6
    machine = tiny_topology(stages, software=stack, chip=tiny_chip(memory_bytes, peaks=slow))
    work = pl.Workload(batch_size=None, phase="decode", prompt_tokens=8, output_tokens=20)
    sense = "maximize" if field == "tokens_per_s" else "minimize"
    result = pl.partition(graph, machine, work, **{sense: field})
    assert result.status == "optimal"
    assert len(result.plan.stages) == stages
    assert result.plan.micro_batches > stages
    assert result.objective == pytest.approx(getattr(result.score, field), rel=1e-12)
    _, best = best_plan(graph, machine, work, field, most=field == "tokens_per_s", limits={})
    assert result.objective == pytest.approx(best, rel=1e-9)


# ── What is served and what it costs ─────────────────────────────────────────────────────────────

OPEN = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
SPACES = ("engine", "any")


def priced_machine(chips=4, **changes):
    """Chips at 2.50 USD an hour, of software with an engine's rules; one of them holds a little
    more than the model."""
    numbers = {
        "price": Price(usd_per_chip_hour=2.5),
        "chip": tiny_chip(1.3 * tiny_graph(2).weight_bytes),
        "software": tiny_software(engine=tiny_engine(), most_sequences=6),
    }
    return tiny_topology(chips, fabric("switch", chips), **(numbers | changes))


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("limits", [{}, {"tpot_s": "1 ms"}, {"usd_per_hour": "7.5 USD/h"}])
def test_the_most_requests_are_those_of_the_most_tokens(space, batch_size, limits):
    asked = tiny_graph(2), priced_machine(), OPEN.replace(batch_size=batch_size)
    options = {"space": space, "limits": limits}
    tokens = pl.partition(*asked, maximize="tokens_per_s", **options)
    requests = pl.partition(*asked, maximize="requests_per_s", **options)
    assert requests.plan.replace(space="any") == tokens.plan.replace(space="any")
    assert requests.status == "optimal"
    assert requests.objective == pytest.approx(tokens.objective / 20, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("chips", [1, 2, 3, 4])
def test_a_limit_on_dollars_an_hour_is_one_on_chips(space, chips):
    asked = tiny_graph(2), priced_machine(), OPEN
    by_chips, by_price = (
        pl.partition(*asked, maximize="tokens_per_s", space=space, limits=limits)
        for limits in ({"chips": chips}, {"usd_per_hour": 2.5 * chips + 0.1})
    )
    assert by_chips.plan == by_price.plan
    assert by_price.score.usd_per_hour == 2.5 * by_price.score.chips <= 2.5 * chips
    fewest = pl.partition(*asked, minimize="usd_per_hour", space=space)
    assert fewest.objective == 2.5 * pl.partition(*asked, minimize="chips", space=space).objective


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_tokens_of_a_chip_under_a_rate_are_most_where_the_fewest_chips_keep_up(space):
    work = OPEN.replace(requests_per_s=200.0)
    asked = tiny_graph(2), priced_machine(), work
    fewest = pl.partition(*asked, minimize="chips", space=space)
    most = pl.partition(*asked, maximize="tokens_per_s_per_chip", space=space)
    assert most.objective == pytest.approx(200.0 * 20 / fewest.objective, rel=1e-12)
    wanted = {"tokens_per_s_per_chip": most.objective}
    kept = pl.partition(*asked, minimize="ttft_s", limits=wanted, space=space)
    assert kept.score.chips == fewest.objective
    with pytest.raises(pl.InfeasibleError, match="tokens_per_s_per_chip cannot be over"):
        pl.partition(
            *asked,
            minimize="ttft_s",
            limits={"tokens_per_s_per_chip": 1.01 * most.objective},
            space=space,
        )


@pytest.mark.parametrize("name", ["usd_per_hour", "usd_per_million_tokens"])
def test_without_a_price_nothing_that_counts_dollars_is_asked(name):
    machine = priced_machine(price=Price())
    with pytest.raises(pl.InputError, match=f"^{name} needs the price of tiny"):
        pl.partition(tiny_graph(2), machine, OPEN, minimize=name)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("field", "limited"),
    [
        ("usd_per_hour", "requests_per_s"),
        ("requests_per_s", "usd_per_hour"),
        ("requests_per_s", "power_w"),
        ("requests_per_s", "chips"),
        ("tokens_per_s_per_chip", "usd_per_hour"),
        ("ttft_s", "tokens_per_s_per_chip"),
    ],
)
def test_chips_that_are_held_in_part_are_as_good_as_the_oracles(space, field, limited):
    """Price and power count what is filled, chips and what each gives whole ones."""
    asked = tiny_graph(2), priced_machine(3, divisible=True), OPEN
    case = Case(*asked)
    plans = priced(case, space)
    values = sorted(float(getattr(one.score, limited)) for one in plans)
    for place in (0.2, 0.5, 0.8):
        limits = {limited: values[int(place * (len(values) - 1))]}
        best = best_of(case, plans, space, field, limits)
        assert best is not None
        direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
        result = pl.partition(*asked, limits=limits, space=space, **{direction: field})
        assert result.status == "optimal"
        assert result.bound == pytest.approx(float(getattr(best.score, field)), rel=1e-9)
        assert result.objective == getattr(result.score, field)


def test_of_a_diffusion_model_dollars_an_hour_are_asked_and_limited():
    asked = (
        pl.load_model("flux-1"),
        pl.load_topology("hgx-h100", chips=4),
        pl.Workload(batch_size=4),
    )
    least = pl.partition(*asked, minimize="usd_per_hour", limits={"image_s": "60 s"})
    hourly = asked[1].price.usd_per_chip_hour
    assert (least.score.chips, least.objective) == (1, hourly)
    assert (least.score.requests_per_s, least.score.tokens_per_s_per_chip) == (None, None)
    assert least.objective / least.score.samples_per_s / 3600 == pytest.approx(
        least.score.usd_per_sample
    )
    quick = pl.partition(*asked, minimize="image_s", limits={"usd_per_hour": 2.5 * hourly})
    assert quick.score.chips == 2
