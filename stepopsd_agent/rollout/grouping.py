"""Groups of attempts: which are played, which can be learned from, and means over their episodes."""

from collections.abc import Sequence

import gymnasium as gym
import numpy as np

from stepopsd_agent import ops
from stepopsd_agent.config import RolloutConfig
from stepopsd_agent.rollout.playing import Attempt
from stepopsd_wrappers import Episode


def groups(
    env: gym.Env[str, str],
    *,
    count: int,
    size: int,
    seed: int,
    update: int = 0,
    revisit_share: float = 0.0,
    revisit_after: int = 10,
) -> list[Attempt]:
    """The attempts of one update: ``count`` groups of ``size`` attempts at one task each.

    Every pass over the tasks has its own order, drawn from ``seed``; each update takes the next ones. The
    last ``revisit_share`` of its groups play the first tasks of ``revisit_after`` updates before, seeds too.

    Args:
        env: an environment with ``task_ids``, wrapped or not.
        count: number of groups.
        size: attempts in a group.
        seed: of the order, and of the attempts' own seeds.
        update: number of the update.
        revisit_share: share of the groups, rounded, from 0 to 1; none before update ``revisit_after``.
        revisit_after: updates between two visits, at least 1.

    Raises:
        ValueError: a number is not allowed, or the environment has no tasks.
    """
    for name, number in {"count": count, "size": size, "seed": seed, "update": update}.items():
        if not isinstance(number, int | np.integer):
            raise ValueError(f"{name} is {number!r:.60}; give a whole number")
    if min(count, size) < 1:
        raise ValueError(f"count {count}, size {size}: give 1 or more of both")
    if min(seed, update) < 0:
        raise ValueError(f"seed {seed}, update {update}: give 0 or more of both")
    if not (0 <= revisit_share <= 1 <= revisit_after):
        raise ValueError(f"revisit_share {revisit_share}, revisit_after {revisit_after}: give 0 to 1, >= 1")
    try:
        ids: tuple[str, ...] = tuple(env.get_wrapper_attr("task_ids"))
    except AttributeError:
        ids = ()
    if not ids:
        raise ValueError(f"{env!r:.120} has no task_ids; give one environment whose tasks have names")
    again, attempts = round(revisit_share * count), list[Attempt]()
    for group in range(count):
        visited, place = update, group  # the update and the group in which the task was new
        while visited >= revisit_after and place >= count - again:
            visited, place = visited - revisit_after, place - (count - again)
        task = _task_at(ids, seed, visited * count - again * max(0, visited - revisit_after) + place)
        attempt_seed = int(np.random.default_rng([seed, visited, place]).integers(2**31))
        attempts += [Attempt(task, seed=attempt_seed, group=group, member=member) for member in range(size)]
    return attempts


def _task_at(ids: tuple[str, ...], seed: int, position: int) -> str:
    """The position-th task of an endless sequence of seeded permutations."""
    epoch, place = divmod(position, len(ids))
    return ids[int(np.random.default_rng([seed, epoch]).permutation(len(ids))[place])]


def valid_episodes(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes that no error of the environment ended."""
    return [episode for episode in episodes if not episode.failed]


def whole_groups(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes of the groups without errors: an error is not the policy's, and a group needs all members."""
    broken = {episode.group_key for episode in episodes if episode.failed}
    return [episode for episode in episodes if episode.group_key not in broken]


def mixed_groups(episodes: Sequence[Episode], shaping: RolloutConfig | None = None) -> list[Episode]:
    """Episodes of the `whole_groups` whose returns differ (`ops.differ`), as `collate` shapes them.

    Args:
        episodes: of any number of groups.
        shaping: its penalty counts: a group may differ in nothing else, and is learned from all the same.
    """
    mixed = _mixed(whole_groups(episodes), shaping)
    return [episode for episode in episodes if mixed.get(episode.group_key)]


def group_ids(episodes: Sequence[Episode]) -> list[int]:
    """Numbers of the groups of one update, sorted."""
    return sorted({episode.group for episode in episodes})


def _mixed(episodes: Sequence[Episode], shaping: RolloutConfig | None) -> dict[tuple[str, int, int], bool]:
    """Of every group whether its returns differ, less the penalty; of its steps where it falls on them."""
    penalty, on = (shaping.invalid_penalty, shaping.invalid_penalty_on) if shaping else (0.0, "episode")
    returns: dict[tuple[str, int, int], list[float]] = {}
    for episode in episodes:
        refused = [not step.info["step"]["valid"] for step in episode.steps[1:]] if penalty else [False]
        counts = set(refused) if on == "step" else {sum(refused)}
        shaped = [episode.episode_return - penalty * count for count in counts]
        returns.setdefault(episode.group_key, []).extend(shaped)
    return {key: ops.differ(min(values), max(values)) for key, values in returns.items()}


def sampled_tokens(episodes: Sequence[Episode]) -> int:
    """Number of tokens the policy sampled."""
    return sum(len(s.tokens.sampled_ids) for e in episodes for s in e.steps if s.tokens is not None)


def episode_metrics(
    episodes: Sequence[Episode], measures: Sequence[str] = (), shaping: RolloutConfig | None = None
) -> dict[str, float]:
    """Means over the episodes of one update that met no error; 0 where there is none.

    The share of mixed groups is one of whole groups, and absent without any: nothing is known of the returns.

    Args:
        episodes: of the update.
        measures: keys of ``info`` whose values at the end of an episode are averaged, too.
        shaping: its penalty decides which groups are mixed.
    """
    valid = valid_episodes(episodes)
    mixed = list(_mixed(whole_groups(episodes), shaping).values())
    steps = [step for episode in valid for step in episode.steps[1:]]
    count = max(1, len(valid))
    return {
        "train/success": sum(e.success for e in valid) / count,
        "train/return": sum(e.episode_return for e in valid) / count,
        "train/steps": len(steps) / count,
        "train/valid": sum(bool(s.info["step"]["valid"]) for s in steps) / max(1, len(steps)),
        "train/tokens_per_step": sampled_tokens(valid) / max(1, len(steps)),
        **({"train/mixed_groups": sum(mixed) / len(mixed)} if mixed else {}),
        **{f"train/{name}": sum(e.steps[-1].info[name] for e in valid) / count for name in measures},
    }
