"""Rules of thumb are real plans, never better than the proved one."""

import math

import pytest

import planner as pl
from benchmarks.exactness import Case, bought, main, plans_by_rule


@pytest.fixture(scope="module")
def cluster():
    return Case("llama-3.1-8b", "fp8", "three-macs", None, 1, "tpot_s")


@pytest.mark.slow
def test_no_rule_beats_what_is_proved(cluster):
    found = bought(cluster)
    assert found.status == "optimal"
    assert all(worse >= 1 - 1e-9 for worse in found.worse.values())
    assert math.isfinite(found.best_rule)


def test_rules_place_every_layer_once():
    graph, macs = pl.load_model("llama-3.1-8b"), pl.load_cluster("three-macs")
    for name, plan in plans_by_rule(graph, macs, pl.Workload(batch_size=1)):
        placed = [layer for stage in plan.stages for layer in stage.layers]
        assert placed == [layer.name for layer in graph.layers], name


@pytest.mark.slow
def test_a_rule_whose_plan_breaks_a_limit_has_none():
    found = bought(Case("llama-3.1-70b", "fp8", "groq-lpu-chain", 576, 1, "tpot_s"))
    assert found.worse["a chip a stage, equal layers"] == math.inf


@pytest.mark.slow
def test_the_table_ends_with_what_exactness_buys(cluster, capsys):
    main(lambda _: bought(cluster))
    assert "the best of the rules is ×" in capsys.readouterr().out.splitlines()[-1]
