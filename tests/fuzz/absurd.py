"""Every public function, called with something absurd in the place of each of its arguments: it
answers, or says with an error of ours what is wrong.

`python -m tests.fuzz.absurd SEED CALLS` makes so many calls (0: all) within bounds of memory and of
CPU, and prints each that went otherwise.
"""

import contextlib
import enum
import inspect
import io
import itertools
import json
import math
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

import planner as pl
from planner import studies
from planner.errors import PlannerError
from planner.records import Record

MOST_CPU_S = 30.0
"""Of one call; an honest answer to a costly question may take some."""
ROOM_BYTES = 3 * 2**30
UNTRIED = {"model_names", "topology_names", "cluster_names", "software_names", "article_claims"}
"""They take nothing."""


class Colour(enum.Enum):
    """An enumeration that nobody asked for."""

    RED = "red"


class Mute:
    """What cannot be written, compared or counted."""

    def __repr__(self) -> str:
        raise RuntimeError("I am not written")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("I am not compared")

    __hash__ = None  # type: ignore[assignment]


def endless() -> list[Any]:
    """A list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


ABSURD: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "true": lambda: True,
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "one and a half": lambda: 1.5,
    "nan": lambda: math.nan,
    "infinity": lambda: math.inf,
    "minus infinity": lambda: -math.inf,
    "10**30": lambda: 10**30,
    "10**400": lambda: 10**400,
    "10**5000": lambda: 10**5000,
    "2**40": lambda: 2**40,
    "denormal": lambda: 5e-324,
    "largest": lambda: 1.7e308,
    "complex": lambda: 1j,
    "decimal": lambda: Decimal("NaN"),
    "numpy whole": lambda: np.int64(3),
    "numpy nan": lambda: np.float32("nan"),
    "numpy array": lambda: np.array([[1.0, math.nan]]),
    "numpy objects": lambda: np.array([None, "x"], dtype=object),
    "empty text": lambda: "",
    "text": lambda: "tpot_s",
    "word": lambda: "nobody knows this word",
    "surrogate": lambda: "\ud800",
    "null byte": lambda: "a\0b.json",
    "long text": lambda: "a" * 10**6,
    "three thousand letters": lambda: "a" * 3000,
    "bytes": lambda: b"hgx-h100",
    "path": lambda: Path("/nonexistent/file.json"),
    "device": lambda: Path("/dev/zero"),
    "folder": lambda: Path("/"),
    "empty tuple": tuple,
    "empty table": dict,
    "nones": lambda: [None, None],
    "texts": lambda: ["x", "y"],
    "negatives": lambda: [-1, -2],
    "giants": lambda: [10**400],
    "nans": lambda: [math.nan, math.inf],
    "zeros": lambda: (0.0, 0.0),
    "downwards": lambda: (2.0, 1.0),
    "set": lambda: {1, "x"},
    "table": lambda: {"x": "y"},
    "limits of nan": lambda: {"tpot_s": math.nan},
    "limits of none": lambda: {"tpot_s": None},
    "limits of giants": lambda: {"tpot_s": 10**400, "chips": "9" * 400},
    "keys of none": lambda: {None: None},
    "object": object,
    "class": lambda: int,
    "function": lambda: len,
    "generator": lambda: (one for one in "x"),
    "endless": itertools.count,
    "endless list": endless,
    "enumeration": lambda: Colour.RED,
    "mute": Mute,
    "mutes": lambda: [Mute()],
    "model": lambda: nouns().graph,
    "machine": lambda: nouns().machine,
    "workload": lambda: nouns().workload,
    "plan": lambda: nouns().plan,
}


class Nouns(NamedTuple):
    """What the calls are about: as small as can be."""

    graph: pl.ModelGraph
    machine: pl.Topology
    workload: pl.Workload
    plan: pl.Plan
    result: pl.Result
    operators: pl.OperatorGraph
    cluster: pl.Cluster
    link: pl.Link
    pooled: pl.PooledPlan
    decoding: pl.Workload
    paired: pl.PairedPlan


KEPT: list[Nouns] = []


def nouns() -> Nouns:
    """Made once."""
    if not KEPT:
        graph = pl.load_model("llama-3.2-1b").cut(2)
        machine = pl.load_topology("hgx-h100", chips=2)
        workload = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=8)
        result = pl.partition(graph, machine, workload, minimize="tpot_s")
        operators = pl.OperatorGraph(
            operators=tuple(
                pl.Operator(name=name, times_s=(1.0, 2.0), transfer_s=0.1, size_bytes=1.0)
                for name in "ab"
            ),
            edges=((0, 1),),
            devices=(
                pl.DeviceClass(name="a", count=2, memory_bytes=10.0),
                pl.DeviceClass(name="c", count=1, pays_transfers=False),
            ),
        )
        pools = [pl.Pool(name=name, topology=machine) for name in ("a", "b")]
        between = pl.PoolLink(between=("a", "b"), bandwidth_bytes_per_s=1e10, latency_s=1e-5)
        cluster = pl.Cluster(name="two", pools=tuple(pools), links=(between,))
        link = pl.Link(bandwidth_bytes_per_s=1e10, latency_s=1e-5)
        pooled = pl.partition_cluster(graph, cluster, workload, minimize="tpot_s").plan
        decoding = workload.replace(phase="decode")
        halves = {"attention": machine, "experts": machine, "link": link}
        paired = pl.disaggregate_attention(graph, decoding, **halves, minimize="tpot_s").plan
        found = (graph, machine, workload, result.plan, result, operators, cluster, link)
        KEPT.append(Nouns(*found, pooled, decoding, paired))
    return KEPT[0]


def good_calls() -> dict[str, dict[str, Any]]:
    """Arguments of each function with which it answers soon."""
    at = nouns()
    three = {"graph": at.graph, "topology": at.machine, "workload": at.workload}
    pooled = {"graph": at.graph, "cluster": at.cluster, "workload": at.workload}
    quiet = {"file": None, "processes": 1, "progress": False}
    best = {"minimize": "tpot_s"}
    few = {"sizes": (8e9,), "speeds": (10.0,)}
    pools = {"prefill": at.machine, "decode": at.machine, "link": at.link}
    halves = {"attention": at.machine, "experts": at.machine, "link": at.link}
    figures = ["chip.peaks[0].flop_per_s"]
    pair = {"first": "hgx-h100", "second": "groq-lpu-chain"}
    return {
        "check_plan": {"plan": at.plan, **three},
        "check_pooled_plan": {"plan": at.pooled, **pooled},
        "collective_s": {
            "topology": at.machine, "kind": "all_reduce", "ranks": 2, "message_bytes": 1e6
        },
        "decode_grid_s": {
            "graph": at.graph, "topology": at.machine, "tensor_parallel": [1],
            "batch_sizes": [1], "context_tokens": [64.0],
        },
        "disaggregate": {"graph": at.graph, "workload": at.workload, **pools, **best},
        "disaggregate_attention": {"graph": at.graph, "workload": at.decoding, **halves, **best},
        "fewest_chips": {
            "graph": at.graph, "machines": "hgx-h100:2", "workload": at.workload,
            "limits": {"tpot_s": 1.0},
        },
        "load_cluster": {"name": "no-such-cluster"},
        "load_model": {"name": "llama-3.2-1b"},
        "load_operators": {"path": "/nonexistent.json"},
        "load_topology": {"name": "hgx-h100"},
        "moved_bytes": {
            "before": at.plan, "after": at.plan, "graph": at.graph, "topology": at.machine
        },
        "pareto": {**three, "fields": ("tpot_s", "chips")},
        "partition": {**three, **best},
        "partition_cluster": {**pooled, **best},
        "partition_fleet": {**pooled, "workload": at.workload.replace(batch_size=None)},
        "partition_operators": {"graph": at.operators, "time_limit_s": 5.0},
        "plan_grid": three,
        "read_command": {"text": "vllm serve meta-llama/Llama-3.2-1B"},
        "score_command": {
            "command": "vllm serve meta-llama/Llama-3.2-1B", "machine": "hgx-h100", "chips": 2,
            "workload": at.workload,
        },
        "replan": {"result": at.result, "lost": [0]},
        "rules_of_thumb": {"graph": at.operators},
        "score_disaggregated": {
            "prefill_plan": at.plan, "decode_plan": at.plan, "graph": at.graph,
            "workload": at.workload, **pools,
        },
        "score_pairing": {
            "plan": at.paired, "graph": at.graph, "workload": at.decoding, **halves
        },
        "score_plan": {"plan": at.plan, **three},
        "score_pooled_plan": {"plan": at.pooled, **pooled},
        "uniform_plan": {"graph": at.graph, "topology": at.machine, "tensor_parallel": 2},
        "verify": {"certificate": at.result.certificate(), "time_limit_s": 5.0},
        "with_value": {
            "topology": at.machine, "path": "software.kernel_overhead_s", "value": 1e-6
        },
        "advantage_map": {"topologies": ("hgx-h100", "groq-lpu-chain"), **few, "proved": "none"},
        "audit": {"claims": []},
        "border_table": {"contests": [], **few},
        "crossover": {**pair, "proof_time_s": 0.1},
        "dense_family": {"parameters": 8e9},
        "dense_shape": {"parameters": 8e9},
        "fading": {"topologies": tuple(pair.values()), "sizes": (8e9,), "users": (1,)},
        "global_sensitivity": {**three, **best, **quiet, "figures": figures, "samples": 2},
        "map_grids": {"topologies": ("hgx-h100", "groq-lpu-chain"), "sizes": (8e9,)},
        "moe_family": {"parameters": 100e9},
        "moe_shape": {"parameters": 100e9},
        "proof_course": {**three, **best},
        "read_claims": {"path": "/nonexistent.toml"},
        "required": {
            "path": "software.kernel_overhead_s", **three, **best, **quiet, "target": 1e-3
        },
        "scaling": {"model": at.graph, "topology": at.machine, "chips": (1, 2)},
        "sensitivity": {**three, **best, **quiet, "figures": figures},
        "serving_fronts": {"fronts": []},
        "sweep": {
            "models": at.graph, "topologies": at.machine, "workloads": at.workload, **quiet
        },
        "what_if": {**three, **best, "changes": {"software.kernel_overhead_s": 1e-6}},
    }  # fmt: skip


class Call(NamedTuple):
    """One function with one absurd argument."""

    function: str
    argument: str
    value: str


TELLING = (
    "partition", "partition_cluster", "partition_fleet", "scaling", "fading", "sweep", "required",
    "sensitivity", "global_sensitivity", "score_command",
)  # fmt: skip
"""Functions that tell how far they are."""
OWN = {
    *(Call(name, "progress", value) for name in TELLING for value in ("class", "function")),
    *(Call("score_command", "owned", value) for value in ("class", "function")),
    Call("audit", "claims", "nothing"),
}
"""Calls that fail in what the caller gave to be called; and the audit of the article, which takes
its time."""


def calls() -> list[Call]:
    """All of them, each function's together."""
    made = []
    for name in public():
        for argument in inspect.signature(public()[name]).parameters:
            made += [Call(name, argument, value) for value in ABSURD]
    return [call for call in made if call not in OWN]


def public() -> dict[str, Callable[..., Any]]:
    """Functions that people call, by name."""
    found = {}
    for module in (pl, studies):
        for name in module.__all__:
            one = getattr(module, name)
            if inspect.isfunction(one) and name not in UNTRIED:
                found[name] = one
    return found


def record_calls() -> list[Call]:
    """The same of the fields of records that people make."""
    return [
        Call(kind, field, value)
        for kind, record in records().items()
        for field in type(record).model_fields
        for value in ABSURD
    ]


def records() -> dict[str, Record]:
    """One of each kind."""
    at = nouns()
    speculation = pl.Speculation(tokens=2)
    found = [
        at.graph, at.machine, at.workload, at.plan, at.operators, at.cluster, at.link, speculation,
        at.graph.layers[0], at.machine.chip, at.machine.fabrics[0], at.machine.software,
        at.plan.stages[0], at.plan.stages[0].groups[0], at.operators.operators[0],
        at.operators.devices[0], at.cluster.links[0], at.cluster.pools[0], pl.Economics(),
        studies.Terms(),
    ]  # fmt: skip
    return {type(one).__name__: one for one in found}


class TiredError(BaseException):
    """A call took too much CPU; no handler of errors stops it."""


def fault_of(call: Call) -> str:
    """What is wrong with how a call ends; "" where it answers, or refuses as it should."""
    value = ABSURD[call.value]()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if call.function in records():
                records()[call.function].replace(**{call.argument: value})
            else:
                given = {**good_calls()[call.function]}
                if call.argument in ("options", "asked"):
                    given["absurd"] = value
                else:
                    given[call.argument] = value
                public()[call.function](**given)
    except PlannerError as error:
        said = str(error)
        if "\n" in said or not 10 < len(said) < 2000:
            return f"says in {len(said)} letters: {said[:200]!r}"
    except TiredError:
        return f"took more than {MOST_CPU_S:g} s of CPU"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}{_place_of(error)}"
    return ""


def _place_of(error: BaseException) -> str:
    lines, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f" ({' < '.join(reversed(lines[-5:]))})"


def faults(chosen: list[Call]) -> Iterator[tuple[Call, str]]:
    """Calls that went wrong, and how."""

    def tire(*_: Any) -> None:
        raise TiredError

    signal.signal(signal.SIGVTALRM, tire)
    for call in chosen:
        signal.setitimer(signal.ITIMER_VIRTUAL, MOST_CPU_S)
        try:
            what = fault_of(call)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if what:
            yield call, what


def main(seed: int, count: int, only: str = "") -> int:
    """Make calls, and print those that went wrong; 1 where one did."""
    nouns()
    every = [call for call in (*calls(), *record_calls()) if only in ("", call.function)]
    chosen = Random(seed).sample(every, count) if 0 < count < len(every) else every
    status = Path("/proc/self/status")
    if status.exists():
        size = int(status.read_text(encoding="ascii").partition("VmSize:")[2].split()[0]) * 1024
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM_BYTES, hard))
    status = 0
    # Absurd names of files are names of files all the same: what is written there goes with the room.
    with tempfile.TemporaryDirectory() as room, contextlib.chdir(room):
        for call, what in faults(chosen):
            status = 1
            print(json.dumps([*call, what]), flush=True)
    print(json.dumps({"made": len(chosen)}), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
