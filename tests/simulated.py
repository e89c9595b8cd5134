"""A serving engine played through event by event; shares nothing with the package.

Requests of one size come as a Poisson stream, or from clients who each send the next one when the
last is done. The engine runs prompts first, one by one or packed, and else makes a token for
everybody in flight; where both share a pass, decoding goes on in a part of the prompts' time. Who
finds no place waits for one.
"""

import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Times = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Engine:
    """One replica."""

    pass_s: Callable[[int], float]
    """Of prompts, by how many take part on the fullest rank."""
    step_s: Callable[[int], float]
    """Of one token for so many sequences."""
    later_tokens: int
    places: int
    interruption_share: float = 1.0
    """Of the time of prompts, what decoding loses."""
    packs: int = 1
    """Prompts that one pass takes on each rank."""
    ranks: int = 1
    """That share out the sequences, and wait for one another in every pass."""
    overhead_s: float = 0.0
    handed_rounds: float = 0.0
    """Before a first token, where others are in flight."""


def streamed(engine: Engine, requests_per_s: float, requests: int, seed: int = 1) -> Times:
    """Times of requests that come as a Poisson stream, the first tenth of them left out."""
    dice = random.Random(seed)
    comes_s = list(itertools.accumulate(dice.expovariate(requests_per_s) for _ in range(requests)))
    return _Play(engine).through(comes_s, clients=None)


def looped(engine: Engine, clients: int, requests: int, apart_s: float = 0.0) -> Times:
    """The same of clients who send a request when their last is done, and who start one after the
    other in so long a while, or all at once."""
    starts_s = [apart_s * number / clients for number in range(clients)]
    return _Play(engine).through(starts_s, clients=requests)


@dataclass
class _Play:
    engine: Engine
    clock: float = 0.0
    credit: float = 0.0
    """Decoding done during prompts, towards the next token."""
    rounds: int = 0
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    """When each came, and to which rank."""
    running: deque[tuple[int, float, float, float, int]] = field(default_factory=deque)
    """Round of the last token, when it came, first token, how long tokens take to it, rank; who began first ends first."""
    on_rank: list[int] = field(default_factory=list)
    done: list[tuple[float, float, float]] = field(default_factory=list)

    def through(self, comes_s: list[float], clients: int | None) -> Times:
        engine, coming = self.engine, deque(comes_s)
        self.on_rank = [0] * engine.ranks
        wanted = len(comes_s) if clients is None else clients
        while len(self.done) < wanted:
            while coming and coming[0] <= self.clock:
                self._take(coming.popleft())
            before = len(self.done)
            if self.waiting and len(self.running) < engine.places:
                self._prompts()
            elif self.running:
                self._decode(coming[0] if coming else None)
            else:
                self.clock = coming[0]
            if clients is not None:
                ended = len(self.done) - before
                coming = deque(sorted([*coming, *[self.clock] * ended])) if ended else coming
        kept = np.array(self.done[wanted // 10 :]).T
        return dict(zip(("ttft_s", "tpot_s", "request_s"), kept, strict=True))

    def _take(self, came: float) -> None:
        rank = min(range(self.engine.ranks), key=self.on_rank.__getitem__)
        self.on_rank[rank] += 1
        self.waiting.append((came, rank))

    def _prompts(self) -> None:
        """A pass of the prompts that have places, some on each rank."""
        engine = self.engine
        room, counts, taken = engine.places - len(self.running), [0] * engine.ranks, []
        left: deque[tuple[float, int]] = deque()
        while self.waiting:
            came, rank = self.waiting.popleft()
            if len(taken) < room and counts[rank] < engine.packs:
                counts[rank] += 1
                taken.append((came, rank))
            else:
                left.append((came, rank))
            if len(taken) == engine.ranks * engine.packs:
                break
        left.extend(self.waiting)
        self.waiting = left
        others = len(self.running)
        took_s = engine.pass_s(max(counts))
        self.clock += took_s
        if self.running:
            self._decoded(took_s)
        handed_s = engine.handed_rounds * engine.step_s(others) if others else 0.0
        for came, rank in taken:
            behind_s = engine.overhead_s + handed_s
            first = self.clock + behind_s
            if engine.later_tokens:
                last = self.rounds + engine.later_tokens
                self.running.append((last, came, first, behind_s, rank))
            else:
                self._end(came, first, first, rank)

    def _decoded(self, took_s: float) -> None:
        """What decoding gets done while prompts run, the last of which end now."""
        gained = 1.0 - self.engine.interruption_share
        now, made = self.clock, gained * took_s
        self.credit += made
        while self.running and self.credit >= (step := self.engine.step_s(len(self.running))):
            self.credit -= step
            self.rounds += 1
            self.clock = now - min(made, self.credit) / gained
            self._leave()
        self.clock = now
        if not self.running:
            self.credit = 0.0

    def _decode(self, coming: float | None) -> None:
        """Rounds until somebody ends or comes."""
        step = self.engine.step_s(len(self.running))
        rounds = self.running[0][0] - self.rounds
        if coming is not None and len(self.running) < self.engine.places:
            rounds = min(rounds, max(1, int((coming - self.clock + self.credit) // step) + 1))
        self.clock += rounds * step - self.credit
        self.credit = 0.0
        self.rounds += rounds
        self._leave()

    def _leave(self) -> None:
        while self.running and self.running[0][0] <= self.rounds:
            _, came, first, behind_s, rank = self.running.popleft()
            self._end(came, first, self.clock + behind_s, rank)

    def _end(self, came: float, first: float, last: float, rank: int) -> None:
        self.on_rank[rank] -= 1
        later = (last - first) / max(1, self.engine.later_tokens)
        self.done.append((first - came, later, last - came))
