"""`Load`: how the times of requests scatter around their means, where they come at a rate.

Requests of one size come as a Poisson stream to one replica. Three things scatter:

- how many others a request finds in flight: the product form of generalised processor sharing;
- how long its prompt waits for the prompts before it: a queue of equal services at one server, and
  any part of a round of decode passes;
- how many prompts come while it makes its later tokens, each of which holds it up, and joins those
  in flight.

Every figure here only grows with the rate and with every time that a `Load` is made of, so what is
worked out from the least of each bounds all plans that have no less.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from planner.cost import queueing
from planner.errors import InputError, UnknownNameError
from planner.records import Record

Floats = NDArray[np.float64]

SCATTERED = ("ttft_s", "tpot_s", "request_s")
"""Fields that have percentiles."""


class Percentile(NamedTuple):
    """A percentile of a time."""

    field: str
    probability: float


PERCENTILES: dict[str, Percentile] = {
    f"{field.removesuffix('_s')}_p{percent}_s": Percentile(field, percent / 100)
    for field in SCATTERED
    for percent in (50, 90, 95, 99)
}
"""By name: `ttft_p99_s` is what 99 of 100 first tokens take at most."""
ROUNDS = 32
"""Points of a round of decode at which a request may come."""
CROWDS = 48
"""Numbers of others in flight that are told apart."""
POINTS = 33
"""Times at which a distribution is asked for at once, to find a percentile."""
NARROWED = 4
"""How often that is narrowed down to one of those intervals."""


def rungs(most: int, cap: int) -> tuple[int, ...]:
    """Numbers in flight at which times are worked out, those between them being interpolated: 1, 2,
    3, 4, 6, 8, 12, … and the cap, up to the first that is no less than the most that fit."""
    graded = sorted({one for n in range(40) for one in (2**n, 3 * 2**n) if one < cap} | {cap})
    enough = next((place for place, one in enumerate(graded) if one >= most), len(graded) - 1)
    return tuple(graded[: enough + 1])


class Load(Record):
    """A replica under a stream of requests."""

    requests_per_s: float
    most: int
    """Sequences in flight at once; who finds so many waits for a place."""
    prompt_s: float
    """Work of one prompt at the busiest stage; of attention data parallel ranks, as if one of
    all their speed did it."""
    first_s: float
    """To the first token where nothing is in the way."""
    handed_rounds: float
    """Rounds of decode passes that a first token waits for beside its turn."""
    turn_share: float
    """Of a round, the mean wait for a turn; its length is anything up to twice as much."""
    felt_s: float
    """What one more prompt holds up the later tokens of a request at least."""
    later_tokens: int
    rounds: float
    """Of decode passes in which they are made."""
    sequences: tuple[int, ...]
    """Numbers in flight at which the next three are known, ascending."""
    rounds_s: tuple[float, ...]
    """Of decode passes, one of which a new request finds under way."""
    tpots_s: tuple[float, ...]
    """Between later tokens of a request among so many, whose prompts it meets."""
    cycles_s: tuple[float, ...]
    """That a request stays among so many."""

    @cached_property
    def most_requests_per_s(self) -> float:
        """That it can serve, with as many sequences in flight as fit."""
        prompts = 1.0 / self.prompt_s if self.prompt_s else math.inf
        return min(self.most / float(self._cycle_s(np.array(float(self.most)))), prompts)

    @property
    def load_fraction(self) -> float:
        """Of what it can serve, what comes."""
        return self.requests_per_s / self.most_requests_per_s

    @property
    def scattered(self) -> tuple[str, ...]:
        """Fields with percentiles: of a prefill pool, which makes no later tokens, and of a
        decode pool only its own."""
        if not self.later_tokens:
            return ("ttft_s",)
        return SCATTERED if self.prompt_s else ("tpot_s",)

    def at(self, requests_per_s: float) -> Self:
        """The same replica at another rate."""
        return self.replace(requests_per_s=requests_per_s)

    def slower(self, factor: float) -> Self:
        """The same stream at a replica whose every time is so many times as long."""
        times = ("prompt_s", "first_s", "felt_s")
        ladders = ("rounds_s", "tpots_s", "cycles_s")
        longer = {name: factor * getattr(self, name) for name in times}
        longer |= {name: tuple(factor * one for one in getattr(self, name)) for name in ladders}
        return self.replace(**longer)

    # ── Asked about ──────────────────────────────────────────────────────────────────────────

    def percentile(self, field: str, probability: float) -> float:
        """What a request's time stays within, with that probability; see `Score.percentile`. [s]"""
        self._refuse(field, probability)
        if self.load_fraction >= 1.0:
            return math.inf
        tokens = self.later_tokens if field == "tpot_s" else 1
        return _quantile(self._late(field), self._typical_s(field), probability) / tokens

    def late_fraction(self, field: str, limit_s: float) -> float:
        """Share of the requests whose time is longer than a limit. [1]"""
        if self.load_fraction >= 1.0:
            return 1.0
        tokens = self.later_tokens if field == "tpot_s" else 1
        return float(self._late(field)(np.array([limit_s * tokens]))[0])

    def _refuse(self, field: str, probability: float) -> None:
        """An InputError where a percentile makes no sense."""
        if field not in SCATTERED:
            raise UnknownNameError("time with percentiles", field, SCATTERED)
        if not 0 < probability < 1:
            raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
        if field not in self.scattered:
            raise InputError(
                f"{field} has no percentiles where the other phase has a pool of its own; ask for"
                f" {self.scattered[0]}"
            )

    def _late(self, field: str) -> Callable[[Floats], Floats]:
        """Shares of requests that take longer than some times."""
        return {
            "ttft_s": self._first_later_than,
            "tpot_s": self._others_later_than,
            "request_s": self._request_later_than,
        }[field]

    def _typical_s(self, field: str) -> float:
        """To begin with: about the mean."""
        later = self.later_tokens * float(self._tpot_s(np.array(self._mean)))
        first = self.first_s + self._round_s + self.prompt_s
        return {"ttft_s": first, "tpot_s": later, "request_s": first + later}[field]

    # ── Those in flight ──────────────────────────────────────────────────────────────────────

    def _cycle_s(self, among: Floats) -> Floats:
        return np.interp(among, self.sequences, self.cycles_s)

    def _tpot_s(self, among: Floats) -> Floats:
        return np.interp(among, self.sequences, self.tpots_s)

    @cached_property
    def _shares(self) -> Floats:
        """Probability of 0, 1, … others in flight, the last with those who wait for a place,
        shape (most + 1,)."""
        counts = np.arange(1, self.most + 1, dtype=float)
        shares = queueing.in_flight_fraction(self._cycle_s(counts), self.requests_per_s)
        # Of those that wait each further one is as much less likely.
        shares[-1] /= 1.0 - self.load_fraction
        return np.asarray(shares / shares.sum())

    @property
    def full_fraction(self) -> float:
        """Share of requests that find no place free."""
        return float(self._shares[-1])

    @property
    def mean_sequences(self) -> float:
        """In flight on average, one at least."""
        return self._mean

    @property
    def busy_sequences(self) -> int:
        """The fewest in flight that leave as fast as they come (see `queueing.busy_sequences`), no
        more than fit."""
        count = 1
        for _ in range(self.most):
            stays = float(self._cycle_s(np.array(float(count))))
            needed = math.ceil(self.requests_per_s * stays * (1 - 1e-12))
            if needed <= count or count >= self.most:
                break
            count = min(needed, self.most)
        return count

    @property
    def _mean(self) -> float:
        """Sequences in flight on average, one at least."""
        return max(1.0, float(self._shares @ np.arange(self.most + 1)))

    @property
    def _round_s(self) -> float:
        return float(np.interp(self._mean, self.sequences, self.rounds_s))

    @cached_property
    def _crowds(self) -> tuple[Floats, Floats]:
        """How many others a request finds in flight, and how likely that is, in some steps, shapes
        (crowds,)."""
        likely = np.flatnonzero(self._shares > 1e-9 * self._shares.max())
        shares = self._shares[likely] / self._shares[likely].sum()
        if len(likely) <= CROWDS:
            return likely.astype(float), shares
        # Neighbours together, so that all steps are about as wide.
        groups = np.array_split(np.arange(len(likely)), CROWDS)
        weights = np.array([shares[group].sum() for group in groups])
        # The largest of each step, so that nothing is made to look better than it is.
        return np.array([float(likely[group[-1]]) for group in groups]), weights

    # ── First tokens ─────────────────────────────────────────────────────────────────────────

    def _first_later_than(self, times_s: Floats) -> Floats:
        """Shape (times,)."""
        round_s = self._round_s if self.later_tokens else 0.0
        turns = 2.0 * self.turn_share * round_s * (np.arange(ROUNDS) + 0.5) / ROUNDS
        waited = times_s - self.first_s - self.handed_rounds * round_s
        waited = waited[:, None] - turns
        if not self.prompt_s:
            return np.asarray((waited < 0).mean(axis=1))
        if self.full_fraction < 1e-6:
            return np.asarray(self._queued_longer(waited).mean(axis=1))
        # Who finds no place waits for one first: until the next of so many leaves, on average half
        # as long as where their ends were as likely at any time.
        place_s = self._place_s * -np.log1p(-(np.arange(ROUNDS) + 0.5) / ROUNDS)
        held_up = self._queued_longer(waited[:, :, None] - place_s).mean(axis=(1, 2))
        free = self._queued_longer(waited).mean(axis=1)
        return np.asarray((1.0 - self.full_fraction) * free + self.full_fraction * held_up)

    def _queued_longer(self, waited_s: Floats) -> Floats:
        """Share of prompts that wait longer for those before them."""
        longer = queueing.waits_longer_fraction(waited_s, self.prompt_s, self.requests_per_s)
        return np.asarray(longer)

    @property
    def _place_s(self) -> float:
        """Mean wait of who finds no place free."""
        each = 1.0 / self.most_requests_per_s
        return 0.5 * each / (1.0 - self.load_fraction)

    # ── Later tokens ─────────────────────────────────────────────────────────────────────────

    def _others_later_than(self, times_s: Floats) -> Floats:
        """Of the later tokens together, shape (times,).

        They are not done in time where, with all that comes meanwhile, there is more to do than
        there is time. Of those in flight at first all are gone at last, and all who come are there
        still, for requests are of one size: on average it is half of both.
        """
        found, shares = self._crowds
        most_come = self._most_come(float(times_s.max()))
        enough = self._most_that_may_come(times_s[:, None], found, most_come)
        expected = self.requests_per_s * times_s
        at_most = _poisson_at_most(expected, most_come)
        kept = np.take_along_axis(at_most, np.maximum(enough, 0), axis=1)
        return np.asarray(1.0 - np.where(enough >= 0, kept, 0.0) @ shares)

    def _most_come(self, time_s: float) -> int:
        """More than so many hardly ever come in a time."""
        expected = self.requests_per_s * time_s
        return math.ceil(expected + 8.0 * math.sqrt(expected) + 12.0)

    def _most_that_may_come(
        self, times_s: Floats, found: Floats, most_come: int
    ) -> NDArray[np.intp]:
        """How many may come, so that a request which found so many has its tokens in time; -1: not
        even none, shape (times, crowds). By halving, for each makes it longer."""
        shape = np.broadcast_shapes(times_s.shape, found.shape)
        low = np.full(shape, -1)
        high = np.full(shape, most_come + 1)
        while int((high - low).max()) > 1:
            middle = (low + high) // 2
            in_time = self._needed_s(found, middle) <= times_s
            done = high - low <= 1
            low = np.where(in_time & ~done, middle, low)
            high = np.where(in_time | done, high, middle)
        return low

    def _needed_s(self, found: Floats, come: NDArray[np.intp]) -> Floats:
        """For the later tokens of a request that found so many others, while so many come."""
        among = np.minimum(1.0 + (found + come) / 2.0, self.most)
        alone_s = self.rounds * np.interp(among, self.sequences, self.rounds_s)
        usual_s = self.later_tokens * self._tpot_s(among)
        # A request meets as many prompts as are in flight with it, on average.
        met = np.minimum(1.0, come / among)
        more = np.maximum(0.0, come - among)
        return np.asarray((1.0 - met) * alone_s + met * usual_s + more * self.felt_s)

    def _request_later_than(self, times_s: Floats) -> Floats:
        """Of a whole request, shape (times,)."""
        late, typical = self._others_later_than, self._typical_s("tpot_s")
        ends = np.array([_quantile(late, typical, one) for one in (0.001, 0.999)])
        grid = np.linspace(0.98 * ends[0], 1.02 * ends[1], 2 * POINTS)
        shares = -np.diff(late(grid), prepend=1.0, append=0.0)
        middles = np.concatenate([grid[:1], (grid[1:] + grid[:-1]) / 2, grid[-1:]])
        left = times_s[:, None] - middles
        first = self._first_later_than(left.ravel()).reshape(left.shape)
        return np.asarray(first @ shares)


def _poisson_at_most(expected: Floats, most: int) -> Floats:
    """Probability that at most 0, 1, …, `most` come, shape (expected, most + 1)."""
    counts = np.arange(most + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.maximum(1, counts[1:])))])
    logs = counts * np.log(np.maximum(expected, 1e-300))[:, None] - expected[:, None] - factorials
    return np.minimum(1.0, np.cumsum(np.exp(logs), axis=1))


def _quantile(late: Callable[[Floats], Floats], typical_s: float, probability: float) -> float:
    """The time that a share of all stays within, of a distribution asked for at many times at
    once."""
    low, high = 0.0, max(typical_s, 1e-12)
    while float(late(np.array([high]))[0]) > 1.0 - probability:
        low, high = high, 2.0 * high
    for _ in range(NARROWED):
        times = np.linspace(low, high, POINTS)
        place = int(np.argmax(late(times) <= 1.0 - probability))
        low, high = float(times[max(0, place - 1)]), float(times[place])
    return high
