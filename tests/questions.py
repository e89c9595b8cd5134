"""Random questions of the engine's space, small enough to look at every plan."""

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

from planner.answers.question import question_of
from planner.machines.engine import Engine
from planner.machines.topology import Topology
from planner.models.graph import ENDS, ModelGraph
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace, Found, Span
from planner.workload import Speculation, Workload
from tests.instances import (
    CONSTANT,
    FOLLOWING,
    fabric,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
    waiting,
)

MINIMIZED = (
    "tpot_s",
    "ttft_s",
    "request_s",
    "chips",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "usd_per_hour",
    "power_w",
)
MAXIMIZED = (
    "tokens_per_s",
    "requests_per_s",
    "tokens_per_s_per_chip",
    "tokens_per_s_per_user",
    "mfu_fraction",
    "memory_headroom_bytes",
)


def random_engine(dice: random.Random) -> Engine:
    return tiny_engine(
        decoder_on_each_stage=dice.random() < 0.8,
        micro_batches=dice.choice(("stages", "stages + 1", "sequences")),
        tensor_in_pipelines=dice.random() < 0.8,
        experts=dice.choice(("any", "none", "all ranks")),
        attention=dice.choice(("any", "none", "all ranks")),
        most_stages=dice.choice((2, 10_000)),
    )


def random_model(dice: random.Random) -> ModelGraph:
    """Two to five decoder layers, now and then unlike each other."""
    layers = dice.randint(2, 5)
    changes: dict[str, Any] = {"vocabulary": dice.choice((1000, 8192, 50000))}
    if dice.random() < 0.3:
        return tiny_moe(layers, **changes, dense_first=0)
    if dice.random() < 0.3:
        experts = {"experts": 4, "experts_active": 2, "expert_ffn": 1024, "dense_first": 1}
        return tiny_graph(layers, **changes, **experts)
    return tiny_graph(layers, **changes, tied_embedding=dice.random() < 0.3)


def random_machine(dice: random.Random, graph: ModelGraph, **changes: Any) -> Topology:
    """Three to six chips on one fabric or two, whose memory makes some plans impossible."""
    fabrics = dice.choice(
        (
            (fabric("switch", 6),),
            (fabric("chain", 6),),
            (fabric("switch", 2), fabric("chain", 3, bandwidth_bytes_per_s=1e9, latency_s=2e-5)),
        )
    )
    software = tiny_software(
        engine=random_engine(dice),
        most_sequences=dice.choice((5, 12)),
        sequence_overhead_s=dice.choice((0.0, 1e-5)),
        step_overhead_s=dice.choice((0.0, 1e-5)),
        burst_share=dice.choice((0.0, 0.1)),
        interruption_share=dice.choice((0.9, 0.6)),
        handover_rounds=1.5,
        experts_tile_tokens=4.0,
        packs_prompts=dice.random() < 0.6,
        prefill_chunk_tokens=dice.choice((64, 256)),
    )
    numbers: dict[str, Any] = {
        "chip": tiny_chip(dice.choice((0.5, 0.9, 3.0)) * graph.weight_bytes),
        "software": waiting(software),
        "power": dice.choice((CONSTANT, FOLLOWING)),
    }
    return tiny_topology(dice.randint(3, 6), *fabrics, **{**numbers, **changes})


def random_request(dice: random.Random) -> Workload:
    """A batch that is given, open or the outcome of a rate; together or steady; drafted or not;
    of one phase or both."""
    lengths: dict[str, Any] = {
        "prompt_tokens": dice.choice((8, 100, 500)),
        "output_tokens": dice.choice((2, 20)),
    }
    kind = dice.choice(("given", "open", "together", "rate", "decode", "prefill"))
    if dice.random() < 0.3:
        lengths["speculation"] = Speculation(tokens=2, acceptance_rate=0.6)
    if kind == "given":
        return Workload(batch_size=dice.choice((1, 3, 7)), **lengths)
    if kind == "together":
        return Workload(batch_size=dice.choice((1, 3, 7)), arrivals="together", **lengths)
    if kind == "rate":
        return Workload(requests_per_s=dice.choice((0.5, 20.0, 200.0)), **lengths)
    if kind == "prefill":
        return Workload(phase="prefill", **lengths)
    return Workload(batch_size=None, phase="decode" if kind == "decode" else "both", **lengths)


def random_space(dice: random.Random, **limits: float) -> EngineSpace:
    """Of a question that its machine can answer."""
    graph = random_model(dice)
    topology = random_machine(dice, graph)
    workload = random_request(dice)
    return space_of(graph, topology, workload, random_objective(dice, workload), limits or None)


def random_objective(dice: random.Random, workload: Workload) -> str:
    plain = ("tpot_s", "ttft_s", "tokens_per_s", "usd_per_million_tokens", "energy_per_token_j")
    plain += ("requests_per_s", "tokens_per_s_per_chip", "usd_per_hour")
    if workload.phase == "decode":
        return dice.choice(("tpot_s", "tokens_per_s", "usd_per_million_tokens"))
    if workload.phase == "prefill":
        return dice.choice(("ttft_s", "usd_per_million_tokens", "tokens_per_s"))
    if workload.requests_per_s is not None:
        counted = ("chips", "usd_per_million_tokens", "usd_per_hour", "tokens_per_s_per_chip")
        return dice.choice(("tpot_s", "ttft_s", *counted))
    return dice.choice(plain)


def space_of(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    objective: str,
    limits: dict[str, float] | None = None,
) -> EngineSpace:
    """The engine's plans for one question."""
    most = objective in MAXIMIZED
    question = question_of(
        None if most else objective, objective if most else None, limits, None, space="engine"
    )
    return EngineSpace(Candidates(graph, topology, workload, question))


def cuts_of(space: EngineSpace, stages: int) -> Iterator[tuple[int, ...]]:
    """Every way to cut the layers that the engine takes, the long way round."""
    layers = space.graph.layers
    needs_inner = space.topology.software.engine.decoder_on_each_stage and stages > 1
    for inner in itertools.combinations(range(1, len(layers)), stages - 1):
        borders = (0, *inner, len(layers))
        runs = [layers[tail:head] for tail, head in itertools.pairwise(borders)]
        if not needs_inner or all(any(one.kind not in ENDS for one in run) for run in runs):
            yield borders


def found_in(space: EngineSpace, span: Span, replicas: int) -> Iterator[Found]:
    """Every plan of a span with so many replicas, batch by batch and cut by cut; without their
    values."""
    for number in range(span.first, span.last + 1):
        single = span._replace(first=number, last=number)
        for borders in cuts_of(space, span.form.stages):
            yield Found(single, replicas, 0.0, borders)


def value_of(space: EngineSpace, found: Found) -> float:
    """Canonical value of a plan by `score_plan` alone; infinite where it breaks a rule or a
    limit."""
    candidates = space.candidates
    plan = space.to_plan(found)
    asked = (plan, candidates.graph, candidates.topology, candidates.workload)
    if check_plan(*asked):
        return math.inf
    score = score_plan(*asked)
    if score.queued != space.workload.queued:
        return math.inf
    if space.rate and score.batch_size != found.replicas * sequences_of(space, found.span):
        # The rate brings about another batch, of another span.
        return math.inf
    for name, most in space.limits:
        if candidates.canonical(name, float(getattr(score, name))) > most:
            return math.inf
    return candidates.canonical(space.objective, float(getattr(score, space.objective)))


def sequences_of(space: EngineSpace, span: Span) -> int:
    """Of a replica at the one batch of a span."""
    return int(space.batch_of([span], last=False).sequences[0])
