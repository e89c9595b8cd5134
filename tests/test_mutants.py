"""Mutants are sampled alike each time, and found again in the source."""

import json
from pathlib import Path

import pytest

from benchmarks import mutants
from benchmarks.mutants import ROOT, Mutant, described, first_line, sampled

COLLECTIVES = Path("planner/cost/collectives.py")
LABELS = Path("planner/solver/chain/labels.py")


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "collectives.py.meta"
    codes = {f"planner.cost.collectives.x_send_s__mutmut_{number}": None for number in range(40)}
    path.write_text(json.dumps({"exit_code_by_key": codes}), encoding="utf-8")
    return path


def test_a_sample_is_the_same_each_time_and_another_for_another_seed(note):
    first = sampled(note, 10, 0)
    assert len(set(first)) == 10
    assert sampled(note, 10, 0) == first
    assert sampled(note, 10, 1) != first


def test_of_few_mutants_all_are_taken(note):
    assert len(sampled(note, 1000, 0)) == 40


@pytest.mark.parametrize(
    ("name", "path", "begins"),
    [
        ("planner.cost.collectives.x_steps_of_tree__mutmut_3", COLLECTIVES, "def steps_of_tree("),
        ("planner.solver.chain.labels.x__slack__mutmut_1", LABELS, "def _slack("),
        ("planner.solver.chain.labels.xǁ_Searchǁ_best_of__mutmut_12", LABELS, "    def _best_of("),
    ],
)
def test_a_mutant_is_found_in_the_function_that_it_changes(name, path, begins):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert lines[first_line(Mutant(name, path, 0)) - 1].startswith(begins)


def test_a_mutant_is_described_by_its_line_and_what_changed_there(monkeypatch, tmp_path):
    shown = """# planner.cost.collectives.x_steps_of_tree__mutmut_3: survived
--- planner/cost/collectives.py
+++ planner/cost/collectives.py
@@ -1,3 +1,3 @@
 def steps_of_tree(ranks: int) -> int:
     \"\"\"Depth of a binary tree of so many ranks.\"\"\"
-    return math.ceil(math.log2(ranks)) if ranks > 1 else 0
+    return math.ceil(math.log2(ranks)) if ranks > 2 else 0
"""
    monkeypatch.setattr(mutants, "_mutmut", lambda *_: shown)
    said = described(
        tmp_path, Mutant("planner.cost.collectives.x_steps_of_tree__mutmut_3", COLLECTIVES, 0)
    )
    where, removed, added = said.splitlines()
    number = int(where.split(":")[1].split()[0])
    assert (ROOT / COLLECTIVES).read_text(encoding="utf-8").splitlines()[
        number - 1
    ] == removed.strip()[1:]
    assert "ranks > 2" in added


@pytest.mark.parametrize(
    ("code", "fate"), [(0, "survived"), (1, "killed"), (36, "killed"), (33, "unseen")]
)
def test_tests_that_fail_or_hang_kill_a_mutant_and_tests_that_pass_do_not(code, fate):
    assert Mutant("any", COLLECTIVES, code).fate == fate
