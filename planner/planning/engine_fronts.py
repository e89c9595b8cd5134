"""The front of the plans that an engine can be started with: ranges of batches, each bounded in
every field at once, and cut in parts until known plans cover it.

Plans of one stage come first: their bounds are exact, and most pipelines are covered by them
without a look at where their layers are cut.
"""

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from planner.answers.fronts import Member, best_first
from planner.answers.proof import StoppedBy
from planner.answers.question import HELD, TOTALS
from planner.plan import Plan
from planner.planning.cutting_off import cut_off
from planner.planning.first_plans import first_plan
from planner.solver.chain.cuts import Chain, bottlenecks, halves
from planner.solver.chain.problem import Floats
from planner.solver.chain.tradeoffs import Known
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace, Found, Span
from planner.space.moments import Moments

MOST_COUNTED = 64
"""Replicas up to which every number is looked at, where the chips held count."""


class EngineFrontSearch:
    """Plans that cover all others of the engine's space, within a tolerance."""

    def __init__(
        self, candidates: Candidates, tolerance: float, *, time_limit_s: float | None = None
    ) -> None:
        self.candidates = candidates
        self.started = time.monotonic()
        self.deadline = math.inf if time_limit_s is None else self.started + time_limit_s
        self.counts = any(name in HELD for name in candidates.question.fields)
        # Where not every number of replicas is looked at, half of the tolerance goes to that.
        self.step = math.sqrt(1 + tolerance) - 1
        self.graded = self.counts and candidates.topology.chips > MOST_COUNTED
        self.known = Known(len(candidates.question.fields), self.step if self.graded else tolerance)
        self.members: dict[bytes, Found] = {}
        """What was found, by its vector."""
        self.complete = True
        self.interrupted: bool | None = None
        """Whether it was Ctrl-C that cut it off, or the clock; None where nothing did."""
        self.first: Plan | None = None
        """Any plan, where none was found in time."""

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.complete:
            return "proof"
        return "interrupt" if self.interrupted else "time"

    @property
    def found_some(self) -> bool:
        """Whether there is a plan."""
        return bool(self.members) or self.first is not None

    @cached_property
    def space(self) -> EngineSpace:
        """Made while the clock runs: of a large machine that takes a while."""
        return EngineSpace(self.candidates)

    def run(self) -> None:
        """Until every span is covered, the clock runs out, or Ctrl-C."""
        self.interrupted = cut_off(self._run, self.deadline)
        if self.interrupted is not None:
            self.complete = False
        if not self.complete and not self.members:
            self.first = first_plan(self.candidates).plan

    def _run(self) -> None:
        spans = [one for _, span in self.space.spans() for one in self._with_replicas(span)]
        alone = [span for span in spans if span.form.stages == 1]
        piped = [span for span in spans if span.form.stages > 1]
        for todo in (alone, piped):
            left = todo
            while left and self.complete:
                left = list(self._round(left))

    def _with_replicas(self, span: Span) -> Iterator[Span]:
        """A span for each number of replicas that may be on the front."""
        if span.replicas:
            yield span
            return
        most = self.space.most_replicas(span.form)
        if not self.counts:
            rates = any(name in TOTALS for name in self.candidates.question.fields)
            yield span._replace(replicas=most if rates else 1)
            return
        replicas = most
        while replicas >= 1:
            yield span._replace(replicas=replicas)
            smaller = math.ceil(replicas / (1 + self.step)) if self.graded else replicas - 1
            replicas = min(replicas - 1, smaller)

    def best_first(self, name: str) -> tuple[Member, ...]:
        """The plans that none beats, the best in a field first."""
        members = []
        if self.first is not None:
            members.append(Member(plan=self.first, score=self.candidates.score(self.first)))
        for vector in self.known.vectors:
            plan = self.space.to_plan(self.members[vector.tobytes()])
            members.append(Member(plan=plan, score=self.candidates.score(plan)))
        return self._unbeaten(best_first(members, name))

    def _unbeaten(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Without those that another is as good as in every field, as they are scored: the search
        adds up in another order, and may hold a tie to be better by the last digit."""
        scored = Known(len(self.candidates.question.fields), 0.0)
        taken: dict[bytes, Member] = {}
        for one in members:
            vector = self.candidates.canonical_vector(one.score)
            if scored.offer(vector):
                taken[vector.tobytes()] = one
        left = {vector.tobytes() for vector in scored.vectors}
        return tuple(one for vector, one in taken.items() if vector in left)

    # ── Rounds ───────────────────────────────────────────────────────────────────────────────

    def _round(self, spans: list[Span]) -> Iterator[Span]:
        """Bound every span, offer a plan of those that nothing covers, and yield the parts of
        what is still open."""
        parts = []
        for _, group in itertools.groupby(spans, key=lambda span: span.form.split):
            parts += self._open_of(list(group))
        for span, lower in parts:
            if time.monotonic() >= self.deadline:
                self.complete = False
                return
            if self.known.covers(lower[None])[0]:
                continue
            if span.form.stages > 1 and self._tight_and_offered(span):
                continue
            if not span.single:
                yield from self.space.parts(span)

    def _open_of(self, spans: list[Span]) -> list[tuple[Span, Floats]]:
        """Spans of one split that nothing covers by even cuts; of single stages, where that is
        exact, plans are offered."""
        lower = self.space.vectors(spans)
        is_open = ~self.known.covers(lower)
        spans = [span for span, one in zip(spans, is_open.tolist(), strict=True) if one]
        lower = lower[is_open]
        if not spans:
            return []
        if spans[0].form.stages == 1:
            ends = [span._replace(first=span.last) for span in spans]
            layers = len(self.candidates.graph.layers)
            exact = self.space.vectors(ends)
            for end, vector in zip(ends, exact, strict=True):
                if np.isfinite(vector).all():
                    self._offer(Found(end, end.replicas, float(vector[0]), (0, layers)), vector)
        return [
            (span, one)
            for span, one in zip(spans, lower, strict=True)
            if not (span.single and span.form.stages == 1)
        ]

    def _offer(self, found: Found, vector: Floats) -> None:
        if self.known.offer(vector):
            self.members[vector.tobytes()] = found

    # ── Cuts ─────────────────────────────────────────────────────────────────────────────────

    def _tight_and_offered(self, span: Span) -> bool:
        """Whether a span is covered once each load is taken at its least by itself, and plans of
        its last batch are offered."""
        space = self.space
        figures = space.extremes(span)
        if figures is None:
            return True
        lower = space.vector(span, *figures)
        if self.known.covers(lower[None])[0]:
            return True
        end = span._replace(first=span.last)
        at = space.moment(end)
        chain = space.chain(span.form, at, at)
        if span.single:
            self._cover(end, at, chain)
            return True
        self._offer_cuts(end, at, chain, bottlenecks(chain)[1])
        return bool(self.known.covers(lower[None])[0])

    def _offer_cuts(
        self, span: Span, at: Moments, chain: Chain, cuts: Iterable[tuple[int, ...]]
    ) -> list[Floats]:
        """Offer the plans of some cuts; the peaks of each."""
        found = []
        for borders in dict.fromkeys(cuts):
            if not borders:
                continue
            peaks = chain.peaks_of(borders)
            vector = self._vector(span, at, peaks)
            if np.isfinite(vector).all():
                self._offer(Found(span, span.replicas, float(vector[0]), borders), vector)
            found.append(peaks)
        return found

    def _vector(self, span: Span, at: Moments, peaks: Floats) -> Floats:
        figures = self.space.figures(span.form, at, peaks)
        return self.space.vector(span, figures, figures)

    def _cover(self, span: Span, at: Moments, chain: Chain) -> None:
        """Offer cuts of one batch until all of its plans are covered."""
        peaks = len(chain.loads[0])
        todo = [(np.full(peaks, np.inf), np.zeros(peaks))]
        while todo:
            tops, lows = todo.pop()
            least, cuts = bottlenecks(chain, tops if np.isfinite(tops).any() else None)
            least = np.maximum(least, lows)
            if not np.isfinite(least).all() or self._covers(span, at, least):
                continue
            reached = self._offer_cuts(span, at, chain, cuts)
            if self._covers(span, at, least):
                continue
            near = min(reached, key=lambda one: float((one / np.maximum(least, 1e-300)).max()))
            todo += halves(chain, near, least, tops, lows)

    def _covers(self, span: Span, at: Moments, peaks: Floats) -> bool:
        return bool(self.known.covers(self._vector(span, at, peaks)[None])[0])
