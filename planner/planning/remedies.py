"""What would reach a limit that no plan keeps: single changes of what was asked, each tried.

More chips of the same machine, weights in 8 bit, drafts, a faster machine of the same form, another
software of the same chips, plans of any form, fewer requests. Each is a search of its own, cut off
early: a value that is told was reached by a plan, and nothing is said of a change of which no such
plan was found in time.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from planner.catalogue import (
    load_model,
    load_software,
    load_topology,
    software_names,
    topology_table,
)
from planner.errors import InputError, listed
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.planning.reaching import AnySpace, Limits, Reached, best_is_least, keeps, reached
from planner.report.words import field_text
from planner.space.candidates import Candidates
from planner.workload import Speculation, Workload

MOST_S = 2.0
"""For all changes together."""
LARGEST_SHARE = 0.2
"""Of the time that is left, for one change: the first are the likeliest to help."""
MOST_TOLD = 4
"""Changes that are told."""
DRAFTED = 4
"""Tokens, by a head of one layer such as EAGLE-3's."""
MOST_TIMES = 8
"""As many chips as there are, at most."""
FEWER = (0.75, 0.5, 0.25, 0.1)
"""Shares of the requests, tried one after the other until one will do."""
WIDE = ("bf16", "fp16", "fp32")
NARROW = "fp8"


class Change(NamedTuple):
    """One way of asking otherwise."""

    kind: str
    """Of which one is told at most: the first that will do."""
    words: str
    """Such as "with fp8 weights" or "on hgx-b200"."""
    spaces: Callable[[], Sequence[AnySpace]]


class _Tried(NamedTuple):
    change: Change
    best: Reached


def what_reaches(
    spaces: Sequence[AnySpace], name: str, limit: float, others: Limits, deadline: float
) -> Callable[[], str] | None:
    """What says, once it is asked, which changes let a plan keep a limit on a field and all the
    others; None where none is known, as on a cluster."""
    if not all(isinstance(space, Candidates) for space in spaces):
        return None
    left_s = min(MOST_S, deadline - time.monotonic())
    return partial(_what_reaches, spaces, name, limit, others, left_s)


def what_serves(spaces: Sequence[AnySpace], deadline: float) -> Callable[[], str] | None:
    """The same of a rate of requests: which changes let a plan serve it."""
    if not all(isinstance(space, Candidates) for space in spaces):
        return None
    left_s = min(MOST_S, deadline - time.monotonic())
    return partial(_what_serves, spaces, left_s)


def _what_reaches(
    spaces: Sequence[AnySpace], name: str, limit: float, others: Limits, left_s: float
) -> str:
    tried = _tried(spaces, name, limit, others, left_s)
    still = "with the other limits kept, " if others else ""
    able = [one for one in tried if keeps(name, one.best.value, limit)]
    if able:
        told = [
            f"{field_text(name, one.best.value)} {one.change.words}" for one in able[:MOST_TOLD]
        ]
        return f"; {still}{name} would be {listed(told, 'or')}"
    if not tried:
        return ""
    sign = 1 if best_is_least(name) else -1
    nearest = min(tried, key=lambda one: sign * one.best.value)
    words = listed((one.change.words for one in tried), "or")
    value = field_text(name, nearest.best.value)
    nearest_words = nearest.change.words
    return (
        f"; the limit is not reached {words} either: {still}the best {name} is {value}"
        f" {nearest_words}"
    )


def _what_serves(spaces: Sequence[AnySpace], left_s: float) -> str:
    any_field = "ttft_s" if spaces[0].workload.phase == "prefill" else "tpot_s"
    tried = _tried(spaces, any_field, math.inf, (), left_s, fewer=False)
    if not tried:
        return ""
    words = listed((one.change.words for one in tried[:MOST_TOLD]), "or")
    return f"; that rate can be served {words}"


def _tried(
    spaces: Sequence[AnySpace],
    name: str,
    limit: float,
    others: Limits,
    left_s: float,
    *,
    fewer: bool = True,
) -> list[_Tried]:
    """What each change reaches; of a kind the first that keeps the limit, else the best. Ctrl-C
    ends it."""
    deadline = time.monotonic() + left_s
    found: dict[str, _Tried] = {}
    with suppress(KeyboardInterrupt):
        changes = [one for one in changes_of(spaces) if fewer or one.kind != "fewer"]
        for number, change in enumerate(changes):
            known = found.get(change.kind)
            if known is not None and keeps(name, known.best.value, limit):
                continue
            now = time.monotonic()
            share_s = (deadline - now) * max(LARGEST_SHARE, 1 / (len(changes) - number))
            best = _best_with(change, name, others, limit, now + share_s)
            if best is not None and (known is None or _is_better(name, best, known.best)):
                found[change.kind] = _Tried(change, best)
    return list(found.values())


def _is_better(name: str, one: Reached, other: Reached) -> bool:
    if best_is_least(name):
        return one.value < other.value
    return one.value > other.value


def _best_with(
    change: Change, name: str, others: Limits, limit: float, deadline: float
) -> Reached | None:
    """What a change reaches; None where no plan was found, or what is asked is not known then."""
    if time.monotonic() >= deadline:
        return None
    try:
        spaces = change.spaces()
        best = reached(
            spaces,
            name,
            others,
            deadline=deadline,
            enough=math.inf if math.isinf(limit) else None,
        )
    except InputError:
        return None
    return None if best.plan is None else best


# ── The changes ──────────────────────────────────────────────────────────────────────────────────


def changes_of(spaces: Sequence[AnySpace]) -> Iterator[Change]:
    """Single changes that may help, the cheapest to try first."""
    every = [space for space in spaces if isinstance(space, Candidates)]
    if not every:
        return
    yield from _narrower(every)
    yield from _more_chips(every)
    yield from _drafting(every)
    yield from _faster_machines(every)
    yield from _other_software(every)
    yield from _fewer_requests(every)
    yield from _any_form(every)


def _narrower(spaces: list[Candidates]) -> Iterator[Change]:
    """Weights in 8 bit, of a model of the catalogue, where the chip multiplies them."""
    graph, chip = spaces[0].graph, spaces[0].topology.chip
    if graph.weight_dtype not in WIDE or NARROW not in {peak.dtype for peak in chip.peaks}:
        return
    narrow = _reloaded(graph, NARROW)
    if narrow is not None:
        yield Change("weights", f"with {NARROW} weights", lambda: _changed(spaces, graph=narrow))


def _reloaded(graph: ModelGraph, weight_dtype: str) -> ModelGraph | None:
    """The same model of the catalogue with other weights; None where it is none of them."""

    def loaded(dtype: str) -> ModelGraph:
        return load_model(
            graph.name,
            weight_dtype=dtype,
            kv_dtype=graph.kv_dtype,
            sparsity=graph.sparsity or None,
        )

    with suppress(InputError):
        if loaded(graph.weight_dtype) == graph:
            return loaded(weight_dtype)
    return None


def _more_chips(spaces: list[Candidates]) -> Iterator[Change]:
    """Twice as many, and twice as many again, as far as the machine goes, and not too far."""
    topology = spaces[0].topology
    most = min(topology.limit_chips, MOST_TIMES * topology.chips)
    chips = topology.chips
    while chips < most:
        chips = min(2 * chips, most)
        larger = topology.replace(chips=chips)
        yield Change("chips", f"with {chips} chips", partial(_changed, spaces, topology=larger))


def _drafting(spaces: list[Candidates]) -> Iterator[Change]:
    """A head of one layer, where nothing is drafted yet and tokens follow the first."""
    work, graph = spaces[0].asked, spaces[0].graph
    closed = work.phase == "prefill" or work.output_tokens == 1 or not graph.makes_tokens
    if work.speculation is not None or closed:
        return
    drafts = Speculation(draft=graph.cut(1), kind="eagle3", tokens=DRAFTED)
    words = (
        f"with {DRAFTED} tokens drafted by EAGLE-3 ({100 * drafts.acceptance_rate:.3g} % accepted)"
    )
    drafted = work.replace(speculation=drafts)
    yield Change("drafts", words, lambda: _changed(spaces[:1], workload=drafted))


def _faster_machines(spaces: list[Candidates]) -> Iterator[Change]:
    """Machines of the catalogue in the same form, with the same software and faster memory: the one
    that is nearest to this one first."""
    topology = spaces[0].topology
    table = topology_table()
    row = table.get(topology.name, {})
    alike = {"software": topology.software.name, "chips": row.get("chips")}
    others = [
        load_topology(name)
        for name, fields in table.items()
        if row and name != topology.name and alike.items() <= fields.items()
    ]
    own = _bandwidth_bytes_per_s(topology)
    faster = [one for one in others if _bandwidth_bytes_per_s(one) > own]
    for machine in sorted(faster, key=_bandwidth_bytes_per_s):
        if topology.chips <= machine.limit_chips:
            other = machine.replace(chips=topology.chips)
            yield Change("machine", f"on {machine.name}", partial(_changed, spaces, topology=other))


def _bandwidth_bytes_per_s(topology: Topology) -> float:
    return topology.chip.memory[0].bandwidth_bytes_per_s


def _other_software(spaces: list[Candidates]) -> Iterator[Change]:
    """Other engines that language models were measured with on the same chips."""
    topology = spaces[0].topology
    for name in software_names():
        if name == topology.software.name:
            continue
        software = load_software(name)
        if not software.engine.is_known or not _is_measured(software, topology.chip.name):
            continue
        other = topology.replace(software=software)
        yield Change(f"software {name}", f"with {name}", partial(_changed, spaces, topology=other))


def _is_measured(software: Software, chip: str) -> bool:
    return any(chip in one.chips and (one.dense or one.experts) for one in software.covers)


def _fewer_requests(spaces: list[Candidates]) -> Iterator[Change]:
    """A lower rate, or fewer sequences in flight."""
    work = spaces[0].asked
    for share in FEWER:
        if work.requests_per_s is not None:
            rate = work.requests_per_s * share
            yield Change(
                "fewer", f"with {rate:.4g} requests/s", partial(_asked_of, spaces, rate=rate)
            )
        elif work.batch_size is not None and work.batch_size * share >= 1:
            batch = int(work.batch_size * share)
            words = f"with {batch} sequence{'s' * (batch > 1)} in flight"
            yield Change("fewer", words, partial(_asked_of, spaces, batch=batch))


def _any_form(spaces: list[Candidates]) -> Iterator[Change]:
    """Plans that the engine cannot be started with; last, since it is the longest to search."""
    if spaces[0].of_engine and not spaces[0].exclude and not spaces[0].question.scatters:
        yield Change("space", "with space 'any'", lambda: [one.of("any") for one in spaces])


def _changed(
    spaces: list[Candidates],
    *,
    graph: ModelGraph | None = None,
    topology: Topology | None = None,
    workload: Workload | None = None,
) -> list[AnySpace]:
    """The same question of another model, machine or traffic."""
    return [
        Candidates(
            graph or one.graph,
            topology or one.topology,
            workload or one.asked,
            one.question,
            exclude=one.exclude,
        )
        for one in spaces
    ]


def _asked_of(
    spaces: list[Candidates], rate: float | None = None, batch: int | None = None
) -> list[AnySpace]:
    """The same with so many requests a second, or in flight at once."""
    made: list[AnySpace] = []
    for one in spaces:
        fewer: Workload = one.asked.replace(requests_per_s=rate, batch_size=batch, queued=0)
        made += _changed([one], workload=fewer)
    return made
