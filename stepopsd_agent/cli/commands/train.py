"""``stepopsd train``."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import (
    UsageError,
    check_alarms,
    check_device,
    check_sharding,
    checked_games,
    settings_checked,
)
from stepopsd_agent.cli.common import load_run_policy, run_config, trained_policy
from stepopsd_agent.cli.engine_checks import check_shared_play, tell_unread
from stepopsd_agent.cli.launching import follows, launched, own_device
from stepopsd_agent.cli.output_paths import fresh_folder, only_writer, resumed_file
from stepopsd_agent.cli.parser import Parser, complain
from stepopsd_agent.config import RunConfig, config_to_dict
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_agent.tasks import evaluation_sets, get, make_stack
from stepopsd_envs.user_path import typed, user_path

if TYPE_CHECKING:
    from stepopsd_agent.credit import CreditMethod
    from stepopsd_agent.run import Processes

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
    if not launched():
        return _run(settings, None)
    from stepopsd_agent.run import joined

    check_device(device := own_device(settings.device))
    folder = settings.get("resume") or settings.get("out") or "FOLDER"
    with joined(device, f"-m stepopsd_agent train --resume {typed(folder)}") as processes:
        return _run(settings, processes)


def _run(settings: Namespace, processes: "Processes | None") -> int:
    config, name, method, chosen = checked_settings(settings)
    tell_unread(config)
    resumed: str | None = settings.get("resume")
    out = fresh_folder(settings.get("out"), "train") if resumed is None else user_path(resumed)
    if resumed is not None and not follows():
        _tell_finished(out, config.updates)
    with checked_games(config.env, *evaluation_sets(config)):
        _check_answers(config, method)
        summary = _train(config, name, method, chosen, out, resumed is not None, processes)
    if follows():
        return 0
    from stepopsd_agent.rollout import describe

    unit = f"{get(config.env.id).unit}s"
    print(f" start: {describe(summary['start'], unit)}")
    print(f" final: {describe(summary['final'], unit)}")
    if failed := summary["errors"]:
        print(f"errors: {failed} attempts of training ended in an error and taught nothing")
    print(f"run folder: {out} (summary.json, curve.png, episodes/; tensorboard --logdir {out})")
    return 0


def _check_answers(config: RunConfig, method: "CreditMethod") -> None:
    """Refuse gold answers of tasks that have none before anything is played, and not after an evaluation."""
    from stepopsd_agent.learner import require_answers
    from stepopsd_agent.run import asks_a_teacher

    scored = "gold_answer_logprob" in method.needs
    told = config.hindsight.mode == "gold" and asks_a_teacher(method.needs)
    if scored or told:
        with settings_checked(), closing(make_stack(config.env)) as env:
            require_answers(env, scored=scored, told=told)


def _tell_finished(run: Path, updates: int) -> None:
    """Say so where nothing is left to do; `summary.json` is written last."""
    summary = run / "summary.json"
    if summary.is_file() and json.loads(summary.read_text(encoding="utf-8"))["updates"] == updates:
        print(
            f"stepopsd: notice: {run} has made all of its {updates} updates; for more of them raise updates "
            f"in {run / 'config.yaml'}",
            file=sys.stderr,
        )


def checked_settings(settings: Namespace) -> tuple[RunConfig, str, "CreditMethod", dict[str, Any]]:
    """The settings of a run; the credit method's name, the method, and its fields; all of it checked."""
    config = run_config(settings)
    chosen = settings.credit.as_dict()
    name = chosen.pop("method")
    with settings_checked():
        method = credit.make(name, **chosen)
    check_alarms(config.alarms, name, method.scheduled)
    check_sharding(config, method.needs)
    check_shared_play(config, launched())
    if config.rollout.anchor_similarity != 1 and {"past", "next_anchor"} <= method.needs:
        raise UsageError(
            f"rollout.anchor_similarity is {config.rollout.anchor_similarity}, but credit method {name!r} "
            "compares observations with those of earlier updates, word for word: set it to 1, or choose "
            "another credit.key"
        )
    if config.learner.sharding != "none" and not launched():
        resumed = settings.get("resume")
        rest, where = (
            ("...", "") if resumed is None else (f"--resume {typed(resumed)}", " in its config.yaml")
        )
        raise UsageError(
            f"learner.sharding is {config.learner.sharding}, which needs processes to share the model: start "
            f"them with torchrun --nproc-per-node N -m stepopsd_agent train {rest}, or set it to none{where}"
        )
    return config, name, method, chosen


def saved_settings(config: RunConfig, name: str, fields: dict[str, Any]) -> bytes:
    """A run's settings as a config file."""
    content = {**config_to_dict(config), "credit": {"method": name, **fields}}
    return yaml.safe_dump(content, sort_keys=False).encode()


def _train(
    config: RunConfig, name: str, method: "CreditMethod", fields: dict[str, Any], out: Path, resumed: bool,
    processes: "Processes | None",
) -> dict[str, Any]:  # fmt: skip
    """Begin or continue the run in ``out``; return its summary."""
    from stepopsd_agent.run import run_training, work_shared
    from stepopsd_agent.run.files import save_model

    saved = saved_settings(config, name, fields)
    sharing = None if processes is None else work_shared(config, processes)
    config = config if sharing is None else sharing.config
    loading = config if sharing is None else sharing.loading
    # Not where the model came from: that folder may have changed or gone since the run began.
    start = out / ("base" if config.learner.lora.rank else "model")  # the base of an adapter has to stay
    begun = start.is_dir()
    started = replace(loading, model=replace(loading.model, path=str(start), gguf_file=None))
    policy = load_run_policy(started) if begun else trained_policy(loading)
    if processes is not None:
        processes.wait()  # until all have looked at the folder as it was
    with nullcontext() if follows() else only_writer(out, "train", fresh=not resumed):
        if not resumed and not follows():
            # The first file of a run folder: a folder that has it can be continued.
            write_bytes_atomic(out / "config.yaml", saved)
        if not begun and not follows():
            save_model(policy, start)
        if sharing is None:
            return run_training(config, name, method, policy, out)
        return run_training(config, name, method, sharing.policy(policy), out, sharing.trainer, sharing.kind)
