"""The file of a sweep."""

import contextlib
import sqlite3
import tracemalloc

import pytest

from planner.errors import InputError
from planner.studies.sweeps.store import Store


@pytest.fixture
def file(tmp_path):
    return tmp_path / "plans.sqlite"


def test_rows_come_back_by_key(file):
    many = [(f"k{number}", "{}") for number in range(1200)]
    with contextlib.closing(Store(file)) as store:
        store.keep(many)
        store.keep([("k7", '{"model": "x"}')])
    with contextlib.closing(Store(file)) as store:
        assert len(store.known(key for key, _ in many).rows) == 1200
        assert store.known(["k7", "no"]).rows == {"k7": '{"model": "x"}'}


def test_others_read_along_in_columns(file):
    with contextlib.closing(Store(file)) as store:
        store.keep([("k", '{"model": "x", "tpot_s": 0.5}')])
        with contextlib.closing(sqlite3.connect(file)) as other:
            assert other.execute("SELECT model, tpot_s FROM sweep").fetchall() == [("x", 0.5)]


def test_a_file_closed_is_a_single_file(file):
    with contextlib.closing(Store(file)) as store:
        store.keep([("k", "{}")])
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_of_another_kind_is_refused(file):
    file.write_text("no database, but long enough to be read as one" * 20)
    with pytest.raises(InputError, match=r"plans.sqlite.*name another"):
        Store(file)
    with pytest.raises(InputError, match="name another"):
        Store(file.parent / "no" / "folder.sqlite")


def test_a_database_of_another_program_is_left_as_it_was(file):
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE accounts (name TEXT)")
        other.execute("CREATE VIEW sweep AS SELECT name FROM accounts")
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"another program's database with accounts.*name another"):
        Store(file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_file_written_before_rows_had_digests_goes_on(file):
    with contextlib.closing(sqlite3.connect(file)) as old:
        old.execute("CREATE TABLE plans (key TEXT PRIMARY KEY, row TEXT NOT NULL)")
        old.execute("INSERT INTO plans VALUES ('k', '{}')")
        old.commit()
    with contextlib.closing(Store(file)) as store:
        store.keep([("l", "{}")])
        found = store.known(["k", "l"])
    assert set(found.rows) == {"k", "l"}
    assert found.oldest_s is not None


@pytest.mark.parametrize("change", ["row = '{\"tpot_s\": 1}'", "key = 'l'"])
def test_a_row_that_was_edited_or_moved_is_not_believed(file, change):
    with contextlib.closing(Store(file)) as store:
        store.keep([("k", "{}")])
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute(f"UPDATE plans SET {change}")
        other.commit()
    with contextlib.closing(Store(file)) as store:
        found = store.known(["k", "l"])
    assert found.rows == {}
    assert len(found.damaged) == 1


def test_a_file_with_damaged_pages_is_told_with_a_remedy(file):
    with contextlib.closing(Store(file)) as store:
        store.keep([(f"k{number}", "x" * 500) for number in range(200)])
    held = bytearray(file.read_bytes())
    held[4096 * 3 :] = b"\xff" * (len(held) - 4096 * 3)
    file.write_bytes(held)
    with (
        pytest.raises(InputError, match=r"is damaged .*sweep again, or save its rows"),
        contextlib.closing(Store(file)) as store,
    ):
        store.known([f"k{number}" for number in range(200)])


def test_a_damaged_statement_of_any_length_is_told_in_a_line(file):
    with contextlib.closing(Store(file)) as store:
        store.keep([("k", "{}")])
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA writable_schema = ON")
        other.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'sweep'", ("[" + "x" * 3000,))
        other.commit()
    with pytest.raises(InputError, match=r"is damaged .*sweep again") as caught:
        Store(file)
    assert len(str(caught.value)) < 300 + len(str(file))


@pytest.mark.parametrize("kept_s", ["9e999", "-1e300", "1e20", "-1.0", "'yesterday'", "NULL"])
def test_a_time_that_nobody_can_have_written_is_not_told(file, kept_s):
    with contextlib.closing(Store(file)) as store:
        store.keep([("k", "{}")])
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute(f"UPDATE plans SET kept_s = {kept_s}")
        other.commit()
    with contextlib.closing(Store(file)) as store:
        assert store.known(["k"]).oldest_s is None


@pytest.mark.slow
def test_a_row_of_many_megabytes_is_refused_before_it_is_read(file):
    with contextlib.closing(Store(file)) as store:
        store.keep([("k", "{}")])
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("UPDATE plans SET row = zeroblob(50000000)")
        other.commit()
    tracemalloc.start()
    with contextlib.closing(Store(file)) as store, pytest.raises(InputError, match="too big"):
        store.known(["k"])
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
