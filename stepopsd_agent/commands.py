"""What each command of ``stepopsd`` does, on parsed settings."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.agents import Agent, ExpertAgent, RandomAgent
from stepopsd_agent.checkpoint import CheckpointError
from stepopsd_agent.config import RunConfig, config_from_dict, config_to_dict
from stepopsd_agent.demonstrations import demonstrate
from stepopsd_agent.evaluate import EVAL_SEED, evaluate_policy, evaluation_env, play_agent, success_table
from stepopsd_agent.files import write_json_atomic
from stepopsd_agent.facts import environment_facts
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.policy import ModelFolderError, Policy, load_policy, tiny_policy
from stepopsd_agent.progress import progress
from stepopsd_agent.prompts import make_format
from stepopsd_agent.run import Interrupted, run_training
from stepopsd_agent.stacks import make_plain_env, make_stack, task_ids
from stepopsd_agent.warmstart import clone, examples
from stepopsd_wrappers import Episode, EpisodeWriter, read_episodes, replay

BAD_INPUT = (ValueError, OSError, ModelFolderError, CheckpointError)

__all__ = ["BAD_INPUT", "Interrupted", "run"]


def run(command: str, settings: Namespace) -> int:
    """Dispatch to the command."""
    if command == "replay":
        return run_replay(settings.episodes)
    return {
        "train": run_train,
        "warmstart": run_warmstart,
        "eval": run_eval,
        "record": run_record,
        "play": run_play,
    }[command](settings)


def run_config(settings: Namespace) -> RunConfig:
    """The ``RunConfig`` among the parsed settings, with the process set up for it."""
    values = settings.as_dict()
    config = config_from_dict({f.name: values[f.name] for f in fields(RunConfig)})
    _apply(config)
    return config


def _apply(config: RunConfig) -> None:
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"device={config.device}, but this PyTorch sees no CUDA device; use --device cpu or install a CUDA build"
        )


def run_train(settings: Namespace) -> int:
    """Train, or continue a run."""
    if settings.resume is not None:
        return _resume(settings.resume)
    config = run_config(settings)
    chosen = settings.credit.as_dict()
    name = chosen.pop("method")
    method = credit.make(name, **chosen)
    policy = _trained_policy(config)
    out = _fresh_folder(settings.out, "train")
    policy.save(out / "model")
    saved = {**config_to_dict(config), "credit": {"method": name, **chosen}}
    (out / "config.yaml").write_text(yaml.safe_dump(saved, sort_keys=False), encoding="utf-8")
    return _report(run_training(config, name, method, policy, out), out)


def _resume(out: Path) -> int:
    if not (out / "config.yaml").is_file():
        raise ValueError(
            f"{out}: no config.yaml there, so it is not a run folder; --resume takes the --out of an earlier train"
        )
    saved = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    chosen = saved.pop("credit")
    name = chosen.pop("method")
    config = config_from_dict(saved)
    _apply(config)
    policy = load_policy(replace(config.model, path=str(out / "model"), gguf_file=None), config.device)
    return _report(run_training(config, name, credit.make(name, **chosen), policy, out), out)


def _trained_policy(config: RunConfig) -> Policy:
    if config.model.path == "tiny":
        raise ValueError(
            "model.path=tiny is a model without training: make one first with `stepopsd warmstart --out FOLDER` and pass "
            "--model.path FOLDER"
        )
    return load_policy(config.model, config.device)


def _report(summary: dict[str, Any], out: Path) -> int:
    start, final = summary["start"], summary["final"]
    for name, table in (("start", start), ("final", final)):
        print(f"{name:>6}: {describe(table)}")
    print(f"run folder: {out} (summary.json, curve.png, episodes/; tensorboard --logdir {out})")
    return 0


def describe(table: dict[str, Any]) -> str:
    """One line of a success table."""
    low, high = table["ci95"]
    return f"success {table['success']:.1%} of {table['n']} games (95 % interval {low:.1%} to {high:.1%})"


def run_warmstart(settings: Namespace) -> int:
    """Clone the expert and evaluate the result."""
    config = run_config(settings)
    clone_config = config.warmstart
    out = _fresh_folder(settings.out, "warmstart")
    env = make_stack(config.env)
    ids = task_ids(env)
    rng = np.random.default_rng([config.seed, 1])
    chosen = [
        ids[i % len(ids)]
        for i in rng.permutation(max(len(ids), clone_config.demonstrations))[: clone_config.demonstrations]
    ]
    with progress(len(chosen), "playing the expert", unit="game") as bar:
        demos = demonstrate(env, chosen, clone_config.mistake_rate, config.seed, on_done=bar.advance)
    texts = [d.turns[-1].prompt for d in demos[:500]] + hindsight_words() * 50
    texts += [
        turn.command for d in demos[:500] for turn in d.turns
    ]  # alone, so that a command's first word is one token
    fresh = config.model.path == "tiny"
    policy = (
        tiny_policy(texts, config.model, config.device, config.seed)
        if fresh
        else load_policy(config.model, config.device)
    )
    form = make_format(policy, config.model.chat, config.model.system, config.model.enable_thinking)
    data = [e for d in demos for e in examples(d, form, clone_config, config.hindsight, rng)]
    steps = -(-len(data) * clone_config.passes // clone_config.batch_rows)
    with progress(steps, "cloning the expert", unit="update") as bar:
        losses = clone(
            policy,
            data,
            clone_config,
            config.seed,
            on_step=lambda step, loss: bar.advance(note=f"loss {loss:.3f}"),
        )
    table = _evaluate(policy, config)[1]
    policy.save(out)
    write_json_atomic(
        out / "warmstart.json",
        {
            "schema": "stepopsd.warmstart/1",
            "evaluation": table,
            "expert": success_table([d.episode for d in demos]),
            "loss": {"first": losses[0], "last": losses[-1]},
            "fingerprint": env.unwrapped.fingerprint,  # type: ignore[attr-defined]
            "config": {**config_to_dict(config), "warmstart": vars(clone_config)},
            **environment_facts(),
        },
    )
    print(describe(table))
    print(f"model folder: {out}; train it with: stepopsd train --model.path {out} --out RUN")
    return 0


def _evaluate(policy: Policy, config: RunConfig) -> tuple[list[Episode], dict[str, Any]]:
    form = make_format(policy, config.model.chat, config.model.system, config.model.enable_thinking)
    with progress(config.eval.num_games, "evaluating", unit="game") as bar:
        episodes = evaluate_policy(policy, form, config, on_episode=lambda episode: bar.advance())
    return episodes, success_table(episodes)


def run_eval(settings: Namespace) -> int:
    """Play the evaluation games and print the table."""
    config = run_config(settings)
    if settings.agent == "model":
        episodes, table = _evaluate(_trained_policy(config), config)
    else:
        env = make_plain_env(evaluation_env(config))
        ids = task_ids(env)
        with progress(len(ids), f"playing the {settings.agent} agent", unit="game") as bar:
            episodes = play_agent(
                _agent(settings.agent), env, ids, EVAL_SEED, on_episode=lambda episode: bar.advance()
            )
        table = success_table(episodes)
    for name, row in table["by_task_type"].items():
        print(f"{name:>32}: {describe(row)}")
    print(f"{'all':>32}: {describe(table)}")
    if settings.out is not None:
        settings.out.mkdir(parents=True, exist_ok=True)
        write_json_atomic(
            settings.out / "evaluation.json", {"agent": settings.agent, **table, **environment_facts()}
        )
        _write(episodes, settings.out / "episodes")
    return 0


def _agent(name: str) -> Agent:
    return RandomAgent() if name == "random" else ExpertAgent()


def _write(episodes: Sequence[Episode], folder: Path) -> None:
    writer = EpisodeWriter(folder)
    for episode in episodes:
        writer.append(episode)
    writer.close()


def run_record(settings: Namespace) -> int:
    """Record episodes of the training games."""
    config = run_config(settings)
    out = _fresh_folder(settings.out, "record")
    env_config = replace(config.env, num_games=settings.episodes)
    if settings.agent == "model":
        recorded = replace(
            config, eval=replace(config.eval, games=config.env.games, num_games=settings.episodes)
        )
        episodes = _evaluate(_trained_policy(config), recorded)[0]
    else:
        env = make_plain_env(env_config)
        with progress(settings.episodes, "recording", unit="episode") as bar:
            episodes = play_agent(
                _agent(settings.agent),
                env,
                task_ids(env),
                config.seed,
                on_episode=lambda episode: bar.advance(),
            )
    _write(episodes, out)
    print(f"{len(episodes)} episodes in {out}; check them with: stepopsd replay {out}")
    return 0


def run_replay(folder: Path) -> int:
    """Play records again; 1 when one differs."""
    differing = total = 0
    for episode in read_episodes(folder):
        report = replay(episode)
        total += 1
        if not report.equal:
            differing += 1
            print(f"{episode.task_id} seed {episode.seed}: {report}")
    if not total:
        raise ValueError(
            f"{folder}: no episodes there; expected episodes-00000.jsonl as `stepopsd record --out` writes it"
        )
    print(f"{total - differing}/{total} episodes replay identically")
    return 1 if differing else 0


def run_play(settings: Namespace) -> int:
    """A game at the keyboard."""
    config = run_config(settings)
    env = make_plain_env(config.env)
    text, info = env.reset(seed=config.seed, options={"game": settings.game} if settings.game else None)
    print(f"{text}\n\n(? lists what can be done here, ctrl-d leaves)")
    over = False
    while not over:
        try:
            command = input("> ")
        except EOFError:
            break
        if command.strip() == "?":
            print("\n".join(info["admissible_commands"]))
            continue
        text, _, terminated, truncated, info = env.step(command)
        print(text)
        over = bool(terminated or truncated)
    print("You did it." if info["won"] else "Not done.", f"{info['step']['index']} commands.")
    return 0


def _fresh_folder(out: Path | None, command: str) -> Path:
    """The folder to write to; one that holds something already is refused, so that nothing is overwritten."""
    if out is None:
        raise ValueError(f"{command} needs --out FOLDER to write to")
    if out.exists() and any(out.iterdir()):
        raise ValueError(
            f"{out} is not empty; choose another --out"
            + (" or continue it with --resume" if command == "train" else "")
        )
    out.mkdir(parents=True, exist_ok=True)
    return out
