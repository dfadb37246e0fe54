"""Before several environments are stepped: let those of one kind do together what each would do alone."""

from collections.abc import Iterable

import gymnasium as gym

from stepopsd_envs.text_env import TextEnv
from stepopsd_wrappers import ParseResponse, find_wrapper


def prepare_steps(turns: Iterable[tuple[gym.Env[str, str], str]]) -> None:
    """Announce the responses that stacks are about to be stepped with to their environments.

    No step depends on it; an environment that is no `TextEnv` is left alone. See `TextEnv.prepare`.
    """
    kinds: dict[type[TextEnv], list[tuple[TextEnv, str]]] = {}
    for stack, response in turns:
        env, parser = stack.unwrapped, find_wrapper(stack, ParseResponse)
        if isinstance(env, TextEnv):
            action = response if parser is None else parser.command(response)
            kinds.setdefault(type(env), []).append((env, action))
    for kind, steps in kinds.items():
        if len(steps) > 1:
            kind.prepare(steps)
