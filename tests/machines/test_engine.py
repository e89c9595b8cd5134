"""What is known of an engine."""

from typing import get_args

import pytest
from pydantic import ValidationError

import planner as pl
from planner.errors import InputError
from planner.machines.engine import SPACES, Drafting, Engine
from planner.workload import DraftKind
from tests.instances import ENGINES, tiny_engine


def test_nothing_is_known_of_an_engine_by_default_and_any_plan_goes():
    engine = Engine()
    assert not engine.is_known
    assert engine.micro_batches == engine.experts == engine.attention == "any"
    assert [engine.like_stages, engine.decoder_on_each_stage, engine.whole_blocks] == [False] * 3


@pytest.mark.parametrize(
    "told", [{"version": "2"}, {"source": "OURS"}, {"confidence": "guess"}, {"note": "none"}]
)
def test_a_version_a_source_or_a_note_is_no_rule(told):
    assert not Engine(**told).is_known


def test_what_an_engine_may_do_besides_is_no_rule():
    assert not Engine(redundant_experts=True).is_known


def test_rules_are_known_where_all_stages_are_alike_and_micro_batches_settled():
    assert Engine(like_stages=True, micro_batches="stages").is_known
    assert Engine(like_stages=True, micro_batches="one", most_stages=1).is_known


@pytest.mark.parametrize(
    "half",
    [
        {"micro_batches": "stages"},
        {"most_stages": 1},
        {"whole_blocks": True, "micro_batches": "one"},
        {"experts": "none"},
    ],
)
def test_half_of_the_rules_are_refused(half):
    with pytest.raises(InputError, match="needs like_stages = true"):
        Engine(**half)


def test_there_are_two_spaces():
    assert SPACES == ("engine", "any")


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_rules_come_back_from_json(engine):
    assert engine.is_known
    assert Engine.from_json(engine.to_json()) == engine


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("micro_batches", "two"),
        ("experts", "some"),
        ("attention", "some"),
        ("most_stages", 0),
        ("speed", 3),
    ],
)
def test_a_wrong_rule_is_named(name, wrong):
    with pytest.raises((InputError, ValidationError), match=name):
        tiny_engine(**{name: wrong})


@pytest.mark.parametrize("name", ["vllm", "sglang", "tensorrt-llm"])
def test_serving_stacks_split_stages_alike_with_a_decoder_layer_on_each(name):
    engine = pl.load_topology("hgx-h100", software=name).software.engine
    assert engine.is_known
    assert engine.like_stages
    assert engine.decoder_on_each_stage
    # None keeps fewer micro-batches than stages.
    assert engine.micro_batches in ("stages", "stages + 1")


def test_ways_to_draft_are_those_of_a_workload_and_refuse_no_plan():
    assert get_args(Drafting) == get_args(DraftKind)
    assert not Engine(drafts=("eagle3",), pools=True).is_known
