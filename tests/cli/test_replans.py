"""Plans after chips are lost, from the command line."""

import pytest

from tests.terminal import refused

ASKED = ("replan", "qwen3-0.6b", "hgx-h100", "--chips", "4", "--batch", "4")
SHORT = ("--prompt", "64", "--output", "8")


@pytest.mark.slow
def test_the_plan_without_the_lost_chips_is_told(run):
    answer = run(*ASKED, *SHORT, "--lost", "3", "--format", "json")
    assert answer.fields["lost"] == [3]
    used = [
        group["first"] + group["count"] - 1
        for stage in answer.fields["result"]["plan"]["stages"]
        for group in stage["groups"]
    ]
    assert max(used) < 3
    assert answer.fields["moved_bytes"] == sum(one["moved_bytes"] for one in answer.fields["moves"])


@pytest.mark.slow
def test_a_plan_that_runs_already_is_where_it_starts(run, tmp_path):
    path = tmp_path / "plan.json"
    run("plan", *ASKED[1:3], "--chips", "1", "--batch", "4", *SHORT, "--out", path)
    answer = run(
        *ASKED, *SHORT, "--lost", "3", "--plan", path, "--worse", "any", "--format", "json"
    )
    before = answer.fields["before"]
    assert before["status"] == "feasible"
    assert before["objective"] > before["bound"]
    # All of it lies on chip 0, which is still there.
    assert answer.fields["moved_bytes"] == 0


def test_what_is_wrong_is_said_before_the_work(run):
    assert "--lost names chips by number" in refused(run(*ASKED, "--lost", "all"), 2)
    assert "--worse is measured in shares" in refused(
        run(*ASKED, "--lost", "3", "--worse", "5 s"), 2
    )
    assert "Missing option '--lost'" in refused(run(*ASKED), 2)
