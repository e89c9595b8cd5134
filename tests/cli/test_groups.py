"""Options that commands take together."""

from dataclasses import dataclass
from inspect import signature
from typing import Annotated

import typer

from planner.cli import commands, plans
from planner.cli.groups import grouped


@dataclass(frozen=True)
class Pair:
    """Two options, as the commands group them."""

    left: Annotated[int, typer.Option("--left")] = 1
    right: Annotated[int, typer.Option("--right")] = 2


def test_fields_of_a_group_are_options_of_the_command_in_their_place():
    taken = []

    @grouped
    def command(name: str, *, pair: Pair, last: int = 3) -> None:
        """What it does."""
        taken.append((name, pair, last))

    assert [*signature(command).parameters] == ["name", "left", "right", "last"]
    command(name="one", left=1, right=5, last=3)
    assert taken == [("one", Pair(1, 5), 3)]
    assert command.__doc__ == "What it does."


@dataclass(frozen=True)
class Holder:
    """A group that holds one."""

    pair: Pair
    third: Annotated[int, typer.Option("--third")] = 3


def test_a_group_may_hold_groups():
    taken = []

    @grouped
    def command(*, holder: Holder, last: int = 4) -> None:
        taken.append((holder, last))

    assert [*signature(command).parameters] == ["left", "right", "third", "last"]
    command(left=5, right=2, third=3, last=4)
    assert taken == [(Holder(Pair(5, 2), 3), 4)]


def test_every_option_of_plan_score_and_compare_is_the_same_option():
    of_plan, of_score, of_compare = (
        signature(command).parameters for command in (plans.plan, commands.score, plans.compare)
    )
    # A command that is scored names its model itself, so that both may be left out there.
    of_a_command = {
        "model": (commands.MaybeModel, None),
        "topology": (commands.MaybeTopology, None),
    }
    for others, own in ((of_score, of_a_command), (of_compare, {})):
        for name in (of_plan.keys() & others.keys()) - {"plan"}:
            expected = of_plan[name].annotation, of_plan[name].default
            assert (others[name].annotation, others[name].default) == own.get(name, expected)
    assert len(of_plan.keys() & of_score.keys()) >= 13
