"""A reward for coming nearer to the goal, for algorithms that go on counting where the step limit cuts."""

from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs


class DistanceReward(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds ``scale`` for every command by which the way to the goal became shorter.

    It is the potential-based shaping of Ng, Harada and Russell (1999) by ``info["optimal_distance"]``, as
    ALFWorld's reward "optimal_distance" is, but for one thing: that one pays the potential back where the
    step limit ends an episode, because whole episodes are summed there. The algorithms of stable-baselines3
    go on there with the value of the last state; what is paid back would be noise, ten times the reward of a
    good command and more, on whatever was done last.
    """

    def __init__(self, env: gym.Env[Any, Any], scale: float = 0.1, lost: int = 20) -> None:
        """Wrap `env`.

        Args:
            env: tells the distance: ``gym.make("stepopsd/ALFWorld-v0", oracle=True)``.
            scale: reward of coming nearer by one command.
            lost: what counts as the distance where the task can no longer be completed, as after taking
                something that can be put down nowhere. Few commands do that; where it costs much, what they
                teach outweighs what the many good commands like them earn.
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
            ValueError: the environment does not tell the distance.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._distance = self._told(info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Play one action; the reward is that of `env` and the distance gained."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        before, self._distance = self._distance, self._told(info)
        gained = self.scale * (before - self._distance)
        return observation, float(reward) + gained, terminated, truncated, info

    def _told(self, info: dict[str, Any]) -> int:
        distance = info.get("optimal_distance", -1)
        if distance == -1:
            raise ValueError(
                f"{self.unwrapped} does not tell the distance to its goal: make ALFWorld with oracle=True; "
                "other environments have to give info['optimal_distance']"
            )
        return self.lost if distance < 0 else int(distance)
