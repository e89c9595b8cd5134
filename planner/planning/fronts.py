"""`pareto`: the plans worth having when several fields count, proved complete within a
tolerance, with a picture."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.fronts import Front, Member, best_first
from planner.answers.proof import StoppedBy
from planner.answers.question import FIELDS, HELD, Question
from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, UnknownNameError
from planner.guards import guarded
from planner.machines.accounts import PowerBasis, counted
from planner.machines.engine import SPACES, Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.cutting_off import cut_off
from planner.planning.engine_fronts import EngineFrontSearch
from planner.planning.first_plans import first_plan
from planner.planning.refusals import refusal_of
from planner.pricing.stacks import machine_for
from planner.scoring.score import Score
from planner.solver.chain.labels import LAST_BEAM
from planner.solver.chain.problem import Cuts, Floats, Ints
from planner.solver.chain.tradeoffs import Known, uncovered
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.mixes import MixBounds, Priced, even_cuts, mixed_cuts, mixes_of
from planner.units import PositiveBytes
from planner.workload import Workload

QUICK_BEAM = 256
"""Labels at one layer up to which a box of several batches is searched before it is cut in two."""


@guarded
@allowance.allowing
def pareto(
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    *,
    fields: tuple[str, ...] = ("tpot_s", "tokens_per_s", "usd_per_million_tokens"),
    tolerance: float = 0.05,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
) -> Front:
    """The plans worth having when several fields of `Score` count.

    Every plan of the `space`, as `partition` has it, is covered: in every field one of the members is at most
    `tolerance` (relative) worse. Where the workload leaves the batch open, the front spans all
    batches. InfeasibleError: proved that there is no plan at all.
    """
    graph, topology = model_of(graph), machine_of(topology)
    question = _question(tuple(fields), power_scope, space)
    _refuse_unplanned(graph, workload, tolerance)
    topology = counted(topology, price_basis=price_basis, power_basis=power_basis)
    topology = machine_for(graph, topology)
    candidates = Candidates(graph, topology, workload, question)
    if candidates.averages:
        raise InputError(
            f"pareto() cannot prove power_w of {topology.name}, which is an average;"
            " ask for energy_per_token_j"
        )
    kind = EngineFrontSearch if candidates.of_engine else FrontSearch
    search = kind(candidates, tolerance, time_limit_s=time_limit_s)
    search.run()
    if not search.found_some:
        if search.complete:
            raise refusal_of(candidates.asking(question.objective))
        raise NoPlanFoundError(
            f"no plan of {graph.name} was found yet; nothing is proved: {allowance.remedy()}"
        )
    with allowance.freely():
        members = search.best_first(fields[0])
    return Front(
        fields=tuple(fields),
        tolerance=tolerance,
        status="complete" if search.complete else "partial",
        members=members,
        elapsed_s=time.monotonic() - search.started,
        stopped_by=search.stopped_by,
        graph=graph,
        topology=topology,
        workload=workload,
        space=space,
    )


def _refuse_unplanned(graph: ModelGraph, workload: Workload, tolerance: float) -> None:
    if not 1e-4 <= tolerance <= 1:
        raise InputError(f"tolerance must lie between 0.0001 and 1, not {tolerance!r}")
    if graph.is_diffusion:
        raise InputError(
            f"pareto() plans chains of layers, and {graph.name} is a diffusion model;"
            " use partition()"
        )
    if workload.requests_per_s is not None:
        raise InputError(
            "pareto() needs a batch_size (or None), not a rate; leave Workload.requests_per_s out"
        )


def _question(fields: tuple[str, ...], power_scope: PowerScope | None, space: Space) -> Question:
    """The fields as an objective and limits that nothing breaks; what counts chips first, so
    that all numbers of replicas are looked at."""
    if len(set(fields)) != len(fields) or len(fields) < 2:
        raise InputError(f"fields must name two or more different fields of Score, not {fields!r}")
    for name in fields:
        if name not in FIELDS:
            raise UnknownNameError("field to optimise", name, FIELDS)
    if space not in SPACES:
        raise UnknownNameError("space", str(space), SPACES)
    first = next((name for name in fields if name in HELD), fields[0])
    limits = tuple((name, _unbroken(name)) for name in fields if name != first)
    return Question(first, limits, power_scope, space=space)


def _unbroken(name: str) -> float:
    """A limit that every plan keeps."""
    if name == "memory_headroom_bytes":
        return -1e300
    return 1e300 if FIELDS[name].best == "least" else 1e-300


# ── Search ────────────────────────────────────────────────────────────────────────────────────────


class FrontSearch:
    """Boxes of batches, each with the mixes of plans that may still hold something new.

    A box loses the mixes whose bounds known plans cover; in a small one plans of the others are
    made and scored; what bounds cannot decide, labels do.
    """

    def __init__(
        self, candidates: Candidates, tolerance: float, *, time_limit_s: float | None = None
    ) -> None:
        self.candidates, self.tolerance, self.started = candidates, tolerance, time.monotonic()
        self.deadline = math.inf if time_limit_s is None else self.started + time_limit_s
        self.known = Known(len(candidates.question.fields), tolerance)
        self.members: dict[bytes, Member] = {}
        self.complete = True
        self.interrupted: bool | None = None
        """Whether it was Ctrl-C that cut it off, or the clock; None where nothing did."""
        self.tried: set[tuple[Cuts, Box]] = set()
        self.searched = 0
        """Boxes that labels had to decide."""

    def run(self) -> None:
        """Until every box is empty, the clock runs out, or Ctrl-C."""
        self.complete = True
        self.interrupted = cut_off(self._run, self.deadline)
        if self.interrupted is not None:
            self.complete = False
            self._round_off()

    @property
    def found_some(self) -> bool:
        """Whether there is a plan."""
        return bool(self.members)

    def _round_off(self) -> None:
        """Where nothing was found in time, a plan is: any."""
        plan = None if self.members else first_plan(self.candidates).plan
        score = None if plan is None else self._score(plan)
        if plan is not None and score is not None:
            vector = self.candidates.canonical_vector(score)
            if self.known.offer(vector):
                self.members[vector.tobytes()] = Member(plan=plan, score=score)

    def _run(self) -> None:
        candidates = self.candidates
        budgets = {box: candidates.packing.widest(box.replicas) for box in candidates.boxes()}
        widths = np.array([split.chips for split in candidates.splits])
        self.mixes = mixes_of(
            widths, max(budgets.values(), default=0), len(candidates.graph.layers)
        )
        self.bounds = MixBounds(candidates, self.mixes)
        todo = [
            (box, np.flatnonzero(self.mixes.least_chips <= budgets[box]))
            for box in reversed(budgets)
        ]
        while todo:
            if time.monotonic() >= self.deadline:
                self.complete = False
                return
            box, rows = todo.pop()
            left = self._left(box, rows)
            if len(left) and not box.single:
                todo += [(half, left) for half in box.halves()]

    def best_first(self, name: str) -> tuple[Member, ...]:
        """The plans that none beats, the best in a field first."""
        return best_first([self.members[vector.tobytes()] for vector in self.known.vectors], name)

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.complete:
            return "proof"
        if self.interrupted is None:
            return "time" if time.monotonic() >= self.deadline else "beam"
        return "interrupt" if self.interrupted else "time"

    def _left(self, box: Box, rows: Ints) -> Ints:
        """The mixes that may still hold something new in a box."""
        if box.least_sequences > self.candidates.most_taken:
            return rows[:0]
        priced = Priced(self.candidates, box)
        rows = rows[~self.known.covers(self.bounds.quick(priced, rows))]
        if not len(rows):
            return rows
        lower, turns = self.bounds.tight(priced, rows)
        rows = (
            rows[~self._covered(lower).all(axis=1)]
            if not self._small(box)
            else self._tried(box, priced, rows, lower, turns)
        )
        return self._searched(box, rows) if len(rows) and self._small(box) else rows

    def _covered(self, lower: Floats) -> NDArray[np.bool_]:
        return self.known.covers(lower.reshape(-1, lower.shape[2])).reshape(lower.shape[:2])

    def _small(self, box: Box) -> bool:
        (m0, m1), (u0, u1) = box.micro_batches, box.micro_sequences
        return box.single or (
            box.batch_size is None and m0 == m1 and u1 <= u0 * (1 + self.tolerance)
        )

    def _tried(self, box: Box, priced: Priced, rows: Ints, lower: Floats, turns: Floats) -> Ints:
        """The mixes left after plans were made where bounds are lowest."""
        tried = np.zeros(lower.shape[:2], dtype=bool)
        while True:
            is_open = ~self._covered(lower)
            todo = np.argwhere(is_open & ~tried)
            if not len(todo):
                return rows[is_open.any(axis=1)]
            mix, place = todo[np.log(lower[tuple(todo.T)]).sum(axis=1).argmin()]
            uniform = self.mixes.option[rows[mix]] >= 0
            tried[mix, slice(None) if uniform else place] = True
            for cuts in self._made(priced, int(rows[mix]), float(turns[mix, place])):
                self._offer(box, cuts)

    def _made(self, priced: Priced, mix: int, turn_s: float) -> Iterator[Cuts]:
        """Plans of a mix."""
        option, counts = int(self.mixes.option[mix]), self.mixes.counts[mix]
        if option >= 0:
            stages = int(counts[option])
            whole = len(self.candidates.splits) if self.candidates.tied and stages == 1 else 0
            yield even_cuts(priced.prefix[option], stages, option + whole)
        elif self.mixes.exact[mix]:
            order = np.flatnonzero(counts).tolist()
            for ordered in (order, order[::-1]):
                cuts = mixed_cuts(priced, counts, min(turn_s, float(priced.prefix.max())), ordered)
                if cuts is not None:
                    yield cuts

    def _searched(self, box: Box, rows: Ints) -> Ints:
        """What labels leave of a box: nothing where they are done."""
        self.searched += 1
        problem = self.candidates.to_problem(box)
        if problem is None:
            return rows[:0]
        used = np.asarray((self.mixes.counts[rows] > 0).any(axis=0))
        used = np.concatenate([used, used]) if self.candidates.tied else used
        problem = replace(problem, feasible=problem.feasible & used[:, None, None])
        beam = LAST_BEAM if box.single else QUICK_BEAM
        found, proved = uncovered(
            problem, self.known, beam=beam, stop=lambda: time.monotonic() >= self.deadline
        )
        for one in found:
            self._offer(box, one.cuts)
        if box.single:
            self.complete &= proved
        done = proved and all(self.known.covers(one.vector[None]).all() for one in found)
        return rows[:0] if done or box.single else rows

    def _offer(self, box: Box, cuts: Cuts) -> None:
        """Score a plan with these cuts at the high end of a box, or with as many sequences as
        fit."""
        most, sequences = box.micro_batches[1], box.micro_sequences[1]
        single = (
            box
            if box.single
            else box._replace(micro_batches=(most, most), micro_sequences=(sequences, sequences))
        )
        runs = None if (cuts, single) in self.tried else self.candidates.placed(cuts, box.replicas)
        self.tried.add((cuts, single))
        if runs is None:
            return
        plan = self.candidates.to_plan(single, runs)
        score = self._score(plan)
        if score is None and not box.single:
            fitting = min(self.candidates.most_sequences(plan) // most, sequences)
            plan = plan.replace(batch_size=plan.replicas * most * max(1, fitting))
            score = self._score(plan) if fitting else None
        if score is not None:
            vector = self.candidates.canonical_vector(score)
            if self.known.offer(vector):
                self.members[vector.tobytes()] = Member(plan=plan, score=score)

    def _score(self, plan: Plan) -> Score | None:
        try:
            return self.candidates.score(plan)
        except (InfeasibleError, InputError):
            return None
