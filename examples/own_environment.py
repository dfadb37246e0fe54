"""An environment of one's own that every ``stepopsd`` command trains, evaluates and records: guess a number.

Run these with this folder on PYTHONPATH ("module:id" imports the module, as in ``gymnasium.make``):

    stepopsd warmstart --env.id own_environment:own/GuessNumber-v0 --out runs/guess
    stepopsd train --env.id own_environment:own/GuessNumber-v0 --model.path runs/guess --out runs/trained

The flags ``--env.highest`` and ``--env.step_limit`` come from the constructor below, and their help from its
docstring. Every third number is held out: training never asks for it, and evaluation asks for nothing else.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np

from stepopsd_agent import tasks
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import EvalSet, HeldOut, TaskSpec, World
from stepopsd_envs.step_info import text_hash
from stepopsd_envs.text_env import Outcome, TextEnv
from stepopsd_wrappers import Episode


class GuessNumber(TextEnv):
    """Find a number with "guess N"; every guess is answered with higher or lower.

    Args:
        highest: the largest number there is, at least 3.
        split: "test" asks for every third number, "train" for the others.
        step_limit: guesses before an episode is truncated.
        render_mode: None, "ansi" or "human".
    """

    task_option: ClassVar[str] = "number"

    def __init__(
        self,
        highest: int = 15,
        split: Literal["train", "test"] = "train",
        step_limit: int = 5,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(step_limit=step_limit, render_mode=render_mode)
        if highest < 3:
            raise ValueError(f"highest={highest}: give 3 or more, or no number is left to hold out")
        self.highest, self.split, self.number, self.won = highest, split, 0, False

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The numbers that can be asked for."""
        test = self.split == "test"
        return tuple(str(number) for number in range(1, self.highest + 1) if (number % 3 == 0) == test)

    @property
    def fingerprint(self) -> str:
        """Hash of the set of tasks."""
        return text_hash(f"guess one of {self.task_ids}")

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        drawn = self.np_random.choice(self.task_ids)
        self.number, self.won = int(options.get("number", drawn)), False
        return str(self.number), f"A number from 1 to {self.highest}."

    def _act(self, action: str) -> Outcome:
        word, _, guess = action.partition(" ")
        if word != "guess" or not guess.isdecimal():
            return Outcome("Say guess and a number.", "invalid", 0.0, False)
        self.won = int(guess) == self.number
        answer = "Right." if self.won else "Higher." if int(guess) < self.number else "Lower."
        return Outcome(answer, "act", float(self.won), self.won)

    def _facts(self) -> dict[str, Any]:
        guesses = [f"guess {number}" for number in range(1, self.highest + 1)]
        facts = {"task_id": str(self.number), "task_type": "guess", "goal": "Guess the number."}
        return {**facts, "won": self.won, "admissible_commands": guesses}

    def _state_hash(self) -> str:
        return text_hash(f"{self.number} {self.won}")

    def _save(self) -> tuple[int, bool]:
        return self.number, self.won

    def _load(self, task_id: str, state: tuple[int, bool]) -> None:
        self.number, self.won = state


class Halving:
    """An expert for the warm start: halves what is left, and errs at the given rate. It reads texts alone."""

    def __init__(self, rng: np.random.Generator, mistake_rate: float = 0.0) -> None:
        self._rng, self._mistake_rate = rng, mistake_rate

    def reset(self, observation: str, info: dict[str, Any]) -> None:
        """Read the largest number."""
        self._low, self._high = 1, int(observation.rstrip(".").split()[-1])

    def learn(self, peer: Episode) -> None:
        """Take the number from a successful attempt."""
        self._low = self._high = int(peer.steps[-1].action.split()[-1])

    def act(self) -> str:
        """Guess the middle."""
        middle = (self._low + self._high) // 2
        mistaken = self._rng.random() < self._mistake_rate
        return f"guess {self._rng.integers(self._low, self._high + 1) if mistaken else middle}"

    def thought(self) -> str:
        """What is left."""
        return f"It lies between {self._low} and {self._high}."

    def see(self, action: str, observation: str, info: dict[str, Any]) -> None:
        """Narrow the range."""
        guess = int(action.split()[-1])
        self._low = max(self._low, guess + 1) if observation == "Higher." else self._low
        self._high = min(self._high, guess - 1) if observation == "Lower." else self._high


def held_out_numbers(env: EnvConfig, held_out: HeldOut) -> list[EvalSet]:
    """The numbers that training never asks for, each once."""
    return [EvalSet("test", env.changed(split="test"), held_out.episodes, again=False)]


def worlds(episode: Episode) -> list[World]:
    """The numbers that can still be right: guesses that leave the same ones lead to one place."""
    low, high, found = 1, int(episode.steps[0].observation.rstrip(".").split()[-1]), list[World]()
    for step in episode.steps:
        if step.observation in ("Higher.", "Lower."):
            guess = int(step.action.split()[-1])
            low = max(low, guess + 1) if step.observation == "Higher." else low
            high = min(high, guess - 1) if step.observation == "Lower." else high
        facts = [f"low: {low}", f"high: {high}", *(["found: yes"] if step.observation == "Right." else [])]
        found.append(frozenset(facts))
    return found


SPEC = TaskSpec(
    evaluation=held_out_numbers,
    expert=lambda env: Halving,
    system="Guess the number. Answer each message with guess and a number, and nothing else.",
    unit="number",
    worlds=worlds,
)

gym.register("own/GuessNumber-v0", entry_point="own_environment:GuessNumber")
tasks.register("own/GuessNumber-v0", "own_environment:SPEC")
