"""The measurements that were published, read once in a process."""

import functools

from planner.calibration.measurements import PUBLISHED, Measurement, read_measurements


@functools.cache
def published() -> tuple[Measurement, ...]:
    """All of them."""
    return read_measurements(PUBLISHED)
