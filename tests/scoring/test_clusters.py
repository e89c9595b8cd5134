"""The price of plans on clusters, by hand where a hand can follow."""

import random

import pytest

import planner as pl
from planner.machines.cluster import Cluster, Pool, PooledPlan, PooledStage, PoolLink
from planner.machines.topology import MemoryTier, Power, Price
from planner.plan import ChipRange, Plan
from planner.planning.engine_search import pooled as pooled_as
from planner.pricing.crossing import crossing_s
from planner.scoring.clusters import common_price, common_scope, peaks_of
from tests.by_hand import attention, chain, head, layer, matmul, round_chip, round_machine
from tests.instances import (
    FOLLOWING,
    random_graph,
    random_topology,
    random_workload,
    tiny_graph,
    tiny_topology,
)
from tests.machines.test_cluster import line
from tests.oracle import all_plans, scored


def split_between(*pools: str, layers: int = 2) -> PooledPlan:
    """A tiny model in equal parts on chip 0 of some pools."""
    names = [layer.name for layer in tiny_graph(layers).layers]
    each = len(names) // len(pools)
    return PooledPlan(
        stages=tuple(
            PooledStage(
                pool=pool,
                layers=tuple(names[n * each : (n + 1) * each]),
                groups=(ChipRange(first=0, count=1),),
            )
            for n, pool in enumerate(pools)
        )
    )


@pytest.mark.slow
def test_on_one_pool_a_plan_scores_as_on_its_topology():
    compared = 0
    for case in range(12):
        dice = random.Random(f"pooling {case}")
        graph, topology, work = (
            random_graph(dice),
            random_topology(dice, "switch"),
            random_workload(dice),
        )
        cluster = Cluster(name="one", pools=(Pool(name="only", topology=topology),))
        for plan in list(all_plans(graph, topology, work))[::17]:
            score = scored(plan, graph, topology, work)
            if score is None:
                continue
            compared += 1
            stages = tuple(
                PooledStage(pool="only", **{k: getattr(s, k) for k in type(s).model_fields})
                for s in plan.stages
            )
            pooled = pl.score_pooled_plan(
                PooledPlan(stages=stages, micro_batches=plan.micro_batches), graph, cluster, work
            )
            for name in type(score).model_fields:
                if isinstance(getattr(score, name), float):
                    assert getattr(pooled, name) == pytest.approx(getattr(score, name), rel=1e-9), (
                        name
                    )
            assert pooled.stages == score.stages
    assert compared > 20


def test_what_crosses_a_link_is_paid_once_for_each_pair_of_neighbours():
    graph, cluster = tiny_graph(2), line("a", "b", "c")
    work = pl.Workload(batch_size=2, arrivals="together")  # no prompt holds up a token
    near = pl.score_pooled_plan(split_between("a", "b"), graph, cluster, work)
    far = pl.score_pooled_plan(split_between("a", "c"), graph, cluster, work)
    sent = 2 * graph.layers[1].activation_bytes_per_token
    difference = far.tpot_s - near.tpot_s
    assert difference == pytest.approx(
        float(crossing_s(cluster, 0, 2, sent) - crossing_s(cluster, 0, 1, sent))
    )
    assert sum(part.total_s for part in far.breakdown) == pytest.approx(far.tpot_s)
    assert [part.hop_s > 0 for part in far.breakdown] == [True, False]


def test_price_and_power_add_up_over_the_pools():
    graph, work = tiny_graph(2), pl.Workload(batch_size=1)
    cluster = line("a", "b")
    dear = cluster.pools[1].topology.replace(price=pl.load_topology("l4").price, power=FOLLOWING)
    cluster = cluster.replace(pools=(cluster.pools[0], cluster.pools[1].replace(topology=dear)))
    score = pl.score_pooled_plan(split_between("a", "b"), graph, cluster, work)
    # One is rented, the other known as rented too; one's draw is not known, so both are
    # provisioned: 150 W at the wall, and 100 + 50.
    hourly = 1.0 + dear.price.offer("rental").rent_usd_per_chip_hour
    assert (score.price_basis, score.power_basis) == ("rental", "provisioned")
    assert score.usd_per_million_tokens == pytest.approx(1e6 * hourly / 3600 / score.tokens_per_s)
    assert score.power_w == pytest.approx(300)
    assert score.energy_per_token_j == pytest.approx(score.power_w / score.tokens_per_s)
    free = cluster.pools[0].replace(
        topology=tiny_topology(2, price=pl.load_topology("apple-m3-max").price)
    )
    unknown = cluster.replace(pools=(free, cluster.pools[1]))
    assert (
        pl.score_pooled_plan(split_between("a", "b"), graph, unknown, work).usd_per_million_tokens
        is None
    )


def test_rules_that_a_plan_breaks_are_named_with_the_pool():
    graph, cluster, work = tiny_graph(2), line("a", "b"), pl.Workload(batch_size=1)
    plan = split_between("a", "b")
    assert pl.check_pooled_plan(plan, graph, cluster, work) == ()
    taken = cluster.replace(pools=(cluster.pools[0], cluster.pools[1].replace(exclude=(0,))))
    (violation,) = pl.check_pooled_plan(plan, graph, taken, work)
    assert (violation.rule, violation.message) == (
        "exclude",
        "pool b: a stage uses chip 0, which is excluded",
    )
    (violation,) = pl.check_pooled_plan(plan, graph, cluster.replace(links=()), work)
    assert violation.rule == "links"
    off = PooledPlan(
        stages=(plan.stages[0], plan.stages[1].replace(groups=(ChipRange(first=2, count=1),)))
    )
    assert [one.rule for one in pl.check_pooled_plan(off, graph, cluster, work)] == ["chips"]
    with pytest.raises(pl.InfeasibleError, match="on each chip"):
        pl.score_pooled_plan(
            split_between("a", layers=60), tiny_graph(60), cluster, work.replace(batch_size=60)
        )
    with pytest.raises(pl.InputError, match="and with exclude=, give the rate"):
        pl.score_pooled_plan(plan, graph, cluster, pl.Workload(arrivals="poisson"))


def test_a_pooled_plan_is_a_plan_that_survives_json():
    plan = split_between("a", "b")
    assert isinstance(plan, Plan)
    assert PooledPlan.from_json(plan.to_json()) == plan


# ── On paper: a slow pool and one that is twice as fast, twice as dear ────────────────────────────

PAIR = chain(layer("a", matmul()), layer("b", attention()), layer("c", head(), kind="head"))
FAST = round_chip(
    memory=(MemoryTier(name="RAM", capacity_bytes=2000.0, bandwidth_bytes_per_s=20.0),)
)
WORK = pl.Workload(batch_size=1, prompt_tokens=4, output_tokens=3, arrivals="together")


def two_pools(slow_power=None, fast_power=None, **software) -> Cluster:
    """Two chips each, joined by a link of 10 B/s and 1 s."""
    slow = round_machine(
        2, power=slow_power or Power(chip_w=100.0, system_w=150.0), software=software
    )
    fast = round_machine(
        2,
        chip=FAST,
        power=fast_power or Power(chip_w=200.0, system_w=300.0),
        price=Price(usd_per_chip_hour=7.2, basis="rental"),
    )
    link = PoolLink(between=("slow", "fast"), bandwidth_bytes_per_s=10.0, latency_s=1.0)
    pools = (Pool(name="slow", topology=slow), Pool(name="fast", topology=fast))
    return Cluster(name="two", pools=pools, links=(link,))


def pooled(*stages: tuple[str, tuple[str, ...], int], replicas: int = 1) -> PooledPlan:
    """Stages by pool, layers and first chip."""
    return PooledPlan(
        stages=tuple(
            PooledStage(
                pool=pool,
                layers=layers,
                groups=tuple(
                    ChipRange(first=first + number, count=1) for number in range(replicas)
                ),
            )
            for pool, layers, first in stages
        )
    )


SPLIT = ("slow", ("a",), 0), ("fast", ("b", "c"), 0)


def test_a_plan_on_two_pools_is_priced_as_a_hand_does_it():
    score = pl.score_pooled_plan(pooled(*SPLIT), PAIR, two_pools(), WORK)
    # A token: 130 B at 10 B/s and a launch; 20 B over the link, 1 s of wire and 1 s of software;
    # 430 B at 20 B/s, 2 launches.
    assert score.tpot_s == 14 + 4 + 23.5
    # The prompt: 220 B; 80 B over the link; 530 B.
    assert score.ttft_s == 23 + 10 + 28.5
    assert score.request_s == 61.5 + 2 * 41.5
    assert score.tokens_per_s == pytest.approx(3 / 144.5)
    assert score.tokens_per_s_per_user == pytest.approx(1 / 41.5)
    assert (score.power_w, score.power_scope, score.chips) == (450.0, "system", 2)
    assert score.energy_per_token_j == pytest.approx(450 * 144.5 / 3)
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 10.8 / 3600 * 144.5 / 3)
    assert score.mfu_fraction == pytest.approx((820 + 2 * 420) / (144.5 * 200))
    assert score.mbu_fraction == pytest.approx((280 + 2 * 420) / (144.5 * 30))
    assert score.bubble_fraction == pytest.approx(1 - (51.5 + 2 * 37.5) / (2 * 144.5))
    # 100 B of weights and buffers of 4 × 30 B; 100 B, a cache of 7 × 40 B and buffers of 4 × 40 B,
    # of 2,000 B.
    assert score.memory_headroom_bytes == 1000 - 100 - 160
    assert [part.hop_s for part in score.breakdown] == [4.0, 0.0]
    two = pl.score_pooled_plan(
        pooled(*SPLIT, replicas=2), PAIR, two_pools(), WORK.replace(batch_size=2)
    )
    assert two.tpot_s == 41.5 + 2  # both replicas share the link
    assert (two.power_w, two.chips) == (900.0, 4)


def test_at_a_rate_a_plan_on_two_pools_is_priced_as_a_hand_does_it():
    def at(rate: float) -> pl.Score:
        work = pl.Workload(prompt_tokens=4, output_tokens=3, requests_per_s=rate)
        return pl.score_pooled_plan(pooled(*SPLIT), PAIR, two_pools(), work)

    score = at(0.004)
    # The prompt of 61.5 s, half a round of 41.5 s, and the queue for the slower stage, which works
    # 28.5 s on each prompt: Pollaczek and Khinchine's load × work / 2 (1 - load).
    load = 0.004 * 28.5
    assert score.queued_s == 0
    assert score.ttft_s == pytest.approx(61.5 + 41.5 / 2 + load * 28.5 / (2 * (1 - load)))
    assert (score.requests_per_s, score.tokens_per_s) == pytest.approx((0.004, 0.012))
    assert (score.power_w, score.energy_per_token_j) == (450.0, pytest.approx(450 / 0.012))
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 10.8 / 3600 / 0.012)
    assert score.mfu_fraction == pytest.approx((820 + 2 * 420) * 0.004 / 200)
    # Little: as many are in flight as come while one stays, its wait for a turn included.
    stays_s = score.request_s - load * 28.5 / (2 * (1 - load))
    assert 0.004 * stays_s < score.batch_size == 1 < 0.006 * stays_s
    assert at(0.006).batch_size == 2
    with pytest.raises(
        pl.InfeasibleError, match=r"is more than the plan can serve: 0\.0101\d"
    ) as no:
        at(0.02)
    assert no.value.capacity == pytest.approx(0.0102, abs=1e-4)
    at(0.999 * no.value.capacity)


def test_at_a_rate_a_plan_on_one_pool_scores_as_on_its_topology():
    compared = 0
    for case in range(4):
        dice = random.Random(f"pooling at a rate {case}")
        graph, topology = random_graph(dice), random_topology(dice, "switch")
        work = random_workload(dice).replace(
            batch_size=None, arrivals="steady", requests_per_s=dice.choice((1.0, 100.0))
        )
        cluster = Cluster(name="one", pools=(Pool(name="only", topology=topology),))
        for plan in list(all_plans(graph, topology, work))[::17]:
            score = scored(plan, graph, topology, work)
            if score is None:
                continue
            compared += 1
            found = pl.score_pooled_plan(pooled_as(plan, "only"), graph, cluster, work)
            assert (found.load, found.stages) == (score.load, score.stages)
            for name in type(score).model_fields:
                if isinstance(getattr(score, name), float):
                    assert getattr(found, name) == pytest.approx(getattr(score, name), rel=1e-9)
    assert compared > 5


def test_inside_a_pool_a_hop_goes_over_its_fabric():
    plan = pooled(("slow", ("a",), 0), ("slow", ("b", "c"), 1))
    score = pl.score_pooled_plan(plan, PAIR, two_pools(), WORK)
    assert score.tpot_s == 14 + (2 + 1 + 1) + (43 + 2)
    assert (score.power_w, score.chips) == (300.0, 2)  # a pool that is not used costs nothing
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 7.2 / 3600 / score.tokens_per_s)


def test_each_pool_is_as_active_as_its_own_layers():
    following = Power(chip_w=100.0, idle_share=0.2, memory_activity=0.4)
    cluster = two_pools(following, following.replace(chip_w=200.0))
    score = pl.score_pooled_plan(pooled(*SPLIT), PAIR, cluster, WORK)
    # In a cycle of 144.5 s the first moves 220 + 2 × 130 B at 10 B/s, the second 530 + 2 × 430 B at
    # 20 B/s.
    activities = [0.4 * 48 / 144.5, 0.4 * 69.5 / 144.5]
    drawn_w = 20 + 80 * activities[0], 40 + 160 * activities[1]  # both near the first tangent
    assert activities[1] < 0.229  # where the next one begins
    assert score.power_w == pytest.approx(sum(drawn_w))
    assert score.power_scope == "chip"


def test_power_and_price_count_what_is_known_of_every_pool():
    chips = Power(chip_w=100.0)
    assert common_scope(two_pools(), None) == "system"
    assert common_scope(two_pools(chips), None) == "chip"
    assert common_scope(two_pools(chips), "system") is None
    assert common_scope(two_pools(), "chip") == "chip"
    assert common_scope(two_pools(Power(system_w=1.0), chips), None) is None
    score = pl.score_pooled_plan(pooled(*SPLIT), PAIR, two_pools(Power(system_w=1.0), chips), WORK)
    assert (score.power_w, score.power_scope, score.energy_per_token_j) == (None, "unknown", None)
    free = two_pools()
    free = free.replace(
        pools=(free.pools[0].replace(topology=round_machine(2, price=Price())), free.pools[1])
    )
    assert (common_price(two_pools()), common_price(free)) == (True, False)
    assert peaks_of(PAIR, two_pools().pools[1].topology) == (100.0, 20.0)


def test_the_first_pools_software_cuts_prompts_and_every_pools_limits_sequences():
    cluster = two_pools(prefill_chunk_tokens=2)
    score = pl.score_pooled_plan(pooled(*SPLIT), PAIR, cluster, WORK)
    # Two passes of two tokens: 160 B and a launch; 40 B over the link; 2 × 40 + 160 B and 130 B at
    # 20 B/s, two launches; the second pass waits for the slower stage.
    assert score.ttft_s == 17 + 6 + 20.5 + 20.5
    few = cluster.pools[1].topology
    few = few.replace(software=few.software.replace(name="few", most_sequences=2))
    limited = cluster.replace(pools=(cluster.pools[0], cluster.pools[1].replace(topology=few)))
    work = WORK.replace(batch_size=3)
    (mixed,) = pl.check_pooled_plan(pooled(*SPLIT), PAIR, limited, work)
    assert mixed.rule == "engine"
    assert mixed.message.endswith("one engine cannot pass layers on to another")
    found = pl.check_pooled_plan(pooled(*SPLIT), PAIR, limited, work, space="any")
    assert [(one.rule, one.demand, one.capacity) for one in found] == [("sequences", 3, 2)]
    two = WORK.replace(batch_size=2)
    assert not pl.check_pooled_plan(pooled(*SPLIT), PAIR, limited, two, space="any")
    open_batch = pl.score_pooled_plan(pooled(*SPLIT), PAIR, limited, WORK.replace(batch_size=None))
    assert open_batch.batch_size == 2
    both = pl.score_pooled_plan(
        pooled(*SPLIT, replicas=2), PAIR, limited, WORK.replace(batch_size=None)
    )
    assert both.batch_size == 4
    made = pl.score_pooled_plan(
        pooled(*SPLIT).replace(batch_size=1), PAIR, limited, WORK.replace(batch_size=None)
    )
    assert made.batch_size == 1


def test_an_open_batch_is_what_the_fuller_pool_holds_in_every_replica():
    # 100 B of weights, n × 7 × 40 B of caches, buffers for ten tokens of 40 B, in 2,000 B: five.
    work = WORK.replace(batch_size=None)
    alone = pl.score_pooled_plan(pooled(*SPLIT), PAIR, two_pools(), work)
    both = pl.score_pooled_plan(pooled(*SPLIT, replicas=2), PAIR, two_pools(), work)
    assert (alone.batch_size, both.batch_size) == (5, 10)
    assert alone.memory_headroom_bytes == 2000 - 100 - 5 * 280 - 400


def test_a_prefill_pool_has_a_prompt_in_each_replica_however_many_would_fit():
    """Many sequences fit, but a plan that says nothing of a batch serves one prompt at a time."""
    graph, topology = tiny_graph(2), tiny_topology(3)
    work = pl.Workload(phase="prefill", batch_size=None, prompt_tokens=100, output_tokens=1)
    groups = (ChipRange(first=0, count=1), ChipRange(first=1, count=1))
    stage = PooledStage(pool="only", layers=graph.names, groups=groups)
    cluster = Cluster(name="one", pools=(Pool(name="only", topology=topology),))
    score = pl.score_pooled_plan(PooledPlan(stages=(stage,)), graph, cluster, work)
    assert score.batch_size == 2
    # Each replica's prompts come one by one, and each yields one token.
    assert score.tokens_per_s == pytest.approx(2 / score.ttft_s)
