"""``stepopsd eval``, ``record`` and ``replay``."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import gymnasium as gym
from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, checked_games, fresh_folder, settings_checked
from stepopsd_agent.cli.common import describe, prompt_format, run_config, trained_policy
from stepopsd_agent.config.run import RunConfig, config_to_dict
from stepopsd_agent.rollout.failures import Failures
from stepopsd_agent.rollout.play import (
    EVAL_SEED,
    chosen_tasks,
    play_agent,
    play_set,
    played_data,
    success_table,
    table_text,
)
from stepopsd_agent.run.files.atomic import write_json_atomic
from stepopsd_agent.run.progress import progress
from stepopsd_agent.run.provenance import environment_facts
from stepopsd_agent.tasks.make import make_plain_env, task_ids
from stepopsd_agent.tasks.registry import Environment, EvalSet, environment, evaluation_sets
from stepopsd_wrappers import Episode, EpisodeWriter, ReplayReport, read_episodes, replay


def run_eval(settings: Namespace) -> int:
    """Play the evaluation tasks and print the table."""
    config = run_config(settings)
    agent = settings.get("agent", "model")
    out = fresh_folder(settings.out, "eval") if "out" in settings else None
    sets, folder = evaluation_sets(config), None if out is None else out / "episodes"
    played = _play(agent, config, sets, EVAL_SEED, folder)
    own = environment(config.env.id)
    tables = {
        one.name: {**success_table(episodes, own.measures), **played_data(episodes)}
        for one, episodes in zip(sets, played, strict=True)
    }
    episodes = [episode for one in played for episode in one]
    table = success_table(episodes, own.measures)
    title, rows = ("set", tables) if len(sets) > 1 else ("task type", table["by_task_type"])
    print(table_text(title, {**rows, "all": table}, f"{own.unit}s"))
    if len(sets) > 1:
        mean = sum(one["success"] for one in tables.values()) / len(tables)
        print(f"mean of the {len(tables)} sets: {mean:.1%}")
    print(f"{agent} agent: {_figures(table, own)}")
    if table["errors"]:
        print(f"{table['errors']} more episodes ended in an error of the environment and are not counted")
    if out is not None:
        facts = {"config": config_to_dict(config), **played_data(episodes), **environment_facts()}
        content = {"schema": "stepopsd.evaluation/1", "agent": agent, **table, **facts}
        if len(sets) > 1:
            content["by_set"] = tables
        write_json_atomic(out / "evaluation.json", content)
        print(f"written to {out}: evaluation.json, episodes/")
    return 0


def _figures(table: dict[str, Any], own: Environment) -> str:
    """Success, steps, and what else the environment measures, in one line."""
    means = [f", {name} {mean:.2f}" for name, mean in table.get("means", {}).items()]
    return f"{describe(table, f'{own.unit}s')}, {table['mean_steps']:.1f} steps{''.join(means)} in the mean"


def run_record(settings: Namespace) -> int:
    """Record episodes of the tasks in ``env``."""
    config = run_config(settings)
    out, count = fresh_folder(settings.get("out"), "record"), settings.get("episodes", 10)
    if count < 1:
        raise UsageError(f"episodes is {count}; give the number of episodes to record, 1 or more")
    agent = settings.get("agent", "model")
    (episodes,) = _play(agent, config, [EvalSet("", config.env, count)], config.seed, out)
    won = sum(episode.success for episode in episodes)
    print(f"{count} episodes, {won} won, in {out}; check them with: stepopsd replay {out}")
    return 0


def _play(
    name: str, config: RunConfig, sets: Sequence[EvalSet], seed: int, folder: Path | None
) -> list[list[Episode]]:
    """Let an agent play the first tasks of each set; every episode is on disk before the next one ends."""
    own, failures = environment(config.env.id), Failures()
    counts = [one.count for one in sets]
    total = None if None in counts else sum(count or 0 for count in counts)
    with ExitStack() as stack:
        stack.enter_context(checked_games(*(one.env for one in sets)))
        policy = trained_policy(config) if name == "model" else None
        form = None if policy is None else prompt_format(policy, config)
        writer = None if folder is None else stack.enter_context(EpisodeWriter(folder))
        bar = stack.enter_context(progress(total, f"{name} agent playing", unit="episode"))

        def keep(episode: Episode) -> None:
            if writer is not None:
                writer.append(episode)
            failures.note(episode)
            bar.advance()

        def play(one: EvalSet) -> list[Episode]:
            if policy is not None and form is not None:
                return play_set(policy, form, config, one, seed, keep)
            with closing(make_plain_env(one.env)) as env:
                return play_agent(own.agents[name](env), env, chosen_tasks(one, task_ids(env)), seed, keep)

        return [play(one) for one in sets]


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
