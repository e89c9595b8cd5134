"""Every reader of files survives files that were tampered with; and the runner would notice one
that does not."""

import shutil
import sys
from pathlib import Path
from random import Random

import pytest

from planner.errors import PlannerError
from tests.fuzz.careless import WAYS
from tests.fuzz.headers import likely_numbers, tampered_bytes
from tests.fuzz.readers import READERS
from tests.fuzz.running import MOST_DEATHS, draw_of, survive, survive_together
from tests.fuzz.trees import Object, Raw, parsed, slots_of, tampered_json, tampered_tree, written
from tests.lanes import mostly_slow

CASES = 200
FEW = 30
SEED = 20260
OF_NOUNS = (
    "topologies", "clusters", "stacks", "launches", "answers", "plans", "certificates", "operators",
    "measurements", "claims", "sweeps", "databases", "words",
)  # fmt: skip
"""Readers of what is small, and refused soon."""
LONG = ("words", "answers")
"""Whose seeds take long to make, or to read."""
ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="limits are told by Linux's own files"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in READERS if name not in OF_NOUNS])
def test_a_reader_refuses_what_it_cannot_read(name):
    cases = CASES * READERS[name].formats
    tally = survive(name, cases=cases, seed=SEED)
    assert not tally.faults, f"seed {SEED}: {tally.faults}"
    assert tally.read + tally.refused == cases
    # Files that all pass, or that all fail at their first byte, try nothing.
    assert tally.read >= cases // 20
    assert tally.refused >= cases // 5


@pytest.mark.slow
def test_readers_of_nouns_and_command_lines_refuse_what_they_cannot_read():
    """A few of each, in one process: `make fuzz` tries many."""
    tallies = survive_together(OF_NOUNS, cases=FEW, seed=SEED)
    assert {name: tally.faults for name, tally in tallies.items() if tally.faults} == {}
    for name, tally in tallies.items():
        assert tally.read + tally.refused == FEW, name
        assert tally.read >= FEW // 20, name
        assert tally.refused >= FEW // 5, name


@pytest.mark.parametrize(
    "name", mostly_slow(READERS, but=tuple(name for name in READERS if name not in LONG))
)
def test_good_files_are_read(name, tmp_path):
    paths = READERS[name].seeds(tmp_path)
    assert all(path.stat().st_size < 10**5 for path in paths)
    for path in paths:
        READERS[name].call(path)


@pytest.mark.parametrize("name", READERS)
def test_a_case_is_the_same_every_time_and_unlike_the_next(name, tmp_path):
    reader = READERS[name]
    path = reader.seeds(tmp_path)[0]
    held = path.read_bytes()
    made = [
        [reader.tampered(path, held, draw_of(1, name, case), [held]) for case in range(20)]
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) > 10
    assert sum(one != held for one in made[0]) > 10


@pytest.mark.slow
@ON_LINUX
@pytest.mark.parametrize("name", WAYS)
def test_a_careless_reader_is_noticed(name):
    cases = {"works": 1, "works on": 1, "dies": 2}.get(name, 4)
    tally = survive(name, cases=cases, seed=1, table="tests.fuzz.careless")
    assert tally.faults
    for fault in tally.faults:
        assert WAYS[name][1] in fault.what, fault.what
        assert Path(fault.file).is_file()
        assert 0 <= fault.case < cases
        Path(fault.file).unlink()
    Path(tally.faults[0].file).parent.rmdir()


@pytest.mark.slow
@ON_LINUX
def test_a_reader_that_dies_every_time_is_given_up():
    tally = survive("dies", cases=10**6, seed=1, table="tests.fuzz.careless")
    assert len(tally.faults) == MOST_DEATHS
    shutil.rmtree(Path(tally.faults[0].file).parent)


@pytest.mark.slow
def test_a_reader_that_refuses_is_in_its_right():
    tally = survive("refuses", cases=50, seed=1, table="tests.fuzz.careless")
    assert not tally.faults
    assert tally.refused > 30


def test_a_case_can_be_run_again_alone():
    draws = [draw_of(3, "gguf", case).random() for case in (5, 6, 5)]
    assert draws[0] == draws[2] != draws[1]


def test_trees_are_written_as_they_were():
    text = '{"a": 1, "a": [true, null, {"b": "c"}], "d": 1.5}'
    tree = parsed(text)
    assert [name for name, _ in tree] == ["a", "a", "d"]
    assert written(tree).replace(" ", "") == text.replace(" ", "")
    assert len(slots_of(tree)) == 7
    assert written(Object([("x", Raw("NaN"))])) == '{"x":NaN}'


def test_tampering_leaves_the_seed_as_it_was():
    tree = parsed('{"a": {"b": [1, 2, 3]}, "c": "d"}')
    before = written(tree)
    made = {written(tampered_tree(tree, Random(number), [tree])) for number in range(200)}
    assert written(tree) == before
    assert len(made) > 100


def test_tampered_json_has_doubled_names_deep_nesting_and_cut_ends():
    held = b'{"a": {"b": [1, 2, 3]}, "c": 4}'
    made = [tampered_json(held, Random(number), [held]) for number in range(3000)]
    assert any(one.count(b'"c"') > 1 for one in made)
    assert any(b"[[[[[" in one for one in made)
    assert any(b"NaN" in one for one in made)
    assert any(len(one) > 10**5 for one in made)
    assert any(not one.rstrip().endswith(b"}") for one in made)


def test_numbers_that_may_be_lengths_are_found():
    held = b"\xff" * 8 + (9).to_bytes(8, "little") + b"\xff" * 8
    assert (8, 8) in likely_numbers(held)
    made = [tampered_bytes(held, Random(number)) for number in range(500)]
    assert any(int.from_bytes(one[8:16], "little") == 2**60 for one in made)
    assert any(len(one) < len(held) for one in made)
    assert any(len(one) > len(held) for one in made)


def test_refusals_are_what_readers_raise():
    with pytest.raises(PlannerError):
        READERS["gguf"].call(Path(__file__))
