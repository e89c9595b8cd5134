"""What functions are given, held against what they say they take."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import Field

from planner.errors import InputError, told
from planner.guards import MOST_LETTERS, guarded
from planner.records import Record


class Pair(NamedTuple):
    """Two."""

    first: int
    second: int


class Noun(Record):
    """One."""

    name: str = "a"


Share = Annotated[float, Field(gt=0, le=1)]


@guarded
def taken(
    noun: Noun | str | None = None,
    *,
    count: int = 1,
    share: Share = 1.0,
    least: Annotated[int, Field(ge=2, lt=5)] = 2,
    figure: float = 0.0,
    patience: Annotated[float, Field(allow_inf_nan=True)] = 1.0,
    word: Literal["engine", "any"] = "any",
    yes: bool = True,
    file: str | Path | None = None,
    names: Iterable[str] = (),
    some: Annotated[Sequence[int], Field(min_length=1)] = (1,),
    array: Sequence[float] | NDArray[np.generic] = (),
    between: tuple[float, float] | None = None,
    table: Mapping[str, float | str] | None = None,
    pairs: Iterable[Pair] = (),
    tell: Callable[[int], None] | None = None,
    executor: Executor | None = None,
    said: Annotated[int, "one of the numbers of a lottery"] = 1,
    anything: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """What was handed on."""
    return {name: value for name, value in locals().items() if value is not None}


GOOD = [
    ("noun", Noun(), Noun()),
    ("noun", "a", "a"),
    ("count", np.int64(3), 3),
    ("share", 1, 1),
    ("figure", np.float32(0.5), 0.5),
    ("figure", 10**18, 10**18),
    ("patience", math.inf, math.inf),
    ("word", "engine", "engine"),
    ("yes", np.bool_(False), False),
    ("file", Path("a"), Path("a")),
    ("names", iter("ab"), ("a", "b")),
    ("names", {"a"}, ("a",)),
    ("some", range(3), (0, 1, 2)),
    ("array", [1, 2.5], (1, 2.5)),
    ("between", [1, 2], (1, 2)),
    ("table", {"a": 1, "b": "2 s"}, {"a": 1, "b": "2 s"}),
    ("pairs", [Pair(1, 2)], (Pair(1, 2),)),
    ("tell", print, print),
    ("anything", math.nan, math.nan),
]


@pytest.mark.parametrize(("name", "given", "found"), GOOD)
def test_what_an_annotation_takes_is_handed_on(name, given, found):
    handed = taken(**{name: given})[name]
    assert handed is found or handed == found
    assert type(handed) is type(found)


BAD = [
    ("noun", 1, "a Noun, text or None, not 1"),
    ("noun", Noun, "a Noun, text or None"),
    ("count", True, "a whole number, not True"),
    ("count", 1.0, "a whole number, not 1.0"),
    ("count", "1", "a whole number, not '1'"),
    ("count", 2**63, "a whole number"),
    ("count", -(10**400), "a whole number, not a number of hundreds of digits"),
    ("share", 0.0, "a number above 0 and of at most 1, not 0.0"),
    ("share", 1.1, "a number above 0 and of at most 1, not 1.1"),
    ("least", 5, "a whole number of at least 2 and below 5, not 5"),
    ("figure", math.nan, "a number, not nan"),
    ("figure", -math.inf, "a number, not -inf"),
    ("figure", 1j, "a number, not 1j"),
    ("patience", -math.inf, "a number or infinity, not -inf"),
    ("patience", math.nan, "a number or infinity, not nan"),
    ("word", "engin", "'engine' or 'any', not 'engin'; did you mean engine or any?"),
    ("word", ["any"], "'engine' or 'any', not ['any']"),
    ("yes", 1, "True or False, not 1"),
    ("file", "a" * (MOST_LETTERS + 1), "text, a Path or None, not 'aaa"),
    ("file", b"a", "text, a Path or None, not b'a'"),
    ("names", "ab", "a list, each of it text, not 'ab'"),
    ("names", ["a", 1], "a list, each of it text, not ['a', 1]"),
    ("names", {"a": 1}, "a list, each of it text"),
    ("names", Noun(), "a list, each of it text"),
    ("names", itertools.repeat("a"), "a list, each of it text, not repeat('a')"),
    ("some", (), "a list, each of it a whole number with an entry count of at least 1, not ()"),
    ("array", np.array(["a"]), "a list, each of it a number or an array of numbers"),
    ("between", (1, 2, 3), "(a number, a number) or None, not (1, 2, 3)"),
    ("between", "ab", "(a number, a number) or None, not 'ab'"),
    ("table", {"a": None}, "a table of text: a number or text or None, not {'a': None}"),
    ("table", [("a", 1)], "a table of text: a number or text or None"),
    ("pairs", [(1, 2)], "a list, each of it a Pair, not [(1, 2)]"),
    ("tell", 1, "a function or None, not 1"),
    ("executor", 1, "an Executor or None, not 1"),
    ("said", "x", "one of the numbers of a lottery, not 'x'"),
]


@pytest.mark.parametrize(("name", "given", "words"), BAD)
def test_anything_else_is_refused_with_the_arguments_name(name, given, words):
    with pytest.raises(InputError) as refused:
        taken(**{name: given})
    assert str(refused.value).startswith(f"taken: {name} must be {words}")


def test_what_is_shaped_like_an_executor_is_one():
    class Shaped:
        def submit(self, work):
            return work

    shaped = Shaped()
    assert taken(executor=shaped)["executor"] is shaped


def test_what_else_a_function_takes_is_its_own_affair():
    assert taken(other=math.nan)["more"].keys() == {"other"}


def test_a_call_that_does_not_fit_is_told():
    @guarded
    def doubled(number: int, *, times: int = 2) -> int:
        return number * times

    assert doubled(2) == doubled(number=2) == 4
    assert doubled.__name__ == "doubled"
    with pytest.raises(InputError, match="doubled takes no 'time'; did you mean times or number"):
        doubled(2, time=3)
    with pytest.raises(InputError, match="doubled: missing a required argument: 'number'"):
        doubled()
    with pytest.raises(InputError, match="doubled: too many positional arguments"):
        doubled(1, 2)


def test_whatever_is_given_is_told_in_a_line():
    class Mute:
        def __repr__(self):
            raise RuntimeError

    endless = []
    endless.append(endless)
    assert told(Mute()) == "a Mute"
    assert told([Mute()]).startswith("[<Mute instance at")
    assert told(10**400) == "a number of hundreds of digits"
    assert told(endless) == "[[[[[[[...]]]]]]]"
    assert told("a\nb" * 100) == repr(("a b" * 100)[:39] + "…").replace("a ba b", "a ba b")
    assert len(told("x" * 10**7)) == 42


def test_a_text_may_be_as_long_as_its_bound_says():
    @guarded
    def read(text: Annotated[str, Field(max_length=10_000)]) -> int:
        return len(text)

    assert read("x" * 10_000) == 10_000
    with pytest.raises(
        InputError, match=r"text must be text with an entry count of at most 10,000"
    ):
        read("x" * 10_001)
