"""What is known of an engine."""

import pytest

from planner.machines.engine import Engine


def test_nothing_is_known_of_an_engine_by_default_and_any_plan_goes():
    engine = Engine()
    assert not engine.is_known
    assert engine.micro_batches == engine.experts == engine.attention == "any"
    assert [engine.like_stages, engine.decoder_on_each_stage, engine.whole_blocks] == [False] * 3


@pytest.mark.parametrize("told", [{"source": "OURS"}, {"confidence": "guess"}, {"note": "none"}])
def test_a_source_or_a_note_is_no_rule(told):
    assert not Engine(**told).is_known


@pytest.mark.parametrize("rule", [{"version": "0.32"}, {"most_stages": 1}, {"experts": "none"}])
def test_a_version_or_a_rule_is_known(rule):
    assert Engine(**rule).is_known
