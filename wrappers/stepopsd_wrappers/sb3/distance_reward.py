"""A reward for approaching the goal, for algorithms that bootstrap where the step limit truncates."""

from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs


class DistanceReward(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds ``scale`` times the decrease of the distance to the goal, in commands, to the reward of each step.

    This is the potential-based shaping of Ng, Harada and Russell (1999) by ``info["optimal_distance"]``. In
    one point it differs from ALFWorld's reward "optimal_distance", which is for sums over whole episodes:
    that one sets the potential to zero when the step limit truncates an episode, and so pays the remaining
    distance back. The algorithms of stable-baselines3 bootstrap there from the value of the last state, so
    the payment, on average several times the reward of a good command, would be noise on the last action.
    """

    def __init__(self, env: gym.Env[Any, Any], scale: float = 0.1, lost: int = 20) -> None:
        """Wrap `env`.

        Args:
            env: reports the distance: ``gym.make("stepopsd/ALFWorld-v0", oracle=True)``.
            scale: reward for each command by which the distance decreases.
            lost: distance, in commands, of a state from which the task can no longer be completed, such as
                after taking something that cannot be put down anywhere. Few commands lead there; if it is
                large, their penalty outweighs the reward of the many good commands that resemble them.
        """
        RecordConstructorArgs.__init__(self, scale=scale, lost=lost)
        gym.Wrapper.__init__(self, env)
        self.scale, self.lost = scale, lost
        self._distance = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            ValueError: the infos have no distance.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._distance = self._distance_from(info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step; the reward is that of `env` plus the shaping."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        before, self._distance = self._distance, self._distance_from(info)
        gained = self.scale * (before - self._distance)
        return observation, float(reward) + gained, terminated, truncated, info

    def _distance_from(self, info: dict[str, Any]) -> int:
        distance = info.get("optimal_distance", -1)
        if distance == -1:
            raise ValueError(
                f"{self.unwrapped} gives no distance to the goal: make ALFWorld with oracle=True; other "
                "environments need info['optimal_distance']"
            )
        return self.lost if distance < 0 else int(distance)
