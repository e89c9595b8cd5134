"""What NVIDIA's topograph writes: the JSON of its graph engine, instances with the switches above
them, and the YAML of its models, switches with blocks of nodes. (Its output for Slurm is Slurm's.)
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.readers.machines.cluster_tree import MOST_LEVELS, Switch, machine_of
from planner.readers.machines.host_lists import names_of
from planner.readers.machines.seen import SeenMachine

FORMAT = "topograph JSON"
MODEL_FORMAT = "topograph model"
DOMAINS = ("accelerator.topograph.run/domain", "accelerator.topology.test/domain")
MOST_INSTANCES = 65_536


def read_topograph(fields: Mapping[str, Any], path: Path) -> SeenMachine:
    """The cluster of a list of instances."""
    instances = fields.get("instances")
    if not isinstance(instances, list) or len(instances) > MOST_INSTANCES:
        raise InputError(f"{path}: instances must be a list of at most {MOST_INSTANCES} tables")
    above: dict[str, str] = {}
    hosts: dict[str, list[str]] = {}
    domains: set[str] = set()
    for number, instance in enumerate(instances):
        where = f"{path}: instances[{number}]"
        if not isinstance(instance, dict):
            raise InputError(f"{where} must be a table with id and network_layers")
        name = _text(instance.get("id"), f"{where}.id")
        layers = instance.get("network_layers")
        if not isinstance(layers, list) or not 0 < len(layers) <= MOST_LEVELS:
            raise InputError(
                f"{where}.network_layers must name the switches above it, the nearest first"
            )
        names = [_text(layer, f"{where}.network_layers") for layer in layers]
        hosts.setdefault(names[0], []).append(name)
        for below, over in itertools.pairwise(names):
            if above.setdefault(below, over) != over:
                raise InputError(
                    f"{where}: {shortened(below)} is below {shortened(over)} here and below"
                    f" {shortened(above[below])} elsewhere; keep one of the two"
                )
        domains |= _domain_of(instance)
    return machine_of(_switches(above, hosts), FORMAT, "", _remarks(domains))


def _switches(above: Mapping[str, str], hosts: Mapping[str, Sequence[str]]) -> list[Switch]:
    below: dict[str, list[str]] = {}
    for one, over in above.items():
        below.setdefault(over, []).append(one)
    names = dict.fromkeys([*above, *above.values(), *hosts])
    return [Switch(one, tuple(below.get(one, ())), tuple(hosts.get(one, ()))) for one in names]


def read_model_of_topograph(fields: Mapping[str, Any], path: Path) -> SeenMachine:
    """The cluster of a model: `switches`, and `blocks` of nodes below them."""
    blocks, switches = fields.get("blocks"), fields.get("switches", {})
    tables = isinstance(blocks, list) and all(isinstance(one, dict) for one in blocks)
    if not tables or not isinstance(switches, dict):
        raise InputError(f"{path} must have switches, a table, and blocks, a list of tables")
    hosts: dict[str, list[str]] = {}
    domains: set[str] = set()
    for number, block in enumerate(blocks or ()):
        where = f"{path}: blocks[{number}]"
        nodes = block.get("nodes", [])
        if not isinstance(nodes, list) or not all(isinstance(one, str | int) for one in nodes):
            raise InputError(f"{where}.nodes must be a list such as ['node[1-18]']")
        names = [name for one in nodes for name in names_of(str(one), f"{where}.nodes")]
        hosts.setdefault(_text(block.get("switch"), f"{where}.switch"), []).extend(names)
        domains |= _domain_of({"labels": block.get("annotations")})

    above: dict[str, str] = {}
    for name, switch in switches.items():
        children = switch.get("switches") or [] if isinstance(switch, dict) else []
        for child in children if isinstance(children, list) else []:
            above[_text(child, f"{path}: switches")] = _text(name, f"{path}: switches")
    return machine_of(_switches(above, hosts), MODEL_FORMAT, "", _remarks(domains))


def _text(given: object, field: str) -> str:
    if not isinstance(given, str | int) or not str(given).strip():
        raise InputError(f"{field} must be a name, not {shortened(repr(given))}")
    return str(given).strip()[:200]


def _domain_of(instance: Mapping[str, Any]) -> set[str]:
    labels = instance.get("labels")
    if not isinstance(labels, dict):
        return set()
    return {str(labels[key])[:80] for key in DOMAINS if key in labels}


def _remarks(domains: set[str]) -> list[str]:
    if not domains:
        return []
    return [
        (
            f"the file has {len(domains)} NVLink domains, but does not say what machine each host is;"
            " name it with --node"
        )
    ]
