"""Constants that suit measurements: damped Gauss-Newton steps [1] on robust errors [2], held to
where they start.

[1] K. Levenberg, 1944; D. Marquardt, 1963. [2] P. Charbonnier et al., "Deterministic
edge-preserving regularization", 1997.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_STEP = 0.7
"""Of a logarithm, at once."""


def descended(
    errors_at: Callable[[Floats], Floats],
    start: Floats,
    *,
    hold: float,
    most: Floats,
    scale: float,
    counted: Floats,
    step: float,
    rounds: int,
    tolerance: float,
) -> Floats:
    """Logarithms of constants with the least sum of pseudo-Huber errors and of `hold` × their
    squared way from the start.

    `errors_at` gives ln(predicted / measured) of each row, shape (rows,), each counted with its
    weight; errors beyond `scale` count less and less; no logarithm gets above `most`, slopes are
    taken over `step` (downwards where it would); the search ends where a step gains less than
    `tolerance` of what is left, or after so many rounds.
    """

    def cost(errors: Floats, at: Floats) -> float:
        robust = 2 * scale**2 * (np.sqrt(1 + (errors / scale) ** 2) - 1)
        return float(counted @ robust + hold * ((at - start) ** 2).sum())

    def slopes_at(here: Floats, errors: Floats) -> Floats:
        steps = np.where(here + step > most, -step, step)
        columns = []
        for one, unit in zip(steps, np.eye(len(here)), strict=True):
            columns.append((errors_at(here + one * unit) - errors) / one)
        return np.stack(columns, axis=1)

    here = start
    errors = errors_at(here)
    damping = 1e-2
    for _ in range(rounds):
        slopes = slopes_at(here, errors)
        pulls = slopes * (counted / np.sqrt(1 + (errors / scale) ** 2))[:, None]
        curvature = pulls.T @ slopes + hold * np.eye(len(here))
        gradient = pulls.T @ errors + hold * (here - start)

        # More damping makes the step shorter and steeper downhill, until it gains something.
        for _ in range(5):
            damped = curvature + damping * np.diag(np.diag(curvature) + 1e-9)
            way = np.clip(np.linalg.solve(damped, gradient), -MOST_STEP, MOST_STEP)
            there = np.minimum(here - way, most)
            tried = errors_at(there)
            gain = cost(errors, here) - cost(tried, there)
            if gain > 0:
                break
            damping *= 6
        else:
            break
        here, errors = there, tried
        damping = max(damping / 4, 1e-5)
        if gain < tolerance * cost(errors, here):
            break
    return here
