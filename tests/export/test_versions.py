import pytest

from planner.errors import InputError
from planner.export.versions import KNOWN, number_of, release_of


def test_versions_stand_in_order():
    for releases in KNOWN.values():
        numbers = [number_of(one.version) for one in releases]
        assert numbers == sorted(numbers)
        assert all(one.source for one in releases)


def test_a_version_has_the_options_of_the_nearest_older_one():
    assert release_of("sglang", None).release.version == "0.5.23"
    old = release_of("sglang", "v0.5.9")
    assert old.release.attention_ranks == "--dp-size"
    assert old.notes == ()
    newer = release_of("vllm", "0.40.1")
    assert newer.release.version == "0.32"
    assert "whether 0.40.1 still has all of them" in newer.notes[0]
    assert release_of("vllm", "0.32.1").notes == ()
    assert release_of("llama.cpp", "b8123").release.drafted == "--draft-max"


@pytest.mark.parametrize(
    ("version", "words"), [("0.6.2", "older than 0.12"), ("new", "must have a number")]
)
def test_other_versions_are_refused(version, words):
    with pytest.raises(InputError, match=words):
        release_of("vllm", version)
