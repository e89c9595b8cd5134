"""Random questions for the oracle of both spaces: small machines whose software has each kind of
rules, small models with unlike layers."""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from planner.answers.question import FIELDS, NOT_IN_PHASE
from planner.machines.engine import Engine, Space
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.scoring.score import Score
from planner.workload import Speculation, Workload
from tests.engine_oracle import Case, Priced, is_small, priced
from tests.instances import (
    CONSTANT,
    FOLLOWING,
    detoured,
    fabric,
    tiny_chip,
    tiny_graph,
    tiny_software,
    tiny_topology,
    waiting,
)
from tests.oracle import HIGHER_IS_BETTER

MACHINES = 40
SCENARIOS = 6
"""Models and workloads on each machine."""
QUESTIONS = 2
"""Asked of each of them: 480, less those that a phase or a rate leaves out."""
MOST_PLANS: dict[Space, int] = {"engine": 4000, "any": 600}
"""Of a space that is enumerated for a question."""

LIKE = {"version": "1", "like_stages": True, "decoder_on_each_stage": True}
ENGINES = (
    Engine(**LIKE, micro_batches="stages + 1", experts="all ranks"),
    Engine(**LIKE, micro_batches="stages"),
    Engine(**LIKE, micro_batches="stages", attention="all ranks"),
    Engine(
        **LIKE, micro_batches="sequences", tensor_in_pipelines=False, experts="none", attention="none"
    ),
    Engine(**LIKE, micro_batches="stages + 1", most_stages=2),
    Engine(),
)  # fmt: skip
"""As of vLLM, SGLang, TensorRT-LLM and llama.cpp, one with few stages, and one without rules."""


class Asked(NamedTuple):
    """A question, and the plans that answer it."""

    case: Case
    space: Space
    field: str
    limits: dict[str, float]
    plans: list[Priced]
    name: str


def random_machine(number: int) -> Topology:
    """One of the machines; each kind of rules comes round with each number of chips."""
    dice = random.Random(f"machine {number}")
    engine = ENGINES[number % len(ENGINES)]
    most = 7 if engine.is_known else 4
    chips = dice.choice([count for count in (2, 3, 3, 4, 4, 5, 5, 6, 7, 7) if count <= most])
    return tiny_topology(
        chips,
        *_fabrics(dice, chips),
        software=waiting(_random_software(dice, engine)),
        power=dice.choice((CONSTANT, CONSTANT, FOLLOWING)),
    )


def _random_software(dice: random.Random, engine: Engine) -> Software:
    return tiny_software(
        engine=engine,
        step_overhead_s=dice.choice((0.0, 1e-5)),
        most_sequences=dice.choice((4, 7, 12)),
        most_tensor_parallel=dice.choice((2, 1_000_000, 1_000_000)),
        pads_heads=dice.random() < 0.3,
        prefill_chunk_tokens=dice.choice((16, 64, 4096)),
        request_overhead_s=dice.choice((0.0, 1e-3)),
        sequence_overhead_s=dice.choice((0.0, 1e-5)),
        burst_share=dice.choice((0.0, 0.1)),
        interruption_share=dice.choice((0.9, 0.6)),
        packs_prompts=dice.random() < 0.6,
        handover_rounds=1.5,
        experts_tile_tokens=4.0,
        reserved_output_share=0.25,
    )


def _fabrics(dice: random.Random, chips: int) -> list[Any]:
    """One level, or units of two to four chips under a slower one."""
    quick = {
        "bandwidth_bytes_per_s": dice.choice((1e9, 20e9, 300e9)),
        "latency_s": dice.choice((0.0, 1e-6, 2e-5)),
    }
    inner = dice.choice(("switch", "switch", "full-mesh", "ring", "chain"))
    units = [size for size in (2, 3, 4) if size < chips]
    if not units or dice.random() < 0.35:
        return [detoured(fabric(inner, max(chips, 2), **quick))]
    size = dice.choice(units)
    slow = {
        "bandwidth_bytes_per_s": dice.choice((1e8, 5e8)),
        "latency_s": dice.choice((2e-5, 1e-4)),
    }
    outer = dice.choice(("switch", "switch", "ring", "chain"))
    return [
        detoured(fabric(inner, size, **quick)),
        fabric(outer, max(2, -(-chips // size)), **slow),
    ]


def random_model(dice: random.Random, layers: int) -> ModelGraph:
    """A decoder with 3, 6, 8 or 9 heads, dense or with experts, or both."""
    heads = dice.choice((3, 6, 6, 8, 9))
    changes: dict[str, Any] = {
        "heads": heads,
        "kv_heads": dice.choice([count for count in (1, 2, 3, 6) if heads % count == 0]),
        "hidden": dice.choice((192, 384, 768)),
        "head_dim": 64,
        "tied_embedding": dice.random() < 0.3,
        "vocabulary": dice.choice((500, 8192, 50000)),
        "ffn": dice.choice((1024, 4096)),
    }
    if dice.random() < 0.5:
        experts = dice.choice((4, 6))
        changes |= {"experts": experts, "experts_active": dice.choice((1, 2)), "expert_ffn": 512}
        changes["dense_first"] = dice.choice((0, 1, layers - 1))
    return tiny_graph(layers, **changes)


def random_work(dice: random.Random, *, rated: bool) -> Workload:
    """A fixed batch, an open one, or one that a rate brings about; a pool of its own sometimes."""
    phase = dice.choice(("both", "both", "both", "prefill", "decode"))
    fixed = phase != "prefill" and not rated and dice.random() < 0.45
    together = phase == "both" and not rated and dice.random() < 0.3
    drafting = None
    if phase != "prefill" and dice.random() < 0.25:
        tokens = dice.choice((1, 3, 3, None))
        draft = dice.choice(
            (None, tiny_graph(1, hidden=64, heads=1, kv_heads=1, head_dim=64, ffn=128))
        )
        drafting = Speculation(draft=draft, tokens=tokens, acceptance_rate=dice.choice((0.2, 0.8)))
    return Workload(
        phase=phase,
        batch_size=dice.choice((1, 2, 3, 5, 9)) if fixed else None,
        prompt_tokens=dice.choice((8, 100, 500)),
        output_tokens=dice.choice((2, 20, 100) if phase == "decode" else (1, 2, 20, 100)),
        arrivals="together" if together else "steady",
        transfer_s=dice.choice((0.0, 0.01)) if phase == "decode" else 0.0,
        speculation=drafting,
    )  # fmt: skip


def random_case(dice: random.Random, machine: Topology) -> Case:
    """A model that the machine is about large enough for, and what it serves."""
    known = machine.software.engine.is_known
    layers = dice.choice((3, 4, 5, 6, 8)) if known else 1
    graph = random_model(dice, layers)
    rated = dice.random() < 0.3
    workload = random_work(dice, rated=rated)
    share = graph.weight_bytes / dice.choice((1, 2, machine.chips, machine.chips))
    room = share * dice.choice((1.3, 2.0, 4.0, 10.0)) * (1 + dice.random() / 3)
    topology = machine.replace(chip=tiny_chip(room))
    lost = dice.sample(range(machine.chips), dice.choice((1, 1, 2))) if dice.random() < 0.25 else ()
    case = Case(graph, topology, workload, tuple(sorted(lost)) if machine.chips > 2 else ())
    if not rated:
        return case
    most = max((one.score.tokens_per_s for one in priced(case, "engine")), default=1.0)
    rate = most / workload.output_tokens * dice.choice((0.02, 0.3, 0.6, 0.9))
    return case._replace(
        topology=topology.replace(power=CONSTANT), workload=workload.replace(requests_per_s=rate)
    )


def questions(machine: int, scenario: int) -> Iterator[Asked]:
    """What is asked of one model on one machine, in the engine's space and, where that is small
    enough to be enumerated, in the other."""
    dice = random.Random(f"scenario {machine} {scenario}")
    case = random_case(dice, random_machine(machine))
    fields = [name for name in FIELDS if is_asked(name, case)]
    spaces: tuple[Space, ...] = ("engine", "any")
    for space in spaces:
        if not is_small(case, space, MOST_PLANS[space]):
            continue
        plans = priced(case, space)
        ruled = space == "engine" and case.topology.software.engine.is_known
        asked = [field for field in fields if ruled or is_free(field, case)]
        for number in range(QUESTIONS if asked else 0):
            own = random.Random(f"question {machine} {scenario} {number}")
            field, *others = own.sample(asked, min(len(asked), own.choice((1, 1, 2, 2, 3))))
            limits = {name: limit_of(own, [one.score for one in plans], name) for name in others}
            name = f"{machine} {scenario} {number} {space}"
            yield Asked(case, space, field, positive(limits), plans, name)


def is_asked(name: str, case: Case) -> bool:
    """Whether a field is one of the phase, and not decided by the rate."""
    workload = case.workload
    if name in NOT_IN_PHASE.get(workload.phase, ()):
        return False
    settled = (
        "tokens_per_s",
        "requests_per_s",
        "mfu_fraction",
        "mbu_fraction",
        "energy_per_token_j",
        "power_w",
    )
    return workload.requests_per_s is None or name not in settled


def is_free(name: str, case: Case) -> bool:
    """Whether a field is asked of any plans: without some of the chips not all are, and of a fixed
    batch the search leaves out micro-batches that are as large as fewer ones, which is exact for
    all fields but those that count passes as use."""
    workload = case.workload
    if workload.batch_size is not None and name in ("mfu_fraction", "mbu_fraction"):
        return False
    drafts_any = workload.speculation is not None and workload.speculation.tokens is None
    part = workload.requests_per_s is not None or drafts_any or name == "power_w"
    return not (case.exclude and part)


def limit_of(dice: random.Random, scores: list[Score], name: str) -> float:
    """What a part of the plans keep; of no plans at all anything."""
    values = sorted(float(getattr(score, name)) for score in scores) or [1.0]
    if name in HIGHER_IS_BETTER:
        values.reverse()
    place = dice.choice((0.0, 0.1, 0.3, 0.6))
    slack = dice.choice((1.0, 1.02))
    value = values[int(place * (len(values) - 1))]
    return value / slack if name in HIGHER_IS_BETTER else value * slack


def positive(limits: dict[str, float]) -> dict[str, float]:
    """Without those that nobody can state."""
    return {name: value for name, value in limits.items() if value > 0}
