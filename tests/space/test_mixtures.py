"""Bounds of mixtures, worked out by hand: a fast wide option, and a slow one that works less."""

import math

import numpy as np
import pytest

from planner.solver.chain.problem import Larger
from planner.space.measures import PEAKS, SUMS, Peak, Sum, measure_of
from planner.space.mixtures import Layers, Rows, mixed_bound

# Four layers: a pass of 1 s and 4 chip-seconds of work each, or of 2 s and 2 chip-seconds.
SUMS_OF, WORK_OF = np.zeros((2, 1, SUMS)), np.zeros((2, 1, PEAKS))
SUMS_OF[:, 0, Sum.DECODE], WORK_OF[:, 0, Peak.TURN] = (1.0, 2.0), (4.0, 2.0)
LAYERS = Layers(SUMS_OF, WORK_OF, np.zeros((2, PEAKS)), np.array([4.0]))
ROWS = Rows(np.array([[0, 1]]), np.array([2.0]), np.zeros((1, SUMS)))
PASS, TURN = measure_of(sums={Sum.DECODE: 1.0}), measure_of(peaks={Peak.TURN: 1.0})


def test_the_larger_of_pass_and_turn_is_told_of_one_choice_of_options():
    # With x layers of the first, a pass of 8 - x s and a turn of 4 + x s: 6 s where x = 2.
    slower = measure_of(larger=(Larger(Sum.DECODE, Peak.TURN, 1.0),))
    found = mixed_bound(LAYERS, ROWS, [slower], [], math.inf, 10.0)
    assert found == pytest.approx([6.0])


def test_a_limit_on_turns_makes_passes_longer():
    # A turn of 5 s leaves one layer to the first option: a pass of 7 s, not of 4 s.
    (found,) = mixed_bound(LAYERS, ROWS, [PASS, TURN], [5.0], math.inf, 7.0)
    assert 6.5 < found <= 7.0 * (1 + 1e-9)
