"""Requests that come when they like: a Poisson stream, every request worth the same work.

[1] A. Khintchine, 1932, and F. Pollaczek, 1930: the mean wait at one server.
[2] J. Abate, G. Choudhury, W. Whitt, "Exponential approximations for tail probabilities in queues,
    I: waiting times", Operations Research 43(5), 1995.
[3] J. W. Cohen, "The multiple phase service network with generalized processor sharing", Acta
    Informatica 12, 1979.
[4] J. Little, "A proof for the queuing formula L = λW", Operations Research 9(3), 1961.
[5] H. E. Daniels, "The Poisson process with a curved absorbing boundary", Bulletin of the
    International Statistical Institute 40, 1963.
[6] E. B. Wilson, M. M. Hilferty, "The distribution of chi-square", PNAS 17, 1931.
[7] G. Cosmetatos, "Approximate explicit formulae for the average queueing time in the processes
    (M/D/r) and (D/M/r)", INFOR 13, 1975; its share of load is taken at one half throughout.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = float | Floats


def queue_s(work_s: Numbers, requests_per_s: Numbers) -> Numbers:
    """Mean wait for the work of those who came before; infinite where more comes than is done
    [1]. [s]"""
    load = np.asarray(requests_per_s * work_s)
    room = np.where(load < 1.0, 1.0 - load, 1.0)
    return np.where(load < 1.0, load * work_s / (2.0 * room), np.inf)[()]


def waits_longer_fraction(waited_s: Numbers, work_s: float, requests_per_s: float) -> Numbers:
    """Share of requests that wait longer: the exponential tail of equal services, never more
    than find somebody [2]. [1]"""
    load = requests_per_s * work_s
    front, decay = _tail(load)
    waited = np.asarray(waited_s)
    tail = front * np.exp(-decay * np.maximum(waited, 0.0) / work_s)
    return np.where(waited < 0.0, 1.0, np.minimum(load, tail))[()]


def waited_s(share: Floats, work_s: float, requests_per_s: float) -> Floats:
    """What such shares of the requests wait at most: the other way round [2]. [s]"""
    load = requests_per_s * work_s
    if not load:
        return np.zeros(np.shape(share))
    front, decay = _tail(load)
    longer = 1.0 - np.asarray(share)
    waited = work_s * np.log(front / longer) / decay
    return np.where(longer < load, np.maximum(waited, 0.0), 0.0)


def _tail(load: float) -> tuple[float, float]:
    """Of waits at equal services of 1: the factor before the exponential, and how fast that
    falls."""
    # The root above 0 of load × (e^decay - 1) = decay: from below it, each step to the logarithm
    # comes nearer and never beyond.
    decay = 2.0 * (1.0 - load) + 1e-12
    for _ in range(60):
        decay = max(decay, math.log1p(decay / load))
    return (1.0 - load) / (load * math.exp(decay) - 1.0), decay


def in_flight_fraction(residences_s: Floats, requests_per_s: float) -> Floats:
    """Probability of 0, 1, 2, … requests in flight where each would stay `residences_s[n - 1]`
    among n, shape (n + 1,): the product form of generalised processor sharing, whatever the
    distribution of the work [3]. [1]"""
    counts = np.arange(1, len(residences_s) + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(requests_per_s * residences_s / counts))])
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum())


def in_flight_sequences(residence_s: Numbers, requests_per_s: float) -> Numbers:
    """Requests in flight on average [4]. [1]"""
    return requests_per_s * residence_s


def caught_up_fraction(expected: Floats, counts: Floats) -> Floats:
    """Probability that at some n of `counts` no more than n have come of a Poisson stream, up to
    that n, shape (cases, counts); `expected[:, k]` come on average until there is time for
    `counts[k]`, and only grow with it.

    Up to EXACT, where all are counted, it is exact [5]: whoever catches up first at n does so with n
    that have come, so what catches up there is what has n, but for those who did before. Beyond,
    where counts may be any, it is what stands there alone, with the cube root's normal tail [6]: a
    little too low, for who caught up in between may have fallen back. [1]
    """
    exact = int(np.searchsorted(counts, EXACT, side="right"))
    first = np.zeros((len(expected), exact))
    rows, start = np.arange(len(expected)), 0
    until, caught_up = expected[:, :exact], np.zeros((len(expected), exact))
    for n in range(exact):
        now = _poisson(n, until[:, n])
        if n > start:
            between = until[:, n, None] - until[:, start:n]
            again = caught_up[:, start:n] * _poisson(n - np.arange(start, n), between)
            now = np.maximum(0.0, now - again.sum(axis=1))
        first[rows, n] = caught_up[:, n] = now
        # Nothing but rounding is lost of who hardly ever caught up so early, or is still behind.
        if n == start and now.max() <= NEVER:
            start = n + 1
        if n % 8 == 7:
            behind = caught_up.sum(axis=1) < 1.0 - NEVER
            rows, until, caught_up = rows[behind], until[behind], caught_up[behind]
            if not len(rows):
                break

    caught = np.minimum(1.0, np.cumsum(first, axis=1))
    if exact == len(counts):
        return np.asarray(caught)
    beyond = _poisson_at_most(counts[exact:], expected[:, exact:])
    return np.maximum.accumulate(np.concatenate([caught, beyond], axis=1), axis=1)


EXACT = 64
"""Requests that are counted one by one."""
NEVER = 1e-13
"""A probability within rounding of none."""


def _poisson(count: int | NDArray[np.intp], expected: Floats) -> Floats:
    """Probability of just so many."""
    log_factorials = _log_factorials()[count]
    logs = count * np.log(np.maximum(expected, 1e-300)) - expected - log_factorials
    return np.asarray(np.exp(logs))


@cache
def _log_factorials() -> Floats:
    """Of 0 to EXACT."""
    counts = np.maximum(1, np.arange(EXACT + 1))
    return np.asarray(np.cumsum(np.log(counts)))


def _poisson_at_most(count: Floats, expected: Floats) -> Floats:
    """Probability of no more than so many, where they are many [6]."""
    cubes = 1.0 / (9.0 * (count + 1.0))
    deviate = ((expected / (count + 1.0)) ** (1 / 3) - 1.0 + cubes) / np.sqrt(cubes)
    return np.asarray(_normal_tail(deviate))


def _normal_tail(deviate: Floats) -> Floats:
    """Share of a normal distribution beyond, by its logistic likeness: within 2e-4.

    S. R. Bowling and others, "A logistic approximation to the cumulative normal distribution",
    Journal of Industrial Engineering and Management 2(1), 2009.
    """
    bent = np.clip(1.5976 * deviate + 0.07056 * deviate**3, -700.0, 700.0)
    return np.asarray(1.0 / (1.0 + np.exp(bent)))


def place_queue_s(places: int, load: float, stays_s: float) -> float:
    """Mean wait of who finds all places taken, each for equal times: half of that where ends were
    as likely at any time, and a little more where places are many [7]. [s]"""
    many = (places - 1.0) * (math.sqrt(4.0 + 5.0 * places) - 2.0) / (16.0 * places)
    return stays_s / places * (0.5 / (1.0 - load) + many)


def trapezoid_s(share: Numbers, one: Numbers, other: Numbers) -> Numbers:
    """What the sum of two uniform parts stays within with some probability, each between nothing
    and its width: its density is a trapezoid.

    A. Rényi, "Probability Theory", 1970, section 4.9. [s]
    """
    wide = np.maximum(one, other)
    narrow = np.minimum(one, other)
    # Up to where the density is level, between, and as far from the upper end as from the lower.
    lower = np.minimum(share, 1.0 - np.asarray(share))
    rising = np.sqrt(2.0 * lower * wide * narrow)
    level = lower * wide + narrow / 2.0
    reached = np.where(rising < narrow, rising, level)
    return np.where(np.asarray(share) <= 0.5, reached, wide + narrow - reached)[()]


def trapezoid_longer_fraction(time: Numbers, one: Numbers, other: Numbers) -> Numbers:
    """Share of such sums that are longer. [1]"""
    wide = np.maximum(np.maximum(one, other), 1e-150)
    narrow = np.maximum(np.minimum(one, other), 1e-150)
    upper = np.asarray(time) > (wide + narrow) / 2.0
    end = np.clip(np.where(upper, wide + narrow - time, time), 0.0, None)
    rising = np.minimum(end, narrow) ** 2 / (2.0 * wide * narrow)
    within = rising + np.maximum(0.0, end - narrow) / wide
    longer = np.where(upper, within, 1.0 - within)
    return np.where(np.asarray(time) < 0.0, 1.0, longer)[()]
