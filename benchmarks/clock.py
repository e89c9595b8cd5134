"""How well the clock is kept: `python -m benchmarks.clock [--limit S] [--cpu] [--only WORDS]
[--save FILE] [--against FILE]`, one large question a row.

Each question is asked with a time limit in a process of its own, once its model and machine are
loaded. A row says what its answer took, wall and CPU, and what it was: a plan and how far the proved
bound is from it, or that there was no time. The clock is kept within a second and a tenth of the
limit. `--cpu` lets the clock go by CPU seconds, of the limit too: on a machine that others work on as
well, that says the same of the planner as wall seconds on a free one.
"""

import argparse
import json
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planner as pl
from benchmarks.isolated import isolated
from planner import studies
from planner.errors import PlannerError

OVER_S, OVER_SHARE = 1.0, 0.1
"""What an answer may take beyond its limit: seconds, and a share of it."""
PATIENCE_S = 30
"""CPU seconds until a question that does not end is given up."""

Asked = Callable[[float], Any]
"""Asks with a limit. [s]"""


def _work(**more: Any) -> pl.Workload:
    return pl.Workload(**({"prompt_tokens": 2048, "output_tokens": 256, "batch_size": None} | more))


STREAM = {"arrivals": "poisson"}


def _partition(model: str, machine: str, chips: int | None, **more: Any) -> Asked:
    """`partition`, of everything that has been loaded before."""
    work = _work(**more.pop("work", {}))
    graph = pl.load_model(model, **more.pop("loaded", {}))
    topology = pl.load_topology(machine, chips=chips)
    asked = more if {"minimize", "maximize"} & set(more) else {"minimize": "tpot_s", **more}
    return lambda limit_s: pl.partition(graph, topology, work, time_limit_s=limit_s, **asked)


def _deepseek(**more: Any) -> Asked:
    return _partition("deepseek-v3", "gb200-nvl72", 576, **more)


def _deep(layers: int, **more: Any) -> Asked:
    """A mixture of experts with so many layers."""
    config = {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": 1024,
        "intermediate_size": 2048,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_local_experts": 64,
        "num_experts_per_tok": 4,
        "vocab_size": 32000,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        graph = pl.load_model(path)
    topology = pl.load_topology("superpod-h100", chips=256)
    work = _work(batch_size=64)
    return lambda limit_s: pl.partition(
        graph, topology, work, minimize="tpot_s", time_limit_s=limit_s, **more
    )


def _filmed() -> Asked:
    graph, topology = pl.load_model("hunyuan-video"), pl.load_topology("superpod-h100", chips=1024)
    work = pl.Workload(batch_size=None)
    return lambda limit_s: pl.partition(
        graph, topology, work, minimize="usd_per_sample", time_limit_s=limit_s
    )


def _pareto(model: str, machine: str, chips: int, **more: Any) -> Asked:
    graph = pl.load_model(model)
    topology = pl.load_topology(machine, chips=chips)
    return lambda limit_s: pl.pareto(graph, topology, _work(), time_limit_s=limit_s, **more)


def _sized(**more: Any) -> Asked:
    graph = pl.load_model("deepseek-v3")
    machines = ["hgx-h100", "gb200-nvl72", "mi300x-8", "tpu-v5p"]
    work = _work(requests_per_s=40.0, **STREAM)
    return lambda limit_s: pl.fewest_chips(graph, machines, work, time_limit_s=limit_s, **more)


def _disaggregated() -> Asked:
    graph = pl.load_model("deepseek-v3")
    machine = pl.load_topology("gb200-nvl72", chips=576)
    link = pl.Link(bandwidth_bytes_per_s=50e9, latency_s=1e-5)
    return lambda limit_s: pl.disaggregate(
        graph, _work(), prefill=machine, link=link, maximize="tokens_per_s", time_limit_s=limit_s
    )


def _paired() -> Asked:
    graph = pl.load_model("deepseek-v3")
    machines = [pl.load_topology("gb200-nvl72", chips=288), pl.load_topology("hgx-h100", chips=512)]
    link = pl.Link(bandwidth_bytes_per_s=400e9, latency_s=1e-5)
    return lambda limit_s: pl.disaggregate_attention(
        graph,
        _work(phase="decode"),
        attention=machines[0],
        experts=machines[1],
        link=link,
        maximize="tokens_per_s",
        time_limit_s=limit_s,
    )


def _pools(count: int, kinds: int = 3, chips: int = 8) -> pl.Cluster:
    """So many pools in a row, of so many kinds of machine."""
    names = ["hgx-h100", "hgx-a100", "mi300x-8", "hgx-h200"][:kinds]
    machines = [pl.load_topology(name, chips=chips) for name in names]
    pools = [{"name": f"p{n}", "topology": machines[n % kinds]} for n in range(count)]
    links = [
        {"between": (f"p{n}", f"p{n + 1}"), "bandwidth_bytes_per_s": 5e10, "latency_s": 1e-5}
        for n in range(count - 1)
    ]
    return pl.Cluster(name=f"{count} pools", pools=pools, links=links)


def _clustered(count: int, model: str = "llama-3.1-70b", **more: Any) -> Asked:
    graph, cluster = pl.load_model(model), _pools(count)
    asked = {"minimize": "tpot_s", **more}
    work = _work(batch_size=8)
    return lambda limit_s: pl.partition_cluster(graph, cluster, work, time_limit_s=limit_s, **asked)


def _fleet(**more: Any) -> Asked:
    graph, cluster = pl.load_model("llama-3.1-70b"), _pools(9)
    return lambda limit_s: pl.partition_fleet(graph, cluster, _work(), time_limit_s=limit_s, **more)


def _operators(nodes: int, **more: Any) -> Asked:
    """A graph of so many operators, each of which waits for one to three of those before it."""
    draw = random.Random(7)
    operators = [
        pl.Operator(
            name=f"o{n}",
            times_s=(draw.uniform(1, 10), draw.uniform(10, 90)),
            transfer_s=draw.uniform(0, 2),
            size_bytes=draw.uniform(1, 4),
        )
        for n in range(nodes)
    ]
    edges = {(draw.randrange(max(0, n - 30), n), n) for n in range(1, nodes) for _ in range(3)}
    devices = [
        pl.DeviceClass(name="a", count=8, memory_bytes=nodes),
        pl.DeviceClass(name="h", count=1, pays_transfers=False),
    ]
    graph = pl.OperatorGraph(operators=operators, edges=sorted(edges), devices=devices)
    return lambda limit_s: pl.partition_operators(graph, time_limit_s=limit_s, **more)


def _found(machine: str, chips: int, model: str, **more: Any) -> pl.Result:
    """A plan that was found in a while, to be asked about."""
    graph, topology = pl.load_model(model), pl.load_topology(machine, chips=chips)
    more = {"minimize": "tpot_s", "time_limit_s": 20.0, **more}
    return pl.partition(graph, topology, _work(**more.pop("work", {})), **more)


def _why(**more: Any) -> Asked:
    result = _found("superpod-h100", 256, "deepseek-v3", **more)
    return lambda limit_s: result.why(time_limit_s=limit_s)


def _near(**more: Any) -> Asked:
    limits = {"tokens_per_s": 5000}
    result = _found("superpod-h100", 256, "deepseek-v3", limits=limits, **more)
    return lambda limit_s: result.near_misses(time_limit_s=limit_s)


def _near_of_samples() -> Asked:
    graph, topology = pl.load_model("hunyuan-video"), pl.load_topology("superpod-h100", chips=512)
    work = pl.Workload(batch_size=64)
    limits = {"samples_per_s": 0.01}
    result = pl.partition(graph, topology, work, minimize="image_s", limits=limits)
    return lambda limit_s: result.near_misses(time_limit_s=limit_s)


def _verified(chips: int, **more: Any) -> Asked:
    result = _found("superpod-h100", chips, "deepseek-v3", **more)
    certificate = result.certificate()
    return lambda limit_s: pl.verify(certificate, time_limit_s=limit_s)


def _replanned() -> Asked:
    result = _found("superpod-h100", 256, "llama-3.1-405b", work={"batch_size": 64})
    return lambda limit_s: pl.replan(result, lost=(3, 77), time_limit_s=limit_s)


def _audited() -> Asked:
    return lambda limit_s: studies.audit(time_limit_s=limit_s)


PERCENTILES = {"ttft_p99_s": 2.0, "tpot_p99_s": 0.05}
QUESTIONS: dict[str, Callable[[], Asked]] = {
    "deepseek-v3, 576 gb200": _deepseek,
    "deepseek-v3, 576 gb200, any": lambda: _deepseek(space="any"),
    "deepseek-v3, 576 gb200, p99 at a rate": lambda: _deepseek(
        minimize="chips", limits=PERCENTILES, work={"requests_per_s": 100.0, **STREAM}
    ),
    "deepseek-v3, 576 gb200, greatest rate": lambda: _deepseek(
        maximize="tokens_per_s", limits=PERCENTILES, work=STREAM
    ),
    "deepseek-v3, 576 gb200, least p99": lambda: _deepseek(
        minimize="ttft_p99_s", work={"requests_per_s": 100.0, **STREAM}
    ),
    "deepseek-v3, 576 gb200, p99 of clients": lambda: _deepseek(
        limits=PERCENTILES, work={"batch_size": 512}
    ),
    "deepseek-v3, 576 gb200, usd, limits": lambda: _deepseek(
        minimize="usd_per_million_tokens", limits={"tpot_s": 0.03, "ttft_s": 2.0}
    ),
    "deepseek-v3, 576 gb200, out of reach": lambda: _deepseek(
        limits={"tpot_s": 0.001, "ttft_s": 0.02}
    ),
    "deepseek-v3, 576 gb200, sequences": lambda: _deepseek(sequence_parallel=True),
    "deepseek-v3, 576 gb200, excluded": lambda: _deepseek(exclude=(5, 100, 333)),
    "deepseek-v3, 576 gb200, cp-sat": lambda: _deepseek(solver="cp-sat"),
    "deepseek-v3, 576 gb200, open drafts": lambda: _deepseek(
        work={
            "speculation": pl.Speculation(
                draft=pl.load_model("deepseek-v3").cut(1), kind="mtp", tokens=None
            )
        }
    ),
    "llama-3.1-405b, 2,600 lpu": lambda: _partition(
        "llama-3.1-405b", "groq-lpu-chain", 2600, loaded={"weight_dtype": "fp8"}
    ),
    "llama-3.1-70b, 576 lpu, any": lambda: _partition(
        "llama-3.1-70b", "groq-lpu-chain", 576, space="any", loaded={"weight_dtype": "fp8"}
    ),
    "kimi-k2, 1,024 h100": lambda: _partition("kimi-k2", "superpod-h100", 1024),
    "kimi-k2, 1,024 h100, any, batch": lambda: _partition(
        "kimi-k2", "superpod-h100", 1024, space="any", work={"batch_size": 1024}
    ),
    "llama-3.1-405b, 256 h100, any, cp-sat": lambda: _partition(
        "llama-3.1-405b",
        "superpod-h100",
        256,
        space="any",
        solver="cp-sat",
        work={"batch_size": 64},
    ),
    "llama-3.1-405b, off 4 gh200": lambda: _partition("llama-3.1-405b", "gh200", 4),
    "hunyuan-video, 1,024 h100": _filmed,
    "1,000 layers of experts": lambda: _deep(1000),
    "1,000 layers of experts, any": lambda: _deep(1000, space="any"),
    "front, deepseek-v3, 576 gb200": lambda: _pareto("deepseek-v3", "gb200-nvl72", 576),
    "front, llama-3.1-405b, 256 h100, any": lambda: _pareto(
        "llama-3.1-405b", "superpod-h100", 256, space="any"
    ),
    "fewest chips of 4 machines": _sized,
    "fewest chips, p99": lambda: _sized(limits=PERCENTILES),
    "two pools, deepseek-v3, 576 gb200": _disaggregated,
    "attention and experts apart": _paired,
    "cluster of 24 pools, any": lambda: _clustered(24, space="any"),
    "cluster of 300 pools": lambda: _clustered(300),
    "cluster of 3,000 pools": lambda: _clustered(3000),
    "fleet on 9 pools": _fleet,
    "fleet on 9 pools, any": lambda: _fleet(space="any"),
    "2,000 operators, stages": lambda: _operators(2000),
    "2,000 operators, free": lambda: _operators(2000, contiguous=False),
    "2,000 operators, latency": lambda: _operators(2000, mode="latency"),
    "replanned, llama-3.1-405b, 256 h100": _replanned,
    "why, deepseek-v3, 256 h100": _why,
    "near misses, deepseek-v3, 256 h100": _near,
    "near misses, hunyuan-video": _near_of_samples,
    "verified, deepseek-v3, 256 h100": lambda: _verified(256),
    "verified, deepseek-v3, 64 h100, any": lambda: _verified(64, space="any"),
    "the article's claims": _audited,
}


def _told(answer: Any) -> str:
    """An answer in a few words."""
    status = getattr(answer, "status", None)
    gap = getattr(answer, "gap", None)
    if gap is not None:
        return f"{status}, gap {gap:.1%}" if gap < 100 else f"{status}, no bound"
    if status is not None:
        return f"{status}"
    if isinstance(answer, tuple):
        return f"{len(answer)} found"
    for name in ("machines", "prices", "rows"):
        if hasattr(answer, name):
            return f"{len(getattr(answer, name))} rows"
    return "confirmed" if getattr(answer, "confirmed", False) else "not confirmed"


def _measured(name: str, limit_s: float, *, by_cpu: bool) -> dict[str, Any]:
    """What a question takes, in this process."""
    asked = QUESTIONS[name]()
    # Modules are read when they are first asked for.
    for verb in pl.__all__:
        getattr(pl, verb)
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + PATIENCE_S, used + PATIENCE_S))
    if by_cpu:
        time.monotonic = time.process_time
    wall_s, cpu_s = time.monotonic(), time.process_time()
    try:
        said = _told(asked(limit_s))
    except PlannerError as error:
        said = type(error).__name__
    return {
        "wall_s": time.monotonic() - wall_s,
        "cpu_s": time.process_time() - cpu_s,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "said": said,
    }


def _apart(name: str, limit_s: float, *, by_cpu: bool) -> dict[str, Any]:
    """The same in a process of its own, which is given up after a while."""
    command = isolated("-m", "benchmarks.clock", "--here", name, "--limit", str(limit_s))
    if by_cpu:
        command = (*command, "--cpu")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode < 0:
        return {"wall_s": PATIENCE_S, "cpu_s": PATIENCE_S, "peak_bytes": 0, "said": "given up"}
    if done.returncode:
        fault = done.stderr.strip().splitlines()[-1:] or ["died"]
        return {"wall_s": 0.0, "cpu_s": 0.0, "peak_bytes": 0, "said": fault[0][:60]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(prog="benchmarks.clock", description="How the clock is kept.")
    parser.add_argument("--limit", type=float, default=2.0, help="of each question, in seconds")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds")
    parser.add_argument("--only", default="", help="questions with these words in them")
    parser.add_argument("--here", help="one question, in this process")
    parser.add_argument("--save", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--against", type=Path, help="figures of an earlier state")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(_measured(options.here, options.limit, by_cpu=options.cpu)))
        return
    before = json.loads(options.against.read_text(encoding="utf-8")) if options.against else {}
    figures = {}
    most_s = options.limit * (1 + OVER_SHARE) + OVER_S
    print(
        f"{'limit ' + format(options.limit, 'g') + ' s':<40}   wall    CPU  memory before  answer"
    )
    for name in (one for one in QUESTIONS if options.only in one):
        row = figures[name] = _apart(name, options.limit, by_cpu=options.cpu)
        late = "*" if row["wall_s"] > most_s else " "
        was = f"{before[name]['wall_s']:>6.1f}" if name in before else "      "
        print(
            f"{name:<40}{row['wall_s']:>6.1f}{late}{row['cpu_s']:>7.1f}"
            f"{row['peak_bytes'] / 1e6:>6.0f}M{was:>7}  {row['said']}",
            flush=True,
        )
        if options.save:
            options.save.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    late = sum(row["wall_s"] > most_s for row in figures.values())
    print(f"{late} of {len(figures)} took longer than {most_s:.1f} s (*)")


if __name__ == "__main__":
    main()
