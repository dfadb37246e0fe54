"""The order of wrappers: which may stand inside which."""

from typing import Any, TypeVar

import gymnasium as gym
from gymnasium.wrappers import Autoreset

WrapperType = TypeVar("WrapperType", bound=gym.Wrapper[Any, Any, Any, Any])


def find_wrapper(env: gym.Env[Any, Any], kind: type[WrapperType]) -> WrapperType | None:
    """Return the outermost wrapper of type `kind` in the stack `env`, or None."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, kind):
            return env
        env = env.env
    return None


def require_order(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse to put `RecordEpisode` or `TextHistory` around what belongs outside of them.

    `Autoreset` begins episodes of its own, and the prompts of `TextHistory` are no observations.

    Raises:
        ValueError: `env` has such a wrapper.
    """
    from stepopsd_wrappers.text_history import TextHistory  # which needs the recorder

    for kind in (Autoreset, TextHistory):
        if find_wrapper(env, kind) is not None:
            name = kind.__name__
            raise ValueError(
                f"{wrapper} is around {name}, which belongs outside; the order is Autoreset(TextHistory("
                "RecordEpisode(ParseResponse(env)))), of which make_text_env makes all but Autoreset"
            )


def require_text(observation: object, env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse observations that another wrapper has turned into something else.

    Raises:
        TypeError: `observation` is not a string.
    """
    if not isinstance(observation, str):
        raise TypeError(
            f"{wrapper} takes texts, but got an observation of type {type(observation).__name__} from {env}: "
            "put wrappers that change observations around make_text_env(...), not inside"
        )
