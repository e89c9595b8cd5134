import os
import shlex
import subprocess

import pytest

from planner.export.scripts import (
    Start,
    in_place_of,
    lines_of,
    node_address,
    one_line,
    quoted,
    script,
)

NASTY = "a b'c\"d$HOME`x`;!\\"


def start(*command: tuple[str, ...], environment=()) -> Start:
    return Start(0, 0, 0, environment, command)


@pytest.mark.parametrize("word", [NASTY, "$NODE_1;rm", "$HOME", "", "x*", "$NODE_0 "])
def test_a_word_reaches_the_program_as_it_is(word):
    assert shlex.split(quoted(word)) == [word]
    assert not quoted(word).startswith('"')


def test_addresses_alone_are_filled_in_by_the_shell():
    made = script(
        ["It says\nsomething."], [start(("printf", "%s\\n"), ("http://$NODE_0:80", NASTY))]
    )
    ran = subprocess.run(
        ["bash", "-c", made],
        env={**os.environ, "NODE_0": "10.0.0.7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["http://10.0.0.7:80", NASTY]
    unset = subprocess.run(
        ["bash", "-c", made],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert unset.returncode
    assert "set NODE_0 to the address" in unset.stderr


def test_several_processes_run_side_by_side_with_their_own_variables():
    each = [
        start(("sh", "-c", "echo $GPU"), environment=(("GPU", name),)) for name in ("0,1", "2,3")
    ]
    ran = subprocess.run(
        ["bash", "-c", script([], each)], capture_output=True, text=True, check=True
    )
    assert sorted(ran.stdout.split()) == ["0,1", "2,3"]


def test_a_command_is_the_same_on_one_line_and_on_many():
    one = start(("serve", "m"), ("--flag", NASTY), environment=(("A", "1"),))
    assert shlex.split(" ".join(lines_of(one)).replace("\\ ", " ")) == [
        "A=1",
        *shlex.split(one_line(one.command)),
    ]
    assert one_line(in_place_of(one)).startswith("env A=1 serve m --flag ")


def test_one_node_is_its_own_address():
    assert node_address(0, 1) == "127.0.0.1"
    assert node_address(1, 2) == "$NODE_1"
