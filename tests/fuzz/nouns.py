"""Readers of nouns: machines, clusters and stacks in files that name one another; plans, results
and certificates; tables, claims, sweeps and operator graphs.

What was read is used at once: an absurd figure that a reader lets through must not break the price
or the page that is made of it.
"""

import functools
from pathlib import Path
from typing import Any

import planner as pl
from planner.calibration.measurements import read_measurements
from planner.calibration.validation import cases_of
from planner.errors import InfeasibleError
from planner.readers.files import read_text
from planner.readers.plan_file import read_plan
from planner.records import Record
from planner.studies import read_claims, scaling
from planner.studies.scalings import Scaling
from planner.studies.sweeps.specs import read_spec
from tests.fuzz.chains import laid_out, packed
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

CATALOGUE = Path(pl.__file__).parent.parent / "topologies"
WORK = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=8)
PLENTY = 64
"""Chips of a machine up to which it is priced: more is no reader's work."""


@functools.cache
def graph() -> pl.ModelGraph:
    """A model that most machines hold."""
    return tiny_moe(3)


@functools.cache
def machine() -> pl.Topology:
    """Two nodes of three chips."""
    slow = {"bandwidth_bytes_per_s": 5e8, "latency_s": 2e-5}
    return tiny_topology(6, fabric("switch", 3), fabric("ring", 2, **slow))


def used(topology: pl.Topology) -> Any:
    """All that becomes of a machine that was read: shown, written, read again, and priced."""
    assert pl.Topology.from_json(topology.to_json()) == topology
    said = str(topology)
    if topology.chips > PLENTY:
        return said
    chips = min(topology.chips, 2)
    plan = pl.uniform_plan(graph(), topology, data_parallel=chips)
    pl.check_plan(plan, graph(), topology, WORK)
    return said, pl.score_plan(plan, graph(), topology, WORK)


# ── Files that name one another ──────────────────────────────────────────────────────────────────

MACHINES = ("hgx-h100", "h100-nvl-pairs", "groq-lpu-dragonfly", "tpu-v5e", "gh200", "xeon-8380")
STACK = (CATALOGUE / "software" / "vllm.toml").read_text(encoding="utf-8")


def _own_stack(text: str) -> str:
    lines = [
        'software = "stack.toml"' if line.startswith("software =") else line
        for line in text.splitlines()
    ]
    return "\n".join(lines) + "\n"


def machine_files(folder: Path) -> list[Path]:
    """Machines, each with a stack of its own, which takes kernels of one more."""
    paths = []
    for number, name in enumerate(MACHINES):
        text = (CATALOGUE / f"{name}.toml").read_text(encoding="utf-8")
        kernels = (CATALOGUE / "software" / "cuda-kernels.toml").read_text(encoding="utf-8")
        parts = {
            "machine.toml": _own_stack(text),
            "stack.toml": STACK.replace('"cuda-kernels"', '"kernels.toml"'),
            "kernels.toml": kernels,
        }
        paths.append(folder / f"{number}.chain")
        paths[-1].write_text(packed(parts), encoding="utf-8")
    return paths


def read_machine_chain(path: Path) -> Any:
    """The machine of a folder, used."""
    with laid_out(path) as folder:
        return used(pl.load_topology(folder / "machine.toml"))


def cluster_files(folder: Path) -> list[Path]:
    """Clusters of machines of the catalogue, and of files beside them."""
    paths = []
    for number, name in enumerate(("a100-l4-t4", "three-macs", "rubin-lpx")):
        text = (CATALOGUE / "clusters" / f"{name}.toml").read_text(encoding="utf-8")
        own = (CATALOGUE / "hgx-a100.toml").read_text(encoding="utf-8")
        parts = {
            "cluster.toml": text.replace('topology = "hgx-a100"', 'topology = "machine.toml"'),
            "machine.toml": _own_stack(own),
            "stack.toml": STACK,
        }
        paths.append(folder / f"{number}.chain")
        paths[-1].write_text(packed(parts), encoding="utf-8")
    return paths


def read_cluster_chain(path: Path) -> Any:
    """The cluster of a folder, shown, and written and read again."""
    with laid_out(path) as folder:
        cluster = pl.load_cluster(folder / "cluster.toml")
    assert pl.Cluster.from_json(cluster.to_json()) == cluster
    return str(cluster), [str(pool.topology) for pool in cluster.pools]


def stack_files(folder: Path) -> list[Path]:
    """Stacks of which each takes from the next."""
    paths = []
    for number, name in enumerate(("vllm", "sglang", "llama.cpp", "cerebras-sdk")):
        own = (CATALOGUE / "software" / f"{name}.toml").read_text(encoding="utf-8")
        parts = {
            "s0.toml": 'kernels_of = "s1.toml"\ncollectives_of = ["s1.toml", "s2.toml"]\nname = "s0"\n',
            "s1.toml": own,
            "s2.toml": (CATALOGUE / "software" / "nccl.toml").read_text(encoding="utf-8"),
        }
        paths.append(folder / f"{number}.chain")
        paths[-1].write_text(packed(parts), encoding="utf-8")
    return paths


def read_stack_chain(path: Path) -> Any:
    """The stack of a folder on a machine, used."""
    with laid_out(path) as folder:
        return used(pl.load_topology("hgx-h100", chips=2, software=str(folder / "s0.toml")))


SCRIPT = """#!/bin/bash
export CUDA_VISIBLE_DEVICES={chips}
exec vllm serve Qwen/Qwen3-0.6B --tensor-parallel-size 2 --nnodes 2 --node-rank {rank} \\
  --master-addr 10.0.0.1 --master-port 29500 --config options.yaml --max-num-seqs 32
"""
OPTIONS = """pipeline-parallel-size: 2
gpu-memory-utilization: 0.9
speculative-config: '{"method": "ngram", "num_speculative_tokens": 3}'
"""


def launch_files(folder: Path) -> list[Path]:
    """Folders of an export: a script for each node, and a file of options."""
    parts = {f"start-{rank}.sh": SCRIPT.format(rank=rank, chips="0,1") for rank in range(2)}
    nodes = folder / "0.chain"
    nodes.write_text(packed(parts | {"options.yaml": OPTIONS}), encoding="utf-8")
    alike = folder / "1.chain"
    line = "python -m sglang.launch_server --model-path qwen3-0.6b --tp 1 --base-gpu-id {} --port 300{}\n"
    alike.write_text(
        packed({f"start{n}.sh": line.format(n, n) for n in range(3)}), encoding="utf-8"
    )
    return [nodes, alike]


def read_launch_chain(path: Path) -> Any:
    """What the scripts of a folder start."""
    with laid_out(path) as folder:
        return str(pl.read_command(folder))


# ── Records as JSON ──────────────────────────────────────────────────────────────────────────────

DECODING = WORK.replace(phase="decode")
LINK = pl.Link(bandwidth_bytes_per_s=1e10, latency_s=1e-5)


@functools.cache
def cluster() -> pl.Cluster:
    """Two pools of unlike chips."""
    chips = (tiny_chip(), tiny_chip(2e9, name="large"))
    pools = tuple(
        pl.Pool(name=name, topology=tiny_topology(2, name=name, chip=chip))
        for name, chip in zip("ab", chips, strict=True)
    )
    between = pl.PoolLink(between=("a", "b"), bandwidth_bytes_per_s=1e10, latency_s=1e-5)
    return pl.Cluster(name="two", pools=pools, links=(between,))


@functools.cache
def answers() -> dict[str, Record]:
    """One of each kind of answer, and the nouns that are kept as JSON."""
    best = {"minimize": "tpot_s"}
    both = (graph(), machine(), WORK)
    result = pl.partition(*both, **best)
    halves = {"attention": machine(), "experts": machine(), "link": LINK}
    return {
        "result": result,
        "topology": machine(),
        "cluster": cluster(),
        "pooled": pl.partition_cluster(graph(), cluster(), WORK, **best),
        "fleet": pl.partition_fleet(graph(), cluster(), WORK.replace(batch_size=None)),
        "pools": pl.disaggregate(
            graph(), WORK, prefill=machine(), decode=machine(), link=LINK, **best
        ),
        "pair": pl.disaggregate_attention(graph(), DECODING, **halves, **best),
        "front": pl.pareto(*both, fields=("tpot_s", "chips")),
        "moved": pl.replan(result, lost=[0]),
        "sizing": pl.fewest_chips(graph(), "hgx-h100:2", WORK, limits={"tpot_s": 1.0}),
        "score": result.score,
        "scaling": scaling(graph(), machine(), chips=(1, 2)),
        "workload": WORK.replace(speculation=pl.Speculation(tokens=2, draft=tiny_graph(1))),
        "software": tiny_software(),
        "model": tiny_graph(2),
    }


KINDS: dict[str, type[Record]] = {
    "result": pl.Result, "topology": pl.Topology, "cluster": pl.Cluster, "pooled": pl.ClusterResult,
    "fleet": pl.Fleet, "pools": pl.Disaggregation, "pair": pl.Pairing, "front": pl.Front,
    "moved": pl.Replanning, "sizing": pl.Sizing, "score": pl.Score, "scaling": Scaling,
    "workload": pl.Workload, "software": pl.Software, "model": pl.ModelGraph,
}  # fmt: skip


def answer_files(folder: Path) -> list[Path]:
    """One of each kind."""
    paths = []
    for name, one in answers().items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(one.to_json(indent=None), encoding="utf-8")
    return paths


def read_answer(path: Path) -> Any:
    """A record, shown, and written and read again."""
    kind = KINDS[path.stem]
    found = kind.from_json(read_text(path, "an answer"))
    assert kind.from_json(found.to_json()) == found
    return str(found)


def plan_files(folder: Path) -> list[Path]:
    """Plans of several stages, of one, and of several replicas."""
    best = pl.partition(graph(), machine(), WORK, minimize="tpot_s").plan
    plans = [
        best,
        pl.uniform_plan(graph(), machine(), pipeline_parallel=3, tensor_parallel=2),
        pl.uniform_plan(graph(), machine(), data_parallel=3, expert_parallel=2, tensor_parallel=2),
    ]
    paths = []
    for number, plan in enumerate(plans):
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(plan.to_json(), encoding="utf-8")
    return paths


def read_and_score(path: Path) -> Any:
    """A plan, checked and priced as `planner score --plan` does it."""
    plan = read_plan(path)
    broken = pl.check_plan(plan, graph(), machine(), WORK)
    try:
        score = pl.score_plan(plan, graph(), machine(), WORK)
    except InfeasibleError:
        assert broken
        return broken
    return broken, score


def certificate_files(folder: Path) -> list[Path]:
    """One of plans that an engine runs, one of any plan."""
    paths = []
    for number, space in enumerate(("engine", "any")):
        found = pl.partition(tiny_graph(2), tiny_topology(2), WORK, minimize="tpot_s", space=space)
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(found.certificate().to_json(indent=None), encoding="utf-8")
    return paths


def read_and_verify(path: Path) -> Any:
    """A certificate, checked for a moment."""
    return str(pl.verify(path, time_limit_s=0.3))


def operator_files(folder: Path) -> list[Path]:
    """A graph of four operators, in the format that is published."""
    text = (
        '{"maxSizePerFPGA": 100.0, "maxFPGAs": 2, "maxCPUs": 1, "nodes": ['
        + ", ".join(
            f'{{"id": {n}, "fpgaLatency": {n + 1}.5, "cpuLatency": 10, "supportedOnFpga": 1, "size": 10,'
            f' "isBackwardNode": {n // 2}, "colorClass": {n % 2}}}'
            for n in range(4)
        )
        + '], "edges": [{"sourceId": 0, "destId": 1, "cost": 0.5}, {"sourceId": 1, "destId": 2, "cost": 1},'
        ' {"sourceId": 2, "destId": 3, "cost": 2}]}'
    )
    path = folder / "operators.json"
    path.write_text(text, encoding="utf-8")
    return [path]


def read_operators(path: Path) -> Any:
    """A graph of operators, and where rules of thumb put them."""
    return pl.rules_of_thumb(pl.load_operators(path))


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────

COLUMNS = (
    "row_id", "family", "field", "value", "model", "topology", "chips", "software", "weight_dtype", "batch_size",
    "prompt_tokens", "output_tokens", "arrivals", "plan", "tensor_parallel", "collective", "ranks", "message_bytes",
    "source",
)  # fmt: skip
ROWS = f"""{",".join(COLUMNS)}
a,served,tpot_s,0.01,llama-3.2-1b,hgx-h100,2,vllm,fp8,4,128,32,steady,uniform,2,,,,us
b,served,tokens_per_s,800,llama-3.2-3b,gh200,1,sglang,bf16,,256,64,together,uniform,1,,,,
c,wires,collective_s,0.0001,,hgx-h100,8,nccl,,,,,,,,all_reduce,8,1000000,them
d,served,ttft_s,0.2,qwen3-0.6b,rtx-4090,1,,int8,1,1000,10,steady,best,,,,,
"""


def measurement_files(folder: Path) -> list[Path]:
    """A table of measurements."""
    path = folder / "rows.csv"
    path.write_text(ROWS, encoding="utf-8")
    return [path]


def read_and_predict(path: Path) -> Any:
    """A table, and what is predicted of its first rows."""
    return cases_of(read_measurements(path)[:4])


CLAIMS = """source = "us"
[[claim]]
name = "a"
quote = "An LPU is ten times an H100."
topology = "groq-lpu-chain"
over = "hgx-h100"
advantage = 10.0
model = "llama-3.1-70b"
[[claim]]
name = "b"
quote = "It reads 300 GB/s."
topology = "l4"
figure = "chip.memory[0].bandwidth_bytes_per_s"
value = 3e11
[[claim]]
name = "c"
quote = "70 B at 500 tokens a second."
topology = "hgx-h100"
chips = 8
parameters = 7e10
tokens_per_s_per_user = 500.0
batch_size = 1
weight_dtype = "fp8"
"""
SPEC = """models = ["llama-3.2-1b", "qwen3-0.6b"]
weights = "fp8"
topologies = ["hgx-h100:2", "gh200"]
objectives = ["tpot_s", "energy_per_token_j"]
limits = { ttft_s = "2 s", tpot_s = 0.03 }
[[workload]]
batch_size = [1, 8]
prompt_tokens = 128
output_tokens = [32, 64]
[[workload]]
requests_per_s = 2.0
arrivals = "poisson"
"""


def claim_files(folder: Path) -> list[Path]:
    """Three claims."""
    path = folder / "claims.toml"
    path.write_text(CLAIMS, encoding="utf-8")
    return [path]


def spec_files(folder: Path) -> list[Path]:
    """A sweep of forty cells."""
    path = folder / "sweep.toml"
    path.write_text(SPEC, encoding="utf-8")
    return [path]


def read_cells(path: Path) -> Any:
    """A sweep, and its first cells."""
    return [cell for cell, _ in zip(read_spec(path).cells(), range(100), strict=False)]


def read_claims_of(path: Path) -> Any:
    """Claims, as text."""
    return [str(one) for one in read_claims(path)]
