"""Where an advantage changes sides."""

import pytest

from planner.studies.advantage import roots


@pytest.mark.parametrize(
    ("held", "found"),
    [
        (range(20), [0, 3, 6, 9, 12, 15, 18, 19]),
        (range(5, 11), [5, 6, 9, 10]),
        (range(7, 9), [7, 8]),
        ([], []),
    ],
)
def test_sizes_that_both_hold_are_found_by_strides(held, found):
    assert roots.held_by_both(lambda place: place in held) == found
