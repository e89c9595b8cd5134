"""What an answer leaves unused, and why: chips of a machine, pools of a cluster."""

from planner.answers.proof import Answer
from planner.answers.results import ClusterResult, Fleet, Result
from planner.errors import listed
from planner.machines.cluster import Cluster, Pool
from planner.machines.topology import described

MOST_CHIPS = 8
"""Excluded chips that are named."""


def idle_lines(result: Result) -> list[str]:
    """Chips of the machine that the plan does not use."""
    excluded = sorted(set(result.exclude))
    idle = result.topology.chips - len(excluded) - result.plan.chips
    lines = []
    if excluded:
        more = len(excluded) - MOST_CHIPS
        named = [*excluded[:MOST_CHIPS], *([f"{more} more"] if more > 0 else [])]
        lines.append(f"excluded: chip{'s' * (len(excluded) > 1)} {listed(named)}")
    if idle:
        lines.append(f"unused: {_chips(idle)}; {_no_better(result, 'on more chips')}")
    return lines


def _chips(count: int) -> str:
    return f"{count:,} chip{'s' * (count != 1)}"


def _no_better(result: Answer, with_them: str) -> str:
    """That plans with more are no better, as far as that is proved."""
    limits = " and keeps the limits" if result.limits else ""
    if result.status == "optimal":
        # Of plans within 0.1 %, the one on the fewest chips is taken.
        return f"no plan {with_them} is more than 0.1 % better in {result.field}{limits}"
    return f"the search found no plan {with_them} that is better in {result.field}{limits}"


def left_out_pools(result: ClusterResult) -> list[str]:
    """Pools of the cluster that have no stage, each with the reason, and chips of the others."""
    used: dict[str, int] = {}
    for stage in result.plan.stages:
        chips = stage.group_chips * len(stage.groups)
        used[stage.pool] = used.get(stage.pool, 0) + chips
    lines = []
    for pool in result.cluster.pools:
        if pool.name not in used:
            lines.append(f"unused: {_named(pool)}; {_reason(result, pool, list(used))}")
        elif pool.free_chips > used[pool.name]:
            idle = pool.free_chips - used[pool.name]
            lines.append(
                f"unused: {_chips(idle)} of {pool.name}; {_no_better(result, 'on more chips')}"
            )
    return lines


def _named(pool: Pool) -> str:
    return f"{pool.name} ({described(pool.topology)})"


def _reason(result: ClusterResult, pool: Pool, used: list[str]) -> str:
    """Why a pool has no stage."""
    cluster = result.cluster
    if not pool.free_chips:
        return "all its chips are excluded"
    if not _is_joined(cluster, pool, used):
        return f"no link joins it to {listed(used, 'or')}"
    software = pool.topology.software.name
    other = cluster.pools[cluster.number(used[0])].topology.software.name
    if result.space == "engine" and software != other:
        return f"it runs {software}, and a plan of {other} cannot have stages there"
    return _no_better(result, "that uses it")


def _is_joined(cluster: Cluster, pool: Pool, used: list[str]) -> bool:
    number = cluster.number(pool.name)
    return any(cluster.ways(number, cluster.number(name)) for name in used)


def left_out_deployments(found: Fleet) -> list[str]:
    """Pools of the cluster that no deployment of a fleet has."""
    used = {pool.name for one in found.deployments for pool in one.cluster.pools}
    limits = " that keeps the limits" if found.limits else ""
    reason = "the search found no use for it"
    if found.status == "optimal":
        reason = f"no deployment{limits} on it, alone or with others, adds tokens per second"
    return [
        f"unused: {_named(pool)}; {reason if pool.free_chips else 'all its chips are excluded'}"
        for pool in found.cluster.pools
        if pool.name not in used
    ]
