"""Success on a fixed list of tasks, for language models and for plain agents."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import gymnasium as gym

from stepopsd_agent.config.run import EnvConfig, RunConfig
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat
from stepopsd_agent.rollout.rollout import Backend, Sampling, Task, attempt, begin, rollout
from stepopsd_agent.run.files.metrics_log import proportion
from stepopsd_agent.tasks.agents.base import Agent
from stepopsd_agent.tasks.make import make_stack, task_ids
from stepopsd_agent.tasks.registry import EvalSet, evaluation_sets, response_format
from stepopsd_envs.manifest import fingerprint
from stepopsd_wrappers import Episode, recorder

EVAL_SEED = 1_000_000


def success_table(episodes: Sequence[Episode], measures: Sequence[str] = ()) -> dict[str, Any]:
    """Success rate with its Wilson 95 % interval, in all and by task type.

    Episodes that ended in an error are counted under ``errors`` and nowhere else.

    Args:
        episodes: finished ones.
        measures: keys of ``info`` whose values at the end of an episode are averaged, too.

    Returns:
        ``{success, n, ci95: [low, high], mean_steps, errors, by_task_type: {type: {success, n, ci95}}}``,
        and with measures ``means: {measure: mean}``.
    """
    sound = [e for e in episodes if e.steps[-1].error is None]
    groups: dict[str, list[bool]] = defaultdict(list)
    for episode in sound:
        groups[episode.task_type].append(episode.success)
    table = {
        **proportion(sum(e.success for e in sound), len(sound)),
        "mean_steps": sum(e.num_steps for e in sound) / max(1, len(sound)),
        "errors": len(episodes) - len(sound),
        "by_task_type": {name: proportion(sum(groups[name]), len(groups[name])) for name in sorted(groups)},
    }
    means = {name: sum(e.steps[-1].info[name] for e in sound) / max(1, len(sound)) for name in measures}
    return {**table, "means": means} if measures else table


def played_data(episodes: Sequence[Episode]) -> dict[str, str]:
    """What was played, and on what, by one agent: every record of one set says the same."""
    sets = dict.fromkeys(episode.fingerprint for episode in episodes)
    return {"fingerprint": joined(list(sets)), "engine_version": episodes[0].engine_version}


def joined(fingerprints: Sequence[str]) -> str:
    """One fingerprint of several sets in their order; that of a single set is its own."""
    return fingerprints[0] if len(fingerprints) == 1 else fingerprint((f, "") for f in fingerprints)


def table_text(title: str, rows: Mapping[str, Mapping[str, Any]], unit: str = "games") -> str:
    """Rows of success with their intervals, aligned, one line each below a heading."""
    width, last = max(map(len, [title, *rows])), max(len(unit), 5)
    lines = [f"{title:<{width}}  success    95 % interval  {unit:>{last}}"]
    for name, row in rows.items():
        low, high = row["ci95"]
        interval = f"{low:.1%} to {high:.1%}"
        lines.append(f"{name:<{width}}  {row['success']:>7.1%}  {interval:>15}  {row['n']:>{last}}")
    return "\n".join(lines)


def play_agent(
    agent: Agent,
    env: gym.Env[str, str],
    task_ids: Sequence[str],
    seed: int,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Let any agent play the tasks once each and return the records.

    Args:
        agent: anything with ``reset`` and ``act``.
        env: a stack with ``RecordEpisode`` in it.
        task_ids: tasks in order.
        seed: of the first episode; the k-th uses seed + k.
        on_episode: called with each record as it finishes.

    Returns:
        One episode per task; an episode that met an error carries it in its last step.
    """
    episodes = []
    for k, task_id in enumerate(task_ids):
        observation, info = begin(env, Task(task_id, seed + k, group=k))
        agent.reset(seed + k, observation, info)
        over = False
        while not over:
            answer = attempt(env, agent.act(observation, info))
            if answer is None:
                break
            observation, _, terminated, truncated, info = answer
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
    backend: Backend = rollout,
) -> list[Episode]:
    """Play the evaluation tasks once each with the language model.

    The tasks are the first of the canonical list of each set in ``eval`` (held-out ones where they are
    generated), the same for every policy and seed; the sampling noise is the same too.
    """
    return [
        episode
        for one in evaluation_sets(config)
        for episode in play_set(policy, form, config, one, EVAL_SEED, on_episode, backend)
    ]


def play_policy(
    policy: Policy,
    form: PromptFormat,
    config: RunConfig,
    env_config: EnvConfig,
    episodes: int,
    seed: int,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Play so many tasks with the language model; once through, they begin again. See ``play_set``."""
    return play_set(policy, form, config, EvalSet("", env_config, episodes), seed, on_episode)


def play_set(
    policy: Policy,
    form: PromptFormat,
    config: RunConfig,
    tasks: EvalSet,
    seed: int,
    on_episode: Callable[[Episode], None] | None = None,
    backend: Backend = rollout,
) -> list[Episode]:
    """Play a set with the language model, at ``eval.temperature``.

    Args:
        policy: the acting model.
        form: how prompts become ids.
        config: decoding settings.
        tasks: the set.
        seed: of the first episode and of the sampling noise; the k-th episode uses seed + k.
        on_episode: called with each record as it finishes.
        backend: who plays.
    """
    with ExitStack() as opened:
        envs = [opened.enter_context(closing(make_stack(tasks.env)))]
        ids = task_ids(envs[0])
        chosen = chosen_tasks(tasks, ids)
        for _ in range(min(config.rollout.slots, len(chosen)) - 1):
            envs.append(opened.enter_context(closing(make_stack(tasks.env))))
        sampling = Sampling(
            seed=f"play {seed}",
            temperature=config.eval.temperature,
            max_tokens=config.rollout.max_tokens,
            max_row_tokens=min(config.rollout.max_row_tokens, policy.max_positions),
            response=response_format(tasks.env),
            stop=tuple(config.rollout.stop),
        )
        attempts = [
            Task(task_id, seed=seed + k, group=k, member=k // len(ids)) for k, task_id in enumerate(chosen)
        ]
        return backend(policy, form, envs, attempts, sampling, on_episode=on_episode)


def chosen_tasks(tasks: EvalSet, ids: Sequence[str]) -> list[str]:
    """The tasks of a set that are played, of all its ids."""
    if tasks.count is None or (not tasks.again and tasks.count > len(ids)):
        return list(ids)
    return first_games(ids, tasks.count)


def first_games(ids: Sequence[str], count: int) -> list[str]:
    """The first ids; the list begins again where it is too short."""
    return [ids[k % len(ids)] for k in range(count)]


def evaluation_env(config: RunConfig) -> EnvConfig:
    """The environment settings of evaluation, of its first set: the training ones on other tasks."""
    return evaluation_sets(config)[0].env
