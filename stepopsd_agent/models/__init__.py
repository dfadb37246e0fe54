"""Language models: loading, prompting, scoring."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepopsd_agent.models.policy import ModelFolderError, Policy, load_policy
    from stepopsd_agent.models.prompt_format import PromptFormat, make_format
    from stepopsd_agent.models.scoring import Scorer
    from stepopsd_agent.models.tiny import tiny_policy

_LAZY = {
    "ModelFolderError": "stepopsd_agent.models.policy",
    "Policy": "stepopsd_agent.models.policy",
    "PromptFormat": "stepopsd_agent.models.prompt_format",
    "Scorer": "stepopsd_agent.models.scoring",
    "load_policy": "stepopsd_agent.models.policy",
    "make_format": "stepopsd_agent.models.prompt_format",
    "tiny_policy": "stepopsd_agent.models.tiny",
}
"""Names whose modules import transformers, and so are loaded when they are asked for."""

__all__ = [
    "ModelFolderError",
    "Policy",
    "PromptFormat",
    "Scorer",
    "load_policy",
    "make_format",
    "tiny_policy",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
