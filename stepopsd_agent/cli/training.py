"""``stepopsd warmstart`` and ``stepopsd train``."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import check_alarms, checked_games, fresh_folder, settings_checked
from stepopsd_agent.cli.common import describe, prompt_format, run_config, trained_policy
from stepopsd_agent.config.run import RunConfig, config_to_dict
from stepopsd_agent.credit.base import CreditMethod
from stepopsd_agent.hindsight.prompt import hindsight_words
from stepopsd_agent.learner.cloning import Example, clone, examples
from stepopsd_agent.models.policy import Policy, load_policy, tiny_policy
from stepopsd_agent.models.prompt_format import PromptFormat
from stepopsd_agent.rollout.demonstrations import Demonstration, demonstrate, pieces
from stepopsd_agent.rollout.play import evaluate_policy, played_data, success_table
from stepopsd_agent.run.files.atomic import write_bytes_atomic
from stepopsd_agent.run.files.model_folder import save_model
from stepopsd_agent.run.progress import progress
from stepopsd_agent.run.provenance import environment_facts
from stepopsd_agent.run.run import run_training
from stepopsd_agent.tasks.make import data_facts, make_stack, task_ids
from stepopsd_agent.tasks.registry import environment, evaluation_sets, evaluation_total


def run_train(settings: Namespace) -> int:
    """Train, or continue the run in the folder ``settings.resume``, whose config the settings then are."""
    config = run_config(settings)
    chosen = settings.credit.as_dict()
    name = chosen.pop("method")
    with settings_checked():
        method = credit.make(name, **chosen)
    check_alarms(config.alarms, name, method.scheduled)
    resumed: str | None = settings.get("resume")
    out = fresh_folder(settings.get("out"), "train") if resumed is None else Path(resumed)
    with checked_games(config.env, *(one.env for one in evaluation_sets(config))):
        summary = _train(config, name, method, chosen, out, resumed is not None)
    unit = f"{environment(config.env.id).unit}s"
    print(f" start: {describe(summary['start'], unit)}")
    print(f" final: {describe(summary['final'], unit)}")
    print(f"run folder: {out} (summary.json, curve.png, episodes/; tensorboard --logdir {out})")
    return 0


def _train(
    config: RunConfig, name: str, method: CreditMethod, fields: dict[str, Any], out: Path, resumed: bool
) -> dict[str, Any]:
    """Begin or continue the run in ``out``; returns its summary."""
    # Not where the model came from: that folder may have changed or gone since the run began.
    start = out / ("base" if config.learner.lora.rank else "model")  # what is under an adapter has to stay
    begun = start.is_dir()
    own = replace(config.model, path=str(start), gguf_file=None)
    policy = load_policy(own, config.device) if begun else trained_policy(config)
    form = prompt_format(policy, config)
    if not resumed:
        _write_config(out, {**config_to_dict(config), "credit": {"method": name, **fields}})
    if not begun:
        save_model(policy, start)
    return run_training(config, name, method, policy, form, out)


def _write_config(out: Path, saved: dict[str, Any]) -> None:
    """The first file of a run folder: what has it can be continued."""
    out.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(out / "config.yaml", yaml.safe_dump(saved, sort_keys=False).encode())


def run_warmstart(settings: Namespace) -> int:
    """Clone the expert and evaluate the result."""
    config = run_config(settings)
    out = fresh_folder(settings.get("out"), "warmstart")
    with checked_games(config.env, *(one.env for one in evaluation_sets(config))):
        table = _warmstart(config, out)
    print(describe(table, f"{environment(config.env.id).unit}s"))
    print(f"model folder: {out}; train it with: stepopsd train --model.path {out} --out RUN")
    return 0


def _warmstart(config: RunConfig, out: Path) -> dict[str, Any]:
    """Write the model to ``out`` and return how it does."""
    fresh = config.model.path == "tiny"
    policy = None if fresh else load_policy(config.model, config.device)  # told before the expert plays
    played = _demonstrations(config)
    if policy is None:
        with settings_checked():
            texts, names = _texts(played.expert), environment(config.env.id).names
            policy = tiny_policy(texts, config.model, config.device, config.seed, names)
    form = prompt_format(policy, config)
    losses = _clone(policy, form, played, config)
    own = environment(config.env.id)
    with progress(evaluation_total(config), "evaluating", unit=own.unit) as bar:
        won = evaluate_policy(policy, form, config, on_episode=lambda episode: bar.advance())
    table = success_table(won, own.measures)
    notes = {
        "schema": "stepopsd.warmstart/1",
        "evaluation": {**table, **played_data(won)},
        "expert": success_table([d.episode for d in played.expert]),
        **({"novice": success_table([d.episode for d in played.novice])} if played.novice else {}),
        "loss": {"first": losses[0], "last": losses[-1]},
        **played.data,
        "config": config_to_dict(config),
        **environment_facts(),
    }
    save_model(policy, out, {"warmstart.json": notes})
    return table


@dataclass(frozen=True)
class _Played:
    """Who was watched: an expert, then a novice on other tasks; and what they played."""

    expert: list[Demonstration]
    novice: list[Demonstration]
    data: dict[str, str]


def _demonstrations(config: RunConfig) -> _Played:
    """Episodes on tasks drawn from the seed."""
    told = config.warmstart
    prefix = config.hindsight.position == "prefix"
    unit = environment(config.env.id).unit
    with closing(make_stack(config.env)) as env:
        ids, count = task_ids(env), told.demonstrations + told.novice_demonstrations
        order = np.random.default_rng([config.seed, 1]).permutation(max(len(ids), count))[:count]
        chosen = [ids[i % len(ids)] for i in order]

        def play(
            who: str, first: int, last: int, mistake_rate: float, informed: float
        ) -> list[Demonstration]:
            with progress(last - first, f"playing the {who}", unit=unit) as bar:
                return demonstrate(
                    env,
                    chosen[first:last],
                    mistake_rate,
                    config.seed + first,
                    peers=not prefix,
                    informed_share=informed,
                    on_done=bar.advance,
                )

        informed = told.hindsight_share if prefix else 0.0
        expert = play("expert", 0, told.demonstrations, told.mistake_rate, informed)
        novice = []
        if told.novice_demonstrations:
            novice = play("novice", told.demonstrations, count, told.novice_mistake_rate, 0.0)
        return _Played(expert, novice, data_facts(env))


def _texts(demonstrations: Sequence[Demonstration]) -> list[str]:
    """What the tokenizer of a fresh model is made from."""
    return pieces(demonstrations[:500]) + hindsight_words() * 50


def _clone(policy: Policy, form: PromptFormat, played: _Played, config: RunConfig) -> list[float]:
    """Fit the policy and return the loss of every optimizer step."""
    rng, told = np.random.default_rng([config.seed, 2]), config.warmstart

    def rows(demonstrations: Sequence[Demonstration]) -> list[Example]:
        return [e for d in demonstrations for e in examples(d, form, told, config.hindsight, rng)]

    data, last = rows(played.expert), rows(played.novice)
    steps = -(-len(data) // told.batch_rows) * told.passes + -(-len(last) // told.batch_rows)
    with progress(steps, "cloning", unit="update") as bar:
        return clone(
            policy,
            data,
            told,
            config.seed,
            on_step=lambda step, loss: bar.advance(note=f"loss {loss:.3f}"),
            last=last,
        )
