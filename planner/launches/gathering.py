"""Processes of one text put together again: the nodes of an engine, and engines alike."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from planner.launches.launch import Launch, Reading, Told
from planner.launches.ranks import by_stage
from planner.launches.starts import Started, address_of

MOST_ALIKE = 72
"""Engines of one text that are looked at for being replicas."""
LENDING_PORT = 50052
"""Of `rpc-server`, where nobody states another."""


class Process(NamedTuple):
    """What one process was read as."""

    reading: Reading
    nodes: int = 1
    """Of its engine."""
    rank: int | None = None
    """Of its node among them; None: nobody said."""
    meeting: str = ""
    """Where the nodes of its engine find one another."""
    here: tuple[int, ...] | None = None
    """The chips of its node that it takes, by their number in the machine."""


def cards_lent(started: Iterable[Started]) -> dict[str, int]:
    """Cards of hosts by the address that lends them, one each, as far as the text says which."""
    found = {}
    for one in started:
        seen = one.known.get("CUDA_VISIBLE_DEVICES", "")
        if one.place is None or not seen.isdigit() or len(seen) > 7:
            continue
        port = _port(one)
        found[f"{address_of(one.place.node)}:{port}"] = one.place.first_chip + int(seen)
    return found


def _port(helper: Started) -> str:
    texts = [word.text for word in helper.words]
    stated = [b for a, b in itertools.pairwise(texts) if a in ("-p", "--port")]
    return stated[-1] if stated else str(LENDING_PORT)


def gathered(processes: Sequence[Process]) -> Reading:
    """One reading of all processes: engines over several nodes as a whole, engines alike as
    replicas; else of the first, with a word on the others."""
    engines = [_whole(group) for group in _by_engine(processes)]
    reading = engines[0]
    if len(engines) == 1:
        return reading
    launches = [one.launch for one in engines]
    alike = side_by_side(launches)
    if alike is not None:
        words = "engines alike, each on chips of its own: replicas"
        told = Told(text=f"{len(engines)} engines", words=words)
        return reading.replace(launch=alike, told=(*reading.told, told))
    other = Told(
        text=" and ".join(sorted({one.engine for one in launches[1:]})),
        words=f"started {len(engines) - 1} times more: only the first command is read",
        taken=False,
    )
    return reading.replace(told=(*reading.told, other))


def _by_engine(processes: Sequence[Process]) -> list[list[Process]]:
    """Processes that meet at one place are one engine."""
    groups: dict[object, list[Process]] = {}
    for number, one in enumerate(processes):
        is_part = one.nodes > 1 and one.rank is not None
        key = (one.reading.launch.engine, one.meeting, one.nodes) if is_part else number
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _whole(group: list[Process]) -> Reading:
    """One engine of all its nodes; where some are not there, of the first that is."""
    in_order = sorted(group, key=lambda one: one.rank or 0)
    first = in_order[0]
    if len(in_order) == 1 or [one.rank for one in in_order] != list(range(first.nodes)):
        return first.reading
    told = Told(text=f"{len(group)} commands", words="nodes of one engine")
    reading = first.reading.replace(told=(*first.reading.told, told))
    launch = reading.launch
    chips = tuple(chip for one in in_order for chip in one.here or ())
    is_placed = len(set(chips)) == len(chips) == launch.chips and launch.replicas == 1
    if not is_placed:
        return reading
    return reading.replace(launch=in_order_of_stages(launch.replace(devices=(chips,))))


def in_order_of_stages(launch: Launch) -> Launch:
    """With its chips in the order of a launch, of chips in the order of its engine's ranks."""
    if launch.devices is None or launch.engine != "vllm":
        return launch
    return launch.replace(devices=tuple(by_stage(launch, chips) for chips in launch.devices))


def side_by_side(launches: Sequence[Launch]) -> Launch | None:
    """One launch of engines that are alike but for the chips that they are given; None: they are
    not, or nothing says that they have chips of their own."""
    if len(launches) > MOST_ALIKE:
        return None
    first = launches[0]
    devices = [chips for one in launches for chips in one.devices or ()]
    is_placed = all(one.devices is not None for one in launches)
    seen = [chip for chips in devices for chip in chips]
    if not is_placed or len(set(seen)) != len(seen):
        return None
    if any(one.replace(devices=first.devices) != first for one in launches):
        return None
    return first.replace(replicas=len(devices), devices=tuple(devices))
