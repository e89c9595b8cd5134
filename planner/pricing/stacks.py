"""Which of a machine's software stacks runs a model: servers of language models are not what
diffusion models and encoders run in.
"""

from planner.catalogue import load_stack
from planner.machines.topology import ModelClass, Topology
from planner.models.graph import ModelGraph


def class_of(graph: ModelGraph) -> ModelClass | None:
    """The class of models that a graph belongs to, beside language models."""
    if graph.is_diffusion:
        return "diffusion"
    runs_once = graph.layers[-1].kind in ("pooler", "outputs")
    return "encoder" if runs_once and not graph.makes_tokens else None


def machine_for(graph: ModelGraph, topology: Topology) -> Topology:
    """The machine with the stack that runs such a model, where nobody chose another; itself for
    what its own stack is made for."""
    wanted = class_of(graph)
    if wanted is None or not topology.other_software:
        return topology
    return topology.kept(_diffusing if wanted == "diffusion" else _encoding)


def _diffusing(topology: Topology) -> Topology:
    return _with_stack_for(topology, "diffusion")


def _encoding(topology: Topology) -> Topology:
    return _with_stack_for(topology, "encoder")


def _with_stack_for(topology: Topology, models: ModelClass) -> Topology:
    for other in topology.other_software:
        if other.models == models:
            own = [one for one in topology.figures if not one.path.startswith("software.")]
            software, figures = load_stack(other.software)
            return topology.replace(software=software, figures=(*own, *figures))
    return topology
