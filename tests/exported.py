"""Plans that engines can be started with, and results around them, for tests of exports."""

import functools
import random
import shlex
from collections.abc import Iterator
from pathlib import Path

import planner as pl
from planner.answers.results import Disaggregation, Result
from planner.catalogue import load_software
from planner.export.exporting import ENGINES, to_engine
from planner.export.manifests import MANIFESTS
from planner.launches.launch import EngineName
from planner.launches.launching import STACKS
from planner.machines.topology import Fabric
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.planning.disaggregation import disaggregate
from planner.pricing.engines import in_flight
from tests.instances import tiny_software, tiny_topology

MODELS = ("llama-3.1-8b", "llama-3.1-70b", "qwen3-235b-a22b", "deepseek-v3", "qwen3-0.6b")
"""Dense and with experts, all with a name on the hub."""


def result_of(
    graph: ModelGraph, topology: pl.Topology, plan: Plan, workload: pl.Workload
) -> Result:
    """An answer that nobody searched for."""
    score = pl.score_plan(plan, graph, topology, workload)
    return Result(
        status="feasible",
        objective=score.tpot_s,
        bound=score.tpot_s,
        gap=0.0,
        elapsed_s=0.0,
        graph=graph,
        workload=workload,
        field="tpot_s",
        direction="minimize",
        limits=(),
        space="engine",
        plan=plan,
        score=score,
        topology=topology,
    )


def cut_plan(
    graph: ModelGraph,
    topology: pl.Topology,
    cut: tuple[int, ...],
    *,
    tensor: int = 1,
    attention: int = 1,
    expert: int = 1,
    replicas: int = 1,
    sequences: int = 8,
) -> Plan:
    """A plan with so many decoder layers on each stage, chip by chip."""
    names, inner = graph.names, graph.inner_positions
    width = tensor * attention
    stages, taken = [], 0
    for number, layers in enumerate(cut):
        first = 0 if number == 0 else inner[taken]
        taken += layers
        last = len(names) if number == len(cut) - 1 else inner[taken]
        starts = [replica * width * len(cut) + number * width for replica in range(replicas)]
        stages.append(
            Stage(
                layers=names[first:last],
                groups=tuple(ChipRange(first=start, count=width) for start in starts),
                tensor_parallel=tensor,
                expert_parallel=expert,
            )
        )
    kept = in_flight(topology.software.engine, len(cut), -(-sequences // replicas))
    return Plan(stages=tuple(stages), micro_batches=kept or len(cut), space="engine")


def runnable(software: str, count: int, seed: int = 0) -> Iterator[Result]:
    """Random plans that a software can be started with, which fit the memory of their chips."""
    draw = random.Random(seed)
    graphs = [pl.load_model(name) for name in MODELS]
    machine = pl.load_topology("hgx-h200", chips=128, software=software)
    found = 0
    while found < count:
        graph = draw.choice(graphs)
        plan, workload = drawn(draw, graph, machine)
        if plan is None or pl.check_plan(plan, graph, machine, workload):
            continue
        found += 1
        yield result_of(graph, machine, plan, workload)


def drawn(
    draw: random.Random, graph: ModelGraph, machine: pl.Topology, *, every_draft: bool = False
) -> tuple[Plan | None, pl.Workload]:
    """A random plan and a load; None: it has more stages than layers, or more chips than there
    are."""
    rules = machine.software.engine
    layers = len(graph.inner_positions)
    stages = draw.choice([1, 1, 2, 3, 4, 5, 8])
    tensor = draw.choice([1, 2, 4, 8])
    if not rules.tensor_in_pipelines and stages > 1:
        tensor = 1
    attention = expert = 1
    if rules.attention != "none" and graph.splits().get("experts"):
        attention = draw.choice([1, 1, 2, 4, 8])
        ranks = tensor * attention
        expert = ranks if attention > 1 else draw.choice([1, ranks])
        if rules.experts == "any" and attention == 1 and draw.random() < 0.5:
            expert = draw.choice([one for one in (1, 2, 4, 8) if tensor % one == 0])
    replicas = draw.choice([1, 1, 2, 3])
    workload = pl.Workload(
        batch_size=draw.choice([1, 7, 64, 256]),
        prompt_tokens=draw.choice([128, 1000, 4096]),
        output_tokens=draw.choice([64, 300]),
        speculation=_every_draft(draw, graph, machine.software, stages, attention)
        if every_draft
        else _drafted(draw, machine.software, stages, attention),
    )
    if tensor * attention * stages * replicas > machine.chips or stages > layers:
        return None, workload
    ends = sorted(draw.sample(range(1, layers), stages - 1))
    cut = tuple(b - a for a, b in zip([0, *ends], [*ends, layers], strict=True))
    batch = workload.batch_size or 1
    plan = cut_plan(
        graph, machine, cut, tensor=tensor, attention=attention, expert=expert, replicas=replicas,
        sequences=batch,
    )  # fmt: skip
    return plan, workload


def _drafted(
    draw: random.Random, software: pl.Software, stages: int, attention: int
) -> pl.Speculation | None:
    """Tokens that are looked up, now and then; SGLang does that in one stage and rank alone."""
    known = "ngram" in software.engine.drafts
    limited = software.name == "sglang" and (stages > 1 or attention > 1)
    if not known or limited or draw.random() < 0.6:
        return None
    return pl.Speculation(kind="ngram", tokens=3)


def _every_draft(
    draw: random.Random,
    graph: ModelGraph,
    software: pl.Software,
    stages: int,
    attention: int,
) -> pl.Speculation | None:
    """Likewise of every kind that needs no path."""
    kinds = [one for one in ("mtp", "ngram", "draft-model") if one in software.engine.drafts]
    if stages > 1:
        kinds = [
            one for one in kinds if one == "mtp" or (one == "ngram" and software.name != "sglang")
        ]
    if attention > 1 and software.name == "sglang":
        kinds = [one for one in kinds if one == "mtp"]
    if software.name == "llama.cpp":
        kinds = [one for one in kinds if one != "draft-model"]
    if not kinds or draw.random() < 0.5:
        return None
    kind = draw.choice(kinds)
    model = {"mtp": graph.cut(1), "draft-model": _small(graph.kv_dtype)}.get(kind)
    return pl.Speculation.from_fields(
        {"kind": kind, "draft": model, "tokens": draw.choice([1, 3, 5]), "acceptance_rate": None}
    )


@functools.cache
def _small(kv_dtype: str) -> ModelGraph:
    """A draft model, which engines give caches of the same format."""
    return pl.load_model("qwen3-0.6b", kv_dtype=None if kv_dtype == "bf16" else kv_dtype)


def options_of(command: str) -> dict[str, str]:
    """The options of a command line by name, and what is set before it: a reader as small as can
    be, that knows no engine."""
    words = shlex.split(command)
    found = {}
    for number, word in enumerate(words):
        if "=" in word and not word.startswith("-") and not found.get("options"):
            name, _, value = word.partition("=")
            found[name] = value
        if word.startswith("-") and not word.lstrip("-")[:1].isdigit():
            following = words[number + 1] if number + 1 < len(words) else ""
            found[word] = "" if following.startswith("--") else following
    return found


GOLDEN = Path(__file__).resolve().parent / "data" / "exports"
"""What exports must be, to the letter; `python -m tests.exported` writes them anew."""


def golden_machine(software: str, chips: int) -> pl.Topology:
    """Round figures under the rules of a real engine, so that no fit moves a golden file."""
    rules = load_software(software)
    plain = tiny_software(
        name=software,
        engine=rules.engine,
        prefill_chunk_tokens=8192,
        usable_memory_fraction=0.9,
        most_sequences=4096,
    )
    nodes = tuple(
        Fabric(name=name, shape="switch", units=units, bandwidth_bytes_per_s=4e11, latency_s=1e-6)
        for name, units in (("inner", 8), ("outer", 8))
    )
    made = tiny_topology(chips=1, fabrics=nodes, software=plain)
    chip = made.chip.replace(
        name="NVIDIA Test",
        memory=(made.chip.memory[0].replace(capacity_bytes=100e9),),
    )
    return made.replace(chip=chip, chips=chips)


def golden_results(engine: EngineName) -> dict[str, Result]:
    """A plan of each form that the engine has."""
    stack = STACKS[engine][0]
    dense = pl.load_model("llama-3.1-70b")
    workload = pl.Workload(batch_size=64, prompt_tokens=1000, output_tokens=200)
    one, two = golden_machine(stack, 8), golden_machine(stack, 16)
    if engine in ("llama.cpp", "huggingface"):
        tensor = cut_plan(dense, one, (80,), tensor=4, replicas=2, sequences=64)
        stages = cut_plan(dense, one, (21, 20, 20, 19), sequences=64)
        made = {"tensor": result_of(dense, one, tensor, workload)}
        return made | {"stages": result_of(dense, one, stages, workload)}
    tensor = cut_plan(dense, one, (80,), tensor=4, replicas=2, sequences=64)
    stages = cut_plan(dense, two, (41, 39), tensor=8, sequences=64)
    sparse = pl.load_model("qwen3-235b-a22b")
    experts = cut_plan(sparse, two, (94,), attention=16, expert=16, sequences=64)
    drafting = None if engine == "sglang" else pl.Speculation(kind="ngram", tokens=3)
    drafted = workload.replace(speculation=drafting)
    return {
        "tensor": result_of(dense, one, tensor, workload),
        "stages": result_of(dense, two, stages, workload),
        "experts": result_of(sparse, two, experts, drafted),
    }


def golden_pools(engine: EngineName) -> Disaggregation:
    """A pool for prompts and one for later tokens, on one machine."""
    machine = golden_machine(STACKS[engine][0], 8)
    workload = pl.Workload(batch_size=None, requests_per_s=1.0, prompt_tokens=500, output_tokens=50)
    return disaggregate(
        pl.load_model("llama-3.1-8b"),
        workload,
        prefill=machine,
        link=pl.Link(bandwidth_bytes_per_s=5e10),
        minimize="tpot_s",
    )


def golden_manifests() -> dict[str, str]:
    """Of vLLM: all that can be written of a plan of two engines; and of one over two nodes."""
    results = golden_results("vllm")
    texts = {}
    for form, names in (("tensor", MANIFESTS), ("stages", ("leaderworkerset", "dynamo"))):
        for name in names:
            export = to_engine(results[form], "vllm", manifest=name)
            texts[f"manifest-{form}-{name}.yaml"] = export.file(f"{name}.yaml")
    return texts


def golden_texts(engine: EngineName) -> dict[str, str]:
    """The files of all of them, plans left out, by name."""
    texts = {}
    path = "models/model.gguf" if engine == "llama.cpp" else None
    for form, result in golden_results(engine).items():
        export = to_engine(result, engine, model=path)
        for file in export.files:
            if not file.name.endswith(".json"):
                texts[f"{engine}-{form}-{file.name}"] = file.text
    return texts


def main() -> None:
    """Write the golden files anew."""
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for engine in ENGINES:
        for name, text in golden_texts(engine).items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
    for name, text in golden_manifests().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
