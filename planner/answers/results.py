"""What was found and proved: a plan, its score, a bound."""

from typing import TYPE_CHECKING, Literal, cast

from planner.answers.certificates import Certificate, ClusterCertificate
from planner.answers.misses import NearMiss
from planner.answers.proof import Answer, Proof
from planner.answers.question import Question
from planner.answers.reasons import Reasons
from planner.machines.cluster import Cluster, PooledPlan
from planner.machines.topology import Topology
from planner.plan import PairedPlan, Plan
from planner.records import Record, as_figure
from planner.scoring.disaggregated import DisaggregatedScore, Link
from planner.scoring.pairs import PairedScore
from planner.scoring.score import Score

if TYPE_CHECKING:
    import plotly.graph_objects as go

Kind = Literal["breakdown", "operators", "memory", "stages", "roofline"]
"""What of a result a picture shows."""


class Result(Answer):
    """A plan, its score, and what was proved."""

    plan: Plan
    """The best that was found."""
    score: Score
    """What it costs."""
    topology: Topology
    """The machine that it was found for."""
    exclude: tuple[int, ...] = ()
    """Chips that no plan was allowed to use."""
    sequence_parallel: bool = False
    """Whether stages were allowed to share out the tokens of a sequence."""
    micro_batches: int | None = None
    """That every plan was to have; None: as many as suited it."""
    engine_objective: float | None = None
    """Where any plan was allowed: what the best of those reaches that the software's engine can be
    started with, proved. None where no rules of the engine are known, or none of them keeps the
    limits."""

    def plot(self, kind: Kind = "breakdown") -> "go.Figure":
        """An interactive picture: "breakdown", "operators", "memory", "stages" or "roofline"
        (needs plotly)."""
        return as_figure(self, kind)

    @property
    def question(self) -> Question:
        """What was asked."""
        scope = None if self.score.power_scope == "unknown" else self.score.power_scope
        return Question(
            self.field,
            self.limits,
            scope,
            self.sequence_parallel,
            self.space,
            self.sure,
            self.micro_batches,
        )

    def certificate(self) -> Certificate:
        """The result with all that `verify` needs to check it without the solver."""
        shared = {
            name: getattr(self, name)
            for name in Certificate.model_fields
            if name in type(self).model_fields
        }
        return Certificate(**shared, power_scope=self.question.power_scope)

    def why(self, *, time_limit_s: float | None = None) -> Reasons:
        """What binds; what one more GB, or twice the bandwidth, of each resource would buy (each
        solved again, to a proof); the best plan of every other shape. `time_limit_s` is shared
        out over some twenty questions."""
        # This import and the next run up from the answers: to explain a result, questions are
        # asked anew.
        from planner.planning.reasons import reasons_of

        return reasons_of(self, time_limit_s=time_limit_s)

    def near_misses(self, *, time_limit_s: float | None = None) -> tuple[NearMiss, ...]:
        """The next better plans and which limit each breaks, by how much: for each limit the plan
        that breaks it by the least, keeps all others and is better by 1 % or more; () where there
        are none. The smallest breach comes first. `time_limit_s` is shared out over the limits."""
        from planner.planning.misses import near_misses_of

        return near_misses_of(self, time_limit_s=time_limit_s)


class ClusterResult(Answer):
    """A plan on a cluster, its score, and what was proved."""

    plan: PooledPlan
    score: Score
    cluster: Cluster

    @property
    def question(self) -> Question:
        """What was asked."""
        scope = None if self.score.power_scope == "unknown" else self.score.power_scope
        return Question(self.field, self.limits, scope, space=self.space, sure=self.sure)

    def certificate(self) -> ClusterCertificate:
        """The result with all that `verify` needs to check it without the solver."""
        shared = {
            name: getattr(self, name)
            for name in ClusterCertificate.model_fields
            if name in type(self).model_fields
        }
        return ClusterCertificate(**shared, power_scope=self.question.power_scope)

    def why(self, *, time_limit_s: float | None = None) -> Reasons:
        """What binds: which pool, link or memory; what more of each would buy, and what the best
        plan reaches without each pool (each solved again, to a proof); better plans that break one
        limit. `time_limit_s` is shared out over these questions."""
        # Runs up from the answers, as that of `Result` does.
        from planner.planning.pooled_reasons import reasons_on_pools

        return reasons_on_pools(self, time_limit_s=time_limit_s)

    def near_misses(self, *, time_limit_s: float | None = None) -> tuple[NearMiss, ...]:
        """The next better plans and which limit each breaks, by how much, as `Result` tells
        them."""
        from planner.planning.misses import near_misses_of

        return near_misses_of(self, time_limit_s=time_limit_s)


class Disaggregation(Answer):
    """A prefill pool and a decode pool, what they cost together, and what was proved."""

    prefill_plan: Plan
    decode_plan: Plan
    prefill_topology: Topology
    """Its `chips` are those of the pool."""
    decode_topology: Topology
    score: DisaggregatedScore
    link: Link


class Pairing(Answer):
    """Attention on one machine and feed-forward parts on another, what they cost together, and what
    was proved."""

    plan: PairedPlan
    score: PairedScore
    attention_topology: Topology
    experts_topology: Topology
    link: Link


class Fleet(Answer):
    """Deployments on disjoint pools of one cluster, what they give together, and what was proved.

    Every deployment keeps the limits; objective and bound are output tokens a second of all
    deployments.
    """

    deployments: tuple[ClusterResult, ...]
    """Most tokens a second first; the cluster of each has its pools, and the links between them."""
    field: Literal["tokens_per_s"] = "tokens_per_s"
    direction: Literal["maximize"] = "maximize"
    cluster: Cluster

    @property
    def chips(self) -> int:
        return sum(one.score.chips for one in self.deployments)

    @property
    def energy_per_token_j(self) -> float | None:
        """Over all tokens; None where the power of a deployment is not known in the scope that
        all pools share."""
        return self._mean([one.score.energy_per_token_j for one in self.deployments])

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Over all tokens; None where the price of a deployment is unknown."""
        return self._mean([one.score.usd_per_million_tokens for one in self.deployments])

    @property
    def usd_per_hour(self) -> float | None:
        """Of all deployments; None where the price of one is unknown."""
        hourly = [one.score.usd_per_hour for one in self.deployments]
        known = [one for one in hourly if one is not None]
        return sum(known) if len(known) == len(hourly) else None

    @property
    def requests_per_s(self) -> float:
        """That end in all deployments."""
        return self.objective / self.workload.output_tokens

    @property
    def tokens_per_s_per_chip(self) -> float:
        """Over the chips that the deployments hold."""
        return self.objective / self.chips

    def _mean(self, values: list[float | None]) -> float | None:
        if any(value is None for value in values):
            return None
        rates = [one.score.tokens_per_s for one in self.deployments]
        return sum(
            cast(float, value) * rate for value, rate in zip(values, rates, strict=True)
        ) / sum(rates)


class Move(Record):
    """Weights that must be sent to a chip."""

    layers: tuple[str, ...]
    chip: int
    """That receives them."""
    sources: tuple[int, ...]
    """Surviving chips that hold some of them; () where none does, so that they are read anew."""
    moved_bytes: float


class Replanning(Record):
    """A plan after a failure, and what it takes to get there."""

    result: Result
    """Its status speaks of the field that was optimised; the plan may be worse than the best by
    what `worse` allows."""
    best: Result
    """The best plan without the lost chips, whatever it moves."""
    lost: tuple[int, ...]
    moves: tuple[Move, ...]
    moved_bytes: float
    moved_bound_bytes: float
    """Proved: no plan of the space that is as good in the field moves fewer."""
    status: Literal["optimal", "feasible"]
    """Optimal: no plan of the space that is as good in the field moves fewer bytes."""
    moving_s: float
    """Until the last chip has what it needs, all of them at once over the fabric."""


Mode = Literal["throughput", "latency"]


class Spread(Proof):
    """Where every operator runs, and what was proved.

    The objective is the largest load, or when the last operator is done, in the unit of the
    operators' times.
    """

    devices: tuple[str, ...]
    """Of each operator; 'a0…a2': devices a0 to a2 take samples in turn, each of them all of the
    stage."""
    mode: Mode
    contiguous: bool
    loads: tuple[tuple[str, float], ...]
    """Of every device that is used, of devices in turn the load of each."""
