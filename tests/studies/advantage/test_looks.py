"""How a map looks: fields that cover every square once, borders around them, dates and ends."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.studies.advantage import looks
from planner.studies.advantage.borders import Edge
from tests.maps_by_hand import SIZES, SPEEDS, measured, small_map


def luminance(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_square_shows_its_winner_and_how_far_the_next_is_behind():
    kinds = looks.kinds_of(small_map())
    # 10 B at 10, 30, 100 and 300 tokens/s: 9 x, 3 x and 1.5 x dearer, then the LPU by itself.
    assert kinds[:, 0].tolist() == [2, 1, 0, 4 + 3]
    assert kinds[:, 4].tolist() == [3, -1, -1, -1]


def test_fields_cover_every_square_once():
    drawn = small_map()
    kinds = looks.kinds_of(drawn)
    blocks = looks.blocks_of(drawn)
    assert set(blocks) == set(kinds.ravel().tolist())
    for size, speed in np.ndindex(len(SIZES), len(SPEEDS)):
        x, y = SIZES[size], SPEEDS[speed]
        over = [
            kind for kind, some in blocks.items() for one in some
            if one.left < x < one.right and one.bottom < y < one.top
        ]  # fmt: skip
        assert over == [kinds[speed, size]]


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=3, max_size=3))
def test_lines_run_between_unlike_squares_each_side_once(rows):
    values = np.array(rows)
    sides = {frozenset(side) for side in looks._sides_between(values)}
    chains = looks._chains(looks._sides_between(values))
    walked = [frozenset(pair) for chain in chains for pair in itertools.pairwise(chain)]
    assert len(walked) == len(set(walked))
    assert set(walked) == sides
    unlike = (values[:, 1:] != values[:, :-1]).sum() + (values[1:] != values[:-1]).sum()
    assert len(sides) == unlike


def test_what_no_draw_was_made_for_is_not_in_doubt():
    sure = looks.is_sure(small_map())
    assert not sure[2, 0]
    assert sure[3, 2]
    assert sure[3, 4]


def test_shades_of_all_machines_darken_and_hatches_differ():
    for machine in range(6):
        kinds = [machine * len(looks.SHADES) + shade for shade in range(len(looks.SHADES))]
        light = [luminance(looks.fill_of(kind)[0]) for kind in kinds]
        assert light == sorted(light, reverse=True)
        assert light[0] - light[-1] > 0.15
    fills = {looks.fill_of(kind)[1] for kind in range(0, 24, 4)}
    assert len(fills) == 6
    assert looks.fill_of(looks.UNKNOWN)[1] not in fills


def test_dates_are_read_from_sources_and_drafts_from_records():
    assert looks.date_of(measured("m", 1e10, 10, "gpu", "a page of 2024-05-30")) == "2024-05"
    assert looks.date_of(measured("m", 1e10, 10, "gpu", "docs 2025")) == "2025"
    assert looks.date_of(measured("m", 1e10, 10, "gpu", "row 12024 of a table")) == ""
    assert not looks.has_drafts(measured("m", 1e10, 10, "gpu", "x"))
    assert looks.has_drafts(measured("m", 1e10, 10, "gpu", "x").replace(drafts=True))


def test_a_machine_ends_where_it_holds_no_larger_model():
    ends = looks.ends_of(small_map())
    assert [end.words for end in ends] == ["A chain of LPUs: all its chips hold no larger model"]
    # Half way between the last size that it holds and the next, on a logarithmic scale.
    assert ends[0].parameters == pytest.approx((3e11 * 1e12) ** 0.5)


def test_points_beyond_the_map_are_not_on_it():
    drawn = small_map()
    assert [one.model for one in looks.measured_on(drawn)] == ["one-10b", "two-30b"]
    assert looks.real_models(drawn) == [("one-30b", 3e10), ("two-32b", 3.2e10)]


def test_a_name_stands_on_its_own_field_or_nowhere():
    edges = np.linspace(0, 100, 11)
    is_won = np.zeros((10, 10), bool)
    is_won[2:6, 1:9] = True
    box = looks.place_of_name(is_won, edges, edges, (50, 15), [])
    assert box is not None
    assert box.left >= 10
    assert box.right <= 90
    assert box.bottom >= 15
    assert looks.place_of_name(is_won, edges, edges, (50, 60), []) is None
    assert looks.place_of_name(is_won, edges, edges, (50, 15), [looks.Box(0, 0, 100, 100)]) is None


def test_a_machine_that_is_only_too_slow_for_more_has_no_edge():
    drawn = small_map()
    lpu = drawn.topologies[[one.startswith("A chain") for one in drawn.titles].index(True)]

    def told(why: str) -> list[str]:
        edge = Edge(topology=lpu, chips=64, parameters=3e11, next_parameters=3.1e11, why=why)
        return [end.words for end in looks.ends_of(drawn.replace(edges=(edge,)))]

    assert told("too slow") == []
    assert told("memory full") == ["A chain of LPUs: 64 chips hold no larger model"]
    assert told("engine") == ["A chain of LPUs: 64 chips run no larger model"]
