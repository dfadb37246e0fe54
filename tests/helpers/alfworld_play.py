"""Making and solving ALFWorld environments in tests."""

from typing import Any

import gymnasium as gym
import numpy as np

from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.alfworld.expert import ExploringExpert


def make(**kwargs: Any) -> AlfworldEnv:
    """The environment itself, made as users make it."""
    base = gym.make("stepopsd/ALFWorld-v0", **kwargs).unwrapped
    assert isinstance(base, AlfworldEnv)
    return base


def solve(env: AlfworldEnv, **reset: Any) -> list[Any]:
    """What reset and the steps return while the exploring expert plays to the end."""
    expert = ExploringExpert(np.random.default_rng(0))
    calls: list[Any] = [env.reset(**reset)]
    expert.reset(calls[0][0])
    while len(calls) == 1 or not (calls[-1][2] or calls[-1][3]):
        command = expert.act()
        calls.append(env.step(command))
        expert.see(command, calls[-1][0])
    return calls
