"""What an engine's rules say of a plan: stated here once, for the check of a plan and for the space
of plans.

Each rule gives its fault in a sentence, or None.
"""

from collections.abc import Iterator

from planner.machines.engine import Engine
from planner.machines.software import Software
from planner.models.graph import ENDS, ModelGraph
from planner.models.operators import Experts, LayerOperator, MatMul
from planner.plan import Plan, Stage
from planner.pricing.holdings import split_of
from planner.pricing.price_list import Split


def rules_said(software: Software) -> str:
    """Whose rules plans keep and where they are from, or that none are known."""
    engine = software.engine
    if not engine.is_known:
        return (
            f"no rules of {software.name}'s engine are known: any plan counts as one that it runs"
        )
    whose = f"{software.name} {engine.version}".rstrip()
    return f"plans are those that {whose} can be started with ({engine.source or 'no source'})"


def in_flight(engine: Engine, stages: int, sequences: int) -> int | None:
    """Into how many micro-batches an engine cuts the sequences of a replica; None where that is
    free."""
    if engine.micro_batches == "any":
        return None
    if stages == 1:
        return 1
    most = {"one": 1, "stages": stages, "stages + 1": stages + 1, "sequences": sequences}
    return min(most[engine.micro_batches], sequences)


def deepest(graph: ModelGraph, software: Software) -> int:
    """The most stages that the layers and the engine's rules allow, whatever the split."""
    engine = software.engine
    layers = len(graph.layers)
    if engine.decoder_on_each_stage:
        layers = max(1, len(graph.inner_positions))
    return min(layers, engine.most_stages)


def split_fault(graph: ModelGraph, software: Software, split: Split, stages: int) -> str | None:
    """Of one split for every one of so many stages."""
    return _degree_fault(software, split, stages) or block_fault(graph, software, split)


def _degree_fault(software: Software, split: Split, stages: int) -> str | None:
    engine = software.engine
    if stages > engine.most_stages:
        return (
            f"{software.name} cuts a model into at most {engine.most_stages} stages, not {stages}"
        )
    if stages > 1 and split.tensor > 1 and not engine.tensor_in_pipelines:
        return (
            f"{software.name} splits layers over chips in one stage only;"
            f" make tensor_parallel 1, not {split.tensor}, over {stages} stages"
        )
    ranks = split.tensor * split.attention
    return _shared_fault(software, "expert_parallel", engine.experts, split.expert, ranks) or (
        _shared_fault(software, "attention data parallel", engine.attention, split.attention, ranks)
    )


def _shared_fault(software: Software, name: str, allowed: str, ways: int, ranks: int) -> str | None:
    if ways == 1 or allowed == "any":
        return None
    if allowed == "none":
        return f"{software.name} has no {name}; it must be 1, not {ways}"
    if ways != ranks:
        return (
            f"{software.name} has {name} over all {ranks} ranks of a stage or over one, not {ways}"
        )
    return None


def block_fault(graph: ModelGraph, software: Software, split: Split) -> str | None:
    """Of widths that tensor ranks share out, where weights have scales in blocks: none may be cut.

    Embedding and head have none: their weights are not quantised, and the vocabulary is padded.
    """
    block = graph.weight_block
    if block is None or not software.engine.whole_blocks:
        return None
    for kind in graph.kinds:
        operators = () if kind[0].kind in ENDS else kind[0].operators
        for operator in operators:
            width, ways = _cut_width(operator, graph.weight_dtype, split)
            if width % (block * ways) and ways > 1:
                return (
                    f"{software.name} keeps each {block} weights together that share a scale:"
                    f" {operator.name} of {graph.name}, {width:,} wide, leaves {width / ways:,g} on"
                    f" each of {ways} ranks; {_remedy(operator, split)}"
                )
    return None


def _remedy(operator: LayerOperator, split: Split) -> str:
    fewer = f"make tensor_parallel less than {split.tensor}"
    return f"{fewer}, or share out whole experts" if isinstance(operator, Experts) else fewer


def _cut_width(operator: LayerOperator, dtype: str, split: Split) -> tuple[int, int]:
    """The width that tensor ranks share out, and among how many; 1 where none is, or where its
    weights are not quantised."""
    if isinstance(operator, Experts) and operator.weight_dtype == dtype:
        # Whole experts first: what is left of the group cuts each.
        return operator.hidden, max(1, split.tensor // split.expert)
    if not isinstance(operator, MatMul) or operator.weight_dtype != dtype:
        return 0, 1
    if operator.split == "none":
        return 0, 1
    width = operator.inputs if operator.split == "inputs" else operator.outputs
    # Keys and values are matrices of their own, launched together.
    width = width // 2 if operator.fused else width
    return width, min(split.tensor, operator.most_ways)


def engine_faults(plan: Plan, graph: ModelGraph, software: Software) -> Iterator[str]:
    """Of a plan's form, whatever the batch."""
    engine = software.engine
    splits = [split_of(stage) for stage in plan.stages]
    if engine.like_stages and len(set(splits)) > 1:
        yield f"{software.name} splits all stages alike, and these are split {_unlike(plan)}"
        return
    for split in dict.fromkeys(splits):
        fault = split_fault(graph, software, split, len(plan.stages))
        if fault is not None:
            yield fault
    if engine.decoder_on_each_stage:
        yield from _bare_stages(plan, graph, software)


def _unlike(plan: Plan) -> str:
    shown = dict.fromkeys(
        f"{stage.tensor_parallel} tensor × {stage.expert_parallel} expert ways"
        for stage in plan.stages
    )
    return " and ".join(list(shown)[:3])


def _bare_stages(plan: Plan, graph: ModelGraph, software: Software) -> Iterator[str]:
    for number, stage in enumerate(plan.stages):
        if len(plan.stages) > 1 and not _has_inner_layer(stage, graph):
            yield (
                f"stage {number} has no decoder layer; {software.name} puts the embedding with the"
                " first of them and the head with the last"
            )


def _has_inner_layer(stage: Stage, graph: ModelGraph) -> bool:
    position = graph.position_of_layer
    return any(graph.layers[position[name]].kind not in ENDS for name in stage.layers)


def micro_batch_fault(plan: Plan, software: Software, sequences: int) -> str | None:
    """Of how a replica's sequences are cut."""
    wanted = in_flight(software.engine, len(plan.stages), sequences)
    if wanted is None or min(plan.micro_batches, sequences) == wanted:
        return None
    return (
        f"{software.name} keeps {wanted} micro-batches of {sequences} sequences in flight over"
        f" {len(plan.stages)} stages, not {plan.micro_batches}"
    )
