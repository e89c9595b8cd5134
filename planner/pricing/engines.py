"""What an engine's rules say of a plan: stated here once, for the check of a plan and for the space
of plans.

Each rule gives its fault in a sentence, or None.
"""

from collections.abc import Iterator

from planner.machines.engine import Engine
from planner.machines.software import Software
from planner.models.graph import ENDS, ModelGraph
from planner.models.operators import Attention, Experts, LayerOperator, MatMul, Recurrent
from planner.plan import Plan, Stage
from planner.pricing.holdings import split_of
from planner.pricing.price_list import Split


def rules_said(software: Software) -> str:
    """Whose rules plans keep and where they are from, or that none are known."""
    engine = software.engine
    if not engine.is_known:
        return (
            f"the rules of {software.name}'s engine are not known: any plan counts as one that it"
            " can run"
        )
    whose = f"{software.name} {engine.version}".rstrip()
    return f"plans are those that {whose} can run ({engine.source or 'no source'})"


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
    if engine.is_known and graph.lent_caches:
        layers = 1
    return min(layers, engine.most_stages)


def split_fault(graph: ModelGraph, software: Software, split: Split, stages: int) -> str | None:
    """Of one split for every one of so many stages."""
    return (
        _cache_fault(graph, software, stages)
        or _degree_fault(software, split, stages)
        or group_fault(graph, software, split)
        or block_fault(graph, software, split)
    )


def _cache_fault(graph: ModelGraph, software: Software, stages: int) -> str | None:
    """Of stages, where layers read each other's caches."""
    if stages == 1 or not (software.engine.is_known and graph.lent_caches):
        return None
    borrower, lender = graph.lent_caches[0]
    return (
        f"{software.name} cuts no model into stages whose layers share caches, as"
        f" {graph.names[borrower]} of {graph.name} reads that of {graph.names[lender]};"
        f" make it one stage, not {stages}"
    )


def group_fault(graph: ModelGraph, software: Software, split: Split) -> str | None:
    """Of the key heads of recurrences, which no engine repeats as it does those of attention, but
    where there is one for all heads [1].

    [1] The mixers of Mamba-2 in vLLM, SGLang and Megatron-LM, each of which asserts it.
    """
    if not software.engine.is_known or split.tensor == 1:
        return None
    for operator in graph.operators:
        if not isinstance(operator, Recurrent) or operator.key_heads == 1:
            continue
        if operator.key_heads % split.tensor:
            return (
                f"{software.name} does not repeat the {operator.key_heads} key heads, or groups,"
                f" of {graph.name}'s recurrences, and tensor_parallel = {split.tensor} does not"
                " divide them"
            )
    return None


def _degree_fault(software: Software, split: Split, stages: int) -> str | None:
    engine = software.engine
    if stages > engine.most_stages:
        return (
            f"{software.name} cuts a model into at most {engine.most_stages} stages, not {stages}"
        )
    if stages > 1 and split.tensor > 1 and not engine.tensor_in_pipelines:
        return (
            f"{software.name} cannot combine tensor parallel with pipeline stages;"
            f" with {stages} stages make tensor_parallel 1, not {split.tensor}"
        )
    ranks = split.tensor * split.attention
    return _shared_fault(software, "expert_parallel", engine.experts, split.expert, ranks) or (
        _shared_fault(software, "attention data parallel", engine.attention, split.attention, ranks)
    )


def _shared_fault(software: Software, name: str, allowed: str, ways: int, ranks: int) -> str | None:
    if ways == 1 or allowed == "any":
        return None
    if allowed == "none":
        return f"{software.name} does not support {name}; make it 1, not {ways}"
    if ways != ranks:
        return (
            f"{software.name} supports {name} of 1 or of all {ranks} ranks of a stage, not {ways}"
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
        for number, operator in enumerate(operators):
            widths, ways = _cut_widths(operators, number, graph.weight_dtype, split)
            for width in widths:
                if width % (block * ways) and ways > 1:
                    return (
                        f"{software.name} cannot split a block of {block} weights that share a scale:"
                        f" {operator.name} of {graph.name}, {width:,} wide, would leave"
                        f" {width / ways:,g} on each of {ways} ranks; {_remedy(operator, split)}"
                    )
    return None


def _remedy(operator: LayerOperator, split: Split) -> str:
    fewer = f"make tensor_parallel less than {split.tensor}"
    return f"{fewer}, or share out whole experts" if isinstance(operator, Experts) else fewer


def _cut_widths(
    operators: tuple[LayerOperator, ...], number: int, dtype: str, split: Split
) -> tuple[tuple[int, ...], int]:
    """The widths that tensor ranks share out of one of a layer's operators, and among how many:
    of each of the matrices that stand behind it; none where its weights are not quantised."""
    operator = operators[number]
    if isinstance(operator, Experts) and operator.weight_dtype == dtype:
        # Whole experts first: what is left of the group cuts each.
        return (operator.hidden,), max(1, split.tensor // split.expert)
    if not isinstance(operator, MatMul) or operator.weight_dtype != dtype:
        return (), 1
    if operator.split == "none":
        return (), 1
    ways = min(split.tensor, operator.most_ways)
    if operator.split == "inputs":
        return (operator.inputs,), ways
    after = (one for one in operators[number:] if isinstance(one, Attention | Recurrent))
    return _matrices_of(operator, next(after, None)), ways


def _matrices_of(operator: MatMul, mixer: Attention | Recurrent | None) -> tuple[int, ...]:
    """Widths of the matrices that a column split launches as one, before what mixes their tokens:
    keys and values, or all that goes into a recurrence. A value for each head, such as a gate or a
    rate of decay, has a matrix of its own that nobody quantises."""
    outputs = operator.outputs
    if isinstance(mixer, Attention):
        keys = mixer.kv_heads * mixer.key_width
        if operator.fused:
            return (keys, outputs - keys) if keys < outputs else (outputs,)
        queries = mixer.heads * mixer.key_width
        return (queries,) if outputs - queries == mixer.heads else (outputs,)
    if isinstance(mixer, Recurrent):
        keys = mixer.key_heads * mixer.key_width
        values = mixer.heads * mixer.value_width
        # One group of keys is repeated on every rank.
        split_keys = (keys,) if mixer.key_heads > 1 else ()
        return (*split_keys, values) if outputs >= 2 * keys + values else (outputs,)
    return (outputs,)


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
