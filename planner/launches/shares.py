"""What the share of memory that an engine is told comes to, as a share of each chip's whole memory.

vLLM is told just that. SGLang is told what weights and caches may take, without the buffers beside
them [1]; TensorRT-LLM what caches may take of what weights and buffers leave [2]. Buffers are those
of the ledger, so that caches have the room that the engine gives them.

[1] `kv_cache_configurator` of SGLang 0.5.23: what is left is (1 - mem_fraction_static) of the memory
before the model was loaded.
[2] TensorRT-LLM's documentation of `free_gpu_memory_fraction`.
"""

from planner.launches.launch import Launch
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.holdings import Ledger, StageHoldings
from planner.pricing.served import Served, settled
from planner.pricing.stacks import machine_for
from planner.workload import Workload


def told_share(
    launch: Launch, plan: Plan, graph: ModelGraph, topology: Topology, workload: Workload
) -> float | None:
    """Of each chip's memory, what the plan's weights, caches and buffers may fill; None: nothing is
    told."""
    if launch.cache_share is None and launch.engine != "sglang":
        return launch.memory_share
    if launch.cache_share is None and launch.memory_share is None:
        return None
    ledgers = _ledgers(launch, plan, graph, topology, workload)
    capacity = topology.chip.memory[0].capacity_bytes
    kept = topology.software.reserved_bytes
    if launch.cache_share is None:
        beside = max(one.activation_bytes + one.workspace_bytes for one in ledgers)
        return min(1.0, (launch.memory_share or 0.0) + (kept + beside) / capacity)
    held = kept + max(one.needed_bytes - one.kv_bytes for one in ledgers)
    return min(1.0, (held + launch.cache_share * max(0.0, capacity - held)) / capacity)


def _ledgers(
    launch: Launch, plan: Plan, graph: ModelGraph, topology: Topology, workload: Workload
) -> list[Ledger]:
    """Of the stages, with as many sequences as are asked for, or as the engine takes at most."""
    served = Served(graph, machine_for(graph, topology), settled(workload, plan))
    most = topology.software.most_sequences * plan.stages[0].attention_parallel
    each = min(launch.most_sequences or most, most)
    taken = each * plan.replicas
    sequences = taken if workload.batch_size is None else min(workload.batch_size, taken)
    at = served.schedule(sequences, plan.replicas, plan.micro_batches)
    return [StageHoldings(served, stage).ledger(at) for stage in plan.stages]
