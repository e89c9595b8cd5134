"""Slurm's `topology.conf` and `topology.yaml`: which nodes hang below which switches, or lie in
which blocks. They name no GPU: what each node is must be told besides."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.readers.machines.cluster_tree import Switch, machine_of
from planner.readers.machines.host_lists import names_of
from planner.readers.machines.seen import SeenMachine
from planner.readers.yaml_text import read_yaml

FORMAT = "Slurm topology.conf"
YAML_FORMAT = "Slurm topology.yaml"
LINE = re.compile(r"^\s*(SwitchName|BlockName)\s*=", re.IGNORECASE | re.MULTILINE)
FIELD = re.compile(r"(\w+)\s*=\s*(\S+)")
MOST_SWITCHES = 20_000


def is_slurm(text: str) -> bool:
    """Whether a text has lines of `topology.conf`."""
    return LINE.search(text) is not None


def read_slurm(text: str, path: Path) -> SeenMachine:
    """The cluster that `topology.conf` describes."""
    switches: list[Switch] = []
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.partition("#")[0].strip()
        fields = {key.lower(): value for key, value in FIELD.findall(plain)}
        if "switchname" not in fields and "blockname" not in fields:
            continue  # BlockSizes, and whatever a newer Slurm may say
        where = f"{path}, line {number}"
        below = {
            "switches": names_of(fields["switches"], f"{where}: Switches")
            if "switches" in fields
            else (),
            "hosts": names_of(fields["nodes"], f"{where}: Nodes") if "nodes" in fields else (),
        }
        block = "blockname" in fields
        name = fields["blockname"] if block else fields["switchname"]
        switches += [
            Switch(one, **below, domain=block, text=plain)
            for one in names_of(name, f"{where}: SwitchName")
        ]
        if len(switches) > MOST_SWITCHES:
            raise InputError(f"{path} has more than {MOST_SWITCHES} switches")
    if not switches:
        raise InputError(f"{path} has no line that begins with SwitchName= or BlockName=")
    return machine_of(switches, FORMAT)


def read_slurm_yaml(text: str, path: Path) -> SeenMachine:
    """The cluster of the default topology that `topology.yaml` describes, or of its first."""
    found = next(iter(read_yaml(text, path)), None)
    entries = found if isinstance(found, list) else [found]
    described = [
        one for one in entries if isinstance(one, dict) and ("tree" in one or "block" in one)
    ]
    if not described:
        raise InputError(f"{path} describes no topology of kind tree or block")
    chosen = next((one for one in described if one.get("cluster_default") is True), described[0])
    name = str(chosen.get("topology", ""))[:60]
    remarks = []
    if len(described) > 1:
        remarks.append(f"the file has {len(described)} topologies, of which {name!r} is used")
    return machine_of(list(_switches(chosen, path)), YAML_FORMAT, name, remarks)


def _switches(entry: Mapping[str, Any], path: Path) -> Iterator[Switch]:
    """Those of a tree, or the blocks of a topology of blocks."""
    for switch in _tables(entry, "tree", "switches", path):
        name = _word(switch, "switch", path)
        yield Switch(name, _names(switch, "children", path), _names(switch, "nodes", path))
    for block in _tables(entry, "block", "blocks", path):
        yield Switch(_word(block, "block", path), (), _names(block, "nodes", path), domain=True)


def _tables(
    entry: Mapping[str, Any], kind: str, key: str, path: Path
) -> Sequence[Mapping[str, Any]]:
    holder = entry.get(kind, {})
    found = holder.get(key, []) if isinstance(holder, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{path}: {kind}.{key} must be a list of tables")
    if len(found) > MOST_SWITCHES:
        raise InputError(f"{path} has more than {MOST_SWITCHES} switches")
    return found


def _word(table: Mapping[str, Any], key: str, path: Path) -> str:
    found = table.get(key)
    if not isinstance(found, str | int) or not str(found).strip():
        raise InputError(f"{path}: {key} must be a name, not {shortened(repr(found))}")
    return str(found).strip()[:200]


def _names(table: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    """A list of names as one text, or one a line."""
    found = table.get(key)
    if found is None:
        return ()
    entries = found if isinstance(found, list) else [found]
    if not all(isinstance(one, str | int) for one in entries):
        raise InputError(f"{path}: {key} must be names such as 'node[01-16]'")
    return tuple(name for one in entries for name in names_of(str(one), f"{path}: {key}"))
