"""Micro-batches and prompts in a pipeline, event by event; shares nothing with the package.

Stages work on what reaches them first, one thing after the other, and never stop in the middle. A
micro-batch that leaves the last stage begins again at the first, as long as any of its sequences
has tokens to make. Where a request ends, another takes its place at once: its prompt goes through
all stages in chunks, one behind the other, and it joins the same micro-batch at the next turn.
"""

import heapq
import itertools
import random
from dataclasses import dataclass, field


@dataclass
class Loop:
    """A pipeline under a constant number of requests."""

    decode_s: list[float]
    """Of one micro-batch, stage by stage."""
    chunk_s: list[float]
    """Of one chunk of a prompt, stage by stage."""
    micro_batches: int
    each: int
    """Sequences in a micro-batch."""
    tokens: int
    """Later tokens of a request, on average: from half as many to half as many more."""
    chunks: int
    dice: random.Random
    free_s: list[float] = field(default_factory=list)
    """When each stage has done all that has reached it."""
    left: list[dict[int, int]] = field(default_factory=list)
    """Tokens to come of the sequences that decode, by micro-batch."""
    joining: list[list[int]] = field(default_factory=list)
    ended: int = 0
    spent_s: float = 0.0
    """On later tokens, by all requests that ended."""
    made: int = 0

    def token_s(self, requests: int) -> float:
        """Mean time between the later tokens of a request, over so many requests, the first of
        them left out."""
        self.free_s = [0.0] * len(self.decode_s)
        every = range(self.each)
        self.left = [{one: self._length(1) for one in every} for _ in range(self.micro_batches)]
        self.joining = [[] for _ in range(self.micro_batches)]
        began: dict[tuple[int, int], tuple[float, int]] = {}
        numbers = itertools.count()
        coming = [(0.0, next(numbers), 0, batch, -1, 0) for batch in range(self.micro_batches)]
        warm = requests // 4
        while self.ended < requests:
            now, _, stage, batch, sequence, chunk = heapq.heappop(coming)
            if stage < len(self.free_s):
                work = self.decode_s[stage] if sequence < 0 else self.chunk_s[stage]
                self.free_s[stage] = max(now, self.free_s[stage]) + work
                nxt = (self.free_s[stage], next(numbers), stage + 1, batch, sequence, chunk)
                heapq.heappush(coming, nxt)
                continue

            decoding = self.left[batch]
            if sequence >= 0:
                if chunk < self.chunks - 1:
                    continue
                self.joining[batch].append(sequence)
                if decoding:
                    continue
            else:
                for one in [one for one in decoding if decoding[one] == 1]:
                    del decoding[one]
                    self._end(now, began.pop((batch, one), None), warm)
                    for part in range(self.chunks):
                        heapq.heappush(coming, (now, next(numbers), 0, batch, one, part))
                for one in decoding:
                    decoding[one] -= 1
            for one in self.joining[batch]:
                decoding[one] = self._length(self.tokens // 2)
                began[batch, one] = now, decoding[one]
            self.joining[batch].clear()
            if decoding:
                heapq.heappush(coming, (now, next(numbers), 0, batch, -1, 0))
        return self.spent_s / self.made

    def _length(self, least: int) -> int:
        return self.dice.randint(least, self.tokens + self.tokens // 2)

    def _end(self, now: float, began: tuple[float, int] | None, warm: int) -> None:
        self.ended += 1
        if began is not None and self.ended > warm:
            self.spent_s += now - began[0]
            self.made += began[1]
