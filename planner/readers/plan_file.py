"""A plan from a file: of its own, or that of a run."""

from pathlib import Path

from planner.plan import Plan
from planner.readers.files import read_record
from planner.readers.run_file import read_run


def read_plan(path: Path) -> Plan:
    """The plan that a file holds."""
    run = read_run(path, "a plan")
    if run is not None:
        return run.plan
    return read_record(Plan, path, "a plan")
