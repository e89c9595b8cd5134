"""Commands that list the catalogue: `models`, `topologies`, `clusters`."""

from planner import catalogue
from planner.cli.answers import answer
from planner.cli.arguments import Shape
from planner.machines.topology import described
from planner.report.text import aligned
from planner.units import spoken


def models(format: Shape = "table") -> None:
    """The models of the catalogue."""
    graphs = [catalogue.load_model(name) for name in catalogue.model_names()]
    header = (
        "model",
        "parameters",
        "active",
        "layers",
        "as published",
        "KV cache of a token",
        "confidence",
    )
    rows = [
        (
            graph.name, f"{graph.parameters / 1e9:.4g} B", f"{graph.parameters_active / 1e9:.4g} B", str(len(graph.layers) - 2),
            graph.weight_dtype, spoken(graph.kv_bytes_per_token, "B"), graph.confidence,
        )
        for graph in graphs
    ]  # fmt: skip
    answer(
        format,
        "\n".join(aligned([header, *rows])),
        [dict(zip(header, row, strict=True)) for row in rows],
    )


def topologies(format: Shape = "table") -> None:
    """The machines of the catalogue."""
    machines = [catalogue.load_topology(name) for name in catalogue.topology_names()]
    header = (
        "topology",
        "chips",
        "at most",
        "memory",
        "bandwidth",
        "power a chip",
        "software",
        "made of",
    )
    rows = [
        (
            machine.name, str(machine.chips), str(machine.limit_chips),
            spoken(machine.chip.memory[0].capacity_bytes, "B"), spoken(machine.chip.memory[0].bandwidth_bytes_per_s, "B/s"),
            spoken(machine.power.system_w or machine.power.chip_w, "W"), machine.software.name, described(machine),
        )
        for machine in machines
    ]  # fmt: skip
    answer(
        format,
        "\n".join(aligned([header, *rows])),
        [dict(zip(header, row, strict=True)) for row in rows],
    )


def clusters(format: Shape = "table") -> None:
    """The clusters of the catalogue."""
    known = [catalogue.load_cluster(name) for name in catalogue.cluster_names()]
    header = ("cluster", "pools", "made of")
    rows = [
        (
            one.name,
            " + ".join(f"{pool.free_chips} × {pool.topology.name}" for pool in one.pools),
            one.title,
        )
        for one in known
    ]
    answer(
        format,
        "\n".join(aligned([header, *rows])),
        [dict(zip(header, row, strict=True)) for row in rows],
    )
