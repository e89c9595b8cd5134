"""`partition_fleet`: unlike deployments side by side on a cluster, for the most tokens a second,
with a proof.

The pools are shared out between deployments: each takes a group of pools and serves on them alone,
with the best plan that `partition_cluster` has for it. What a group can give is at most what any
larger group can, so groups are planned only where that bound says that they could pay: the best
sharing out by bounds is found, its groups are planned, until they all are.
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from planner import allowance
from planner.answers.proof import StoppedBy, proved
from planner.answers.question import Limits, Question, as_priced, question_of
from planner.answers.results import ClusterResult, Fleet
from planner.catalogue import AnyCluster, AnyModel, cluster_of, model_of
from planner.errors import InputError, NoPlanFoundError, TimeUpError
from planner.guards import guarded
from planner.machines.accounts import PowerBasis, alike_pools
from planner.machines.cluster import Cluster
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope
from planner.models.graph import ModelGraph
from planner.planning.clusters import found_by, told_on_pools
from planner.planning.engine_search import EngineClusterSearch
from planner.planning.refusals import refusal_of
from planner.planning.search import Progress
from planner.scoring.clusters import common_scope
from planner.space.cluster_candidates import ClusterCandidates
from planner.units import PositiveBytes
from planner.workload import Workload

MOST_POOLS = 10
"""Groups of pools double with each."""
AGAIN = 1.5
"""A group whose bound is open is planned again where so many times the seconds are left that it
had."""
ALONE_SHARE = 0.4
"""Of the time, that goes to each kind of pool alone."""
WHOLE_SHARE = 0.5
"""Of the time, that goes to the whole cluster."""
Group = frozenset[int]
"""Numbers of pools."""


@dataclass
class _Known:
    """What is known of a group of pools."""

    result: ClusterResult | None
    most: float
    """Tokens a second that are proved not to be exceeded."""
    took_s: float

    @property
    def least(self) -> float:
        return 0.0 if self.result is None else self.result.objective

    @property
    def proved(self) -> bool:
        return self.least == self.most


@dataclass
class _Sharing:
    """The pools, and what is known of groups of them."""

    graph: ModelGraph
    cluster: Cluster
    workload: Workload
    limits: Limits | None
    power_scope: PowerScope | None
    deadline: float
    progress: Callable[[Progress], None] | None
    space: Space
    known: dict[Group, _Known] = field(default_factory=dict)
    interrupted: bool = False

    def bound_of(self, group: Group) -> float:
        return min(
            (one.most for larger, one in self.known.items() if group <= larger), default=math.inf
        )

    def best(self, value: Callable[[Group], float]) -> tuple[float, tuple[Group, ...]]:
        """The most that disjoint groups are worth together, and these groups."""
        everything = frozenset(range(len(self.cluster.pools)))
        found: dict[Group, tuple[float, tuple[Group, ...]]] = {frozenset(): (0.0, ())}

        def of(left: Group) -> tuple[float, tuple[Group, ...]]:
            if left not in found:
                first = min(left)
                options = [of(left - {first})]
                for group in _groups(left - {first}):
                    rest, chosen = of(left - group - {first})
                    mine = group | {first}
                    options.append((rest + value(mine), (mine, *chosen)))
                found[left] = max(options, key=lambda one: (one[0], -len(one[1])))
            return found[left]

        return of(everything)

    def plan(self, group: Group, time_limit_s: float) -> None:
        """The best plan of a group on its own, or as far as that gets."""
        started = time.monotonic()
        candidates = self.candidates(part_of(self.cluster, group))
        search = EngineClusterSearch(candidates, time_limit_s=time_limit_s, progress=self.progress)
        search.run()
        self.interrupted |= search.interrupted
        result = found_by(search)
        if result is not None:
            most = result.bound
        elif search.bound == math.inf:
            most = 0.0
        else:
            most = candidates.field_value("tokens_per_s", search.bound)
        # A larger group can do all that this one can, so its bound holds here too; but where both
        # are one up to rounding, no bound may lie below what was found.
        least = 0.0 if result is None else result.objective
        most = max(min(most, self.bound_of(group)), least)
        self.known[group] = _Known(result, most, time.monotonic() - started)

    def candidates(self, part: Cluster) -> ClusterCandidates:
        return ClusterCandidates(self.graph, part, self.workload, self.question)

    @property
    def question(self) -> Question:
        """What is asked of every group."""
        asked = question_of(None, "tokens_per_s", self.limits, self.power_scope, space=self.space)
        return as_priced(asked, "a fleet")

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search, where it is not proved to the end."""
        if self.interrupted:
            return "interrupt"
        return "time" if self.left_s() <= 0 else "beam"

    def left_s(self) -> float:
        return 0.0 if allowance.is_up() else self.deadline - time.monotonic()

    def next_group(self) -> Group | None:
        """The largest group of the best sharing out by bounds that is not planned yet; None:
        they all are."""
        chosen = self.best(self.bound_of)[1]
        new = [group for group in chosen if group not in self.known]
        open_ = [group for group in chosen if group in self.known and not self.known[group].proved]
        again = [group for group in open_ if self.left_s() > AGAIN * self.known[group].took_s]
        return max(new or again, key=lambda group: (len(group), -min(group)), default=None)

    def _plan_alone(self) -> None:
        """Each pool by itself, of those that are alike one, in a part of the time: so that there is
        a sharing out of all pools early."""
        heads = [
            head
            for head in dict.fromkeys(self.cluster.kinds)
            if self.cluster.pools[head].free_chips
        ]
        share_s = ALONE_SHARE * self.left_s() / max(1, len(heads))
        for head in heads:
            self._plan_early(head, share_s)
            for other, kind in enumerate(self.cluster.kinds):
                if kind == head and other != head:
                    self._take_over(head, other)

    def _plan_early(self, head: int, time_limit_s: float) -> None:
        """A plan at once of a pool by itself, of which nothing is proved."""
        started = time.monotonic()
        candidates = self.candidates(part_of(self.cluster, frozenset({head})))
        search = EngineClusterSearch(candidates, time_limit_s=time_limit_s)
        search.best = search.early()
        took_s = time.monotonic() - started
        self.known[frozenset({head})] = _Known(found_by(search), math.inf, took_s)

    def _take_over(self, head: int, other: int) -> None:
        """What is known of a pool, for another one that is like it."""
        known = self.known[frozenset({head})]
        result = known.result
        if result is not None:
            candidates = self.candidates(part_of(self.cluster, frozenset({other})))
            name = self.cluster.pools[other].name
            stages = tuple(stage.replace(pool=name) for stage in result.plan.stages)
            plan = result.plan.replace(stages=stages)
            result = result.replace(plan=plan, cluster=candidates.cluster)
        self.known[frozenset({other})] = replace(known, result=result)

    def run(self) -> None:
        """Until the best sharing out by bounds is planned through, or time runs out."""
        if math.isfinite(self.deadline):
            with suppress(TimeUpError):
                self._plan_alone()
        everything = frozenset(range(len(self.cluster.pools)))
        count = 2 ** len(everything) - 1
        group: Group | None = everything
        while group is not None and not self.interrupted:
            # The whole cluster is planned in any case: its bound holds for every group.
            if self.left_s() <= 0 and group != everything:
                return
            share_s = self.left_s()
            if group == everything:
                # Its bound is all that is known of other groups, and its plan may be all there is.
                share_s *= WHOLE_SHARE
            elif group not in self.known:
                share_s /= max(1, count - len(self.known))
            try:
                self.plan(group, max(0.0, share_s))
            except TimeUpError as up:
                self.interrupted |= up.interrupted
                return
            group = self.next_group()


@guarded
@allowance.allowing
def partition_fleet(
    graph: AnyModel,
    cluster: AnyCluster,
    workload: Workload,
    *,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    progress: Callable[[Progress], None] | None = None,
    space: Space = "engine",
) -> Fleet:
    """The deployments of one model, each on pools of its own, that give the most tokens a second
    together, with a proof.

    The space: all ways of sharing out the pools; on each group of pools all plans of
    `partition_cluster` in the same `space`, over the links between these pools only. `limits` hold for every
    deployment, so `limits={"tpot_s": 0.05}` says what each user gets. The batch of `workload` is
    left open (`batch_size=None`): each deployment takes as many sequences as suit it. To let one
    pool serve in unlike parts, describe it as several pools. InfeasibleError: proved that no group
    can serve; NoPlanFoundError: nothing was found in time; InputError: a batch size is given, or
    there are more than ten pools.
    """
    graph, cluster = model_of(graph), cluster_of(cluster)
    if workload.requests_per_s is not None:
        raise InputError(
            "Workload.requests_per_s must be None for a fleet, not"
            f" {workload.requests_per_s:g}: it is planned for the most that its deployments serve"
            " together; compare the rate with requests_per_s of the answer"
        )
    if workload.batch_size is not None:
        raise InputError(
            "Workload.batch_size must be None for a fleet, not"
            f" {workload.batch_size}: each deployment chooses its own batch"
        )
    if len(cluster.pools) > MOST_POOLS:
        raise InputError(
            f"a fleet can have at most {MOST_POOLS} pools, and {cluster.name} has"
            f" {len(cluster.pools)}; leave some out"
        )
    started = time.monotonic()
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    cluster = alike_pools(cluster, price_basis=price_basis, power_basis=power_basis)
    scope = common_scope(cluster, power_scope)
    sharing = _Sharing(graph, cluster, workload, limits, scope, deadline, progress, space)
    sharing.run()
    return _fleet(sharing, time.monotonic() - started)


def part_of(cluster: Cluster, group: Group) -> Cluster:
    """Some pools of a cluster, with the links between them."""
    pools = tuple(cluster.pools[number] for number in sorted(group))
    names = {pool.name for pool in pools}
    links = tuple(link for link in cluster.links if set(link.between) <= names)
    return cluster.replace(pools=pools, links=links, figures=())


def _groups(pools: Group) -> list[Group]:
    """All sets of some of the pools, none of them among these."""
    found: list[Group] = [frozenset()]
    for number in sorted(pools):
        found += [group | {number} for group in found]
    return found


def _fleet(sharing: _Sharing, elapsed_s: float) -> Fleet:
    objective, groups = sharing.best(
        lambda group: sharing.known[group].least if group in sharing.known else 0.0
    )
    results = [sharing.known[group].result for group in groups if group in sharing.known]
    found = [result for result in results if result is not None]
    deployments = sorted(found, key=lambda one: -one.objective)
    bound = max(objective, sharing.best(sharing.bound_of)[0])
    if not deployments:
        if bound == 0.0:
            # A larger group can do all that a smaller one can, so that what the whole cluster lacks
            # says why.
            raise refusal_of(sharing.candidates(sharing.cluster))
        raise NoPlanFoundError(
            f"no plan of {sharing.graph.name} on pools of {sharing.cluster.name} was found in"
            f" {elapsed_s:.1f} s; nothing is proved: {allowance.remedy()}"
        )
    first = deployments[0]
    with allowance.freely():
        whole = sharing.candidates(sharing.cluster)
        bound = told_on_pools(bound, whole, first.plan, first.score)
    proof = proved(
        sharing.question,
        objective=objective,
        promised=objective,
        bound=bound,
        elapsed_s=elapsed_s,
        stopped_by=sharing.stopped_by,
    )
    return Fleet(
        deployments=tuple(deployments),
        graph=sharing.graph,
        cluster=sharing.cluster,
        workload=sharing.workload,
        **proof,
    )
