"""A training run: the loop over updates, its files, its alarms and its plan."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepopsd_agent.run.run import Interrupted, run_training
    from stepopsd_agent.run.trainer import Trainer

_LAZY = {
    "Interrupted": "stepopsd_agent.run.run",
    "Trainer": "stepopsd_agent.run.trainer",
    "run_training": "stepopsd_agent.run.run",
}
"""Names whose modules import transformers, and so are loaded when they are asked for."""

__all__ = [
    "Interrupted",
    "Trainer",
    "run_training",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
