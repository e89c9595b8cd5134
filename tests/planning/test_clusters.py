"""`partition_cluster` against the oracle, and what must hold of every result on a cluster."""

import contextlib
import random

import pytest

import planner as pl
from planner.answers.question import FIELDS, question_of
from planner.answers.results import ClusterResult
from planner.machines.cluster import Cluster, Pool, PoolLink
from planner.plan import ChipRange
from planner.planning.engine_search import EngineClusterSearch
from planner.space.cluster_candidates import ClusterCandidates
from tests.clock import ticking
from tests.engine_pools import (
    OnPools,
    at_a_rate,
    best_on_pools,
    random_limit,
    random_pools,
    scored_on_pools,
)
from tests.instances import (
    LISTED,
    random_cluster,
    random_graph,
    random_topology,
    random_workload,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow, some, spread
from tests.oracle import HIGHER_IS_BETTER, best_pooled_plan, kept

PLANNED = [field for field in FIELDS if field != "power_w"]
CASES = some(1, 2)
"""That have a plan, for every field; infeasible ones are compared besides."""


def solved(graph, cluster, workload, field, limits=None, **options) -> ClusterResult | None:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition_cluster(
            graph, cluster, workload, limits=limits, **{direction: field}, **options
        )
    except pl.InfeasibleError:
        return None


def limited(graph, cluster, workload, field, dice) -> dict[str, float]:
    """A limit on another field, sometimes: a little worse than what the best plan for it
    reaches."""
    name = dice.choice([name for name in PLANNED if name != field])
    result = solved(graph, cluster, workload, name) if dice.random() < 0.4 else None
    if result is None or result.objective <= 0:
        return {}
    slack = dice.choice((1.02, 1.3, 3.0))
    return {
        name: result.objective / slack if name in HIGHER_IS_BETTER else result.objective * slack
    }


def agrees_with_the_oracle(graph, cluster, workload, field, limits) -> bool:
    """Whether there is a plan at all; fails where solver and oracle disagree."""
    plan, value = best_pooled_plan(
        graph, cluster, workload, field, most=field in HIGHER_IS_BETTER, limits=limits
    )
    result = solved(graph, cluster, workload, field, limits)
    assert (plan is None) == (result is None)
    if result is None:
        return False
    claims_no_more(graph, cluster, workload, field, limits, value)
    assert result.status == "optimal"
    assert result.bound == result.objective == getattr(result.score, field)
    assert result.objective == pytest.approx(value, rel=1e-9)
    assert pl.score_pooled_plan(result.plan, graph, cluster, workload) == result.score
    assert sum(part.total_s for part in result.score.breakdown) == pytest.approx(
        result.score.tpot_s, rel=1e-9
    )
    assert sum(part.total_s for part in result.score.prefill_breakdown) == pytest.approx(
        result.score.ttft_s, rel=1e-9
    )
    return True


def claims_no_more(graph, cluster, workload, field, limits, value) -> None:
    """The bound that is soon told of any number of pools is none that the best plan is below."""
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    asked = {"minimize": None, "maximize": None, direction: field}
    question = question_of(**asked, limits=limits, power_scope=None)
    candidates = ClusterCandidates(graph, cluster, workload, question)
    told = EngineClusterSearch(candidates).loose_bound()
    assert told <= candidates.canonical(field, value) * (1 + 1e-9)


@pytest.mark.parametrize("field", mostly_slow(PLANNED, but=("tokens_per_s", "energy_per_token_j")))
def test_the_plan_on_two_pools_is_as_good_as_the_oracles(field):
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"pools {field} {case}"), case + 1
        graph, cluster, workload = random_graph(dice), random_cluster(dice), random_workload(dice)
        limits = limited(graph, cluster, workload, field, dice)
        feasible += agrees_with_the_oracle(graph, cluster, workload, field, limits)


@pytest.mark.parametrize(
    "field", mostly_slow(["tpot_s", "ttft_s", "energy_per_token_j"], but=("tpot_s",))
)
def test_the_plan_on_three_pools_is_as_good_as_the_oracles(field):
    feasible = case = 0
    while feasible < some(1, 2):
        dice, case = random.Random(f"three {field} {case}"), case + 1
        pools = random_cluster(dice, 3)
        small = tuple(
            pool.replace(
                topology=pool.topology.replace(chips=min(pool.topology.chips, 2)), exclude=()
            )
            for pool in pools.pools
        )
        graph, workload = (
            tiny_graph(dice.choice((1, 2)), heads=2, kv_heads=2),
            random_workload(dice),
        )
        feasible += agrees_with_the_oracle(graph, pools.replace(pools=small), workload, field, {})


@pytest.mark.parametrize("shape", mostly_slow(spread(LISTED, 3), but=("switch",)))
def test_a_cluster_of_one_pool_gives_what_its_topology_gives(shape):
    for case in range(some(2, 5)):
        dice = random.Random(f"one {shape} {case}")
        graph, topology = random_graph(dice), random_topology(dice, shape)
        workload = (
            random_workload(dice)
            if case % 4
            else pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
        )
        field = dice.choice(PLANNED)
        direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
        one = solved(
            graph,
            Cluster(name="one", pools=(Pool(name="only", topology=topology),)),
            workload,
            field,
        )
        try:
            plain = pl.partition(graph, topology, workload, **{direction: field})
        except pl.InfeasibleError:
            assert one is None
            continue
        assert one.status == plain.status == "optimal"
        # The other may hold fewer chips, and be as good.
        assert one.objective == pytest.approx(plain.bound, rel=1e-9)


@pytest.mark.slow
def test_three_macs_hold_together_what_none_of_them_holds_alone():
    graph, cluster, work = (
        pl.load_model("llama-3.1-70b", weight_dtype="bf16"),
        pl.load_cluster("three-macs"),
        pl.Workload(batch_size=1),
    )
    small = cluster.replace(pools=cluster.pools[1:], links=cluster.links[1:])
    result = pl.partition_cluster(graph, small, work, minimize="tpot_s")
    assert {stage.pool for stage in result.plan.stages} == {"m3-max", "m1-max"}
    assert result.status == "optimal"
    whole = pl.partition_cluster(graph, cluster, work, minimize="tpot_s")
    assert whole.objective < result.objective
    with pytest.raises(
        pl.InfeasibleError, match="add a pool, or store the weights in fewer bits"
    ) as caught:
        pl.partition_cluster(
            graph, small.replace(pools=small.pools[1:], links=()), work, minimize="tpot_s"
        )
    assert caught.value.gap == caught.value.demand - caught.value.capacity > 0


@pytest.mark.slow
def test_a_model_goes_over_three_kinds_of_gpus_with_a_proof():
    graph, cluster, work = (
        pl.load_model("llama-3.1-70b", weight_dtype="bf16"),
        pl.load_cluster("a100-l4-t4"),
        pl.Workload(batch_size=8),
    )
    result = pl.partition_cluster(graph, cluster, work, minimize="tpot_s")
    assert result.status == "optimal"
    assert result.objective == pytest.approx(
        pl.score_pooled_plan(result.plan, graph, cluster, work).tpot_s
    )
    alone = pl.partition(graph, cluster.pools[0].topology, work, minimize="tpot_s")
    assert result.objective <= alone.objective


def relabelled(cluster: Cluster, order: tuple[int, ...]) -> Cluster:
    """The same pools in another order and under other names."""
    names = {pool.name: f"renamed-{number}" for number, pool in enumerate(cluster.pools)}
    pools = tuple(cluster.pools[number] for number in order)
    return cluster.replace(
        pools=tuple(pool.replace(name=names[pool.name]) for pool in pools),
        links=tuple(
            link.replace(between=tuple(names[end] for end in link.between))
            for link in cluster.links
        ),
    )


def test_of_hundreds_of_pools_there_is_soon_a_plan_and_a_bound():
    machines = tiny_topology(2), tiny_topology(4)
    pools = tuple(Pool(name=f"p{n}", topology=machines[n % 2]) for n in range(400))
    links = tuple(
        PoolLink(between=(f"p{n}", f"p{n + 1}"), bandwidth_bytes_per_s=1e9, latency_s=1e-5)
        for n in range(399)
    )
    cluster = Cluster(name="row", pools=pools, links=links)
    work = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=16)
    # At most 300 looks at a clock: fewer than there are pools.
    with ticking(0.01):
        result = pl.partition_cluster(
            tiny_graph(4), cluster, work, minimize="tpot_s", time_limit_s=3.0
        )
    assert result.status == "feasible"
    assert 0 < result.bound < result.objective


@pytest.mark.slow
def test_names_and_order_of_pools_change_nothing():
    for case in range(3):
        dice = random.Random(f"relabel {case}")
        graph, cluster, work = random_graph(dice), random_cluster(dice, 3), random_workload(dice)
        twin = cluster.pools[0].replace(name="twin")
        links = tuple(
            link.replace(
                between=tuple(
                    "twin" if end == cluster.pools[0].name else end for end in link.between
                )
            )
            for link in cluster.links
        )
        doubled = cluster.replace(pools=(*cluster.pools, twin), links=(*cluster.links, *links))
        one = solved(graph, doubled, work, "tpot_s")
        other = solved(graph, relabelled(doubled, (3, 1, 2, 0)), work, "tpot_s")
        assert (one is None) == (other is None)
        if one is not None:
            assert other.objective == pytest.approx(one.objective, rel=1e-12)
            without = solved(graph, cluster, work, "tpot_s")
            assert without is None or one.objective <= without.objective * (1 + 1e-12)


def test_a_limit_that_no_plan_keeps_is_named_with_the_best_there_is():
    graph, cluster = tiny_graph(2), random_cluster(random.Random("limits"))
    with pytest.raises(
        pl.InfeasibleError, match=r"tpot_s cannot be under .* \(limit 1 ns\): the least is"
    ) as caught:
        pl.partition_cluster(
            graph, cluster, pl.Workload(), minimize="chips", limits={"tpot_s": 1e-9}
        )
    assert caught.value.capacity > caught.value.demand == 1e-9


@pytest.mark.slow
def test_a_search_without_time_says_so_or_proves_what_it_can():
    cut_off = 0
    for case in range(12):
        dice = random.Random(f"clock {case}")
        graph, cluster, work = random_graph(dice), random_cluster(dice), random_workload(dice)
        try:
            with ticking(0.02):
                result = solved(graph, cluster, work, "request_s", time_limit_s=10)
        except pl.NoPlanFoundError:
            continue
        if result is not None:
            cut_off += result.status == "feasible"
            assert result.bound <= result.objective
            assert result.status == "optimal" or result.gap > 0
    assert cut_off


@pytest.mark.slow
def test_an_open_batch_on_a_cluster_serves_as_many_as_fit():
    graph, cluster = tiny_graph(2), random_cluster(random.Random("open 1"))
    work = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
    result = pl.partition_cluster(graph, cluster, work, maximize="tokens_per_s")
    assert result.status == "optimal"
    assert result.score.batch_size == result.plan.batch_size > 1
    fixed = pl.partition_cluster(
        graph, cluster, work.replace(batch_size=result.score.batch_size), maximize="tokens_per_s"
    )
    assert fixed.objective <= result.objective * (1 + 1e-9)


def test_a_result_on_a_cluster_survives_json():
    result = solved(tiny_graph(2), random_cluster(random.Random("json")), pl.Workload(), "tpot_s")
    assert ClusterResult.from_json(result.to_json()) == result


# ── Plans that an engine can be started with ─────────────────────────────────────────────────────


def check_on_pools(
    case: OnPools, field: str, dice: random.Random, among=tuple(PLANNED), **options
) -> ClusterResult | None:
    """The answer in the engine's space; fails where it is not that of the oracle."""
    plans = scored_on_pools(case)
    limits = random_limit(dice, field, plans, among)
    best = best_on_pools(case, field, limits, plans)
    result = solved(*case, field, limits, space="engine", **options)
    assert (result is None) == (best is None)
    if result is None:
        return None
    assert result.status == "optimal"
    assert result.objective == result.bound == pytest.approx(best, rel=1e-9)
    assert pl.check_pooled_plan(result.plan, *case, space="engine") == ()
    assert pl.score_pooled_plan(result.plan, *case) == result.score
    assert kept(result.score, limits)
    return result


@pytest.mark.parametrize("number", mostly_slow(range(some(12, 60)), but=(0, 1, 2, 3)))
def test_the_engines_plan_on_two_pools_is_the_best_of_all(number):
    dice = random.Random(f"engine pools {number}")
    case = random_pools(dice, unlike=number % 10 == 9)
    field = dice.choice(PLANNED)
    result = check_on_pools(case, field, dice)
    if result is not None:
        used = {stage.pool for stage in result.plan.stages}
        assert len(used) == 1 or number % 10 != 9


@pytest.mark.slow
def test_some_of_the_random_questions_need_both_pools():
    used = set()
    for number in range(8):
        case = random_pools(random.Random(f"engine pools {number}"))
        result = solved(*case, "tpot_s", space="engine")
        used.add(0 if result is None else len({stage.pool for stage in result.plan.stages}))
    assert {1, 2} <= used


@pytest.mark.slow
def test_two_engines_are_not_piped_into_one_another():
    joined = 0
    for number in range(12):
        case = random_pools(random.Random(f"unlike {number}"))
        alike = solved(*case, "tpot_s", space="engine")
        if alike is None or len({stage.pool for stage in alike.plan.stages}) < 2:
            continue
        joined += 1
        pools = case.cluster.pools
        other = pools[1].topology.software.replace(name="other")
        unlike = pools[1].replace(topology=pools[1].topology.replace(software=other))
        cluster = case.cluster.replace(pools=(pools[0], unlike))
        assert pl.check_pooled_plan(alike.plan, case.graph, cluster, case.workload) != ()
        result = solved(case.graph, cluster, case.workload, "tpot_s", space="engine")
        assert result is None or len({stage.pool for stage in result.plan.stages}) == 1
        free = solved(case.graph, cluster, case.workload, "tpot_s", space="any")
        assert free is not None
        assert free.objective <= alike.objective * (1 + 1e-9)
    assert joined


@pytest.mark.slow
@pytest.mark.parametrize("number", mostly_slow(range(some(4, 12)), but=(0, 1)))
def test_no_engine_reaches_on_pools_what_no_plan_reaches(number):
    dice = random.Random(f"spaces {number}")
    case = random_pools(dice)
    field = dice.choice(PLANNED)
    bound, free = (solved(*case, field, space=space) for space in ("engine", "any"))
    if bound is None:
        return
    assert free is not None
    worse = free.objective - bound.objective
    slack = 1e-9 * abs(bound.objective)
    assert worse >= -slack if field in HIGHER_IS_BETTER else worse <= slack


@pytest.mark.slow
@pytest.mark.parametrize("number", mostly_slow(range(some(4, 12)), but=(0, 1)))
def test_one_more_pool_never_makes_it_worse(number):
    dice = random.Random(f"one more {number}")
    case = random_pools(dice)
    field = dice.choice(PLANNED)
    both = solved(*case, field, space="engine")
    for pool in case.cluster.pools:
        fewer = case.cluster.replace(pools=(pool,), links=())
        alone = solved(case.graph, fewer, case.workload, field, space="engine")
        if alone is None:
            continue
        assert both is not None
        worse = both.bound - alone.bound
        slack = 1e-9 * abs(alone.bound)
        assert worse >= -slack if field in HIGHER_IS_BETTER else worse <= slack


def two_pools(
    memory_share: float, layers: int = 4, *, chips: int = 1, link_bytes_per_s: float = 1e10
) -> OnPools:
    """Two pools of like chips, each of which holds so much of the model."""
    graph = tiny_graph(layers, vocabulary=1000)
    software = tiny_software(
        engine=tiny_engine(), most_sequences=9, most_tensor_parallel=1, usable_memory_fraction=1.0
    )
    chip = tiny_chip(memory_share * graph.weight_bytes)
    topology = tiny_topology(chips, chip=chip, software=software)
    pools = tuple(Pool(name=name, topology=topology) for name in ("a", "b"))
    link = PoolLink(between=("a", "b"), bandwidth_bytes_per_s=link_bytes_per_s, latency_s=1e-6)
    work = pl.Workload(batch_size=None, prompt_tokens=2000, output_tokens=20)
    return OnPools(graph, Cluster(name="two", pools=pools, links=(link,)), work)


@pytest.mark.slow
@pytest.mark.parametrize(
    "share",
    [
        0.6,
        0.7,
        0.75,
        0.8,
    ],
)
@pytest.mark.parametrize("field", ["tokens_per_s", "energy_per_token_j"])
def test_memory_for_few_sequences_on_both_pools_is_used(share, field):
    case = two_pools(share)
    best = best_on_pools(case, field, {}, scored_on_pools(case))
    result = solved(*case, field, space="engine")
    free = solved(*case, field, space="any")
    assert result is not None
    assert free is not None
    assert result.objective == result.bound == pytest.approx(best, rel=1e-9)
    sign = -1 if field in HIGHER_IS_BETTER else 1
    assert sign * (free.objective - result.objective) <= 1e-9 * abs(result.objective)


@pytest.mark.parametrize("space", ["engine", "any"])
def test_fewer_replicas_than_there_is_room_for_keep_a_limit_on_a_link_that_they_share(space):
    graph, cluster, work = two_pools(0.65, chips=4, link_bytes_per_s=1e9)
    work = work.replace(prompt_tokens=20)
    limits = {"tpot_s": 214e-6}
    result = solved(graph, cluster, work, "tokens_per_s", limits, space=space)
    assert result is not None
    assert result.status == "optimal"

    def served(replicas: int) -> tuple[float, float]:
        plan = result.plan
        stages = [stage.replace(groups=ranges(replicas)) for stage in plan.stages]
        fewer = plan.replace(stages=tuple(stages), batch_size=replicas)
        score = pl.score_pooled_plan(fewer, graph, cluster, work)
        return score.tpot_s, score.tokens_per_s

    # A replica over both pools is as fast as a chip of each, and all hand on over the one link: of
    # four, for which there is room, none keeps the limit; of three each does.
    assert result.plan.replicas == 3
    assert served(4)[0] > limits["tpot_s"] > served(3)[0]
    assert served(3)[1] == result.objective > served(2)[1]


def ranges(count: int) -> tuple[ChipRange, ...]:
    """So many groups of a chip."""
    return tuple(ChipRange(first=number, count=1) for number in range(count))


@pytest.mark.parametrize("limit_s", [3, 10, 30, 100])
def test_in_little_time_any_plan_is_no_worse_than_that_of_the_engine(limit_s):
    case = two_pools(0.75)
    reached = {}
    for space in ("engine", "any"):
        with ticking(1.0), contextlib.suppress(pl.NoPlanFoundError):
            result = solved(*case, "tokens_per_s", space=space, time_limit_s=limit_s)
            assert result is not None
            reached[space] = result.objective
            assert result.bound >= result.objective
    assert reached.get("any", 0.0) >= reached.get("engine", 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("number", mostly_slow(range(some(6, 30)), but=(0, 1)))
def test_where_memory_is_tight_any_number_of_sequences_is_looked_at(number):
    dice = random.Random(f"tight {number}")
    case = two_pools(dice.choice((0.6, 0.7, 0.75, 0.85, 0.95)), dice.choice((3, 4)))
    prompt_tokens = dice.choice((500, 2000, 4000))
    case = case._replace(workload=case.workload.replace(prompt_tokens=prompt_tokens))
    check_on_pools(case, dice.choice(PLANNED), dice)


# ── Requests that come at a rate ─────────────────────────────────────────────────────────────────

RATED = tuple(
    field
    for field in PLANNED
    if field not in ("tokens_per_s", "requests_per_s", "mfu_fraction", "mbu_fraction")
)
"""Fields that a rate of requests leaves a choice in."""


def share_of_most(case: OnPools, share: float, space: str) -> OnPools | None:
    """A case at a share of the rate that its fastest plan serves with as many as fit; None where
    there is no plan."""
    open_batch = case.workload.replace(batch_size=None, arrivals="steady")
    most = solved(case.graph, case.cluster, open_batch, "tokens_per_s", space=space)
    if most is None:
        return None
    return at_a_rate(case, share * most.objective / case.workload.output_tokens)


@pytest.mark.parametrize("number", mostly_slow(range(some(12, 100)), but=(0, 5, 10)))
def test_at_a_rate_the_engines_plan_on_two_pools_is_the_best_of_all(number):
    dice = random.Random(f"rate pools {number}")
    case = random_pools(dice)
    rated = share_of_most(case, dice.choice((0.01, 0.1, 0.3, 0.6, 0.9, 0.99)), "engine")
    if rated is not None:
        result = check_on_pools(rated, dice.choice(RATED), dice, RATED)
        rate = rated.workload.requests_per_s
        assert result is None or result.score.requests_per_s == rate


@pytest.mark.slow
@pytest.mark.parametrize("field", spread(RATED, 4))
def test_at_a_rate_the_plan_on_two_pools_is_as_good_as_the_oracles(field):
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"rated {field} {case}"), case + 1
        asked = OnPools(random_graph(dice), random_cluster(dice), random_workload(dice))
        rated = share_of_most(asked, dice.choice((0.1, 0.3, 0.6, 0.9)), "any")
        if rated is None:
            continue
        plan, value = best_pooled_plan(*rated, field, most=field in HIGHER_IS_BETTER, limits={})
        result = solved(*rated, field, space="any")
        assert (plan is None) == (result is None)
        if result is not None:
            feasible += 1
            assert result.status == "optimal"
            assert result.bound == result.objective == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("space", ["engine", "any"])
def test_at_a_rate_a_cluster_of_one_pool_gives_what_its_topology_gives(space):
    compared = 0
    for number in range(some(6, 30)):
        dice = random.Random(f"one at a rate {number}")
        case = random_pools(dice)
        pool = case.cluster.pools[0].replace(exclude=())
        alone = case._replace(cluster=Cluster(name="one", pools=(pool,)))
        rated = share_of_most(alone, dice.choice((0.1, 0.5, 0.9)), space)
        if rated is None:
            continue
        field = dice.choice(RATED)
        direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
        one = solved(*rated, field, space=space)
        topology = rated.cluster.pools[0].topology
        try:
            plain = pl.partition(
                rated.graph, topology, rated.workload, space=space, **{direction: field}
            )
        except pl.InfeasibleError:
            assert one is None
            continue
        compared += 1
        assert one is not None
        assert one.status == plain.status == "optimal"
        # The other may hold fewer chips, and be as good.
        assert one.objective == pytest.approx(plain.bound, rel=1e-9)
    assert compared


@pytest.mark.slow
def test_at_a_higher_rate_nothing_that_users_wait_for_is_sooner():
    case = share_of_most(two_pools(0.8), 0.05, "engine")
    assert case is not None
    lowest = case.workload.requests_per_s
    for field in ("tpot_s", "ttft_s", "request_s"):
        reached = [
            solved(*at_a_rate(case, times * lowest), field).objective for times in (1, 4, 8, 16)
        ]
        assert reached == sorted(reached)
        assert reached[0] < reached[-1]


@pytest.mark.slow
def test_a_rate_that_pools_cannot_serve_is_told_with_the_most_that_they_can():
    case = two_pools(0.8)
    with pytest.raises(pl.InfeasibleError, match="is more than any plan on two can serve") as no:
        pl.partition_cluster(*at_a_rate(case, 1e6), minimize="tpot_s")
    most = no.value.capacity
    assert 0 < most < no.value.demand == 1e6
    assert solved(*at_a_rate(case, most * (1 - 1e-6)), "tpot_s") is not None
    assert solved(*at_a_rate(case, most * 1.002), "tpot_s") is None


@pytest.mark.slow
def test_a_result_at_a_rate_is_confirmed_without_the_solver():
    case = share_of_most(two_pools(0.8), 0.5, "engine")
    assert case is not None
    for field in ("tpot_s", "ttft_s", "usd_per_million_tokens"):
        result = solved(*case, field)
        assert {stage.pool for stage in result.plan.stages} == {"a", "b"}
        assert pl.verify(result.certificate()).confirmed
        short = result.certificate().replace(workload=case.workload.replace(requests_per_s=1e6))
        with pytest.raises(pl.InputError, match="is more than the plan can serve"):
            pl.verify(short)


@pytest.mark.parametrize("field", ["tokens_per_s", "requests_per_s", "mfu_fraction"])
def test_what_a_rate_settles_on_pools_is_not_asked_for(field):
    case = at_a_rate(two_pools(0.8), 1.0)
    with pytest.raises(pl.InputError, match=rf"^{field} is fixed by Workload.requests_per_s"):
        pl.partition_cluster(*case, maximize=field)


def test_percentiles_on_pools_are_read_and_not_asked_for():
    case = share_of_most(two_pools(0.8), 0.5, "engine")
    assert case is not None
    score = solved(*case, "ttft_s").score
    assert score.ttft_p50_s < score.ttft_p99_s
    assert score.tpot_p50_s <= score.tpot_p99_s
    with pytest.raises(pl.InputError, match="ttft_p99_s is asked for on one machine only"):
        pl.partition_cluster(*case, minimize="ttft_p99_s")


def test_a_rate_that_is_open_is_not_looked_for_on_pools():
    case = two_pools(0.8)
    workload = pl.Workload(arrivals="poisson")
    with pytest.raises(pl.InputError, match="on clusters, and with exclude=, give the rate"):
        pl.partition_cluster(case.graph, case.cluster, workload, minimize="tpot_s")
