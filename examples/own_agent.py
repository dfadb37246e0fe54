"""An agent of one's own that every command with ``--agent`` plays: it looks first where it has not been yet.

Run this with this folder on PYTHONPATH, so that "own_agent:Wanderer" can be imported:

    stepopsd eval --agent own_agent:Wanderer --env.tier tiny --eval.num_games 20 --out runs/wanderer
    stepopsd record --agent own_agent:Wanderer --env.tier tiny --episodes 20 --out runs/wandering

An agent is any class with these two methods. It is made without arguments, or with the environment if its
constructor needs one. If it raises, the episode is recorded as failed, and the evaluation goes on;
``stepopsd eval --resume runs/wanderer`` plays what failed again.
"""

from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_agent.rollout import play_agent, success_table
from stepopsd_wrappers import RecordEpisode


class Wanderer:
    """Gives one of the commands that it gave least often, and handles what the goal names before all else."""

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin an episode; equal seeds play alike."""
        self._rng = np.random.default_rng(seed)
        self._given: Counter[str] = Counter()

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """One admissible command."""
        goal, commands = set(info["goal"].rstrip(".").split()), info["admissible_commands"]
        idle = ("examine", "help", "inventory", "look")
        walks = [command for command in commands if not command.startswith(idle)]
        named = [c for c in walks if c.split()[1] in goal and not c.startswith(("go", "open", "close"))]
        choices = [c for c in named if not self._given[c]] or walks
        least = min(self._given[command] for command in choices)
        rarest = [command for command in choices if self._given[command] == least]
        command = str(rarest[self._rng.integers(len(rarest))])
        self._given[command] += 1
        return command


if __name__ == "__main__":
    env = RecordEpisode(gym.make("stepopsd/ALFWorld-v0", tier="tiny", split="test", num_games=20))
    episodes = play_agent(Wanderer(), env, env.get_wrapper_attr("task_ids"), seed=0)
    print(f"success {success_table(episodes)['success']:.0%} of {len(episodes)} games")
