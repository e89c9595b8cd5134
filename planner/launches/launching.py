"""From a plan to a launch: what an engine must be told so that it runs the plan as it was priced.

A plan that the engine cannot be started with is refused, with what the engine lacks and what the
best plan reaches that it can be started with.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.answers.results import Disaggregation, Result
from planner.catalogue import load_model, load_software, model_names
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, listed, shortened
from planner.launches.launch import Drafting, EngineName, Launch, Role
from planner.launches.models import names_on_hub
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ENDS, ModelGraph
from planner.models.operators import Experts
from planner.plan import ChipRange, Plan, Stage
from planner.planning.partitioning import partition
from planner.pricing.engines import in_flight
from planner.report.words import field_text
from planner.scoring.checking import check_plan
from planner.scoring.disaggregated import handover
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.workload import Workload

STACKS: dict[EngineName, tuple[str, ...]] = {
    "vllm": ("vllm", "vllm-eager"),
    "sglang": ("sglang",),
    "tensorrt-llm": ("tensorrt-llm",),
    "llama.cpp": ("llama.cpp",),
    "huggingface": ("pytorch", "accelerate"),
}
"""Software stacks of the catalogue whose plans an engine runs; the first stands for it."""
PROCESSORS = ("Intel Xeon", "Google Cloud", "Raspberry Pi")
"""Chips that are the host itself, as their names begin."""
MAKERS: dict[EngineName, tuple[str, ...]] = {
    "vllm": ("NVIDIA", "AMD", "Intel Arc", "Intel Gaudi"),
    "sglang": ("NVIDIA", "AMD", "Intel Arc", "Intel Gaudi"),
    "tensorrt-llm": ("NVIDIA",),
    "llama.cpp": ("NVIDIA", "AMD", "Intel Arc", "Apple", *PROCESSORS),
    "huggingface": ("NVIDIA", "AMD", "Intel Arc"),
}
"""Whose chips an engine runs on, as their names begin. vLLM and SGLang run on processors and TPUs too,
but are told so in other words, which are not written."""
BEYOND_TOKENS = 32
"""That a sequence may be longer than the workload says: marks and templates around a prompt."""
PATIENCE_S = 20.0
"""For the search of a plan to name in a refusal."""
TRAYS = {72: 4}
"""Chips of one host where so many share the innermost fabric: racks of GB200, GB300, Vera Rubin
and MI450 are made of trays of four."""
Nearest = Callable[[Topology, EngineName], str]
"""Says, for a refusal, what an engine can be started with in place of a plan."""
STORED_IN = re.compile(r"-(bf16|fp16|fp8|nvfp4|mxfp4|int4|int8)\Z", re.IGNORECASE)
"""As names of checkpoints end that say their format."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one engine, or several alike, is there for, and how that was priced."""

    graph: ModelGraph
    topology: Topology
    workload: Workload
    plan: Plan
    score: Score

    @property
    def software(self) -> Software:
        return self.topology.software


def job_of(result: Result, engine: EngineName) -> tuple[Job, tuple[str, ...]]:
    """The job of an answer, priced as the engine runs it, and what had to be changed for that."""
    asked = Job(result.graph, result.topology, result.workload, result.plan, result.score)
    return _startable(asked, engine, functools.partial(_nearest, result))


def jobs_of(result: Disaggregation, engine: EngineName) -> tuple[dict[Role, Job], tuple[str, ...]]:
    """The same of both pools."""
    _check_pools(engine)
    over = handover(result.graph, result.workload, result.link)
    pools: tuple[tuple[Role, Topology, Workload, Plan, Score], ...] = (
        (
            "prefill",
            result.prefill_topology,
            over.prefill,
            result.prefill_plan,
            result.score.prefill,
        ),
        ("decode", result.decode_topology, over.decode, result.decode_plan, result.score.decode),
    )
    jobs: dict[Role, Job] = {}
    notes: tuple[str, ...] = ()
    for role, topology, workload, plan, score in pools:
        asked = Job(result.graph, topology, workload, plan, score)
        jobs[role], told = _startable(asked, engine, lambda *_: "ask again with space='engine'")
        notes += told
    return jobs, notes


def _check_pools(engine: EngineName) -> None:
    if not load_software(STACKS[engine][0]).engine.pools:
        raise InputError(
            f"engine: {engine} is not known to hand caches from a prefill pool to a decode pool;"
            " export the pools to vllm, sglang or tensorrt-llm"
        )


def _startable(asked: Job, engine: EngineName, nearest: Nearest) -> tuple[Job, tuple[str, ...]]:
    """The job as the engine runs it; InputError: it does not."""
    check_machine(asked.graph, asked.topology, engine)
    job, notes = _moved(asked, engine)
    if any(stage.sequence_parallel > 1 for stage in job.plan.stages):
        raise InputError(
            f"plan: {engine} is not known to run sequence_parallel above 1 as it is priced; plan"
            " without sequence_parallel (--sequence-parallel)"
        )
    faults = [
        broken.message for broken in check_plan(job.plan, job.graph, job.topology, job.workload)
    ]
    if faults:
        raise InputError(
            f"{engine} cannot be started with this plan: {listed(faults[:2])};"
            f" {nearest(job.topology, engine)}"
        )
    return job, notes


def check_machine(graph: ModelGraph, topology: Topology, engine: EngineName) -> None:
    """Refuse a model that an engine does not serve, and chips that it does not run on."""
    chip = topology.chip.name
    if graph.is_diffusion or not graph.makes_tokens:
        raise InputError(
            f"{graph.name} is not a language model, and {engine} runs only language models"
        )
    if not chip.startswith(MAKERS[engine]):
        raise InputError(
            f"engine: {engine} does not run on {chip}, only on chips of {listed(MAKERS[engine])}"
        )


def _moved(asked: Job, engine: EngineName) -> tuple[Job, tuple[str, ...]]:
    """The plan under the engine's own software, with as many micro-batches as it keeps in flight:
    what it was made for may be another."""
    if asked.software.name in STACKS[engine]:
        return asked, ()
    software = load_software(STACKS[engine][0])
    topology = asked.topology.replace(software=software)
    sequences = math.ceil(asked.score.batch_size / asked.plan.replicas)
    kept = in_flight(software.engine, len(asked.plan.stages), sequences)
    plan = asked.plan.replace(micro_batches=kept or asked.plan.micro_batches)
    moved = replace(asked, topology=topology, plan=plan)
    if check_plan(plan, moved.graph, topology, moved.workload):
        return moved, ()
    score = score_plan(plan, moved.graph, topology, moved.workload)
    field = "ttft_s" if asked.workload.phase == "prefill" else "tpot_s"
    before = field_text(field, getattr(asked.score, field))
    note = (
        f"The plan was made for {asked.software.name}; for {software.name} it was checked and"
        f" priced again, but not searched again: {field} is"
        f" {field_text(field, getattr(score, field))}, not {before}."
    )
    return replace(moved, score=score), (note,)


def _nearest(result: Result, topology: Topology, engine: EngineName) -> str:
    """What the best plan reaches that the engine can be started with."""
    ask = f"ask for it with space='engine' and software={topology.software.name!r}"
    this = field_text(result.field, result.objective)
    reached = result.engine_objective
    if reached is None or topology.software != result.topology.software:
        reached = _searched(result, topology)
    if reached is None:
        return f"no plan was found that it can run (this one has {this}); {ask}"
    best = field_text(result.field, reached)
    return f"the best plan that it can run has {result.field} = {best}, not {this}; {ask}"


def _searched(result: Result, topology: Topology) -> float | None:
    """The objective of the best plan that the software can be started with; None: none was
    found."""
    goal: dict[str, Any] = {result.direction: result.field}
    try:
        found = partition(
            result.graph,
            topology,
            result.workload,
            **goal,
            limits=dict(result.limits),
            sure=result.sure,
            exclude=result.exclude,
            time_limit_s=PATIENCE_S,
            explain=False,
        )
    except (InfeasibleError, NoPlanFoundError):
        return None
    return found.objective


def launch_of(
    job: Job,
    engine: EngineName,
    *,
    model: str | None = None,
    draft: str | None = None,
    version: str = "",
    role: Role = "both",
    chips_per_node: int | None = None,
    first_chip: int = 0,
) -> Launch:
    """What the engine is told so that it runs the plan of a job, which it can be started with.

    `model` is a name on a hub, or a path; None: as the catalogue knows it. `draft` likewise of the
    model that drafts. `chips_per_node` None: those that the innermost fabric joins. `first_chip`
    is the number of the pool's first chip, where others stand before it.
    """
    plan, software = job.plan, job.software
    first = plan.stages[0]
    share = math.ceil(job.score.batch_size / plan.replicas)
    # Engines count sequences by attention rank, and each rank takes as many.
    on_rank = math.ceil(share / first.attention_parallel)
    return Launch(
        engine=engine,
        version=version,
        model=model or hub_name(job.graph, engine),
        role=role,
        tensor_parallel=first.tensor_parallel,
        pipeline_parallel=len(plan.stages),
        expert_parallel=first.expert_parallel,
        redundant_experts=_held_twice(job.graph, first.expert_parallel),
        attention_parallel=first.attention_parallel,
        replicas=plan.replicas,
        layers=decoder_layers(plan, job.graph),
        devices=tuple(_chips_of(plan, number, first_chip) for number in range(plan.replicas)),
        chips_per_node=chips_per_node or node_chips(job.topology),
        weight_format=_weights(job.graph),
        cache_format=_cache(job.graph),
        most_sequences=max(1, on_rank) * first.attention_parallel,
        context_tokens=_context(job),
        chunk_tokens=max(1, int(software.prefill_chunk_tokens)),
        memory_share=software.usable_memory_fraction,
        prefix_caching=True if job.workload.cached_prompt_share else None,
        offloaded_layers=_offloaded(plan, job.graph) or None,
        drafting=_drafting(job.workload, engine, draft),
    )


def decoder_layers(plan: Plan, graph: ModelGraph) -> tuple[int, ...]:
    """Of each stage; the embedding goes with the first, the head with the last."""
    return tuple(_decoders(stage.layers, graph) for stage in plan.stages)


def _decoders(layers: Sequence[str], graph: ModelGraph) -> int:
    position = graph.position_of_layer
    return sum(graph.layers[position[name]].kind not in ENDS for name in layers)


def _offloaded(plan: Plan, graph: ModelGraph) -> int:
    return sum(_decoders(stage.offloaded, graph) for stage in plan.stages)


def _chips_of(plan: Plan, replica: int, first: int) -> tuple[int, ...]:
    """In the order of ranks: a stage's chips are consecutive."""
    return tuple(first + chip for stage in plan.stages for chip in _numbers(stage, replica))


def _numbers(stage: Stage, replica: int) -> range:
    group: ChipRange = stage.groups[replica]
    return range(group.first, group.first + group.count)


def _held_twice(graph: ModelGraph, ranks: int) -> int:
    """Experts of a layer that stand in the places which the ranks have too many of."""
    counts = [one.experts for one in graph.operators if isinstance(one, Experts)]
    if not counts:
        return 0
    return max(-one % ranks for one in counts)


def node_chips(topology: Topology) -> int:
    """Chips of one host, as far as the machine says."""
    if not topology.fabrics:
        return topology.chips
    joined = topology.fabrics[0].units
    return TRAYS.get(joined, joined)


def _context(job: Job) -> int:
    needed = job.workload.context_tokens
    software = job.software
    if software.allots_whole_caches:
        # What it rounds up to anyway; any more would be another block in each slot.
        return math.ceil(needed / software.kv_block_tokens) * software.kv_block_tokens
    wanted = needed + BEYOND_TOKENS
    most = job.graph.most_context_tokens or wanted
    return max(needed, min(wanted, most))


@functools.cache
def _published(name: str) -> ModelGraph | None:
    """The catalogue's own model of that name."""
    return load_model(name) if name in model_names() else None


def _weights(graph: ModelGraph) -> str | None:
    published = _published(graph.name)
    if published is not None and published.weight_dtype == graph.weight_dtype:
        return None
    return graph.weight_dtype


def _cache(graph: ModelGraph) -> str | None:
    return None if graph.kv_dtype in ("bf16", "fp16") else graph.kv_dtype


def hub_name(graph: ModelGraph, engine: EngineName) -> str:
    """The name on the hub that the model's figures come from; InputError: nobody said it."""
    found = next(names_on_hub(graph.source), None)
    if found is None or engine == "llama.cpp" or _is_in_another_format(found, graph):
        what = "a file.gguf" if engine == "llama.cpp" else "a name on a hub, or a folder"
        raise InputError(
            f"model: {engine} needs to know where to read {shortened(graph.name)} from; give"
            f" model= (--model-path) {what}"
        )
    return found


def _is_in_another_format(name: str, graph: ModelGraph) -> bool:
    """Whether a checkpoint says by its name that it holds other weights than the catalogue's model:
    figures of a shape may come from any of them."""
    said = STORED_IN.search(name)
    published = _published(graph.name) or graph
    return said is not None and said[1].lower() != published.weight_dtype


def _drafting(workload: Workload, engine: EngineName, draft: str | None) -> Drafting | None:
    asked = workload.speculation
    if asked is None or not workload.drafted_tokens:
        return None
    kind = asked.kind or ("ngram" if asked.draft is None else "draft-model")
    known = load_software(STACKS[engine][0]).engine.drafts
    if kind not in known:
        words = listed(known, "or") if known else "in no way that is known"
        raise InputError(f"draft_kind: {engine} drafts by {words}, not by {kind}")
    model = draft or ""
    if kind in ("eagle", "eagle3", "draft-model") and not model:
        model = _draft_name(asked.draft, kind, engine)
    return Drafting(kind=kind, tokens=workload.drafted_tokens, model=model)


def _draft_name(graph: ModelGraph | None, kind: str, engine: EngineName) -> str:
    """The draft model's own name on the hub; a head that is one layer of the model has none."""
    found = (
        None if graph is None or kind != "draft-model" else next(names_on_hub(graph.source), None)
    )
    if found is None or engine == "llama.cpp":
        raise InputError(
            f"draft: {engine} needs to know where to read the {kind} model from; give draft="
            " (--draft-path)"
        )
    return found
