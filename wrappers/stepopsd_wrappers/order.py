"""The order of wrappers: which may stand inside which."""

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import Autoreset


def require_order(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse to put `RecordEpisode` or `TextHistory` around what belongs outside of them.

    `Autoreset` begins episodes of its own, and the prompts of `TextHistory` are no observations.

    Raises:
        ValueError: `env` has such a wrapper.
    """
    from stepopsd_wrappers.record_episode import find_wrapper  # both need this module
    from stepopsd_wrappers.text_history import TextHistory

    for kind in (Autoreset, TextHistory):
        if find_wrapper(env, kind) is not None:
            name = kind.__name__
            raise ValueError(
                f"{wrapper} is around {name}, which belongs outside; the order is Autoreset(TextHistory("
                "RecordEpisode(ParseResponse(env)))), of which make_text_env makes all but Autoreset"
            )
