"""Rows of a sweep in an SQLite file, by key."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from planner.errors import InputError, shortened, told
from planner.studies.sweeps.cells import SweepRow

AT_ONCE = 500
"""Keys asked for in one statement."""


class Store:
    """A file of rows. What was kept is on the disk when `keep` returns, whatever kills the
    process, or the power, then."""

    def __init__(self, file: str | Path) -> None:
        self._file = file
        with self._sentence():
            self._open = sqlite3.connect(file, timeout=60, isolation_level=None)
        try:
            with self._sentence():
                self._set_up()
        except InputError:
            self._open.close()
            raise

    def _set_up(self) -> None:
        self._open.execute("PRAGMA journal_mode = WAL")
        self._open.execute("PRAGMA synchronous = FULL")
        self._open.execute(
            "CREATE TABLE IF NOT EXISTS plans (key TEXT PRIMARY KEY, row TEXT NOT NULL)"
        )
        columns = ", ".join(
            f"json_extract(row, '$.{name}') AS {name}" for name in SweepRow.model_fields
        )
        for statement in (
            "BEGIN IMMEDIATE",
            "DROP VIEW IF EXISTS sweep",
            f"CREATE VIEW sweep AS SELECT {columns} FROM plans",
        ):
            self._open.execute(statement)
        self._open.execute("COMMIT")

    def known(self, keys: Iterable[str]) -> dict[str, str]:
        """The rows, as JSON, of those keys that the file has."""
        wanted = list(keys)
        found: dict[str, str] = {}
        with self._sentence():
            for start in range(0, len(wanted), AT_ONCE):
                some = wanted[start : start + AT_ONCE]
                marks = ", ".join("?" * len(some))
                found.update(
                    self._open.execute(f"SELECT key, row FROM plans WHERE key IN ({marks})", some)
                )
        return found

    def keep(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write keys and rows in one transaction."""
        with self._sentence():
            self._open.execute("BEGIN IMMEDIATE")
            self._open.executemany("INSERT OR REPLACE INTO plans VALUES (?, ?)", rows)
            self._open.execute("COMMIT")

    def close(self) -> None:
        """Close the file; it is whole without its companions then."""
        self._open.close()

    @contextlib.contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise InputError(
                f"file {told(str(self._file), 200)} cannot hold a sweep ({shortened(error, 100)}); name another, or None"
            ) from None
