"""``stepopsd train``."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import (
    UsageError,
    check_alarms,
    checked_games,
    fresh_folder,
    resumed_file,
    settings_checked,
)
from stepopsd_agent.cli.common import describe, load_run_policy, run_config, trained_policy
from stepopsd_agent.cli.parser import Parser, complain
from stepopsd_agent.config import RunConfig, config_to_dict
from stepopsd_agent.credit import CreditMethod
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_agent.tasks import evaluation_sets, get
from stepopsd_envs.user_path import user_path

HELP = "train a policy with GRPO and a credit method, or continue a run with --resume RUN"
USES = frozenset(
    "seed device threads updates checkpoint_every tracking env model rollout eval hindsight schedule learner "
    "critic alarms credit".split()
)


def add_flags(parser: Parser) -> None:
    """The run folder: a new one, or the one to continue."""
    absent = argparse.SUPPRESS  # a default would get into --print_config
    parser.add_argument("--out", type=str, default=absent, metavar="FOLDER", help="folder to write to")
    parser.add_argument(
        "--resume",
        type=str,
        default=absent,
        metavar="RUN",
        help="continue this run folder with its own config; takes no other flag",
    )


def complete(
    settings: Namespace, arguments: Sequence[str], parse: Callable[[Sequence[str]], Namespace]
) -> Namespace:
    """The settings of the run that is continued are those in its folder."""
    if settings.get("resume") is None:
        return settings
    folder = user_path(settings.resume)
    try:
        config = resumed_file(folder, "config.yaml", "train")
    except UsageError as error:
        raise SystemExit(complain(str(error))) from None
    saved: Namespace = parse(["train", "--config", str(config)])["train"]
    saved["resume"] = str(folder)
    return saved


def run(settings: Namespace) -> int:
    """Train, or continue the run in the folder ``settings.resume``, whose config the settings then are."""
    config, name, method, chosen = checked_settings(settings)
    resumed: str | None = settings.get("resume")
    out = fresh_folder(settings.get("out"), "train") if resumed is None else user_path(resumed)
    with checked_games(config.env, *evaluation_sets(config)):
        summary = _train(config, name, method, chosen, out, resumed is not None)
    unit = f"{get(config.env.id).unit}s"
    print(f" start: {describe(summary['start'], unit)}")
    print(f" final: {describe(summary['final'], unit)}")
    if failed := summary["errors"]:
        print(f"errors: {failed} attempts of training ended in an error and taught nothing")
    print(f"run folder: {out} (summary.json, curve.png, episodes/; tensorboard --logdir {out})")
    return 0


def checked_settings(settings: Namespace) -> tuple[RunConfig, str, CreditMethod, dict[str, Any]]:
    """The settings of a run; the credit method's name, the method, and its fields; all of it checked."""
    config = run_config(settings)
    chosen = settings.credit.as_dict()
    name = chosen.pop("method")
    with settings_checked():
        method = credit.make(name, **chosen)
    check_alarms(config.alarms, name, method.scheduled)
    return config, name, method, chosen


def saved_settings(config: RunConfig, name: str, fields: dict[str, Any]) -> bytes:
    """A run's settings as a config file."""
    content = {**config_to_dict(config), "credit": {"method": name, **fields}}
    return yaml.safe_dump(content, sort_keys=False).encode()


def _train(
    config: RunConfig, name: str, method: CreditMethod, fields: dict[str, Any], out: Path, resumed: bool
) -> dict[str, Any]:
    """Begin or continue the run in ``out``; return its summary."""
    from stepopsd_agent.run import run_training
    from stepopsd_agent.run.files import save_model

    # Not where the model came from: that folder may have changed or gone since the run began.
    start = out / ("base" if config.learner.lora.rank else "model")  # the base of an adapter has to stay
    begun = start.is_dir()
    started = replace(config, model=replace(config.model, path=str(start), gguf_file=None))
    policy = load_run_policy(started) if begun else trained_policy(config)
    if not resumed:
        out.mkdir(parents=True, exist_ok=True)
        # The first file of a run folder: a folder that has it can be continued.
        write_bytes_atomic(out / "config.yaml", saved_settings(config, name, fields))
    if not begun:
        save_model(policy, start)
    return run_training(config, name, method, policy, out)
