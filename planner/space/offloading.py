"""Plans with layers off the first memory of the chips: which of them, for a plan that is given
otherwise.

The rule is the engines' own: the first layers of a stage leave the chips, as few as have to.
llama.cpp keeps the last `n-gpu-layers` on the card and the embedding never; vLLM leaves weights
behind in the order in which layers are made, until it has left as much as was asked for.
"""

import bisect

from planner.errors import InputError
from planner.machines.tiers import second_tier
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.pricing.holdings import StageHoldings
from planner.pricing.schedule import Schedule
from planner.pricing.served import Served
from planner.workload import Workload

FITTED_TOKENS = 4096
"""Of the cache for which an engine leaves room that fits layers to memory before it knows of any
request: llama.cpp's least context when it fits a model by itself (`--fit-ctx`)."""


def with_first_layers(plan: Plan, layers: int) -> Plan:
    """A plan with so many of the first layers of each stage off its chips' first memory."""
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < 0:
        raise InputError(f"offloaded_layers must be a whole number of at least 0, not {layers!r}")
    fewest = min(len(stage.layers) for stage in plan.stages)
    if layers > fewest:
        raise InputError(
            f"offloaded_layers is {layers}, but the smallest stage has {fewest} layers"
        )
    return plan.replace(
        stages=tuple(
            stage.replace(offloaded=stage.layers[:layers]) if layers else stage
            for stage in plan.stages
        )
    )


def fewest_offloaded(plan: Plan, served: Served, batch_size: int) -> Plan:
    """A plan with as few of the first layers of each stage off the first memory as leave room for
    so many sequences in all replicas; all of a stage where none do."""
    at = served.schedule(batch_size, plan.replicas, plan.micro_batches)
    stages = tuple(_fitted(stage, served, at) for stage in plan.stages)
    return plan if stages == plan.stages else plan.replace(stages=stages)


def _fitted(stage: Stage, served: Served, at: Schedule) -> Stage:
    def leaving(layers: int) -> Stage:
        return stage.replace(offloaded=stage.layers[:layers])

    def fits(layers: int) -> bool:
        ledger = StageHoldings(served, leaving(layers)).ledger(at)
        return ledger.needed_bytes <= ledger.usable_bytes

    # What stays only shrinks as more leave.
    return leaving(bisect.bisect_left(range(len(stage.layers)), True, key=fits))


def can_offload(plan: Plan, topology: Topology) -> bool:
    """Whether layers of a plan of this form can lie off the first memory of its chips."""
    tier = topology.kept(second_tier)
    if tier is None:
        return False
    return tier.host is None or all(stage.tensor_parallel == 1 for stage in plan.stages)


def fitted_by_engine(plan: Plan, graph: ModelGraph, topology: Topology) -> Plan:
    """What an engine that leaves whole layers behind makes of a plan by itself when it starts:
    itself where the chips can hold the weights, else with room for one cache of
    `FITTED_TOKENS` in each replica."""
    if topology.software.engine.offload != "layers" or graph.is_diffusion:
        return plan
    if not can_offload(plan, topology):
        return plan
    context = Workload(
        batch_size=plan.replicas,
        prompt_tokens=FITTED_TOKENS - 1,
        output_tokens=1,
        arrivals="together",
    )
    served = Served(graph, topology, context)
    held = (StageHoldings(served, stage).weight_bytes for stage in plan.stages)
    if all(weights <= served.usable_bytes for weights in held):
        return plan
    return fewest_offloaded(plan, served, plan.replicas)
