"""What an answer leaves unused, with the reason, and no reason that was not proved."""

import planner as pl
from planner.machines.cluster import Cluster, Pool, PoolLink
from planner.report import unused
from tests.instances import tiny_graph, tiny_software, tiny_topology

WORKLOAD = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)


def pool(name, chips=1, exclude=(), software=None):
    machine = tiny_topology(chips, name=name)
    if software is not None:
        machine = machine.replace(software=software)
    return Pool(name=name, topology=machine, exclude=exclude)


def link(one, other):
    return PoolLink(between=(one, other), bandwidth_bytes_per_s=1e9, latency_s=1e-5)


def answer(*pools, links=(), **asked):
    cluster = Cluster(name="shed", pools=pools, links=links)
    asked = asked or {"minimize": "energy_per_token_j"}
    return pl.partition_cluster(tiny_graph(2), cluster, WORKLOAD, **asked)


# ── Chips of a machine ───────────────────────────────────────────────────────────────────────────


def test_chips_that_are_not_used_are_told_with_what_is_proved_of_them():
    found = pl.partition(tiny_graph(2), tiny_topology(4), WORKLOAD, minimize="chips")
    assert unused.idle_lines(found) == [
        "unused: 3 chips; no plan on more chips is more than 0.1 % better in chips"
    ]
    unproved = found.replace(status="feasible", bound=0.5, gap=0.5)
    assert unused.idle_lines(unproved) == [
        "unused: 3 chips; the search found no plan on more chips that is better in chips"
    ]
    assert unused.idle_lines(found)[0] in str(found).splitlines()


def test_excluded_chips_are_named_and_not_called_unused():
    found = pl.partition(tiny_graph(2), tiny_topology(2), WORKLOAD, minimize="chips", exclude=(0,))
    assert unused.idle_lines(found) == ["excluded: chip 0"]


def test_where_all_chips_are_used_nothing_is_said():
    one = pl.partition(tiny_graph(2), tiny_topology(1), WORKLOAD)
    assert unused.idle_lines(one) == []


# ── Pools of a cluster ───────────────────────────────────────────────────────────────────────────


def test_a_pool_without_a_stage_is_told_with_the_reason():
    found = answer(pool("a"), pool("b"), links=(link("a", "b"),))
    (used,) = {stage.pool for stage in found.plan.stages}
    other = {"a": "b", "b": "a"}[used]
    (line,) = unused.left_out_pools(found)
    assert line.startswith(f"unused: {other} (1 × tiny")
    assert line.endswith("; no plan that uses it is more than 0.1 % better in energy_per_token_j")
    assert line in str(found).splitlines()


def test_a_pool_that_nothing_joins_or_that_is_excluded_whole_has_that_for_a_reason():
    apart = answer(pool("a"), pool("b"))
    (line,) = unused.left_out_pools(apart)
    assert "; no link joins it to " in line
    taken = answer(pool("a"), pool("b", exclude=(0,)), links=(link("a", "b"),))
    (line,) = unused.left_out_pools(taken)
    assert line.endswith("; all its chips are excluded")


def test_a_pool_of_other_software_has_that_for_a_reason():
    strange = tiny_software(name="other")
    pools = pool("a"), pool("b", software=strange)
    found = answer(*pools, links=(link("a", "b"),))
    (line,) = unused.left_out_pools(found)
    runs, cannot = line.partition("; ")[2].split(", and a plan of ")
    assert {runs, cannot} in (
        {"it runs other", "plain cannot have stages there"},
        {"it runs plain", "other cannot have stages there"},
    )


def test_chips_of_a_pool_that_is_used_are_told_too():
    found = answer(pool("a", chips=3))
    assert unused.left_out_pools(found) == [
        "unused: 2 chips of a; no plan on more chips is more than 0.1 % better in"
        " energy_per_token_j"
    ]


def test_a_pool_that_no_deployment_has_is_told():
    work = WORKLOAD.replace(batch_size=None)
    cluster = Cluster(name="shed", pools=(pool("a"), pool("b", exclude=(0,))))
    found = pl.partition_fleet(tiny_graph(2), cluster, work)
    (line,) = unused.left_out_deployments(found)
    assert line.startswith("unused: b (1 × tiny")
    assert line.endswith("; all its chips are excluded")
    some = found.replace(cluster=Cluster(name="shed", pools=(pool("a"), pool("c"))))
    (line,) = unused.left_out_deployments(some)
    assert line.endswith("; no deployment on it, alone or with others, adds tokens per second")
