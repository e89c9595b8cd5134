"""`score_command`: what a command that people run costs, and what the best plan would gain."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from planner import catalogue
from planner.answers.question import ASKED
from planner.answers.results import Result
from planner.errors import InfeasibleError, InputError, NoPlanFoundError
from planner.guards import guarded
from planner.launches.commands import CommandText, read_command
from planner.launches.launch import Reading
from planner.launches.models import Modelled, model_of
from planner.launches.planning import planned, settled_launch, stack_of, told_load
from planner.machines.accounts import PowerBasis
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.partitioning import partition
from planner.planning.search import Progress
from planner.records import Record
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.workload import Workload


class CommandScore(Record):
    """A command's plan with its price, beside the best plans for the same load."""

    reading: Reading
    graph: ModelGraph
    topology: Topology
    """With the limits that the engine is told."""
    workload: Workload
    plan: Plan
    score: Score | None = None
    """None: the engine refuses the command, or it does not fit."""
    faults: tuple[str, ...] = ()
    """Why."""
    remarks: tuple[str, ...] = ()
    """What had to be taken for granted."""
    field: str = "request_s"
    """What the best plans are best for."""
    best_on_same_chips: Result | None = None
    best_on_machine: Result | None = None
    """None where the command has all chips of it, or nothing was searched."""
    unsearched: str = ""
    """Why there is no best plan, where one was asked for."""

    def gain(self, best: Result) -> float | None:
        """By how much a plan is better than the command's: 0.23 where it answers 23 % faster. None
        where the command has no price, or this field has none."""
        mine = None if self.score is None else getattr(self.score, self.field)
        if not mine or not best.objective:
            return None
        is_least = ASKED[self.field].best == "least"
        return float(mine / best.objective - 1 if is_least else best.objective / mine - 1)

    def __str__(self) -> str:
        from planner.launches.telling import command_text

        return command_text(self)


@guarded
def score_command(
    command: CommandText | Path | Reading,
    machine: str | Path | Topology,
    workload: Workload | None = None,
    *,
    model: str | ModelGraph | None = None,
    chips: int | None = None,
    software: str | None = None,
    best: bool = True,
    minimize: str | None = None,
    maximize: str | None = None,
    time_limit_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    owned: Callable[[Topology], Topology] | None = None,
    power_scope: PowerScope | None = None,
    power_basis: PowerBasis | None = None,
    price_basis: OfferBasis | None = None,
) -> CommandScore:
    """The price of what a command starts, on a machine, for a load; and, unless `best=False`, the
    plan of the same engine that is best for `minimize` or `maximize` (None: the shortest whole
    requests), on as many chips and on the whole machine.

    `command` is a line of a shell, a manifest, a file with one of them, or what was read of one;
    `model` stands in for the model that it names; `software` for the engine's stack. Of a machine
    by name, as many chips are taken as it has, or as the command asks for. `owned` gives the
    machine what its owner pays; `power_scope`, `power_basis` and `price_basis` are those of
    `score_plan`.

    InputError: a command that is not read, or a model that is not known. What the engine would
    refuse is an answer (`faults`), and raises nothing.
    """
    reading = command if isinstance(command, Reading) else read_command(command)
    if minimize is not None and maximize is not None:
        raise InputError("give minimize or maximize, not both: a plan is best for one field")
    bases: dict[str, Any] = {
        "power_scope": power_scope,
        "power_basis": power_basis,
        "price_basis": price_basis,
    }
    modelled = model if isinstance(model, ModelGraph) else model_of(reading.launch, model)
    graph, remarks = modelled if isinstance(modelled, Modelled) else (modelled, ())
    whole, extended = _machine(reading, graph, machine, chips, software)
    whole = whole if owned is None else owned(whole)

    load = workload or Workload(batch_size=8)
    found = _priced(reading, graph, whole, load, maximize or minimize, bases)
    found = found.replace(remarks=(*remarks, *extended, *found.remarks))
    if not best:
        return found
    goal = {"minimize": minimize, "maximize": maximize}
    if minimize is None and maximize is None:
        goal = {"minimize": found.field}
    how = {**goal, "time_limit_s": time_limit_s, "progress": progress, **bases}
    return _with_best(found, whole, load, how)


def _priced(
    reading: Reading,
    graph: ModelGraph,
    whole: Topology,
    load: Workload,
    field: str | None,
    bases: dict[str, Any],
) -> CommandScore:
    """The plan of a command with its price, or with why it cannot be started."""
    made = planned(reading.launch, graph, whole, load)
    faults = made.faults + tuple(
        broken.message for broken in check_plan(made.plan, graph, made.topology, made.workload)
    )
    score = None
    if not faults:
        score = score_plan(made.plan, graph, made.topology, made.workload, **bases)
    return CommandScore(
        reading=reading,
        graph=graph,
        topology=made.topology,
        workload=made.workload,
        plan=made.plan,
        score=score,
        faults=faults,
        remarks=made.remarks,
        field=field or _usual_field(graph, made.workload),
    )


def _usual_field(graph: ModelGraph, workload: Workload) -> str:
    if workload.phase == "prefill":
        return "ttft_s"
    return "tpot_s" if workload.phase == "decode" else "request_s"


def _machine(
    reading: Reading,
    graph: ModelGraph,
    machine: str | Path | Topology,
    chips: int | None,
    software: str | None,
) -> tuple[Topology, tuple[str, ...]]:
    """With the engine's stack, and with as many chips as the command asks for."""
    if isinstance(machine, Topology):
        given = software is None and chips is None
        if not given:
            raise InputError("chips and software are those of the machine that is given; leave out")
        return machine, ()
    stack = software or stack_of(reading.launch)
    name, chips = catalogue.counted_name(machine, chips)
    whole = catalogue.load_topology(name, chips=chips, software=stack)
    wanted = settled_launch(reading.launch, graph, whole).launch.chips
    if chips is None and wanted > whole.chips:
        remark = f"{whole.name} is taken with the {wanted} chips that the command asks for"
        return catalogue.load_topology(name, chips=wanted, software=stack), (remark,)
    return whole, ()


def _with_best(
    found: CommandScore, whole: Topology, load: Workload, how: dict[str, Any]
) -> CommandScore:
    """With the best plans of the same engine, under its own limits on what is in flight."""
    asked, _ = told_load(found.reading.launch, found.graph, load)
    share = found.topology.software.usable_memory_fraction
    whole = whole.with_usable_memory(share)
    same = whole.replace(chips=found.plan.chips)
    try:
        on_same = partition(found.graph, same, asked, **how)
    except (InfeasibleError, NoPlanFoundError) as refusal:
        on_same, unsearched = None, str(refusal)
    else:
        unsearched = ""
    on_whole = None
    if whole.chips > same.chips:
        try:
            on_whole = partition(found.graph, whole, asked, **how)
        except (InfeasibleError, NoPlanFoundError) as refusal:
            unsearched = unsearched or str(refusal)
    return found.replace(
        best_on_same_chips=on_same, best_on_machine=on_whole, unsearched=unsearched
    )
