"""Tests of the mirror of wires: bytes by who takes them in, counted by hand."""

from types import SimpleNamespace

import numpy as np

from planner.running.wires import Wires, bytes_of


class Tensor:
    """As much of a tensor as wires ask for."""

    def __init__(self, *shape):
        self.values = np.zeros(shape, dtype=np.float32)

    def numel(self):
        return self.values.size

    def element_size(self):
        return self.values.itemsize

    def contiguous(self):
        return self


class Work:
    def __init__(self):
        self.waited = False

    def is_completed(self):
        return self.waited

    def wait(self):
        self.waited = True


def silent():
    """A library whose messages arrive at once."""
    nothing = lambda *_, **__: None  # noqa: E731
    works = []

    def isend(*_):
        works.append(Work())
        return works[-1]

    return SimpleNamespace(
        all_reduce=nothing, all_gather=nothing, recv=nothing, isend=isend, works=works
    )


def test_what_a_rank_takes_in_is_counted():
    torch = SimpleNamespace(empty_like=lambda one: one, cat=lambda parts, dim: parts)
    wires = Wires(silent(), None, 4)
    assert bytes_of(Tensor(3, 5)) == 60
    wires.add_up(Tensor(3, 5))
    assert len(wires.gather(Tensor(10), torch)) == 4
    wires.receive(Tensor(7), 0)
    wires.receive(Tensor(2), 0, of_tokens=True)
    moved, of_tokens, _ = wires.taken()
    assert (moved, of_tokens) == (60 + 3 * 40 + 28, 8)
    assert wires.taken() == (0, 0, 0)


def test_a_rank_alone_sends_nothing():
    wires = Wires(None, None, 1)
    tensor = Tensor(3)
    assert wires.add_up(tensor) is tensor
    assert wires.gather(tensor, None) is tensor
    assert wires.taken()[0] == 0


def test_what_was_sent_is_kept_until_it_has_gone():
    library = silent()
    wires = Wires(library, None, 1)
    wires.send(Tensor(3), 1)
    wires.send(Tensor(3), 1)
    wires.finish()
    assert [work.waited for work in library.works] == [True, True]
    assert wires.taken()[0] == 0  # counted where it is taken in
