"""Messages between ranks over gloo, each counted where it is sent.

Bytes are counted as `Score.traffic` counts them, by who takes them in: of an all-reduce the tensor
once for each rank, of a gather all but the rank's own share, of a hand-over from stage to stage the
tensor. Between two ranks that is what goes over the wire; among more, a ring moves up to twice as
much of an all-reduce.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Wires:
    """What one rank sends and receives; counts since it was last asked."""

    def __init__(self, distributed: Any, group: Any, ranks: int) -> None:
        self.distributed = distributed
        self.group = group
        """Of the rank's stage."""
        self.ranks = ranks
        """In that group."""
        self.moved_bytes = 0.0
        self.token_bytes = 0.0
        self.cpu_s = 0.0
        self._under_way: list[tuple[Any, Any]] = []

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.cpu_s += time.process_time() - begun

    def add_up(self, tensor: Any) -> Any:
        """The sum over the ranks of the stage, in place."""
        if self.ranks == 1:
            return tensor
        with self._timed():
            tensor = tensor.contiguous()
            self.distributed.all_reduce(tensor, group=self.group)
        self.moved_bytes += bytes_of(tensor)
        return tensor

    def gather(self, tensor: Any, torch: Any) -> Any:
        """Everyone's columns side by side, on every rank of the stage."""
        if self.ranks == 1:
            return tensor
        with self._timed():
            parts = [torch.empty_like(tensor) for _ in range(self.ranks)]
            self.distributed.all_gather(parts, tensor.contiguous(), group=self.group)
        self.moved_bytes += (self.ranks - 1) * bytes_of(tensor)
        return torch.cat(parts, dim=-1)

    def send(self, tensor: Any, rank: int) -> None:
        """Start to hand a tensor on; it is kept until it has gone."""
        with self._timed():
            tensor = tensor.contiguous()
            work = self.distributed.isend(tensor, rank)
        self._under_way = [pair for pair in self._under_way if not pair[0].is_completed()]
        self._under_way.append((work, tensor))

    def receive(self, tensor: Any, rank: int, *, of_tokens: bool = False) -> Any:
        """Wait for a tensor from another stage."""
        with self._timed():
            self.distributed.recv(tensor, rank)
        if of_tokens:
            self.token_bytes += bytes_of(tensor)
        else:
            self.moved_bytes += bytes_of(tensor)
        return tensor

    def finish(self) -> None:
        """Wait until all that was sent has gone."""
        for work, _ in self._under_way:
            work.wait()
        self._under_way = []

    def taken(self) -> tuple[float, float, float]:
        """Bytes of tensors, bytes of tokens and CPU seconds since the last time."""
        counted = self.moved_bytes, self.token_bytes, self.cpu_s
        self.moved_bytes = self.token_bytes = self.cpu_s = 0.0
        return counted


def bytes_of(tensor: Any) -> float:
    """Of its values. [B]"""
    return float(tensor.numel() * tensor.element_size())
