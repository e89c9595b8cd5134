"""What a wheel holds beside the checkout's own package: its machines, and the package once more."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COPY = "spread_planner_files"
"""As `spread_planner.py` calls it: a folder that no other distribution writes into."""


class WheelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Only for wheels that are installed: an editable one has the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add files to those that are selected."""
        if version != "standard":
            return
        build_data["force_include"] |= {
            "topologies": "planner/topologies",
            "planner": f"{COPY}/planner",
            # A source has one place: the second is given entry by entry.
            **{
                f"topologies/{path.name}": f"{COPY}/planner/topologies/{path.name}"
                for path in Path(self.root, "topologies").iterdir()
            },
        }
