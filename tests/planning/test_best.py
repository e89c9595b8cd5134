"""The best plan of a search so far."""

import math

from planner.planning.best import Best


def test_at_first_there_is_none():
    assert Best() == Best(None, math.inf)
