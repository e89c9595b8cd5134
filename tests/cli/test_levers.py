"""What figures do, from the command line."""

import pytest

from planner.cli.levers import _changes_of, _target_of
from planner.errors import InputError
from tests.terminal import refused

MODEL = ("qwen3-0.6b", "l4", "--chips", "1", "--prompt", "64", "--output", "8")
BANDWIDTH = "chip.memory[0].bandwidth_bytes_per_s"


def test_figures_are_changed_and_both_plans_told(run):
    answer = run("what-if", *MODEL, "--set", f"{BANDWIDTH}=x2", "--format", "json")
    (change,) = answer.fields["changes"]
    assert change == {"path": BANDWIDTH, "before": 300e9, "after": 600e9}
    rows = {row["field"]: row for row in answer.fields["rows"]}
    assert rows["tpot_s"]["after"] < rows["tpot_s"]["before"]
    assert answer.fields["before"]["objective"] == rows["tpot_s"]["before"]


def test_a_batch_may_be_what_changes(run):
    asked = ("what-if", *MODEL, "--set", "workload.batch_size=2", "--maximize", "tokens_per_s")
    fields = run(*asked, "--format", "json").fields
    assert fields["not_given"]["--batch"] == "8"
    assert fields["before"]["workload"]["batch_size"] == 8
    assert fields["after"]["workload"]["batch_size"] == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "Missing option '--set'"),
        (("--set", "chips"), "--set must look like chip.memory[0].bandwidth_bytes_per_s=x2"),
        (("--set", "chip.memori=x2"), "there is no figure called 'chip.memori'; the nearest"),
        (("--set", "chips=2.5"), "chips must be a whole number, not 2.5"),
        (("--set", "workload.batch_size=+4"), "must be a number, 'x2' or '+10 %', not '+4'"),
        (("--set", f"{BANDWIDTH}=fast"), "needs a number and a unit of bytes per second"),
        (("--set", f"{BANDWIDTH}=x2", "--sure", "0.8"), "--sure is for plan"),
        (("--set", f"{BANDWIDTH}=x2", "--exclude", "1"), "has chips 0 to 0; 1 is not one of them"),
    ],
)
def test_what_is_wrong_with_a_change_is_said(run, given, said):
    assert said in refused(run("what-if", *MODEL, *given), 2)


def test_changes_are_told_by_path():
    assert _changes_of(["a=1e3", "b = x2 "]) == {"a": "1e3", "b": "x2"}


def test_changes_are_tried_without_the_chips_that_are_gone(run):
    asked = ("what-if", "qwen3-0.6b", "hgx-h100", "--chips", "2", "--set", f"{BANDWIDTH}=x2")
    without = (*asked, "--exclude", "0", "--format", "json")
    rows = {row["field"]: row for row in run(*without).fields["rows"]}
    assert (rows["chips"]["before"], rows["chips"]["after"]) == (1, 1)


@pytest.mark.slow
def test_a_target_that_no_value_reaches_ends_with_status_3(run):
    asked = ("required", BANDWIDTH, *MODEL, "--target", "1 ns", "--between", "200 GB/s,400 GB/s")
    answer = run(*asked, "--processes", "1")
    assert answer.status == 3
    assert answer.out.startswith(f"no {BANDWIDTH} from 200 GB/s to 400 GB/s gives tpot_s")


@pytest.mark.slow
def test_what_a_figure_must_be_is_found(run):
    now = run("plan", *MODEL, "--format", "json").fields["objective"]
    asked = ("required", BANDWIDTH, *MODEL, "--target", f"{1e3 * now / 2} ms", "--processes", "1")
    answer = run(*asked, "--format", "json")
    assert answer.fields["outcome"] == "found"
    assert answer.fields["value"] > 300e9
    assert answer.fields["is_least"]
    assert "must be at least" in answer.fields["verdict"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--target", "5 kg"), "--target is measured in seconds"),
        (("--target", "hgx-h10"), "there is no topology called 'hgx-h10'"),
        (("--target", "5ms", "--between", "1 GB/s"), "--between must be two values"),
        (("--target", "5ms", "--price-basis", "node"), "--price-basis is not asked of required"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(run, given, said):
    assert said in refused(run("required", BANDWIDTH, *MODEL, *given), 2)


def test_a_target_is_a_figure_or_a_machine():
    assert _target_of("5ms", "tpot_s") == 0.005
    assert _target_of("hgx-h100", "tpot_s") == "hgx-h100"
    for wrong in ("-1", "nan"):
        with pytest.raises(InputError, match="--target is measured in seconds"):
            _target_of(wrong, "tpot_s")
    with pytest.raises(InputError, match=r"a figure of tpot_s or a machine .* no topology called"):
        _target_of("hgx-h10", "tpot_s")


@pytest.mark.slow
def test_plans_on_more_chips_stand_in_rows(run):
    asked = ("scaling", "qwen3-0.6b", "hgx-h100", "--at", "1,2", "--prompt", "64", "--output", "8")
    rows = run(*asked, "--format", "json").fields["rows"]
    assert [row["chips"] for row in rows] == [1, 2]
    assert [row["batch_size"] for row in rows] == [8, 16]
    strong = run(*asked, "--batch", "4", "--format", "json").fields["rows"]
    assert [row["batch_size"] for row in strong] == [4, 4]
    assert "--at must be a whole number" in refused(run(*asked[:3], "--at", "1,two"), 2)
    assert "scaling has --at" in refused(run(*asked, "--chips", "4"), 2)
    assert "--power-scope is not asked" in refused(run(*asked, "--power-scope", "chip"), 2)
