"""`Case`: a claim beside the machine and the model that it is about, as the engine sees them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from planner.answers.question import Question
from planner.catalogue import load_model
from planner.errors import InfeasibleError, TimeUpError
from planner.machines.tiers import second_tier
from planner.machines.topology import PowerScope, Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.planning.offloading import offloaded_result
from planner.planning.partitioning import partition
from planner.planning.search import Search
from planner.planning.seating import chips_that_seat, waits
from planner.pricing.served import Served
from planner.pricing.stacks import machine_for
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.candidates import Candidates
from planner.space.diffusion import best_sampling
from planner.studies.advantage.best_plans import ONE_REQUEST
from planner.studies.advantage.family import dense_family
from planner.studies.audits.bounds import Roof
from planner.studies.audits.claims import Claim
from planner.studies.study import machine_of
from planner.workload import Workload

WIDTHS: tuple[tuple[Dtype, ...], ...] = (("bf16", "fp16"), ("fp8", "int8"), ("fp4",))
"""Formats in which a claim that names none may hold, where the chip multiplies in them."""
SPARE = 1.25
"""Where the number of chips is open: so many times the fewest, for caches and for the solver to
choose from."""
MOST_BATCH = 4096
"""Tried."""
OF_SAMPLES = {"energy_per_token_j": "energy_per_sample_j", "tokens_per_s": "samples_per_s"}
"""What a diffusion model has instead."""


@dataclass(frozen=True)
class Case:
    """A claim, loaded."""

    claim: Claim
    others: tuple[Claim, ...] = ()
    """The other claims of the audit."""
    known: dict[tuple[object, ...], Score | None] = field(default_factory=dict)
    """What was priced already."""

    @cached_property
    def topology(self) -> Topology:
        return topology_of(self.claim.topology)

    @cached_property
    def dtypes(self) -> tuple[Dtype, ...]:
        """Widest first."""
        if self.claim.weight_dtype is not None:
            return (self.claim.weight_dtype,)
        peaks = {peak.dtype for peak in self.topology.chip.peaks}
        found = [[dtype for dtype in width if dtype in peaks] for width in WIDTHS]
        return tuple(dtypes[0] for dtypes in found if dtypes) or ("bf16",)

    def graph(self, dtype: Dtype) -> ModelGraph:
        return graph_of(self.claim, dtype)

    @property
    def context_tokens(self) -> float:
        """That a pass finds in the caches at least: none where the claim does not say."""
        return (self.claim.prompt_tokens or 0) + (self.claim.output_tokens or 0) / 2

    def roof(self, dtype: Dtype, chips: int | None = None) -> Roof:
        many = chips or self.claim.chips or self.topology.chips
        return Roof(self.graph(dtype), self.topology, many, self.context_tokens)

    def workload(self, batch_size: int) -> Workload:
        claim = self.claim
        return ONE_REQUEST.replace(
            batch_size=batch_size,
            prompt_tokens=claim.prompt_tokens or ONE_REQUEST.prompt_tokens,
            output_tokens=claim.output_tokens or ONE_REQUEST.output_tokens,
        )

    def score(self, dtype: Dtype, batch_size: int, goal: str, times: int = 1) -> Score | None:
        """That of the best plan for a field, on so many times the chips of the claim; None where
        nothing fits."""
        graph, topology, claim = self.graph(dtype), self.topology, self.claim
        work = self.workload(claim.batch_size or 1)
        chips = claim.chips or sized(graph, topology, work)
        if chips is None or chips * times > topology.limit_chips:
            return None
        chips *= times
        work = self.workload(batch_size)
        # What cannot fit is not worth a search, which would have to prove it.
        usable = topology.chip.memory[0].capacity_bytes * topology.software.usable_memory_fraction
        caches = batch_size * work.held_context_tokens * graph.kv_bytes_per_token
        is_full = graph.weight_bytes + caches > chips * usable
        if is_full and not may_leave(graph, topology):
            return None
        key = (graph.name, dtype, graph.sparsity, topology, chips, work, goal, claim.scope)
        if key not in self.known:
            self.known[key] = priced(graph, topology.replace(chips=chips), work, goal, claim.scope)
        return self.known[key]

    def least_batch(
        self, dtype: Dtype, goal: str, reached: Callable[[Score], bool], times: int = 1
    ) -> tuple[int | None, tuple[tuple[int, Score], ...]]:
        """The fewest sequences in flight with which the best plan reaches something, None where
        none does; and what was priced on the way, by batch. Batches grow fourfold, near the end
        twofold, then the last step is halved."""
        is_given = self.claim.batch_size is not None
        tried: list[tuple[int, Score]] = []

        def is_reached(batch: int) -> bool | None:
            """None where nothing fits."""
            score = self.score(dtype, batch, goal, times)
            if score is None:
                return None
            tried.append((batch, score))
            return reached(score)

        found = self._climbed(is_reached)
        if found is None:
            return None, tuple(tried)
        climbed = tuple(tried)
        low = climbed[-2][0] if len(climbed) > 1 else found - 1
        high = found
        while not is_given and high - low > max(1, high // 4):
            middle = (low + high) // 2
            if is_reached(middle):
                high = middle
            else:
                low = middle
        return high, climbed

    def _climbed(self, is_reached: Callable[[int], bool | None]) -> int | None:
        """The first batch that reaches it, of batches four times as large each and, from the
        first that does not fit, twice as large as the last that does; None where none does."""
        given = self.claim.batch_size
        batch = given or 1
        last = None
        for step in (4, 2):
            while (is_there := is_reached(batch)) is not None:
                if is_there:
                    return batch
                if given is not None or step * batch > MOST_BATCH:
                    return None
                last = batch
                batch *= step
            if last is None:
                return None
            batch = 2 * last
        return None


def topology_of(given: str | Topology | None) -> Topology:
    """A name, a file or a record."""
    return machine_of(cast(str | Topology, given))


def graph_of(claim: Claim, dtype: Dtype) -> ModelGraph:
    """The model of a claim, or the dense family's of its size."""
    if claim.model is None:
        return dense_family(cast(float, claim.parameters), weight_dtype=dtype)
    sparsity = None if claim.sparsity == "unstructured" else claim.sparsity
    return load_model(claim.model, weight_dtype=dtype, sparsity=sparsity)


def sized(graph: ModelGraph, topology: Topology, workload: Workload) -> int | None:
    """The machine's own number of chips where they hold the model and all its users, else SPARE
    times the fewest that do; None: no number."""
    if may_leave(graph, topology):
        return topology.chips
    try:
        found = partition(graph, topology, workload, minimize="chips", offload=False)
    except InfeasibleError as error:
        fewest = error.smallest_chips
    else:
        if not waits(found):
            return topology.chips
        fewest = chips_that_seat(found)
    return None if fewest is None else min(topology.limit_chips, round(SPARE * fewest))


def may_leave(graph: ModelGraph, topology: Topology) -> bool:
    """Whether layers of a diffusion model may lie in a second memory of the chips: that of a
    language model would decide its speed, and claims of it are held against the first."""
    own = len(topology.chip.memory) > 1
    return graph.is_diffusion and own and topology.kept(second_tier) is not None


def priced(
    graph: ModelGraph, topology: Topology, workload: Workload, goal: str, scope: PowerScope
) -> Score | None:
    """The score of the best plan for a field (of a diffusion model: of its counterpart), watts
    counted in that scope where they are known in it; None where nothing fits."""
    if lacks(topology, goal):
        return None
    known = topology.power.chip_w if scope == "chip" else topology.power.system_w
    aim = OF_SAMPLES.get(goal, "samples_per_s") if graph.is_diffusion else goal
    question = Question(aim, (), None if known is None else scope)
    if graph.is_diffusion:
        return _sampled(graph, machine_for(graph, topology), workload, question)
    search = Search(Candidates(graph, topology, workload, question))
    # Not by `partition`: where nothing fits it would also look for how many chips would do.
    search.run()
    if search.interrupted:
        raise TimeUpError(interrupted=True)
    plan = search.best.plan
    if plan is None:
        return None
    return score_plan(plan, graph, topology, workload, power_scope=question.power_scope)


def _sampled(
    graph: ModelGraph, topology: Topology, workload: Workload, question: Question
) -> Score | None:
    """Of a diffusion model, by the software that runs such; with layers in a second memory where
    the first has no room."""
    try:
        return best_sampling(graph, topology, workload, question)[1]
    except InfeasibleError as refusal:
        with suppress(InfeasibleError):
            return offloaded_result(Served(graph, topology, workload), question, refusal).score
    return None


def lacks(topology: Topology, goal: str) -> str:
    """What of a machine's figures a field would need that is not published; "" where nothing is
    missing."""
    power, price = topology.power, topology.price
    if goal == "energy_per_token_j" and power.chip_w is None and power.system_w is None:
        return "power"
    if goal == "usd_per_million_tokens" and price.usd_per_chip_hour is None:
        return "price"
    return ""
