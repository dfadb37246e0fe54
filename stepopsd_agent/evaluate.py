"""Success on a fixed list of games, for language models and for plain agents."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym

from stepopsd_agent.agents.base import Agent
from stepopsd_agent.config import EnvConfig, RunConfig
from stepopsd_agent.metrics import wilson
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
        **_rate([e.success for e in sound]),
        "mean_steps": sum(e.num_steps for e in sound) / max(1, len(sound)),
        "errors": len(episodes) - len(sound),
        "by_task_type": {name: _rate(groups[name]) for name in sorted(groups)},
    }


def _rate(wins: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(wins), len(wins))
    return {"success": sum(wins) / max(1, len(wins)), "n": len(wins), "ci95": [low, high]}


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
        env: a stack from ``make_text_env``, so that it is recorded.
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
    run: str = "eval",
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Play the evaluation games once each with the language model.

    The games are the first ``eval.num_games`` of the canonical list of ``eval.games`` (test houses when generated), the same
    for every policy and seed; the sampling noise is the same too.
    """
    env_config = evaluation_env(config)
    envs = [make_stack(env_config)]
    ids = task_ids(envs[0])
    envs += [make_stack(env_config) for _ in range(min(config.rollout.slots, len(ids)) - 1)]
    sampling = Sampling(
        seed="evaluation",
        temperature=config.eval.temperature,
        max_tokens=config.rollout.max_tokens,
        max_row_tokens=min(config.rollout.max_row_tokens, policy.max_positions),
        response=env_config.response,
    )
    tasks = [Task(task_id, seed=EVAL_SEED + k, group=k) for k, task_id in enumerate(ids)]
    return rollout(policy, form, envs, tasks, sampling, run=run, on_episode=on_episode)


def evaluation_env(config: RunConfig) -> EnvConfig:
    """The environment settings of evaluation: the training ones on other games."""
    return replace(config.env, games=config.eval.games, split="test", num_games=config.eval.num_games)
