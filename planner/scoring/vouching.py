"""How near a plan is to what was measured on its stack, and how much wider its intervals are for
it.

A stack's file says what its measured rows have (`[[covers]]`): chips, kinds and sizes of models,
formats, degrees, loads. What a plan has beyond is a reason to be less sure. Each reason widens the
interval by as much as rows that were left out of the fit for that reason ask for (`[widening]`);
one that no row could be left out for makes a plan as uncertain as a stack on which nothing was
measured.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

from planner.machines.software import Covered, Range, Residual, Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.scoring.score import ALL, Evidence, widths_of
from planner.workload import Workload

Kind = Literal["dense", "experts", "encoder", "diffusion"]
NEAR_SIZE = 2.0
"""A model so many times larger, or smaller, than those of the rows is near them yet."""
NEAR_DEGREE = 2.0
NEAR_LOAD = 4.0
"""The same of sequences in flight and of their length."""

MOST_KEPT = 10_000
"""Answers that are kept of one stack."""


class Setting(NamedTuple):
    """What of a question decides how near it is to what was measured."""

    phase: Literal["both", "prefill", "decode"]
    service: str
    """The sort of rows that it is like."""
    maker: str
    architecture: str
    chip: str
    kind: Kind
    parameters: float
    weight_dtype: str
    tensor_parallel: int
    expert_parallel: int
    stages: int
    """1 where no engine serves requests as they come."""
    across_nodes: bool
    drafts: bool
    offloaded: int
    """Layers off the first memory of their chips."""
    sequences: float
    """In flight in a replica."""
    context_tokens: float

    @property
    def likes(self) -> tuple[str, ...]:
        """The sorts of rows that tell how sure it is, nearest first."""
        return f"{self.service} {self.architecture}", self.service, ALL


class Reason(NamedTuple):
    """Why a prediction is less sure than those of measured rows."""

    key: str
    """Of `Software.widenings`."""
    words: str
    is_far: bool = True


class Vouched(NamedTuple):
    """How sure a plan's figures are, and why no surer."""

    evidence: Evidence
    unvouched: tuple[str, ...]
    residuals: tuple[Residual, ...]


def vouched(
    plan: Plan, graph: ModelGraph, topology: Topology, workload: Workload, batch_size: int
) -> Vouched:
    """How near a plan is to what was measured on its stack."""
    setting = setting_of(plan, graph, topology, workload, batch_size)
    return vouched_setting(setting, topology.software)


def vouched_setting(setting: Setting, software: Software) -> Vouched:
    """The same of a setting; what was found out is kept with the stack."""
    known = software.kept(_answers)
    found = known.get(setting)
    if found is None:
        if len(known) >= MOST_KEPT:
            known.clear()
        found = known[setting] = _vouched(setting, software)
    return found


def _answers(software: Software) -> dict[Setting, Vouched]:
    """What was found out of a stack: plans of one question have few settings."""
    return {}


def _vouched(setting: Setting, software: Software) -> Vouched:
    reasons = tuple(reasons_for(setting, software))
    evidence: Evidence = "measured"
    if reasons:
        is_far = any(reason.is_far for reason in reasons)
        evidence = "extrapolated" if is_far else "near measured"
    keys = tuple(reason.key for reason in reasons)
    widths = software.kept(widths_of)
    return Vouched(
        evidence,
        tuple(reason.words for reason in reasons),
        widths.residuals(setting.likes, keys),
    )


def setting_of(
    plan: Plan, graph: ModelGraph, topology: Topology, workload: Workload, batch_size: int
) -> Setting:
    """What counts of a question."""
    chip = topology.chip
    inside = topology.levels[0].span_chips if topology.levels else 1
    across = any(_crosses(stage, inside) for stage in plan.stages)
    serves = topology.software.engine.micro_batches != "any" and workload.arrivals != "together"
    return Setting(
        phase=workload.phase,
        service=_service(workload, graph, across),
        maker=chip.name.partition(" ")[0],
        architecture=chip.architecture or chip.name,
        chip=chip.name,
        kind=graph.kept(_kind),
        parameters=graph.kept(_parameters),
        weight_dtype=graph.weight_dtype,
        tensor_parallel=max(stage.tensor_parallel for stage in plan.stages),
        expert_parallel=max(stage.expert_parallel for stage in plan.stages),
        stages=len(plan.stages) if serves else 1,
        across_nodes=across,
        drafts=workload.speculation is not None,
        offloaded=sum(len(stage.offloaded) for stage in plan.stages),
        sequences=max(1.0, batch_size / plan.replicas),
        context_tokens=0.0 if graph.is_diffusion else _context(workload),
    )


def _context(workload: Workload) -> float:
    return float(workload.prompt_tokens + workload.output_tokens)


def _crosses(stage: Stage, inside: int) -> bool:
    """Whether one copy of its layers is split over more than one node."""
    split = max(stage.tensor_parallel * stage.sequence_parallel, stage.expert_parallel)
    return split > inside


def _service(workload: Workload, graph: ModelGraph, across: bool) -> str:
    """The sort of service, as rows of one sort are as good as each other."""
    if graph.is_diffusion:
        return "pictures"
    if workload.phase == "decode":
        return "pool" if workload.speculation is None else "pool with drafts"
    if across:
        return "across nodes"
    if workload.arrivals == "together":
        return "together"
    if workload.batch_size is None and not workload.is_stream:
        return "full"
    return "alone" if workload.batch_size == 1 else "served"


def _kind(graph: ModelGraph) -> Kind:
    if graph.is_diffusion:
        return "diffusion"
    if not graph.makes_tokens:
        return "encoder"
    has_experts = any(operator.kind == "experts" for operator in graph.operators)
    return "experts" if has_experts else "dense"


def _parameters(graph: ModelGraph) -> float:
    return graph.parameters


def reasons_for(setting: Setting, software: Software) -> Iterator[Reason]:
    """What no measured row of the stack vouches for; nothing where it is all measured."""
    if setting.offloaded:
        yield Reason(
            "offloaded",
            "no measurement has layers outside the first memory of the chips, but this plan has"
            f" {setting.offloaded}",
        )
    covered = _covered(software, setting.phase)
    if covered is None:
        if not software.residuals:
            yield Reason("stack", f"there is no measurement of {software.name}")
        return
    name = software.name
    if covered.phase != setting.phase:
        yield Reason(
            "phase", f"no measurement of {name} was made on a {setting.phase} pool alone", False
        )
    yield from _chip_reasons(setting, covered, name)
    yield from _model_reasons(setting, covered, name)
    yield from _degree_reasons(setting, covered, name)
    yield from _load_reasons(setting, covered, name)


def _covered(software: Software, phase: str) -> Covered | None:
    """Its rows of a phase, or those of servers that do both."""
    by_phase = {one.phase: one for one in software.covers}
    return by_phase.get(cast(Literal["both"], phase)) or by_phase.get("both")


def _chip_reasons(setting: Setting, covered: Covered, name: str) -> Iterator[Reason]:
    if setting.maker not in covered.makers:
        yield Reason("maker", f"no measurement of {name} was made on a chip of {setting.maker}")
    elif setting.architecture not in covered.architectures:
        yield Reason(
            "architecture",
            f"no measurement of {name} was made on a chip of the {setting.architecture} generation",
        )
    elif setting.chip not in covered.chips:
        yield Reason("chip", f"no measurement of {name} was made on the chip {setting.chip}", False)


def _model_reasons(setting: Setting, covered: Covered, name: str) -> Iterator[Reason]:
    titles = {"dense": "dense decoders", "experts": "mixtures of experts"}
    title = titles.get(setting.kind, f"{setting.kind} models")
    sizes: Range | None = getattr(covered, setting.kind)
    if sizes is None:
        yield Reason("kind", f"no measurement of {name} was made with {title}")
    else:
        billions = f"{setting.parameters / 1e9:.3g} billion"
        measured = f"{_span(sizes, 1e9)} billion parameters"
        yield from _beyond(
            "size",
            f"{title} in the measurements of {name} have {measured}, but this one has {billions}",
            setting.parameters,
            sizes,
            NEAR_SIZE,
        )
    if setting.weight_dtype not in covered.weight_dtypes:
        yield Reason(
            "format", f"no measurement of {name} has weights in {setting.weight_dtype}", False
        )
    if setting.drafts and not covered.drafts:
        yield Reason("drafts", f"no measurement of {name} has drafted tokens")


def _degree_reasons(setting: Setting, covered: Covered, name: str) -> Iterator[Reason]:
    degrees = (
        ("split", setting.tensor_parallel, covered.most_tensor_parallel, "tensor parallelism"),
        ("experts", setting.expert_parallel, covered.most_expert_parallel, "expert parallelism"),
    )
    for key, degree, most, what in degrees:
        beyond = f" over more than {most} chips" if most > 1 else ""
        yield from _beyond(
            key,
            f"no measurement of {name} has {what}{beyond}, but this plan has it over {degree} chips",
            degree,
            (1.0, most),
            NEAR_DEGREE,
        )
    if setting.stages > covered.most_stages:
        yield Reason(
            "stages",
            f"no measurement of {name} that serves requests as they come has more than"
            f" {_stages(covered.most_stages)}, but this plan has {setting.stages}",
        )
    if setting.across_nodes and not covered.across_nodes:
        yield Reason("nodes", f"no measurement of {name} has a stage that spans several nodes")


def _stages(count: int) -> str:
    return "one stage" if count == 1 else f"{count} stages"


def _load_reasons(setting: Setting, covered: Covered, name: str) -> Iterator[Reason]:
    loads = (
        ("batch", setting.sequences, covered.sequences, "sequences in flight"),
        ("context", setting.context_tokens, covered.context_tokens, "tokens of context"),
    )
    for key, count, measured, what in loads:
        counted = what.replace("sequences", "sequence") if measured[1] == 1 else what
        words = f"measurements of {name} have {_span(measured)} {counted}, but this plan has {count:.0f}"
        yield from _beyond(key, words, count, measured, NEAR_LOAD)


def _span(measured: Range, unit: float = 1.0) -> str:
    least, most = (f"{one / unit:.6g}" if unit == 1.0 else f"{one / unit:.3g}" for one in measured)
    return least if least == most else f"{least} to {most}"


def _beyond(key: str, words: str, value: float, measured: Range, near: float) -> Iterator[Reason]:
    """A reason where a value lies outside a range, far where it does by more than a factor."""
    least, most = measured
    # Sizes of one model read from two files differ by a little.
    outside = max(value / most if most else 1.0, least / value if value else 1.0)
    if outside > 1.02:
        is_far = outside > near
        yield Reason(f"far {key}" if is_far else key, words, is_far)
