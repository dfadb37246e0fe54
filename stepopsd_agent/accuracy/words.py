"""A control that reads one word of each command: how seldom commands of this kind were given."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stepopsd_agent.accuracy.measures import Array
from stepopsd_wrappers import Episode, Step


def rarity(episodes: Sequence[Episode]) -> list[Array]:
    """Per episode, for each step after the reset 1 over the number of such commands in its group.

    Commands are of one kind if they begin with the same word, in upper or lower case; searches and answers
    are two kinds, whatever their words. Only accepted steps count; a refused one gets 0. It knows neither
    outcomes nor the world: in a household most commands walk somewhere, and few handle an object.

    Args:
        episodes: with the number of its group in each.
    """
    counts: dict[int, Counter[str]] = {}
    for episode in episodes:
        kinds = (_kind(step) for step in episode.steps[1:])
        counts.setdefault(episode.group, Counter()).update(kind for kind in kinds if kind)
    return [
        np.array(
            [1 / counts[episode.group][kind] if (kind := _kind(step)) else 0.0 for step in episode.steps[1:]]
        )
        for episode in episodes
    ]


def _kind(step: Step) -> str:
    """Empty for a refused step."""
    told = step.info["step"]
    if not told["valid"]:
        return ""
    words = step.action.split()
    return f"act {words[0].lower()}" if told["kind"] == "act" and words else str(told["kind"])
