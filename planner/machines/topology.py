"""`Topology`: chips, the memory on them, and the fabrics that join them, stored as shapes and never
as expanded pairs.

Fabrics stand in levels, innermost first: the first joins chips into a node, the next joins nodes,
and so on. A level has one shape and equal units. Chips are numbered along the levels, and along a
grid as the ox ploughs, so that consecutive chips are neighbours; `chips` of them are there, and the
last unit of a level may be partly filled.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from planner.errors import InputError, listed, told
from planner.guards import guarded
from planner.machines.origin import Confidence
from planner.machines.prices import Price, repriced
from planner.machines.software import Software
from planner.machines.wiring import (
    Crossings,
    Wire,
    Wiring,
    blocks_of,
    check_joined,
    check_links,
)
from planner.models.dtypes import MULTIPLIED_IN, Dtype, Zeros, nearest_multiplied
from planner.records import Record
from planner.units import (
    BytesPerS,
    Count,
    FlopPerS,
    Fraction,
    PositiveBytes,
    Seconds,
    Watts,
)

if TYPE_CHECKING:
    import networkx as nx

FabricShape = Literal["switch", "full-mesh", "ring", "chain", "torus", "mesh", "dragonfly", "links"]
PowerScope = Literal["chip", "system", "facility"]
"""The chip or card alone; everything at the wall; that and what the site loses and cools with."""
Chips = NDArray[np.intp]
"""Numbers of chips, or of units, in an array of any shape."""


class Peak(Record):
    """The most operations of one format that a chip does in a second, dense."""

    dtype: Dtype
    flop_per_s: FlopPerS


class MemoryTier(Record):
    """One kind of memory of a chip."""

    name: str
    capacity_bytes: PositiveBytes
    bandwidth_bytes_per_s: BytesPerS


class Chip(Record):
    """The unit that a plan counts: one GPU, one LPU or one wafer."""

    name: str
    peaks: Annotated[tuple[Peak, ...], Field(min_length=1)]
    memory: Annotated[tuple[MemoryTier, ...], Field(min_length=1)]
    """Fastest use first: weights and KV cache live in the first tier; in the second, where a plan
    says so, layers that the first has no room for."""
    architecture: str = ""
    """The family of chips whose kernels it shares, such as "hopper"."""
    compute_efficiency: Fraction = 1.0
    """What of the data sheet's peak the chip can sustain, over what those can on which stacks are
    fitted; what software loses comes on top."""
    memory_efficiency: Fraction = 1.0
    """The same of the bandwidth."""
    arithmetic_share: Fraction = 1.0
    """Its peak over that of the chip of its generation from which only arithmetic was cut: what
    feeds the arithmetic is as wide as there (`cost.roofline.fed_fraction`)."""
    skips: tuple[Zeros, ...] = ()
    """Patterns of zeros in weights that cost it no arithmetic."""
    meeting_latency_s: Seconds = 0.0
    """Its kernels' share of a collective, once: to meet those of the other chips."""
    signal_latency_s: Seconds = 0.0
    """The same for each step inside a node, beside the link: what is written is made seen, and a
    flag is waited for."""

    def peak_flop_per_s(self, dtype: str) -> float:
        """Peak for values of this format, or for the best format that the chip has to multiply
        them in. [FLOP/s]"""
        return self._peak_for(dtype).flop_per_s

    def multiplies_in(self, dtype: str) -> str:
        """This format, or the one that the chip falls to without a peak of it."""
        return self._peak_for(dtype).dtype

    def nearest_multiplied(self, dtype: Dtype) -> Dtype:
        """The format nearest to this one, and at least as wide, that the chip multiplies as it is;
        an InputError says what it multiplies where there is none."""
        peaks = [peak.dtype for peak in self.peaks]
        found = nearest_multiplied(dtype, peaks)
        if found is None:
            raise InputError(
                f"weight_dtype: {self.name} multiplies neither {dtype} nor any wider format, only"
                f" {listed(peaks)}; give one of these"
            )
        return found

    def _peak_for(self, dtype: str) -> Peak:
        peaks = {peak.dtype: peak for peak in self.peaks}
        for candidate in (dtype, *MULTIPLIED_IN[dtype]):
            if candidate in peaks:
                return peaks[candidate]
        return max(self.peaks, key=lambda peak: peak.flop_per_s)


class Fabric(Record):
    """One level of the interconnect: equal units, joined in one shape."""

    name: str
    shape: FabricShape
    units: Count
    """The most units that it joins: chips at the first level, units of the level below at the
    others."""
    dimensions: tuple[Count, ...] = ()
    """Of a torus or a mesh: the most units along each axis."""
    bandwidth_bytes_per_s: BytesPerS
    """Of one link, per direction: a switch port, or the link to one neighbour; above the first
    level, each chip's share; of a list of links, each that states none of its own."""
    latency_s: Seconds
    """One hop, port to port; through a switch the whole way."""
    wraps_from: Count = 1
    """Of a torus: an axis closes into a ring when it has at least so many units."""
    reduces_in_network: bool = False
    """Whether its switches add up what passes through them."""
    detour_bandwidth_bytes_per_s: BytesPerS | None = None
    """What each chip reaches to any one unit by way of the others, while all chips of all units
    send: of all its links out of its unit half, since a message crosses two of them (L. Valiant,
    "A scheme for fast parallel communication", 1982; J. Kim et al., "Technology-driven,
    highly-scalable dragonfly topology", ISCA 2008). None: messages go the nearest way."""
    links: tuple[Wire, ...] = ()
    """Of a list of links among the chips of a node."""

    @model_validator(mode="after")
    def check_links(self) -> Self:
        if (self.shape == "links") != bool(self.links):
            raise InputError(
                f"Fabric.links of {self.name!r}: a fabric has a list of links where its shape is"
                " 'links', and only there"
            )
        check_links(self.name, self.links, self.units)
        return self

    def wiring(self, chips: int) -> Wiring:
        """Of a list of links, among the first so many chips of a node."""
        return Wiring(self.links, chips, self.bandwidth_bytes_per_s, self.latency_s)

    @model_validator(mode="after")
    def check_dimensions(self) -> Self:
        if self.shape in ("torus", "mesh"):
            if not self.dimensions or math.prod(self.dimensions) != self.units:
                raise InputError(
                    f"Fabric.dimensions of {self.name!r}: a {self.shape} of {self.units} units"
                    f" needs dimensions whose product is {self.units}, such as ({self.units},)"
                )
        elif self.dimensions:
            raise InputError(
                f"Fabric.dimensions of {self.name!r}: only a torus or a mesh has them,"
                f" not a {self.shape}"
            )
        return self


class Host(Record):
    """The computer that chips stand in: of everything the share of one chip."""

    name: str = ""
    processor: Chip
    """Its arithmetic, and as first memory what of the host's may be filled."""
    bandwidth_bytes_per_s: BytesPerS
    """That copies between host and chip reach, in each direction."""
    latency_s: Seconds
    """To start one."""


class Figure(Record):
    """Where a number comes from."""

    path: str
    """Of the field, such as "chip.memory[0].capacity_bytes"."""
    value: float
    source: str
    confidence: Confidence
    note: str = ""
    within: Annotated[float, Field(gt=1, le=1e3)] | None = None
    """The true value lies between value / within and value × within, with 80 %; None: as near as
    its confidence says."""


class Rack(Record):
    """A rack, or one box of those that fill a rack: what it holds, draws and takes up."""

    chips: Count
    power_w: Watts
    """The most that it draws."""
    rack_units: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Its height, in U of 44.45 mm (EIA-310)."""
    floor_m2: Annotated[float, Field(gt=0, le=1000)] | None = None
    figures: tuple[Figure, ...] = ()
    """Source and confidence of these; no plan depends on them."""

    @property
    def density_w_per_rack_unit(self) -> float | None:
        """Power for each U of height; None where the height is not known."""
        return None if self.rack_units is None else self.power_w / self.rack_units

    @property
    def density_w_per_m2(self) -> float | None:
        """Power for each square metre of floor; None where that is not known."""
        return None if self.floor_m2 is None else self.power_w / self.floor_m2


ModelClass = Literal["diffusion", "encoder"]
"""Models that servers of language models do not run."""


def _no_path(name: str) -> str:
    if "/" in name or "\\" in name:
        raise PydanticCustomError("stack", "must be a stack's name in the catalogue")
    return name


class OtherSoftware(Record):
    """What runs a class of models on a machine whose own stack is not made for them."""

    models: ModelClass
    software: Annotated[
        str,
        Field(min_length=1, max_length=100, json_schema_extra={"pattern": r"^[^/\\]{1,100}$"}),
        AfterValidator(_no_path),
    ]
    """Its name in the catalogue; a path to a file of its own is none."""


class Power(Record):
    """Watts drawn for each chip held, by scope."""

    chip_w: Watts | None = None
    """The chip or card alone."""
    system_w: Watts | None = None
    """Its share of everything at the wall: hosts, switches, fans."""
    idle_share: Fraction = 1.0
    """Of the chip's watts, what it draws while it waits; 1: always all of them, whatever it
    does."""
    compute_activity: Annotated[float, Field(ge=0, le=100)] = 0.0
    """How active it is when it computes at the peak (see `cost.energy.LINES`)."""
    memory_activity: Annotated[float, Field(ge=0, le=100)] = 0.0
    """How active it is when it reads at the full bandwidth."""
    host_share: Fraction = 1.0
    """Of the system's watts beyond the chip's, what hosts, switches and fans draw, with what
    supplies lose."""


@dataclass(frozen=True, slots=True)
class Level:
    """A fabric as it is wired up for the chips that are there."""

    fabric: Fabric
    units: int
    unit_chips: int
    """Chips in each unit that it joins."""
    axes: tuple[int, ...]
    """Units along each axis; one axis for everything but a grid."""
    leaves_node: bool = False
    """Whether it lies beyond the innermost fabric."""
    wiring: Wiring | None = None
    """Of a list of links, which stands in levels of its own: pairs, pairs of pairs and so on."""
    crossings: Crossings | None = None
    """Likewise: its messages from one unit to another."""

    @property
    def span_chips(self) -> int:
        return self.units * self.unit_chips

    def wraps(self, axis: int) -> bool:
        """Whether that axis closes into a ring."""
        shape, length = self.fabric.shape, self.axes[axis]
        return length > 2 and (
            shape == "ring" or (shape == "torus" and length >= self.fabric.wraps_from)
        )

    @property
    def nearest_hops(self) -> int:
        """Between units that are as near as any."""
        if self.crossings is not None:
            return self.crossings.nearest
        return 3 if self.fabric.shape == "dragonfly" else 1  # local, global, local

    def hops(self, one: int, other: int) -> int:
        """Hops between two of its units."""
        return int(self.hops_each(np.array(one), np.array(other)))

    def hops_each(self, one: Chips, other: Chips) -> Chips:
        """The same of many pairs at once; of a list of links between the first chips of the
        units."""
        if self.crossings is not None:
            return self.kinds_each(np.multiply(one, self.unit_chips), other * self.unit_chips)
        if self.fabric.shape in ("switch", "full-mesh", "dragonfly"):
            return np.where(np.equal(one, other), 0, self.nearest_hops)
        steps = np.zeros(np.broadcast(one, other).shape, dtype=np.intp)
        for axis, (a, b) in enumerate(
            zip(self.coordinates(one), self.coordinates(other), strict=True)
        ):
            apart = np.abs(a - b)
            steps += np.minimum(apart, self.axes[axis] - apart) if self.wraps(axis) else apart
        return steps

    def kinds_each(self, one: Chips, other: Chips) -> Chips:
        """Of a list of links, which of its kinds of ways lead from chip to chip: what hops are
        elsewhere."""
        if self.crossings is None or self.wiring is None:
            raise AssertionError(f"{self.fabric.name} is no list of links")
        chips = self.wiring.chips
        return self.crossings.codes[np.mod(one, chips), np.mod(other, chips)]

    def coordinates(self, unit: int | Chips) -> tuple[Chips, ...]:
        """Of a unit in a grid whose lines are numbered to and fro, so that unit n and n + 1 are
        neighbours."""
        position: list[Chips] = []
        below = self.units
        left = np.asarray(unit, dtype=np.intp)
        for length in self.axes:
            below //= length
            index = left // below
            left = left % below
            left = np.where(index % 2, below - 1 - left, left)
            position.append(index)
        return tuple(position)


class Topology(Record):
    """A machine."""

    name: str
    title: str = ""
    chip: Chip
    chips: Count
    """How many are there; `replace(chips=n)` shrinks or extends the machine."""
    fabrics: tuple[Fabric, ...] = ()
    """Innermost first."""
    most_chips: Count | None = None
    """The largest that was ever described; None: what the fabrics join."""
    software: Software
    other_software: tuple[OtherSoftware, ...] = ()
    """Of diffusion models and encoders, where nobody chose the stack; what has a stack of its own
    choosing has none."""
    host: Host | None = None
    """Where layers may lie, or run, that the chips have no room for (see `machines.tiers`); None:
    that is not known."""
    power: Power = Power()
    price: Price = Price()
    rack: Rack | None = None
    """As it stands in a hall; None: not known."""
    divisible: bool = False
    """Whether a chip may be held in part, as some claims count them: power and price then count
    the share of its memory that is filled."""
    figures: tuple[Figure, ...] = ()
    """Source and confidence of every number."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; who changes the software means it for all models."""
        if "software" in changes:
            changes = {"other_software": (), **changes}
        return super().replace(**changes)

    @model_validator(mode="after")
    def check_chips(self) -> Self:
        most = self.limit_chips
        if self.chips > most:
            raise InputError(
                f"Topology.chips of {self.name!r}: its fabrics join at most {most} chips, not"
                f" {self.chips}"
            )
        for number, fabric in enumerate(self.fabrics):
            if fabric.shape == "links" and number:
                raise InputError(
                    f"Topology.fabrics[{number}].shape of {self.name!r}: only the first fabric may"
                    " be a list of links"
                )
            if fabric.shape == "links":
                where = f"Topology.fabrics[{number}].links of {self.name!r}"
                check_joined(where, fabric.wiring(min(fabric.units, self.chips)))
        return self

    def with_usable_memory(self, share: float) -> Self:
        """The same machine, whose engine is started with that share of each chip's memory."""
        if isinstance(share, bool) or not 0 < share <= 1:
            raise InputError(
                f"usable_memory must be a share of a chip's memory above 0 and up to 1, such as"
                f" 0.95, not {share!r}"
            )
        path = "software.usable_memory_fraction"
        kept = tuple(figure for figure in self.figures if figure.path != path)
        asked = Figure(path=path, value=share, source="", confidence="stated", note="as asked for")
        return self.replace(
            software=self.software.replace(usable_memory_fraction=share), figures=(*kept, asked)
        )

    @property
    def limit_chips(self) -> int:
        """The most chips that it may have."""
        joined = math.prod(fabric.units for fabric in self.fabrics)
        return min(joined, self.most_chips or joined)

    @property
    def embeds_on_host(self) -> bool:
        """Whether the table of token embeddings lies with a host, and not on the chips."""
        return self.software.embedding_on_host and self.host is not None

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The fabrics as wired for `chips`, innermost first; those that join a single unit are
        left out."""
        levels: list[Level] = []
        unit_chips = 1
        for fabric in self.fabrics:
            if fabric.shape == "links":
                levels += self._levels_of_links(fabric)
                unit_chips = math.prod(level.units for level in levels)
                continue
            needed = min(fabric.units, math.ceil(self.chips / unit_chips))
            if needed > 1:
                axes = grid_axes(needed, fabric.dimensions) if fabric.dimensions else (needed,)
                levels.append(Level(fabric, math.prod(axes), unit_chips, axes, unit_chips > 1))
                unit_chips *= math.prod(axes)
            else:
                unit_chips *= needed
        return tuple(levels)

    def _levels_of_links(self, fabric: Fabric) -> Iterator[Level]:
        """Where a group begins decides which links it has: so a node is taken in blocks, within
        which groups stand."""
        present = min(fabric.units, self.chips)
        wiring = fabric.wiring(present)
        inside = 1
        for units in blocks_of(fabric.units):
            needed = min(units, math.ceil(present / inside))
            if needed > 1:
                crossings = wiring.crossings(inside, inside * needed)
                yield Level(fabric, needed, inside, (needed,), False, wiring, crossings)
            inside *= needed

    def level_between(self, one: int, other: int) -> int | None:
        """The number of the level that a message between two chips crosses; None for a chip and
        itself."""
        for chip in sorted((one, other), reverse=True):
            if not 0 <= chip < self.chips:
                raise InputError(
                    f"Topology {self.name!r} has chips 0 to {self.chips - 1}; {chip} is not one of"
                    " them"
                )
        if one == other:
            return None
        return int(self.levels_crossed(one, other))

    def levels_crossed(self, one: int | Chips, other: int | Chips) -> Chips:
        """The same of many pairs of chips at once, of which none is a chip and itself."""
        number = np.zeros(np.broadcast(one, other).shape, dtype=np.intp)
        for level in self.levels[:-1]:
            number += np.not_equal(
                np.floor_divide(one, level.span_chips), np.floor_divide(other, level.span_chips)
            )
        return number

    def ways(
        self, senders: tuple[Chips, Chips], receivers: tuple[Chips, Chips]
    ) -> tuple[Chips, Chips]:
        """The nearest way from each of some groups of consecutive chips, given by their first and
        last chips, to another that shares none of them: the level that it crosses, and its hops
        there. A way leads from one of the ends that face one another, or from one of those that
        look away, which are nearer where an axis closes or lines go to and fro."""
        inner = self._way(senders[1], receivers[0])
        outer = self._way(senders[0], receivers[1])
        is_nearer = (outer[0] < inner[0]) | ((outer[0] == inner[0]) & (outer[1] < inner[1]))
        return np.where(is_nearer, outer[0], inner[0]), np.where(is_nearer, outer[1], inner[1])

    def _way(self, one: Chips, other: Chips) -> tuple[Chips, Chips]:
        crossed = self.levels_crossed(one, other)
        hops = np.zeros_like(crossed)
        for number, level in enumerate(self.levels):
            if level.wiring is not None:
                hops = np.where(crossed == number, level.kinds_each(one, other), hops)
                continue
            units = ((chip // level.unit_chips) % level.units for chip in (one, other))
            hops = np.where(crossed == number, level.hops_each(*units), hops)
        return crossed, hops

    def to_networkx(self) -> "nx.Graph[Any]":
        """Chips (integers) and switches (names) as nodes, links as edges with
        bandwidth_bytes_per_s (per direction), latency_s and fabric. Above the first level a link
        joins chips that stand at the same place in their units."""
        import networkx as nx

        drawn: nx.Graph[Any] = nx.Graph(name=self.name)
        drawn.add_nodes_from(range(self.chips), kind="chip", chip=self.chip.name)
        for number, level in enumerate(self.levels):
            if level.wiring is not None:
                if level.unit_chips == 1:
                    self._draw_links(drawn, level.fabric, level.wiring)
                continue
            wire = {
                "fabric": level.fabric.name,
                "latency_s": level.fabric.latency_s,
                "bandwidth_bytes_per_s": level.fabric.bandwidth_bytes_per_s,
            }
            for name, members in self._joined(level):
                # The last unit of a level may be partly filled.
                present = [chip for chip in members if chip < self.chips]
                if level.fabric.shape == "switch" and len(present) > 1:
                    switch = f"{level.fabric.name} {number}.{name}"
                    drawn.add_node(switch, kind="switch")
                    drawn.add_edges_from([(chip, switch) for chip in present], **wire)
                    continue
                for one, other in level_links(level):
                    ends = (members[one], members[other])
                    if max(ends) < self.chips:
                        drawn.add_edge(*ends, **wire)
        return drawn

    def _draw_links(self, drawn: "nx.Graph[Any]", fabric: Fabric, wiring: Wiring) -> None:
        """The links of each node."""
        for first in range(0, self.chips, wiring.chips):
            for ends, lane in wiring.lanes_of_links.items():
                # The last node may be partly filled.
                placed = [end + first if isinstance(end, int) else end for end in ends]
                if any(isinstance(end, int) and end >= self.chips for end in placed):
                    continue
                named = [
                    end if isinstance(end, int) else f"{end} {first // wiring.chips}"
                    for end in placed
                ]
                drawn.add_nodes_from((end for end in named if isinstance(end, str)), kind="switch")
                drawn.add_edge(*named, fabric=fabric.name, **lane._asdict())

    def _joined(self, level: Level) -> Iterator[tuple[str, list[int]]]:
        """Chips that the fabric of a level joins: those at the same place in each of its units;
        with the number of their node and that place as a name."""
        for first in range(0, self.chips, level.span_chips):
            for place in range(level.unit_chips):
                start = first + place
                members = [start + unit * level.unit_chips for unit in range(level.units)]
                yield f"{first // level.span_chips}.{place}", members


def level_links(level: Level) -> Iterator[tuple[int, int]]:
    """Pairs of units that a link joins directly."""
    if level.fabric.shape in ("full-mesh", "dragonfly", "switch"):
        yield from ((a, b) for a in range(level.units) for b in range(a + 1, level.units))
        return
    places = np.stack(level.coordinates(np.arange(level.units)), axis=1).tolist()
    at: dict[tuple[int, ...], int] = {tuple(place): unit for unit, place in enumerate(places)}
    for place, unit in at.items():
        for axis, length in enumerate(level.axes):
            ahead = place[axis] + 1
            if ahead == length and level.wraps(axis):
                ahead = 0
            if ahead < length:
                yield unit, at[(*place[:axis], ahead, *place[axis + 1 :])]


def grid_axes(units: int, most: tuple[int, ...]) -> tuple[int, ...]:
    """The most compact grid of `units` units, or of the next larger number that a grid within
    `most` can have.

    The result has len(most) axes, in the order of `most`.
    """
    for candidate in range(units, math.prod(most) + 1):
        options = list(_factorings(candidate, most))
        if options:
            return min(options, key=lambda axes: (sum(axes), axes))
    return most


def _factorings(units: int, most: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    if not most:
        if units == 1:
            yield ()
        return
    for length in range(1, min(units, most[0]) + 1):
        if units % length == 0:
            for rest in _factorings(units // length, most[1:]):
                yield (length, *rest)


def described(topology: Topology) -> str:
    """'64 chips: 8 by switch (NVLink 4), 8 by switch (InfiniBand NDR)'."""
    chips = f"{topology.chips} × {topology.chip.name}"
    if not topology.levels:
        return chips
    parts = []
    for level in topology.levels:
        if level.wiring is not None:
            if level.unit_chips == 1:
                parts.append(f"{level.wiring.chips} by links ({level.fabric.name})")
            continue
        axes = " × ".join(str(length) for length in level.axes)
        parts.append(f"{axes} by {level.fabric.shape} ({level.fabric.name})")
    return f"{chips}, {listed(parts, 'then')}"


@guarded
def with_value(topology: Topology, path: str, value: Any) -> Topology:
    """The topology with one field, named by its path ("fabrics[0].latency_s"), set to another
    value.

    InputError: a path that names no figure, or a value that the field does not take.
    """
    fields = topology.model_dump()
    place: Any = fields
    parts = path.replace("[", ".").replace("]", "").split(".")
    keys = [int(part) if part.isdecimal() else part for part in parts]
    try:
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
    except (KeyError, IndexError, TypeError):
        raise InputError(f"topology {topology.name!r} has no figure at {told(path)}") from None
    moved = Topology.from_fields(fields)
    if path.startswith("price.economics."):
        # What the owner pays stands behind the hourly price, which follows.
        return moved.replace(price=repriced(topology.price, moved.price.economics))
    return moved
