"""Opening files: every fault is one sentence that names the file."""

import json
import os
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.files import (
    CONFIG_BYTES,
    MOST_BYTES,
    MOST_VALUES,
    plain_file,
    read_json,
    read_text,
    read_toml,
)


def refusal(read, path):
    with pytest.raises(InputError) as refused:
        read(path, "a thing")
    sentence = str(refused.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def file_of(folder, content):
    path = folder / "thing"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_text_comes_back_as_it_was_written(tmp_path):
    assert read_text(file_of(tmp_path, "µs and 10⁹"), "a thing") == "µs and 10⁹"


def test_a_file_that_is_missing_says_so(tmp_path):
    assert "cannot be read: No such file" in refusal(read_text, tmp_path / "nowhere" / "thing")


def test_a_path_through_a_file_says_so(tmp_path):
    assert "cannot be read: Not a directory" in refusal(read_text, file_of(tmp_path, "") / "thing")


def test_a_folder_is_no_file(tmp_path):
    assert "is a folder; a thing must be a file" in refusal(read_text, tmp_path)


def test_bytes_that_are_not_utf_8_are_no_text(tmp_path):
    assert "is not text; a thing must be UTF-8" in refusal(
        read_text, file_of(tmp_path, "é".encode("latin-1"))
    )


def test_a_file_larger_than_any_description_is_not_opened(tmp_path):
    path = file_of(tmp_path, "{}")
    with path.open("r+b") as stream:
        stream.truncate(MOST_BYTES + 1)
    assert "has 4 MiB; a thing has at most 4" in refusal(read_text, path)


def test_a_file_of_just_the_most_bytes_is_opened(tmp_path):
    path = file_of(tmp_path, "")
    with path.open("r+b") as stream:
        stream.truncate(MOST_BYTES)
    assert len(read_text(path, "a thing")) == MOST_BYTES


def test_a_path_with_a_null_byte_is_refused(tmp_path):
    with pytest.raises(InputError, match="null byte"):
        read_text(tmp_path / "a\0b", "a thing")


def test_a_json_object_comes_back(tmp_path):
    fields = {"a": [1, 2.5, None], "b": {"c": "µ"}}
    assert read_json(file_of(tmp_path, json.dumps(fields)), "a thing") == fields


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: Expecting value"),
        ('{\n "a": 1,\n "b', "line 3: Unterminated string"),
        ('{"a": 1} x', "line 1: Extra data"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_json_says_where_it_breaks(tmp_path, text, said):
    sentence = refusal(read_json, file_of(tmp_path, text))
    assert "is not valid JSON" in sentence
    assert said in sentence


@pytest.mark.parametrize(
    ("text", "kind"), [("[1]", "list"), ('"a"', "str"), ("1", "int"), ("null", "NoneType")]
)
def test_json_that_is_no_object_says_what_it_is(tmp_path, text, kind):
    assert f"must hold a JSON object; it holds {kind}" in refusal(
        read_json, file_of(tmp_path, text)
    )


def test_a_toml_table_comes_back(tmp_path):
    assert read_toml(file_of(tmp_path, "a = 1\n[b]\nc = 'd'\n"), "a thing") == {
        "a": 1,
        "b": {"c": "d"},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 'b", "at end of document"),
        ("a = 1\na = 2\n", "line 2"),
        ("[a]\nb = 1\n[a]\nc = 2\n", "line 3"),
        ("a = " + "[" * 100_000, ""),
    ],
)
def test_broken_toml_says_where_it_breaks(tmp_path, text, said):
    sentence = refusal(read_toml, file_of(tmp_path, text))
    assert "is not valid TOML" in sentence
    assert said in sentence


@pytest.mark.parametrize(("read", "text"), [(read_json, '{"a": %s}'), (read_toml, "a = %s")])
def test_a_number_of_thousands_of_digits_is_refused(tmp_path, read, text):
    refusal(read, file_of(tmp_path, text % ("9" * 5000)))


def test_a_pipe_or_a_device_is_refused_before_it_is_read(tmp_path):
    pipe = tmp_path / "thing"
    os.mkfifo(pipe)  # nobody writes to it: opening it to read would wait
    for read in (read_text, read_json, read_toml):
        assert "is a pipe or a device; a thing must be a file" in refusal(read, pipe)
        assert "is a pipe or a device" in refusal(read, Path("/dev/zero"))


def test_a_reader_may_want_less_than_the_most_bytes(tmp_path):
    path = file_of(tmp_path, "{" + " " * (CONFIG_BYTES - 2) + "}")
    assert read_json(path, "a thing", most_bytes=CONFIG_BYTES) == {}
    path = file_of(tmp_path, "{" + " " * (CONFIG_BYTES - 1) + "}")
    with pytest.raises(InputError, match="has 8 MiB; a thing has at most 8"):
        read_json(path, "a thing", most_bytes=CONFIG_BYTES)


def test_more_values_than_any_description_are_not_parsed(tmp_path):
    path = file_of(tmp_path, '{"a": [' + "[]," * MOST_VALUES + "[]]}")
    assert "values; at most 524288 are read" in refusal(read_json, path)


def test_objects_may_be_made_into_something_else(tmp_path):
    path = file_of(tmp_path, '{"a": {"b": 1, "b": 2}}')
    made = read_json(path, "a thing", paired=lambda pairs: {name: str(v) for name, v in pairs})
    assert made == {"a": "{'b': '2'}"}


@pytest.mark.parametrize("name", ["a", "a-1_b.safetensors", "A+b.c"])
def test_a_plain_name_is_one(name):
    assert plain_file(name, Path("here")) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/b", "/a", "a\\b", "a\0", ".a", "-a", "a\n", 3, None, "a" * 256],
)
def test_a_name_that_leads_elsewhere_is_none(name):
    with pytest.raises(InputError, match=r"here names the file .* must be a plain name"):
        plain_file(name, Path("here"))
