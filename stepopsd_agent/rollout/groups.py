"""Episodes of one update: which groups can be learned from, and what the episodes tell in the mean."""

from collections.abc import Sequence

from stepopsd_wrappers import Episode


def whole_groups(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes of the groups without errors: an error is not a failure, and a group needs all members."""
    broken = {e.group for e in episodes if e.steps[-1].error is not None}
    return [e for e in episodes if e.group not in broken]


def mixed_groups(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes of the groups whose returns differ."""
    returns: dict[int, set[float]] = {}
    for episode in episodes:
        returns.setdefault(episode.group, set()).add(episode.episode_return)
    return [episode for episode in episodes if len(returns[episode.group]) > 1]


def group_ids(episodes: Sequence[Episode]) -> list[int]:
    """Numbers of their groups, sorted."""
    return sorted({episode.group for episode in episodes})


def without_errors(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes that the environment played to their end."""
    return [e for e in episodes if e.steps[-1].error is None]


def sampled_tokens(episodes: Sequence[Episode]) -> int:
    """Tokens the policy sampled."""
    return sum(len(s.tokens.sampled_ids) for e in episodes for s in e.steps if s.tokens is not None)


def episode_metrics(episodes: Sequence[Episode], measures: Sequence[str] = ()) -> dict[str, float]:
    """Means over the episodes of one update that met no error; 0 where there is none.

    ``measures`` are keys of ``info`` whose values at the end are averaged, too.
    """
    sound = without_errors(episodes)
    groups: dict[int, set[float]] = {}
    for episode in sound:
        groups.setdefault(episode.group, set()).add(episode.episode_return)
    steps = [step for e in sound for step in e.steps[1:]]
    count = max(1, len(sound))
    return {
        "train/success": sum(e.success for e in sound) / count,
        "train/return": sum(e.episode_return for e in sound) / count,
        "train/steps": len(steps) / count,
        "train/valid": sum(bool(s.info["step"]["valid"]) for s in steps) / max(1, len(steps)),
        "train/tokens_per_step": sampled_tokens(sound) / max(1, len(steps)),
        "train/mixed_groups": sum(len(returns) > 1 for returns in groups.values()) / max(1, len(groups)),
        **{f"train/{name}": sum(e.steps[-1].info[name] for e in sound) / count for name in measures},
    }
