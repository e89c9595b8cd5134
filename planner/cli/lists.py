"""Commands that list the catalogue: `models`, `topologies`, `clusters`."""

from collections.abc import Mapping, Sequence

from planner.cli.options import Shape
from planner.cli.streams import answer


def models(format: Shape = "table") -> None:
    """The models of the catalogue."""
    from planner import catalogue
    from planner.units import spoken

    graphs = [catalogue.load_model(name) for name in catalogue.model_names()]
    rows = [
        {
            "model": graph.name,
            "parameters": f"{graph.parameters / 1e9:.4g} B",
            "active": f"{graph.parameters_active / 1e9:.4g} B",
            "layers": str(len(graph.layers) - 2),
            "as published": graph.weight_dtype,
            "KV cache of a token": spoken(graph.kv_bytes_per_token, "B"),
            "confidence": graph.confidence,
        }
        for graph in graphs
    ]
    _list(format, rows)


def topologies(format: Shape = "table") -> None:
    """The machines of the catalogue."""
    from planner import catalogue
    from planner.machines.topology import described
    from planner.units import spoken

    machines = [catalogue.load_topology(name) for name in catalogue.topology_names()]
    rows = [
        {
            "topology": machine.name,
            "chips": str(machine.chips),
            "at most": str(machine.limit_chips),
            "memory": spoken(machine.chip.memory[0].capacity_bytes, "B"),
            "bandwidth": spoken(machine.chip.memory[0].bandwidth_bytes_per_s, "B/s"),
            "power a chip": spoken(machine.power.system_w or machine.power.chip_w, "W"),
            "software": machine.software.name,
            "made of": described(machine),
        }
        for machine in machines
    ]
    _list(format, rows)


def clusters(format: Shape = "table") -> None:
    """The clusters of the catalogue."""
    from planner import catalogue

    known = [catalogue.load_cluster(name) for name in catalogue.cluster_names()]
    rows = [
        {
            "cluster": one.name,
            "pools": " + ".join(f"{pool.free_chips} × {pool.topology.name}" for pool in one.pools),
            "made of": one.title,
        }
        for one in known
    ]
    _list(format, rows)


def _list(format: str, rows: Sequence[Mapping[str, str]]) -> None:
    """The rows as a table, or as they are."""
    from planner.report.text import aligned

    lines = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    answer(format, "\n".join(aligned(lines)), rows)
