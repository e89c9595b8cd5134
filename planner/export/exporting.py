"""`to_engine`: from an answer to files that start an engine with it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import cast, get_args

from planner.answers.results import Disaggregation, Result
from planner.errors import InputError, check_word
from planner.export import huggingface, llama_cpp, sglang, tensorrt_llm, vllm
from planner.export.exports import Export, File
from planner.export.hosts import node_count, nodes_of
from planner.export.manifests import Told, check_manifest, manifest_of
from planner.export.orders import Order, Writer, assumed
from planner.export.routers import PORT as ROUTER_PORT
from planner.export.routers import Router, router_of
from planner.export.scripts import Start, Words, node_address, one_line, quoted, script
from planner.export.versions import Chosen, release_of
from planner.launches.launch import EngineName, Role
from planner.launches.launching import Job, job_of, jobs_of, launch_of, node_chips

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
RUNNER = "torch-gloo"
"""No engine, and nothing to export to: its plans are its commands."""
WRITERS: dict[EngineName, ModuleType] = {
    "vllm": vllm,
    "sglang": sglang,
    "tensorrt-llm": tensorrt_llm,
    "llama.cpp": llama_cpp,
    "huggingface": huggingface,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user says of an export beside the answer."""

    engine: EngineName
    chosen: Chosen
    model: str | None
    draft: str | None
    chips_per_node: int | None
    manifest: str | None = None

    @property
    def writer(self) -> Writer:
        return cast(Writer, WRITERS[self.engine])


def to_engine(
    result: Result | Disaggregation,
    engine: str,
    *,
    version: str | None = None,
    model: str | None = None,
    draft: str | None = None,
    chips_per_node: int | None = None,
    manifest: str | None = None,
) -> Export:
    """Files and commands that start an engine with a plan, as it was priced.

    `engine` is "vllm", "sglang", "tensorrt-llm", "llama.cpp" or "huggingface"; `version` None: the
    newest whose options are known. `model` and `draft` are names on a hub, or paths; None: what the
    catalogue's figures were read from. A plan that the engine cannot be started with is an
    InputError, which says what the engine lacks and what the best plan reaches that it can.
    `manifest` adds a file for Kubernetes or Ray: "leaderworkerset", "dynamo", "llm-d", "kserve" or
    "ray-serve".
    """
    wanted = wanted_of(engine, version, model, draft, chips_per_node, manifest)
    named = wanted.engine
    if isinstance(result, Disaggregation):
        jobs, notes = jobs_of(result, named)
    elif isinstance(result, Result):
        job, notes = job_of(result, named)
        jobs = {"both": job}
        notes += _of_one_phase(result)
    else:
        raise InputError(
            f"result must be a Result of partition or a Disaggregation, not a"
            f" {type(result).__name__}: engines are started on one machine, or on two pools"
        )
    orders = _orders(jobs, wanted)
    return _export(orders, wanted, notes)


def _of_one_phase(result: Result) -> tuple[str, ...]:
    phase = result.workload.phase
    if phase == "both":
        return ()
    return (
        f"The plan is of a pool for {phase} alone, and the engine is started for all passes; export"
        " an answer of disaggregate to start pools.",
    )


def wanted_of(
    engine: str,
    version: str | None = None,
    model: str | None = None,
    draft: str | None = None,
    chips_per_node: int | None = None,
    manifest: str | None = None,
) -> Wanted:
    """What is said of an export, checked as far as that goes without an answer."""
    if engine == RUNNER:
        raise InputError(
            f"engine: {RUNNER} is the runner of `planner run`, which takes a plan as it is; write"
            " the plan with --out plan.json, and run it with planner run --plan"
        )
    check_word(engine, ENGINES, "engine")
    if chips_per_node is not None and chips_per_node < 1:
        raise InputError(f"chips_per_node must be at least 1, not {chips_per_node}")
    check_manifest(manifest, engine)
    named = cast(EngineName, engine)
    return Wanted(named, release_of(named, version), model, draft, chips_per_node, manifest)


def _orders(jobs: dict[Role, Job], wanted: Wanted) -> list[Order]:
    """One a pool; a pool of the same machine stands on the chips after those of the first, of
    another on the nodes after them."""
    orders: list[Order] = []
    first = 0
    for role, job in jobs.items():
        width = wanted.chips_per_node or node_chips(job.topology)
        if orders and orders[0].job.topology.name != job.topology.name:
            nodes = node_count(orders[0].launch)
            first = nodes * width
        orders.append(_order(role, job, wanted, first))
        first += job.topology.chips
    together = len({node for order in orders for node in nodes_of(order.launch)})
    return [replace(order, nodes=together) for order in orders]


def _order(role: Role, job: Job, wanted: Wanted, first_chip: int) -> Order:
    launch = launch_of(
        job,
        wanted.engine,
        model=wanted.model,
        draft=wanted.draft,
        version=wanted.chosen.release.version,
        role=role,
        chips_per_node=wanted.chips_per_node,
        first_chip=first_chip,
    )
    order = Order(job, launch, wanted.chosen.release)
    weights = launch.weight_format
    if wanted.model is not None or weights in (None, "bf16", "fp16", "fp32"):
        return order
    if weights not in WRITERS[wanted.engine].QUANTISES:
        raise InputError(
            f"model: {wanted.engine} cannot convert {launch.model} to {weights} weights when it"
            " starts; give model= (--model-path) the name of a checkpoint that has them"
        )
    return replace(order, quantises=True)


def _export(orders: list[Order], wanted: Wanted, notes: Iterable[str]) -> Export:
    release = wanted.chosen.release
    files: list[File] = []
    commands: list[str] = []
    for order in orders:
        starts = wanted.writer.starts(order)
        commands += [" ".join(_settled(one)) for one in starts]
        files += _files(order, wanted, starts)
    router = router_of(wanted.engine, _urls(orders, wanted))
    if router is not None:
        files.append(File(name="router.sh", text=_router_script(router)))
        files += [File(name=name, text=text) for name, text in router.files.items()]
    more: list[str] = []
    if wanted.manifest is not None:
        name, text, more = manifest_of(wanted.manifest, [_told(one, wanted) for one in orders])
        files.append(File(name=name, text=text))
    measured = wanted.writer.benchmark(orders[-1], _url(orders, wanted, router))
    files.append(File(name="benchmark.sh", text=script(MEASURING, [_alone(measured)])))
    return Export(
        engine=wanted.engine,
        version=release.version,
        launches=tuple(order.launch for order in orders),
        commands=tuple(commands),
        environment=_shared(wanted.writer.starts(orders[0])),
        router=None if router is None else one_line(router.command),
        benchmark=one_line(measured),
        files=tuple(files),
        notes=(*notes, *wanted.chosen.notes, *_notes(orders, wanted, router), *more),
        validated=release.validated,
        plans=tuple(order.job.plan for order in orders),
    )


MEASURING = ("Sends the engines the load that the plan was made for.",)
ROUTING = ("Shares requests out over the engines.",)


def _told(order: Order, wanted: Wanted) -> Told:
    files = {f"{order.prefix}{name}": text for name, text in wanted.writer.files(order).items()}
    return order, wanted.writer.starts(order), files


def _alone(command: Words) -> Start:
    return Start(0, 0, 0, (), command)


def _router_script(router: Router) -> str:
    return script(ROUTING, [_alone(router.command)])


def _settled(start: Start) -> list[str]:
    settings = [f"{name}={quoted(value)}" for name, value in start.environment]
    return [*settings, one_line(start.command)]


def _shared(starts: list[Start]) -> tuple[tuple[str, str], ...]:
    first, *others = [start.environment for start in starts]
    return tuple(pair for pair in first if all(pair in other for other in others))


def _files(order: Order, wanted: Wanted, starts: list[Start]) -> list[File]:
    heading = _heading(order, wanted)
    prefix = order.prefix
    nodes = sorted({start.node for start in starts})
    files = []
    for node in nodes:
        here = [start for start in starts if start.node == node]
        name = f"{prefix}start.sh" if order.nodes == 1 else f"{prefix}start-node-{node}.sh"
        placed = [*heading, *_placed(order, node)]
        files.append(File(name=name, text=script(placed, here)))
    files += [
        File(name=f"{prefix}{name}", text=text) for name, text in wanted.writer.files(order).items()
    ]
    files.append(File(name=f"{prefix}plan.json", text=order.job.plan.to_json() + "\n"))
    return files


def _placed(order: Order, node: int) -> list[str]:
    """Where a script is run, in words that `launches.starts` reads again; one node needs none."""
    width = order.launch.chips_per_node
    if width is None or (order.nodes == 1 and node == 0):
        return []
    return [f"Node {node}: chips {node * width} to {(node + 1) * width - 1} of the machine."]


def _heading(order: Order, wanted: Wanted) -> list[str]:
    """The comments at the head of a script."""
    job, release = order.job, wanted.chosen.release
    named = f"{wanted.engine} {release.version}"
    validated = "" if release.validated else "; not validated by the engine"
    pool = "" if order.launch.role == "both" else f", pool for {order.launch.role}"
    return [
        f"{job.graph.name} on {job.plan.chips} × {job.topology.chip.name}{pool}, for {named}.",
        f"Options: {release.source}{validated}.",
        *assumed(order),
        *(f"The engine decides {one}." for one in wanted.writer.decided(order)),
    ]


def _notes(orders: list[Order], wanted: Wanted, router: Router | None) -> list[str]:
    notes = []
    if not wanted.chosen.release.validated:
        notes.append(f"No parser of {wanted.engine} has checked these options here.")
    engines = sum(order.launch.replicas for order in orders)
    if engines > 1 and router is None:
        notes.append(
            f"{engines} engines stand side by side, and no router of {wanted.engine} is known: one"
            " must share requests out, and benchmark.sh asks the first engine alone."
        )
    for order in orders:
        notes += _notes_of(order, wanted.model is not None)
    return list(dict.fromkeys(notes))


def _notes_of(order: Order, own_model: bool) -> list[str]:
    launch = order.launch
    notes = []
    if not own_model:
        notes.append(
            f"{launch.model} is the checkpoint that the catalogue's figures of"
            f" {order.job.graph.name} were read from; model= (--model-path) names another."
        )
    if order.nodes > 1:
        notes.append(
            f"Nodes were taken to have {launch.chips_per_node} chips; chips_per_node="
            " (--chips-per-node) says otherwise."
        )
    if launch.weight_format is not None and not order.quantises:
        notes.append(f"{launch.model} must hold {launch.weight_format} weights.")
    return notes


def _urls(orders: list[Order], wanted: Wanted) -> dict[Role, list[str]]:
    """Where every engine answers."""
    return {
        order.launch.role: [
            f"http://{node_address(start.node, order.nodes)}:{start.port}"
            for start in wanted.writer.starts(order)
            if start.port is not None
        ]
        for order in orders
    }


def _url(orders: list[Order], wanted: Wanted, router: Router | None) -> str:
    """Of the router, which runs on the first node, or of the only engine."""
    first = nodes_of(orders[0].launch)[0]
    if router is not None:
        return f"http://{node_address(first, orders[0].nodes)}:{ROUTER_PORT}"
    urls = [url for each in _urls(orders, wanted).values() for url in each]
    return urls[0] if urls else ""
