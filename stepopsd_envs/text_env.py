"""Base class of the text environments: transcript and spans, step limit, seeding, snapshots, rendering.

The transcript reads like a session at a command prompt::

    <opening text>
    > <first action>
    <first observation>
    > <second action>
    ...

A subclass defines how a task begins, what an action does and which facts the info reports. The base class
holds everything that must be the same in every environment.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import gymnasium as gym
from gymnasium.error import ResetNeeded

from stepopsd_envs.closing import ClosableEnv
from stepopsd_envs.own_limit import OwnLimitEnv
from stepopsd_envs.picture import episode_picture
from stepopsd_envs.rendering import for_terminal
from stepopsd_envs.spaces import UnicodeText
from stepopsd_envs.step_info import SCHEMA, Kind, StepInfo, text_hash
from stepopsd_envs.transcript import Transcript

SNAPSHOT_SCHEMA = "stepopsd.snapshot/1"
PROMPT = "\n> "


class Outcome(NamedTuple):
    """The outcome of an action; ``kind="invalid"`` marks an action that was not admissible."""

    observation: str
    kind: Kind
    reward: float
    terminated: bool


class TextEnv(OwnLimitEnv, ClosableEnv, ABC):
    """A deterministic text environment.

    ``terminated`` means that the task has ended, ``truncated`` that the step limit is reached. An episode won
    at its last step is terminated, not truncated. After either end, ``step`` raises ``ResetNeeded``.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "human", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's)
    task_option: ClassVar[str] = "task"  # key of the task id in reset(options=...)

    def __init__(self, *, step_limit: int, render_mode: str | None = None) -> None:
        if type(step_limit) is not int or step_limit < 1:
            raise ValueError(f"step_limit={step_limit!r}: give a positive number of steps")
        if render_mode is not None and render_mode not in (modes := self.metadata["render_modes"]):
            raise ValueError(f"render_mode={render_mode!r}: give None, {', '.join(modes)}")
        self.step_limit = step_limit
        self.render_mode = render_mode
        self.observation_space = UnicodeText()
        self.action_space = UnicodeText()
        self._step: StepInfo | None = None  # StepInfo of the last call; None until the first reset
        self._transcript = Transcript()
        self._observation = ""
        self._task_id, self._seed, self._episode_id = "", 0, ""
        self._next_seed: int | None = None  # seed of the episode being started; None until it is drawn
        self._remaining = 0

    @abstractmethod
    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        """Start the task named in the options, else one drawn from ``np_random``; return its id and text."""

    @abstractmethod
    def _act(self, action: str) -> Outcome:
        """Play one action, any string; must not raise."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """The info but ``step``: same keys and types, none None, new containers; task_id, task_type, won."""

    @abstractmethod
    def _state_hash(self) -> str:
        """Hash of the simulator state: 16 hexadecimal digits."""

    @abstractmethod
    def _save(self) -> Any:
        """The simulator state as plain picklable data that does not change when the episode goes on."""

    @abstractmethod
    def _load(self, task_id: str, state: Any) -> None:
        """Set the simulator to a state from ``_save``, which stays as it is; raising changes nothing."""

    @classmethod
    def prepare(cls, steps: Sequence[tuple[Self, str]]) -> None:
        """Do at once what the next steps of several environments would do one by one, such as searches.

        Whoever steps several environments may call it right before, with the actions to come. It changes no
        result and must not raise; here it does nothing.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the set of tasks that the environment draws from."""

    @property
    def engine_version(self) -> str:
        """Name and version of the engine that answers the actions, for records; empty if it never changes."""
        return ""

    @property
    def transcript(self) -> str:
        """The text of this episode so far; the spans in ``info["step"]`` index into it."""
        return str(self._transcript)

    @property
    def episode_seed(self) -> int:
        """The seed of this episode: the seed given to ``reset``, else one drawn from ``np_random``.

        ``reset(seed=episode_seed, options=...)`` with the same task begins the same episode again.
        """
        return self._seed

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode, or continue a snapshot.

        Args:
            seed: seed of ``np_random`` and of the episode; None draws it.
            options: ``{task_option: id}`` names the task, ``{"snapshot": ...}`` restores a snapshot. None or
                empty: a task is drawn.

        Raises:
            ValueError: an option is unknown, or another one is given beside a snapshot.
        """
        self._require_open()
        super().reset(seed=seed)
        chosen = self._checked(options)
        if "snapshot" in chosen:
            self.restore(chosen["snapshot"])
        else:
            self._start(seed, chosen)
        if self.render_mode == "human":
            self._show()
        return self._observation, self._info()

    def step(self, action: object) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action. No action raises; an action that is not a string is an invalid step.

        Raises:
            ResetNeeded: there was no reset yet, or the episode has ended.
        """
        last = self._step
        if self._closed or last is None or last["terminal"] or self._remaining <= 0:
            self._require_open()
            raise ResetNeeded(self._why_reset())
        text = str(action) if isinstance(action, str) else ""
        outcome = self._act(text)
        self._remaining -= 1
        self._observation = outcome.observation
        start, _ = self._transcript.add(f"{PROMPT}{text}\n")
        self._note(last["index"] + 1, outcome.kind, text, start + len(PROMPT), outcome.terminated)
        if self.render_mode == "human":
            self._show()
        truncated = self._remaining <= 0 and not outcome.terminated
        return outcome.observation, outcome.reward, outcome.terminated, truncated, self._info()

    def snapshot(self) -> dict[str, Any]:
        """The episode at this point as plain picklable data; the generator of tasks is not part of it.

        Raises:
            ResetNeeded: there was no reset yet.
        """
        if self._step is None:
            raise ResetNeeded("snapshot() before the first reset(): call reset() to begin an episode")
        return {
            "schema": SNAPSHOT_SCHEMA,
            "task_id": self._task_id,
            "seed": self._seed,
            "remaining": self._remaining,
            "transcript": self.transcript,
            "step": self._step.copy(),
            "state": self._save(),
        }

    def restore(self, snapshot: Any) -> None:
        """Continue from ``snapshot`` exactly like the environment that it was taken from.

        Raises:
            ValueError: ``snapshot`` was not made by ``snapshot()``.
        """
        self._require_open()
        if not isinstance(snapshot, Mapping) or snapshot.get("schema") != SNAPSHOT_SCHEMA:
            raise ValueError(
                f"not a {SNAPSHOT_SCHEMA} snapshot: {snapshot!r:.80}; pass what snapshot() returned"
            )
        self._load(snapshot["task_id"], snapshot["state"])
        step: StepInfo = snapshot["step"].copy()
        self._task_id, self._seed = snapshot["task_id"], snapshot["seed"]
        self._episode_id = step["episode_id"]
        self._remaining = snapshot["remaining"]
        self._transcript = Transcript(snapshot["transcript"])
        self._observation = snapshot["transcript"][step["observation_start"] : step["observation_end"]]
        self._step = step

    def render(self) -> Any:
        """Show the episode, depending on the mode.

        ``ansi`` gives the last action and observation as text, ``rgb_array`` the end of the transcript as a
        picture, an array [height, width, 3] of 8 bits; ``human`` None, as it prints during ``reset`` and
        ``step``. Gymnasium prescribes this.

        Raises:
            ResetNeeded: there was no reset yet.
        """
        if self._step is None:
            raise ResetNeeded("render() before the first reset(): call reset() to begin an episode")
        if self.render_mode is None:
            gym.logger.warn('render() needs a mode: gym.make(..., render_mode="ansi"), "human", "rgb_array"')
        if self.render_mode == "rgb_array":
            won = bool(self._facts().get("won"))
            return episode_picture(self.transcript, self._step, self._remaining, self._task_id, won=won)
        return self._last_exchange() if self.render_mode == "ansi" else None

    def _checked(self, options: dict[str, Any] | None) -> dict[str, Any]:
        chosen: object = {} if options is None else options
        one_of = self.task_option, "snapshot"
        if not isinstance(chosen, Mapping) or len(chosen) > 1 or not all(map(one_of.__contains__, chosen)):
            raise ValueError(f"reset(options={options!r:.200}): give a dict with one of {sorted(one_of)}")
        return dict(chosen)

    def _task_named(self, options: Mapping[str, Any]) -> str:
        """The task in the options, of an environment whose tasks are named by text alone."""
        if isinstance(task := options[self.task_option], str | os.PathLike):
            return os.fspath(task)
        problem = f"options[{self.task_option!r}] is {task!r:.80}, of type {type(task).__name__}"
        raise TypeError(f"{problem}: give a str, the id of a task, one of env.unwrapped.task_ids")

    def _start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        self._next_seed = seed
        task_id, self._observation = self._begin(options)
        self._task_id, self._seed = task_id, self._coming_seed()
        self._episode_id = text_hash(f"{task_id}\n{self._seed}")
        self._remaining = self.step_limit
        self._transcript = Transcript()
        self._note(0, "reset", "", 0, False)

    def _coming_seed(self) -> int:
        """The seed of the episode being started; a ``_begin`` that needs it must draw its task before."""
        if self._next_seed is None:
            self._next_seed = int(self.np_random.integers(2**31))
        return int(self._next_seed)

    def _note(self, index: int, kind: Kind, action: str, action_start: int, terminal: bool) -> None:
        observation_start, observation_end = self._transcript.add(self._observation)
        self._step = {
            "schema": SCHEMA,
            "episode_id": self._episode_id,
            "index": index,
            "kind": kind,
            "action": action,
            "valid": kind != "invalid",
            "action_start": action_start,
            "action_end": action_start + len(action),
            "observation_start": observation_start,
            "observation_end": observation_end,
            "anchor": text_hash(self._observation),
            "state": self._state_hash(),
            "terminal": terminal,
        }

    def _info(self) -> dict[str, Any]:
        assert self._step is not None
        return {"step": self._step.copy(), **self._facts()}

    def _why_reset(self) -> str:
        if self._step is None:
            return "step() before the first reset(): call reset() to begin an episode"
        if self._step["terminal"]:
            return "the episode has terminated: call reset() to begin another"
        return f"the step limit of {self.step_limit} is reached: call reset() to begin another episode"

    def _last_exchange(self) -> str:
        assert self._step is not None
        return f"> {self._step['action']}\n{self._observation}" if self._step["index"] else self._observation

    def _show(self) -> None:
        """Print the last action and observation, wrapped, with step number and end of the episode."""
        assert self._step is not None
        index, limit = self._step["index"], self._step["index"] + self._remaining
        ended = "(the episode has terminated)" if self._step["terminal"] else "(the step limit is reached)"
        text = f"[{index}/{limit}] {self._last_exchange()}" if index else self._observation
        if self._step["terminal"] or not self._remaining:
            text = f"{text}\n{ended}"
        encoding = getattr(sys.stdout, "encoding", None)  # what stands in for it may only have write
        print(for_terminal(text, encoding or "utf-8"), flush=True)
