"""What an engine can be started with, as a record."""

import pytest
from pydantic import ValidationError

import planner as pl
from planner.errors import InputError
from planner.machines.engine import SPACES, Engine
from tests.instances import ENGINES, tiny_engine


def test_there_are_two_spaces():
    assert SPACES == ("engine", "any")


def test_an_engine_without_a_version_is_not_known_and_takes_any_plan():
    engine = Engine()
    assert not engine.is_known
    assert (engine.micro_batches, engine.experts, engine.attention) == ("any", "any", "any")
    wanted = (engine.like_stages, engine.decoder_on_each_stage, engine.whole_blocks)
    assert not any(wanted)
    assert engine.tensor_in_pipelines
    assert engine.most_stages >= 10_000


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
