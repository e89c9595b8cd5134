"""Measured systems: the quickest rows, when they were, whether they drafted, and why a map has none
as fast."""

import pytest

from planner.studies.advantage.maps import map_grids
from planner.studies.advantage.measured import dated, explained, measured_systems

NAMES = ("hgx-h100", "groq-lpu-chain", "cerebras-cs3")


@pytest.mark.slow
def test_measured_systems_are_the_quickest_rows_of_the_published_table():
    found = {(one.topology, one.model): one for one in measured_systems("dense", NAMES)}
    assert found["cerebras-cs3", "llama-3.1-70b"].tokens_per_s_per_user == pytest.approx(
        450, rel=0.01
    )
    assert found["hgx-h100", "qwen3-14b"].energy_per_token_j == pytest.approx(0.7061, rel=1e-3)
    assert all(one.source for one in found.values())
    assert {one.model for one in measured_systems("moe", NAMES)} >= {"gpt-oss-120b"}


@pytest.mark.parametrize(
    ("source", "date"),
    [
        ("techpowerup.com 2024-02", "2024-02"),
        ("sambanova.ai blog Table 1 (AA) 2024-09-10", "2024-09-10"),
        ("GitHub copy of console.groq.com/docs/models early 2026", "2026"),
        ("someone/something@1263d5cd8 v0.2.0 (2024-01)", "2024-01"),
        ("sambanova.ai/blog/sn40l-chip-best-inference-solution (number", None),
        ("model of 20240 parts", None),
    ],
)
def test_a_date_is_the_last_that_a_source_states(source, date):
    assert dated(source) == date


def test_of_a_hosted_service_nobody_says_whether_it_drafts():
    found = {(one.topology, one.model): one for one in measured_systems("dense", NAMES)}
    assert found["cerebras-cs3", "llama-3.1-8b"].drafts is None
    assert found["hgx-h100", "llama-3.1-8b"].drafts is False
    assert found["hgx-h100", "llama-3.1-8b"].asked == "bf16, 8 users, 1,024 + 512 tokens"
    moe = {(one.topology, one.model): one for one in measured_systems("moe", ("hgx-b200",))}
    assert moe["hgx-b200", "deepseek-v3"].drafts is True


@pytest.mark.slow
def test_a_point_that_no_plan_of_the_map_reaches_says_why():
    grids = map_grids(("hgx-h100",), sizes=(8e9, 7e10), models=())
    drawn = grids.map(speeds=(30.0, 100.0, 360.0), draws=20)
    told = {one.model: one for one in explained(drawn)}
    fast = told["llama-3.1-8b"]
    assert fast.reached is False
    assert 250 < fast.predicted_tokens_per_s < 366
    assert f"predicted at {fast.predicted_tokens_per_s:.0f} tokens/s" in fast.why
    assert "the map has fp8" in fast.why
    slow = told["llama-2-70b"]
    assert (slow.reached, slow.why) == (True, "")
