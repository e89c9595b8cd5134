"""Forms of plans under a stream of requests: what their times are at least among any number in
flight, whatever the cut, and whether that keeps what was promised.

A form's figures go into the same `Load` that a score tells its percentiles by. All that a `Load`
says only grows with the times that it is made of, so one made of the least of each bounds all cuts
of the form; of a single stage, which has one cut, it is exact.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner.answers.question import TOTALS
from planner.cost import pipeline
from planner.pricing.loads import PERCENTILES, Load, Percentile, rungs
from planner.pricing.queueing import felt_s
from planner.solver.chain.cuts import Chain, best_cut
from planner.space.engine_space import EngineSpace, Figures, Span, moment_of
from planner.space.forms import Form, forms_of
from planner.space.margins import NONE, Factors
from planner.space.moments import Batch, Moments

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MEANS = ("ttft_s", "tpot_s", "request_s", "tokens_per_s_per_user", "memory_headroom_bytes")
"""Fields with limits that no `Load` tells."""
TOLD = (*MEANS, *PERCENTILES)
"""Those, and what a `Load` tells."""
NEAR = (0.6, 1.7)
"""Numbers in flight, over those that are busy, among which cuts are told apart."""
FEWER_PLACES = (0.8, 0.6, 0.4, 0.25, 0.15)
"""Of as many sequences as fit by an even cut, what other cuts are taken to hold."""
MOST_ROUNDS = 32
"""Sequences in each micro-batch up to which it is told what whole rounds of them serve."""
SLACK = 1e-12
"""Of a share of requests, within rounding."""


class Streams:
    """What a question promises its users, and which forms can keep it."""

    def __init__(self, space: EngineSpace) -> None:
        self.space = space
        self.meter = space.meter
        self.software = space.topology.software
        self._known: dict[Form, Load | None] = {}
        self._kept: dict[tuple[Form, int], bool] = {}
        self._fewest_places: dict[Form, int] = {}
        """Of ranges, where fewer micro-batches leave room for fewer sequences."""

    @cached_property
    def limits_more(self) -> bool:
        """Whether some limit is one that no `Load` tells by itself: a mean, or how sure a figure is,
        which follows how many are in flight."""
        asked = self.space.question
        return asked.sure is not None or any(name in MEANS for name, _ in asked.limits)

    def micro_batches_of(self, form: Form, most: int) -> list[int]:
        """That an engine may keep in flight where a replica holds so many sequences at most: as
        many as of those, which is right at any rate; and where their number counts,
        fewer, which are right at low rates."""
        parts = self.space.batches(form).holding(max(1, most))[0]
        return list(range(parts, 0, -1)) if self.limits_more else [parts]

    @cached_property
    def promised(self) -> list[tuple[Percentile, float]]:
        """Percentiles that have a limit, and that; first those that are soon told."""
        limits = self.space.question.limits
        promised = [(PERCENTILES[name], most) for name, most in limits if name in PERCENTILES]
        # Those of first tokens are the soonest asked about.
        return sorted(promised, key=lambda one: one[0].field != "ttft_s")

    def load_of(self, form: Form) -> Load | None:
        """Of a form by even cuts, at one request a second; those of its split are made with it."""
        if form not in self._known:
            candidates = self.space.candidates
            made: dict[Form, Load | None] = {}
            # Where chips are out of use, all splits together take little longer than one.
            among = candidates if candidates.exclude else candidates.under(form.split)
            for forms in forms_of(among, self.space.ways):
                if forms:
                    made |= dict(zip(forms, self.loads(forms), strict=True))
            self._known |= made
        return self._known[form]

    # ── Loads ────────────────────────────────────────────────────────────────────────────────

    def loads(self, forms: Sequence[Form]) -> list[Load | None]:
        """Of forms of one split, by even cuts, at one request a second; None where not even one
        sequence fits."""
        space = self.space
        most = self._most(forms)
        self._note_places(forms, most)
        cap = self.software.most_sequences * forms[0].split.attention
        among = rungs(int(most.max(initial=0)), cap)
        # Among all the numbers that any has, and as many as fit.
        counts = np.array([[*among, max(1, full)] for full in most.tolist()], dtype=np.intp).ravel()
        each = [form for form in forms for _ in range(len(among) + 1)]
        spans = [Span(form, 1, 1, 1) for form in each]
        figures = space.even_at(spans, self._moments(each, counts))
        tables = self._tables(figures, np.array([form.stages for form in each]))
        parts = [table.reshape(len(forms), len(among) + 1) for table in tables]
        return [
            self._load(int(most[place]), among, [part[place] for part in parts], figures.moments)
            if most[place]
            else None
            for place in range(len(forms))
        ]

    def fitting(self, forms: Sequence[Form]) -> list[Form]:
        """Of forms of one split those with room for a sequence in each micro-batch, ranges up to
        as many as there is room for."""
        found: list[Form] = []
        if not forms:
            return found
        for form, most in zip(forms, self._most(forms).tolist(), strict=True):
            if form.least_in_flight > most:
                continue
            found.append(form if most >= form.in_flight else replace(form, in_flight=most))
        return found

    def most_in_rounds_per_s(self, form: Form, most: int) -> float:
        """What a replica of a form serves at most, of sequences in equal micro-batches alone;
        infinite where so many of them fit that it hardly matters."""
        each = form.in_flight
        if form.is_range or not each or not 0 < most // each <= MOST_ROUNDS:
            return math.inf
        counts = each * np.arange(1, most // each + 1)
        forms = [form] * len(counts)
        figures = self.space.even_at(
            [Span(one, 1, 1, 1) for one in forms], self._moments(forms, counts)
        )
        cycles_s = self.meter.times(figures.moments, figures.sums, figures.peaks, 0.0).cycle_s
        return float((counts / cycles_s).max())

    def tightened(self, form: Form, most: int) -> Load | None:
        """The same of one form, by the least that each of its loads can be by itself; None where
        there is no cut."""
        among = self.among(form, most)
        held = self.moment(form, form.least_in_flight)
        found = []
        for count in (*among, most):
            figures = self.space.least(form, self.moment(form, count), held)
            if figures is None:
                return None
            found.append(figures)
        return self.of_figures(most, among, found)

    def best_cut(
        self,
        form: Form,
        least: Load,
        busy: float,
        value: Callable[[Load], float],
        goal: float,
    ) -> tuple[float, tuple[int, ...]]:
        """The cut of a form whose load has the least value, of all values below a goal; () where
        there is none. A value grows with every load of a stage.

        Stages are told apart by what they load with about so many in flight as are busy; among
        other numbers, and for how many fit, the least of all cuts stands, so that the value is a
        bound.
        """
        most = least.most
        among = self.among(form, most)
        counts = (*among, most)
        held = self.moment(form, form.least_in_flight)
        near = [
            place for place, count in enumerate(counts) if NEAR[0] * busy <= count <= NEAR[1] * busy
        ]
        near = near or [len(counts) - 1]
        figures = [self.space.least(form, self.moment(form, count), held) for count in counts]
        if any(one is None for one in figures):
            return math.inf, ()
        moments = [self.moment(form, counts[place]) for place in near]
        chains = [self.space.chain(form, at, held) for at in moments]
        layers = np.concatenate([chain.loads[0] for chain in chains])
        links = [np.concatenate(behind) for behind in zip(*(c.links for c in chains), strict=True)]

        def worth(peaks: Floats) -> float:
            known = [one for one in figures if one is not None]
            parts = peaks.reshape(len(near), -1)
            for place, at, part in zip(near, moments, parts, strict=True):
                known[place] = self.space.figures(form, at, part)
            return value(self.of_figures(most, among, known))

        cut = best_cut(Chain([layers] * form.stages, links), worth, goal)
        return cut.value, cut.borders

    def among(self, form: Form, most: int) -> tuple[int, ...]:
        """Numbers in flight among which the times of a form are told."""
        return rungs(most, self.software.most_sequences * form.split.attention)

    def of_figures(self, most: int, among: Sequence[int], found: Sequence[Figures]) -> Load:
        """The load of a form whose figures are known among each number in flight, and last among
        as many as fit."""
        stages = np.rint(found[0].chips / found[0].moments.split.chips).astype(np.intp)
        rows = [self._tables(one, stages) for one in found]
        tables = [np.array([float(row[number]) for row in rows]) for number in range(len(rows[0]))]
        return self._load(most, among, tables, found[0].moments)

    def moment(self, form: Form, count: int) -> Moments:
        """Of a form with so many in flight."""
        return moment_of(self._moments([form], np.array([count], dtype=np.intp)), 0)

    def _moments(self, forms: Sequence[Form], counts: Ints) -> Moments:
        """What the steps of so many sequences in flight in a replica of each form take, and of a
        range of micro-batches at least; forms of one split."""
        most = self._batch(forms, counts)
        if not any(form.is_range for form in forms):
            return self.meter.moments(forms[0].split, most)
        fewest = [replace(form, in_flight=form.least_in_flight) for form in forms]
        return self.space.between(forms, self._batch(fewest, counts), most)

    def _batch(self, forms: Sequence[Form], counts: Ints) -> Batch:
        """So many sequences in flight in a replica of each form."""
        pairs = zip(forms, counts.tolist(), strict=True)
        cut = np.array([self.space.batches(form).holding(count) for form, count in pairs])
        return Batch(counts, cut[:, 0], cut[:, 1])

    def _most(self, forms: Sequence[Form]) -> Ints:
        """Sequences that a replica of each form holds at most, by even cuts or, where not every
        layer has a stage of its own, by as full ones as can be, shape (forms,)."""
        cap = self.software.most_sequences * forms[0].split.attention
        low = np.zeros(len(forms), dtype=np.intp)
        high = np.full(len(forms), cap + 1, dtype=np.intp)
        stages = np.array([form.stages for form in forms])
        spans = [Span(form, 1, 1, 1) for form in forms]
        while int((high - low).max()) > 1:
            middle = np.maximum(1, (low + high) // 2)
            even = self.space.even(spans, self._batch(forms, middle))
            holds = even.peaks.needed <= self.space.usable
            holds &= self.space.may_hold(even.moments, stages)
            open_yet = high - low > 1
            low = np.where(open_yet & holds, middle, low)
            high = np.where(open_yet & ~holds, middle, high)
        return low

    def _note_places(self, forms: Sequence[Form], most: Ints) -> None:
        """Of which ranges of micro-batches not all have as many places."""
        ranged = [place for place, form in enumerate(forms) if form.is_range]
        if not ranged:
            return
        shallow = [replace(forms[place], in_flight=forms[place].fewest) for place in ranged]
        for place, fewest in zip(ranged, self._most(shallow).tolist(), strict=True):
            if fewest < most[place]:
                self._fewest_places[forms[place]] = max(1, fewest)

    def _tables(self, figures: Figures, stages: Ints) -> list[Floats]:
        """What a `Load` is made of, among each number in flight."""
        moments, sums, peaks = figures.moments, figures.sums, figures.peaks
        times = self.meter.times(moments, sums, peaks, 0.0)
        turns = moments.batch.micro_batches * peaks.decode_s
        round_s = np.asarray(pipeline.cycle_s(sums.decode_s, turns))
        first_s = times.ttft_s - times.waiting_share * round_s
        prompt_s = self.meter.prompt_s(moments, peaks)
        # What a prompt adds to a pass of others: on some stage, at least the mean of all.
        added_s = moments.passes * (self.meter.counts @ moments.more) / stages
        packed_s = added_s / moments.split.attention if moments.at.packs > 1 else prompt_s
        shape = np.shape(round_s)
        return [
            np.broadcast_to(one, shape)
            for one in (
                round_s,
                times.tpot_s,
                times.cycle_s,
                first_s,
                prompt_s,
                peaks.prefill_s,
                times.waiting_share,
                packed_s,
            )
        ]

    def _load(
        self, most: int, among: Sequence[int], tables: Sequence[Floats], moments: Moments
    ) -> Load:
        """From tables whose last figure is among as many as fit."""
        rounds_s, tpots_s, cycles_s, first_s, prompt_s, pass_s, waiting, packed_s = tables
        balanced = self.software.balances_prompts
        at = moments.at
        # Up to the first number that is no less than the most that fit, as a score has it.
        last = next((n for n, count in enumerate(among) if count >= most), len(among) - 1) + 1
        return Load(
            requests_per_s=1.0,
            most=most,
            prompt_s=float(prompt_s[0]),
            first_s=float(first_s[0]),
            packs=at.packs,
            packed_s=float(packed_s[0]),
            ranks=1 if balanced else moments.split.attention,
            interruption_share=at.software.interruption_share,
            handed_rounds=float(waiting[last - 1]) - at.turn_share,
            turn_share=at.turn_share,
            felt_s=felt_s(at, float(pass_s[last - 1]), moments.split.attention),
            later_tokens=at.later_tokens,
            rounds=at.rounds,
            sequences=tuple(among[:last]),
            rounds_s=tuple(rounds_s[:last].tolist()),
            tpots_s=tuple(tpots_s[:last].tolist()),
            cycles_s=tuple(cycles_s[:last].tolist()),
            full_cycle_s=float(cycles_s[-1]),
        )

    # ── What is promised ─────────────────────────────────────────────────────────────────────

    def may_keep(self, form: Form, replicas: int) -> bool:
        """Whether so many replicas of a form (0: as many as there is room for) keep the percentiles
        that are limited at the rate that is given, were every time the least that it can be."""
        if not self.promised or not self.space.rate:
            return True
        key = form, replicas
        if key not in self._kept:
            self._kept[key] = self._keep(form, replicas)
        return self._kept[key]

    def _keep(self, form: Form, replicas: int) -> bool:
        load = self.load_of(form)
        if load is None:
            return False
        each = self.space.rate / (replicas or self.space.most_replicas(form) or 1)
        return self.may(form, load.at(each))

    def margins(self, form: Form, load: Load) -> Factors:
        """The least of any number in flight, which is no less than with the least times."""
        least = min(load.busy_sequences, load.most)
        return self.space.margins.least(form.split, form.stages, least, load.most)

    def may(self, form: Form, load: Load) -> bool:
        """Whether some plan of a form with times no less keeps every promise.

        Of several stages, cuts differ in how many sequences they hold. Where fewer find a place,
        those have their later tokens sooner, so that is tried too.
        """
        margins = self.margins(form, load)
        if form in self._fewest_places:
            return self._may_with_any_places(form, load, margins)
        if self.keeps(load, margins):
            return True
        later = any(one.field != "ttft_s" for one, _ in self.promised)
        if form.stages == 1 or not later:
            return False
        return any(self.keeps(fewer, margins) for fewer in self.with_fewer_places(load))

    def _may_with_any_places(self, form: Form, load: Load, margins: Factors) -> bool:
        """The same of a range of micro-batches that leave unlike numbers of places: each time with
        those that suit it; nothing is said of a request's whole time, which none of them suits."""
        if load.load_fraction >= 1.0 - 1e-9:
            return False
        fewer = self.with_fewest_places(form, load)
        first = [one for one in self.promised if one[0].field == "ttft_s"]
        later = [one for one in self.promised if one[0].field == "tpot_s"]
        if not self._all_kept(first, load, margins):
            return False
        if self._all_kept(later, fewer, margins):
            return True
        return form.stages > 1 and any(
            self._all_kept(later, one, margins) for one in self.with_fewer_places(fewer)
        )

    def with_fewest_places(self, form: Form, load: Load) -> Load:
        """A load with as few places as any number of micro-batches in a range leaves, and as serve
        its rate."""
        low, high = self._fewest_places.get(form, load.most) - 1, load.most
        served = load
        while high - low > 1:
            middle = (low + high) // 2
            fewer = load.with_places(middle, at_best=True)
            if fewer.load_fraction < 1.0 - 1e-9:
                high, served = middle, fewer
            else:
                low = middle
        return served

    @staticmethod
    def with_fewer_places(load: Load) -> Iterator[Load]:
        """The same with shares of the places, as long as they do."""
        for share in FEWER_PLACES:
            fewer = load.with_places(max(1, math.floor(share * load.most)))
            if fewer.load_fraction < 1.0:
                yield fewer

    def value_at_one(self, form: Form) -> float:
        """Canonical value of what the greatest rate of requests makes best, of as many replicas of
        a form as make it best, were each sent one request a second."""
        objective = self.space.objective
        output = self.space.workload.output_tokens
        each = 1.0 if objective == "requests_per_s" else 1.0 / output
        if objective in TOTALS:
            return each / self.space.most_replicas(form)
        # What is held by a replica, for a request a second.
        return self.space.candidates.basis.per_chip()[objective] * form.chips

    def keeps(self, load: Load, margins: Factors = NONE) -> bool:
        """Whether a replica under its stream keeps every percentile that has a limit, as surely as
        is asked: where all its times were longer by as much as their margin, too."""
        if load.load_fraction >= 1.0 - 1e-9:
            return False
        return self._all_kept(self.promised, load, margins)

    @staticmethod
    def _all_kept(
        promised: Sequence[tuple[Percentile, float]], load: Load, margins: Factors
    ) -> bool:
        for (field, probability), most in promised:
            factor = margins.get(field, 1.0)
            slower = load if factor == 1.0 else load.slower(factor)
            if slower.is_late(field, most, 1.0 - probability + SLACK):
                return False
        return True
