"""The plans that an engine can be started with, in boxes: a form, and a range of batches of a
replica.

A box is bounded without looking at its plans one by one. What only grows with the batch (latencies,
memory) is taken at its first batch, what only shrinks (time, energy, cost for one token) at its
last. Where the layers are cut decides the largest loads of a stage alone; a box takes the least
that each can be by itself, and first of all what an even cut of everything would give.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.question import FIELDS, PER_TOKEN, TOTALS
from planner.cost import pipeline
from planner.cost.energy import energy_j, usd_per_million_tokens
from planner.cost.queueing import trapezoid_s
from planner.plan import ChipRange, Plan, Stage, Way
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.loads import PERCENTILES, Percentile
from planner.pricing.queueing import FULL
from planner.pricing.schedule import burst_shares
from planner.pricing.timing import Hop
from planner.solver.chain.cuts import Chain, Cut, all_reached, best_cut, bottlenecks
from planner.space.boxes import least_parts
from planner.space.candidates import Candidates
from planner.space.forms import Batches, Form, forms_of, parts
from planner.space.layout import even_cut, with_inner_layer
from planner.space.margins import Margins
from planner.space.moments import Batch, Meter, Moments, Peaks, Sums, Times
from planner.space.ranges import moments_between

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

ValueOfAll = Callable[..., Floats]
"""Of peaks, shape (peaks, *cuts), and of what links take beyond the least, shape (sums, *cuts)."""
PARTS = 8
"""Into how many a box is cut at most."""
RANGED = (
    *PERCENTILES,
    "ttft_s",
    "tpot_s",
    "request_s",
    "tokens_per_s",
    "tokens_per_s_per_user",
    "tokens_per_s_per_chip",
    "requests_per_s",
    "usd_per_million_tokens",
    "usd_per_hour",
    "chips",
    "memory_headroom_bytes",
)
"""Fields of which a bound is known where the number of micro-batches is not."""
TABLES = 5
"""Of what every run of layers loads, that are there at once while cuts are compared."""
MOST_VECTORS = 100_000
"""Vectors of loads up to which all cuts of a form are told apart."""


class Span(NamedTuple):
    """Plans of one form with so many replicas (0: as suits the batch), and a range of batches."""

    form: Form
    replicas: int
    first: int
    """Sequences of a replica; where requests come at a rate, numbers of its batches of like
    micro-batches."""
    last: int

    @property
    def single(self) -> bool:
        """Whether it is of one batch."""
        return self.first == self.last


class Found(NamedTuple):
    """A plan of a span of one batch."""

    span: Span
    replicas: int
    value: float
    """Canonical, of the objective."""
    borders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of some plans of a form at some batches."""

    moments: Moments
    sums: Sums
    peaks: Peaks
    chips: Floats
    """Of a replica."""
    held_chips: Floats
    """Of them, what counts for power and price."""


class EngineSpace:
    """The plans of one question that the machine's software can be started with."""

    def __init__(
        self,
        candidates: Candidates,
        ways: frozenset[Way] | None = None,
        *,
        in_ranges: bool = False,
    ) -> None:
        """`ways`: only plans that use more than one chip in just these ways; None: all plans;
        `in_ranges`: of a fixed batch all numbers of micro-batches at first as one form."""
        self.candidates = candidates
        self.ways = ways
        self.in_ranges = in_ranges and set(candidates.question.fields) <= set(RANGED)
        self.fewest_replicas = 2 if ways is not None and "replicas" in ways else 1
        self.graph = candidates.graph
        self.topology = candidates.topology
        self.workload = candidates.workload
        self.question = candidates.question
        self.meter = Meter(candidates)
        self.usable = candidates.prices.usable_bytes
        self.kinds = self.graph.kind_of_layer
        self.batch_size = self.workload.batch_size
        self.rate = self.workload.requests_per_s or 0.0
        self.per_chip = candidates.basis.per_chip()
        if candidates.opens_rate:
            # What is paid for a token follows the rate, which is not known yet.
            self.per_chip = {k: v for k, v in self.per_chip.items() if k not in PER_TOKEN}
        self.averages = candidates.averages
        self.limits = tuple(
            (name, candidates.canonical(name, value) * (1 + 1e-12))
            for name, value in candidates.limits
        )
        self.margins = Margins(candidates)
        self.undecided = False
        """Whether the cuts of a form were too many to be told apart, so that nothing is known of
        them."""
        self._forms: tuple[Sequence[Span], list[Form], Ints] | None = None
        """The forms of the spans that were asked about last, and each span's."""
        rules = self.topology.software.engine
        self.needs_inner = rules.decoder_on_each_stage and bool(self.graph.inner_positions)

    @property
    def is_even_cut(self) -> bool:
        """Whether batches that are open are cut into like micro-batches only."""
        return bool(self.rate) or (self.batch_size is None and not self.candidates.of_engine)

    @property
    def objective(self) -> str:
        """The field that is to be best."""
        return self.question.objective

    # ── Boxes ────────────────────────────────────────────────────────────────────────────────

    def spans(self) -> Iterator[tuple[float, Span]]:
        """All plans, with a bound of each span."""
        in_ranges = self.in_ranges and self.batch_size is not None
        for forms in forms_of(self.candidates, self.ways, in_ranges=in_ranges):
            if self.batch_size is not None:
                yield from self._given(forms)
            elif self.workload.phase == "prefill":
                yield from self._single(forms)
            else:
                yield from self._open(forms)

    def batches(self, form: Form) -> Batches:
        """Of a replica of a form."""
        return Batches(self.topology.software.engine, form.stages, form.in_flight)

    def _given(self, forms: list[Form]) -> Iterator[tuple[float, Span]]:
        """The batch is shared out over the fewest replicas that give each size."""
        assert self.batch_size is not None
        most = self.topology.software.most_sequences
        spans = []
        for form in forms:
            counts: Iterable[int] = least_parts(self.batch_size, form.most_replicas)
            if self.question.sure is not None:
                # How sure a figure is follows the sequences of a replica on average.
                counts = range(1, min(self.batch_size, form.most_replicas) + 1)
            for replicas in counts:
                sequences = -(-self.batch_size // replicas)
                if form.least_in_flight <= sequences <= most * form.split.attention:
                    part = form
                    if form.is_range and form.in_flight > sequences:
                        part = replace(form, in_flight=sequences)
                    spans.append(Span(part, replicas, sequences, sequences))
        yield from self._bounded(spans)

    def _single(self, forms: list[Form]) -> Iterator[tuple[float, Span]]:
        """A prefill pool has one prompt in work."""
        yield from self._bounded([Span(form, self._fixed(form), 1, 1) for form in forms])

    @property
    def counts_replicas(self) -> bool:
        """Whether the fewest replicas are wanted that keep up with a rate of requests."""
        return bool(self.rate) and self.objective in self.per_chip

    def _fixed(self, form: Form) -> int:
        """Replicas where requests come at a rate: all that there are, since each then has less to
        do, unless the fewest are wanted."""
        return self.most_replicas(form) if self.rate and not self.counts_replicas else 0

    def _open(self, forms: list[Form]) -> Iterator[tuple[float, Span]]:
        spans = []
        for form in forms:
            last = self._last(form)
            first = max(1, form.in_flight)
            if first <= last and self.counts_replicas:
                spans.append(Span(form, 0, first, last))
            elif first <= last:
                spans += self._graded(form, last)
        yield from self._bounded(spans)

    def _last(self, form: Form) -> int:
        """The number of the last batch that the software takes; one sequence where nothing that is
        asked about gains by more."""
        if self.candidates.one_will_do:
            return 1
        last = self.topology.software.most_sequences * form.split.attention
        if self.is_even_cut:
            most = self.batches(form).most_in_flight or last
            last = min(last, most - 1 + last // most)
        return last

    def whole(self, span: Span) -> Span:
        """All batches of the form of a span."""
        if self.batch_size is not None or self.workload.phase == "prefill":
            return span
        return span._replace(first=max(1, span.form.in_flight), last=self._last(span.form))

    def _graded(self, form: Form, last: int) -> list[Span]:
        """All batches in parts whose ends are no factor of two apart."""
        most = self.batches(form).most_in_flight or 1
        first = max(1, form.in_flight)
        ends = [first]
        for size in _sizes(form.split.attention, last // most):
            end = most - 1 + size if self.is_even_cut else most * size
            if ends[-1] < end <= last:
                ends.append(end)
        if ends[-1] < last:
            ends.append(last)
        replicas = self._fixed(form)
        firsts = [first, *(end + 1 for end in ends[:-1])]
        return [Span(form, replicas, a, b) for a, b in zip(firsts, ends, strict=True)]

    def _bounded(self, spans: list[Span]) -> Iterator[tuple[float, Span]]:
        """Spans of one split, each with its bound by even cuts; none that holds no plan."""
        if not spans:
            return
        lows = self.even(spans, self.batch_of(spans, last=False), relaxed=False)
        alike = all(span.single for span in spans)
        highs = lows if alike else self._late(spans)
        room = self._of_forms(spans, self.most_replicas)
        replicas = np.array([span.replicas for span in spans])
        bounds = self.worth(lows, highs, room, replicas, exact=False)
        for bound, span in zip(bounds.tolist(), spans, strict=True):
            if bound < math.inf:
                yield bound, span

    def vectors(self, spans: Sequence[Span]) -> Floats:
        """Canonical values, at least, of all fields that are asked about, of spans of one split by
        even cuts, shape (spans, fields); infinite where there is no plan."""
        lows = self.even(spans, self.batch_of(spans, last=False), relaxed=False)
        highs = lows
        if not all(span.single for span in spans):
            highs = self._late(spans)
        room = self._of_forms(spans, self.most_replicas)
        return self._vectors(lows, highs, room, np.array([span.replicas for span in spans]))

    def vector(self, span: Span, low: Figures, high: Figures) -> Floats:
        """The same of one span, from figures of its first and its last batch."""
        room = np.array(self.most_replicas(span.form))
        return self._vectors(low, high, room, np.array(span.replicas))

    def _vectors(self, lows: Figures, highs: Figures, room: Ints, replicas: Ints) -> Floats:
        market = Market(self, lows, highs, room, replicas)
        values = np.stack([market.value(name) for name in self.question.fields], axis=-1)
        kept = (market.replicas >= 1) & (lows.peaks.needed <= self.usable)
        return np.where(kept[..., None], values, np.inf)

    def batch_of(self, spans: Sequence[Span], *, last: bool, filled: bool = False) -> Batch:
        """The first batch of each span, or the last; `filled`: with as many sequences as its
        micro-batches have room for, where the first has smaller ones, so that no batch of the span
        spreads what they take over more."""
        first = np.array([span.first for span in spans], dtype=np.intp)
        number = np.array([span.last for span in spans], dtype=np.intp) if last else first
        most = self._of_forms(spans, lambda form: self.batches(form).most_in_flight or 0)
        if self.is_even_cut:
            # Where requests come at a rate, the batch that they bring about is of like parts; and
            # where any plan is allowed, open batches are.
            few = (most == 0) | (number < most)
            micro_batches = np.where(few, number, most)
            each = np.where(few, 1, number - most + 1)
            return Batch(micro_batches * each, micro_batches, each)
        micro_batches = np.where(most > 0, np.minimum(most, number), number)
        each = -(-number // micro_batches)
        if filled:
            grows = -(-first // micro_batches) < each
            number = np.where(grows, micro_batches * each, number)
        return Batch(number, micro_batches, each)

    def _of_forms(self, spans: Sequence[Span], of: Callable[[Form], int]) -> Ints:
        """A figure of the form of each span, made once for each form, shape (spans,)."""
        if self._forms is None or self._forms[0] is not spans:
            distinct = {id(span.form): span.form for span in spans}
            place = {key: number for number, key in enumerate(distinct)}
            index = np.array([place[id(span.form)] for span in spans], dtype=np.intp)
            self._forms = spans, list(distinct.values()), index
        _, forms, index = self._forms
        return np.array([of(form) for form in forms], dtype=np.intp)[index]

    def parts(self, span: Span) -> list[Span]:
        """A span cut into smaller ones: first where it is of several numbers of micro-batches."""
        if span.form.is_range:
            return [span._replace(form=form) for form in parts(span.form)]
        count = min(PARTS, span.last - span.first + 1)
        ends = np.linspace(span.first, span.last + 1, count + 1).astype(int).tolist()
        return [span._replace(first=a, last=b - 1) for a, b in itertools.pairwise(ends)]

    # ── Even cuts ────────────────────────────────────────────────────────────────────────────

    def even(self, spans: Sequence[Span], batch: Batch, *, relaxed: bool = False) -> Figures:
        """What plans of each span reach at least, where a stage could hold a part of a layer; of
        a single stage it is exact."""
        return self.even_at(spans, self._moments(spans, batch, relaxed=relaxed))

    def _moments(self, spans: Sequence[Span], batch: Batch, *, relaxed: bool = False) -> Moments:
        """What the steps of a batch of each span take, of a range of micro-batches at least."""
        forms = [span.form for span in spans]
        if not any(form.is_range for form in forms):
            return self.meter.moments(forms[0].split, batch, relaxed=relaxed)
        counts = zip(forms, batch.sequences.tolist(), strict=True)
        fewest = np.array([min(form.least_in_flight, count) for form, count in counts])
        few = Batch(batch.sequences, fewest, -(-batch.sequences // fewest))
        return self.between(forms, few, batch)

    def between(self, forms: Sequence[Form], fewest: Batch, most: Batch) -> Moments:
        """The same with any number of micro-batches between two, of forms of one split."""
        distinct = {id(form): form for form in forms}.values()
        return moments_between(
            self.meter,
            forms[0].split,
            fewest,
            most,
            hops=dict.fromkeys(hop for form in distinct for hop in form.hops),
            handed=self.meter.handed[self.borders - 1],
        )

    def even_at(self, spans: Sequence[Span], moments: Moments) -> Figures:
        """The same where it is known what the steps of each span's batch take."""
        split = moments.split
        stages = self._of_forms(spans, lambda form: form.stages).astype(float)
        links = self._even_links(spans, moments)
        steps = moments.decode, moments.prefill, moments.more
        each = self._peaks_of(moments, *steps, self._held(moments))
        host = self._host_peaks(moments)
        loads = [self._least_load(*one, stages) for one in zip(each, host, strict=True)]
        peaks = Peaks(*np.maximum(loads, links.peaks))
        needed = peaks.needed - self._tied(moments) * (stages == 1) + moments.buffers
        sums = (one + more for one, more in zip(self.sums_alone(moments), links.sums, strict=True))
        chips = stages * split.chips
        counted = self._counted(moments, chips, stages)
        return Figures(moments, Sums(*sums), peaks._replace(needed=needed), chips, counted)

    def _late(self, spans: Sequence[Span]) -> Figures:
        """The same of the last batch of each, as a bound of all before it."""
        batch = self.batch_of(spans, last=True, filled=True)
        return self.even(spans, batch, relaxed=True)

    def _held(self, moments: Moments) -> Floats:
        """Weights and caches of a layer of each kind on a chip, shape (kinds, *batch). [B]"""
        holdings = moments.holdings
        caches = np.multiply.outer(holdings.kv_bytes_per_sequence, moments.held_sequences)
        fixed = holdings.weight_bytes + holdings.kv_bytes_more
        return np.asarray(fixed.reshape(-1, *[1] * (caches.ndim - 1)) + caches)

    def may_hold(self, moments: Moments, stages: Ints) -> Bools:
        """Whether so many stages hold all layers: as many are needed as are filled one after the
        other, each as far as it goes; shape (*batch,). Of a single stage nothing is said."""
        held = self._held(moments)
        room = (self.usable - moments.buffers) * (1 + 1e-12)
        taken = np.zeros(np.shape(room))
        needed = np.ones(np.shape(room), dtype=np.intp)
        fits = held.max(axis=0) <= room
        last = len(self.kinds) - 1
        for number, kind in enumerate(self.kinds.tolist()):
            more = held[kind] + moments.logits * (number == last)
            begins = taken + more > room
            needed += begins
            taken = np.where(begins, more, taken + more)
        return np.asarray((fits & (needed <= stages)) | (stages == 1))

    def _tied(self, moments: Moments) -> float:
        """Of weights that a stage with the whole model would count twice. [B]"""
        readers = [self.kinds[reader] for reader, _ in self.candidates.tied]
        return float(moments.holdings.tied_bytes[readers].sum())

    def _counted(self, moments: Moments, chips: Floats, stages: Floats) -> Floats:
        """Chips of a replica that count for power and price: whole, or the share that is
        filled."""
        if not self.topology.divisible:
            return chips
        filled = self.meter.counts @ self._held(moments) - self._tied(moments) * (stages == 1)
        capacity = self.topology.chip.memory[0].capacity_bytes
        return np.asarray(moments.split.chips * filled / capacity)

    def _least_load(self, each: Floats, host: float | Floats, stages: Floats) -> Floats:
        """What the busiest stage has to do at least, from one layer of each kind, shape (kinds,
        *batch): an even share of everything, or what cannot be parted."""
        whole = self.meter.counts @ each + host
        mean = whole / stages
        first, last = self._unparted
        heaviest = each.max(axis=0)
        start = each[self.kinds[first]].sum(axis=0)
        end = each[self.kinds[last]].sum(axis=0) + host
        parted = np.maximum(np.maximum(mean, heaviest), np.maximum(start, end))
        return np.where(stages == 1, whole, parted)

    @cached_property
    def _unparted(self) -> tuple[slice, slice]:
        """The layers that the first stage has at least, and the last."""
        layers = len(self.graph.layers)
        if not self.needs_inner:
            return slice(0, 1), slice(layers - 1, layers)
        inner = self.graph.inner_positions
        return slice(0, inner[0] + 1), slice(inner[-1], layers)

    def _even_links(self, spans: Sequence[Span], moments: Moments) -> "Links":
        """What the links between stages load at most, and what they add up to."""
        links = Links(np.zeros((len(Peaks._fields), len(spans))), Sums(*np.zeros((3, len(spans)))))
        if not self.topology.levels or all(span.form.stages == 1 for span in spans):
            return links
        distinct = {id(span.form): span.form.hops for span in spans}.values()
        for hop in dict.fromkeys(itertools.chain.from_iterable(distinct)):
            often = self._of_forms(spans, partial(_times_taken, hop))
            decode, prefill, added = self._link(hop, self.least_handed, moments)
            peaks = self._peaks_of(moments, decode, prefill, added, np.zeros_like(decode))
            more = Sums(decode, prefill, np.maximum(decode, prefill))
            links = Links(
                np.maximum(links.peaks, peaks * (often > 0)),
                Sums(*(one + often * each for one, each in zip(links.sums, more, strict=True))),
            )
        return links

    def _link(self, hop: Hop, handed: float | Floats, at: Moments) -> tuple[Floats, Floats, Floats]:
        """A transfer from a stage to the next in a decode pass, in a pass of a prompt, and what a
        prompt adds to a pass that takes others too. [s]"""
        decode = self.meter.link_s(hop, handed, at.decode_tokens)
        prefill = self.meter.link_s(hop, handed, at.prefill_tokens) * (at.passes > 0)
        packed = self.meter.link_s(hop, handed, at.packed_tokens) * (at.passes > 0)
        return decode, prefill, np.asarray(at.at.added(prefill, packed))

    @cached_property
    def borders(self) -> Ints:
        """Layers in front of which a stage may begin."""
        layers = len(self.graph.layers)
        first, last = self._unparted
        return np.arange(first.stop, last.start + 1) if layers > 1 else np.zeros(0, dtype=np.intp)

    @cached_property
    def least_handed(self) -> float:
        """Bytes for each token that are handed on at least, wherever a stage ends."""
        if not len(self.borders):
            return 0.0
        return float(self.meter.handed[self.borders - 1].min())

    @cached_property
    def is_even(self) -> bool:
        """Whether as much is handed on wherever a stage ends, so that sums do not depend on the
        cut."""
        if not len(self.borders):
            return True
        return bool((self.meter.handed[self.borders - 1] == self.least_handed).all())

    # ── What they are worth ──────────────────────────────────────────────────────────────────

    def worth(
        self,
        lows: Figures,
        highs: Figures,
        room: Floats | Ints,
        replicas: Floats | Ints,
        *,
        exact: bool = True,
    ) -> Floats:
        """Canonical value of the objective, at least, of plans between two batches; infinite where
        they break a limit. `room`: the most replicas; `replicas`: so many, 0: as suits."""
        market = Market(self, lows, highs, np.asarray(room), np.asarray(replicas), exact=exact)
        kept = market.replicas >= self.fewest_replicas
        for name, most in self.limits:
            kept &= market.surely(name) <= most
        kept &= lows.peaks.needed <= self.usable
        if self.rate:
            prompt = self.meter.prompt_s(lows.moments, lows.peaks)
            kept &= prompt * self.rate <= FULL * np.maximum(market.replicas, 1)
        return np.where(kept, market.value(self.objective), np.inf)

    def most_replicas(self, form: Form) -> int:
        """That there is room for, and that limits allow."""
        room = form.most_replicas
        for name, value in self.limits:
            each = self.per_chip.get(name)
            if each and not self.candidates.basis.is_filled(name):
                room = min(room, math.floor(value / (each * form.chips)))
        return room

    @cached_property
    def wanted_tokens_per_s(self) -> float:
        """Of all users, that limits ask for at least; 0 where none does."""
        limits = dict(self.candidates.limits)
        asked = limits.get("requests_per_s", 0.0) * self.workload.output_tokens
        return float(max(limits.get("tokens_per_s", 0.0), asked))

    # ── Exact cuts ───────────────────────────────────────────────────────────────────────────

    def tightened(self, spans: Sequence[Span]) -> list[tuple[float, Span]]:
        """Spans of one form, each bounded by the least that every load can be by itself."""
        if spans[0].form.stages == 1:
            return list(self._bounded(list(spans)))
        found = []
        for span in spans:
            figures = self.extremes(span)
            if figures is None:
                continue
            room = np.array(self.most_replicas(span.form))
            bound = float(self.worth(*figures, room, np.array(span.replicas), exact=False))
            if bound < math.inf:
                found.append((bound, span))
        return found

    def extremes(self, span: Span) -> tuple[Figures, Figures] | None:
        """Of the first and the last batch of a span, the least that each load can be by itself,
        where memory must do for the first; None where there is no cut."""
        early = self.moment(span)
        low = self.least(span.form, early, early)
        if low is None or span.single:
            return None if low is None else (low, low)
        high = self.least(span.form, self.late_moment(span), early)
        return None if high is None else (low, high)

    def moment(self, span: Span) -> Moments:
        """Of the first batch of a span."""
        batch = self.batch_of([span], last=False)
        return moment_of(self._moments([span], batch), 0)

    def late_moment(self, span: Span) -> Moments:
        """Of the last batch of a span, as a bound of all before it."""
        batch = self.batch_of([span], last=True, filled=True)
        return moment_of(self.meter.moments(span.form.split, batch, relaxed=True), 0)

    def least(self, form: Form, at: Moments, held: Moments) -> Figures | None:
        """The least that each load of a form can be by itself, where memory must do for `held`;
        None where there is no cut."""
        least, _ = bottlenecks(self.chain(form, at, held))
        return self.figures(form, at, least) if np.isfinite(least).all() else None

    def figures(
        self, form: Form, at: Moments, peaks: Floats, more: Floats | None = None
    ) -> Figures:
        """Of one plan with such peaks, shape (peaks,); `more`: what its links take beyond the
        least."""
        sums = self._sums(form, at)
        if more is not None:
            sums = Sums(*(one + extra for one, extra in zip(sums, more, strict=True)))
        chips = np.array(float(form.chips))
        counted = self._counted(at, chips, np.array(float(form.stages)))
        return Figures(at, sums, Peaks(*peaks), chips, counted)

    def _sums(self, form: Form, at: Moments) -> Sums:
        decode, prefill, slower = self.sums_alone(at)
        for hop in form.hops:
            handed, prompts, _ = self._link(hop, self.least_handed, at)
            decode = decode + handed
            prefill = prefill + prompts
            slower = slower + np.maximum(handed, prompts)
        return Sums(decode, prefill, slower)

    def chain(self, form: Form, at: Moments, held: Moments) -> Chain:
        """The layers to be cut, at one batch; memory must do for `held`."""
        allowance.look()
        self._ask_for_memory()
        layers = self._loads(at, held)
        handed = np.concatenate([[0.0], self.meter.handed])
        links = []
        for hop in form.hops:
            decode, prefill, more = self._link(hop, handed, at)
            links.append(self._peaks_of(at, decode, prefill, more, np.zeros_like(decode)))
        return Chain([layers] * form.stages, links)

    def _ask_for_memory(self) -> None:
        """For what every run of layers loads, and for what is made of it while cuts are compared."""
        layers = len(self.graph.layers)
        table = 8.0 * len(Peaks._fields) * (layers + 1) ** 2
        allowance.ask_for_bytes(
            TABLES * table,
            f"cutting {layers:,} layers into stages",
            "join like layers into fewer, or ask with solver 'cp-sat', which counts like layers"
            " together",
        )

    def _loads(self, at: Moments, held: Moments) -> Floats:
        """What a run of layers loads on each peak, shape (peaks, layers + 1, layers +
        1)."""
        decode = at.decode[self.kinds]
        prefill = at.prefill[self.kinds]
        more = at.more[self.kinds]
        each = self._peaks_of(at, decode, prefill, more, self._held(held)[self.kinds])
        # What the host does comes with the last layer, and sampling's buffers.
        each[:-1, -1] += self._host_peaks(at)[:-1]
        each[-1, -1] += held.logits
        prefix = np.concatenate([np.zeros((len(each), 1)), np.cumsum(each, axis=1)], axis=1)
        runs = prefix[:, None, :] - prefix[:, :, None]
        runs[-1] += held.buffers
        return np.where(self.may_run & (runs[-1] <= self.usable), runs, np.inf)

    def _host_peaks(self, at: Moments) -> Floats:
        """What the host's work, and sampling, on the last stage load on each peak, shape (peaks,
        *batch)."""
        prompts = np.broadcast_to(at.prompt_host_s, np.shape(at.host_s))
        # A pass that takes more prompts is still one to the host.
        added = np.asarray(at.at.added(prompts, prompts))
        return self._peaks_of(at, at.host_s, prompts, added, at.logits)

    @staticmethod
    def _peaks_of(
        at: Moments, decode: Floats, prefill: Floats, more: Floats, memory: Floats
    ) -> Floats:
        """What pieces of a stage that take so long load on each peak, shape (peaks, pieces)."""
        others = at.others * at.passes * (at.standing * prefill + (1.0 - at.standing) * more)
        turn = at.batch.micro_batches * decode + at.lost * prefill + at.joined * more
        behind = at.behind * prefill + at.beyond * more + at.own * np.minimum(decode, prefill)
        return np.stack([decode, prefill, others, turn, behind, memory])

    @cached_property
    def may_run(self) -> Bools:
        """Which layers may be a stage, by tail and head."""
        places = np.arange(len(self.graph.layers) + 1)
        free = self.graph.may_begin
        able = (places > places[:, None]) & free & free[:, None]
        return able & with_inner_layer(self.graph) if self.needs_inner else able

    def settled(self, span: Span, goal: float) -> Found | None:
        """The best plan of a span of one batch, where it is below the goal."""
        at = self.moment(span)
        room = np.array(self.most_replicas(span.form))
        replicas = np.array(span.replicas)

        def value(peaks: Floats, more: Floats | None = None) -> Floats:
            figures = self.figures(span.form, at, peaks, more)
            return self.worth(figures, figures, room, replicas)

        cut = self._cut(span.form, at, value, goal)
        if cut is None:
            return None
        figures = self.figures(span.form, at, cut.peaks)
        market = Market(self, figures, figures, room, replicas)
        return Found(span, int(market.replicas), cut.value, cut.borders)

    def with_cut(self, span: Span, borders: tuple[int, ...]) -> Found | None:
        """The plan of a span of one batch that is cut so, where it fits and keeps all limits."""
        at = self.moment(span)
        whole = span.form.stages == 1
        peaks = self.alone(at) if whole else self.chain(span.form, at, at).peaks_of(borders)
        if not np.isfinite(peaks).all():
            return None
        figures = self.figures(span.form, at, peaks)
        room, replicas = np.array(self.most_replicas(span.form)), np.array(span.replicas)
        value = float(self.worth(figures, figures, room, replicas))
        if value == math.inf:
            return None
        market = Market(self, figures, figures, room, replicas)
        return Found(span, int(market.replicas), value, borders)

    def recut(self, found: Found, own: tuple[int, ...], equal: float) -> Iterator[Found]:
        """The same plan with other cuts that are as good: the engine's own, and those that keep
        every load at least as low."""
        span = found.span
        at = self.moment(span)
        chain = self.chain(span.form, at, at)
        _, lowest = bottlenecks(chain)
        _, lower = bottlenecks(chain, chain.peaks_of(found.borders))
        room = np.array(self.most_replicas(span.form))
        for borders in dict.fromkeys((own, *lower, *lowest)):
            if not borders or not self.is_even:
                continue
            peaks = chain.peaks_of(borders)
            if not np.isfinite(peaks).all():
                continue
            figures = self.figures(span.form, at, peaks)
            value = float(self.worth(figures, figures, room, np.array(found.replicas)))
            if value <= found.value * equal:
                yield found._replace(borders=borders, value=value)

    def cuts_to_try(self, form: Form, at: Moments) -> Iterator[tuple[int, ...]]:
        """The engine's own cut of a form, and those that keep one load each as low as can be."""
        own: tuple[int, ...] = ()
        if form.stages <= len(self.graph.inner_positions):
            own = tuple(even_cut(self.graph, form.stages))
        chain = self.chain(form, at, at)
        _, lowest = bottlenecks(chain)
        for borders in dict.fromkeys((own, *lowest)):
            if borders and np.isfinite(chain.peaks_of(borders)).all():
                yield borders

    def _cut(self, form: Form, at: Moments, value: ValueOfAll, goal: float) -> Cut | None:
        layers = len(self.graph.layers)
        if form.stages == 1:
            peaks = self.alone(at)
            reached = float(value(peaks))
            return Cut(reached, (0, layers), peaks) if reached < goal else None
        chain = self.chain(form, at, at)
        if self.averages or not self.is_even:
            return self._by_all(form, at, chain, value, goal)
        cut = best_cut(chain, lambda peaks: float(value(peaks)), goal)
        return cut if cut.borders else None

    def alone(self, at: Moments) -> Floats:
        """Peaks of a single stage."""
        counts = self.meter.counts
        held = float(counts @ self._held(at)) - self._tied(at)
        steps = at.decode, at.prefill, at.more
        layers = self._peaks_of(at, *steps, np.zeros_like(at.decode)) @ counts
        return np.asarray([*(layers + self._host_peaks(at))[:-1], held + at.logits + at.buffers])

    def sums_alone(self, at: Moments) -> Sums:
        """Of all layers, without links."""
        counts = self.meter.counts
        slower = counts @ np.maximum(at.decode, at.prefill)
        return Sums(
            counts @ at.decode + at.host_s + at.latent_s,
            counts @ at.prefill + at.prompt_host_s + at.prompt_latent_s,
            slower + np.maximum(at.host_s, at.prompt_host_s) + at.latent_s,
        )

    def _by_all(
        self, form: Form, at: Moments, chain: Chain, value: ValueOfAll, goal: float
    ) -> Cut | None:
        """The best of all cuts, told apart by what they reach."""
        # What is handed on may depend on where the layers are cut.
        handed = np.concatenate([[0.0], self.meter.handed]) - self.least_handed
        adds = []
        for hop in form.hops:
            decode, prefill, _ = self._link(hop, handed, at)
            least_d, least_p, _ = self._link(hop, 0.0, at)
            decode, prefill = decode - least_d, prefill - least_p
            adds.append(np.stack([decode, prefill, np.maximum(decode, prefill)]))
        reached = all_reached(chain, MOST_VECTORS, adds)
        if reached is None:
            self.undecided = True
            return None
        if not len(reached):
            return None
        values = value(reached.peaks.T, reached.added.T if adds else None)
        values = np.broadcast_to(values, len(reached))
        best = int(values.argmin())
        if values[best] >= goal:
            return None
        borders = tuple(reached.borders[best].tolist())
        return Cut(float(values[best]), borders, reached.peaks[best])

    # ── Plans ────────────────────────────────────────────────────────────────────────────────

    def to_plan(self, found: Found) -> Plan:
        """The plan that was found."""
        span = found.span
        form = span.form
        batch = self.batch_of([span], last=False)
        bases = form.bases_of(self.candidates.packing, found.replicas)
        layers = self.graph.names
        stages = tuple(
            Stage(
                layers=layers[tail:head],
                groups=tuple(
                    ChipRange(first=base + start, count=form.split.chips) for base in bases
                ),
                tensor_parallel=form.split.tensor,
                expert_parallel=form.split.expert,
                sequence_parallel=form.split.sequence,
            )
            for tail, head, start in zip(
                found.borders[:-1], found.borders[1:], form.starts, strict=True
            )
        )
        is_open = self.batch_size is None and not self.rate and self.workload.phase != "prefill"
        sequences = found.replicas * int(batch.sequences[0])
        return Plan(
            stages=stages,
            micro_batches=int(batch.micro_batches[0]),
            batch_size=sequences if is_open else None,
            space="engine" if self.candidates.of_engine else "any",
        )


def _times_taken(hop: Hop, form: Form) -> int:
    """How many of the links between the stages of a form are such."""
    return form.hops.count(hop)


def _sizes(step: int, most: int) -> list[int]:
    """1, then step × 1, 2, 3, 4, 6, 8, 12, …"""
    graded = {one * step for n in range(24) for one in (2**n, 3 * 2**n) if one * step <= most}
    return sorted({1, *graded})


OF_BATCHES = (
    "host_s",
    "prompt_latent_s",
    "decode_tokens",
    "prefill_tokens",
    "packed_tokens",
    "passes",
    "others",
    "lost",
    "joined",
    "standing",
    "met",
    "behind",
    "beyond",
    "own",
    "held_sequences",
    "buffers",
    "logits",
)
"""Fields of `Moments` of shape (*batch,)."""


def moment_of(moments: Moments, number: int) -> Moments:
    """Of several batches one."""
    batch = Batch(*(np.asarray(one[number]) for one in moments.batch))
    rest = {name: getattr(moments, name)[number] for name in OF_BATCHES}
    return replace(
        moments,
        batch=batch,
        decode=moments.decode[:, number],
        prefill=moments.prefill[:, number],
        more=moments.more[:, number],
        **rest,
    )


class Links(NamedTuple):
    """Transfers between the stages of some spans."""

    peaks: Floats
    """What the longest of them loads on each peak, shape (peaks, spans)."""
    sums: Sums


class Market:
    """Fields of plans between two batches: what grows with the batch at the first, what shrinks at
    the last."""

    def __init__(
        self,
        space: EngineSpace,
        lows: Figures,
        highs: Figures,
        room: Ints,
        replicas: Ints,
        *,
        exact: bool = True,
    ) -> None:
        self.space, self.lows, self.highs = space, lows, highs
        asked = replicas
        # Where the replicas are to be found, each has at least the least to do.
        each = space.rate / np.maximum(1, np.where(asked > 0, asked, room))
        self.early: Times = space.meter.times(lows.moments, lows.sums, lows.peaks, each)
        alike = highs is lows
        self.late: Times = self.early if alike else self._late(each)
        self.exact = alike and exact
        self.replicas = np.where(asked > 0, asked, self._suited(room))

    def _late(self, requests_per_s: Floats) -> Times:
        """At the last batch. How long prompts hold up others, and how many rounds a first token
        waits for, is told at the first, where that is least: for one sequence neither need shrink
        with the batch."""
        highs = self.highs
        return self.space.meter.times(
            highs.moments,
            highs.sums,
            highs.peaks,
            requests_per_s,
            trailing_s=self.early.trailing_s,
            waiting_share=self.early.waiting_share,
        )

    @property
    def tokens(self) -> Floats:
        """Of a replica in a cycle."""
        space = self.space
        output = space.workload.output_tokens
        if space.batch_size is not None:
            served = space.workload.taken_share * space.batch_size
            return np.asarray(served * output / np.maximum(1, self.replicas))
        sequences = np.asarray(self.highs.moments.batch.sequences, dtype=float)
        if space.workload.phase == "prefill":
            sequences = np.ones(np.shape(sequences))
        return np.asarray(sequences * output)

    def _suited(self, room: Ints) -> Floats:
        """As many replicas as make the objective best, else as few as the limits allow; none
        where that is more than there is room for."""
        space = self.space
        if space.batch_size is not None:
            return np.ones(np.shape(room))
        most = np.asarray(room, dtype=float)
        if space.averages and self.exact:
            for name, value in space.question.limits:
                if name == "power_w":
                    watts = self._watts * self._margin(name)
                    most = np.minimum(most, np.floor(value * (1 + 1e-12) / watts))
        for name, value in space.limits:
            # Whole chips are counted beforehand, see `most_replicas`, as if they were sure.
            each = space.per_chip.get(name)
            is_filled = space.candidates.basis.is_filled(name)
            if each and (is_filled or space.question.sure is not None):
                held = self.lows.held_chips if is_filled else self.lows.chips
                most = np.minimum(most, np.floor(value / (each * held * self._margin(name))))
        if space.objective in TOTALS:
            return most
        fewest = np.full(np.shape(room), float(space.fewest_replicas))
        wanted = space.wanted_tokens_per_s * self._margin("tokens_per_s")
        if space.wanted_tokens_per_s:
            sequences = np.maximum(1, self.highs.moments.batch.sequences)
            each_s = self.late.cycle_s / (sequences * space.workload.output_tokens)
            fewest = np.maximum(fewest, np.ceil(each_s * wanted * (1 - 2e-12)))
        if space.rate:
            # Each has its prompts to work on as they come.
            prompt = space.meter.prompt_s(self.lows.moments, self.lows.peaks)
            busy = prompt * space.rate / FULL
            fewest = np.maximum(fewest, np.ceil(busy * (1 - 1e-12)))
        return np.where(fewest <= most, fewest, 0.0)

    @property
    def _watts(self) -> Floats:
        """What a replica draws on average."""
        space = self.space
        active = space.meter.active_s(self.lows.moments)
        draws = space.candidates.draws
        return np.asarray(energy_j(draws, self.lows.held_chips, active / self.early.cycle_s))

    def surely(self, name: str) -> Floats:
        """Canonical value that a field is at most with the probability that is asked for: of
        several batches as sure as any of them is."""
        return self.value(name) * self._margin(name)

    def _margin(self, name: str) -> Floats | float:
        """By how much a field may be worse, as surely as is asked; of several batches, at least."""
        if self.space.question.sure is None:
            return 1.0
        split = self.lows.moments.split
        stages = np.asarray(np.rint(self.lows.chips / split.chips), dtype=np.intp)
        ends = [one.moments.batch.sequences.astype(float) for one in (self.lows, self.highs)]
        if self.space.batch_size is not None:
            # Shared out over replicas, of which some may have one less.
            ends = [self.space.batch_size / self.replicas] * 2
        first, last = (np.broadcast_to(one, np.shape(stages)).astype(float) for one in ends)
        least = self.space.margins.least
        found = [
            least(split, *one).get(name, 1.0)
            for one in zip(
                stages.ravel().tolist(), first.ravel().tolist(), last.ravel().tolist(), strict=True
            )
        ]
        return np.array(found).reshape(np.shape(stages))

    def value(self, name: str) -> Floats:
        """Canonical value of a field."""
        if name in PERCENTILES and self.space.rate:
            # Where requests come at a rate, `Streams` says whether they are kept.
            return np.zeros(np.shape(self.lows.chips))
        if name in PERCENTILES:
            return self._percentile(PERCENTILES[name])
        end = self.late if FIELDS[name].end == "high" else self.early
        simple = {
            "ttft_s": end.ttft_s,
            "tpot_s": end.tpot_s,
            "tokens_per_s_per_user": end.tpot_s,
            "request_s": end.request_s,
            "memory_headroom_bytes": self.lows.peaks.needed,
        }
        if name in simple:
            return simple[name]
        return np.asarray(getattr(self, f"_{name}")())

    def _percentile(self, asked: Percentile) -> Floats:
        """Under a number of clients, as `pricing.loads.Loop` has it. Of later tokens it grows with
        the time of a round only where a replica is one stage; of several, no less than stands for
        it."""
        at, peaks = self.lows.moments.at, self.lows.peaks
        turns = self.lows.moments.batch.micro_batches * peaks.decode_s
        round_s = np.asarray(pipeline.cycle_s(self.lows.sums.decode_s, turns))
        low, high = burst_shares(at.burst_share)
        turn_s = 2.0 * at.turn_share * round_s
        before_s = np.array([low, high]).reshape(2, *[1] * round_s.ndim) * peaks.others_s
        waited_s = at.turn_share * round_s + at.burst_share * peaks.others_s
        if asked.field == "ttft_s":
            beyond = trapezoid_s(asked.probability, turn_s, before_s[1] - before_s[0])
            return np.asarray(self.early.ttft_s - waited_s + before_s[0] + beyond)
        tpot_s = self.early.tpot_s
        held_s = np.maximum(0.0, at.later_tokens * tpot_s - at.rounds * round_s)
        each_s = held_s / max(1e-12, 1.0 - at.burst_share)
        alone = np.rint(self.lows.chips / self.lows.moments.split.chips) == 1
        alone &= not self.lows.moments.is_range
        if asked.field == "tpot_s":
            share = (1.0 - high) + asked.probability * (high - low)
            exact = tpot_s + (share * each_s - held_s) / max(1, at.later_tokens)
            return np.asarray(np.where(alone, exact, np.minimum(exact, tpot_s)))
        least_s = self.early.request_s - waited_s - held_s
        both_s = (
            before_s + np.array([1.0 - low, 1.0 - high]).reshape(2, *[1] * round_s.ndim) * each_s
        )
        width_s = np.abs(both_s[1] - both_s[0])
        exact = least_s + both_s.min(axis=0) + trapezoid_s(asked.probability, turn_s, width_s)
        # Beyond a half of all, no less than the mean.
        return np.asarray(np.where(alone, exact, np.minimum(exact, self.early.request_s)))

    def _tokens_per_s(self) -> Floats:
        space = self.space
        found = self.late.cycle_s / (self.tokens * np.maximum(1, self.replicas))
        limits = dict(space.question.limits)
        is_open = space.batch_size is None and not space.rate
        if space.averages and is_open and not self.exact and "power_w" in limits:
            found = np.maximum(found, 1 / self._most_at(limits["power_w"] * (1 + 1e-12)))
        return found

    def _most_at(self, power_w: float) -> Floats:
        """The most tokens in a second within so much power, where cuts and with them the average
        power of a replica are not known yet.

        A replica draws something for being held, and each token something for the work on it; the
        least of several such sums is what counts (see `cost.energy`). Up to some number of
        replicas their speed is what binds, beyond it the power that is left for work.
        """
        each_s = self.late.cycle_s / self.tokens
        work_s = self.space.meter.active_s(self.highs.moments) / self.tokens
        most = np.zeros(np.shape(each_s))
        for draw in self.space.candidates.draws:
            held_w = draw.held_w * self.lows.held_chips
            token_j = draw.active_w * work_s
            fewer = np.floor(power_w / (held_w + token_j / each_s) * (1 + 1e-12))
            left_w = np.maximum(0.0, power_w - (fewer + 1) * held_w)
            slowed = np.divide(
                left_w, token_j, out=np.where(left_w > 0, np.inf, 0.0), where=token_j > 0
            )
            beyond = np.minimum(slowed, (fewer + 1) / each_s)
            most = np.maximum(most, np.maximum(fewer / each_s, beyond))
        return np.maximum(most, 1e-300)

    def _requests_per_s(self) -> Floats:
        return self._tokens_per_s() * self.space.workload.output_tokens

    def _tokens_per_s_per_chip(self) -> Floats:
        if self.space.rate:
            return self._held_by_all("tokens_per_s_per_chip")
        return np.asarray(self.lows.chips * self.late.cycle_s / self.tokens)

    def _chips(self) -> Floats:
        return self._held_by_all("chips")

    def _usd_per_hour(self) -> Floats:
        return self._held_by_all("usd_per_hour")

    def _held_by_all(self, name: str) -> Floats:
        """A field that follows from the chips held alone."""
        is_filled = self.space.candidates.basis.is_filled(name)
        held = self.lows.held_chips if is_filled else self.lows.chips
        return self.space.per_chip[name] * held * np.maximum(1, self.replicas)

    def _power_w(self) -> Floats:
        if self.space.averages and self.exact and not self.space.rate:
            return self._watts * np.maximum(1, self.replicas)
        return np.maximum(self._held_by_all("power_w"), self._least_drawn_w())

    def _least_drawn_w(self) -> Floats | float:
        """Power that a limit on tokens in a second asks for at least: each takes some work."""
        space = self.space
        wanted = space.wanted_tokens_per_s
        if not space.averages or not wanted or space.rate:
            return 0.0
        work = space.meter.active_s(self.highs.moments) / self.tokens
        held = self.lows.held_chips * np.maximum(1, self.replicas)
        return np.asarray(energy_j(space.candidates.draws, held, wanted * work))

    def _energy_per_token_j(self) -> Floats:
        space = self.space
        if space.rate:
            return self._held_by_all("energy_per_token_j")
        draws = space.candidates.draws
        held_s = self.lows.held_chips * self.late.cycle_s
        active = space.meter.active_s(self.highs.moments) if len(draws) > 1 else 0.0
        return np.asarray(energy_j(draws, held_s, active) / self.tokens)

    def _usd_per_million_tokens(self) -> Floats:
        if self.space.rate:
            return self._held_by_all("usd_per_million_tokens")
        hourly = self.space.candidates.basis.hourly_usd
        rate = self.tokens / self.late.cycle_s
        return np.asarray(usd_per_million_tokens(self.lows.held_chips, hourly, rate))

    def _mfu_fraction(self) -> Floats:
        return self._over_peak(0)

    def _mbu_fraction(self) -> Floats:
        return self._over_peak(1)

    def _over_peak(self, number: int) -> Floats:
        """Inverse of the useful share: useful bytes do not grow in step with the time, so that of
        several batches the shortest cycle goes with the most bytes."""
        space = self.space
        chip = space.topology.chip
        peak = (
            peak_flop_per_s(space.graph, space.topology),
            chip.memory[0].bandwidth_bytes_per_s,
        )[number]
        useful = space.meter.useful(self.highs.moments)[number]
        cycle = self.early.cycle_s if number else self.late.cycle_s
        return np.asarray(self.lows.chips * cycle * peak / useful)
