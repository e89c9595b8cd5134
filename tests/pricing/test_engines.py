"""What an engine's rules say of a plan."""

import pytest

from planner.machines.engine import Engine
from planner.pricing.engines import in_flight, rules_said
from tests.instances import tiny_software


@pytest.mark.parametrize(
    ("micro_batches", "stages", "sequences", "expected"),
    [
        ("any", 4, 64, None),
        ("one", 4, 64, 1),
        ("one", 1, 64, 1),
        ("stages", 1, 64, 1),
        ("stages", 4, 64, 4),
        ("stages", 4, 3, 3),
        ("stages + 1", 1, 64, 1),
        ("stages + 1", 4, 64, 5),
        ("stages + 1", 4, 4, 4),
        ("sequences", 4, 64, 64),
    ],
)
def test_micro_batches_are_as_many_as_the_engine_keeps(micro_batches, stages, sequences, expected):
    assert in_flight(Engine(micro_batches=micro_batches), stages, sequences) == expected


def test_an_engine_without_known_rules_says_so():
    unknown = tiny_software(engine=Engine(note="none are known"))
    assert "no rules of plain's engine are known" in rules_said(unknown)
    known = tiny_software(engine=Engine(version="0.32", source="its parser", like_stages=True))
    assert rules_said(known) == "plans are those that plain 0.32 can be started with (its parser)"
