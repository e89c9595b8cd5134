"""What a run took beside what its plan was priced at, stage by stage."""

from collections.abc import Sequence
from typing import NamedTuple

from planner.catalogue import load_software
from planner.errors import InputError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.schedule import Schedule, scheduled
from planner.pricing.timing import handed_on
from planner.records import Record
from planner.running.jobs import Config, Job, PhaseReport, RankReport, job_of
from planner.running.launching import Ranks
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.workload import Workload

STACK = "torch-gloo"
"""What runs are priced as: seconds by the wall."""
WORK_STACK = "torch-gloo-cpu"
"""The same by CPU seconds, in which ranks that wait for each other cost nothing."""


class Pair(Record):
    """One figure twice; in the unit of the field that holds it."""

    predicted: float
    measured: float

    @property
    def ratio(self) -> float | None:
        """Predicted over measured; None where nothing was measured."""
        return self.predicted / self.measured if self.measured else None


class StageRun(Record):
    """One stage, as it was priced and as it ran; of several ranks the mean."""

    stage: int
    layers: int
    ranks: int
    prefill_cpu_s: Pair
    """Of each rank, for the prompts of the whole batch."""
    decode_cpu_s: Pair
    """Of each rank, for all later tokens."""
    weight_bytes: Pair
    """That each rank holds; so the next."""
    cache_bytes: Pair

    @property
    def cpu_s(self) -> Pair:
        """Of both phases. [s]"""
        return Pair(
            predicted=self.prefill_cpu_s.predicted + self.decode_cpu_s.predicted,
            measured=self.prefill_cpu_s.measured + self.decode_cpu_s.measured,
        )

    @property
    def held_bytes(self) -> Pair:
        """Weights and cache. [B]"""
        return Pair(
            predicted=self.weight_bytes.predicted + self.cache_bytes.predicted,
            measured=self.weight_bytes.measured + self.cache_bytes.measured,
        )


class PlanRun(Record):
    """A plan that was carried out."""

    stages: tuple[StageRun, ...]
    prefill_moved_bytes: Pair
    """Between ranks, for the prompts; see `wires`."""
    decode_moved_bytes: Pair
    """The same for all later tokens."""
    token_bytes: float
    """Numbers of tokens on their way back to the first stage, which nothing prices."""
    ttft_s: Pair
    """Of the whole batch, by the wall's clock: true only where nothing else runs and no rank
    shares a core."""
    request_s: Pair
    """To the last token, likewise."""
    idle_ttft_s: Pair
    """What CPU seconds come to where every rank has a core to itself and nothing else runs, put
    together as passes are; waiting for one another is not counted."""
    idle_request_s: Pair
    """The same to the last token."""
    tokens: tuple[tuple[int, ...], ...]
    """That the last stage made, of each sequence."""

    @property
    def busiest_cpu_s(self) -> Pair:
        """Of the stage that works longest, as predicted and as measured. [s]"""
        return Pair(
            predicted=max(stage.cpu_s.predicted for stage in self.stages),
            measured=max(stage.cpu_s.measured for stage in self.stages),
        )


class Question(NamedTuple):
    """What is run, on which machine."""

    graph: ModelGraph
    config: Config
    topology: Topology
    workload: Workload


class Prediction(NamedTuple):
    """A plan priced, and the passes that it was priced for."""

    score: Score
    work: Score
    """By CPU seconds."""
    schedule: Schedule

    @property
    def prompt_passes(self) -> int:
        """Of the whole batch."""
        return max(1, round(self.schedule.prefill_passes))

    @property
    def decode_passes(self) -> int:
        """Of all micro-batches, for all later tokens."""
        return self.schedule.micro_batches * self.schedule.later_tokens

    def put_together_s(self, stages: Sequence[StageRun]) -> tuple[float, float]:
        """To the first and to the last token, of CPU seconds as measured: the passes of prompts
        follow each other through the stages, later tokens go round, the micro-batches side by
        side. [s]"""
        prompts = [stage.prefill_cpu_s.measured / self.prompt_passes for stage in stages]
        first_s = sum(prompts) + (self.prompt_passes - 1) * max(prompts)
        rounds = self.schedule.later_tokens
        if not rounds:
            return first_s, first_s
        later = [stage.decode_cpu_s.measured / self.decode_passes for stage in stages]
        round_s = max(sum(later), self.schedule.micro_batches * max(later))
        return first_s, first_s + rounds * round_s

    def cpu_s(self, stage: int) -> tuple[float, float]:
        """Of each rank of a stage, for prompts and for later tokens, what it hands on included.
        [s]"""
        priced = self.work.stages[stage]
        prompt_hop = self.work.prefill_breakdown[stage].hop_s
        hop = self.work.breakdown[stage].hop_s
        prompts = self.prompt_passes * priced.prefill_s + prompt_hop
        return prompts, self.decode_passes * (priced.decode_s + hop)

    def moved_bytes(self, plan: Plan, graph: ModelGraph) -> tuple[float, float]:
        """Between ranks, for prompts and for later tokens. Every rank of a stage gets the stream
        for itself, where it is priced once for all of them. [B]"""
        workload = self.schedule.workload
        assert workload.batch_size is not None
        made = workload.batch_size * workload.output_tokens
        fabric = [one for one in self.score.traffic if one.kind == "fabric"]
        prompts = made * sum(one.prefill_bytes for one in fabric)
        later = made * sum(one.decode_bytes for one in fabric)
        handed = handed_on(plan, graph)[:-1]
        copies = sum(
            (stage.tensor_parallel - 1) * float(each)
            for stage, each in zip(plan.stages[1:], handed, strict=True)
        )
        prompt_tokens = workload.batch_size * workload.prompt_tokens
        later_tokens = workload.batch_size * (workload.output_tokens - 1)
        return prompts + copies * prompt_tokens, later + copies * later_tokens


def predicted(plan: Plan, asked: Question) -> Prediction:
    """The price of a plan for one batch."""
    workload = asked.workload
    if workload.batch_size is None:
        raise InputError("batch_size: a run needs the number of sequences; give --batch")
    score = score_plan(plan, asked.graph, asked.topology, workload)
    work = score_plan(plan, asked.graph, by_work(asked.topology), workload)
    schedule = scheduled(
        workload,
        asked.topology.software,
        batch_size=workload.batch_size,
        replicas=plan.replicas,
        micro_batches=plan.micro_batches,
    )
    if schedule.prefill_passes > schedule.sequences:
        raise InputError(
            "--prompt: the runner takes a whole prompt in one pass, of at most"
            f" {asked.topology.software.prefill_chunk_tokens} tokens; give a shorter prompt"
        )
    return Prediction(score, work, schedule)


def by_work(topology: Topology) -> Topology:
    """The machine with collectives priced at what they make ranks work, however long these wait."""
    software = topology.software
    if software.name != STACK:
        return topology
    collectives = load_software(WORK_STACK).collectives
    return topology.replace(software=software.replace(collectives=collectives))


def job_for(plan: Plan, asked: Question, *, seed: int = 0) -> Job:
    """What the ranks are told."""
    priced = predicted(plan, asked)
    return job_of(
        plan,
        asked.graph,
        asked.config,
        batch_size=asked.workload.batch_size,
        prompt_tokens=asked.workload.prompt_tokens,
        output_tokens=asked.workload.output_tokens,
        prompt_passes=priced.prompt_passes,
        seed=seed,
    )


def run_plan(plan: Plan, asked: Question, ranks: Ranks, *, seed: int = 0) -> PlanRun:
    """Carry a plan out, and lay what it took beside its price."""
    job = job_for(plan, asked, seed=seed)
    return compared(plan, asked, ranks.run(job))


def compared(plan: Plan, asked: Question, reports: Sequence[RankReport]) -> PlanRun:
    """What ranks told beside the price of their plan."""
    priced = predicted(plan, asked)
    prompts, later = priced.moved_bytes(plan, asked.graph)
    stages = tuple(_stage(priced, number, reports) for number in range(len(plan.stages)))
    idle_first_s, idle_whole_s = priced.put_together_s(stages)
    phases = [(report.prefill, report.decode) for report in reports]
    first_s = max(prefill.wall_s for prefill, _ in phases)
    whole_s = first_s + max(decode.wall_s for _, decode in phases)
    return PlanRun(
        stages=stages,
        prefill_moved_bytes=_pair(prompts, sum(one.moved_bytes for one, _ in phases)),
        decode_moved_bytes=_pair(later, sum(one.moved_bytes for _, one in phases)),
        token_bytes=sum(one.token_bytes + other.token_bytes for one, other in phases),
        ttft_s=_pair(priced.score.ttft_s, first_s),
        request_s=_pair(priced.score.request_s, whole_s),
        idle_ttft_s=_pair(priced.work.ttft_s, idle_first_s),
        idle_request_s=_pair(priced.work.request_s, idle_whole_s),
        tokens=tokens_of(reports),
    )


def tokens_of(reports: Sequence[RankReport]) -> tuple[tuple[int, ...], ...]:
    """Of each sequence: every rank of a last stage has those of its replica."""
    made = {report.replica: report.tokens for report in reports if report.tokens}
    return tuple(row for replica in sorted(made) for row in made[replica])


def _pair(foretold: float, found: float) -> Pair:
    return Pair(predicted=foretold, measured=found)


def _stage(priced: Prediction, number: int, reports: Sequence[RankReport]) -> StageRun:
    own = [report for report in reports if report.stage == number]
    score = priced.score.stages[number]
    prompts, later = priced.cpu_s(number)
    return StageRun(
        stage=number,
        layers=score.layers,
        ranks=len(own),
        prefill_cpu_s=_pair(prompts, _mean_cpu_s([report.prefill for report in own])),
        decode_cpu_s=_pair(later, _mean_cpu_s([report.decode for report in own])),
        weight_bytes=_pair(score.weight_bytes, _mean([one.weight_bytes for one in own])),
        cache_bytes=_pair(score.kv_bytes, _mean([one.cache_bytes for one in own])),
    )


def _mean_cpu_s(phases: Sequence[PhaseReport]) -> float:
    return _mean([phase.cpu_s for phase in phases])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
