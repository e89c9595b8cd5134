"""What is tried on files that were tampered with: alone here, so that a process that runs a case
imports of the product no more than the case does.

A file whose name ends in `.json` is tampered with as JSON, any other as bytes with lengths and
counts in them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.fuzz.headers import tampered_bytes
from tests.fuzz.trees import tampered_json

Tamper = Callable[[bytes, Random, Sequence[bytes]], bytes]


class Reader(NamedTuple):
    """What reads files of one kind."""

    name: str
    seeds: Callable[[Path], list[Path]]
    """Writes good files into a folder, and says which of them are tampered with in turn."""
    call: Callable[[Path], Any]
    """Reads one; what leaves it must be a `PlannerError`."""
    tamper: Tamper | None = None
    """Bytes of a seed, what to draw from, and the other seeds → bytes of a case."""
    formats: int = 1
    """That it reads; of each as many files are tried."""
    most_cpu_s: float = 1.0
    """That a case may take."""
    takes: int = 1
    """How many times as long as others a case takes: so many times fewer are tried by default."""

    def tampered(self, path: Path, held: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
        """A case made from a seed."""
        usual = tampered_json if path.suffix == ".json" else tampered_bytes
        return (self.tamper or usual)(held, draw, others)
