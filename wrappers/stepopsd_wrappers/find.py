"""Finding a wrapper in a stack of them."""

from typing import Any, TypeVar

import gymnasium as gym

WrapperType = TypeVar("WrapperType", bound=gym.Wrapper[Any, Any, Any, Any])


def find_wrapper(env: gym.Env[Any, Any], kind: type[WrapperType]) -> WrapperType | None:
    """Return the outermost wrapper of type `kind` in the stack `env`, or None."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, kind):
            return env
        env = env.env
    return None
