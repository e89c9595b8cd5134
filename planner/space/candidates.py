"""Candidates: the plans that `partition` chooses from, lowered to the solver's arrays and lifted
back.

A plan is a number of replicas, a pipeline of stages in chain order on consecutive chips (a stage
never straddles a border that it could keep clear of), a split for each stage, and a number of
micro-batches. A `Box` fixes the replicas and leaves ranges for the micro-batches and the sequences
in each; a box of single values lowers to a problem whose optimum is the optimum of its plans, a
larger one to a relaxation that bounds them: what only grows with the batch (latencies, memory) is
taken at the low end, what only shrinks (time, energy, cost for one token) at the high end.
"""

import copy
import functools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.question import ASKED, NOT_IN_PHASE, PER_TOKEN, PRICED, Question
from planner.errors import InfeasibleError, InputError, listed
from planner.machines.engine import Space
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.collectives import hop_s
from planner.pricing.degrees import expert_degrees, nesting_fault, sequence_degrees, tensor_degrees
from planner.pricing.deployment import Deployment
from planner.pricing.engines import block_fault, micro_batch_fault
from planner.pricing.holdings import largest
from planner.pricing.loads import PERCENTILES, Load
from planner.pricing.price_list import (
    Holdings,
    Split,
    Step,
    host_s,
    made_on_rank,
    reach_of,
    shares_of,
    unoffered,
)
from planner.pricing.queueing import (
    FULL,
    busy_sequences,
    load_of,
    most_requests_per_s,
)
from planner.pricing.schedule import Schedule, schedule_of
from planner.pricing.served import Served
from planner.pricing.timing import interruptions_s
from planner.pricing.trailing import (
    chunks_behind,
    first_share,
    fresh_share,
    met_share,
    synchronised,
)
from planner.scoring.plans import chosen_power, score_served
from planner.scoring.score import Score
from planner.solver.chain.packing import Packing
from planner.solver.chain.problem import ChainProblem, Cuts, Limit, Measure, Run
from planner.space.boxes import Box, best_batch, least_parts
from planner.space.filling import Filling
from planner.space.layout import crossings_of, packing_of
from planner.space.measures import (
    PEAKS,
    RESOURCES,
    SUMS,
    Floats,
    Peak,
    Resource,
    Sum,
    measure_of,
)
from planner.space.objectives import Basis, measured
from planner.workload import Workload

OF_A_RATE = (
    "requests_per_s",
    "tokens_per_s",
    "tokens_per_s_per_chip",
    "usd_per_million_tokens",
    "energy_per_token_j",
)
"""What the greatest rate of requests makes best."""


RUN_BYTES = 4.0
"""Of each run of layers under each option: whether it fits, and what is compared for that."""
LINK_TABLES = 4
"""Of what links add, that are there at once."""


class Room(NamedTuple):
    """Like chips that plans may use."""

    topology: Topology
    chips: int
    """Of them; others may be out of use."""
    usable_bytes: float
    """Of each, that may be filled."""


class Candidates:
    """The plans of one graph on one topology for one workload."""

    def __init__(
        self,
        graph: ModelGraph,
        topology: Topology,
        workload: Workload,
        question: Question,
        *,
        exclude: tuple[int, ...] = (),
        served: Served | None = None,
    ) -> None:
        """`exclude` names chips that no plan may use; the engine's space alone knows them, for
        others a machine without some of its chips is a cluster of one pool. `served`: the same as
        was made before."""
        if not graph.is_chain:
            raise InputError(
                f"{graph.name} is not a chain of layers, and partition() plans chains only;"
                " score_plan() prices any plan"
            )
        self.asked = workload
        """As it was given."""
        self.opens_rate = workload.is_open_stream
        """Whether the rate of requests is for the search to find; one a second stands for it."""
        if self.opens_rate:
            workload = workload.replace(requests_per_s=1.0)
        self.graph, self.topology, self.workload, self.question = (
            graph,
            topology,
            workload,
            question,
        )
        self.exclude = exclude
        self.served = served or Served(graph, topology, workload)
        self.prices = self.served.prices
        self.packing: Packing = packing_of(topology)
        self.draws, self.scope = chosen_power(topology, question.power_scope)
        self.averages = len(self.draws) > 1 and "power_w" in question.fields
        """Whether the power that is asked about follows the plan."""
        self.splits = splits_of(
            graph,
            topology,
            self.packing,
            within=self.averages,
            sequences=question.sequence_parallel,
        )
        self._check_known()
        rate = workload.requests_per_s
        kept: tuple[tuple[str, float], ...] = ()
        if rate is not None and not self.opens_rate:
            kept = (("tokens_per_s", rate * workload.output_tokens),)
        self.limits = (*question.limits, *kept)
        tied = graph.tied_layers
        self.tied = tied if tied and len(graph.layers) > 1 else ()
        self.offer(self.splits)
        self._seconds_of: dict[tuple[Split, Step, bool], Floats] = {}
        self._holdings_of: dict[tuple[Split, float], Holdings] = {}

    def under(self, split: Split) -> "Candidates":
        """The same plans under one split; none where it is not one of them."""
        one = copy.copy(self)
        one.offer((split,) if split in self.splits else ())
        return one

    def offer(self, splits: tuple[Split, ...]) -> None:
        """Allow stages these splits, ascending in chips, and no others."""
        self.splits = splits
        self.__dict__.pop("filling", None)
        self.options = [*splits, *(splits if self.tied else ())]
        self.widths = np.array([split.chips for split in self.options], dtype=np.intp)
        self.takes = self.topology.software.most_sequences * np.array(
            [split.attention for split in self.options], dtype=np.intp
        )
        """The most sequences of a replica under each option: each rank takes so many."""
        self.crossings = crossings_of(self.topology, self.packing, self.widths)

    def _check_known(self) -> None:
        """Refuse to optimise what the topology does not know, what the rate of requests leaves
        no choice in, or what a pool has no part in."""
        for name in self.question.fields:
            phase = self.workload.phase
            if name in NOT_IN_PHASE.get(phase, ()):
                raise InputError(
                    f"{name} does not exist in a {phase} pool; ask for another field,"
                    " or make Workload.phase 'both'"
                )
            self._check_sure(name)
            if self.opens_rate:
                self._check_known_of_a_rate(name)
            elif self.workload.requests_per_s is not None:
                self._check_known_at_a_rate(name)
            if name in ("energy_per_token_j", "power_w") and not self.draws:
                scope = self.question.power_scope
                power = f"{scope} power" if scope else "power"
                raise InputError(
                    f"{name} needs the {power} of {self.topology.name}, which is not published;"
                    " write it into the machine's file"
                )
            if name in PRICED and self.topology.price.basis == "token":
                raise InputError(
                    f"{name} is the same for every plan where tokens have a list price; ask for"
                    " another field, or give the price of a chip, such as price='2.10 USD/h' (--price)"
                )
            if name in PRICED and self.topology.price.usd_per_chip_hour is None:
                raise InputError(
                    f"{name} needs the price of {self.topology.name}, which is not known;"
                    " give price='2.10 USD/h' (--price), or write it into the machine's file"
                )

    def _check_sure(self, name: str) -> None:
        """Refuse margins of what counts the chips held, where the batch that a rate brings about
        says how wide they are: with fewer replicas a limit may be kept that more of them break."""
        asked = self.question
        is_limit = name in dict(asked.limits) and asked.sure is not None
        if is_limit and self.workload.is_stream and name in ("energy_per_token_j", "power_w"):
            raise InputError(
                f"a limit on {name} cannot be combined with sure= where requests come at a rate;"
                " limit chips instead, or leave sure out"
            )

    def _check_known_of_a_rate(self, name: str) -> None:
        """Refuse what the greatest rate of requests does not make best, and limits that are not
        kept up to some rate."""
        objective = self.question.objective
        if objective not in (*OF_A_RATE, *PERCENTILES):
            raise InputError(
                f"Workload.requests_per_s is open, and {objective} does not say which rate is best;"
                f" ask for {listed(OF_A_RATE, 'or')}, or give the rate"
            )
        if name in PER_TOKEN and self.topology.divisible:
            raise InputError(
                f"{name} of {self.topology.name} depends on how full its chips are, and so on the"
                " rate of requests; give Workload.requests_per_s"
            )
        if name in ("energy_per_token_j", "power_w") and len(self.draws) > 1:
            raise InputError(
                f"{name} depends on the number of sequences in flight, which the rate of requests"
                " decides; limit or minimise chips or dollars, or give power_basis 'provisioned'"
            )
        if name in ("mfu_fraction", "mbu_fraction"):
            raise InputError(f"{name} is fixed by the rate of requests; limit another field")

    def _check_known_at_a_rate(self, name: str) -> None:
        """Refuse what the rate of requests decides."""
        if ASKED[name].end == "high" and name not in PER_TOKEN:
            raise InputError(
                f"{name} is fixed by Workload.requests_per_s; ask for another field,"
                " or leave the rate out and make batch_size None"
            )
        if name in ("energy_per_token_j", "power_w") and len(self.draws) > 1:
            raise InputError(
                f"{name} depends on the number of sequences in flight, which Workload.requests_per_s"
                f" decides; ask for chips or usd_per_million_tokens, and read {name} from the score"
            )

    @property
    def place(self) -> str:
        """The machine, in words."""
        return f"{self.topology.chips} × {self.topology.chip.name}"

    @property
    def rooms(self) -> tuple[Room, ...]:
        """The memory that there is."""
        return (Room(self.topology, self.topology.chips, self.prices.usable_bytes),)

    def asking(self, objective: str) -> "Candidates":
        """The same plans, asked for one field without limits."""
        return self.on(self.topology, self.asked, objective)

    def on(self, topology: Topology, workload: Workload, objective: str) -> "Candidates":
        """The same model, asked for one field without limits."""
        question = replace(self.question, objective=objective, limits=(), sure=None)
        return Candidates(self.graph, topology, workload, question, exclude=self.exclude)

    @property
    def of_engine(self) -> bool:
        """Whether plans are those that the software's engine can be started with, whose rules are
        known."""
        return self.question.of_engine(self.topology.software)

    def of(self, space: Space) -> "Candidates":
        """The same question of another space."""
        question = replace(self.question, space=space)
        return Candidates(self.graph, self.topology, self.asked, question, exclude=self.exclude)

    def boxes(self) -> Iterator[Box]:
        """All plans, in boxes: single ones for a fixed batch, large ones where the batch is
        open."""
        batch = self.workload.batch_size
        if batch is None:
            yield from self._open_boxes()
            return
        for replicas in least_parts(batch, self.topology.chips):
            sequences = math.ceil(batch / replicas)
            if sequences > self.most_taken:
                continue
            chosen = self.question.micro_batches
            if chosen is not None:
                # No more than sequences.
                parts = min(chosen, sequences)
                each = math.ceil(sequences / parts)
                yield Box(replicas, batch, (parts, parts), (each, each))
                continue
            cuts = (1, sequences)
            yield Box(replicas, batch, cuts, cuts, every_cut=self._cuts_tell)

    @property
    def _cuts_tell(self) -> bool:
        """Whether more micro-batches that are as large as fewer ones may be better: prompts of
        others start behind one another in the passes of one, the seldomer the more there are."""
        at = schedule_of(self.workload, self.topology.software, 2, 1, 2)
        return at.later_tokens > 0 and at.others_prefills(1) > 0

    def _open_boxes(self) -> Iterator[Box]:
        if self.one_will_do:
            parts = self.question.micro_batches or 1
            yield Box(1, None, (parts, parts), (1, 1))
            return
        for replicas in self.open_replicas():
            box = self.open_box(replicas)
            if box.single:
                yield box
            else:
                yield from box._replace(all_sequences=(1, self._most_sequences(replicas))).trimmed()

    @property
    def one_will_do(self) -> bool:
        """Whether nothing that is asked about gains by a batch, so that of an open one a single
        sequence is best."""
        fixed = self.workload.requests_per_s is not None or self.averages
        return all(ASKED[name].end == "low" for name in self.question.fields) and not fixed

    def open_box(self, replicas: int) -> Box:
        """All open batches, whether they fit or not; a prefill pool has one prompt in work."""
        if self.workload.phase == "prefill":
            return Box(replicas, None, (1, 1), (1, 1))
        most = self.most_taken
        chosen = self.question.micro_batches
        if chosen is not None:
            return Box(replicas, None, (chosen, chosen), (1, max(1, most // chosen)))
        in_flight = most_in_flight(self.graph, self.topology.software, len(self.graph.layers))
        return Box(replicas, None, (1, min(in_flight, most)), (1, most))

    @property
    def most_taken(self) -> int:
        """The most sequences that the software takes in a replica, whatever its stages."""
        return int(self.takes.max(initial=self.topology.software.most_sequences))

    def _most_sequences(self, replicas: int) -> int:
        """More than so many no replica can hold, whatever its stages."""
        budget = self.packing.widest(replicas)
        most_ranks = max(split.attention for split in self.splits)
        most = self.topology.software.most_sequences * most_ranks
        return max(1, largest(lambda held: self.filling.fewest_chips(held) <= budget, most))

    @functools.cached_property
    def filling(self) -> Filling:
        """How few chips hold so many sequences: of buffers and weights that a model reads twice,
        the least."""
        first = schedule_of(self.workload, self.topology.software, 1, 1, 1)
        held = [self._holdings(split, first) for split in self.splits]
        fixed = np.array([one.weight_bytes - one.tied_bytes + one.kv_bytes_more for one in held])
        each = np.array([one.kv_bytes_per_sequence for one in held])
        room = self.prices.usable_bytes - np.array([one.buffer_bytes for one in held])
        kinds = self.graph.kind_of_layer
        return Filling(
            self.widths[: len(self.splits)],
            np.array([split.attention for split in self.splits]),
            fixed[:, kinds],
            each[:, kinds],
            room,
            self.topology.software.most_sequences,
        )

    def open_replicas(self) -> list[int]:
        """Numbers of replicas worth trying where the batch is open: of like replicas the more
        the better, as long as there is room and no limit counts the chips; where their number
        itself is to be small, or power follows the plan, all."""
        each = self.basis.per_chip()
        filled = any(
            name in each and self.basis.is_filled(name) for name, _ in self.question.limits
        )
        if self.question.objective in each or self.averages or filled:
            return list(range(1, self.topology.chips + 1))
        # For each width of a pipeline as many replicas as there is room for; the next width to look
        # at is the first that leaves room for fewer.
        found = set()
        width = 1
        while width <= self.topology.chips:
            found.add(self.packing.room(width))
            width = self.packing.widest(self.packing.room(width)) + 1
        most_chips = self._most_chips()
        if most_chips is not None:
            found |= {most_chips // width for width in range(1, most_chips + 1)}
        return sorted(found, reverse=True)

    def fewest_chips_of(self, box: Box) -> int:
        """Of a replica, that count in a box: with fewer, there is room for so many more replicas
        that another box has the same stages, which are then as good or better."""
        if self.workload.batch_size is not None or self.one_will_do:
            return 1
        if self.question.objective in self.basis.per_chip() or self.averages:
            return 1
        more = [replicas for replicas in self.open_replicas() if replicas > box.replicas]
        if not more or self._most_chips() is not None:
            return 1
        beyond = self.packing.widest(min(more))
        return int(self.packing.fewest_slots(self.widths)[beyond + 1 :].min())

    def _most_chips(self) -> int | None:
        """How many chips the limits allow to be held; None where they do not say."""
        each = self.basis.per_chip()
        allowed = [
            math.floor(self.canonical(name, value) * (1 + 1e-12) / each[name])
            for name, value in self.question.limits
            if each.get(name)
        ]
        if not allowed:
            return None
        return min(self.topology.chips, *allowed)

    def to_problem(self, box: Box) -> ChainProblem | None:
        """The solver's arrays for a box; None where there is no room for its replicas."""
        budget = self.packing.widest(box.replicas)
        if not budget or box.least_sequences > self.most_taken:
            return None
        ask_for_problem(len(self.options), len(self.graph.layers), len(self.crossings.borders))
        ends = tuple(self.schedule(box, end) for end in (0, 1))
        objective = self.measure(self.question.objective, box, ends)
        limits = tuple(
            Limit(self.measure(name, box, ends), self.canonical(name, value))
            for name, value in self.limits
        )
        rate = self.workload.requests_per_s
        if rate is not None:
            # A queue that all the time served would not empty has no end.
            work = measure_of(peaks={Peak.QUEUE: 1.0})
            limits += (Limit(work, FULL * box.replicas / rate),)
        lowered = self.lowered(ends, box.least_sequences)
        lowered.feasible[self.widths > budget] = False
        link_sums, link_peaks = self._links(ends)
        return ChainProblem(
            **lowered._asdict(),
            link_sums=link_sums,
            link_peaks=link_peaks,
            widths=self.widths,
            packing=self.packing,
            crossings=self.crossings,
            budget=budget,
            objective=objective,
            limits=limits,
        )

    def placed(self, cuts: Cuts, replicas: int) -> tuple[Run, ...] | None:
        """Runs with their chips in a replica; None where so many replicas of them do not fit."""
        runs: list[Run] = []
        offset = 0
        for tail, head, option in cuts:
            width = self.options[option].chips
            start = int(self.packing.start(np.array(offset), width))
            offset = start + width
            runs.append(Run(tail, head, option, start))
        return tuple(runs) if offset <= self.packing.widest(replicas) else None

    def to_plan(self, box: Box, runs: tuple[Run, ...]) -> Plan:
        """The plan that a solution of a box's problem stands for."""
        end = runs[-1].start + self.options[runs[-1].option].chips
        bases = self.packing.copies(end, box.replicas)
        if bases is None:
            raise AssertionError("a solution takes more chips than its replicas have")
        stages = tuple(self._stage(run, bases) for run in runs)
        settled = box.batch_size is not None or self.workload.requests_per_s is not None
        settled |= self.workload.phase == "prefill"
        batch = None if settled else box.replicas * box.sequences(0)
        return Plan(stages=stages, micro_batches=box.micro_batches[0], batch_size=batch)

    def _stage(self, run: Run, bases: list[int]) -> Stage:
        split = self.options[run.option]
        starts = (base + run.start for base in bases)
        return Stage(
            layers=tuple(layer.name for layer in self.graph.layers[run.tail : run.head]),
            groups=tuple(ChipRange(first=start, count=split.chips) for start in starts),
            tensor_parallel=split.tensor,
            expert_parallel=split.expert,
            sequence_parallel=split.sequence,
        )

    def realised(self, box: Box, plan: Plan) -> tuple[Plan, float]:
        """The best plan of a box with the stages of a relaxed solution, and its canonical value
        (infinite: none fits)."""
        most = None
        if box.batch_size is None and self.workload.requests_per_s is None:
            most = self.most_sequences(plan)
        return best_batch(box, plan, most, self.allowed_value, bool(self.question.limits))

    def score(self, plan: Plan) -> Score:
        """The price of one of the plans; errors are those of `score_plan`."""
        return score_served(plan, self.served, power_scope=self.question.power_scope)

    def most_sequences(self, plan: Plan) -> int:
        """The most that a replica of one of the plans can hold."""
        return self._deployed(plan).most_sequences

    def most_requests_per_s(self, plan: Plan) -> float:
        """That one of the plans can serve."""
        return most_requests_per_s(self._deployed(plan))

    def load_of(self, plan: Plan) -> Load:
        """How times scatter in a replica of one of the plans, at its rate."""
        return load_of(self._deployed(plan))

    def sequences_at(self, plan: Plan, requests_per_s: float) -> float:
        """In flight in each replica of a plan at a rate; infinite where it serves less."""
        served = self.served.under(self.workload.replace(requests_per_s=requests_per_s))
        return busy_sequences(Deployment(plan, [served] * len(plan.stages))) or math.inf

    def keeps_limits(self, plan: Plan, requests_per_s: float, fields: Collection[str]) -> bool:
        """Whether a plan keeps the limits on some fields at a rate, and its engine as many
        micro-batches in flight as it says."""
        served = self.served.under(self.workload.replace(requests_per_s=requests_per_s))
        try:
            score = score_served(plan, served, power_scope=self.question.power_scope)
        except (InfeasibleError, InputError):
            return False
        sequences = math.ceil(score.batch_size / plan.replicas)
        if micro_batch_fault(plan, served.software, sequences) is not None:
            return False
        limits = [(name, most) for name, most in self.limits if name in fields]
        return all(self._keeps(score, name, most) for name, most in limits)

    def _keeps(self, score: Score, name: str, value: float) -> bool:
        """Whether a score keeps a limit, as surely as is asked."""
        sure = self.question.sure
        if name in PERCENTILES:
            return score.stays_within(name, value, sure)
        reached = getattr(score, name) if sure is None else score.sure(name, sure)
        return self.canonical(name, float(reached)) <= self.canonical(name, value) * (1 + 1e-12)

    def _deployed(self, plan: Plan) -> Deployment:
        return Deployment(plan, [self.served] * len(plan.stages))

    def allowed_value(self, plan: Plan) -> float:
        """Canonical value of a plan; infinite where it breaks a rule or a limit."""
        allowance.look()
        try:
            score = self.score(plan)
        except (InfeasibleError, InputError):
            return math.inf
        if not self._is_cut_as_asked(plan, score):
            return math.inf
        if not all(self._keeps(score, name, value) for name, value in self.limits):
            return math.inf
        objective = self.question.objective
        return self.canonical(objective, float(getattr(score, objective)))

    def _is_cut_as_asked(self, plan: Plan, score: Score) -> bool:
        """Whether a plan has the micro-batches that are asked for; of a given batch no more than
        sequences."""
        chosen = self.question.micro_batches
        if chosen is None:
            return True
        sequences = math.ceil(score.batch_size / plan.replicas)
        wanted = chosen if self.workload.batch_size is None else min(chosen, sequences)
        return min(plan.micro_batches, sequences) == wanted

    def schedule(self, box: Box, end: int) -> Schedule:
        """The passes at one end of a box."""
        micro_batches, micro_sequences = box.corners[end]
        return schedule_of(
            self.workload,
            self.topology.software,
            box.sequences(end),
            micro_batches,
            micro_sequences,
            relaxed=not box.single,
            whole_passes=box.single or box.batch_size is not None,
        )

    def canonical(self, name: str, value: float) -> float:
        """A field's value as the solver minimises it: rates as their inverse, headroom as what
        is needed."""
        if name == "memory_headroom_bytes":
            return self.prices.usable_bytes - value
        if ASKED[name].best == "most":
            return math.inf if value <= 0 else 1.0 / value
        return value

    def canonical_vector(self, score: Score) -> Floats:
        """All fields that are asked about, as the solver minimises them, shape (fields,)."""
        names = self.question.fields
        return np.array([self.canonical(name, float(getattr(score, name))) for name in names])

    def canonical_array(self, name: str, values: Floats) -> Floats:
        """The same of many values, infinite where there is no plan."""
        if ASKED[name].best == "least":
            return values
        return np.where(values > 0, 1.0 / np.maximum(values, 1e-300), np.inf)

    def field_value(self, name: str, canonical: float) -> float:
        """The inverse of `canonical`."""
        if name == "memory_headroom_bytes":
            return self.prices.usable_bytes - canonical
        if ASKED[name].best == "most":
            return 1.0 / canonical if canonical > 0 else math.inf
        return canonical

    @property
    def basis(self) -> Basis:
        """What fields are measured by."""
        return Basis(
            self.graph, self.topology, self.workload, self.prices, self.draws, self.averages
        )

    def measure(self, name: str, box: Box, ends: tuple[Schedule, ...]) -> Measure:
        """A field of `Score` as a measure of sums and peaks, where the box has it best.

        Memory leaves no sequence with fewer chips than so many. What is told for one of the most
        sequences of a box, from the chips of a replica, is of a plan with fewer sequences too few
        by their ratio: all of them need as many as at that share.
        """
        measure = measured(name, self.basis, box, ends)
        if name not in PER_TOKEN or measure.held != Sum.CHIPS or not box.all_sequences[1]:
            return measure
        each = self.filling.least_chips_each(box.least_sequences, box.sequences(1))
        # Where no chips hold so many, the box is empty, as its problem finds.
        least = each * box.sequences(1) if math.isfinite(each) else 0.0
        return replace(measure, least_held=least)

    def _seconds(self, split: Split, step: Step, *, whole: bool) -> Floats:
        """Of one step by kind of layer: boxes share most of their steps."""
        key = split, step, whole
        if key not in self._seconds_of:
            self._price(split, [step], whole=whole)
        return self._seconds_of[key]

    def _price(self, split: Split, steps: Sequence[Step], *, whole: bool) -> None:
        """Keep what steps take under a split."""
        allowance.look()
        reach = reach_of(self.topology, split, 0)
        found = self.prices.prices_of_steps(split, steps, reach, whole=whole)
        for step, prices in zip(steps, found, strict=True):
            self._seconds_of[split, step, whole] = prices.seconds.sum(axis=0)

    def _price_together(self, ends: tuple[Schedule, ...]) -> None:
        """Keep what all steps of a box take under each option: together they are priced in half
        the time."""
        for whole in (True, False):
            asked = [at for at in ends if at.relaxed is not whole]
            steps = dict.fromkeys(
                step
                for at in asked
                for step in (at.decode, at.prefill, at.packed)
                if step.decode or at.prefill_passes > 0
            )
            for split in self.options if steps else ():
                new = [one for one in steps if (split, one, whole) not in self._seconds_of]
                if new:
                    self._price(split, new, whole=whole)

    def _holdings(self, split: Split, at: Schedule) -> Holdings:
        key = split, at.most_tokens
        if key not in self._holdings_of:
            allowance.look()
            self._holdings_of[key] = self.prices.holdings(split, self.workload, at.most_tokens)
        return self._holdings_of[key]

    def resources(self, ends: tuple[Schedule, ...], sequences: int) -> tuple[Floats, Floats]:
        """What each layer needs under each option, with at least so many sequences held in a
        replica, shape (options, layers, RESOURCES), and the buffers of a chip [B]; the second
        half of the options, where there is one, is for whole models with tied weights."""
        low = ends[0]
        self._price_together(ends)
        resources = np.zeros((len(self.options), len(self.graph.layers), RESOURCES))
        for end, at in enumerate(ends):
            resources[:, :, Resource.DECODE.at(end)] = self._step_s(at, at.decode)
            prefill = self._step_s(at, at.prefill)
            resources[:, :, Resource.PREFILL.at(end)] = prefill
            packed = self._step_s(at, at.packed)
            resources[:, :, Resource.MORE.at(end)] = at.added(prefill, packed)
        slower, quicker = self._slower_and_quicker_s(low)
        resources[:, :, Resource.SLOWER] = slower
        resources[:, :, Resource.QUICKER] = quicker
        holdings = [self._holdings(split, low) for split in self.options]
        resources[:, :, Resource.HELD] = self._held_bytes(
            holdings, replace(low, sequences=sequences)
        )
        # Only the stage of the last layer samples.
        resources[:, -1, Resource.HELD] += [
            self.served.logits_bytes(split, low) for split in self.options
        ]
        resources[:, -1, Resource.ONCE] = low.request_overhead_s
        kinds = self.graph.kind_of_layer
        resources[:, :, Resource.LATENT] = self.prices.latent_s(low.decode)[kinds]
        if low.prefill_passes > 0:
            resources[:, :, Resource.PROMPT_LATENT] = self.prices.latent_s(low.prefill)[kinds]
        return resources, np.array([held.buffer_bytes for held in holdings])

    def _step_s(self, at: Schedule, step: Step) -> Floats:
        """What each layer takes for a step under each option, the host's work with the last one,
        shape (options, layers); nothing where there is no such step. [s]"""
        of_layers, host = self._layers_and_host_s(at, step)
        of_layers[:, -1] += host
        return of_layers

    def _slower_and_quicker_s(self, at: Schedule) -> tuple[Floats, Floats]:
        """The same for a token or for a pass of a prompt, whichever takes longer, and whichever is
        shorter, the host's work by itself."""
        decode, decode_host = self._layers_and_host_s(at, at.decode)
        prefill, prefill_host = self._layers_and_host_s(at, at.prefill)
        slower, quicker = np.maximum(decode, prefill), np.minimum(decode, prefill)
        slower[:, -1] += np.maximum(decode_host, prefill_host)
        quicker[:, -1] += np.minimum(decode_host, prefill_host)
        return slower, quicker

    def _layers_and_host_s(self, at: Schedule, step: Step) -> tuple[Floats, Floats]:
        """Each layer, shape (options, layers), and the host, shape (options,). [s]"""
        kinds = self.graph.kind_of_layer
        if not (step.decode or at.prefill_passes > 0):
            return np.zeros((len(self.options), len(kinds))), np.zeros(len(self.options))
        whole = not at.relaxed
        of_kinds = np.array([self._seconds(split, step, whole=whole) for split in self.options])
        made = np.array([made_on_rank(split, step, whole=whole) for split in self.options])
        return of_kinds[:, kinds], np.asarray(host_s(self.topology.software, made))

    def _held_bytes(self, holdings: list[Holdings], least: Schedule) -> Floats:
        """Weights and caches of each layer on a chip under each option, shape (options, layers).
        [B]"""
        kinds = self.graph.kind_of_layer
        held_bytes = np.zeros((len(self.options), len(kinds)))
        for number, (split, held) in enumerate(zip(self.options, holdings, strict=True)):
            sequences = least.held_sequences(split.attention)
            cache = sequences * held.kv_bytes_per_sequence + held.kv_bytes_more
            held_bytes[number] = (held.weight_bytes + cache)[kinds]
        # A stage that runs the whole model keeps weights that are read twice just once.
        for reader, _ in self.tied:
            for number in range(len(self.splits), len(self.options)):
                held_bytes[number, reader] -= holdings[number].tied_bytes[kinds[reader]]
        return held_bytes

    def lowered(self, ends: tuple[Schedule, ...], sequences: int) -> "Option":
        """All options, stacked, with at least so many sequences held in a replica; ranks that
        would take more than their software allows run nothing."""
        resources, activation = self.resources(ends, sequences)
        before = np.zeros((len(resources), 1, RESOURCES))
        prefix = np.concatenate([before, np.cumsum(resources, axis=1)], axis=1)
        room = self.prices.usable_bytes - activation
        # A run fits where what its layers hold fills no more than what the buffers leave.
        filled = prefix[:, :, Resource.HELD]
        runs_bytes = (one - one[:, None] for one in filled)
        fits = [run <= left for run, left in zip(runs_bytes, room, strict=True)]
        feasible = np.stack(fits)
        places = np.arange(prefix.shape[1])
        feasible &= places > places[:, None]
        # No stage begins between a layer that lends its cache and one that reads it.
        free = self.graph.may_begin
        feasible &= free & free[:, None]
        feasible[self.takes < sequences] = False
        if self.tied:
            # Options of the first half are for parts of the model, the others for all of it.
            splits = len(self.splits)
            feasible[:splits, 0, -1] = False
            feasible[splits:, 1:] = False
            feasible[splits:, :, :-1] = False
        return Option(prefix, feasible, *self.run_arrays(ends, activation))

    def run_arrays(
        self, ends: tuple[Schedule, ...], activation: Floats
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """How resources, and a run besides, add to sums and peaks under each option."""
        options = len(self.options)
        sums = np.zeros((options, SUMS, RESOURCES))
        peaks = np.zeros((options, PEAKS, RESOURCES))
        fewest, least_turns = _fewest(ends), _turns_of_all(ends)
        for end, at in enumerate(ends):
            decode, prefill = Resource.DECODE.at(end), Resource.PREFILL.at(end)
            more = Resource.MORE.at(end)
            loads = _loads_of(at, self.options, fewest, least_turns)
            sums[:, Sum.DECODE.at(end), decode] = 1.0
            sums[:, Sum.PREFILL.at(end), prefill] = 1.0
            sums[:, Sum.PREFILL.at(end), Resource.ONCE] = 1.0
            # Whoever waits for messages keeps no stage busy: a part of passes, and of no turn.
            sums[:, Sum.DECODE.at(end), Resource.LATENT] = 1.0
            sums[:, Sum.PREFILL.at(end), Resource.PROMPT_LATENT] = 1.0
            peaks[:, Peak.TURN.at(end), decode] = loads.turns
            peaks[:, Peak.TURN.at(end), prefill] = loads.interruption
            peaks[:, Peak.TURN.at(end), more] = loads.joined
            peaks[:, Peak.ROUND.at(end), decode] = loads.turns
            peaks[:, Peak.CHUNK.at(end), prefill] = 1.0
            peaks[:, Peak.OTHERS.at(end), prefill] = loads.others
            peaks[:, Peak.OTHERS.at(end), more] = loads.standing
            peaks[:, Peak.QUEUE, Resource.PREFILL_LOW] = loads.prompt
            peaks[:, Peak.QUIET.at(end), decode] = loads.turns * _unmet(ends, self.options)
        met = _met(ends, self.options)
        sums[:, Sum.TRAIL, Resource.DECODE_LOW] = 1.0 - met
        sums[:, Sum.TRAIL, Resource.SLOWER] = met
        sums[:, Sum.TRAIL, Resource.LATENT] = 1.0
        sums[:, Sum.HELD_UP, Resource.SLOWER] = met
        sums[:, Sum.HELD_UP, Resource.LATENT] = met
        behind = _behind(ends, self.options)
        peaks[:, Peak.BEHIND, Resource.PREFILL_LOW] = behind.chunks
        peaks[:, Peak.BEHIND, Resource.MORE_LOW] = behind.beyond
        peaks[:, Peak.BEHIND, Resource.QUICKER] = behind.own
        sums[:, Sum.FILL, Resource.HELD] = self.widths / self.topology.chip.memory[0].capacity_bytes
        peaks[:, Peak.NEEDED, Resource.HELD] = 1.0
        sums_fixed = np.zeros((options, SUMS))
        sums_fixed[:, Sum.CHIPS] = self.widths
        peaks_fixed = np.zeros((options, PEAKS))
        peaks_fixed[:, Peak.NEEDED] = activation
        return sums, sums_fixed, peaks, peaks_fixed

    def _links(self, ends: tuple[Schedule, ...]) -> tuple[Floats, Floats]:
        """What a link of each kind adds, by layer and option."""
        borders = self.crossings.borders.tolist()
        shape = len(self.graph.layers) + 1, len(self.options), len(borders)
        sums = np.zeros((*shape, SUMS))
        peaks = np.zeros((*shape, PEAKS))
        if not self.topology.levels:
            return sums, peaks
        for kind, (border, hops) in enumerate(
            zip(borders, self.crossings.hops.tolist(), strict=True)
        ):
            sums[:, :, kind], peaks[:, :, kind] = self.hop(self.options, ends, border, hops)
        return sums, peaks

    def hop(
        self, splits: Sequence[Split], ends: tuple[Schedule, ...], level: int, hops: int
    ) -> tuple[Floats, Floats]:
        """What handing on from a stage under each split across so many hops of a level adds, in
        front of each layer, to the sums and to the load on the peaks, shapes (layers + 1,
        splits, SUMS) and (layers + 1, splits, PEAKS)."""

        def seconds(bytes_per_token: Floats, step: Step, at: Schedule) -> Floats:
            shares = np.array([shares_of(split, step, whole=not at.relaxed)[0] for split in splits])
            return np.asarray(hop_s(self.topology, level, hops, bytes_per_token * shares))

        return self.link(splits, ends, seconds)

    def link(
        self,
        splits: Sequence[Split],
        ends: tuple[Schedule, ...],
        seconds: Callable[[Floats, Step, Schedule], Floats],
    ) -> tuple[Floats, Floats]:
        """The same of any link, from how long it takes for so many bytes for each token of a
        step, shape (layers + 1, 1): in one column for each split, or in one for all."""
        shape = len(self.graph.layers) + 1, len(splits)
        sums, peaks = np.zeros((*shape, SUMS)), np.zeros((*shape, PEAKS))
        handed = np.array(
            [[0.0], *([layer.activation_bytes_per_token] for layer in self.graph.layers)]
        )
        fewest, least_turns = _fewest(ends), _turns_of_all(ends)
        added = []
        for end, at in enumerate(ends):
            loads = _loads_of(at, splits, fewest, least_turns)
            decode, prefill = (seconds(handed, step, at) for step in (at.decode, at.prefill))
            prefill = prefill * (at.prefill_passes > 0)
            packed = seconds(handed, at.packed, at) * (at.prefill_passes > 0)
            more = np.asarray(at.added(prefill, packed))
            added.append(more)
            turns = loads.turns * decode
            sums[..., Sum.DECODE.at(end)] = decode
            sums[..., Sum.PREFILL.at(end)] = prefill
            prompts = loads.interruption * prefill + loads.joined * more
            peaks[..., Peak.TURN.at(end)] = turns + prompts
            peaks[..., Peak.ROUND.at(end)] = turns
            peaks[..., Peak.CHUNK.at(end)] = prefill
            peaks[..., Peak.OTHERS.at(end)] = loads.others * prefill + loads.standing * more
            peaks[..., Peak.QUEUE] = loads.prompt * prefill
            peaks[..., Peak.QUIET.at(end)] = turns * _unmet(ends, splits)
        met = _met(ends, splits)
        decode, prefill = sums[..., Sum.DECODE_LOW], sums[..., Sum.PREFILL_LOW]
        sums[..., Sum.HELD_UP] = met * np.maximum(decode, prefill)
        sums[..., Sum.TRAIL] = (1.0 - met) * decode + sums[..., Sum.HELD_UP]
        behind = _behind(ends, splits)
        follow = behind.chunks * prefill + behind.beyond * added[0]
        peaks[..., Peak.BEHIND] = follow + behind.own * np.minimum(decode, prefill)
        # Nothing is handed on in front of the first layer, or behind the last.
        sums[[0, -1]] = 0.0
        peaks[[0, -1]] = 0.0
        return sums, peaks


def ask_for_problem(options: int, layers: int, borders: int) -> None:
    """For memory for the solver's arrays: which runs of layers fit under each option, and what links
    add, which bounds are made of too."""
    runs = RUN_BYTES * options * (layers + 1) ** 2
    links = 8.0 * (SUMS + PEAKS) * options * (layers + 1) * borders
    allowance.ask_for_bytes(
        runs + LINK_TABLES * links,
        f"a problem of {layers:,} layers and {options:,} ways of splitting a stage",
        "ask for space 'engine', whose stages are split alike, join like layers into fewer, or take"
        " fewer chips",
    )


def most_in_flight(graph: ModelGraph, software: Software, stages: int) -> int:
    """Micro-batches that open batches are cut into at most, where the engine leaves that free: as
    many as layers, one on a single stage; or as many as keep all stages busy while others wait.

    With a share o of the latency L of a layer that keeps its stage busy, a layer that works w is
    busy for b = w + o·L of the w + L that a token waits, which is no more than b / o. The busiest
    of S stages has an S-th of all that or more, so that S / o turns of it take as long as a pass.
    """
    least = len(graph.layers) if stages > 1 else 1
    if not software.waits_in_layers:
        return least
    if not software.layer_occupancy:
        return software.most_sequences
    return max(least, math.ceil(stages / software.layer_occupancy))


class Option(NamedTuple):
    """The arrays of one option, or of several, stacked; see `solver.problem`."""

    prefix: Floats
    feasible: NDArray[np.bool_]
    run_sums: Floats
    run_sums_fixed: Floats
    run_peaks: Floats
    run_peaks_fixed: Floats

    def of(self, number: int) -> "Option":
        """One of several."""
        return Option(*(array[number] for array in self))


class _Loads(NamedTuple):
    """How often a stage does what, under each option."""

    turns: Floats
    """Decode passes for one output token of each sequence."""
    interruption: Floats
    """Prefill passes of others for one output token."""
    joined: Floats
    """Prompts of others that join them."""
    others: Floats
    """Prefill passes of others in a cycle."""
    standing: Floats
    """Prompts of others that join those."""
    prompt: Floats
    """Prefill passes of a prompt, over the ranks that share out the sequences."""


def _fewest(ends: tuple[Schedule, ...]) -> int:
    """Micro-batches of a box in which prompts are packed best."""
    return min(at.micro_batches for at in ends)


def _turns_of_all(ends: tuple[Schedule, ...]) -> float:
    """Decode passes for one output token of each sequence that are certain for all of a box: where
    its plans have the same sequences in passes of the same size, as many as its fewest
    micro-batches; else none."""
    alike = len({(at.sequences, at.decode.sequences) for at in ends}) == 1
    return float(_fewest(ends)) if alike else 0.0


def _loads_of(
    at: Schedule, splits: Sequence[Split], micro_batches: int, least_turns: float
) -> _Loads:
    each = [_loads(at, split, micro_batches, least_turns) for split in splits]
    return _Loads(*np.array(each).T)


def _loads(at: Schedule, split: Split, micro_batches: int, least_turns: float) -> tuple[float, ...]:
    """Prompts are packed as well as in so many micro-batches."""
    turns = at.sequences / at.decode.sequences if at.relaxed else float(at.micro_batches)
    turns = max(turns, least_turns)
    each = at.others_prefills(split.attention)
    others = each * at.prefill_passes
    met = synchronised(at, each, split.attention, micro_batches)
    lost = float(interruptions_s(at, met * at.prefill_passes))
    fresh = float(fresh_share(at, each, micro_batches))
    first = float(first_share(at, each))
    prompt = at.prefill_passes / split.attention
    return turns, lost * fresh, lost * (1 - fresh), others * first, others * (1 - first), prompt


def _met(ends: tuple[Schedule, ...], splits: Sequence[Split]) -> Floats:
    """Share of the rounds that meet a prompt of others under each split, at the low end of a box,
    where it is least."""
    low = ends[0]
    return np.asarray(met_share(low, _others(low, splits)))


class _Behind(NamedTuple):
    """What comes behind the first chunk that a round meets, under each split; see
    `trailing.behind_s`."""

    chunks: Floats
    beyond: Floats
    """Prompts that start with the one that is met."""
    own: Floats
    """Share of the rounds behind a prompt of the micro-batch's own."""


def _behind(ends: tuple[Schedule, ...], splits: Sequence[Split]) -> _Behind:
    """At the low end, where it is least: there prompts are fewest, or the micro-batches that share
    them out are most."""
    low = ends[0]
    others = _others(low, splits)
    own = met_share(low, others / low.micro_batches)
    chunks, beyond = chunks_behind(low, others, low.micro_batches)
    return _Behind(np.asarray(chunks), np.asarray(beyond), np.asarray(own))


def _unmet(ends: tuple[Schedule, ...], splits: Sequence[Split]) -> Floats:
    """Share of the rounds that meet none, at the high end of a box, where it is least: with whole
    sequences on each rank."""
    high = replace(ends[-1], relaxed=False)
    return np.asarray(1.0 - met_share(high, _others(high, splits)))


def _others(at: Schedule, splits: Sequence[Split]) -> Floats:
    """Whose prompts a request meets in its life, under each split."""
    return np.array([at.others_prefills(split.attention) for split in splits])


def splits_of(
    graph: ModelGraph,
    topology: Topology,
    packing: Packing,
    *,
    within: bool = False,
    sequences: bool = False,
) -> tuple[Split, ...]:
    """All ways of splitting a stage that the graph, the software and the borders allow, narrowest
    first; `within`: those too that share out whole experts inside a tensor group, which is never
    faster than to split each of them, but is all that an engine runs where that would cut blocks of
    weights; `sequences`: those too that share out the tokens of a sequence, in which each chip
    attends with some of its tensor group's heads."""
    software = topology.software
    most = topology.chips
    experts = expert_degrees(graph, software, most)
    found = []
    for tensor in tensor_degrees(graph, software, most):
        allowance.look()
        nested = [
            expert for expert in experts if expert > 1 and nesting_fault(tensor, expert) is None
        ]
        for sequence in sequence_degrees(graph, software, tensor, most if sequences else tensor):
            found.append(Split(tensor, 1, sequence, 1))
        if within or block_fault(graph, software, Split(tensor, 1, 1, 1)) is not None:
            found += [Split(tensor, expert, 1, 1) for expert in nested if expert <= tensor]
        found += [
            Split(tensor, expert, 1, expert // tensor) for expert in nested if expert > tensor
        ]
    usable = [
        split for split in found if packing.rule(split.chips) and unoffered(topology, split) is None
    ]
    return tuple(
        sorted(usable, key=lambda split: (split.chips, -split.tensor, split.expert, split.sequence))
    )
