"""The hub's cache on this machine: found where the hub's library puts it, never fetched."""

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.hub_cache import cache_folder, cached_snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def fetched(cache, *, commit=COMMIT, name="models--org--name"):
    """As the hub's library lays a model out: files are links into the folder of blobs."""
    folder = cache / name
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit, encoding="utf-8")
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "blobs").mkdir()
    (folder / "blobs" / "abc").write_text("{}", encoding="utf-8")
    (snapshot / "config.json").symlink_to(Path("../../blobs/abc"))
    return snapshot


def test_a_model_that_was_fetched_is_found(cache):
    snapshot = fetched(cache)
    assert cached_snapshot("org/name") == snapshot
    assert (cached_snapshot("org/name") / "config.json").read_text(encoding="utf-8") == "{}"


def test_one_that_was_not_is_none(cache):
    assert cached_snapshot("org/name") is None
    snapshot = fetched(cache)
    assert cached_snapshot("org/other") is None
    (snapshot / "config.json").unlink()
    snapshot.rmdir()
    assert cached_snapshot("org/name") is None


@pytest.mark.parametrize(
    "name",
    ["name", "a/b/c", "../x", "org/..", "org/a..b", "/x", "org/", "org/a b", "org/a--b", "org/a\0b",
     "org/.hidden", "org/name.", "org\\x/y", "o/" + "n" * 97, "", "org/é"],
)  # fmt: skip
def test_what_is_no_name_of_the_hub_is_refused(cache, name):
    with pytest.raises(InputError, match="is not the name of a model on the hub"):
        cached_snapshot(name)


@pytest.mark.parametrize("commit", ["../../elsewhere", "main", "", "0" * 1000])
def test_a_reference_that_leads_elsewhere_is_refused(cache, commit):
    fetched(cache, commit=commit)
    with pytest.raises(InputError, match="must name a commit"):
        cached_snapshot("org/name")


def test_the_cache_is_where_the_variables_say(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HOME", str(cache))
    assert cache_folder() == cache / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "x"))
    assert cache_folder() == cache / "x" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", "~/h")
    assert cache_folder() == cache / "h" / "hub"
