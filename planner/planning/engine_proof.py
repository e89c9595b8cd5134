"""That no plan which an engine can be started with is better than a claim: shown anew, with nothing
of the search.

Every form, and every range of batches of it, is bounded; a range that could still be better is
halved. How evenly layers can be cut is found by trying loads: with so much allowed to every stage,
which layers can the first stages reach, one stage after the other? What one batch could still do
better is told by ranges of its largest loads, as in `box_proof.BoxProof`.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.errors import TimeUpError
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace, Span
from planner.space.moments import Moments
from planner.space.streams import Streams

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CLOSE = 1e-6
"""Relative: figures closer than this are one."""
MOST_RANGES = 200
"""Of the loads of one batch that are looked at."""


@dataclass(frozen=True)
class Loads:
    """What a stage may load: by peak, first layer and layer beyond, and on the link behind it."""

    runs: Floats
    links: tuple[Floats, ...]

    @cached_property
    def every(self) -> list[Floats]:
        """The loads that occur, of each peak, ascending."""
        arrays = (self.runs, *self.links)
        joined = [
            np.unique(np.concatenate([one[peak].ravel() for one in arrays]))
            for peak in range(len(self.runs))
        ]
        return [loads[np.isfinite(loads)] for loads in joined]

    @property
    def no_tops(self) -> Floats:
        """Where every load is allowed."""
        return np.full(len(self.runs), np.inf)

    def least(self, tops: Floats) -> Floats:
        """The least that each peak can be by itself where none lies beyond its top, shape
        (peaks,); infinite where there is no cut."""
        found = np.full(len(tops), np.inf)
        if not self._reaches(tops):
            return found
        for peak in range(len(tops)):
            loads = self.every[peak]
            loads = loads[loads <= tops[peak]]
            low, high = -1, len(loads) - 1
            while high - low > 1:
                middle = (low + high) // 2
                allowed = tops.copy()
                allowed[peak] = loads[middle]
                low, high = (low, middle) if self._reaches(allowed) else (middle, high)
            found[peak] = loads[high]
        return found

    def _reaches(self, tops: Floats) -> bool:
        """Whether the last stage can end with the last layer."""
        allowance.look()
        allowed = np.isfinite(self.runs) & (self.runs <= tops[:, None, None])
        may: Bools = np.all(allowed, axis=0)
        reached = may[0]
        for link in self.links:
            begins = reached & np.all(link <= tops[:, None], axis=0)
            reached = may[begins].any(axis=0)
        return bool(reached[-1])


class EngineProof:
    """That no plan has a canonical value below a claim, or how far that can be shown."""

    def __init__(self, candidates: Candidates, claim: float) -> None:
        self.space = EngineSpace(candidates)
        self.streams = Streams(self.space)
        self.told = claim
        self.claim = claim * (1 - CLOSE)
        self.boxes = 0

    def least(self, deadline: float) -> float:
        """The least bound over all plans: the claim where all is shown."""
        numbers = itertools.count()
        todo: list[tuple[float, int, Span]] = []
        for bound, span in self.space.spans():
            todo.append((bound, next(numbers), self._with_replicas(span)))
        heapq.heapify(todo)
        reached = self.told
        while todo and todo[0][0] < self.claim and time.monotonic() < deadline:
            known, _, span = todo[0]
            self.boxes += 1
            try:
                parts = self._open_parts(known, span)
            except TimeUpError:
                break
            heapq.heappop(todo)
            for bound, part in parts:
                if part.single:
                    reached = min(reached, self._with_any_replicas(bound, part))
                else:
                    heapq.heappush(todo, (bound, next(numbers), part))
        # With replicas that would do, what is no better than the claim is ruled out with fewer too.
        left = (self._with_any_replicas(one, span) for one, _, span in todo if one < self.claim)
        return min([reached, *left])

    def _open_parts(self, known: float, span: Span) -> list[tuple[float, Span]]:
        """The parts of a span that may be better than the claim, each with its bound."""
        if not self.streams.may_keep(span.form, span.replicas):
            return []
        bounds = [(max(known, self._bound(part)), part) for part in self._halves(span)]
        return [(bound, part) for bound, part in bounds if bound < self.claim]

    def _with_any_replicas(self, bound: float, span: Span) -> float:
        """What is told of a span that is not ruled out with as many replicas as would do: fewer may
        do too, and one is the least."""
        if not self.space.counts_replicas or not span.replicas:
            return bound
        return bound / span.replicas

    def _with_replicas(self, span: Span) -> Span:
        """Where the fewest replicas are wanted, the most that would still be better than the
        claim: what so many cannot do, fewer cannot either."""
        space = self.space
        # Of chips held in part, a replica may take less than its whole ones: any number of them.
        if not space.counts_replicas or space.candidates.basis.is_filled(space.objective):
            return span
        each = space.per_chip[space.objective] * span.form.chips
        better = math.ceil(self.claim * (1 - 1e-9) / each) - 1
        return span._replace(replicas=max(1, min(better, space.most_replicas(span.form))))

    @staticmethod
    def _halves(span: Span) -> list[Span]:
        if span.single:
            return [span]
        middle = (span.first + span.last) // 2
        return [span._replace(last=middle), span._replace(first=middle + 1)]

    def _bound(self, span: Span) -> float:
        """Of all plans of a span."""
        space = self.space
        low = space.moment(span)
        high = low if span.single else space.late_moment(span)
        room = np.array(space.most_replicas(span.form))
        replicas = np.array(span.replicas)

        def worth(firsts: Floats, lasts: Floats) -> float:
            lows = space.figures(span.form, low, firsts)
            highs = lows if span.single else space.figures(span.form, high, lasts)
            return float(space.worth(lows, highs, room, replicas))

        if span.form.stages == 1:
            lasts = space.alone(high)
            return worth(space.alone(low), lasts)
        loads = Loads(*self._loads(span, low, low))
        firsts = loads.least(loads.no_tops)
        if not np.isfinite(firsts).all():
            return math.inf
        if span.single:
            return self._by_ranges(loads, firsts, lambda peaks: worth(peaks, peaks))
        lasts = Loads(*self._loads(span, high, low)).least(loads.no_tops)
        return worth(firsts, lasts)

    def _loads(self, span: Span, at: Moments, held: Moments) -> tuple[Floats, tuple[Floats, ...]]:
        chain = self.space.chain(span.form, at, held)
        return chain.loads[0], tuple(chain.links)

    def _by_ranges(self, loads: Loads, least: Floats, worth: Callable[[Floats], float]) -> float:
        """Of one batch: a range of the largest loads is bounded by its low end, and what loads more
        than its high end is left out of it."""
        numbers = itertools.count()
        highs = np.full(len(least), np.inf)
        todo = [(worth(least), next(numbers), least, highs)]
        for _ in range(MOST_RANGES):
            bound, _, lows, highs = todo[0]
            if bound >= self.claim:
                break
            parts = self._parts(loads, lows, highs, worth)
            if not parts:
                break
            heapq.heappop(todo)
            for low, high in parts:
                found = np.maximum(low, loads.least(high))
                value = worth(found) if np.isfinite(found).all() else math.inf
                heapq.heappush(todo, (max(bound, value), next(numbers), found, high))
            if not todo:
                return math.inf
        return todo[0][0]

    def _parts(
        self, loads: Loads, lows: Floats, highs: Floats, worth: Callable[[Floats], float]
    ) -> list[tuple[Floats, Floats]]:
        """A range in two, along the peak whose upper half costs the most."""
        best: tuple[float, list[tuple[Floats, Floats]]] = (-math.inf, [])
        for peak, every in enumerate(loads.every):
            inside = every[(every >= lows[peak]) & (every <= highs[peak])]
            if len(inside) < 2:
                continue
            # From the first load on that alone brings the range to the claim, all is shown.
            unit = np.arange(len(lows)) == peak
            first, last = 1, len(inside) - 1
            while first < last:
                middle = (first + last) // 2
                if worth(np.where(unit, inside[middle], lows)) >= self.claim:
                    last = middle
                else:
                    first = middle + 1
            above = np.where(unit, inside[first], lows)
            value = worth(above)
            if value < self.claim:
                first = max(1, len(inside) // 2)
                above = np.where(unit, inside[first], lows)
                value = worth(above)
            below = np.where(unit, inside[first - 1], highs)
            if value / (1 + first) > best[0]:
                best = value / (1 + first), [(lows, below), (above, highs)]
        return best[1]
