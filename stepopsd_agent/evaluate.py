"""Success on a fixed list of games, for language models and for plain agents."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym

from stepopsd_agent.agents.base import Agent
from stepopsd_agent.config import EnvConfig, RunConfig
from stepopsd_agent.metrics import proportion
from stepopsd_agent.policy import Policy
from stepopsd_agent.prompts import PromptFormat
from stepopsd_agent.rollout import Sampling, Task, rollout
from stepopsd_agent.stacks import make_stack, task_ids
from stepopsd_wrappers import Episode, recorder

EVAL_SEED = 1_000_000


def success_table(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Success rate with its Wilson 95 % interval, in all and by task type.

    Episodes that ended in an error are counted under ``errors`` and nowhere else.

    Returns:
        ``{success, n, ci95: [low, high], mean_steps, errors, by_task_type: {type: {success, n, ci95}}}``.
    """
    sound = [e for e in episodes if e.steps[-1].error is None]
    groups: dict[str, list[bool]] = defaultdict(list)
    for episode in sound:
        groups[episode.task_type].append(episode.success)
    return {
        **proportion(sum(e.success for e in sound), len(sound)),
        "mean_steps": sum(e.num_steps for e in sound) / max(1, len(sound)),
        "errors": len(episodes) - len(sound),
        "by_task_type": {name: proportion(sum(groups[name]), len(groups[name])) for name in sorted(groups)},
    }


def played_data(episodes: Sequence[Episode]) -> dict[str, str]:
    """What was played, and on what, by one agent: every record says the same."""
    first = episodes[0]
    return {"fingerprint": first.fingerprint, "engine_version": first.engine_version}


def table_text(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of success with their intervals, aligned, one line each below a heading."""
    width = max(map(len, [title, *rows]))
    lines = [f"{title:<{width}}  success    95 % interval  games"]
    for name, row in rows.items():
        low, high = row["ci95"]
        interval = f"{low:.1%} to {high:.1%}"
        lines.append(f"{name:<{width}}  {row['success']:>7.1%}  {interval:>15}  {row['n']:>5}")
    return "\n".join(lines)


def play_agent(
    agent: Agent,
    env: gym.Env[str, str],
    task_ids: Sequence[str],
    seed: int,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Let any agent play the games once each and return the records.

    Args:
        agent: anything with ``reset`` and ``act``.
        env: a stack with ``RecordEpisode`` in it.
        task_ids: games in order.
        seed: of the first episode; the k-th uses seed + k.
        on_episode: called with each record as it finishes.
    """
    episodes = []
    for k, task_id in enumerate(task_ids):
        recorder(env).identify(run="", update=0, group=k, member=0)
        observation, info = env.reset(seed=seed + k, options={"game": task_id})
        agent.reset(seed + k, observation, info)
        over = False
        while not over:
            observation, _, terminated, truncated, info = env.step(agent.act(observation, info))
            over = bool(terminated or truncated)
        episode = recorder(env).last_episode
        assert episode is not None  # the recorder closes an episode when it ends
        episodes.append(episode)
        if on_episode:
            on_episode(episode)
    return episodes


def evaluate_policy(
    policy: Policy,
    form: PromptFormat,
    config: RunConfig,
    *,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Play the evaluation games once each with the language model.

    The games are the first ``eval.num_games`` of the canonical list of ``eval.games`` (test houses when
    generated), the same for every policy and seed; the sampling noise is the same too.
    """
    env_config = evaluation_env(config)
    return play_policy(policy, form, config, env_config, config.eval.num_games, EVAL_SEED, on_episode)


def play_policy(
    policy: Policy,
    form: PromptFormat,
    config: RunConfig,
    env_config: EnvConfig,
    episodes: int,
    seed: int,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Play the first games with the language model, at ``eval.temperature``; once through, they begin again.

    Args:
        policy: the acting model.
        form: how prompts become ids.
        config: decoding settings.
        env_config: the games.
        episodes: how many to play.
        seed: of the first episode and of the sampling noise; the k-th episode uses seed + k.
        on_episode: called with each record as it finishes.
    """
    envs = [make_stack(env_config)]
    ids = task_ids(envs[0])
    envs += [make_stack(env_config) for _ in range(min(config.rollout.slots, episodes) - 1)]
    sampling = Sampling(
        seed=f"play {seed}",
        temperature=config.eval.temperature,
        max_tokens=config.rollout.max_tokens,
        max_row_tokens=min(config.rollout.max_row_tokens, policy.max_positions),
        response=env_config.response,
        stop=tuple(config.rollout.stop),
    )
    tasks = [
        Task(task_id, seed=seed + k, group=k, member=k // len(ids))
        for k, task_id in enumerate(first_games(ids, episodes))
    ]
    return rollout(policy, form, envs, tasks, sampling, on_episode=on_episode)


def first_games(ids: Sequence[str], count: int) -> list[str]:
    """The first ids; the list begins again where it is too short."""
    return [ids[k % len(ids)] for k in range(count)]


def evaluation_env(config: RunConfig) -> EnvConfig:
    """The environment settings of evaluation: the training ones on other games."""
    return replace(config.env, games=config.eval.games, split="test", num_games=config.eval.num_games)
