"""``stepopsd eval``, ``record`` and ``replay``."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import gymnasium as gym
from jsonargparse import Namespace

from stepopsd_agent.agents import Agent, ExpertAgent, OracleAgent, RandomAgent
from stepopsd_agent.checks import UsageError, check_games, fresh_folder, settings_checked
from stepopsd_agent.commands.common import describe, prompt_format, run_config, trained_policy
from stepopsd_agent.config import EnvConfig, RunConfig, config_to_dict
from stepopsd_agent.evaluate import (
    EVAL_SEED,
    evaluation_env,
    first_games,
    play_agent,
    play_policy,
    played_data,
    success_table,
    table_text,
)
from stepopsd_agent.facts import environment_facts
from stepopsd_agent.files import write_json_atomic
from stepopsd_agent.progress import progress
from stepopsd_agent.stacks import make_plain_env, task_ids
from stepopsd_wrappers import Episode, EpisodeWriter, ReplayReport, read_episodes, replay

AGENTS: dict[str, Callable[[gym.Env[str, str]], Agent]] = {
    "random": lambda env: RandomAgent(),
    "expert": lambda env: ExpertAgent(),
    "oracle": OracleAgent,
}


def run_eval(settings: Namespace) -> int:
    """Play the evaluation games and print the table."""
    config = run_config(settings)
    agent = settings.get("agent", "model")
    out = fresh_folder(settings.out, "eval") if "out" in settings else None
    folder = None if out is None else out / "episodes"
    episodes = _play(agent, config, evaluation_env(config), config.eval.num_games, EVAL_SEED, folder)
    table = success_table(episodes)
    print(table_text("task type", {**table["by_task_type"], "all": table}))
    print(f"{agent} agent: {describe(table)}, {table['mean_steps']:.1f} steps in the mean")
    if table["errors"]:
        print(f"{table['errors']} more episodes ended in an error of the environment and are not counted")
    if out is not None:
        facts = {"config": config_to_dict(config), **played_data(episodes), **environment_facts()}
        content = {"schema": "stepopsd.evaluation/1", "agent": agent, **table, **facts}
        write_json_atomic(out / "evaluation.json", content)
        print(f"written to {out}: evaluation.json, episodes/")
    return 0


def run_record(settings: Namespace) -> int:
    """Record episodes of the games in ``env``."""
    config = run_config(settings)
    out, count = fresh_folder(settings.get("out"), "record"), settings.get("episodes", 10)
    if count < 1:
        raise UsageError(f"episodes is {count}; give the number of episodes to record, 1 or more")
    agent = settings.get("agent", "model")
    episodes = _play(agent, config, config.env, count, config.seed, out)
    won = sum(episode.success for episode in episodes)
    print(f"{count} episodes, {won} won, in {out}; check them with: stepopsd replay {out}")
    return 0


def _play(
    name: str, config: RunConfig, env_config: EnvConfig, count: int, seed: int, folder: Path | None
) -> list[Episode]:
    """Let an agent play the first games; every episode is on disk before the next one ends."""
    check_games(env_config)
    policy = trained_policy(config) if name == "model" else None
    form = None if policy is None else prompt_format(policy, config)
    with ExitStack() as stack:
        writer = None if folder is None else stack.enter_context(EpisodeWriter(folder))
        bar = stack.enter_context(progress(count, f"{name} agent playing", unit="episode"))

        def keep(episode: Episode) -> None:
            if writer is not None:
                writer.append(episode)
            bar.advance()

        if policy is not None and form is not None:
            return play_policy(policy, form, config, env_config, count, seed, keep)
        env = make_plain_env(env_config)
        return play_agent(AGENTS[name](env), env, first_games(task_ids(env), count), seed, keep)


def run_replay(settings: Namespace) -> int:
    """Play records again; 1 when one differs."""
    folder = Path(settings.episodes).expanduser()
    inner = folder / "episodes"
    envs: dict[str, gym.Env[str, str]] = {}
    differing = total = 0
    with progress(None, "replaying", unit="episode") as bar:
        for episode in read_episodes(inner if inner.is_dir() else folder):
            report = _replayed(episode, envs, settings.any_engine)
            total += 1
            differing += not report.equal
            if not report.equal:
                print(f"episode {total}, {episode.task_id}, seed {episode.seed}: {report}", flush=True)
            bar.advance()
    if not total:
        raise UsageError(f"{folder} holds no whole episode; record some with: stepopsd record --out FOLDER")
    print(f"{total - differing}/{total} episodes replay identically")
    return 1 if differing else 0


def _replayed(episode: Episode, envs: dict[str, gym.Env[str, str]], any_engine: bool) -> ReplayReport:
    """Replay in an environment kept for all episodes of its kind: making one can mean to search a folder."""
    spec = episode.env_spec
    key = json.dumps(spec, sort_keys=True)
    if key not in envs and spec["id"]:
        with settings_checked():
            envs[key] = gym.make(spec["id"], disable_env_checker=True, **spec["kwargs"])
    return replay(episode, envs.get(key), any_engine=any_engine)
