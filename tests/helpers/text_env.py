"""A small deterministic text environment with the contract of the real ones; builders of episodes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from stepopsd_envs.step_info import text_hash
from stepopsd_envs.text_env import Outcome, TextEnv
from stepopsd_wrappers import Episode, EpisodeWriter, Step, StepTokens, read_episodes

ENV_ID = "stepopsd_tests/Corridor-v0"
TASKS = ("corridor/2", "corridor/3", "corridor/5")


class CorridorEnv(TextEnv):
    """Walk right to the door and open it. The command "break" makes the simulator raise."""

    task_option = "game"

    def __init__(self, step_limit: int = 50, door: str = "red", render_mode: str | None = None) -> None:
        super().__init__(step_limit=step_limit, render_mode=render_mode)
        self._door = door
        self._length, self._place, self._won = 0, 0, False

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        task_id = str(options.get("game", TASKS[int(self.np_random.integers(len(TASKS)))]))
        if task_id not in TASKS:
            raise ValueError(f"no game {task_id!r}; there are {TASKS}")
        self._length = int(task_id.removeprefix("corridor/"))
        self._place, self._won = int(self.np_random.integers(self._length)), False
        return task_id, f"You stand at {self._place}.\n\nYour task is to: {self._goal()}"

    def _goal(self) -> str:
        return f"open the {self._door} door at {self._length}, s'il vous plaît."

    def _commands(self) -> list[str]:
        return ["go left", "go right", "help", *(["open door"] if self._place == self._length else [])]

    def _act(self, action: str) -> Outcome:
        command = action.strip()
        if command == "break":
            raise RuntimeError("the simulator broke")
        if command not in self._commands():
            return Outcome("Nothing happens.", "invalid", 0.0, False)
        if command == "open door":
            self._won = True
            return Outcome("You won! \U0001f6aa", "act", 1.0, True)
        change = {"go left": -1, "go right": 1, "help": 0}[command]
        self._place = min(max(self._place + change, 0), self._length)
        return Outcome(f"You stand at {self._place}.", "act", -0.1, False)

    def _facts(self) -> dict[str, Any]:
        return {
            "won": self._won,
            "admissible_commands": sorted(self._commands()),
            "task_type": "walk_and_open",
            "task_id": self._task_id,
            "goal": self._goal(),
            "optimal_distance": -1,
        }

    def _state_hash(self) -> str:
        return text_hash(f"{self._length} {self._place} {self._won}")

    def _save(self) -> Any:
        return self._length, self._place, self._won

    def _load(self, task_id: str, state: Any) -> None:
        self._length, self._place, self._won = state

    @property
    def fingerprint(self) -> str:
        """Changes with the colour of the door."""
        return text_hash(f"{TASKS} {self._door}")


gym.register(ENV_ID, entry_point="tests.helpers.text_env:CorridorEnv")


def make_env(**kwargs: Any) -> gym.Env[str, str]:
    """The environment as `gymnasium.make` gives it."""
    env: gym.Env[str, str] = gym.make(ENV_ID, **kwargs)
    return env


def step_info(index: int) -> dict[str, Any]:
    """As much of an info as the records look at."""
    return {"step": {"index": index}, "won": False, "task_type": "walk_and_open", "task_id": "corridor/2"}


def make_tokens(count: int = 3, new_row: bool = False) -> StepTokens:
    """Tokens with log-probabilities that no decimal of few digits holds."""
    logprobs = tuple(-0.1 / (i + 3) for i in range(count))
    return StepTokens(tuple(range(5)), tuple(range(count)), logprobs, new_row, (0, count))


def make_episode(number: int = 0, num_steps: int = 2, response: str = "go right") -> Episode:
    """An episode built by hand; `number` tells it from others."""
    steps = [Step("You stand at 0.", "", "", 0.0, False, False, step_info(0))]
    for k in range(1, num_steps + 1):
        info = step_info(k)
        steps.append(
            Step(f"You stand at {k}.", response, response, 0.1 * k, False, False, info, make_tokens())
        )
    return Episode("run", 1, number, 2, "corridor/2", 7, {"id": ENV_ID, "kwargs": {}}, "abc", tuple(steps))


def record(folder: Path, numbers: range, **options: Any) -> None:
    """Record the episodes with these numbers and close the folder."""
    with EpisodeWriter(folder, **options) as writer:
        for number in numbers:
            writer.append(make_episode(number))


def recorded_numbers(folder: Path) -> list[int]:
    """The numbers of the episodes in a folder."""
    return [episode.group for episode in read_episodes(folder)]


def shard(folder: Path, index: int) -> Path:
    """The path of a shard."""
    return folder / f"episodes-{index:05d}.jsonl"


def manifest(folder: Path) -> list[dict[str, Any]]:
    """The entries of the manifest."""
    entries: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())["shards"]
    return entries
