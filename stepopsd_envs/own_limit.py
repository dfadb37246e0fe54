"""Environments that truncate their episodes at their own step limit."""

import copy

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec


class OwnLimitEnv(gym.Env[str, str]):
    """Reports its step limit where Gymnasium's wrappers look for one.

    ``gymnasium.make`` adds no ``TimeLimit`` for it, which would call a task that was won at the last step
    truncated, too. Only ``gymnasium.make(env.spec)`` does, at the same step.
    """

    step_limit: int
    _made_by: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """The spec that ``gymnasium.make`` gave, with the step limit as ``max_episode_steps``.

        Wrappers such as ``TimeAwareObservation`` read it there.
        """
        return self._made_by

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._made_by = copy.copy(spec)
        if self._made_by is not None:
            self._made_by.max_episode_steps = self.step_limit
