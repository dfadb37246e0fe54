"""From parsed settings to the objects that more than one command works with."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import (
    UsageError,
    check_device,
    check_environment,
    check_numbers,
    check_packages,
    settings_checked,
)
from stepopsd_agent.cli.threads import use_threads
from stepopsd_agent.config import RunConfig, config_from_dict
from stepopsd_agent.tasks import get, system_message
from stepopsd_envs.user_path import user_path

if TYPE_CHECKING:
    from stepopsd_agent.models import Policy


def config_of(settings: Namespace) -> RunConfig:
    """The ``RunConfig`` among the parsed settings, as it is."""
    values = settings.as_dict()
    return config_from_dict({spec.name: values[spec.name] for spec in fields(RunConfig)})


def run_config(settings: Namespace) -> RunConfig:
    """The ``RunConfig`` among the parsed settings, checked, with the process set up for it."""
    config = config_of(settings)
    check_config(config)
    return config


def check_config(config: RunConfig) -> None:
    """Refuse settings that cannot be used here, and set the process up for the others."""
    check_numbers(config)
    check_environment(config)
    check_packages(config)
    check_device(config.device)
    use_threads(config.threads)


def load_run_policy(config: RunConfig) -> "Policy":
    """The model that the settings name, with the prompt format they ask for."""
    from stepopsd_agent.models import load_policy

    model = config.model
    with settings_checked():
        return load_policy(
            model.path,
            device=config.device,
            dtype=model.dtype,
            gguf_file=model.gguf_file,
            chat=model.chat,
            system=system_message(config),
            enable_thinking=model.enable_thinking,
        )


def trained_policy(config: RunConfig) -> "Policy":
    """The model to play or to train further; the name of a fresh one is refused."""
    refuse_fresh(config)
    return load_run_policy(config)


def refuse_fresh(config: RunConfig) -> None:
    """Refuse the name of a fresh model, which has nothing that could be played or trained further."""
    if config.model.path != "tiny":
        return
    with settings_checked():
        demonstrated = get(config.env.id).expert is not None
    pretrained = "give --model.path a pretrained model (a folder, or its name on the hub)"
    advice = (
        "make one that does with: stepopsd warmstart --out FOLDER, then give --model.path FOLDER; or "
        f"{pretrained}, which needs no warm start"
        if demonstrated
        else f"{pretrained}; for a warm start the TaskSpec of {config.env.id} would have to name an expert"
    )
    raise UsageError(f"model.path is 'tiny', a fresh model that knows no commands; {advice}")


def episode_folder(path: str) -> Path:
    """The folder of episodes: a run folder keeps them in ``episodes/``."""
    folder = user_path(path)
    inner = folder / "episodes"
    return inner if inner.is_dir() else folder
