"""On how many ranks and nodes the experts of a token lie."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.models.routing import routing_fault, units_touched
from tests.instances import tiny_moe


def counted(units: int, places: int, active: int, groups: int, groups_active: int) -> float:
    """The mean over all choices, one by one."""
    group, each = places // groups, places // units
    touched = []
    for chosen in itertools.combinations(range(groups), groups_active):
        among = [place for place in range(places) if place // group in chosen]
        for picks in itertools.combinations(among, active):
            touched.append(len({pick // each for pick in picks}))
    return sum(touched) / len(touched)


def test_eight_of_256_experts_lie_on_five_of_eight_ranks():
    # A rank has none with C(224, 8) / C(256, 8) = 0.338.
    none = math.comb(224, 8) / math.comb(256, 8)
    assert units_touched(8, places=256, active=8) == pytest.approx(8 * (1 - none))
    assert 8 * (1 - none) == pytest.approx(5.29, abs=0.01)


def test_four_of_eight_groups_lie_on_at_most_four_nodes():
    # Eight nodes have a group each. A node of the four chosen has none with C(96, 8) / C(128, 8).
    none = math.comb(96, 8) / math.comb(128, 8)
    limited = units_touched(8, places=256, active=8, groups=8, groups_active=4)
    assert limited == pytest.approx(4 * (1 - none))
    assert limited == pytest.approx(3.63, abs=0.01)


def test_a_token_reaches_every_rank_once_where_all_experts_are_its_own():
    assert units_touched(4, places=8, active=8) == pytest.approx(4)
    assert units_touched(1, places=8, active=2) == pytest.approx(1)


@pytest.mark.parametrize("groups_active", [1, 2, 3, 4])
@pytest.mark.parametrize("units", [1, 2, 4, 8])
def test_it_is_the_mean_over_all_choices(units, groups_active):
    wanted = counted(units, 8, 2, 4, groups_active)
    found = units_touched(units, places=8, active=2, groups=4, groups_active=groups_active)
    assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.slow
@given(
    st.integers(1, 64),
    st.integers(1, 8),
    st.sampled_from([(1, 1), (2, 1), (4, 2), (8, 4), (8, 8)]),
)
def test_no_more_ranks_than_there_are_or_than_experts_and_more_ranks_never_fewer(
    units, active, groups
):
    def touched(count: int) -> float:
        some, chosen = groups
        return units_touched(count, places=64, active=active, groups=some, groups_active=chosen)

    assert 1 - 1e-9 <= touched(units) <= min(units, active) + 1e-9
    if not 64 % (2 * units):
        assert touched(units) <= touched(2 * units) + 1e-9


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((8, 2, 1, 1), None),
        ((8, 2, 4, 2), None),
        ((8, 2, 3, 1), "3 groups do not divide the 8 experts"),
        ((8, 2, 2, 3), "groups_active is 3; it must be at most the 2 groups"),
        ((8, 5, 4, 2), "2 of 4 groups hold fewer than 5 experts"),
    ],
)
def test_groups_that_cannot_be_chosen_from_are_told(numbers, said):
    fault = routing_fault(*numbers)
    assert fault == said if said is None else said in fault


def test_a_model_with_such_groups_is_refused():
    with pytest.raises(InputError, match="3 groups do not divide the 8 experts"):
        tiny_moe(expert_groups=3)
