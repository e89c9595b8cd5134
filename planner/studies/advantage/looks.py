"""How a map looks, whoever draws it: colours, hatches and marks, and the shapes of its fields and
borders in the units of its axes.

Machines differ in colour (Okabe and Ito), in hatching and in mark, so that they are told apart in
greyscale; how far the next machine is behind is the strength of the colour.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.report.static import Box
from planner.studies.advantage.measured import dated
from planner.studies.advantage.records import UNSAID, AdvantageMap, Measured, Square, Switch
from planner.studies.advantage.uncertainty import SURE

Point = tuple[float, float]
"""Parameters and tokens/s."""
Kinds = NDArray[np.intp]
"""What each square shows, shape (speeds, sizes): machine × len(SHADES) + shade, or one of the two
below 0."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
HATCHES = ("", "//", "\\\\", "--", "||", "++")
"""Of a machine's fields, as matplotlib writes them; plotly's are the same of one letter."""
MARKS = ("s", "^", "o", "v", "P", "X")
SYMBOLS = ("square", "triangle-up", "circle", "triangle-down", "cross", "x")
"""Of measured systems, in matplotlib and in plotly."""
SHADES = ("1 to 2 ×", "2 to 4 ×", "4 × or more", "no other is as fast")
"""What the next machine costs over the winner."""
STRENGTHS = (0.3, 0.5, 0.72, 1.0)
"""Of the colour, for each shade."""
NOBODY = -1
UNKNOWN = UNSAID
"""Of `AdvantageMap.winners`: no machine is fast enough; of one that might win the metric is not
known."""
GROUNDS = {NOBODY: ("#F3F3F3", ""), UNKNOWN: ("#FFFFFF", "xx")}
"""Colour and hatching of both."""
ZONES = {NOBODY: "no machine is as fast", UNKNOWN: "the metric is not known"}
BORDER = "border between winners"
DOUBT = "where it lies with 80 %"
SWITCH = "border of a real model"
EDGE = "largest model that a machine holds"


def short(title: str) -> str:
    """'NVIDIA HGX H100' of 'NVIDIA HGX H100: eight GPUs behind …'."""
    return title.split(":", maxsplit=1)[0]


def colour_of(machine: int) -> str:
    return COLOURS[machine % len(COLOURS)]


def fill_of(kind: int) -> tuple[str, str]:
    """Colour and hatching of what a square shows."""
    if kind in GROUNDS:
        return GROUNDS[kind]
    machine, shade = divmod(kind, len(SHADES))
    return lighter(colour_of(machine), STRENGTHS[shade]), HATCHES[machine % len(HATCHES)]


def lighter(colour: str, strength: float) -> str:
    """A colour in that strength on white."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    mixed = (round(255 - strength * (255 - part)) for part in parts)
    return "#" + "".join(f"{part:02X}" for part in mixed)


# ── Squares ──────────────────────────────────────────────────────────────────────────────────────


def kinds_of(drawn: AdvantageMap) -> Kinds:
    """What each square shows, shape (speeds, sizes)."""
    winners = drawn.winners()
    shades = np.array([_shade(square) for square in drawn.rows])
    shades = shades.reshape(len(drawn.sizes), len(drawn.speeds)).T
    return np.where(winners < 0, winners, winners * len(SHADES) + shades)


def _shade(square: Square) -> int:
    if square.advantage is None:
        return 3
    return 0 if square.advantage < 2 else 1 if square.advantage < 4 else 2


def is_sure(drawn: AdvantageMap) -> NDArray[np.bool_]:
    """Of which squares the winner is sure, shape (speeds, sizes); so is what no draw was made
    for."""
    sure = [square.likely_share is None or square.likely_share >= SURE for square in drawn.rows]
    return np.array(sure).reshape(len(drawn.sizes), len(drawn.speeds)).T


def edges_of_squares(middles: tuple[float, ...]) -> NDArray[np.float64]:
    """Between squares, on a logarithmic scale, with half a square beyond the outermost."""
    logs = np.log(np.array(middles))
    if len(logs) == 1:
        edges = np.array([logs[0] - 0.5, logs[0] + 0.5])
    else:
        inner = (logs[1:] + logs[:-1]) / 2
        outer = [2 * logs[0] - inner[0]], inner, [2 * logs[-1] - inner[-1]]
        edges = np.concatenate(outer)
    found: NDArray[np.float64] = np.exp(edges)
    return found


class Block(NamedTuple):
    """Like squares beside and above each other."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def corners(self) -> list[Point]:
        """The first one again at the end."""
        return [
            (self.left, self.bottom),
            (self.right, self.bottom),
            (self.right, self.top),
            (self.left, self.top),
            (self.left, self.bottom),
        ]


def blocks_of(drawn: AdvantageMap) -> dict[int, list[Block]]:
    """The squares of each kind as few rectangles: runs along a row, joined with equal runs
    above."""
    kinds = kinds_of(drawn)
    runs: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for speed, row in enumerate(kinds.tolist()):
        first = 0
        for kind, run in itertools.groupby(row):
            last = first + len(list(run))
            runs[kind, first, last].append(speed)
            first = last

    across = edges_of_squares(drawn.sizes)
    up = edges_of_squares(drawn.speeds)
    found: dict[int, list[Block]] = defaultdict(list)
    for (kind, first, last), speeds in runs.items():
        for low, high in _stretches(speeds):
            block = Block(across[first], up[low], across[last], up[high + 1])
            found[kind].append(block)
    return dict(sorted(found.items()))


def _stretches(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run without a gap."""
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


# ── Borders ──────────────────────────────────────────────────────────────────────────────────────


def borders_of(drawn: AdvantageMap) -> list[list[Point]]:
    """Lines between squares of unlike winners."""
    return _lines_between(drawn, drawn.winners())


def doubts_of(drawn: AdvantageMap) -> list[list[Point]]:
    """Lines between squares whose winner is sure and those whose is not: on either side of a
    border the ends of its 80 % interval."""
    return _lines_between(drawn, is_sure(drawn))


def _lines_between(drawn: AdvantageMap, values: NDArray[np.generic]) -> list[list[Point]]:
    across = edges_of_squares(drawn.sizes)
    up = edges_of_squares(drawn.speeds)
    chains = _chains(_sides_between(values))
    return [[(float(across[x]), float(up[y])) for x, y in chain] for chain in chains]


Corner = tuple[int, int]


def _sides_between(values: NDArray[np.generic]) -> Iterator[tuple[Corner, Corner]]:
    """Sides of squares beyond which the value is another, by the corners' numbers."""
    speeds, sizes = values.shape
    for speed, size in np.ndindex(speeds, sizes):
        here = values[speed, size]
        if size + 1 < sizes and here != values[speed, size + 1]:
            yield (size + 1, speed), (size + 1, speed + 1)
        if speed + 1 < speeds and here != values[speed + 1, size]:
            yield (size, speed + 1), (size + 1, speed + 1)


def _chains(sides: Iterator[tuple[Corner, Corner]]) -> list[list[Corner]]:
    """Sides in as few lines as meet their ends, so that dashes run on around corners."""
    ways: dict[Corner, set[Corner]] = defaultdict(set)
    for one, other in sides:
        ways[one].add(other)
        ways[other].add(one)

    found: list[list[Corner]] = []
    while True:
        left = sorted(corner for corner, ends in ways.items() if ends)
        if not left:
            return found
        # A line begins where an odd number of sides meet: elsewhere it would be cut in two.
        here = next((corner for corner in left if len(ways[corner]) % 2), left[0])
        chain = [here]
        while ways[here]:
            there = min(ways[here])
            ways[here].discard(there)
            ways[there].discard(here)
            chain.append(there)
            here = there
        found.append(chain)


# ── Marks ────────────────────────────────────────────────────────────────────────────────────────


def holds(drawn: AdvantageMap, parameters: float, speed: float) -> bool:
    """Whether a point lies on the map."""
    across = edges_of_squares(drawn.sizes)
    up = edges_of_squares(drawn.speeds)
    return bool(across[0] <= parameters <= across[-1] and up[0] <= speed <= up[-1])


def measured_on(drawn: AdvantageMap) -> list[Measured]:
    """Measured systems that lie on the map."""
    return [
        one for one in drawn.measured if holds(drawn, one.parameters, one.tokens_per_s_per_user)
    ]


def switches_on(drawn: AdvantageMap) -> list[Switch]:
    """Borders of real models that lie on the map."""
    return [
        one
        for one in drawn.switches
        if one.after is not None and holds(drawn, one.parameters, one.tokens_per_s_per_user)
    ]


def real_models(drawn: AdvantageMap) -> list[tuple[str, float]]:
    """Those that were priced and lie on the map, by size."""
    priced = sorted({(switch.parameters, switch.model) for switch in drawn.switches})
    return [(name, size) for size, name in priced if holds(drawn, size, drawn.speeds[0])]


def date_of(one: Measured) -> str:
    """When a system was measured, as year or year and month; empty where its source says
    nothing."""
    return (one.date or dated(one.source) or "")[:7]


def has_drafts(one: Measured) -> bool:
    """Whether a measured system drafted tokens."""
    return bool(one.drafts)


def measured_words(one: Measured) -> str:
    speed = f"{one.tokens_per_s_per_user:.0f} tokens/s"
    words = f"{one.model} on {one.topology}: {speed}"
    if has_drafts(one):
        words += ", with drafts"
    if one.energy_per_token_j is not None:
        words += f", {one.energy_per_token_j:.2g} J a token (chips alone)"
    if one.reached is False and one.why:
        words += f"; beyond what is predicted: {one.why}"
    return f"{words}; {one.source} ({one.row_id})"


def switch_words(switch: Switch) -> str:
    speed = f"{switch.tokens_per_s_per_user:.0f} tokens/s"
    return f"{switch.model}: {switch.before} below, {switch.after} above {speed}"


def place_of_name(
    is_won: NDArray[np.bool_],
    across: NDArray[np.float64],
    up: NDArray[np.float64],
    size: tuple[float, float],
    taken: Sequence[Box],
) -> Box | None:
    """Where a field's name of that size [pixels] stands: most of it on its own squares, over
    nothing that is taken, near the middle; None where the field is too small.

    `is_won` is of shape (speeds, sizes); `across` and `up` are the pixels between the squares.
    """
    frame = Box(float(across[0]), float(up[0]), float(across[-1]), float(up[-1]))
    middles_x = (across[1:] + across[:-1]) / 2
    middles_y = (up[1:] + up[:-1]) / 2
    speeds, sizes = np.nonzero(is_won)
    centre_x, centre_y = middles_x[sizes].mean(), middles_y[speeds].mean()

    found = []
    for speed, at in zip(speeds.tolist(), sizes.tolist(), strict=True):
        x, y = float(middles_x[at]), float(middles_y[speed])
        box = Box.around(x, y, size[0] / 2, size[1] / 2)
        if not box.is_in(frame) or any(box.meets(other, 2.0) for other in taken):
            continue
        columns = (across[1:] > box.left) & (across[:-1] < box.right)
        rows = (up[1:] > box.bottom) & (up[:-1] < box.top)
        share = float(is_won[np.ix_(rows, columns)].mean())
        if share >= 0.8:
            found.append((-share, (x - centre_x) ** 2 + (y - centre_y) ** 2, box))
    return min(found)[-1] if found else None


class Edge(NamedTuple):
    """Where a machine ends: the largest model that it holds."""

    parameters: float
    words: str


def ends_of(drawn: AdvantageMap) -> list[Edge]:
    """Of the machines that hold no model as large as the map's largest."""
    stated = {one.topology: one for one in drawn.edges}
    across = edges_of_squares(drawn.sizes)
    values = np.array([[one is not None for one in square.values] for square in drawn.rows])
    shape = len(drawn.sizes), len(drawn.speeds), len(drawn.titles)
    is_held = np.any(values.reshape(shape), axis=1)
    found = []
    for machine, title in enumerate(drawn.titles):
        held = np.flatnonzero(is_held.T[machine])
        if not len(held) or held[-1] + 1 == len(drawn.sizes):
            continue
        edge = stated.get(drawn.topologies[machine])
        if edge is not None and edge.why == "too slow":
            # It holds more: the border above its field says where it is fast enough.
            continue
        many = f"{edge.chips:,} chips" if edge is not None else "all its chips"
        what = "run" if edge is not None and edge.why == "engine" else "hold"
        words = f"{short(title)}: {many} {what} no larger model"
        found.append(Edge(float(across[held[-1] + 1]), words))
    return found
