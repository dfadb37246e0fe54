"""``stepopsd warmstart``."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from stepopsd_agent.cli.arguments import given
from stepopsd_agent.cli.basic import OF_TRAINING
from stepopsd_agent.cli.checks import checked_games, settings_checked
from stepopsd_agent.cli.commands.train import USES as TRAIN
from stepopsd_agent.cli.common import config_of, load_run_policy, run_config
from stepopsd_agent.cli.config_file import shortest_name
from stepopsd_agent.cli.output_paths import fresh_folder
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.config import EnvConfig, config_to_dict
from stepopsd_agent.tasks import evaluation_sets, get
from stepopsd_envs.user_path import typed

HELP = "clone an exploring expert into a model, so that training has something to improve"
USES = frozenset("seed device threads env model rollout eval hindsight warmstart".split())
IGNORES = OF_TRAINING | {"eval.every"}


def add_flags(parser: Parser) -> None:
    """The model folder to make."""
    parser.add_argument(
        "--out", type=str, default=argparse.SUPPRESS, metavar="FOLDER", help="folder to write to"
    )


def run(settings: Namespace) -> int:
    """Clone the expert and evaluate the result."""
    config = run_config(settings)
    out = fresh_folder(settings.get("out"), "warmstart")
    with checked_games(config.env, *evaluation_sets(config)):
        from stepopsd_agent.rollout import describe
        from stepopsd_agent.run import Interrupted, warmstart
        from stepopsd_agent.run.files import check_can_make

        # Loaded first: a model that cannot be loaded is reported before the expert plays for minutes.
        policy = None if config.model.path == "tiny" else load_run_policy(config)
        check_can_make(out)
        try:
            with settings_checked():
                table = warmstart(config, policy, out)
        except KeyboardInterrupt as error:
            if out.is_dir():
                left = f"the model is in {out}; it is evaluated by stepopsd eval --model.path {typed(out)}"
            else:
                left = "nothing is kept before the model is cloned: run it again"
            raise Interrupted(f"stopped; {left}") from error
    print(describe(table, f"{get(config.env.id).unit}s"))
    print(f"model folder: {out}; train it with: {train_command(settings, out)}")
    return 0


def train_command(settings: Namespace, model: Path) -> str:
    """The command that trains the model with the settings of this warm start: its files, then its flags."""
    from stepopsd_agent.cli.main import parse  # which lists this command

    files = [f"--config={path}" for path in settings.get("config") or []]
    named = given(files, "env").get("id", EnvConfig().id)
    env_id = [] if named == settings.env.id else [f"--env.id={settings.env.id}"]
    of_files = config_to_dict(config_of(parse(["train", *files, *env_id])["train"]))
    trained_with = config_to_dict(config_of(settings))
    trained_with["model"]["path"] = of_files["model"]["path"] = ""
    flags = [
        flag
        for name in sorted(trained_with.keys() & TRAIN)
        for flag in _flags(name, trained_with[name], of_files[name])
    ]
    shown = [f"--config={shortest_name(str(path))}" for path in settings.get("config") or []]
    command = ["stepopsd", "train", *shown, *env_id, *flags, f"--model.path={model}"]
    return f"{shlex.join(command)} --out RUN"


def _flags(name: str, value: Any, before: Any) -> list[str]:
    """Flags that bring a setting from one value to another."""
    if value == before:
        return []
    if isinstance(value, dict) and isinstance(before, dict):
        return [flag for key in value for flag in _flags(f"{name}.{key}", value[key], before.get(key))]
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}"]
