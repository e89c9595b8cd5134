"""Plans handed on: `to_engine` writes the files and commands that start an engine with a plan."""

from planner.export.exporting import to_engine
from planner.export.exports import Export

__all__ = ["Export", "to_engine"]
