"""The settings of a run, as dataclasses that YAML files and flags are made from."""

from stepopsd_agent.config.alarms import AlarmConfig, AlarmsConfig
from stepopsd_agent.config.environment import EnvConfig, EvalConfig
from stepopsd_agent.config.learning import Attention, CriticConfig, LearnerConfig, LoraConfig, ScheduleConfig
from stepopsd_agent.config.run import (
    HindsightConfig,
    ModelConfig,
    RolloutConfig,
    RunConfig,
    WarmstartConfig,
    config_from_dict,
    config_to_dict,
)

__all__ = [
    "AlarmConfig",
    "AlarmsConfig",
    "Attention",
    "CriticConfig",
    "EnvConfig",
    "EvalConfig",
    "HindsightConfig",
    "LearnerConfig",
    "LoraConfig",
    "ModelConfig",
    "RolloutConfig",
    "RunConfig",
    "ScheduleConfig",
    "WarmstartConfig",
    "config_from_dict",
    "config_to_dict",
]
