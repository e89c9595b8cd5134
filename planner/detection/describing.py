"""What was seen of a machine → the fields of its file: a topology where all chips are of one kind, a
cluster of pools where they are not, and nodes on a network where hosts are several."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from planner import catalogue
from planner.detection.clusters import tree_fabrics
from planner.detection.fabrics import Joined, joined
from planner.detection.origins import Fields, meanings, today
from planner.detection.processors import host_of, processor_chip
from planner.detection.products import Known, chip_of
from planner.detection.toml_writing import toml_text
from planner.detection.wires import Wire, network, port_of, way
from planner.errors import InputError, listed, plain_name
from planner.machines.cluster import Cluster
from planner.machines.topology import Topology
from planner.readers.machines.seen import SeenDevice, SeenMachine

MOST_POOLS = 16
"""A plan of more takes too long to prove."""
SAME_BANDWIDTH = 1.15
"""Two figures that differ by less are of the same link: data sheets round."""


class Asked(NamedTuple):
    """What somebody says of a machine besides."""

    name: str = "my-machine"
    chip: str | None = None
    """Of all its devices, where the description does not name them."""
    node: str | None = None
    """The machine that each host is, where the description names hosts alone."""
    software: str | None = None


class Described(NamedTuple):
    """A machine, in the words of a file."""

    kind: Literal["topology", "cluster"]
    fields: Fields
    remarks: tuple[str, ...]

    @property
    def text(self) -> str:
        """The file."""
        means = meanings(self.fields)
        legend = ["Short names of sources:", *means] if means else []
        return toml_text(self.fields, (*self.remarks, *legend))

    @property
    def title(self) -> str:
        """What it is made of."""
        return f"{self.fields['name']}: {self.fields['title']}"

    def read(self) -> Topology | Cluster:
        """What the file says; refused here, before anything is written, if it cannot be read."""
        if self.kind == "cluster":
            return catalogue.described_cluster(self.fields)
        return catalogue.described_topology(self.fields)


class Part(NamedTuple):
    """Like GPUs of one host."""

    host: str
    known: Known
    gpus: tuple[SeenDevice, ...]


def described(seen: SeenMachine, asked: Asked | None = None) -> Described:
    """The machine that a description tells of."""
    asked = asked or Asked()
    source = f"as {seen.format} reports, {today()}"
    parts = _parts(seen, asked, source)
    if not parts:
        return _without_gpus(seen, asked, source)
    hosts = tuple(dict.fromkeys(part.host for part in parts))
    sorts = {(part.known.fields["name"], len(part.gpus)) for part in parts}
    if len(parts) > len(hosts) or len(sorts) > 1:
        return _cluster(seen, asked, parts, source)
    fields, remarks = _topology(seen, asked, parts[0], source, hosts=len(hosts))
    return Described("topology", fields, (*_opening(seen), *seen.remarks, *remarks))


def _opening(seen: SeenMachine) -> tuple[str, ...]:
    return (f"Seen by {seen.format}, {today()}.",)


def _parts(seen: SeenMachine, asked: Asked, source: str) -> list[Part]:
    """GPUs by host and chip, in the order of the description."""
    found: dict[tuple[str, str], list[SeenDevice]] = {}
    chips: dict[tuple[str, str], Known] = {}
    looked_up: dict[object, Known] = {}
    for gpu in seen.of_kind("gpu"):
        # Thousands of nodes are of a few kinds.
        alike = gpu.product, gpu.memory_bytes, gpu.kept_bytes, gpu.cores
        if alike not in looked_up:
            looked_up[alike] = chip_of(gpu, source=source, chip=asked.chip)
        known = looked_up[alike]
        key = gpu.host, str(known.fields["name"])
        found.setdefault(key, []).append(gpu)
        chips.setdefault(key, known)
    return [Part(key[0], _least(chips[key], gpus, asked, source), tuple(gpus))
            for key, gpus in found.items()]  # fmt: skip


def _least(known: Known, gpus: Sequence[SeenDevice], asked: Asked, source: str) -> Known:
    """With the least memory that any of them has."""
    sized = [gpu for gpu in gpus if gpu.memory_bytes is not None]
    if len({gpu.memory_bytes for gpu in sized}) < 2:
        return known
    least = min(sized, key=lambda gpu: gpu.memory_bytes or 0.0)
    return chip_of(least, source=source, chip=asked.chip)


def _topology(
    seen: SeenMachine, asked: Asked, part: Part, source: str, *, hosts: int = 1
) -> tuple[Fields, list[str]]:
    """The fields of one kind of chip on one host, or on several that are alike."""
    architecture = str(part.known.fields.get("architecture", ""))
    found = joined(seen, part.gpus, architecture)
    like = _like(part.known.name, found)
    remarks = list(found.remarks)
    fabric = found.fabric
    if like is not None and _is_ordinary(fabric, like):
        fabric = {**like["fabric"][0], "units": len(part.gpus)}
    elif fabric is None and len(part.gpus) > 1:
        fabric = _unseen(part, like, architecture)
        remarks.append(
            "how the GPUs are connected was not seen: the usual links of these GPUs are assumed"
        )

    title = f"{hosts * len(part.gpus)} × {part.known.fields['name']}"
    made: Fields = {
        "name": asked.name,
        "title": title if hosts == 1 else f"{title}, {len(part.gpus)} on each of {hosts} hosts",
        "chips": hosts * len(part.gpus),
        "software": asked.software or _software(part.known, like),
        "chip": part.known.fields,
    }
    fabrics = [fabric] if fabric is not None else []
    if hosts > 1:
        fabrics.append(_network(like, hosts))
    if fabrics:
        made["fabric"] = fabrics
    _add_host(made, seen, part, architecture, source)
    if like is not None:
        made |= {key: like[key] for key in ("power", "price") if key in like}
    return made, remarks


def _add_host(made: Fields, seen: SeenMachine, part: Part, architecture: str, source: str) -> None:
    """The computer that the GPUs stand in, where its memory was seen; a chip that has a second
    memory of its own needs none."""
    processors = seen.of_kind("cpu", part.host)
    if not processors or len(part.known.fields["memory"]) > 1:
        return
    # Nodes of one NVLink domain are alike.
    everyone = max(1, len(seen.of_kind("gpu", part.host)) // len(processors))
    port = port_of(part.gpus[0], architecture).figure
    host = host_of(processors[0], everyone, port, source)
    if host is not None:
        made["host"] = host


def _like(chip: str, found: Joined) -> Mapping[str, Any] | None:
    """The machine of the catalogue that has this chip, of several the one that is joined so."""
    rows = [row for row in catalogue.topology_table().values() if row.get("chip") == chip]
    fitting = [row for row in rows if _is_ordinary(found.fabric, row)]
    whole = [row for row in rows if not str(row["name"]).startswith("superpod")]
    return next(iter([*fitting, *whole, *rows]), None)


def _is_ordinary(fabric: Fields | None, like: Mapping[str, Any]) -> bool:
    """Whether what was seen is the innermost fabric of a machine of the catalogue."""
    usual = next(iter(like.get("fabric", ())), None)
    if fabric is None or usual is None or fabric["shape"] == "links":
        return False
    if _family(fabric["name"]) != _family(usual["name"]) or usual["shape"] == "links":
        return False
    seen_as, stated = (
        Wire(one["bandwidth"], one["latency"]).bandwidth_bytes_per_s for one in (fabric, usual)
    )
    is_wider = max(seen_as, stated) / min(seen_as, stated)
    few = fabric["units"] == 2  # two chips reach each other alike whatever lies between them
    return is_wider < SAME_BANDWIDTH and (fabric["shape"] == usual["shape"] or few)


def _family(name: str) -> str:
    words = {"nvlink": "nvlink", "nvswitch": "nvlink", "xgmi": "xgmi", "pcie": "pcie"}
    plain = plain_name(name)
    return next((family for word, family in words.items() if plain.startswith(word)), plain)


def _unseen(part: Part, like: Mapping[str, Any] | None, architecture: str) -> Fields:
    """What joins like GPUs elsewhere; PCIe where the catalogue does not say."""
    usual = next(iter(like.get("fabric", ())), None) if like else None
    if usual is not None and usual["shape"] != "links" and usual["units"] >= len(part.gpus):
        return {**usual, "units": len(part.gpus)}
    wire = way("phb", port_of(part.gpus[0], architecture))
    return {
        "name": "PCIe",
        "shape": "switch",
        "units": len(part.gpus),
        "bandwidth": wire.bandwidth,
        "latency": wire.latency,
    }


def _network(like: Mapping[str, Any] | None, hosts: int) -> Fields:
    """Between hosts: as the catalogue's machine is joined to others, else a guess."""
    outer = like.get("fabric", ())[1:2] if like else ()
    if outer and outer[0]["shape"] == "switch":
        return {**outer[0], "units": hosts}
    wire = network()
    return {
        "name": "network",
        "shape": "switch",
        "units": hosts,
        "bandwidth": wire.bandwidth,
        "latency": wire.latency,
    }


def _software(known: Known, like: Mapping[str, Any] | None) -> str:
    """As the catalogue's machine of that chip has it."""
    if like is not None and isinstance(like.get("software"), str):
        return str(like["software"])
    return "llama.cpp" if "peak" in known.fields and len(known.fields["peak"]) < 3 else "vllm"


def _cluster(seen: SeenMachine, asked: Asked, parts: Sequence[Part], source: str) -> Described:
    """Like parts of several hosts in one pool, pools joined each to each."""
    by_sort: dict[tuple[str, int, bool], list[Part]] = {}
    hosts = Counter(part.host for part in parts)
    for part in parts:
        whole = hosts[part.host] == 1
        name = str(part.known.fields["name"])
        sort = (name, len(part.gpus), whole) if whole else (f"{part.host} {name}", 0, False)
        by_sort.setdefault(sort, []).append(part)
    if len(by_sort) > MOST_POOLS:
        raise InputError(
            f"there are {len(by_sort)} kinds of hosts, and at most {MOST_POOLS} pools can be"
            " planned; give the description of fewer kinds"
        )
    pools: list[Fields] = []
    remarks: list[str] = []
    for likes in by_sort.values():
        names = _pool_names(pools)
        fields, said = _topology(seen, asked, likes[0], source, hosts=len(likes))
        name = _pool_name(str(likes[0].known.fields["name"]), names)
        if len(hosts) == 1:
            said = [
                f"its chips, in order, are {listed([gpu.name for gpu in likes[0].gpus])}",
                *said,
            ]
        remarks += [f"{name}: {one}" for one in said]
        pools.append({"name": name, "topology": {**fields, "name": name}})
    made: Fields = {
        "name": asked.name,
        "title": " and ".join(pool["topology"]["title"] for pool in pools),
        "pool": pools,
        "link": _links_of_pools(list(by_sort.values()), pools),
    }
    if len(hosts) > 1:
        remarks.append(
            "how the pools are connected was not seen: 100 Gb/s for each host is a guess"
        )
    return Described("cluster", made, (*_opening(seen), *seen.remarks, *remarks))


def _pool_names(pools: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(pool["name"]) for pool in pools}


def _pool_name(product: str, taken: set[str]) -> str:
    """In kebab-case, with a number where it is taken."""
    words = "".join(letter if letter.isalnum() else " " for letter in product.lower()).split()
    base = "-".join(word for word in words if word not in ("nvidia", "geforce", "amd")) or "pool"
    number = 1
    name = base
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _links_of_pools(
    groups: Sequence[Sequence[Part]], pools: Sequence[Mapping[str, Any]]
) -> list[Fields]:
    """Each to each: through PCIe inside one computer, over the network between several."""
    made = []
    for one, here in enumerate(groups):
        for other, there in enumerate(groups[one + 1 :], one + 1):
            inside = {part.host for part in here} == {part.host for part in there}
            wire = network(min(len(here), len(there)))
            if inside and len(here) == len(there) == 1:
                ports = [
                    port_of(part.gpus[0], str(part.known.fields.get("architecture", "")))
                    for part in (here[0], there[0])
                ]
                wire = way("phb", min(ports, key=lambda port: port.bandwidth_bytes_per_s))
            between = [pools[one]["name"], pools[other]["name"]]
            made.append({"between": between, "bandwidth": wire.bandwidth, "latency": wire.latency})
    return made


def _without_gpus(seen: SeenMachine, asked: Asked, source: str) -> Described:
    """Hosts below switches, each of which is a machine that somebody names; or one processor."""
    if seen.of_kind("switch") and seen.of_kind("cpu"):
        return _of_hosts(seen, asked)
    processors = seen.of_kind("cpu")
    if not processors:
        raise InputError(
            f"{seen.format} names no GPU and no processor, so that there is nothing to plan on"
        )
    chip = processor_chip(processors[0], source)
    made: Fields = {
        "name": asked.name,
        "title": str(chip["name"]),
        "chips": 1,
        "software": asked.software or "llama.cpp",
        "chip": chip,
    }
    return Described("topology", made, (*_opening(seen), *seen.remarks))


def _of_hosts(seen: SeenMachine, asked: Asked) -> Described:
    """A cluster that a scheduler knows, of hosts that are one machine of the catalogue each."""
    hosts = len(seen.of_kind("cpu"))
    if asked.node is None:
        raise InputError(
            f"{seen.format} names {hosts} hosts, but not what machine each of them is; name it"
            " with --node, such as --node hgx-h100 (the catalogue has"
            f" {listed(catalogue.topology_names()[:4])} …)"
        )
    like = catalogue.load_topology(asked.node)
    fields = dict(catalogue.topology_fields(catalogue.counted_name(asked.node).name))
    inner, outer, remarks = tree_fabrics(seen, fields, like.chips)
    made: Fields = {
        key: value for key, value in fields.items() if key not in ("aliases", "most_chips", "rack")
    }
    made |= {
        "name": asked.name,
        "title": f"{hosts} hosts, each a {like.name} of {like.chips} chips",
        "chips": hosts * like.chips,
        "fabric": [*inner, *outer],
    }
    if asked.software is not None:
        made["software"] = asked.software
    return Described("topology", made, (*_opening(seen), *seen.remarks, *remarks))
