"""Constants that suit measurements: least squares with a robust loss [1, 2], held to where they
start.

[1] M. A. Branch, T. F. Coleman, Y. Li, "A subspace, interior, and conjugate gradient method for
large-scale bound-constrained minimization problems", 1999 (`scipy.optimize.least_squares`).
[2] P. Charbonnier et al., "Deterministic edge-preserving regularization", 1997.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.errors import InputError

Floats = NDArray[np.float64]


def robust_minimum(
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
    least_squares = _least_squares()
    roots = np.sqrt(counted)
    # Rows that do not count have no error; they are not divided by nothing either.
    widths = np.maximum(counted * scale**2, 1e-300)
    # A start on its bound is moved inside: the search takes none that is not.
    inside = np.minimum(start, most - 1e-9)

    known: dict[bytes, Floats] = {}

    def residuals(here: Floats) -> Floats:
        # The slopes at a point are asked for after its errors, not at every point.
        known.clear()
        known[here.tobytes()] = errors_at(here)
        return np.concatenate([roots * known[here.tobytes()], np.sqrt(hold) * (here - start)])

    def slopes(here: Floats) -> Floats:
        errors = known.get(here.tobytes())
        if errors is None:
            errors = errors_at(here)
        steps = np.where(here + step > most, -step, step)
        columns = []
        for one, unit in zip(steps, np.eye(len(here)), strict=True):
            columns.append(roots * (errors_at(here + one * unit) - errors) / one)
        held = np.sqrt(hold) * np.eye(len(here))
        return np.concatenate([np.stack(columns, axis=1), held])

    found = least_squares(
        residuals,
        inside,
        jac=slopes,
        bounds=(np.full(len(start), -np.inf), most),
        loss=_loss(widths),
        ftol=tolerance,
        xtol=1e-6,
        gtol=None,
        max_nfev=rounds,
    )
    return np.asarray(found.x, dtype=np.float64)


def _loss(widths: Floats) -> Callable[[Floats], Floats]:
    """Pseudo-Huber of the squared errors of rows, each with its squared scale, and its two
    derivatives; what follows the rows, the way from the start, counts in squares."""
    rows = len(widths)

    def loss(squares: Floats) -> Floats:
        shape = np.array([squares, np.ones_like(squares), np.zeros_like(squares)])
        grown = 1 + squares[:rows] / widths
        shape[0, :rows] = 2 * widths * (np.sqrt(grown) - 1)
        shape[1, :rows] = grown**-0.5
        shape[2, :rows] = -0.5 * grown**-1.5 / widths
        return shape

    return loss


def _least_squares() -> Callable[..., Any]:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError(
            "calibration needs scipy: pip install 'spread-planner[calibration]'"
        ) from None
    found: Callable[..., Any] = least_squares
    return found
