"""`scaling`: what more chips bring, and where the rest goes."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from planner.answers.proof import TOLERANCE
from planner.answers.results import Result
from planner.catalogue import load_model
from planner.errors import InfeasibleError, InputError, NoPlanFoundError
from planner.guards import guarded
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
from planner.studies.plots import captioned, dress
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
    """Optimal: both plans are the proved best. Feasible: of either that is not proved, and its gap
    says by how much another may be better."""
    batch_size: Count | None = None
    """Users of the plan for throughput."""
    parallelism: str = ""
    """Of that plan: tensor × pipeline × data, and experts."""
    held_chips: Count | None = None
    tokens_per_s: float | None = None
    most_tokens_per_s: float | None = None
    """Proved: no plan makes more."""
    throughput_gap_share: float | None = None
    """By how much more another plan may make, at most."""
    efficiency_fraction: float | None = None
    """Throughput on a chip, over that on the fewest chips."""
    tpot_s: float | None = None
    """Between two tokens of one user who is alone, by the best plan for that."""
    least_tpot_s: float | None = None
    """Proved: no plan is quicker."""
    latency_gap_share: float | None = None
    """By how much another plan may be faster, at most."""
    latency_parallelism: str = ""
    latency_speed_up_fraction: float | None = None
    """How many times faster than on the fewest chips."""
    compute_share: float | None = None
    """Of the chips' time: what the plan for throughput spends on arithmetic. So below; they sum to
    one."""
    memory_share: float | None = None
    collective_share: float | None = None
    hop_share: float | None = None
    overhead_share: float | None = None
    bubble_share: float | None = None
    idle_share: float | None = None
    compute_lost_share: float | None = None
    """Of the chips' time: what each token takes longer in arithmetic than on the fewest chips;
    negative where it takes less. So below."""
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
        """By chips: throughput of each, speed of one user, and where the chips' time goes."""
        return scaling_plot(self)

    def __str__(self) -> str:
        of = f"{self.model} in {self.weight_dtype} on {self.topology}, {SPACE_WORDS[self.space]}"
        return "\n".join([of, *(f"  {_told(row)}" for row in self.rows)])


def _told(row: ScalingRow) -> str:
    """A row in words."""
    count = f"{row.chips} chip{'' if row.chips == 1 else 's'}"
    if row.tokens_per_s is None or row.efficiency_fraction is None or row.tpot_s is None:
        needs = f"; {row.fewest_chips} would do" if row.fewest_chips else ""
        return f"{count}: {row.status}{needs}"
    return (
        f"{count}: {row.tokens_per_s:,.0f} tokens/s by {row.parallelism}"
        f" ({_proof_of(row.throughput_gap_share)}), {100 * row.efficiency_fraction:.0f} % a chip;"
        f" alone {1000 * row.tpot_s:.3g} ms a token by {row.latency_parallelism}"
        f" ({_proof_of(row.latency_gap_share)})"
    )


def _proof_of(gap_share: float | None) -> str:
    if gap_share is None:
        return "no bound"
    if gap_share <= TOLERANCE:
        return "proved best"
    return f"not proved: at most {100 * gap_share:.2g} % better"


def scaling_plot(made: Scaling) -> Any:
    """Three pictures over the same chips: throughput of each chip, speed of one user, and where the
    chips' time goes for one token. What is not proved reaches up to its bound."""
    plotly()
    from plotly.subplots import make_subplots

    rows = [row for row in made.rows if row.efficiency_fraction is not None]
    if not rows:
        raise InputError(f"no row has a plan to draw: {made.model} fits none of these chips")
    drawn = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    throughput = [row.efficiency_fraction or 0.0 for row in rows]
    speed = [row.latency_speed_up_fraction or 0.0 for row in rows]
    gaps = [row.throughput_gap_share for row in rows], [row.latency_gap_share for row in rows]
    plans = [row.parallelism for row in rows], [row.latency_parallelism for row in rows]
    _add_marks(drawn, 1, rows, "throughput a chip", "#0072B2", throughput, gaps[0], plans[0])
    _add_marks(drawn, 2, rows, "speed of one user", "#D55E00", speed, gaps[1], plans[1])
    for cause in (*CAUSES, IDLE):
        if not any(_chip_time(row, cause) for row in rows):
            continue
        drawn.add_bar(
            name=cause,
            x=[str(row.chips) for row in rows],
            y=[_chip_time(row, cause) for row in rows],
            marker={
                "color": COLOURS[cause],
                "pattern": {"shape": PATTERNS[cause]},
                "line": {"color": "#222222"},
            },
            legend="legend",
            row=3,
            col=1,
        )
    _lay_out(drawn, made, rows)
    return drawn


def _add_marks(
    drawn: Any,
    place: int,
    rows: Sequence[ScalingRow],
    name: str,
    colour: str,
    values: Sequence[float],
    gaps: Sequence[float | None],
    plans: Sequence[str],
) -> None:
    """A mark for each number of chips, open where the plan leaves some of them idle; above it as
    far as a better plan is not ruled out."""
    is_whole = [row.held_chips == row.chips or place == 2 for row in rows]
    drawn.add_scatter(
        name=name,
        x=[str(row.chips) for row in rows],
        y=values,
        text=plans,
        mode="markers+lines",
        line={"color": colour, "width": 1, "dash": "dot"},
        marker={
            "color": [colour if whole else "#FFFFFF" for whole in is_whole],
            "line": {"color": colour, "width": 2},
            "size": 11,
            "symbol": "circle" if place == 1 else "square",
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [value * (gap or 0.0) for value, gap in zip(values, gaps, strict=True)],
            "arrayminus": [0.0] * len(values),
            "color": colour,
            "width": 6,
        },
        showlegend=False,
        row=place,
        col=1,
    )


def _chip_time(row: ScalingRow, cause: str) -> float | None:
    """Chip-seconds of one token that go to a cause, over all of those on the fewest chips; None in
    tables made before it was told."""
    share = getattr(row, f"{cause}_share")
    return None if share is None else share / (row.efficiency_fraction or 1.0)


def _lay_out(drawn: Any, made: Scaling, rows: Sequence[ScalingRow]) -> None:
    base = f"{rows[0].chips} chip{'' if rows[0].chips == 1 else 's'}"
    open_marks = any(row.held_chips != row.chips for row in rows)
    open_bounds = any(row.throughput_gap_share or row.latency_gap_share for row in rows)
    notes = ["Dotted lines only join the counts that were priced."]
    if open_marks:
        notes.append("Open: some chips idle, as layers, heads or replicas do not divide by them.")
    if open_bounds:
        notes.append("Whiskers: as far as a better plan is not ruled out.")
    title = f"{made.model} in {made.weight_dtype} on {made.topology}: what more chips bring"
    dress(
        drawn,
        title={"text": captioned(title, f"Best of {SPACE_WORDS[made.space]}.", *notes)},
        barmode="stack",
        width=900,
        height=890,
        margin={"t": 190, "l": 110},
        legend={
            "title": {"text": "chip time of a token goes to"},
            "traceorder": "reversed",
            "y": 0.0,
            "yanchor": "bottom",
        },
    )
    drawn.update_yaxes(
        title=f"throughput a chip<br>[% of that on {base}]",
        tickformat=".0%",
        rangemode="tozero",
        row=1,
        col=1,
    )
    drawn.update_yaxes(
        title=f"speed of one user<br>[× of that on {base}]", rangemode="tozero", row=2, col=1
    )
    drawn.update_yaxes(
        title=f"chip time of a token<br>[% of that on {base}]", tickformat=".0%", row=3, col=1
    )
    drawn.update_xaxes(type="category")
    drawn.update_xaxes(title=f"chips [{made.topology}]", row=3, col=1)


@guarded
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
    on the fewest chips. A row that is not proved says how far either plan may be from the best.
    `time_limit_s` is of each plan; where it ends a search, copies of a plan for fewer chips stand
    in if they are better, and the row is not called optimal. `space` "any" takes plans too that the
    machine's software cannot be started with.

    InputError: a number of chips that the machine cannot have. A number that does not hold the
    model is a row that says so.
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
    shares = {f"{cause}_share": seconds / each for cause, seconds in here.items()}
    lost = {f"{cause}_lost_share": (here[cause] - there[cause]) / each for cause in here}
    is_proved = crowd.status == one.status == "optimal"
    return ScalingRow(
        chips=count,
        status="optimal" if is_proved else "feasible",
        batch_size=crowd.score.batch_size,
        parallelism=parallelism_of(crowd),
        held_chips=crowd.score.chips,
        tokens_per_s=crowd.score.tokens_per_s,
        most_tokens_per_s=max(crowd.bound, crowd.score.tokens_per_s),
        throughput_gap_share=_gap(crowd),
        efficiency_fraction=least / each,
        tpot_s=one.score.tpot_s,
        least_tpot_s=min(one.bound, one.score.tpot_s),
        latency_gap_share=_gap(one),
        latency_parallelism=parallelism_of(one),
        latency_speed_up_fraction=base_one.score.tpot_s / one.score.tpot_s,
        fewest_chips=fewest,
        **shares,
        **lost,
    )


def _gap(result: Result) -> float | None:
    """By how much the best of all plans may be better, over what was found: more tokens a second,
    or a higher speed; None where nothing was proved."""
    if result.status == "optimal":
        return 0.0
    ratio = result.bound / result.objective if result.objective else 0.0
    if not 0 < ratio < math.inf:
        return None
    return max(0.0, (ratio if result.direction == "maximize" else 1 / ratio) - 1)


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
