"""Rows of a sweep in an SQLite file, by key.

The file says by its application id that it is one of ours, which is looked at before anything is
changed. Each row has a digest: one that was damaged or edited is not believed, and is planned anew.
"""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from planner.errors import InputError, listed, shortened, told
from planner.studies.sweeps.cells import SweepRow

AT_ONCE = 500
"""Keys asked for in one statement."""
APPLICATION = 0x53505244
"""What the header of our files says in its field for that ("SPRD")."""
MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
APPLICATION_AT = 68
"""Where the header has the application id, of four bytes (sqlite.org/fileformat2.html)."""
LONGEST_ROW = 2**22
"""Bytes of one row; ours have a few thousand."""
AHEAD_S = 86_400.0
"""By how much another machine's clock may be ahead of ours."""
OWN = {"plans", "sweep"}
"""The table and the view of a file."""


class Kept(NamedTuple):
    """What a file has of the keys that it was asked for."""

    rows: dict[str, str]
    """As JSON, by key."""
    damaged: tuple[str, ...]
    """Keys of rows that are not as they were written."""
    oldest_s: float | None
    """When the first of the rows was written, seconds since 1970; None: none says."""


class Store:
    """A file of rows. What was kept is on the disk when `keep` returns, whatever kills the
    process, or the power, then."""

    def __init__(self, file: str | Path) -> None:
        self._file = file
        self._check_ours()
        with self._sentence():
            self._open = _opened(file)
        try:
            with self._sentence():
                self._set_up()
        except InputError:
            self._open.close()
            raise

    def _check_ours(self) -> None:
        """Refuse a file of somebody else's before anything in it is changed."""
        path = Path(self._file)
        try:
            if not path.exists():
                return
            if not path.is_file():
                raise self._refusal("it is not a regular file")
            with path.open("rb") as stream:
                header = stream.read(HEADER_BYTES)
        except (OSError, ValueError) as error:
            raise self._refusal(str(getattr(error, "strerror", None) or error)) from None
        if not header:
            return
        if not header.startswith(MAGIC):
            raise self._refusal("it is not a database of SQLite")
        application = int.from_bytes(header[APPLICATION_AT : APPLICATION_AT + 4], "big")
        if application == APPLICATION:
            return
        # Ours had no id once; then it holds our table and nothing else.
        found = self._names_in(path) if application == 0 else set()
        if not found or not found <= OWN:
            holds = f" with {listed(sorted(map(shortened, found - OWN))[:3])}" if found else ""
            raise self._refusal(f"it is another program's database{holds}")

    def _names_in(self, path: Path) -> set[str]:
        """Tables and views of a file, read without leaving a trace."""
        with self._sentence():
            where = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            with contextlib.closing(_opened(where, uri=True)) as reading:
                asked = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
                return {name for (name,) in reading.execute(asked)}

    def _set_up(self) -> None:
        # Before the journal changes, so that the header has it from the first page on.
        self._open.execute(f"PRAGMA application_id = {APPLICATION}")
        self._open.execute("PRAGMA journal_mode = WAL")
        self._open.execute("PRAGMA synchronous = FULL")
        self._open.execute(
            "CREATE TABLE IF NOT EXISTS plans"
            " (key TEXT PRIMARY KEY, row TEXT NOT NULL, digest TEXT, kept_s REAL)"
        )
        columns = ", ".join(
            f"json_extract(row, '$.{name}') AS {name}" for name in SweepRow.model_fields
        )
        self._open.execute("BEGIN IMMEDIATE")
        known = {row[1] for row in self._open.execute("PRAGMA table_info(plans)")}
        for name, kind in (("digest", "TEXT"), ("kept_s", "REAL")):
            if name not in known:  # written before rows had them
                self._open.execute(f"ALTER TABLE plans ADD COLUMN {name} {kind}")
        self._open.execute("DROP VIEW IF EXISTS sweep")
        self._open.execute(f"CREATE VIEW sweep AS SELECT {columns} FROM plans")
        self._open.execute("COMMIT")

    def known(self, keys: Iterable[str]) -> Kept:
        """What the file has of some keys."""
        wanted = list(keys)
        rows: dict[str, str] = {}
        damaged: list[str] = []
        times_s: list[float] = []
        with self._sentence():
            for start in range(0, len(wanted), AT_ONCE):
                some = wanted[start : start + AT_ONCE]
                marks = ", ".join("?" * len(some))
                asked = f"SELECT key, row, digest, kept_s FROM plans WHERE key IN ({marks})"
                for key, row, digest, kept_s in self._open.execute(asked, some):
                    if digest is not None and digest != _digest(key, row):
                        damaged.append(key)
                        continue
                    rows[key] = row
                    # Of a time that nobody can have written nothing is said.
                    if isinstance(kept_s, float) and 0 <= kept_s <= time.time() + AHEAD_S:
                        times_s.append(kept_s)
        return Kept(rows, tuple(damaged), min(times_s, default=None))

    def keep(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write keys and rows in one transaction."""
        now_s = time.time()
        signed = [(key, row, _digest(key, row), now_s) for key, row in rows]
        with self._sentence():
            self._open.execute("BEGIN IMMEDIATE")
            try:
                self._open.executemany(
                    "INSERT OR REPLACE INTO plans (key, row, digest, kept_s) VALUES (?, ?, ?, ?)",
                    signed,
                )
                self._open.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._open.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; it is whole without its companions then."""
        self._open.close()

    def _refusal(self, reason: str) -> InputError:
        return InputError(
            f"file {told(str(self._file), 200)} cannot hold a sweep ({reason});"
            " name another, or None"
        )

    @contextlib.contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if "malformed" in str(error) or "corrupt" in str(error):
                raise InputError(
                    f"file {told(str(self._file), 200)} is damaged ({shortened(str(error), 120)}); move"
                    " it away and sweep again, or save its rows with `sqlite3 FILE .recover`"
                ) from None
            raise self._refusal(shortened(str(error), 120)) from None
        except (sqlite3.Error, ValueError) as error:
            raise self._refusal(shortened(error, 100)) from None


def _opened(file: str | Path, *, uri: bool = False) -> sqlite3.Connection:
    """A file of which no row takes all memory."""
    made = sqlite3.connect(file, timeout=60, isolation_level=None, uri=uri)
    made.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_ROW)
    return made


def _digest(key: object, row: object) -> str:
    """Of a row under its key: what is edited, or put under another, has another."""
    return hashlib.sha256(f"{key}\0{row}".encode()).hexdigest()[:16]
