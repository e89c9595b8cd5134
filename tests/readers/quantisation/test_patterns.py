"""Regular expressions and globs in bounded time, against Python's own."""

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.readers.quantisation.patterns import MOST_LETTERS, MOST_STEPS, expression, glob

PIECES = st.sampled_from(
    [
        *(
            "a",
            "b",
            ".",
            r"\.",
            r"\d",
            r"\w",
            "[ab]",
            "[^a]",
            "[a-c]",
            r"[\d_]",
            "(a|bc)",
            "(?:ab)",
        ),
        *(
            "(?=b)",
            "(?!b)",
            "^",
            "$",
            "layers",
            r"(\d+)",
            "((a|b)*)",
            "((ab?)+)",
            r"\S",
            r"\A",
            r"[.\-]",
        ),
    ]
)
REPEATED = st.tuples(PIECES, st.sampled_from(["", "", "*", "+", "?", "*?", "{2}", "{1,2}", "{1,}"]))
SOURCES = st.lists(REPEATED, min_size=1, max_size=5).map(
    lambda rows: "".join(
        piece + (times if piece not in ("^", "$", r"\A") else "") for piece, times in rows
    )
)
NAMES = st.text(alphabet="abc.7_layers", max_size=9)


def affordable(source):
    """An expression; None: it is refused for its steps."""
    try:
        return expression(source, "here")
    except InputError as error:
        if "too long" not in str(error):
            raise
    return None


@pytest.mark.slow
@given(source=SOURCES | st.tuples(SOURCES, SOURCES).map("|".join), name=NAMES)
def test_an_expression_matches_what_python_matches(source, name):
    pattern = affordable(source)
    if pattern is not None:
        assert pattern.matches(name) == bool(re.match(source, name)), source


@pytest.mark.slow
@given(
    source=st.lists(st.sampled_from([*"ab.", "*", "?", "[ab]", "[!a]"]), min_size=1, max_size=6),
    name=NAMES,
)
def test_a_glob_that_matches_the_whole_name_matches(source, name):
    if fnmatchcase(name, "".join(source)):
        assert glob("".join(source), "here").matches(name)


def test_a_glob_means_what_lies_in_what_it_names():
    pattern = glob("layers.*.self_attn", "here")
    assert pattern.matches("model.layers.17.self_attn.q_proj")
    assert pattern.matches("layers.0.self_attn")
    assert not pattern.matches("model.layers.17.self_attn2.q_proj")
    assert not pattern.matches("model.mylayers.17.self_attn")
    assert glob("layers.1*", "here").matches("layers.12.mlp")
    assert not glob("layers.1.*", "here").matches("layers.12.mlp")


@pytest.mark.parametrize("source", ["(a+)+$", "(a|a)*b", "(a*)*b", "(.*.*.*.*.*.*.*a)", ".*" * 300])
def test_what_takes_ages_elsewhere_is_matched_in_known_steps(source):
    """All of them would take longer than anybody has in Python's `re`; here each piece looks at
    each place once for each time that it may be repeated."""
    pattern = expression(source, "here")
    assert pattern.steps <= MOST_STEPS
    assert not pattern.matches("a" * 60 + "!") or "b" not in source


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("((a+)+)+$", "too long"),
        ("((a{60}){60}){60}", "too long"),
        ("a" * (MOST_LETTERS + 1), "letters"),
        ("(" * 50 + ")" * 50, "nested"),
        ("(a", "not closed"),
        ("a)", "too many"),
        ("[a", "too early"),
        ("*a", "nothing to repeat"),
        (r"(a)\1", r"\\1"),
        (r"(?<=a)b", r"\(\?"),
        (r"\bword", "not read"),
        ("a{999}", "counts"),
        ("a{x}", "counts"),
        ("a{3,1}", "counts"),
        ("[z-a]", "range"),
        ("(?P<name", "not read"),
        ("a++", "possessive"),
        ("\\", "too early"),
    ],
)
def test_what_is_not_read_is_refused_with_its_field(source, reason):
    with pytest.raises(InputError, match=reason) as refused:
        expression(source, "config.json: quantization_config.ignore")
    assert str(refused.value).startswith("config.json: quantization_config.ignore has the pattern")
    assert "weight_dtype" in str(refused.value)


@pytest.mark.slow
@given(source=st.text(alphabet="ab.*+?()[]{}|\\^$-,0123!=:<P", max_size=20), name=NAMES)
def test_any_text_is_an_expression_or_is_refused(source, name):
    try:
        pattern = expression(source, "here")
    except InputError:
        return
    assert pattern.matches(name) in (True, False)
    assert glob(source, "here").matches(name) in (True, False)
