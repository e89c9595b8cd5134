"""Files of sweeps that were tampered with: by their bytes, and through SQL, as whoever has SQLite at
hand may do it."""

import contextlib
import functools
import sqlite3
import tempfile
from pathlib import Path

from planner.studies import Cell, Sweep, sweep
from planner.workload import Workload
from tests.fuzz.headers import tampered_bytes
from tests.instances import tiny_graph, tiny_topology

COUNT = 6
"""Cells of the sweep, of which each file has some."""
STATEMENTS = (
    "DELETE FROM plans",
    "DELETE FROM plans WHERE rowid = {n}",
    "UPDATE plans SET row = replace(row, '0.', '1.') WHERE rowid = {n}",
    "UPDATE plans SET row = (SELECT row FROM plans WHERE rowid = {m}) WHERE rowid = {n}",
    "UPDATE plans SET row = '{{}}' WHERE rowid = {n}",
    "UPDATE plans SET row = x'00ff' WHERE rowid = {n}",
    "UPDATE plans SET row = 17 WHERE rowid = {n}",
    "UPDATE plans SET row = hex(randomblob(100000)) WHERE rowid = {n}",
    "UPDATE plans SET row = zeroblob(50000000) WHERE rowid = {n}",
    "UPDATE plans SET row = printf('%.*c', 2000000, '[') WHERE rowid = {n}",
    "UPDATE plans SET digest = 'no digest' WHERE rowid = {n}",
    "UPDATE plans SET digest = 3.5",
    "UPDATE plans SET digest = x'00'",
    "UPDATE plans SET kept_s = 'yesterday'",
    "UPDATE plans SET kept_s = -1e300",
    "UPDATE plans SET kept_s = 9e999",
    "UPDATE plans SET kept_s = NULL",
    "UPDATE OR REPLACE plans SET key = 'x' WHERE rowid = {n}",
    "UPDATE OR REPLACE plans SET key = x'00' WHERE rowid = {n}",
    "ALTER TABLE plans DROP COLUMN kept_s",
    "ALTER TABLE plans RENAME COLUMN row TO other",
    "ALTER TABLE plans ADD COLUMN extra TEXT NOT NULL DEFAULT 'x'",
    "ALTER TABLE plans RENAME TO other",
    "DROP TABLE plans",
    "DROP VIEW sweep",
    "DROP VIEW sweep; CREATE TABLE sweep (x)",
    "DROP TABLE plans; CREATE VIEW plans AS SELECT 1 AS key, 2 AS row, 3 AS digest, 4 AS kept_s",
    "CREATE TABLE accounts (name TEXT)",
    "CREATE TRIGGER t BEFORE INSERT ON plans BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE TRIGGER t AFTER INSERT ON plans BEGIN DELETE FROM plans; END",
    "CREATE TRIGGER t AFTER INSERT ON plans BEGIN SELECT RAISE(ROLLBACK, '\x1b[31mred'); END",
    "CREATE UNIQUE INDEX one ON plans ((1))",
    "PRAGMA application_id = 0",
    "PRAGMA application_id = 42",
    "PRAGMA user_version = 99",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'nonsense'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 2",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 1 WHERE name = 'plans'",
    "PRAGMA encoding = 'UTF-16le'; VACUUM",
    "PRAGMA auto_vacuum = FULL; PRAGMA page_size = 512; VACUUM",
)  # fmt: skip


@functools.cache
def cells() -> tuple[Cell, ...]:
    """Plans of a millisecond each."""
    machine = tiny_topology(2)
    return tuple(
        Cell(tiny_graph(2), machine, Workload(prompt_tokens=100 + n, output_tokens=8))
        for n in range(COUNT)
    )


@functools.cache
def truth() -> str:
    """The table of the sweep, whatever a file says."""
    return table_of(sweep(cells=cells(), file=None, progress=False))


def table_of(made: Sweep) -> str:
    """Rows as text; of times there are none in them."""
    return made.to_json(indent=None)


def database_files(folder: Path) -> list[Path]:
    """A file of all rows, one of half of them, and one of none."""
    paths = []
    for count in (COUNT, COUNT // 2, 0):
        path = folder / f"{count}.sqlite"
        sweep(cells=cells()[:count] or cells()[:1], file=path, progress=False)
        if not count:
            with contextlib.closing(sqlite3.connect(path)) as base:
                base.execute("DELETE FROM plans")
                base.commit()
        paths.append(path)
    return paths


def tampered_database(held, draw, others=()):
    """Statements that whoever has the file may run, or other bytes."""
    if draw.random() < 0.4:
        return _with_other_bytes(held, draw)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.sqlite"
        path.write_bytes(held)
        for _ in range(draw.choice([1, 1, 2, 4])):
            wanted = draw.choice(STATEMENTS).format(
                n=draw.randint(1, COUNT), m=draw.randint(1, COUNT)
            )
            with (
                contextlib.closing(sqlite3.connect(path)) as base,
                contextlib.suppress(sqlite3.Error),
            ):
                base.executescript(wanted)
        made = path.read_bytes()
    return _with_other_bytes(made, draw) if draw.random() < 0.1 else made


def _with_other_bytes(held, draw):
    """Anywhere in the file, or in its header; or a part of it alone."""
    if draw.random() < 0.3:
        return tampered_bytes(held, draw)
    made = bytearray(held)
    for _ in range(draw.choice([1, 4, 40])):
        at = draw.randrange(len(made))
        made[at] = draw.randrange(256)
    if draw.random() < 0.15:
        page = 4096 * draw.randrange(max(1, len(made) // 4096))
        made[page : page + 4096] = bytes(4096) if draw.random() < 0.5 else draw.randbytes(4096)
    return bytes(made[: draw.randrange(len(made))] if draw.random() < 0.1 else made)


def read_database(path: Path) -> str:
    """The sweep goes on with the file, and ends with the right table."""
    try:
        made = table_of(sweep(cells=cells(), file=path, progress=False, processes=1))
    finally:
        for end in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    assert made == truth(), "the file was believed where it is wrong"
    return made
