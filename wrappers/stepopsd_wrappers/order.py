"""The order of wrappers: which may stand inside which."""

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import Autoreset


def require_order(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse to put one of this package's wrappers around a wrapper that belongs outside of it.

    `Autoreset` starts episodes by itself, the prompts of `TextHistory` are not observations, and inside
    `ParseResponse` a recorder would see commands in place of responses, as would a second parser.

    Raises:
        ValueError: `env` has such a wrapper.
        TypeError: `env` takes no texts.
    """
    from stepopsd_wrappers.parse_response import ParseResponse, find_wrapper  # all three need this module
    from stepopsd_wrappers.record_episode import RecordEpisode
    from stepopsd_wrappers.text_history import TextHistory

    outside = (Autoreset, TextHistory, *([RecordEpisode] if wrapper == "ParseResponse" else []))
    for kind in outside:
        if find_wrapper(env, kind) is not None:
            name = kind.__name__
            raise ValueError(
                f"{wrapper} is around {name}, which belongs outside; the order is Autoreset(TextHistory("
                "RecordEpisode(ParseResponse(env)))), of which make_text_env makes all but Autoreset"
            )
    if wrapper == "ParseResponse" and find_wrapper(env, ParseResponse) is not None:
        raise ValueError(
            "ParseResponse is around ParseResponse, but a response is parsed once: behind one no "
            "tags are left. Leave one out; make_text_env brings one of its own"
        )
    require_text_actions(env.action_space, wrapper)


def require_text_actions(space: gym.Space[Any], wrapper: str) -> None:
    """Refuse wrappers inside that take numbers: the responses of the records would be empty.

    Raises:
        TypeError: actions of this space are no texts.
    """
    if not isinstance(space, gym.spaces.Text):
        raise TypeError(
            f"{wrapper} takes texts, but the actions inside are {space}: put it inside the "
            f"wrapper that makes commands of them, as in AdmissibleActions({wrapper}(env))"
        )
