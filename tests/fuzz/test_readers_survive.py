"""Every reader of files survives files that were tampered with; and the runner would notice one
that does not."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from random import Random

import pytest

from planner.errors import InputError, PlannerError
from tests.fuzz.careless import WAYS
from tests.fuzz.chains import LINKS, laid_out, packed, tampered_chain
from tests.fuzz.headers import likely_numbers, tampered_bytes
from tests.fuzz.readers import READERS
from tests.fuzz.running import MOST_DEATHS, draw_of, survive, survive_together
from tests.fuzz.tables import table_of, tampered_csv, tampered_toml, written_table
from tests.fuzz.trees import Object, Raw, parsed, slots_of, tampered_json, tampered_tree, written
from tests.fuzz.words import tampered_words
from tests.lanes import mostly_slow, some, spread

CASES = some(80, 200)
FEW = some(15, 30)
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
    for path in spread(paths, min(8, len(paths))):
        refusal = ""
        try:
            READERS[name].call(path)
        except InputError as error:
            refusal = str(error)
        # What this computer lacks, or must not do now, is no fault of a command line.
        assert not refusal or re.search("install the extra|nothing is (measured|served)", refusal)


@pytest.mark.slow
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
def test_a_careless_reader_among_others_is_noticed_by_its_name():
    names = ("refuses", "raises", "dies")
    tallies = survive_together(names, cases=4, seed=1, table="tests.fuzz.careless")
    assert not tallies["refuses"].faults
    assert "KeyError left it" in tallies["raises"].faults[0].what
    assert "ended with status -9" in tallies["dies"].faults[0].what
    shutil.rmtree(Path(tallies["dies"].faults[0].file).parent)


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


@pytest.mark.slow
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


def test_a_table_is_written_as_it_was():
    text = b'a = 1\nb = [1, 2.5, "x"]\n[c]\nd = true\n[[e]]\nf = 1979-05-27\n[[e]]\n"g h" = {i = "j"}\n'
    made = written_table(table_of(text)).encode()
    assert tomllib.loads(made.decode()) == tomllib.loads(text.decode())
    assert table_of(made) == table_of(text)


@pytest.mark.slow
def test_tampered_tables_have_paths_units_and_values_of_other_kinds():
    held = b'a = "450 GB/s"\nb = {c = 1}\nd = [1, 2]\n'
    made = [tampered_toml(held, Random(number), [held]) for number in range(2000)]
    for part in (b"/etc/passwd", b"5e-324", b"450 GB/s", b"1979-05-27", b"GB/s", b"[[[["):
        assert any(part in one for one in made), part
    # Other figures under the same units, so that a reader comes further.
    assert sum(bool(re.search(rb'"a" = "[-\d.e+]+ GB/s"', one)) for one in made) > 400


@pytest.mark.slow
def test_tampered_rows_lose_columns_and_gain_cells():
    held = b"a,b,c\n1,2,3\n4,5,6\n"
    made = [tampered_csv(held, Random(number)) for number in range(500)]
    headers = {one.partition(b"\n")[0] for one in made}
    assert {b"a,b", b"a,c", b"b,c"} <= headers
    assert any(one.count(b"\n") > 50 for one in made)


def test_files_of_a_chain_are_lost_swapped_linked_and_name_each_other(tmp_path):
    held = packed({"a.toml": 'x = "b.toml"\n', "b.toml": "y = 1\n"}).encode()
    made = [json.loads(tampered_chain(held, Random(number))) for number in range(400)]
    assert any("b.toml" not in one for one in made)
    assert any(one.get("a.toml") == one.get("b.toml") for one in made)
    assert any(LINKS in one for one in made)
    path = tmp_path / "case"
    path.write_bytes(held)
    with laid_out(path) as folder:
        assert sorted(one.name for one in folder.iterdir()) == ["a.toml", "b.toml"]
        assert (folder / "a.toml").read_text(encoding="utf-8") == 'x = "b.toml"\n'
    assert not folder.exists()
    renamed = [bytes.fromhex(one["a.toml"]) for one in made if "a.toml" in one]
    assert b'x = "a.toml"\n' in renamed
    assert b'x = "/etc/passwd"\n' in renamed


def test_command_lines_have_options_of_their_command_with_sound_and_absurd_values():
    held = b'["plan", "qwen3-0.6b", "gh200"]'
    made = [json.loads(tampered_words(held, Random(number), [held])) for number in range(1500)]
    words = [word for one in made for word in one]
    assert {"--batch", "--limit", "--seed", "--why", "--usable-memory"} <= set(words)
    assert {"nan", "max", "tpot_s=1s", "9" * 5000} <= set(words)
    assert not {"/etc/passwd", "--shipped"} & set(words)


@pytest.mark.slow
def test_a_refused_command_line_is_told_from_one_that_fails(tmp_path):
    path = tmp_path / "one.words"
    path.write_text('["plan", "no-such-model", "gh200"]', encoding="utf-8")
    with pytest.raises(PlannerError, match="no-such-model"):
        READERS["words"].call(path)
    path.write_text('["topologies", "--format", "json"]', encoding="utf-8")
    assert READERS["words"].call(path) == 0


def test_refusals_are_what_readers_raise():
    with pytest.raises(PlannerError):
        READERS["gguf"].call(Path(__file__))
