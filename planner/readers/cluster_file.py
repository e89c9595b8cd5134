"""A cluster from a TOML file: pools, each a topology by name or as a table of its own, and the
links between them."""

from collections.abc import Callable, Mapping
from typing import Any

from planner.errors import InputError, listed, nearest_names, shortened
from planner.machines.cluster import Cluster
from planner.machines.topology import Topology
from planner.readers.topology_file import Book, tables

Fields = dict[str, Any]
PLAIN = {
    "cluster": {"name", "title", "pool", "link"},
    "pool": {"name", "topology", "chips", "software", "exclude"},
    "link": {"between", "bandwidth", "latency"},
}
LINK = {
    "bandwidth": ("bandwidth_bytes_per_s", "bytes per second"),
    "latency": ("latency_s", "seconds"),
}


def cluster_from(
    fields: Mapping[str, Any],
    find_topology: Callable[[str | Mapping[str, Any], int | None, str | None], Topology],
) -> Cluster:
    """The cluster that a parsed file describes; `find_topology` takes what stands under
    `topology`, `chips` and `software`."""
    _known(fields, "cluster")
    book, pools, links = Book(), [], []
    for number, pool in enumerate(tables(fields, "pool")):
        _known(pool, "pool")
        given = pool.get("topology")
        if not isinstance(given, str | dict):
            raise InputError(
                f"pool[{number}].topology must be a name of the catalogue or a table, written as"
                " [pool.topology]"
            )
        topology = find_topology(given, pool.get("chips"), pool.get("software"))
        pools.append(
            {
                "name": pool.get("name", topology.name),
                "topology": topology,
                "exclude": pool.get("exclude", ()),
            }
        )
    for number, link in enumerate(tables(fields, "link")):
        _known(link, "link")
        missing = [key for key in ("between", *LINK) if key not in link]
        if missing:
            raise InputError(
                f"link[{number}].{missing[0]} is missing; give two pools, a bandwidth and a latency"
            )
        figures = {
            name: book.figure(
                link[key], f"links[{number}].{name}", dimension, f"link[{number}].{key}"
            )
            for key, (name, dimension) in LINK.items()
        }
        links.append({"between": link["between"], **figures})
    made = {
        "name": fields.get("name"),
        "title": fields.get("title", ""),
        "pools": pools,
        "links": links,
    }
    if made["name"] is None:
        raise InputError("cluster.name is missing; give it a name in kebab-case")
    return Cluster.from_fields({**made, "figures": book.figures})


def _known(fields: Mapping[str, Any], table: str) -> None:
    for key in fields:
        if key not in PLAIN[table]:
            nearest = listed(nearest_names(key, PLAIN[table]), "or")
            raise InputError(
                f"{table}.{shortened(key)} is not a field of a {table}; did you mean {nearest}?"
            )
