"""Playing episodes: any agent, any number of environments, one road to the records."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepopsd_agent.rollout.evaluation import evaluate_policy
    from stepopsd_agent.rollout.grouping import groups, mixed_groups, whole_groups
    from stepopsd_agent.rollout.language_model import Backend, LanguageModel, rollout
    from stepopsd_agent.rollout.playing import Attempt, BatchAgent, play, play_agent
    from stepopsd_agent.rollout.sampling import SamplingParams
    from stepopsd_agent.rollout.success import success_table

_LAZY = {
    "Attempt": "stepopsd_agent.rollout.playing",
    "Backend": "stepopsd_agent.rollout.language_model",
    "BatchAgent": "stepopsd_agent.rollout.playing",
    "LanguageModel": "stepopsd_agent.rollout.language_model",
    "SamplingParams": "stepopsd_agent.rollout.sampling",
    "evaluate_policy": "stepopsd_agent.rollout.evaluation",
    "groups": "stepopsd_agent.rollout.grouping",
    "mixed_groups": "stepopsd_agent.rollout.grouping",
    "play": "stepopsd_agent.rollout.playing",
    "play_agent": "stepopsd_agent.rollout.playing",
    "rollout": "stepopsd_agent.rollout.language_model",
    "success_table": "stepopsd_agent.rollout.success",
    "whole_groups": "stepopsd_agent.rollout.grouping",
}
"""Names whose modules import transformers, and so are loaded when they are asked for."""

__all__ = [
    "Attempt",
    "Backend",
    "BatchAgent",
    "LanguageModel",
    "SamplingParams",
    "evaluate_policy",
    "groups",
    "mixed_groups",
    "play",
    "play_agent",
    "rollout",
    "success_table",
    "whole_groups",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
