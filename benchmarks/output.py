"""Results as JSON: the figures, the command, and the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import write_json_atomic


def write_result(path: Path, figures: Mapping[str, Any], command: str) -> None:
    """Write figures with the command (without paths of this machine), commit, versions and hardware."""
    write_json_atomic(path, {**figures, "command": command, **environment_facts()})
