"""Hosts below switches, as schedulers know a cluster: what Slurm's and topograph's readers give."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from planner.errors import InputError, listed, shortened
from planner.readers.machines.seen import SeenDevice, SeenLink, SeenMachine

MOST_LEVELS = 16


class Switch(NamedTuple):
    """One switch or block, and what hangs below it."""

    name: str
    switches: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    domain: bool = False
    """Whether its hosts share one NVLink domain, as a block's do."""
    text: str = ""


def machine_of(
    switches: Sequence[Switch], form: str, name: str = "", remarks: Iterable[str] = ()
) -> SeenMachine:
    """The cluster that they make."""
    by_name = {switch.name: switch for switch in switches}
    if len(by_name) < len(switches):
        names = [switch.name for switch in switches]
        twice = next(one for one in names if names.count(one) > 1)
        raise InputError(f"the switch {shortened(twice)} is described twice; remove one of the two")
    _check_tree(by_name)
    hosts = tuple(dict.fromkeys(host for switch in switches for host in switch.hosts))
    if not hosts:
        raise InputError("no switch has a host below it; give the nodes of the lowest switches")
    shared = set(hosts) & set(by_name)
    if shared:
        raise InputError(
            f"{shortened(min(shared))} is the name of both a host and a switch; rename one of them"
        )

    devices = [SeenDevice(name=one, kind="switch", text=by_name[one].text) for one in by_name]
    devices += [SeenDevice(name=host, kind="cpu", host=host) for host in hosts]
    links = [
        SeenLink(between=(below, switch.name), kind="nvlink" if switch.domain else "network")
        for switch in switches
        for below in (*switch.switches, *switch.hosts)
    ]
    return SeenMachine(
        format=form, name=name, devices=tuple(devices), links=tuple(links), remarks=tuple(remarks)
    )


def _check_tree(by_name: Mapping[str, Switch]) -> None:
    """Refuse switches below none that is described, below two, or below themselves."""
    above: dict[str, str] = {}
    for switch in by_name.values():
        for below in switch.switches:
            if below not in by_name:
                raise InputError(
                    f"the switch {shortened(below)} below {shortened(switch.name)} is not"
                    " described; add it"
                )
            if below in above:
                both = listed([shortened(above[below], 30), shortened(switch.name, 30)])
                raise InputError(
                    f"the switch {shortened(below)} is below {both}; a switch can be below one"
                    " other switch only"
                )
            above[below] = switch.name
    for name in by_name:
        at, levels = name, 0
        while at in above:
            at = above[at]
            levels += 1
            if levels > MOST_LEVELS:
                raise InputError(
                    f"the switch {shortened(name)} is below itself, or below more than"
                    f" {MOST_LEVELS} levels of switches"
                )
