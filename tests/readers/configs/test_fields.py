"""Fields by any of their names, typed, and none left unread."""

import pytest

from planner.errors import InputError
from planner.readers.configs.fields import ConfigFields


def fields(**values):
    return ConfigFields(values, "file")


def test_the_first_of_several_names_that_is_there_counts():
    assert fields(b=2, c=3).whole(("a", "b", "c")) == 2
    assert fields(a=None, b=2).whole(("a", "b")) == 2
    assert fields().whole("a", default=7) == 7


def test_a_list_of_equal_numbers_is_that_number():
    assert fields(a=[2, 2, 2]).whole("a") == 2
    with pytest.raises(InputError, match="file: a must be a whole number"):
        fields(a=[2, 3]).whole("a")


@pytest.mark.parametrize("wrong", ["false", "true", 0, 1, "no"])
def test_a_word_for_a_boolean_is_refused(wrong):
    with pytest.raises(InputError, match="file: a must be true or false"):
        fields(a=wrong).flag("a")


def test_a_list_for_layers_must_be_as_long_as_they_are_many():
    assert fields(a=[1, 0, None, 5]).each_whole("a", 3) == [1, 0, 0]
    with pytest.raises(InputError, match="a has 2 entries; there must be 3"):
        fields(a=[1, 0]).each_whole("a", 3)
    with pytest.raises(InputError, match="a must be a list"):
        fields(a=3).each("a", 3)


def test_positions_lie_among_the_layers():
    assert fields(a=[1, 3]).positions("a", 3, first=1) == {0, 2}
    with pytest.raises(InputError, match="a names layer 3; there are 3"):
        fields(a=[3]).positions("a", 3)


def test_a_word_of_no_meaning_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="'slding', which is not a known kind of layer"):
        fields(a=["slding"]).each_word("a", 1, {"sliding": 1, "full": 2})


@pytest.mark.parametrize(
    "field",
    [
        {"block_configs": [{}]},
        {"conv_layers": [1]},
        {"my_pattern": "LG"},
        {"num_things": 3},
        {"kinds": [1, 2, 3, 4, 5]},
    ],
)
def test_what_may_say_how_layers_are_made_must_be_read(field):
    (name,) = field
    with pytest.raises(InputError, match=f"{name} is not a known key"):
        fields(**field).refuse_unread()
    known = fields(**field)
    known.tick(name)
    known.refuse_unread()


@pytest.mark.parametrize(
    "field",
    [
        {"num_beams": 4},
        {"top_k": 50},
        {"rope_scaling": {"factor": 8}},
        {"attention_dropout": 0.1},
        {"layer_things": None},
        {"layer_things": False},
        {"layer_things": 0},
        {"layer_things": []},
        {"eos_token_id": [1, 2, 3, 4, 5]},
        {"image_token_id": 7},
    ],
)
def test_what_says_nothing_of_layers_may_stay_unread(field):
    fields(**field).refuse_unread()
