"""The file of a sweep."""

import contextlib
import sqlite3

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
        assert len(store.known(key for key, _ in many)) == 1200
        assert store.known(["k7", "no"]) == {"k7": '{"model": "x"}'}


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
