"""`Keep`: jobs and results in an SQLite file, so that an answer outlives whoever gave it."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from planner.answers.results import Result
from planner.doors.answers import SoFar
from planner.errors import InputError, shortened
from planner.records import Record

APPLICATION = 0x53505245
"""What the header of our files says in its field for that ("SPRE")."""
MOST_KEPT = 1_000
"""Jobs; the oldest that are answered go first."""
LOST = "the server ended before this was answered; ask again"
TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, question TEXT, status TEXT,
  answer TEXT, error TEXT, code INTEGER, asked_at REAL, elapsed_s REAL);
CREATE TABLE IF NOT EXISTS results (handle TEXT PRIMARY KEY, number INTEGER, result TEXT);
"""

Status = Literal["waiting", "running", "done", "refused", "cancelled", "lost"]
OPEN = ("waiting", "running")


class Job(Record):
    """A question, and how far it is."""

    id: str
    """The handle of its answer, too."""
    kind: str
    """Which question: plan, size and so on."""
    status: Status
    """Refused: `error` says why. Lost: the server ended first."""
    question: dict[str, Any]
    ahead: int = 0
    """Questions that have their turn before it."""
    elapsed_s: float = 0.0
    """Since its turn came."""
    time_limit_s: float
    """After so long the best answer so far is given."""
    so_far: SoFar | None = None
    """Of a search under way, as far as it tells."""
    answer: dict[str, Any] | None = None
    error: str | None = None
    """In one sentence."""
    code: int | None = None
    """What HTTP calls such a refusal."""

    @property
    def is_open(self) -> bool:
        """Whether it may yet be answered."""
        return self.status in OPEN


class Keep:
    """A file of jobs. What was answered is on the disk when `end` returns."""

    def __init__(self, file: str | Path) -> None:
        self._lock = Lock()
        self._file = str(file)
        with self._sentence():
            if self._file != ":memory:":
                Path(self._file).parent.mkdir(parents=True, exist_ok=True)
            self._open = sqlite3.connect(
                self._file, timeout=0, check_same_thread=False, isolation_level=None
            )
        try:
            with self._sentence():
                self._set_up()
        except InputError:
            self._open.close()
            raise

    def _set_up(self) -> None:
        """Take the file for this server alone: another one's open jobs are not lost."""
        self._open.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._open.execute("BEGIN EXCLUSIVE")
        (application,) = self._open.execute("PRAGMA application_id").fetchone()
        (tables,) = self._open.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION:
            raise sqlite3.DatabaseError("it is a database of something else")
        self._open.execute(f"PRAGMA application_id = {APPLICATION}")
        self._open.execute("COMMIT")
        self._open.executescript(TABLES)
        self._open.execute(
            "UPDATE jobs SET status = 'lost', error = ?, code = 409 WHERE status IN (?, ?)",
            (LOST, *OPEN),
        )

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            reason = str(getattr(error, "strerror", None) or error)
            if "locked" in reason:
                reason = "another server has it"
            raise InputError(
                f"{shortened(self._file)!r} cannot keep answers: {reason}; name another file with"
                " --keep"
            ) from None

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._open.close()

    def add(self, kind: str, question: Record) -> int:
        """A new job, which waits; its number."""
        with self._lock:
            added = self._open.execute(
                "INSERT INTO jobs (kind, question, status, asked_at, elapsed_s)"
                " VALUES (?, ?, 'waiting', ?, 0)",
                (kind, question.to_json(indent=None), time.time()),
            )
            number = added.lastrowid
            assert number is not None
            self._forget_before(number - MOST_KEPT)
        return number

    def _forget_before(self, number: int) -> None:
        self._open.execute(
            "DELETE FROM jobs WHERE number <= ? AND status NOT IN (?, ?)", (number, *OPEN)
        )
        self._open.execute("DELETE FROM results WHERE number <= ?", (number,))

    def begin(self, number: int) -> None:
        """Its turn has come."""
        with self._lock:
            self._open.execute("UPDATE jobs SET status = 'running' WHERE number = ?", (number,))

    def end(
        self, number: int, answer: Record, results: Mapping[str, Result], elapsed_s: float
    ) -> None:
        """It is answered."""
        rows = [(handle, number, one.to_json(indent=None)) for handle, one in results.items()]
        with self._lock:
            self._open.execute("BEGIN")
            self._open.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)
            self._open.execute(
                "UPDATE jobs SET status = 'done', answer = ?, elapsed_s = ? WHERE number = ?",
                (answer.to_json(indent=None), elapsed_s, number),
            )
            self._open.execute("COMMIT")

    def refuse(
        self, number: int, status: Status, error: str, code: int, elapsed_s: float = 0.0
    ) -> None:
        """It has no answer, and why."""
        with self._lock:
            self._open.execute(
                "UPDATE jobs SET status = ?, error = ?, code = ?, elapsed_s = ? WHERE number = ?",
                (status, error, code, elapsed_s, number),
            )

    def job(self, number: int) -> Job | None:
        """A job by its number; None: there is none."""
        with self._lock:
            row = self._open.execute(
                "SELECT kind, question, status, answer, error, code, elapsed_s FROM jobs"
                " WHERE number = ?",
                (number,),
            ).fetchone()
        if row is None:
            return None
        kind, question, status, answer, error, code, elapsed_s = row
        asked = json.loads(question)
        return Job(
            id=f"a{number}",
            kind=kind,
            status=status,
            question=asked,
            elapsed_s=elapsed_s,
            time_limit_s=asked["time_limit_s"],
            answer=None if answer is None else json.loads(answer),
            error=error,
            code=code,
        )

    def result(self, handle: str) -> Result | None:
        """A result by its handle; None: there is none."""
        with self._lock:
            row = self._open.execute(
                "SELECT result FROM results WHERE handle = ?", (handle,)
            ).fetchone()
        return None if row is None else Result.from_json(row[0], edited=False)
