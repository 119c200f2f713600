"""What a wheel carries beside the package, for `softreg demo`. An installation from a checkout reads it there."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("Snakefile", "workflow", "profiles", "config/demo.yaml")


class WorkflowInWheel(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Puts the workflow, its profiles and the demo study into `softreg/project`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files, but to an editable wheel."""
        if version == "standard":
            build_data["force_include"].update({part: f"softreg/project/{part}" for part in PARTS})
