"""How time grows with the layers of the model and the chips of the machine."""

import math
import time
from collections.abc import Callable, Iterable

import planner as pl
from planner.models.decoder import DecoderShape, Formats, decoder_graph
from planner.studies.advantage.crossovers import crossover

LAYERS = (16, 32, 64, 128, 254)
LPUS = (8, 64, 576, 2048, 10440)
GPUS = (8, 16, 32, 64)
SHAPE = DecoderShape(
    layers=16, hidden=8192, heads=64, kv_heads=8, head_dim=128, ffn=28672, vocabulary=128256
)
SMALL = SHAPE.replace(hidden=2048, heads=16, kv_heads=8, ffn=8192, vocabulary=32000)


def by_layers(layers: int) -> Callable[[], object]:
    """Best time per token of a model of so many layers on 64 GPUs in nodes of eight."""
    graph = decoder_graph(
        SHAPE.replace(layers=layers), f"{layers} layers", Formats(weight_dtype="fp8")
    )
    return lambda: pl.partition(
        graph, pl.load_topology("hgx-h100", chips=64), pl.Workload(batch_size=8), minimize="tpot_s"
    )


def by_lpus(chips: int) -> Callable[[], object]:
    """The largest model of the small shape that fits so many LPUs at half their memory."""
    room = chips * 230e6 * 0.5
    layers = max(1, min(254, int((room - 2 * 65e6) / 61e6)))
    graph = decoder_graph(
        SMALL.replace(layers=layers), f"{layers} layers", Formats(weight_dtype="fp8")
    )
    topology = pl.load_topology("groq-lpu-chain", chips=chips)
    return lambda: pl.partition(graph, topology, pl.Workload(batch_size=1), minimize="tpot_s")


def by_layers_of_a_chain(layers: int) -> Callable[[], object]:
    """First token of so many layers of the small shape on a hundred LPUs for each: 1,000 layers
    on 100,000 chips."""
    graph = decoder_graph(
        SMALL.replace(layers=layers), f"{layers} layers", Formats(weight_dtype="fp8")
    )
    chain = pl.load_topology("groq-lpu-chain")
    *inner, last = chain.fabrics
    nodes = 100 * layers // 8
    topology = chain.replace(
        chips=8 * nodes, most_chips=None, fabrics=(*inner, last.replace(units=nodes))
    )
    return lambda: pl.partition(graph, topology, pl.Workload(batch_size=1), minimize="ttft_s")


def by_chips_of_any_form(chips: int) -> Callable[[], object]:
    """Dollars a token of plans of any form under limits on both waits, the batch open."""
    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    topology = pl.load_topology("hgx-b200", chips=chips)
    workload = pl.Workload(batch_size=None, prompt_tokens=2048, output_tokens=256)
    limits = {"ttft_s": 2.0, "tpot_s": 0.03}
    return lambda: pl.partition(
        graph, topology, workload, minimize="usd_per_million_tokens", limits=limits, space="any"
    )


def by_experts(chips: int) -> Callable[[], object]:
    """DeepSeek-V3 with expert parallelism and data-parallel attention: joules a token of a large
    batch."""
    graph, topology = (
        pl.load_model("deepseek-v3", weight_dtype="fp8"),
        pl.load_topology("gb200-nvl72", chips=chips),
    )
    return lambda: pl.partition(
        graph, topology, pl.Workload(batch_size=512), minimize="energy_per_token_j"
    )


def by_gpus(chips: int) -> Callable[[], object]:
    """Llama-3.1-70B at its best price on so many GPUs."""
    graph, topology = (
        pl.load_model("llama-3.1-70b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100", chips=chips),
    )
    return lambda: pl.partition(
        graph, topology, pl.Workload(batch_size=64), minimize="usd_per_million_tokens"
    )


def by_score(chips: int) -> Callable[[], object]:
    """`score_plan` of tensor parallel 8 in replicas."""
    graph, topology = (
        pl.load_model("llama-3.1-70b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100", chips=chips),
    )
    plan = pl.uniform_plan(graph, topology, tensor_parallel=8, data_parallel=chips // 8)
    return lambda: pl.score_plan(plan, graph, topology, pl.Workload(batch_size=64))


def by_grid(points: int) -> Callable[[], object]:
    """A grid of four degrees, 250 batches and so many points in all."""
    graph, topology = (
        pl.load_model("llama-3.1-70b", weight_dtype="fp8"),
        pl.load_topology("hgx-h100"),
    )
    contexts = [100.0 * (number + 1) for number in range(points // 1000)]
    return lambda: pl.decode_grid_s(
        graph,
        topology,
        tensor_parallel=(1, 2, 4, 8),
        batch_sizes=range(1, 251),
        context_tokens=contexts,
    )


def by_users(users: int) -> Callable[[], object]:
    """Where LPUs' joules a token meet those of H100s, for models with experts and so many users."""
    work = pl.Workload(batch_size=users, prompt_tokens=1024, output_tokens=256)
    return lambda: crossover("hgx-h100", "groq-lpu-chain", family="moe", workload=work)


CURVES: tuple[tuple[str, str, Callable[[int], Callable[[], object]], tuple[int, ...]], ...] = (
    ("partition, tpot_s, 64 H100", "layers", by_layers, LAYERS),
    ("partition, tpot_s, LPU chain", "chips", by_lpus, LPUS),
    ("partition, ttft_s, LPU chain", "layers", by_layers_of_a_chain, (64, 254, 1000)),
    ("partition, usd, 70B, H100", "chips", by_gpus, GPUS),
    ("partition, usd, any form, limits, 70B, B200", "chips", by_chips_of_any_form, (8, 16, 32)),
    ("partition, J/token, DeepSeek-V3", "chips", by_experts, (16, 72)),
    ("score_plan, 70B, H100", "chips", by_score, GPUS),
    ("decode_grid_s, 70B, H100", "plans", by_grid, (10_000, 100_000, 1_000_000)),
    ("crossover, experts, H100 and LPUs", "users", by_users, (1, 32)),
)


def best_s(work: Callable[[], object], *, least_s: float = 0.5) -> float:
    """The fastest of several runs, at least two, until `least_s` is spent."""
    taken: list[float] = []
    while len(taken) < 2 or (sum(taken) < least_s and len(taken) < 200):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """The slope of a straight line through the points on logarithmic axes: time grows as size to
    this power."""
    logs = [(math.log(size), math.log(seconds)) for size, seconds in points]
    mean_x, mean_y = (sum(column) / len(logs) for column in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum(
        (x - mean_x) ** 2 for x, _ in logs
    )
