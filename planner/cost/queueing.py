"""Requests that come when they like: a Poisson stream, every request worth the same work.

[1] A. Khintchine, 1932, and F. Pollaczek, 1930: the mean wait at one server.
[2] J. Abate, G. Choudhury, W. Whitt, "Exponential approximations for tail probabilities in queues,
    I: waiting times", Operations Research 43(5), 1995.
[3] J. W. Cohen, "The multiple phase service network with generalized processor sharing", Acta
    Informatica 12, 1979.
[4] J. Little, "A proof for the queuing formula L = λW", Operations Research 9(3), 1961.
"""

import math

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
    # The root above 0 of load × (e^decay - 1) = decay: from below it, each step to the logarithm
    # comes nearer and never beyond.
    decay = 2.0 * (1.0 - load) + 1e-12
    for _ in range(60):
        decay = max(decay, math.log1p(decay / load))

    waited = np.asarray(waited_s)
    front = (1.0 - load) / (load * math.exp(decay) - 1.0)
    tail = front * np.exp(-decay * np.maximum(waited, 0.0) / work_s)
    return np.where(waited < 0.0, 1.0, np.minimum(load, tail))[()]


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
