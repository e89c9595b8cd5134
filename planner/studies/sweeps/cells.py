"""Cells of a sweep: one question each, its key by content, and its row."""

import hashlib
import json
import math
import pickle
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import planner
from planner.answers.question import FIELDS, SAMPLE_FIELDS, Limits, limits_of
from planner.answers.results import Result
from planner.catalogue import load_model, load_topology
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    PlannerError,
    TimeUpError,
    UnknownNameError,
    shortened,
    told,
)
from planner.machines.accounts import PowerBasis, counted
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.records import Record
from planner.scoring.score import Score
from planner.workload import Workload

CHUNK_S = 0.25
"""A chunk hands back what it has after so long, so that little is lost when it is killed and
nobody waits for the last."""
CHUNK_CELLS = 64
"""The most cells of one chunk."""
MOST_CELLS = 200_000
"""Of one sweep: each takes about a kilobyte until it is planned."""
DIRECTIONS = {
    name: "minimize" if field.best == "least" else "maximize"
    for name, field in (FIELDS | SAMPLE_FIELDS).items()
}
PRICED_BY = (
    "errors.py",
    "faults.py",
    "allowance.py",
    "guards.py",
    "records.py",
    "units.py",
    "workload.py",
    "plan.py",
    "models",
    "machines",
    "cost",
    "solver/chain",
    "pricing",
    "scoring",
    "space",
    "answers",
    "planning/best.py",
    "planning/ceilings.py",
    "planning/conflicts.py",
    "planning/cutting_off.py",
    "planning/engine_search.py",
    "planning/first_plans.py",
    "planning/floors.py",
    "planning/limited.py",
    "planning/polishing.py",
    "planning/promise_search.py",
    "planning/range_search.py",
    "planning/rate_search.py",
    "planning/partitioning.py",
    "planning/offloading.py",
    "planning/reaching.py",
    "planning/refusals.py",
    "planning/remedies.py",
    "planning/search.py",
    "planning/seating.py",
    "planning/stream_search.py",
    "studies/sweeps/cells.py",
)
"""Modules and rooms of the package on which a row depends beside its question. Names and files
(`catalogue`, `readers`) are none of them: what they make is in the question."""


class Cell(NamedTuple):
    """One question: the best plan of a model on a machine under a workload for one field of
    `Score`, within limits."""

    model: str | ModelGraph
    topology: str | Topology
    workload: Workload
    objective: str = "tpot_s"
    limits: Limits | None = None


class SweepRow(Record):
    """A cell and its best plan; figures are None where there is none, and `message` says why."""

    model: str
    weight_dtype: str
    topology: str
    software: str
    machine_chips: int
    """There; `chips` are those that the plan holds."""
    asked_batch_size: int | None
    """None: as many as fit, or as many as a rate brings about."""
    prompt_tokens: int
    output_tokens: int
    asked_requests_per_s: float | None = None
    """At which they come; None: a batch. Files written before this was said have it as
    `requests_per_s`."""
    objective: str
    limits: tuple[tuple[str, float], ...]
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any; rows made
    before this was said are of any."""
    status: Literal["optimal", "feasible", "infeasible", "no plan in time", "error", "lost"]
    """Infeasible: proved. Error: the cell's question is wrong, or we are. Lost: its process
    died; the next sweep tries again."""
    value: float | None = None
    """Of the objective."""
    bound: float | None = None
    """Proved: no plan is better."""
    ttft_s: float | None = None
    tpot_s: float | None = None
    request_s: float | None = None
    tokens_per_s: float | None = None
    tokens_per_s_per_user: float | None = None
    requests_per_s: float | None = None
    tokens_per_s_per_chip: float | None = None
    energy_per_token_j: float | None = None
    usd_per_million_tokens: float | None = None
    usd_per_hour: float | None = None
    power_w: float | None = None
    power_scope: str | None = None
    power_basis: str | None = None
    price_basis: str | None = None
    chips: int | None = None
    batch_size: int | None = None
    queued: int | None = None
    """Of the batch that was asked for, what waits while the rest is in flight."""
    memory_headroom_bytes: float | None = None
    bubble_fraction: float | None = None
    mfu_fraction: float | None = None
    mbu_fraction: float | None = None
    image_s: float | None = None
    samples_per_s: float | None = None
    energy_per_sample_j: float | None = None
    usd_per_sample: float | None = None
    pipeline_parallel: int | None = None
    """Stages."""
    tensor_parallel: int | None = None
    """The largest of the stages; so below."""
    expert_parallel: int | None = None
    sequence_parallel: int | None = None
    replicas: int | None = None
    micro_batches: int | None = None
    message: str = ""
    key: str
    """Of the cell's content: model, machine, workload, objective, limits and the price list."""

    @property
    def order(self) -> tuple[Any, ...]:
        """What rows are sorted by."""
        batch = math.inf if self.asked_batch_size is None else self.asked_batch_size
        where = (self.model, self.weight_dtype, self.topology, self.software, self.machine_chips)
        asked = (self.prompt_tokens, self.output_tokens, batch, self.asked_requests_per_s or 0.0)
        return (*where, *asked, self.objective, self.limits, self.key)


class Task(NamedTuple):
    """A cell as it travels to a process: its nouns pickled once each, which a pickle of many
    tasks holds once each."""

    key: str
    graph: bytes
    topology: bytes
    workload: Workload
    objective: str
    limits: tuple[tuple[str, float], ...]
    time_limit_s: float | None
    power_scope: PowerScope | None
    space: Space


def tasks_of(
    cells: Iterable[Cell | tuple[Any, ...]],
    *,
    time_limit_s: float | None,
    power_scope: PowerScope | None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
) -> list[Task]:
    """The tasks of cells, in their order. A wrong name or objective is refused here, before any
    work."""
    nouns = _Nouns()
    tasks = []
    for number, given in enumerate(cells):
        cell = _checked(given, number)
        model = nouns.loaded(cell.model, load_model)
        machine = counted(
            nouns.loaded(cell.topology, load_topology),
            price_basis=price_basis,
            power_basis=power_basis,
        )
        graph, graph_digest = nouns.pickled(model, {"source", "confidence"})
        topology, topology_digest = nouns.pickled(machine, {"title", "figures"})

        limits = limits_of(cell.limits)
        content = (
            price_list_version(),
            graph_digest,
            topology_digest,
            cell.workload.to_json(indent=None),
            cell.objective,
            limits,
            time_limit_s,
            power_scope,
            space,
        )
        task = Task(
            key=_digest(json.dumps(content)),
            graph=graph,
            topology=topology,
            workload=cell.workload,
            objective=cell.objective,
            limits=limits,
            time_limit_s=time_limit_s,
            power_scope=power_scope,
            space=space,
        )
        tasks.append(task)
    return tasks


def check_count(count: int, told_before: str) -> None:
    """Refuse more cells than a sweep holds, before any is made."""
    if count > MOST_CELLS:
        raise InputError(
            f"{told_before} {count:,} cells; a sweep has at most {MOST_CELLS:,}: make several"
        )


def _checked(given: Cell | tuple[Any, ...], number: int) -> Cell:
    try:
        cell = Cell(*given)
    except TypeError:
        order = "(model, topology, workload, objective, limits)"
        raise InputError(f"cell {number} must be {order}, not {shortened(given)}") from None

    kinds = {"model": str | ModelGraph, "topology": str | Topology, "workload": Workload}
    for name, kind in kinds.items():
        value = getattr(cell, name)
        if not isinstance(value, kind):
            raise InputError(f"the {name} of cell {number} cannot be {told(value, 60)}")
    if cell.objective not in DIRECTIONS:
        raise UnknownNameError("field to optimise", str(cell.objective), DIRECTIONS)
    return cell


class _Nouns:
    """Models and machines of a sweep, each loaded and pickled once."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}
        self._pickled: dict[int, tuple[Record, bytes, str]] = {}

    def loaded(self, given: Any, load: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given not in self._loaded:
            self._loaded[given] = load(given)
        return self._loaded[given]

    def pickled(self, noun: Record, untold: set[str]) -> tuple[bytes, str]:
        """The record as bytes, and the digest of all that a price may depend on: what is untold
        says where figures are from."""
        if id(noun) not in self._pickled:
            # A copy: the noun itself may hold what it has cached, which would travel along.
            plain = noun.replace(figures=()) if isinstance(noun, Topology) else noun.replace()
            digest = _digest(noun.model_dump_json(exclude=untold))
            # The noun is kept as well: its `id` is the key, and must not go to another.
            self._pickled[id(noun)] = noun, pickle.dumps(plain), digest
        return self._pickled[id(noun)][1:]


@lru_cache
def price_list_version() -> str:
    """Digest of the code that prices, solves and makes rows: what was planned with another is
    planned again."""
    sources = pricing_sources(Path(planner.__file__).parent)
    return _digest("".join(path.read_text(encoding="utf-8") for path in sources))


def pricing_sources(home: Path) -> list[Path]:
    """The files of the package in `home` that price, solve and make rows, in a fixed order."""
    found: list[Path] = []
    for name in PRICED_BY:
        place = home / name
        found += [place] if place.is_file() else sorted(place.rglob("*.py"))
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def plan_chunk(tasks: tuple[Task, ...]) -> list[tuple[str, str]]:
    """Keys and rows (as JSON) of the first cells of a chunk, at least one, until its time is
    over."""
    started = time.monotonic()
    done = []
    for task in tasks:
        done.append((task.key, row_of(task).to_json(indent=None)))
        if time.monotonic() - started > CHUNK_S:
            break
    return done


@lru_cache(maxsize=512)
def _unpickled(noun: bytes) -> Any:
    return pickle.loads(noun)


def row_of(task: Task, *, lost: str = "") -> SweepRow:
    """Plan a cell; every way in which that ends is a row. `lost` says why nothing came back
    instead."""
    graph = _unpickled(task.graph)
    topology = _unpickled(task.topology)
    workload = task.workload
    found = {"status": "lost", "message": lost} if lost else _answer(task, graph, topology)
    return SweepRow(
        model=graph.name,
        weight_dtype=graph.weight_dtype,
        topology=topology.name,
        software=topology.software.name,
        machine_chips=topology.chips,
        asked_batch_size=workload.batch_size,
        prompt_tokens=workload.prompt_tokens,
        output_tokens=workload.output_tokens,
        asked_requests_per_s=workload.requests_per_s,
        objective=task.objective,
        limits=task.limits,
        space=task.space,
        key=task.key,
        **found,
    )


def _answer(task: Task, graph: ModelGraph, topology: Topology) -> dict[str, Any]:
    wish = {DIRECTIONS[task.objective]: task.objective}
    try:
        result = partition(
            graph,
            topology,
            task.workload,
            limits=dict(task.limits),
            time_limit_s=task.time_limit_s,
            power_scope=task.power_scope,
            space=task.space,
            **wish,  # type: ignore[arg-type]
            offload=False,  # tables and requirements speak of what the chips hold
        )
        return _figures(result)
    except InfeasibleError as error:
        return {"status": "infeasible", "message": error.brief}
    except TimeUpError as error:
        if error.interrupted:
            raise KeyboardInterrupt from None
        return {"status": "no plan in time", "message": str(error)}
    except NoPlanFoundError as error:
        return {"status": "no plan in time", "message": str(error)}
    except PlannerError as error:
        return {"status": "error", "message": str(error)}
    except Exception as error:  # one cell must not stop the rest
        return {"status": "error", "message": f"{type(error).__name__}: {error}"}


def _figures(result: Result) -> dict[str, Any]:
    """What a row says of a plan."""
    plan = result.plan
    of_the_score = SweepRow.model_fields.keys() & Score.model_fields.keys()
    scored = {name: getattr(result.score, name) for name in of_the_score}
    degrees = {
        name: max(getattr(stage, name) for stage in plan.stages)
        for name in ("tensor_parallel", "expert_parallel", "sequence_parallel")
    }
    return {
        "status": result.status,
        "value": result.objective,
        "bound": result.bound,
        "pipeline_parallel": len(plan.stages),
        "replicas": plan.replicas,
        "micro_batches": plan.micro_batches,
        **scored,
        **degrees,
    }
