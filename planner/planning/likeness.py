"""Whether a model or a machine is the catalogue's of that name, and in what it differs.

A proof is one of what stands in it, and a name proves nothing: a machine that was quietly forbidden
tensor parallelism is called hgx-h100 as before.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from planner.answers.certificates import Likeness
from planner.catalogue import (
    cluster_names,
    load_cluster,
    load_model,
    load_software,
    load_topology,
    model_names,
    software_names,
    topology_names,
)
from planner.errors import PlannerError, shortened
from planner.machines.accounts import alike_pools
from planner.machines.cluster import Cluster
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.records import Record
from planner.workload import Workload

MOST_SHOWN = 12
"""Differences that are told; the rest are counted."""
MOST_CHARACTERS = 60
"""Of a value that differs."""
DIGITS = 16
"""Of a digest: 64 bits, for people to compare by eye."""


def digest(record: Record) -> str:
    """Of all that a record holds, whatever the order of its fields in a file (SHA-256, cut)."""
    text = json.dumps(record.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def likenesses_of(
    graph: ModelGraph, topology: Topology, workload: Workload
) -> tuple[Likeness, ...]:
    """Of all that a question is about: model, machine, software, and a model that drafts."""
    found = [
        likeness_of_model(graph),
        likeness_of_machine(topology),
        likeness_of_software(topology),
    ]
    drafts = workload.speculation
    if drafts is not None and drafts.draft is not None:
        found.append(likeness_of_model(drafts.draft, "draft model"))
    return tuple(found)


def likenesses_on_pools(
    graph: ModelGraph, cluster: Cluster, workload: Workload
) -> tuple[Likeness, ...]:
    """Of all that a question about a cluster is about: the cluster, and the machine and software of
    each pool, which are compared by themselves."""
    found = [likeness_of_model(graph), likeness_of_cluster(cluster)]
    known = _known_pools(cluster)
    for number, pool in enumerate(cluster.pools):
        name, topology = shortened(pool.name), pool.topology
        entries = [pools[number] for pools in known]
        what = f"machine of pool {name}"
        if None in entries:
            found.append(_strange(what, topology.name, topology))
        else:
            found.append(_nearest(what, topology.name, topology, entries))
        software = likeness_of_software(topology)
        found.append(software.replace(what=f"software of pool {name}"))
    drafts = workload.speculation
    if drafts is not None and drafts.draft is not None:
        found.append(likeness_of_model(drafts.draft, "draft model"))
    return tuple(found)


def _known_pools(cluster: Cluster) -> list[list[Topology | None]]:
    """What the catalogue has for each pool: that of the cluster's entry, else the machine of that
    name. In each of the forms that a question may be asked in, since watts and prices of all pools
    are put on one basis; None where it has nothing."""
    known = [_known_machine(cluster, number) for number in range(len(cluster.pools))]
    pools = tuple(
        pool.replace(topology=pool.topology if one is None else one, exclude=())
        for pool, one in zip(cluster.pools, known, strict=True)
    )
    entry = cluster.replace(pools=pools)
    bases = dict.fromkeys([None, *(pool.topology.price.basis for pool in cluster.pools)])
    forms = [entry]
    for price, power in itertools.product(bases, (None, "drawn", "provisioned")):
        form = _made(
            lambda price=price, power=power: alike_pools(
                entry, price_basis=price, power_basis=power
            )
        )
        forms += [] if form is None else [form]
    return [
        [
            None if one is None else pool.topology
            for one, pool in zip(known, form.pools, strict=True)
        ]
        for form in forms
    ]


def _known_machine(cluster: Cluster, number: int) -> Topology | None:
    """Of a pool, with its own software, which is compared by itself."""
    pool = cluster.pools[number]
    found: Topology | None = None
    if cluster.name in cluster_names():
        pools = {one.name: one.topology for one in load_cluster(cluster.name).pools}
        found = pools.get(pool.name)
    elif pool.topology.name in topology_names():
        found = _made(lambda: load_topology(pool.topology.name, chips=pool.topology.chips))
    if found is None:
        return None
    others = found.other_software if pool.topology.other_software else ()
    return found.replace(software=pool.topology.software, other_software=others)


def likeness_of_cluster(cluster: Cluster) -> Likeness:
    """Against the entry of that name: its links, and on which machines its pools are."""
    if cluster.name not in cluster_names():
        return _strange("cluster", cluster.name, cluster)
    given, known = _joined(cluster), _joined(load_cluster(cluster.name))
    least = list(differences(given, known))
    return Likeness(
        what="cluster",
        name=shortened(cluster.name),
        digest=digest(cluster),
        is_entry=not least,
        differences=tuple(least[:MOST_SHOWN]),
        difference_count=len(least),
    )


def _joined(cluster: Cluster) -> dict[str, Any]:
    """A cluster as plain data, with the name and the chips of each pool's machine in place of all
    that it holds."""
    data = cluster.model_dump(mode="json")
    for entry, pool in zip(data["pools"], cluster.pools, strict=True):
        entry["topology"] = {"name": pool.topology.name, "chips": pool.topology.chips}
    return data


def likeness_of_model(graph: ModelGraph, what: str = "model") -> Likeness:
    """Against the entry of that name: as it is stored, else in the formats that are stated."""
    if graph.name not in model_names():
        return _strange(what, graph.name, graph)
    formats = {
        "weight_dtype": graph.weight_dtype,
        "kv_dtype": graph.kv_dtype,
        "activation_dtype": graph.activation_dtype,
    }
    sparsity: dict[str, Any] = {"sparsity": graph.sparsity} if graph.sparsity else {}
    steps: dict[str, Any] = {"steps": graph.steps} if graph.is_diffusion else {}
    # What is left out is as the checkpoint has it, which may be no one format for all layers.
    given = [
        dict(chosen)
        for count in range(len(formats) + 1)
        for chosen in itertools.combinations(formats.items(), count)
    ]
    entries = (
        _made(lambda one=one: load_model(graph.name, **one, **sparsity, **steps)) for one in given
    )
    return _nearest(what, graph.name, graph, entries)


def likeness_of_machine(topology: Topology) -> Likeness:
    """Against the entry of that name with as many chips and the same stack, which is compared by
    itself; prices may be any of those that the entry offers."""
    if topology.name not in topology_names():
        return _strange("machine", topology.name, topology)
    own = topology.software.name
    stacks = [None, own] if own in software_names() else [None]
    bases = [None, topology.price.basis]

    def entry(stack: str | None, basis: str | None) -> Topology:
        made = load_topology(topology.name, chips=topology.chips, software=stack, price_basis=basis)
        # Who chose a stack has none for other models.
        others = made.other_software if topology.other_software else ()
        return made.replace(software=topology.software, other_software=others)

    entries = (
        _made(lambda stack=stack, basis=basis: entry(stack, basis))
        for stack, basis in itertools.product(stacks, bases)
    )
    return _nearest("machine", topology.name, topology, entries)


def likeness_of_software(topology: Topology) -> Likeness:
    """Of a machine's stack, against that of the machine's entry, or the entry of its own name."""
    software = topology.software
    entries: list[Software | None] = []
    if software.name in software_names():
        entries.append(_made(lambda: load_software(software.name)))
        if topology.name in topology_names():
            entries.append(
                _made(lambda: load_topology(topology.name, software=software.name).software)
            )
    if not any(entries):
        return _strange("software", software.name, software)
    return _nearest("software", software.name, software, entries)


def _made(make: Any) -> Any:
    """An entry in that form; None where it has no such form."""
    try:
        return make()
    except PlannerError:
        return None


def _strange(what: str, name: str, record: Record) -> Likeness:
    return Likeness(what=what, name=shortened(name), digest=digest(record), is_entry=False)


def _nearest(what: str, name: str, record: Record, entries: Iterable[Record | None]) -> Likeness:
    """Against the form of the entry from which it differs least."""
    least: list[str] | None = None
    given = record.model_dump(mode="json")
    for entry in entries:
        if entry is None:
            continue
        found = list(differences(given, entry.model_dump(mode="json")))
        if least is None or len(found) < len(least):
            least = found
        if not least:
            break
    if least is None:
        return _strange(what, name, record)
    return Likeness(
        what=what,
        name=shortened(name),
        digest=digest(record),
        is_entry=not least,
        differences=tuple(least[:MOST_SHOWN]),
        difference_count=len(least),
    )


def differences(given: Any, entry: Any, path: str = "") -> Iterator[str]:
    """In what nested plain data differ from an entry's, each in a line."""
    if isinstance(given, Mapping) and isinstance(entry, Mapping):
        for name in dict.fromkeys((*entry, *given)):
            at = f"{path}.{name}" if path else str(name)
            yield from differences(given.get(name), entry.get(name), at)
    elif isinstance(given, list) and isinstance(entry, list):
        if (key := _key_of(given, entry)) is not None:
            here, there = ({one[key]: one for one in values} for values in (given, entry))
            yield from differences(here, there, path)
            return
        if len(given) != len(entry):
            yield f"{path}: {len(given)} in place of {len(entry)}"
            return
        for number, (one, other) in enumerate(zip(given, entry, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif given != entry:
        yield f"{path}: {_shown(given)} in place of {_shown(entry)}"


def _key_of(*lists: list[Any]) -> str | None:
    """What the entries of lists are known by, whatever their order and number: figures by what they
    are of, layers by their names."""
    for key in ("path", "name"):
        named = [[one.get(key) for one in values if isinstance(one, Mapping)] for values in lists]
        if all(
            values and len(set(names)) == len(values) and None not in names
            for names, values in zip(named, lists, strict=True)
        ):
            return key
    return None


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return shortened("nothing" if value is None else value, MOST_CHARACTERS)
