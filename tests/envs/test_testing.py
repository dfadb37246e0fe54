"""The contract suite passes on a sound environment and finds each way of breaking one."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_envs.step_info import text_hash
from stepopsd_envs.testing import check_text_env
from stepopsd_envs.text_env import Outcome
from tests.helpers.countdown import Countdown


def test_check_text_env_passes_on_a_sound_environment() -> None:
    """The suite passes on a sound environment."""
    check_text_env(Countdown())
    check_text_env(Listed())


def test_check_text_env_passes_from_random_episodes() -> None:
    """Also at other seeds and when the limit ends the episode."""
    for seed in range(3):
        check_text_env(Countdown(step_limit=seed + 2), seed=seed, steps=30)


class ShiftedSpan(Countdown):
    """An observation span off by one."""

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        info["step"]["observation_start"] += 1
        return info


class WrongAction(Countdown):
    """Notes a tidied action."""

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        info["step"]["action"] = info["step"]["action"].strip()
        return info


class SharedInfo(Countdown):
    """One list in every info."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = ["down"]

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "admissible_commands": self.shared}


class NoneInfo(Countdown):
    """None where a number belongs."""

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "about": {"number": None}}


class ChangingKeys(Countdown):
    """A key that comes and goes."""

    def _facts(self) -> dict[str, Any]:
        facts = super()._facts()
        return facts if self.number % 2 else {**facts, "even": True}


class ChangingTypes(Countdown):
    """A value that is now a bool, now an int."""

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "won": self.number if self.number % 2 else False}


class Raising(Countdown):
    """Fails on lone surrogates."""

    def _act(self, action: str) -> Outcome:
        action.encode()
        return super()._act(action)


class Forgetful(Countdown):
    """Saves another state than it is in."""

    def _save(self) -> Any:
        return self.number + 1


class Listed(Countdown):
    """Counts in a list, of which every snapshot is to have its own."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        self.said = []
        return super()._begin(options)

    def _act(self, action: str) -> Outcome:
        self.said.append(action)
        return super()._act(action)

    def _state_hash(self) -> str:
        return text_hash(f"{self.number} {len(self.said)}")

    def _save(self) -> Any:
        return self.number, self.said.copy()

    def _load(self, task_id: str, state: Any) -> None:
        self.number, self.said = state[0], state[1].copy()


class LentToSnapshots(Listed):
    """A snapshot goes on with its environment."""

    def _save(self) -> Any:
        return self.number, self.said


class BorrowedFromSnapshots(Listed):
    """A snapshot goes on with the environment that was restored from it."""

    def _load(self, task_id: str, state: Any) -> None:
        self.number, self.said = state


class Random(Countdown):
    """Answers differ from run to run."""

    def _act(self, action: str) -> Outcome:
        outcome = super()._act(action)
        return outcome._replace(observation=f"{outcome.observation} {id(object()) ^ id(outcome)}")


class Rewriting(Countdown):
    """The transcript is not what was said."""

    @property
    def transcript(self) -> str:
        """What was said, retold."""
        return str(self._transcript).replace("The number", "The count")


class Endless(Countdown):
    """The step limit never comes."""

    def step(self, action: object) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Renew the limit first."""
        self._remaining = max(self._remaining, 2)
        return super().step(action)


class Unhashed(Countdown):
    """A state that is no hash."""

    def _state_hash(self) -> str:
        return str(self.number)


class Both(Countdown):
    """Terminated and truncated at once."""

    def step(self, action: object) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Truncate whatever ends."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, terminated or truncated, info

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        return super()._begin({"number": 3})


class DrawnDetail(Countdown):
    """Draws a detail after the task, so that a replay, which names the task, begins with another one."""

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        numbers = options if "number" not in options else {"number": int(options["number"])}
        _, text = super()._begin(numbers)
        self.start = self.number
        return str(self.start), f"{text} The code is {self.np_random.integers(10**6)}."

    def _load(self, task_id: str, state: Any) -> None:
        super()._load(task_id, state)
        self.start = int(task_id)

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "task_id": str(self.start), "task_type": "count"}


class OwnSeed(DrawnDetail):
    """Draws the detail as it should: from the seed of the episode, which a record holds."""

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        name, text = super()._begin(options)
        return name, f"{text.partition(' The code')[0]} The code is {self._coming_seed() % 7}."


class Typeless(OwnSeed):
    """Does not tell the type of its task, which every table of records has a row for."""

    def _facts(self) -> dict[str, Any]:
        return {name: value for name, value in super()._facts().items() if name != "task_type"}


BROKEN = {
    ShiftedSpan: "transcript",
    WrongAction: "action",
    SharedInfo: "share",
    NoneInfo: "None",
    Typeless: "task_type.*records need a str",
    ChangingKeys: "even",
    ChangingTypes: "won",
    Raising: "never raise",
    Forgetful: "snapshot",
    LentToSnapshots: "a snapshot whose environment went on .copy what _save returns",
    BorrowedFromSnapshots: "a snapshot restored again .copy what _load is given",
    Random: "seed|eterministic",
    Rewriting: "transcript",
    Endless: "step limit",
    Unhashed: "state",
    DrawnDetail: "named.*another observation",
    Both: "both|truncates|non-deterministic|different",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_check_text_env_catches_a_broken_environment(broken: type[Countdown]) -> None:
    """Each way of breaking the contract is found and named."""
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_text_env(broken())


def test_check_text_env_passes_where_details_follow_from_the_episode_s_seed() -> None:
    """As the numbers of ALFWorld's objects do."""
    check_text_env(OwnSeed())


def test_check_text_env_refuses_other_environments() -> None:
    """It needs the transcript and the snapshots of a TextEnv."""
    with pytest.raises(AssertionError, match="TextEnv"):
        check_text_env(gym.make("CartPole-v1"))
