"""Commands by number, for algorithms whose actions are numbers."""

from typing import Any, SupportsFloat, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray


def with_success(info: dict[str, Any]) -> dict[str, Any]:
    """The info with ``is_success``, which stable-baselines3 counts; unchanged if it has no ``won``.

    Every step's info has it, since a `TimeLimit` outside may end the episode at any step.
    """
    return {**info, "is_success": bool(info["won"])} if "won" in info else info


class CommandNumbers:
    """The admissible commands of an environment's current state, by number."""

    def __init__(self, max_actions: int) -> None:
        """Begin without commands.

        Raises:
            ValueError: `max_actions` is not positive.
        """
        if max_actions < 1:
            raise ValueError(
                f"max_actions is {max_actions}; give the largest number of commands in any state"
            )
        self.max_actions = max_actions
        self.commands: tuple[str, ...] = ()

    def begin(self, info: dict[str, Any]) -> None:
        """Take the commands of the first state.

        Raises:
            ValueError: it lists none, or more than `max_actions`.
        """
        self.go_on(info)
        if not self.commands:
            raise ValueError(
                f"{info['task_id']} lists no admissible commands, so they cannot be numbered: make "
                "ALFWorld with admissible=True; Search-QA takes any text and needs an agent that writes"
            )

    def go_on(self, info: dict[str, Any]) -> None:
        """Take the commands of the next state, of which there may be none.

        Raises:
            ValueError: it lists more than `max_actions`.
        """
        commands, most = tuple(info.get("admissible_commands", ())), self.max_actions
        if len(commands) > most:
            raise ValueError(
                f"{info['task_id']} has a state with {len(commands)} admissible commands, but max_actions is "
                f"{most}: give max_actions={max(2 * most, len(commands))}"
            )
        self.commands = commands

    def command(self, action: SupportsInt) -> str:
        """The command with this number.

        Raises:
            ValueError: it is no number of the action space.
        """
        if not 0 <= int(action) < self.max_actions:
            raise ValueError(f"action is {action}; give a number from 0 to {self.max_actions - 1}")
        return self.commands[int(action) % len(self.commands)] if self.commands else ""

    def mask(self) -> NDArray[np.bool_]:
        """[max_actions], True once for each admissible command; where there is none, True for the first."""
        mask = np.zeros(self.max_actions, dtype=np.bool_)
        mask[: max(1, len(self.commands))] = True
        return mask


class AdmissibleActions(gym.Wrapper[str, Any, str, Any], RecordConstructorArgs):
    """Takes the number of an admissible command instead of the command itself.

    Action i is command i of ``info["admissible_commands"]``; beyond its end the list repeats, so that every
    number is a command, also for algorithms without masks. Those with masks find `action_masks` (by
    ``get_wrapper_attr``, or ``env_method`` of a vector environment), where each command is True once. The
    info of a step has ``is_success``, which ``Monitor`` and ``EvalCallback`` of stable-baselines3 read.
    """

    def __init__(self, env: gym.Env[str, str], max_actions: int = 64) -> None:
        """Wrap `env`, or the recorder around it: a recorder inside records the commands.

        Args:
            env: a text environment that lists its admissible commands.
            max_actions: size of the action space: the largest number of commands in any state.

        Raises:
            ValueError: `max_actions` is not positive.
        """
        self._numbers = CommandNumbers(max_actions)
        RecordConstructorArgs.__init__(self, max_actions=max_actions)
        gym.Wrapper.__init__(self, env)
        self.max_actions, self.action_space = max_actions, Discrete(max_actions)

    @property
    def commands(self) -> tuple[str, ...]:
        """The admissible commands of the current state."""
        return self._numbers.commands

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Raises:
            ValueError: the environment lists no commands, or more than `max_actions`.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._numbers.begin(info)
        return observation, info

    def step(self, action: SupportsInt) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Give the command with this number.

        Raises:
            ValueError: it is no number of the action space, or the state that it leads to has more than
                `max_actions` commands.
        """
        observation, reward, terminated, truncated, info = self.env.step(self.command(action))
        self._numbers.go_on(info)
        return observation, reward, terminated, truncated, with_success(info)

    def command(self, action: SupportsInt) -> str:
        """The command with this number."""
        return self._numbers.command(action)

    def action_masks(self) -> NDArray[np.bool_]:
        """[max_actions], True once for each admissible command; where there is none, True for the first."""
        return self._numbers.mask()
