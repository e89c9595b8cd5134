"""`Order`: what a writer of one engine's files is given, and what all writers say alike."""

import math
from dataclasses import dataclass
from typing import Protocol

from planner.errors import InputError
from planner.export.hosts import devices_of
from planner.export.scripts import Start, Words
from planner.export.versions import Release
from planner.launches.launch import Launch
from planner.launches.launching import PROCESSORS, Job
from planner.pricing.engines import in_flight
from planner.scoring.score import StageScore
from planner.units import spoken

SEQUENCES_ASKED = 8
"""Times that a benchmark replaces each sequence in flight."""
ASKED_S = 60.0
"""That a benchmark sends requests at a rate."""
FEWEST_ASKED = 200
PORTS_APART = 1000
"""Between pools."""


@dataclass(frozen=True, slots=True)
class Order:
    """One engine, or several alike, to be started on one pool of chips."""

    job: Job
    launch: Launch
    release: Release
    quantises: bool = False
    """Whether the engine makes the weights' format from a checkpoint in another."""
    nodes: int = 1
    """Of all pools."""

    @property
    def prefix(self) -> str:
        """Of the names of its files, where another pool has files of the same names."""
        return "" if self.launch.role == "both" else f"{self.launch.role}-"

    @property
    def first_port(self) -> int:
        """How far its ports lie above those of a pool for prompts, which may share its node."""
        return PORTS_APART if self.launch.role == "decode" else 0

    @property
    def sequences_per_rank(self) -> int:
        """In flight on one attention rank."""
        return math.ceil((self.launch.most_sequences or 1) / self.launch.attention_parallel)


class Writer(Protocol):
    """What each module of an engine has."""

    def starts(self, order: Order) -> list[Start]:
        """Every process, node by node."""

    def files(self, order: Order) -> dict[str, str]:
        """What they read, by name."""

    def decided(self, order: Order) -> list[str]:
        """What the engine decides by itself, in sentences."""

    def benchmark(self, order: Order, url: str) -> Words:
        """The command that sends the workload to a server, or runs it without one."""


def assumed(order: Order) -> list[str]:
    """What the price took the engine to be told, and to hold, in sentences."""
    job, launch = order.job, order.launch
    plural = "s" if launch.replicas > 1 else ""
    fullest = max(job.score.stages, key=lambda stage: stage.needed_bytes / stage.usable_bytes)
    sentences = [
        f"{launch.replicas} engine{plural}: tensor {launch.tensor_parallel}, pipeline"
        f" {launch.pipeline_parallel}, experts {launch.expert_parallel}, attention data"
        f" {launch.attention_parallel}; at most {launch.most_sequences} sequences in each, of"
        f" {job.workload.prompt_tokens} + {job.workload.output_tokens} tokens.",
        f"The fullest chip was priced with weights of {spoken(fullest.weight_bytes, 'B')}, caches of"
        f" {spoken(fullest.kv_bytes, 'B')} and buffers of {spoken(_buffers(fullest), 'B')}, of"
        f" {spoken(fullest.usable_bytes, 'B')} that may be filled.",
    ]
    if launch.layers is not None and len(launch.layers) > 1:
        cut = ", ".join(map(str, launch.layers))
        sentences.append(f"Decoder layers of the stages: {cut}.")
    return sentences


def _buffers(stage: StageScore) -> float:
    return stage.activation_bytes + stage.workspace_bytes


def flying(order: Order) -> str:
    """How many micro-batches the price counts on."""
    plan = order.job.plan
    kept = in_flight(order.job.software.engine, len(plan.stages), order.launch.most_sequences or 1)
    return str(kept or plan.micro_batches)


ANY_ATTENTION_RANK = "which attention rank a request goes to"


def shared_micro_batches(order: Order) -> str:
    """What engines decide that keep as many micro-batches in flight as stages."""
    return (
        "which sequences share a micro-batch (as many are in flight as stages:"
        f" {flying(order)} were priced)"
    )


VISIBLE = {"Intel Arc": "ZE_AFFINITY_MASK", "Intel Gaudi": "HABANA_VISIBLE_MODULES"}
"""Variables that name the chips which a process sees, by how chips' names begin; AMD's read CUDA's."""


def visible(order: Order, chips: tuple[int, ...]) -> tuple[str, str]:
    """The chips that a process sees; ranks take them in this order."""
    name = order.job.topology.chip.name
    found = (variable for begin, variable in VISIBLE.items() if name.startswith(begin))
    return next(found, "CUDA_VISIBLE_DEVICES"), ",".join(map(str, chips))


def on_processors(order: Order) -> bool:
    """Whether the chips are the host itself."""
    return order.job.topology.chip.name.startswith(PROCESSORS)


def cut_of(launch: Launch) -> str:
    """'10,12,10': decoder layers by stage."""
    return ",".join(map(str, launch.layers or ()))


def numbered(order: Order) -> list[tuple[int, tuple[int, ...]]]:
    """Each engine's number and chips."""
    return list(enumerate(devices_of(order.launch)))


def asked_of_server(order: Order) -> tuple[int, int | None, float | None]:
    """Requests that a benchmark sends, how many at once, and how many a second."""
    workload = order.job.workload
    rate = workload.requests_per_s or order.job.plan.requests_per_s
    if rate is not None:
        return max(FEWEST_ASKED, math.ceil(rate * ASKED_S)), None, rate
    at_once = workload.offered or order.job.score.batch_size
    times = 1 if workload.arrivals == "together" else SEQUENCES_ASKED
    return at_once * times, at_once, None


def pace_flags(order: Order) -> list[tuple[str, ...]]:
    """Of a benchmark: how many requests at once, or how many a second; all the tools spell it
    alike."""
    _, at_once, rate = asked_of_server(order)
    flags: list[tuple[str, ...]] = []
    if at_once is not None:
        flags.append(("--max-concurrency", str(at_once)))
    if rate is not None:
        flags.append(("--request-rate", f"{rate:.6g}"))
    return flags


def decided_by_servers(
    order: Order, *, cache: str, micro_batches: str, attention: str | None = None
) -> list[str]:
    """What servers decide by themselves, in the engine's own terms where they differ: `cache` says
    how they size their cache, `micro_batches` how they fill a pipeline, `attention` what they do
    with attention ranks."""
    launch = order.launch
    room = min(stage.kv_room_bytes for stage in order.job.score.stages)
    sentences = [
        f"{cache}; {spoken(room, 'B')} were priced on the fullest chip",
        "its kernels for attention, matmuls and collectives, and which of them CUDA graphs hold",
    ]
    if launch.pipeline_parallel > 1:
        sentences.append(micro_batches)
    if launch.attention_parallel > 1 and attention is not None:
        sentences.append(attention)
    if launch.expert_parallel > 1:
        sentences.append("which rank holds which expert, and by which kernels tokens go there")
    return sentences


def lengths_of(order: Order) -> tuple[int, int, int]:
    """Tokens of a shared beginning, of the rest of a prompt, and of an output."""
    workload = order.job.workload
    shared = round(workload.prompt_tokens * workload.cached_prompt_share)
    return shared, workload.prompt_tokens - shared, workload.output_tokens


def check_drafts_in_pipeline(order: Order, variable: str) -> None:
    """A draft model of several layers is cut by the same variable as the model, whose numbers are
    not its own."""
    drafting = order.launch.drafting
    if drafting and drafting.kind == "draft-model" and order.launch.pipeline_parallel > 1:
        raise InputError(
            f"plan: {order.launch.engine} cuts a draft model by the same {variable} as the model,"
            " which it does not fit; ask for one stage, or draft by mtp, eagle3 or ngram"
        )
