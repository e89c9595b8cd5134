"""What the stages of uniform plans take, and hold, in steps of every size: of many shapes at once.

The same price list as `score_plan`. Of stages that are alike one is priced. Of a shape's stages, and
of the links behind them, only those count that may be the slowest: whatever another exceeds in all
that a plan can ask of it is left out, which changes no price.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.models.graph import ModelGraph
from planner.pricing.collectives import hop_s
from planner.pricing.drafts import serving_prices
from planner.pricing.price_list import Reach, Recall, Split, host_s, shares_of
from planner.pricing.schedule import schedule_of
from planner.pricing.timing import Hop, crossing_bytes
from planner.space.uniform_shapes import Ground, Shape, Stand, cuts_of
from planner.workload import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


class Stages(NamedTuple):
    """What the stages of some shapes take in steps of every size. Rows are the chips of a stage, or
    the link behind it, wherever these may be the slowest; rows and parts that a shape has fewer of
    are zeros, the slowest of nothing."""

    passing_s: Floats
    """All stages and links one after the other, shape (shapes, sizes)."""
    held_up_s: Floats
    """The same behind a prompt, shape (shapes, sizes)."""
    decode_s: Floats
    """What its chips, or the link behind it, take for a step, shape (rows, shapes, sizes)."""
    quicker_s: Floats
    """For that step or for a pass of a prompt, whichever is shorter, shape (rows, shapes, sizes)."""
    prompt_s: Floats
    """A pass of a prompt, shape (rows, shapes)."""
    more_s: Floats
    """What a prompt adds to a pass that takes others too, shape (rows, shapes)."""
    prompt_pass_s: Floats
    """Of a prompt, through all of them, shape (shapes,)."""
    held_bytes: Floats
    """On each chip, what does not grow with sequences, shape (parts, shapes, sizes)."""
    sequence_bytes: Floats
    """For each sequence of the chip's share, shape (parts, shapes)."""
    chips: Floats
    """That count for power and price: all, or as many as weights fill, shape (shapes,)."""
    sequence_chips: Floats
    """As many as the cache of a sequence fills, shape (shapes,); none where chips are held
    whole."""


class _Cut(NamedTuple):
    """How layers are shared out over so many stages."""

    counts: Floats
    """Layers of each kind, shape (stages, kinds)."""
    handed: list[float]
    """Bytes for each token that leave each stage."""
    labels: list[int]
    """The same for stages of the same layers that hand on the same, the last one apart."""


class _Line(NamedTuple):
    """The stages of one shape, of those that are alike the first."""

    counts: Floats
    """Layers of each kind, shape (parts, kinds), as all that follow in the first axis."""
    stands: list[Stand]
    handed: list[float]
    often: list[int]
    """How many are like it."""
    last: list[bool]


class Layout(NamedTuple):
    """The parts of some shapes, one after the other: of the stages that are alike one each."""

    shapes: int
    """How many there are."""
    owner: Ints
    """Number of the shape, shape (parts,), as of all that follow but the lists."""
    position: Ints
    """Number among the parts of that shape."""
    often: Floats
    """How many stages are like it."""
    chips: Floats
    """Of one of these stages."""
    counts: Floats
    """Layers of each kind, shape (parts, kinds)."""
    last: Bools
    """Whether it is the last stage."""
    alone: Bools
    """Whether it has all layers."""
    ranks: Floats
    """That share out its sequences."""
    groups: list[tuple[Split, Reach, Ints]]
    """Splits that reach as far, with the numbers of their parts."""
    splits: list[tuple[Split, Ints]]
    """Splits, with the numbers of their parts."""
    links: list[tuple[Split, Hop, float]]
    """What is handed on behind a stage, and over which link."""
    link: Ints
    """Number of the link behind it."""


class Layouts:
    """Of one graph on one machine, and what its steps take: kept, since each way to draft, and each
    number of drafted tokens, asks again (see `layouts_of`)."""

    def __init__(self, graph: ModelGraph, ground: Ground) -> None:
        self.graph, self.ground = graph, ground
        kinds = np.eye(len(graph.kinds))[graph.kind_of_layer]
        self._kinds_before = np.concatenate(
            [np.zeros((1, len(graph.kinds))), np.cumsum(kinds, axis=0)]
        )
        self._crossing = crossing_bytes(graph, range(len(graph.layers)))
        self._cuts: dict[tuple[int, bool], _Cut] = {}
        self._known: dict[tuple[Shape, ...], Layout] = {}
        self._recalls: list[tuple[ModelGraph, Recall]] = []

    def recall_of(self, graph: ModelGraph) -> Recall:
        """What price lists have worked out of this graph, or of one that drafts for it."""
        for known, recall in self._recalls:
            if known is graph or known == graph:
                return recall
        self._recalls.append((graph, Recall()))
        return self._recalls[-1][1]

    def of(self, shapes: Sequence[Shape]) -> Layout:
        """Of shapes in this order."""
        key = tuple(shapes)
        if key not in self._known:
            self._known[key] = self._made(key)
        return self._known[key]

    def _made(self, shapes: tuple[Shape, ...]) -> Layout:
        lines = [self._line(shape) for shape in shapes]
        parts = [len(line.stands) for line in lines]
        owner = np.repeat(np.arange(len(lines)), parts)
        stands = [stand for line in lines for stand in line.stands]
        handed = [sent for line in lines for sent in line.handed]
        groups: dict[tuple[Split, Reach], list[int]] = {}
        splits: dict[Split, list[int]] = {}
        links: dict[tuple[Split, Hop, float], int] = {}
        for number, stand in enumerate(stands):
            groups.setdefault((stand.split, stand.reach), []).append(number)
            splits.setdefault(stand.split, []).append(number)
        behind = [
            links.setdefault((stand.split, stand.hop, sent), len(links))
            for stand, sent in zip(stands, handed, strict=True)
        ]
        return Layout(
            shapes=len(lines),
            owner=owner,
            position=np.concatenate([np.arange(many) for many in parts]),
            often=np.array([many for line in lines for many in line.often], dtype=float),
            chips=np.array([stand.split.chips for stand in stands], dtype=float),
            counts=np.concatenate([line.counts for line in lines]),
            last=np.array([one for line in lines for one in line.last]),
            alone=np.array([shape.depth == 1 for shape in shapes])[owner],
            ranks=np.array([stand.split.attention for stand in stands], dtype=float),
            groups=[(*key, np.array(at)) for key, at in groups.items()],
            splits=[(split, np.array(at)) for split, at in splits.items()],
            links=list(links),
            link=np.array(behind),
        )

    def _line(self, shape: Shape) -> _Line:
        cut, stands = self._cut_of(shape), self.ground.stands(shape)
        alike = list(zip(cut.labels, [stand.code for stand in stands], strict=True))
        # Of those that are alike the first one is named.
        first = dict(zip(reversed(alike), range(len(alike) - 1, -1, -1), strict=True))
        often = Counter(alike)
        places = list(first.values())
        return _Line(
            counts=cut.counts[places],
            stands=[stands[one] for one in places],
            handed=[cut.handed[one] for one in places],
            often=[often[key] for key in first],
            last=[one == len(stands) - 1 for one in places],
        )

    def _cut_of(self, shape: Shape) -> _Cut:
        key = shape.stages, shape.ends is None
        if key not in self._cuts:
            cuts = np.array(cuts_of(self.graph, shape))
            counts = np.diff(self._kinds_before[cuts], axis=0)
            handed = self._crossing[cuts[1:] - 1].tolist()
            known: dict[tuple[bytes, float, bool], int] = {}
            labels = [
                known.setdefault((row.tobytes(), sent, number == len(handed) - 1), len(known))
                for number, (row, sent) in enumerate(zip(counts, handed, strict=True))
            ]
            self._cuts[key] = _Cut(counts, handed, labels)
        return self._cuts[key]


def layouts_of(graph: ModelGraph, ground: Ground) -> Layouts:
    """Those of the graph that was last asked for on this ground, or new ones."""
    if not isinstance(ground.last, Layouts) or ground.last.graph is not graph:
        ground.last = Layouts(graph, ground)
    return ground.last


class _Kinds(NamedTuple):
    """What a layer of each kind takes on some group, each of shape (kinds, …)."""

    steps_s: Floats
    """For a step of each size: the step, whichever is shorter of it and of a prompt's pass, and
    whichever is longer, one after the other, shape (kinds, 3 · sizes)."""
    passes_s: Floats
    """A pass of a prompt, and one full of prompts, shape (kinds, 2)."""


class _Held(NamedTuple):
    """What a chip of a split holds."""

    of_kinds: Floats
    """Weights, caches for each sequence, and what the longest has more, shape (kinds, 3)."""
    tied_bytes: float
    """Of the weights, what a chip has once that has all layers."""
    buffer_bytes: Floats
    """Shape (sizes,)."""
    logits_bytes: Floats
    """What the last stage needs beyond them to sample, shape (sizes,)."""


class _Busy(NamedTuple):
    """What the chips of parts take, or the links behind them, shape (parts, …)."""

    decode_s: Floats
    """A step of each size, shape (parts, sizes)."""
    quicker_s: Floats
    """The step or a pass of a prompt, whichever is shorter, shape (parts, sizes)."""
    slower_s: Floats
    """Whichever is longer, shape (parts, sizes)."""
    prompt_s: Floats
    """A pass of a prompt, shape (parts,)."""
    more_s: Floats
    """What a prompt adds to a pass that takes others too, shape (parts,)."""

    @property
    def asked(self) -> Floats:
        """All that a plan can ask of them, but what is longer, shape (parts, 2 · sizes + 2)."""
        prompts = self.prompt_s[:, None], self.more_s[:, None]
        return np.concatenate([self.decode_s, self.quicker_s, *prompts], axis=1)


class StagePricer:
    """Stages of one graph on one machine, for steps of every size; of a prefill pool one size
    counts."""

    def __init__(self, layouts: Layouts, workload: Workload, sizes: Ints) -> None:
        self.graph, self.workload = layouts.graph, workload
        self.layouts, self.topology = layouts, layouts.ground.topology
        self.prices = serving_prices(self.graph, self.topology, workload, layouts.recall_of)
        self.sequences = sizes.astype(float)
        self.verified = 1.0 + workload.drafted_tokens
        """Tokens of each sequence in a decode pass."""
        self.at = schedule_of(workload, self.topology.software, 1, 1, 1)
        # What a token waits in all layers while the chips are free for others, and a prompt.
        steps = self.at.decode, self.at.prefill
        self.latent_s, self.prompt_latent_s = (
            float(self.prices.latent_s(step) @ self.prices.counts) for step in steps
        )
        self._kinds: dict[tuple[Split, Reach], _Kinds] = {}
        self._held: dict[Split, _Held] = {}
        self._links: dict[tuple[Split, Hop, float], Floats] = {}

    def stages(self, shapes: Sequence[Shape]) -> Stages:
        """Of shapes in this order."""
        layout = self.layouts.of(shapes)
        chips, links = self._chips(layout), self._links_behind(layout)
        often, starts = layout.often, np.flatnonzero(layout.position == 0)
        rows = _slowest(layout, chips.asked, links.asked)
        sizes = len(self.sequences)

        def summed(each: Floats) -> Floats:
            return np.add.reduceat((often * each.T).T, starts, axis=0)

        held_bytes, each_bytes, filled_bytes = self._bytes(layout)
        filled, each = np.ones(len(often)), np.zeros(len(often))
        if self.topology.divisible:
            capacity = self.topology.chip.memory[0].capacity_bytes
            filled, each = filled_bytes / capacity, each_bytes / capacity
        return Stages(
            passing_s=summed(chips.decode_s + links.decode_s),
            held_up_s=summed(chips.slower_s + links.slower_s),
            decode_s=rows[:, :, :sizes],
            quicker_s=rows[:, :, sizes : 2 * sizes],
            prompt_s=rows[:, :, -2],
            more_s=rows[:, :, -1],
            prompt_pass_s=summed(chips.prompt_s + links.prompt_s) + self.prompt_latent_s,
            held_bytes=_by_part(layout, held_bytes),
            sequence_bytes=_by_part(layout, each_bytes),
            chips=summed(layout.chips * filled),
            sequence_chips=summed(layout.chips * each),
        )

    def _chips(self, layout: Layout) -> _Busy:
        """What the layers of each part take, and in the last stage the host."""
        software, sizes = self.topology.software, len(self.sequences)
        steps = np.empty((len(layout.owner), 3 * sizes))
        passes = np.empty((len(layout.owner), 2))
        for split, reach, at in layout.groups:
            kinds = self._kinds_of(split, reach)
            steps[at] = layout.counts[at] @ kinds.steps_s
            passes[at] = layout.counts[at] @ kinds.passes_s
        ranks = layout.ranks[layout.last, None]
        host, prompt_host = (
            host_s(software, np.ceil(self.sequences / ranks)),
            software.step_overhead_s,
        )
        passing = [host, np.minimum(host, prompt_host), np.maximum(host, prompt_host)]
        steps[layout.last] += np.concatenate(passing, axis=1)
        passes[layout.last] += prompt_host
        prompt, full = passes.T
        return _Busy(
            decode_s=steps[:, :sizes],
            quicker_s=steps[:, sizes : 2 * sizes],
            slower_s=steps[:, 2 * sizes :],
            prompt_s=prompt,
            more_s=np.asarray(self.at.added(prompt, full)),
        )

    def _links_behind(self, layout: Layout) -> _Busy:
        each = np.array([self._link_of(*link) for link in layout.links])[layout.link]
        step, prompt, full = each[:, :-2], each[:, -2], each[:, -1]
        return _Busy(
            decode_s=step,
            quicker_s=np.minimum(step, prompt[:, None]),
            slower_s=np.maximum(step, prompt[:, None]),
            prompt_s=prompt,
            more_s=np.asarray(self.at.added(prompt, full)),
        )

    def _bytes(self, layout: Layout) -> tuple[Floats, Floats, Floats]:
        """Of a chip of each part: what does not grow with sequences, for each size, what each
        sequence takes, and what of the first is filled, with weights and caches."""
        parts = len(layout.owner)
        figures, beside = np.empty((parts, 3)), np.empty((parts, len(self.sequences)))
        for split, at in layout.splits:
            held = self._held_of(split)
            figures[at] = layout.counts[at] @ held.of_kinds
            figures[at, 0] -= layout.alone[at] * held.tied_bytes
            beside[at] = held.buffer_bytes + layout.last[at, None] * held.logits_bytes
        weights, each, more = figures.T
        filled = weights + more
        return filled[:, None] + beside, each, filled

    def _kinds_of(self, split: Split, reach: Reach) -> _Kinds:
        if (split, reach) not in self._kinds:
            step = self.prices.decode_kinds_s(
                split,
                self.sequences,
                self.workload.mean_context_tokens,
                reach,
                verified=self.verified,
            )
            prompts = self.prices.prices_of_steps(split, [self.at.prefill, self.at.packed], reach)
            passes = np.stack([one.seconds.sum(axis=0) for one in prompts], axis=1)
            prompt = passes[:, :1]
            steps = [step, np.minimum(step, prompt), np.maximum(step, prompt)]
            self._kinds[split, reach] = _Kinds(np.concatenate(steps, axis=1), passes)
        return self._kinds[split, reach]

    def _link_of(self, split: Split, hop: Hop, handed: float) -> Floats:
        """What is handed on takes for steps of every size, for a prompt, and for a pass full of
        prompts, shape (sizes + 2,)."""
        key = split, hop, handed
        if key not in self._links:
            tokens = self.verified * np.ceil(self.sequences / split.attention)
            prompts = (shares_of(split, step)[0] for step in (self.at.prefill, self.at.packed))
            sent = handed * np.array([*tokens, *prompts])
            self._links[key] = np.broadcast_to(hop_s(self.topology, *hop, sent), sent.shape)
        return self._links[key]

    def _held_of(self, split: Split) -> _Held:
        if split not in self._held:
            holdings = self.prices.holdings(split, self.workload, 1.0)
            rows = self.verified * self.sequences
            most = np.maximum(self.at.most_tokens, rows)
            buffers = self.prices.activation_bytes(split, self.workload, most)
            tied = (
                float(holdings.tied_bytes[self.graph.kind_of_layer[reader]])
                for reader, _ in self.graph.tied_layers
            )
            columns = (
                holdings.weight_bytes,
                holdings.kv_bytes_per_sequence,
                holdings.kv_bytes_more,
            )
            self._held[split] = _Held(
                of_kinds=np.stack(columns, axis=1),
                tied_bytes=sum(tied),
                buffer_bytes=buffers + self.prices.workspace_bytes(split),
                logits_bytes=self.prices.logits_bytes(split, self.workload, most, rows),
            )
        return self._held[split]


def _by_part(layout: Layout, each: Floats) -> Floats:
    """Figures of parts, shape (parts, …), by part, then by shape; where a shape has no such part
    they are zeros."""
    found = np.zeros((layout.position.max() + 1, layout.shapes, *each.shape[1:]))
    found[layout.position, layout.owner] = each
    return found


def _slowest(layout: Layout, chips: Floats, links: Floats) -> Floats:
    """All that a plan can ask of the chips of parts, and of the links behind them, wherever these
    may be the slowest of their shape, shape (rows, shapes, …)."""
    rows = np.zeros((2 * (layout.position.max() + 1), layout.shapes, chips.shape[1]))
    rows[2 * layout.position, layout.owner] = chips
    rows[2 * layout.position + 1, layout.owner] = links
    kept = unexceeded(rows)
    first = np.argsort(~kept, axis=0, kind="stable")[: kept.sum(axis=0).max()]
    chosen = np.take_along_axis(rows, first[:, :, None], axis=0)
    return np.where(np.take_along_axis(kept, first, axis=0)[:, :, None], chosen, 0.0)


def unexceeded(rows: Floats) -> Bools:
    """Of rows of several shapes, (rows, shapes, columns), those that no other of
    the same shape is at least as large as in every column, shape (rows, shapes); of equal rows the
    first."""
    kept = np.ones(rows.shape[:2], dtype=bool)
    totals = rows.sum(axis=2)
    for number, row in enumerate(rows):
        exceeds = (rows >= row).all(axis=2)
        # An equal one that comes later exceeds nothing: its total is the same.
        exceeds[number:] &= totals[number:] > totals[number]
        kept[number] = ~exceeds.any(axis=0)
    return kept
