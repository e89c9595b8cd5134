"""What a shell makes of a text, held against hand-worked words and, where it can, `shlex`."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.launches.shell import MOST_BYTES, Word, expanded, statements_of


def words(text: str, **known: str) -> list[list[str]]:
    return [[word.text for word in expanded(one.words, known)] for one in statements_of(text)]


def test_lines_that_end_in_a_backslash_go_on() -> None:
    assert words("vllm serve m \\\n  -tp 4 \\  \n -pp 2") == [
        ["vllm", "serve", "m", "-tp", "4", "-pp", "2"]
    ]


def test_comments_end_with_the_line_and_begin_no_word_in_the_middle() -> None:
    assert words("# a\nx a#b # c 'd\ny") == [["x", "a#b"], ["y"]]


def test_quotes_keep_blanks_and_only_double_ones_take_variables() -> None:
    assert words('x \'$A b\' "$A b" "q\\"" \'\'', A="1") == [["x", "$A b", "1 b", 'q"', ""]]


def test_a_variable_that_is_not_quoted_may_become_several_words() -> None:
    assert words("x $A y", A="-tp 4") == [["x", "-tp", "4", "y"]]
    assert words('x "$A" y', A="-tp 4") == [["x", "-tp 4", "y"]]
    assert words("x $A y", A=" ") == [["x", "y"]]


def test_a_default_stands_where_a_variable_has_no_value() -> None:
    assert words("x ${A:-8} ${B-9}", B="2") == [["x", "8", "2"]]


def test_a_variable_without_a_value_is_named() -> None:
    [statement] = statements_of("x --tp=$TP $(nvidia-smi -L | wc -l)")
    assert expanded(statement.words, {}) == [
        Word("x"),
        Word("--tp=$TP", ("TP",)),
        Word("$(nvidia-smi -L | wc -l)", ("$(nvidia-smi -L | wc -l)",)),
    ]


def test_commands_are_apart_and_redirections_are_no_words() -> None:
    assert words("a 1 > log 2>&1 & b && c | d; e") == [["a", "1"], ["b"], ["c"], ["d"], ["e"]]


def test_a_here_document_is_kept_with_the_file_that_it_is_written_to() -> None:
    first, second = statements_of("cat > x.yml <<'EOF'\na: 1\nb: $C\nEOF\nserve --config x.yml")
    assert (first.written_to, first.document) == (["x.yml"], "a: 1\nb: $C\n")
    assert expanded(second.words, {})[-1] == Word("x.yml")


def test_what_is_too_long_or_never_closed_is_refused() -> None:
    for text, says in (
        ("x 'a", "not closed"),
        ("x" * (MOST_BYTES + 1), "bytes"),
        ("a " * 5000, "words"),
    ):
        with pytest.raises(InputError, match=says):
            statements_of(text)


@pytest.mark.slow
@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="\0\r"), max_size=8), max_size=6
    )
)
def test_words_that_are_quoted_come_back_as_they_were(given_words: list[str]) -> None:
    assert words(shlex.join(["x", *given_words])) == [["x", *given_words]]
