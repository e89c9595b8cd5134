"""The words for what goes wrong, and what they promise."""

import pickle
import re

import pytest

from planner import errors
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    PlannerError,
    UnknownNameError,
    check_word,
    listed,
    nearest_names,
    plain_name,
    shortened,
)

MODELS = (
    "llama-3.1-8b",
    "llama-3.1-70b",
    "llama-3.1-405b",
    "mixtral-8x7b",
    "deepseek-v3",
    "gpt-oss-20b",
)


def family(error):
    return {error}.union(*(family(child) for child in error.__subclasses__()))


def test_the_docstring_draws_the_whole_tree():
    ours = {error.__name__ for error in family(PlannerError) if error.__module__ == errors.__name__}
    tree = [line for line in errors.__doc__.splitlines() if line.startswith("    ")]
    drawn = set(re.findall(r"\w+Error", "\n".join(tree)))
    assert ours == drawn - {"ValueError"}


def test_whoever_catches_value_errors_catches_bad_input():
    with pytest.raises(ValueError, match="no model called 'x'"):
        raise UnknownNameError("model", "x", MODELS)


def test_proved_impossible_and_out_of_time_are_never_confused():
    assert not issubclass(InfeasibleError, NoPlanFoundError | InputError)
    assert not issubclass(NoPlanFoundError, InfeasibleError | InputError)


def test_an_infeasible_demand_says_demand_capacity_and_gap():
    error = InfeasibleError(
        "too large", resource="memory", demand=140e9, capacity=80e9, smallest_chips=2
    )
    assert (error.resource, error.demand, error.capacity, error.gap) == (
        "memory",
        140e9,
        80e9,
        60e9,
    )
    assert (error.smallest_chips, str(error)) == (2, "too large")


def test_an_unknown_name_gets_the_three_nearest():
    error = UnknownNameError("model", "Llama 3.1 70", MODELS)
    assert error.nearest[0] == "llama-3.1-70b"
    assert (error.kind, error.name, len(error.nearest)) == ("model", "Llama 3.1 70", 3)
    assert str(error).startswith(
        "there is no model called 'Llama 3.1 70'; the nearest names are llama-3.1-70b, "
    )


def test_an_unknown_name_is_one_line_however_long_it_is():
    message = str(UnknownNameError("model", "a\nb" * 1000, MODELS))
    assert "\n" not in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("LLAMA_3.1_8B", "llama-3.1-8b"), ("deepseek v3", "deepseek-v3"), ("mixtrall-8x7", "mixtral-8x7b"),
     ("405b", "llama-3.1-405b"), ("oss", "gpt-oss-20b")],
)  # fmt: skip
def test_the_nearest_name_is_the_one_a_person_means(name, nearest):
    assert nearest_names(name, MODELS)[0] == nearest


def test_a_name_that_is_part_of_another_is_nearer_than_one_of_like_letters():
    assert nearest_names("v3", ("vit-3b", "deepseek-v3"))[0] == "deepseek-v3"
    assert (
        nearest_names("meta-llama-3.1-8b-instruct", ("meta-dino-instruct", "llama-3.1-8b"))[0]
        == "llama-3.1-8b"
    )


def test_there_are_never_more_nearest_names_than_known_ones():
    assert nearest_names("x", ()) == ()
    assert nearest_names("x", ("a", "b")) == ("a", "b")
    assert len(nearest_names("llama", MODELS, count=2)) == 2


def test_equally_near_names_come_in_the_same_order_every_time():
    assert (
        nearest_names("zzz", ("b", "c", "a"))
        == nearest_names("zzz", ("c", "a", "b"))
        == ("a", "b", "c")
    )


def test_two_spellings_share_their_plain_name():
    assert plain_name("Llama-3.1 70B") == plain_name("llama_3_1-70b") == "llama3170b"


@pytest.mark.parametrize(
    ("names", "text"),
    [((), "none"), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")],
)
def test_names_are_listed_as_a_person_lists_them(names, text):
    assert listed(names) == text


def test_another_word_may_join_the_last_name():
    assert listed([1, 2, 3], "or") == "1, 2 or 3"


def test_what_a_user_gave_is_shortened_to_one_line():
    assert shortened("two\nlines") == "two lines"
    assert shortened("x" * 60) == "x" * 60
    assert shortened("x" * 61) == "x" * 59 + "…"
    assert shortened("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("model", "lama", ["llama", "gemma", "qwen", "phi"]),
        InfeasibleError(
            "too little", resource="memory", demand=3.0, capacity=1.0, smallest_chips=2
        ),
    ],
)
def test_errors_pass_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_refusal_in_other_words_keeps_its_figures():
    first = InfeasibleError(
        "too large", resource="memory", demand=3.0, capacity=2.0, smallest_chips=2
    )
    said = first.saying("too large by far")
    assert str(said) == "too large by far"
    kept = ("resource", "demand", "capacity", "gap", "smallest_chips")
    assert [getattr(said, name) for name in kept] == ["memory", 3.0, 2.0, 1.0, 2]


def test_what_may_be_added_to_a_refusal_is_asked_for_once_and_by_who_reads_it():
    asked = []

    def more() -> str:
        asked.append(1)
        return "; more chips would do"

    error = InfeasibleError("too few chips", resource="chips", demand=2, capacity=1, more=more)
    again = error.saying("far too few chips")
    assert error.brief == "too few chips"
    assert asked == []
    assert str(error) == str(error) == "too few chips; more chips would do"
    assert asked == [1]
    assert str(again) == "far too few chips; more chips would do"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_word_that_is_none_of_two_is_not_offered_both_again():
    with pytest.raises(InputError, match=r"^way must be ring or mesh, not 'rings'$"):
        check_word("rings", ("ring", "mesh"), "way")
