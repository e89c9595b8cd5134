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

import bisect
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
POINTS = 33
"""Times at which a distribution is asked for at once, to find a percentile."""
NARROWED = 7
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
    packs: int
    """Prompts that one pass takes, where so many wait."""
    packed_s: float
    """Work of a prompt that is added to a pass of others, likewise; the same where none is."""
    ranks: int
    """That share out the sequences and each run prompts of their own, while all others wait; 1
    where they hold prompts back, to run them side by side."""
    interruption_share: float
    """Of the time that prompts of others take, what later tokens lose."""
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
    full_cycle_s: float | None = None
    """That it stays among as many as fit; None: as between the numbers at which it is known."""

    @cached_property
    def most_requests_per_s(self) -> float:
        """That it can serve, with as many sequences in flight as fit."""
        prompts = 1.0 / self.prompt_s if self.prompt_s else math.inf
        full_s = self.full_cycle_s or float(self._cycle_s(np.array(float(self.most))))
        return min(self.most / full_s, prompts)

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
        times = ("prompt_s", "packed_s", "first_s", "felt_s")
        ladders = ("rounds_s", "tpots_s", "cycles_s")
        longer = {name: factor * getattr(self, name) for name in times}
        longer |= {name: tuple(factor * one for one in getattr(self, name)) for name in ladders}
        if self.full_cycle_s is not None:
            longer["full_cycle_s"] = factor * self.full_cycle_s
        return self.replace(**longer)

    def with_places(self, most: int, *, at_best: bool = False) -> Self:
        """The same replica with fewer places; `at_best`: that serves as if all stayed only as long
        as the next fewer do of which that is known."""
        known = bisect.bisect_right(self.sequences, most) - 1
        return self.replace(most=most, full_cycle_s=self.cycles_s[known] if at_best else None)

    # ── Asked about ──────────────────────────────────────────────────────────────────────────

    def percentile(self, field: str, probability: float) -> float:
        """What a request's time stays within, with that probability; see `Score.percentile`. [s]"""
        refuse(field, probability, self.scattered)
        if self._overloaded:
            return math.inf
        if field == "ttft_s":
            typical = float(self._cases.ready_s @ WEIGHTS) + self.prompt_s
            return _quantile(self._first_later_than, typical, probability)
        ends = self._ends
        if field == "request_s":
            return _weighted_quantile(ends.request_s, ends.shares, probability)
        return _weighted_quantile(ends.later_s, ends.shares, probability) / self.later_tokens

    def late_fraction(self, field: str, limit_s: float) -> float:
        """Share of the requests whose time is longer than a limit. [1]"""
        if self._overloaded:
            return 1.0
        if field == "ttft_s":
            return float(self._first_later_than(np.array([limit_s]))[0])
        ends = self._ends
        if field == "request_s":
            return float(ends.shares @ (ends.request_s > limit_s))
        return float(ends.shares @ (ends.later_s > limit_s * self.later_tokens))

    def is_late(self, field: str, limit_s: float, share: float) -> bool:
        """Whether more than a share of the requests takes longer than a limit, as `late_fraction`
        says; mostly told by the least that they may take, which is found much sooner."""
        if field != "ttft_s" and not self._overloaded and self.later_tokens:
            for least_s in (self._least_later_s, self._least_caught_up_s):
                if field == "request_s":
                    taken_s = self._cases.ready_s + self._cases.waited_s + least_s()
                    late = float(WEIGHTS @ (taken_s > limit_s))
                else:
                    late = float(WEIGHTS @ (least_s() > limit_s * self.later_tokens))
                if late > share:
                    return True
        return self.late_fraction(field, limit_s) > share

    # ── Those in flight ──────────────────────────────────────────────────────────────────────

    def _cycle_s(self, among: Floats) -> Floats:
        return np.interp(among, self.sequences, self.cycles_s)

    @cached_property
    def _stays_s(self) -> Floats:
        """That one is in an engine's way among 1, 2, …, most, shape (most,): its own prompt, and
        its later tokens with the prompts of the others; in a decode pool, all the time that its
        place is taken."""
        counts = np.arange(1.0, self.most + 1.0)
        if not self.prompt_s:
            return np.asarray(self._cycle_s(counts))
        others = counts - 1.0
        return self.prompt_s + self._needed_s(others, others)

    @cached_property
    def _places_load(self) -> float:
        """Of the places, those that are taken on average."""
        return self.requests_per_s * float(self._stays_s[-1]) / self.most

    @property
    def _overloaded(self) -> bool:
        packed = self.requests_per_s * self.packed_s
        return max(self.load_fraction, self._places_load, packed) >= 1.0

    @cached_property
    def _shares(self) -> Floats:
        """Probability of 0, 1, … others in flight, the last with those who wait for a place,
        shape (most + 1,)."""
        shares = queueing.in_flight_fraction(self._stays_s, self.requests_per_s)
        # Of those that wait each further one is as much less likely.
        shares[-1] /= 1.0 - self._places_load
        return np.asarray(shares / shares.sum())

    @property
    def full_fraction(self) -> float:
        """Share of requests that find no place free."""
        return float(self._shares[-1])

    @property
    def mean_sequences(self) -> float:
        """In flight on average, one at least."""
        return max(1.0, float(self._shares @ np.arange(self.most + 1)))

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
    def _place_s(self) -> float:
        """Mean wait of who finds no place free."""
        stays_s = float(self._stays_s[-1])
        return queueing.place_queue_s(self.most, self._places_load, stays_s)

    # ── First tokens ─────────────────────────────────────────────────────────────────────────

    @cached_property
    def _cases(self) -> "_Cases":
        """Requests that stand for all, at fixed places in each distribution, so that all that
        happens to each only grows."""
        found = np.searchsorted(np.cumsum(self._shares), CROWDS).clip(0, self.most)
        full = found >= self.most
        round_s = np.where(found > 0, np.interp(found, self.sequences, self.rounds_s), 0.0)
        turn_s = 2.0 * self.turn_share * TURNS * round_s
        queue_s = self._packed * queueing.waited_s(WAITS, self.prompt_s, self._queued_per_s)
        busy, pass_s = self._passing
        queue_s = np.maximum(queue_s, pass_s * np.clip(1.0 - (1.0 - WAITS) / busy, 0.0, 1.0))
        place_s = np.where(full, -np.log1p(-WAITS) * self._place_s, 0.0)
        return _Cases(
            found=found.astype(float),
            full=full,
            ready_s=self.first_s + self.handed_rounds * round_s,
            turn_s=turn_s,
            # A place is free when a round ends, and prompts start as places are free.
            waited_s=np.maximum(turn_s + queue_s, place_s),
        )

    @property
    def _packed(self) -> float:
        """By how much longer prompts wait where those that wait share a pass: each is done when
        all of them are, those that came behind it too."""
        load = self.requests_per_s * self.packed_s
        return 1.0 + self._together * load / (1.0 + load)

    @property
    def _queued_per_s(self) -> float:
        """Prompts that wait for others, had each a pass of its own."""
        return self.requests_per_s * self.packed_s / self.prompt_s if self.prompt_s else 0.0

    @property
    def _passing(self) -> tuple[float, float]:
        """Share of the time in which ranks run prompts, and how long each pass of those is: the
        next follows at once where any came meanwhile, to whatever rank."""
        pass_s = self.ranks * self.prompt_s
        # In a decode pool nobody runs prompts.
        if self.ranks == 1 or not self.prompt_s:
            return 1e-300, pass_s
        # As many as 1 / P(none comes during one) follow one another.
        each = min(700.0, self.requests_per_s * pass_s)
        return 1.0 / (1.0 + math.exp(-each) / each), pass_s

    @property
    def _together(self) -> float:
        """Of prompts in a pass that is full, those beside any one."""
        return 1.0 - 1.0 / self.packs

    def _first_later_than(self, times_s: Floats) -> Floats:
        """Share of first tokens, shape (times,)."""
        cases = self._cases
        left = times_s[:, None] - cases.ready_s
        in_turn = left - cases.turn_s
        if not self.prompt_s:
            return np.asarray((in_turn < 0) @ WEIGHTS)
        longer = queueing.waits_longer_fraction(
            in_turn / self._packed, self.prompt_s, self._queued_per_s
        )
        busy, pass_s = self._passing
        longer = np.maximum(longer, busy * np.clip(1.0 - in_turn / pass_s, 0.0, 1.0))
        held_up = np.exp(-np.maximum(left, 0.0) / self._place_s)
        longer = np.where(cases.full, np.maximum(longer, held_up), longer)
        return np.asarray(longer @ WEIGHTS)

    # ── Later tokens ─────────────────────────────────────────────────────────────────────────

    @cached_property
    def _ends(self) -> "_Ends":
        """When requests have their last tokens.

        One has them as soon as there was time for all that came until then: those before whose
        prompts it waited are done, and whoever came later holds it up, as prompts come first.
        """
        cases = self._cases
        found, behind_s = self._caught_up_among
        counts, later_s, within = self._caught_up(found, behind_s)
        shares = WEIGHTS[:, None] * np.diff(within, prepend=0.0, axis=1)
        # Where not all counts are told apart, those between two of them.
        between_s = (later_s[:, :-1] + later_s[:, 1:]) / 2.0
        later_s[:, 1:] = np.where(np.diff(counts) > 1, between_s, later_s[:, 1:])
        first_s = cases.ready_s + cases.waited_s
        return _Ends(shares.ravel(), later_s.ravel(), (first_s[:, None] + later_s).ravel())

    @cached_property
    def _caught_up_among(self) -> tuple[Floats, Floats]:
        """Others in flight that requests have their later tokens among, and for how long those
        came before, shapes (cases,)."""
        cases = self._cases
        # Who came before the pass of a prompt may share it, and holds it up no more.
        behind_s = (1.0 - self._together / 2.0) * cases.waited_s + self.prompt_s
        # Where tokens are made while prompts are under way, some of those are not done at last.
        behind_s /= 4.0 - 3.0 * self.interruption_share
        # As many are there at first as at last, for who joins after one is who was before it; and
        # more of both where prompts wait long.
        counts, _, within = self._caught_up(cases.found, behind_s)
        likely = np.cumsum(WEIGHTS @ np.diff(within, prepend=0.0, axis=1))
        joined = counts[np.searchsorted(likely, WAITS).clip(0, len(likely) - 1)]
        return np.maximum(cases.found, np.minimum(joined, self.most - 1.0)), behind_s

    def _least_later_s(self) -> Floats:
        """What the later tokens of each case take at least: nobody comes meanwhile, and a round
        takes the least that it does among so many or more, shape (cases,)."""
        least_s = np.minimum.accumulate(np.array(self.rounds_s)[::-1])[::-1]
        others = np.minimum(self._cases.found, self.most - 1)
        among = np.minimum(1.0 + others / 2.0, self.most)
        return self.rounds * np.asarray(np.interp(among, self.sequences, least_s))

    def _least_caught_up_s(self) -> Floats:
        """The same among all who are there at last, shape (cases,)."""
        found, _ = self._caught_up_among
        return self._needed_s(found, np.zeros(1))

    def _caught_up(self, found: Floats, behind_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Numbers that may come, shape (counts,); what the later tokens take while so many do, and
        how likely no more come, shapes (cases, counts); those who came in `behind_s` before, shape
        (cases,), count too."""
        most_s = behind_s.max() + self._needed_s(found.max(), COUNTS)
        expected = self.requests_per_s * most_s
        ample = (expected + 8.0 * np.sqrt(expected) + 12.0 <= COUNTS) | (2 * self.most <= COUNTS)
        counts = COUNTS[: int(np.argmax(ample)) + 1 if ample.any() else len(COUNTS)]
        later_s = np.maximum.accumulate(self._needed_s(found[:, None], counts), axis=1)
        expected = self.requests_per_s * (behind_s[:, None] + later_s)
        within = queueing.caught_up_fraction(expected, counts)
        within[:, -1] = 1.0
        return counts, later_s, within

    def _needed_s(self, found: Floats, come: Floats) -> Floats:
        """For the later tokens of a request that found so many others, while so many come.

        Of those in flight at first all are gone at last, and all who come are there still, for
        requests are of one size: on average it is half of both. No more than there are places
        join those in flight before it is gone.
        """
        others, join = np.minimum(found, self.most - 1), np.minimum(come, self.most - 1)
        among = np.minimum(1.0 + (others + come) / 2.0, self.most)
        alone_s = self.rounds * np.interp(among, self.sequences, self.rounds_s)
        usual_s = self.later_tokens * np.interp(among, self.sequences, self.tpots_s)
        # A request meets as many prompts as are in flight with it, on average.
        met = np.minimum(1.0, join / among)
        more = np.maximum(0.0, join - among)
        needed_s = (1.0 - met) * alone_s + met * usual_s + more * self.felt_s
        if self.interruption_share == 1.0:
            return np.asarray(needed_s)
        # Tokens are made while prompts are under way, however many those are.
        return np.asarray(np.minimum(needed_s, alone_s / (1.0 - self.interruption_share)))


class Spread(Record):
    """A time that is the sum of one that is always the same and of two that are anything up to
    their widths."""

    least_s: float
    one_s: float = 0.0
    other_s: float = 0.0

    @classmethod
    def of(cls, least_s: float, *parts: tuple[float, float]) -> Self:
        """With up to two parts, each between two times, whichever is longer."""
        widths = [abs(high - low) for low, high in parts] + [0.0, 0.0]
        least = least_s + sum(min(part) for part in parts)
        return cls(least_s=least, one_s=widths[0], other_s=widths[1])

    def percentile(self, probability: float) -> float:
        """What it stays within. [s]"""
        beyond = queueing.trapezoid_s(probability, self.one_s, self.other_s)
        return self.least_s + float(beyond)

    def late_fraction(self, limit_s: float) -> float:
        """How often it is longer than a limit. [1]"""
        # A time that is just the limit keeps it, whatever was rounded.
        left_s = limit_s * (1.0 + 1e-12) - self.least_s
        return float(queueing.trapezoid_longer_fraction(left_s, self.one_s, self.other_s))

    def slower(self, factor: float) -> Self:
        """So many times as long."""
        fields = {name: factor * getattr(self, name) for name in type(self).model_fields}
        return self.replace(**fields)


class Loop(Record):
    """A replica under a number of clients, each of whom sends the next request when the last is
    done. Two things scatter: the moment of a round of decode passes at which a request comes, and
    how many prompts of others stand before its own where clients start together; the rest of those
    come between its later tokens."""

    ttft_s: Spread
    tpot_s: Spread
    request_s: Spread
    scattered: tuple[str, ...] = SCATTERED
    """Fields with percentiles (see `Load.scattered`)."""

    def percentile(self, field: str, probability: float) -> float:
        """What a request's time stays within, with that probability; see `Score.percentile`. [s]"""
        refuse(field, probability, self.scattered)
        return self._spread(field).percentile(probability)

    def late_fraction(self, field: str, limit_s: float) -> float:
        """Share of the requests whose time is longer than a limit. [1]"""
        return self._spread(field).late_fraction(limit_s)

    def is_late(self, field: str, limit_s: float, share: float) -> bool:
        """Whether more than a share of the requests takes longer than a limit."""
        return self.late_fraction(field, limit_s) > share

    def slower(self, factor: float) -> Self:
        """The same clients at a replica whose every time is so many times as long."""
        fields = {name: getattr(self, name).slower(factor) for name in SCATTERED}
        return self.replace(**fields)

    def _spread(self, field: str) -> Spread:
        spread: Spread = getattr(self, field)
        return spread


def refuse(field: str, probability: float, scattered: tuple[str, ...]) -> None:
    """An InputError where a percentile makes no sense."""
    if field not in SCATTERED:
        raise UnknownNameError("time with percentiles", field, SCATTERED)
    if not 0 < probability < 1:
        raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
    if field not in scattered:
        raise InputError(
            f"{field} has no percentiles in a pool of one phase only; ask for {scattered[0]}"
        )


class _Cases(NamedTuple):
    """Requests that stand for all, shape (cases,)."""

    found: Floats
    """Others in flight; as many as there are places: it waits for one."""
    full: NDArray[np.bool_]
    ready_s: Floats
    """To the first token but for all waiting."""
    turn_s: Floats
    """Until a round ends."""
    waited_s: Floats
    """For that and for the prompts that stand before it, or for a place."""


class _Ends(NamedTuple):
    """What may happen to requests, shape (outcomes,)."""

    shares: Floats
    later_s: Floats
    request_s: Floats


def _lattice(cases: int, generator: int) -> tuple[Floats, ...]:
    """Places in four distributions, spread evenly in all at once, and the weight of each: in the
    first two more of them stand where little is left.

    A lattice of rank one: I. Sloan, S. Joe, "Lattice methods for multiple integration", 1994.
    """
    powers = np.array([pow(generator, power, cases) for power in range(3)])
    even = (np.arange(cases)[:, None] * powers % cases + 0.5) / cases
    crowds, waits, turns = even.T
    weights = (1.0 - crowds) * (1.0 - waits)
    return (
        1.0 - (1.0 - crowds) ** 2,
        1.0 - (1.0 - waits) ** 2,
        turns,
        weights / weights.sum(),
    )


CROWDS, WAITS, TURNS, WEIGHTS = _lattice(128, 37)
_FEW = np.arange(queueing.EXACT + 1.0)
_MANY = np.unique(np.round((np.arange(8, 1000) / 8.0) ** 2))
COUNTS = np.concatenate([_FEW, _MANY[len(_FEW) <= _MANY]])
"""Of requests that come: all of a few, and of many in steps of a quarter of what they scatter
by."""


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


def _weighted_quantile(values: Floats, shares: Floats, probability: float) -> float:
    """The least of some values that no more than the rest of the shares is beyond."""
    likely = shares > 0.0
    order = np.argsort(values[likely])
    within = np.cumsum(shares[likely][order])
    place = int(np.searchsorted(within, probability * within[-1]))
    return float(values[likely][order[min(place, len(order) - 1)]])
