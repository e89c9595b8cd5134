"""Work that is cut off."""

import math

from planner import allowance
from planner.planning.cutting_off import cut_off
from tests.clock import ctrl_c, ticking


def worked(looks):
    for _ in range(looks):
        allowance.look()


def test_what_is_done_in_time_is_not_cut_off():
    assert cut_off(lambda: worked(3), math.inf) is None


def test_work_is_cut_off_at_its_deadline_and_what_follows_is_not():
    with ticking(1.0), allowance.allowed_for(100.0):
        assert cut_off(lambda: worked(9), 5.0) is False
        worked(3)


def test_after_ctrl_c_no_more_work_is_done():
    with allowance.allowed_for():
        with ctrl_c(2):
            assert cut_off(lambda: worked(5), math.inf) is True
        assert cut_off(lambda: worked(1), math.inf) is True
