"""Values that no field can have are refused with the name of the field, however they got there."""

import re
from typing import Any

import pytest

from stepopsd_agent.config import RunConfig, check_values


def with_value(path: str, value: Any) -> RunConfig:
    """The default settings with another value at a path."""
    config = RunConfig()
    *sections, name = path.split(".")
    section: Any = config
    for one in sections:
        section = getattr(section, one)
    setattr(section, name, value)
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("rollout.stop", None, "rollout.stop is None; give a list, such as [first, second]"),
        ("rollout.stop", "stop", "rollout.stop is 'stop'; give a list"),
        ("model.path", None, "model.path is None; give text"),
        ("model.enable_thinking", None, "model.enable_thinking is None; give true or false"),
        ("env.arguments", None, "env.arguments is None; give settings by name"),
        ("rollout.tasks", None, "rollout.tasks is None; give a number"),
        ("learner.lr", float("nan"), "learner.lr is nan; give a finite number"),
        ("learner.lr", float("inf"), "learner.lr is inf; give a finite number"),
        ("eval.temperature", float("inf"), "eval.temperature is inf; give a finite number"),
        ("rollout.invalid_penalty", float("inf"), "rollout.invalid_penalty is inf; give a finite number"),
        ("eval.temperature", "warm", "eval.temperature is 'warm'; give a number"),
        ("model.chat", False, "model.chat is False; allowed are auto, on, off"),
        ("learner", 3, "learner is 3; give its settings by name, such as learner.lr"),
        ("learner.lora", ["rank", 8], "learner.lora is ['rank', 8]; give its settings by name"),
        ("alarms.gap", "off", "alarms.gap is 'off'; give its settings by name, such as alarms.gap.at"),
    ],
)
def test_values_of_another_kind_are_refused(path: str, value: Any, message: str) -> None:
    """In one sentence that names the setting."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        check_values(with_value(path, value))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seed", -1, "is -1; the smallest value is 0"),
        ("learner.max_grad_norm", 0, "is 0; give more than 0; inf switches it off"),
        ("critic.max_grad_norm", 0.0, "is 0.0; give more than 0; inf switches it off"),
        ("learner.dual_clip", 1.0, "is 1.0; give more than 1; inf switches it off"),
        ("learner.muon_lr", -1e-3, "is -0.001; the smallest value is 0"),
        ("learner.weight_decay", -0.1, "is -0.1; the smallest value is 0"),
        ("critic.weight_decay", -0.1, "is -0.1; the smallest value is 0"),
        ("rollout.invalid_penalty", -0.1, "is -0.1; the smallest value is 0"),
        ("hindsight.ema_rate", 1.5, "is 1.5; the largest value is 1"),
        ("warmstart.muon_lr", -1e-3, "is -0.001; the smallest value is 0"),
        ("warmstart.mistake_rate", 1.5, "is 1.5; the largest value is 1"),
        ("warmstart.novice_mistake_rate", 1.5, "is 1.5; the largest value is 1"),
        ("warmstart.hindsight_share", -0.5, "is -0.5; the smallest value is 0"),
        ("warmstart.hindsight_share", 1.5, "is 1.5; the largest value is 1"),
    ],
)
def test_values_that_would_learn_nothing_or_the_wrong_thing_are_refused(
    path: str, value: float, message: str
) -> None:
    """No gradient is left, a teacher runs away from the policy, a refused command pays, no task is drawn."""
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path} {message}')}$"):
        check_values(with_value(path, value))


def test_values_that_may_be_absent_or_infinite_are_not_refused() -> None:
    """None where the field says so; infinity where a bound is switched off."""
    check_values(RunConfig())
    check_values(with_value("model.system", None))
    check_values(with_value("model.gguf_file", None))
    check_values(with_value("learner.max_grad_norm", float("inf")))
    check_values(with_value("rollout.stop", ("a",)))
