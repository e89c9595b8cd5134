"""Which parallel degrees a model can be split by: said here once, for the rules of a plan and for
the space of plans.

Each rule gives the fault of a degree in a sentence, or None. Heads are shared out whole over a
tensor group, and key-value heads too, which may also be held in copies. Software that pads adds
empty heads until they divide, but few leave a chip with empty heads alone. Experts are shared out
whole too; software that holds some of them twice fills the ranks where their number does not
divide. Sequence parallel degrees are no rule of a plan, since keys may go round a ring: the space
has those alone in which tensor × sequence divides the heads likewise.
"""

from planner.machines.software import Software
from planner.models.graph import ModelGraph


def tensor_fault(graph: ModelGraph, software: Software, tensor: int) -> str | None:
    """Of a tensor parallel degree."""
    most = software.most_tensor_parallel
    if tensor > most:
        return (
            f"tensor_parallel is {tensor}, but {software.name} splits a layer at most {most} ways"
        )
    fault = _heads_fault(graph, software, tensor, f"tensor_parallel = {tensor}")
    if fault is not None or software.pads_heads:
        return fault
    for heads in graph.splits().get("kv_heads", ()):
        if heads % tensor and tensor % heads:
            neither = f"tensor_parallel = {tensor} neither divides nor is a multiple of"
            return f"{neither} the {heads} key-value heads"
    return None


def _heads_fault(graph: ModelGraph, software: Software, ways: int, named: str) -> str | None:
    for heads in graph.splits().get("heads", ()):
        if ways > heads and software.pads_heads and not software.leaves_chips_without_heads:
            return f"{named} leaves chips without any of the {heads} heads of {graph.name}"
        if heads % ways and not software.pads_heads:
            return f"{named} does not divide the {heads} heads of {graph.name}"
    return None


def expert_fault(graph: ModelGraph, software: Software, expert: int) -> str | None:
    """Of an expert parallel degree."""
    counts = graph.splits().get("experts", ())
    if expert > 1 and not counts:
        return f"expert_parallel is {expert}, but {graph.name} has no experts; it must be 1"
    redundant = software.engine.redundant_experts
    for experts in counts:
        if redundant and expert > experts:
            return f"expert_parallel = {expert} is more than the {experts} experts of {graph.name}"
        if experts % expert and not redundant:
            return (
                f"expert_parallel = {expert} does not divide the {experts} experts of {graph.name}"
            )
    return None


def nesting_fault(tensor: int, expert: int) -> str | None:
    """Of the two together: whole experts inside a tensor group, or whole tensor groups for each
    expert."""
    if expert % tensor and tensor % expert:
        neither = f"expert_parallel = {expert} neither divides nor is a multiple of"
        return f"{neither} tensor_parallel = {tensor}"
    return None


def tensor_degrees(graph: ModelGraph, software: Software, most: int) -> list[int]:
    """All that have no fault, up to so many chips, ascending."""
    if not software.leaves_chips_without_heads:
        most = min(most, *graph.splits().get("heads", (most,)))
    return [
        tensor for tensor in range(1, most + 1) if tensor_fault(graph, software, tensor) is None
    ]


def sequence_degrees(graph: ModelGraph, software: Software, tensor: int, most: int) -> list[int]:
    """Beside a tensor parallel degree, those that share out whole heads, on up to so many chips."""
    most = min(most, *graph.splits().get("heads", (most,)))
    ways = (tensor * sequence for sequence in range(1, max(1, most // tensor) + 1))
    return [one // tensor for one in ways if _heads_fault(graph, software, one, "") is None]


def expert_degrees(graph: ModelGraph, software: Software, most: int) -> list[int]:
    """The same of expert parallel degrees."""
    most = min(most, *graph.splits().get("experts", (1,)))
    return [
        expert for expert in range(1, most + 1) if expert_fault(graph, software, expert) is None
    ]
