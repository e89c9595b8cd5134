"""Borders in words: no digit more than is known."""

import pytest

from planner.studies.advantage.borders import Border, Edge, spoken


def border(parameters, interval, within=None):
    return Border(
        tokens_per_s_per_user=100.0, below="a", above="b", parameters=parameters, interval=interval, within=within
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "interval", "words"),
    [
        (84.1e9, (48e9, 136e9), "about 80 B (50 to 140)"),
        (84.1e9, (70e9, 101e9), "about 84 B (70 to 100)"),
        (84.12e9, (83e9, 85.5e9), "about 84.1 B (83.0 to 85.5)"),
        (1058e9, (400e9, 1620e9), "about 1,100 B (400 to 1,600)"),
        (257e9, (None, 300e9), "about 300 B (300 or less)"),
        (257e9, (200e9, None), "about 300 B (200 or more)"),
        (257e9, (None, None), "about 300 B (or anywhere on the map)"),
    ],
)
def test_a_border_is_quoted_to_the_digits_of_its_interval(parameters, interval, words):
    assert border(parameters, interval).words() == words


def test_no_digit_is_quoted_that_the_sizes_around_a_border_do_not_have():
    assert border(1e11, (9.9e10, 1.01e11)).digits == 3
    assert border(1e11, (9.9e10, 1.01e11), (8e10, 1.25e11)).digits == 2


def test_a_border_is_proved_where_both_winners_are_and_nobody_needs_no_proof():
    one = border(1e11, (None, None))
    assert not one.is_proved
    assert not one.replace(proved=("a",)).is_proved
    assert one.replace(proved=("a", "b")).is_proved
    assert one.replace(above=None, proved=("a",)).is_proved


@pytest.mark.parametrize(
    ("parameters", "digits", "words"),
    [(9.7e9, 1, "9.7"), (14e9, 1, "14"), (23e9, 1, "20"), (7.4e9, 2, "7.4"), (8e9, 1, "8")],
)
def test_a_size_is_rounded_to_so_many_digits(parameters, digits, words):
    assert spoken(parameters, digits) == words


def test_an_edge_says_how_large_and_why():
    edge = Edge(
        topology="chain", chips=10440, parameters=1.05e12, next_parameters=1.06e12, why="memory full"
    )  # fmt: skip
    assert edge.words() == "chain ends at 1,050 B: the memory of all its 10,440 chips is full"
