"""A pipeline of stages: what a token waits, what a batch waits.

A pass takes `passes_s`: the sum over the stages of their work and of the hop behind each.
`slowest_s` is the longest that any one stage, or the link behind it, is busy with a pass.

[1] Y. Huang et al., "GPipe", NeurIPS 2019 (bubble of a filled pipeline).
[2] E. G. Coffman, "Computer and Job-Shop Scheduling Theory", 1976 (a flow shop of equal jobs ends
    after the sum over the stages plus the slowest once per job more).
"""

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]


def fill_and_drain_s(pass_s: Numbers, slowest_s: Numbers, passes: Numbers) -> Numbers:
    """Until the last of `passes` equal passes has left the last stage [1, 2]. [s]"""
    return pass_s + (passes - 1) * slowest_s


def cycle_s(pass_s: Numbers, slowest_s: Numbers) -> Numbers:
    """Between two tokens of one sequence: its own way round, or the turn of all micro-batches at
    the slowest stage, whichever is longer. `slowest_s` counts all micro-batches. [s]"""
    return np.maximum(pass_s, slowest_s)


def request_s(first_token_s: Numbers, per_token_s: Numbers, output_tokens: Numbers) -> Numbers:
    """From a request to its last token. [s]"""
    return first_token_s + (output_tokens - 1) * per_token_s


def bubble_fraction(busy_s: Numbers, stages: int, period_s: Numbers) -> Numbers:
    """Share of the stages' time in which they wait; `busy_s` is summed over the stages [1]. [1]"""
    return np.maximum(0.0, 1.0 - busy_s / (stages * period_s))
