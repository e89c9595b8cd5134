"""What a file may name."""

import pytest

from planner.errors import InputError
from planner.readers.naming import with_names


def test_names_of_the_catalogue_are_left_as_they_are(tmp_path):
    fields = {
        "software": "llama.cpp",
        "collectives_of": ["nccl", "custom"],
        "topologies": ["hgx-h100:8", "Groq LPU chain"],
        "models": ["llama-3.1-8b", "meta-llama/Llama-3.1-8B"],
        "pool": [{"topology": "hgx-h100", "chips": 8}],
        "title": "../anything/else",
    }
    assert with_names(fields, tmp_path) == fields


def test_paths_below_the_folder_are_made_whole(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model").mkdir()
    fields = {
        "kernels_of": "own/stack.toml",
        "topologies": ["own/machine.toml:8"],
        "model": "own/model",
        "pool": [{"topology": {"software": "stack.toml"}}],
    }
    assert with_names(fields, tmp_path) == {
        "kernels_of": str(tmp_path / "own" / "stack.toml"),
        "topologies": [str(tmp_path / "own" / "machine.toml") + ":8"],
        "model": str(tmp_path / "own" / "model"),
        "pool": [{"topology": {"software": str(tmp_path / "stack.toml")}}],
    }


@pytest.mark.parametrize(
    "name", ["/dev/zero", "../a.toml", "a/../../b.toml", "a\0/b.toml", "link.toml", "round.toml"]
)
@pytest.mark.parametrize("key", ["software", "topology", "model", "kernels_of"])
def test_ways_out_of_the_folder_are_refused(tmp_path, key, name):
    (tmp_path / "link.toml").symlink_to("/etc/hostname")
    (tmp_path / "round.toml").symlink_to("round.toml")
    with pytest.raises(InputError, match=f"{key} is .*a path below the folder of the file"):
        with_names({key: name}, tmp_path)


def test_what_is_no_text_is_left_to_the_reader(tmp_path):
    fields = {"software": 3, "models": [None], "collectives_of": "nccl"}
    assert with_names(fields, tmp_path) == fields
