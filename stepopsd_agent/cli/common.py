"""From parsed settings to the objects that more than one command works with."""

from dataclasses import fields
from typing import Any

import torch
from jsonargparse import Namespace

from stepopsd_agent.cli.checks import (
    UsageError,
    check_device,
    check_environment,
    check_numbers,
    settings_checked,
)
from stepopsd_agent.config.run import RunConfig, config_from_dict
from stepopsd_agent.models.policy import Policy, load_policy
from stepopsd_agent.models.prompt_format import PromptFormat, make_format
from stepopsd_agent.tasks.registry import environment


def config_of(settings: Namespace) -> RunConfig:
    """The ``RunConfig`` among the parsed settings, as it is."""
    values = settings.as_dict()
    return config_from_dict({f.name: values[f.name] for f in fields(RunConfig)})


def run_config(settings: Namespace) -> RunConfig:
    """The ``RunConfig`` among the parsed settings, checked, with the process set up for it."""
    config = config_of(settings)
    check_numbers(config)
    check_environment(config)
    check_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    return config


def trained_policy(config: RunConfig) -> Policy:
    """The model to play or to train further; the name of a fresh one is refused."""
    if config.model.path == "tiny":
        raise UsageError(
            "model.path is 'tiny', a fresh model that knows no commands; make one that does with: "
            "stepopsd warmstart --out FOLDER, then give --model.path FOLDER"
        )
    return load_policy(config.model, config.device)


def prompt_format(policy: Policy, config: RunConfig) -> PromptFormat:
    """How this model is prompted."""
    own = environment(config.env.id).system
    system = own if config.model.system is None else config.model.system
    with settings_checked():
        return make_format(policy, config.model.chat, system, config.model.enable_thinking)


def describe(table: dict[str, Any], unit: str = "games") -> str:
    """One line of a success table."""
    low, high = table["ci95"]
    return f"success {table['success']:.1%} of {table['n']} {unit} (95 % interval {low:.1%} to {high:.1%})"
