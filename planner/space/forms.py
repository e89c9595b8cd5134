"""Forms of the plans that an engine can be started with: one split for all stages, how many stages
there are, and where they stand.

A form leaves open where the layers are cut, how many replicas there are and how many sequences each
has in flight.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner import allowance
from planner.machines.engine import Engine
from planner.plan import ChipRange, Way
from planner.pricing.engines import deepest, in_flight, split_fault
from planner.pricing.price_list import Split
from planner.pricing.timing import Hop, hops_along
from planner.solver.chain.packing import Packing
from planner.space.arrangements import Arrangement, Blocks, arranged
from planner.space.candidates import Candidates, most_in_flight
from planner.space.layout import starts_of

PARTS = 4
"""Into how many a range of micro-batches is cut."""


@dataclass(frozen=True, slots=True)
class Form:
    """A split, a number of stages, and where the stages of a replica stand."""

    split: Split
    stages: int
    starts: tuple[int, ...]
    """First chip of each stage in the block of a replica."""
    hops: tuple[Hop, ...]
    """From each stage to the next."""
    most_replicas: int
    in_flight: int = 0
    """Micro-batches, where the engine leaves that free; 0: as it keeps them."""
    fewest: int = 0
    """Where a form stands for several numbers of micro-batches, the fewest of them, `in_flight`
    being the most; 0: for one alone."""
    bases: tuple[int, ...] = ()
    """First chip of each replica's block where some chips are out of use; () where they follow
    from the length of the pipeline."""

    @property
    def chips(self) -> int:
        """Of a replica."""
        return self.split.chips * self.stages

    @property
    def is_range(self) -> bool:
        """Whether it stands for several numbers of micro-batches."""
        return 0 < self.fewest < self.in_flight

    @property
    def least_in_flight(self) -> int:
        """Sequences that each of its plans has in flight at least, one in each micro-batch."""
        return max(1, self.fewest or self.in_flight)

    @property
    def end(self) -> int:
        """The chip of the block behind the last stage."""
        return self.starts[-1] + self.split.chips

    def bases_of(self, packing: Packing, replicas: int) -> list[int]:
        """First chips of the blocks of so many replicas."""
        bases = list(self.bases[:replicas]) or packing.copies(self.end, replicas)
        if bases is None:
            raise AssertionError("a form has no room for so many replicas")
        return bases


@dataclass(frozen=True, slots=True)
class Batches:
    """How an engine cuts the sequences of a replica of a form into micro-batches."""

    engine: Engine
    stages: int
    chosen: int = 0
    """Micro-batches, where the engine leaves that free."""

    @property
    def most_in_flight(self) -> int | None:
        """Micro-batches, where there are sequences enough; None: as many as sequences."""
        if self.chosen:
            return self.chosen
        if self.stages > 1 and self.engine.micro_batches == "sequences":
            return None
        return in_flight(self.engine, self.stages, 10_000_000)

    def holding(self, sequences: int) -> tuple[int, int]:
        """Micro-batches of so many sequences, and how many are in the largest."""
        most = self.most_in_flight
        micro_batches = sequences if most is None else min(most, sequences)
        return micro_batches, -(-sequences // micro_batches)


def forms_of(
    candidates: Candidates, ways: frozenset[Way] | None = None, *, in_ranges: bool = False
) -> Iterator[list[Form]]:
    """All forms of each split that the engine takes and that the machine has room for, the
    shallowest first; `ways`: only those that use more than one chip in just these ways;
    `in_ranges`: those that differ in how many micro-batches there are as one, cut up by `parts`."""
    for forms in _all_forms(candidates, in_ranges):
        yield forms if ways is None else list(_of_ways(forms, ways))


def _of_ways(forms: list[Form], ways: frozenset[Way]) -> Iterator[Form]:
    for form in forms:
        used: dict[Way, bool] = {
            "tensor": form.split.tensor > 1,
            "sequence": form.split.sequence > 1,
            "expert": form.split.expert > form.split.tensor,
            "pipeline": form.stages > 1,
        }
        if any(uses != (way in ways) for way, uses in used.items()):
            continue
        if "replicas" not in ways:
            yield replace(form, most_replicas=1)
        elif form.most_replicas > 1:
            yield form


def _all_forms(candidates: Candidates, in_ranges: bool) -> Iterator[list[Form]]:
    packing = candidates.packing
    choices = _Choices(replace(packing, blocked=candidates.exclude))
    for split in candidates.splits:
        most = _most_stages(candidates, split)
        if not most:
            continue
        if candidates.exclude:
            found = list(_around(candidates, choices, split, most))
        else:
            found = list(_packed(candidates, packing, split, most))
        yield [one for form in found for one in _in_flight(candidates, form, in_ranges)]


def parts(form: Form, count: int = PARTS) -> list[Form]:
    """A range of micro-batches in up to so many smaller ones, whose ends are about as many times
    apart each."""
    low, high = form.fewest, form.in_flight
    ends = np.rint(np.geomspace(low, high + 1, min(count, high + 1 - low) + 1)).astype(int)
    ends = np.unique(ends).tolist()
    return [
        replace(form, fewest=first, in_flight=beyond - 1)
        for first, beyond in itertools.pairwise(ends)
    ]


def _in_flight(candidates: Candidates, form: Form, in_ranges: bool) -> Iterator[Form]:
    """A form with every number of micro-batches, where the engine leaves that free."""
    software = candidates.topology.software
    if software.engine.micro_batches != "any":
        yield form
        return
    batch = candidates.workload.batch_size
    # A settled batch may be cut as far as it goes: smaller micro-batches need less room.
    most = batch or most_in_flight(candidates.graph, software, form.stages)
    most = min(most, software.most_sequences * form.split.attention)
    if in_ranges:
        yield replace(form, fewest=1, in_flight=most)
        return
    for micro_batches in range(1, most + 1):
        yield replace(form, in_flight=micro_batches)


def _most_stages(candidates: Candidates, split: Split) -> int:
    """The most stages that the layers, the chips and the engine allow."""
    graph, software = candidates.graph, candidates.topology.software
    most = min(deepest(graph, software), candidates.topology.chips // split.chips)
    if most < 1 or split_fault(graph, software, split, 1) is not None:
        return 0
    return most if most == 1 or split_fault(graph, software, split, 2) is None else 1


def _packed(candidates: Candidates, packing: Packing, split: Split, most: int) -> Iterator[Form]:
    """Stages one behind the other from the first chip on."""
    starts, _ = starts_of(packing, [split.chips] * most)
    starts = [start for start in starts if start + split.chips <= packing.slots]
    hops = _hops(candidates, split, starts)
    for stages in range(1, len(starts) + 1):
        room = packing.room(starts[stages - 1] + split.chips)
        allowance.look()
        if room:
            yield Form(split, stages, tuple(starts[:stages]), tuple(hops[: stages - 1]), room)


class _Choices:
    """Where any number of replicas may stand on a machine some of whose chips are out of use."""

    def __init__(self, blocked: Packing) -> None:
        self.blocked = blocked
        self._blocks: dict[int, Blocks] = {}
        self._known: dict[int, list[Arrangement]] = {}

    def of(self, replicas: int) -> list[Arrangement]:
        """The arrangements of so many that are of use, whatever the split."""
        if replicas not in self._known:
            self._known[replicas] = arranged(self.blocked, replicas, self._blocks)
        return self._known[replicas]


def _around(candidates: Candidates, choices: _Choices, split: Split, most: int) -> Iterator[Form]:
    """Stages on the first free chips behind one another, in every arrangement of the replicas
    that is of use: of those with like stages the one with room for the most."""
    seen: set[tuple[int, ...]] = set()
    for replicas in range(candidates.topology.chips // split.chips, 0, -1):
        for block in choices.of(replicas):
            starts = list(_starts_in(block, split.chips, most))
            allowance.look()
            hops: list[Hop] = []
            for stages in range(1, len(starts) + 1):
                place = tuple(starts[:stages])
                if place in seen:
                    continue
                seen.add(place)
                hops = hops or _hops(candidates, split, starts)
                yield Form(
                    split,
                    stages,
                    place,
                    tuple(hops[: stages - 1]),
                    replicas,
                    bases=block.bases,
                )


def _starts_in(block: Arrangement, width: int, most: int) -> Iterator[int]:
    """First slots of stages that a block has room for."""
    if block.packing.rule(width) is None:
        return
    found, _ = starts_of(block.packing, [width] * most)
    for start in found:
        if start + width > block.budget:
            return
        yield start


def _hops(candidates: Candidates, split: Split, starts: list[int]) -> list[Hop]:
    groups = [ChipRange(first=start, count=split.chips) for start in starts]
    return hops_along(candidates.topology, groups) if groups else []
