"""`scaling`: what more chips bring, and where the rest goes."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from planner.answers.results import Result
from planner.catalogue import load_model
from planner.errors import InfeasibleError, InputError, NoPlanFoundError
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.planning.partitioning import partition
from planner.planning.seating import chips_that_seat, waits
from planner.records import Record
from planner.report.svg import CAUSE_COLOURS, plotly
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.space.degrees import uniform_plan
from planner.space.layout import packing_of
from planner.studies.study import SPACE_WORDS, Study, machine_of
from planner.units import Count
from planner.workload import Workload

CAUSES = ("compute", "memory", "collective", "hop", "overhead", "bubble")
IDLE = "idle"
COLOURS = {**CAUSE_COLOURS, IDLE: "#F0E442"}
PATTERNS = {
    "compute": "/",
    "memory": "\\",
    "collective": "x",
    "hop": "-",
    "overhead": ".",
    "bubble": "",
    IDLE: "+",
}
LATENCY = Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)


class ScalingRow(Record):
    """The best plans on so many chips: for the throughput of many users, and for the time per
    token of one."""

    chips: Count
    """Given; a plan may hold fewer."""
    status: Literal["optimal", "feasible", "infeasible", "no plan in time"]
    batch_size: Count | None = None
    """Users of the plan for throughput."""
    parallelism: str = ""
    """Of that plan: tensor × pipeline × data, and experts."""
    held_chips: Count | None = None
    tokens_per_s: float | None = None
    efficiency_fraction: float | None = None
    """Throughput on a chip, over that on the fewest chips."""
    tpot_s: float | None = None
    """Between two tokens of one user who is alone, by the best plan for that."""
    latency_parallelism: str = ""
    latency_speed_up_fraction: float | None = None
    """How many times faster than on the fewest chips."""
    compute_lost_share: float | None = None
    """Of the chips' time: what each token takes longer in arithmetic than on the fewest chips.
    So below."""
    memory_lost_share: float | None = None
    collective_lost_share: float | None = None
    hop_lost_share: float | None = None
    overhead_lost_share: float | None = None
    bubble_lost_share: float | None = None
    idle_lost_share: float | None = None
    """Of chips that no plan holds."""
    fewest_chips: Count | None = None
    """That would do, where it does not fit."""


class Scaling(Study):
    """Rows by chips; the first is on the fewest that hold the model."""

    model: str
    weight_dtype: Dtype
    topology: str
    rows: tuple[ScalingRow, ...]
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any; tables made
    before this was said are of any."""

    def at(self, chips: int) -> ScalingRow:
        """The row of so many chips."""
        known = {row.chips: row for row in self.rows}
        if chips not in known:
            counts = ", ".join(str(count) for count in known)
            raise InputError(f"chips = {chips} was not priced; the rows are of {counts}")
        return known[chips]

    def plot(self) -> Any:
        """Efficiency by chips, and below it where the chips' time goes that is lost."""
        return scaling_plot(self)


def scaling_plot(made: Scaling) -> Any:
    """Two pictures over the same chips: what is kept, and what is lost."""
    plotly()
    from plotly.subplots import make_subplots

    rows = [row for row in made.rows if row.efficiency_fraction is not None]
    chips = [str(row.chips) for row in rows]
    drawn = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    drawn.add_scatter(
        name="throughput a chip",
        x=chips,
        y=[row.efficiency_fraction for row in rows],
        text=[row.parallelism for row in rows],
        mode="lines+markers",
        line={"color": "#0072B2", "width": 3},
        row=1,
        col=1,
    )
    drawn.add_scatter(
        name="speed of one user, a chip",
        x=chips,
        y=[_latency_share(row, rows[0].chips) for row in rows],
        text=[row.latency_parallelism for row in rows],
        mode="lines+markers",
        line={"color": "#D55E00", "width": 3, "dash": "dash"},
        marker={"symbol": "square"},
        row=1,
        col=1,
    )
    for cause in (*CAUSES, IDLE):
        drawn.add_bar(
            name=cause,
            x=chips,
            y=[getattr(row, f"{cause}_lost_share") for row in rows],
            marker={
                "color": COLOURS[cause],
                "pattern": {"shape": PATTERNS[cause]},
                "line": {"color": "#222222"},
            },
            row=2,
            col=1,
        )
    _lay_out(drawn, made)
    return drawn


def _latency_share(row: ScalingRow, fewest: int) -> float:
    """Speed of one user on a chip, over that on the fewest chips."""
    return (row.latency_speed_up_fraction or 0) * fewest / row.chips


def _lay_out(drawn: Any, made: Scaling) -> None:
    drawn.update_layout(
        title=f"{made.model} in {made.weight_dtype} on {made.topology}, {SPACE_WORDS[made.space]}",
        template="plotly_white",
        barmode="relative",
        width=860,
        height=620,
        legend={"title": "above; below, by cause"},
    )
    drawn.update_yaxes(
        title="of the fewest chips' [share]", tickformat=".0%", rangemode="tozero", row=1, col=1
    )
    drawn.update_yaxes(title="lost [share of the chips' time]", tickformat=".0%", row=2, col=1)
    drawn.update_xaxes(title="chips", type="category", row=2, col=1)
    drawn.add_annotation(
        text="Best plans of the engine on the catalogue's figures;"
        " below 0: less than on the fewest.",
        x=0,
        y=-0.16,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"size": 11},
    )


def scaling(
    model: str | ModelGraph,
    topology: str | Topology,
    *,
    chips: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    workload: Workload | None = None,
    weight_dtype: Dtype | None = None,
    users_per_chip: float = 8.0,
    base_chips: int | None = None,
    time_limit_s: float | None = 20.0,
    space: Space = "engine",
    progress: Callable[[ScalingRow], None] | None = None,
) -> Scaling:
    """The best plans on each number of chips, against those on the fewest that hold the model, or
    on `base_chips`.

    A workload with a batch keeps it on all numbers of chips (strong scaling); None, or an open
    batch, has `users_per_chip` for each chip (weak scaling). Efficiency counts all chips given,
    held by the plan or not. What is lost is told by cause: a token's chip-seconds there less those
    on the fewest chips. `time_limit_s` is of each plan; where it ends a search, copies of a plan
    for fewer chips stand in if they are better, and the row is not called optimal. `space` "any"
    takes plans too that the machine's software cannot be started with.
    """
    graph = load_model(model, weight_dtype=weight_dtype) if isinstance(model, str) else model
    machine = machine_of(topology)
    _check_chips(chips, machine)
    work = workload or LATENCY.replace(batch_size=None)
    ladder = _Ladder(graph, machine, work, users_per_chip, time_limit_s, space)
    fewest = base_chips or fewest_of(graph, machine, work, users_per_chip, space)
    counts = {*chips} if fewest is None else {*chips, fewest}
    rows: list[ScalingRow] = []
    if fewest is not None:
        ladder.plans(fewest)
    for count in sorted(counts):
        rows.append(_row(ladder, count, fewest))
        if progress is not None:
            progress(rows[-1])
    return Scaling(
        model=graph.name,
        weight_dtype=graph.weight_dtype,
        topology=machine.name,
        rows=tuple(rows),
        space=space,
    )


def _check_chips(chips: Sequence[int], machine: Topology) -> None:
    if not chips or min(chips) < 1 or max(chips) > machine.limit_chips:
        raise InputError(
            f"chips must lie between 1 and the {machine.limit_chips} that {machine.name} may have,"
            f" not {tuple(chips)}"
        )


@dataclass(slots=True)
class _Ladder:
    """The best plans on more and more chips, each made once: for the throughput of many users,
    and for the time per token of one."""

    graph: ModelGraph
    topology: Topology
    workload: Workload
    users_per_chip: float
    time_limit_s: float | None
    space: Space
    known: dict[int, tuple[Result, Result]] = field(default_factory=dict)

    def plans(self, chips: int) -> tuple[Result, Result]:
        if chips not in self.known:
            machine = self.topology.replace(chips=chips)
            crowd = self._crowd(machine)
            alone = self.workload.replace(batch_size=1)
            one = partition(
                self.graph,
                machine,
                alone,
                minimize="tpot_s",
                time_limit_s=self.time_limit_s,
                space=self.space,
            )
            self.known[chips] = (crowd, one)
        return self.known[chips]

    def _crowd(self, machine: Topology) -> Result:
        """The plan of most tokens a second. Where time ends its search, another may be better:
        copies of a plan for fewer chips, or one of equal stages."""
        found = partition(
            self.graph,
            machine,
            _crowded(self.workload, machine.chips, self.users_per_chip),
            maximize="tokens_per_s",
            time_limit_s=self.time_limit_s,
            space=self.space,
        )
        if found.status == "optimal":
            return found
        smaller = [crowd for crowd, _ in self.known.values()]
        others = _standing_in(found, (*_copies(found, smaller), *_uniform(found)))
        return max((found, *others), key=lambda one: one.objective)


def fewest_of(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    users_per_chip: float = 8.0,
    space: Space = "engine",
) -> int | None:
    """The fewest chips that hold the model and their users, none of whom waits for a place; None
    where no number does."""
    count = 1
    while count <= topology.limit_chips:
        try:
            found = partition(
                graph,
                topology.replace(chips=count),
                _crowded(workload, count, users_per_chip),
                minimize="chips",
                space=space,
                offload=False,
            )
        except InfeasibleError as error:
            smallest = error.smallest_chips
        else:
            if not waits(found):
                return count
            smallest = chips_that_seat(found)
        if smallest is None:
            return None
        count = max(smallest, count + 1)
    return None


def _crowded(workload: Workload, chips: int, users_per_chip: float) -> Workload:
    """With the users of so many chips."""
    return workload.replace(batch_size=workload.batch_size or max(1, round(users_per_chip * chips)))


def _standing_in(found: Result, plans: Iterable[Plan]) -> Iterator[Result]:
    """Other plans for the same question, as far as they hold."""
    for plan in plans:
        asked = (plan, found.graph, found.topology, found.workload)
        with suppress(InfeasibleError, InputError):
            if check_plan(*asked, space=found.space):
                continue
            score = score_plan(*asked)
            gap = abs(found.bound / score.tokens_per_s - 1)
            yield found.replace(plan=plan, score=score, objective=score.tokens_per_s, gap=gap)


def _copies(found: Result, smaller: Sequence[Result]) -> Iterator[Plan]:
    """Plans for fewer chips, as often as they fit; each serves its share of the users."""
    for one in smaller:
        used = 1 + max(group.last for stage in one.plan.stages for group in stage.groups)
        times = found.topology.chips // used
        bases = packing_of(found.topology).copies(used, times) if times > 1 else None
        if bases:
            stages = [_repeated(stage, bases) for stage in one.plan.stages]
            yield one.plan.replace(stages=tuple(stages))


def _repeated(stage: Stage, bases: Sequence[int]) -> Stage:
    """A stage with its groups once more from each of these chips on."""
    groups = tuple(
        ChipRange(first=group.first + base, count=group.count)
        for base in bases
        for group in stage.groups
    )
    return stage.replace(groups=groups)


def _uniform(found: Result) -> Iterator[Plan]:
    """What engines make of degrees that are powers of two."""
    graph, topology = found.graph, found.topology
    degrees = [2**n for n in range(topology.chips.bit_length())]
    most_experts = topology.chips if "experts" in graph.splits() else 1
    for tensor, pipeline, expert in itertools.product(degrees[:7], degrees, degrees):
        data = topology.chips // (tensor * pipeline)
        if not data or expert > min(most_experts, tensor * data):
            continue
        with suppress(InputError):
            yield uniform_plan(
                graph,
                topology,
                tensor_parallel=tensor,
                pipeline_parallel=pipeline,
                expert_parallel=expert,
                data_parallel=data,
            )


def _row(ladder: "_Ladder", count: int, fewest: int | None) -> ScalingRow:
    """On so many chips; a row without figures where there is no plan."""
    none = ScalingRow(chips=count, status="infeasible", fewest_chips=fewest)
    if fewest is None or count < fewest:
        return none
    try:
        return _compared(count, ladder.plans(count), fewest, ladder.plans(fewest))
    except InfeasibleError as error:
        return none.replace(fewest_chips=error.smallest_chips)
    except NoPlanFoundError:
        return none.replace(status="no plan in time")


def _compared(
    count: int, plans: tuple[Result, Result], fewest: int, base: tuple[Result, Result]
) -> ScalingRow:
    """The plans on so many chips beside those on the fewest."""
    crowd, one = plans
    base_crowd, base_one = base
    # Chips over tokens a second: chip-seconds of one token.
    each = count / crowd.score.tokens_per_s
    least = fewest / base_crowd.score.tokens_per_s
    here = _chip_seconds(crowd, count)
    there = _chip_seconds(base_crowd, fewest)
    lost = {f"{cause}_lost_share": (here[cause] - there[cause]) / each for cause in here}
    is_proved = crowd.status == one.status == "optimal"
    return ScalingRow(
        chips=count,
        status="optimal" if is_proved else "feasible",
        batch_size=crowd.score.batch_size,
        parallelism=parallelism_of(crowd),
        held_chips=crowd.score.chips,
        tokens_per_s=crowd.score.tokens_per_s,
        efficiency_fraction=least / each,
        tpot_s=one.score.tpot_s,
        latency_parallelism=parallelism_of(one),
        latency_speed_up_fraction=base_one.score.tpot_s / one.score.tpot_s,
        fewest_chips=fewest,
        **lost,
    )


def _chip_seconds(result: Result, chips: int) -> dict[str, float]:
    """Chip-seconds of one token of all users, by cause: those held as the token's own time is
    spent, the rest idle. They sum to chips / tokens a second."""
    score = result.score
    held = score.chips / score.tokens_per_s
    token_s = sum(stage.total_s for stage in score.breakdown)
    causes = {
        cause: held * sum(getattr(stage, f"{cause}_s") for stage in score.breakdown) / token_s
        for cause in CAUSES
    }
    return {**causes, IDLE: (chips - score.chips) / score.tokens_per_s}


def parallelism_of(result: Result) -> str:
    """'tensor 8 × pipeline 4 × data 2, experts over 8'."""
    stages = result.plan.stages
    tensors = sorted({stage.tensor_parallel for stage in stages})
    experts = sorted({stage.expert_parallel for stage in stages})
    degrees = {
        "tensor": "/".join(str(degree) for degree in tensors),
        "pipeline": str(len(stages)),
        "data": str(result.plan.replicas),
    }
    named = [f"{name} {degree}" for name, degree in degrees.items() if degree != "1"]
    text = " × ".join(named) or "one chip"
    if experts[-1] > 1:
        text += f", experts over {'/'.join(str(degree) for degree in experts)}"
    return text
