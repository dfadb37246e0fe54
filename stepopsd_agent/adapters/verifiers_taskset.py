"""A registered text environment as a taskset of verifiers 0.4, and the environment that plays its tasks.

The environment is the user of the conversation: its observations are the user's messages, the model's replies
its actions. Everything about models, tokens and traces is that of verifiers.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gymnasium as gym
import verifiers.v1 as vf
from pydantic import Field

from stepopsd_agent.config import EnvConfig, config_from_dict
from stepopsd_agent.rollout import Attempt, begin
from stepopsd_agent.tasks import env_arguments, get, make_stack, task_ids
from stepopsd_wrappers import recorder
from stepopsd_wrappers.text_history import MARKER


class TextTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Which tasks there are."""

    env: dict[str, Any] = Field(default_factory=dict)
    """Settings of the environment, as in the section `env` of a recipe."""
    seed: int = 0
    """Added to the number of the task, for the seed of its attempts."""


class TextData(vf.TaskData):  # type: ignore[misc]
    """One task; its `name` is the task's id."""

    env: dict[str, Any]
    """Settings of the environment."""
    seed: int
    """Of every attempt at it."""


class TextTask(vf.Task[TextData, vf.State, vf.TaskConfig]):  # type: ignore[misc]
    """A task without a prompt: the environment opens the conversation."""

    @property
    def key(self) -> str:
        """The environment's id and the task's own."""
        return f"{_settings(self.data.env).id}#{self.data.name}"


class TextTaskset(vf.Taskset[TextTask, TextTasksetConfig]):  # type: ignore[misc]
    """Every task of an environment, in canonical order."""

    def load(self) -> Iterator[TextTask]:
        """Read the tasks.

        Raises:
            ValueError: there is no such environment or setting, or its layout is not "transcript".
        """
        env = _settings(self.config.env)
        system = get(env.id).system or None
        with closing(make_stack(env)) as opened:
            names = task_ids(opened)
        for number, name in enumerate(names):
            data = TextData(
                name=name, system_prompt=system, env=self.config.env, seed=self.config.seed + number
            )
            yield TextTask(data, self.config.task)


class TextGameConfig(vf.EnvConfig):  # type: ignore[misc]
    """The one seat; a chat without tools in a process of this machine, unless settings say otherwise."""

    player: vf.AgentConfig = vf.AgentConfig(
        harness=vf.HarnessConfig(id="null"), runtime=vf.SubprocessConfig()
    )


class TextGameEnv(vf.Env[TextGameConfig]):  # type: ignore[misc]
    """Plays one task: observation, reply, observation, until the episode is over.

    The trace gets the return as the reward `episode_return`, the metrics `won`, `steps` and `valid` (the
    share of actions that were accepted), and in its `info` the rewards of the steps as `step_rewards`.
    """

    _held: gym.Env[str, str] | None = None

    async def start(self) -> None:
        """Open what all episodes share, such as a retriever: else each of them would open its own."""
        self._held = await asyncio.to_thread(make_stack, _settings(self.taskset.config.env))

    async def stop(self) -> None:
        """Close it."""
        held, self._held = self._held, None
        if held is not None:
            await asyncio.to_thread(held.close)

    async def run(self, task: TextTask, agents: vf.Agents) -> None:
        """Play one episode.

        Args:
            task: of `TextTaskset`.
            agents: with the seat `player`.
        """
        env = await asyncio.to_thread(make_stack, _settings(task.data.env))
        try:
            text, _ = await asyncio.to_thread(begin, env, Attempt(task.data.name, task.data.seed))
            async with agents.player.interaction(task) as exchange:
                segment = await exchange.turn(_message(text))
                while not segment.terminated:
                    reply = segment.last_reply
                    shown = len(text) + len(reply)
                    text, _, terminated, truncated, _ = await asyncio.to_thread(env.step, reply)
                    if terminated or truncated:
                        break
                    segment = await exchange.turn(_message(text[shown:]))
            recorder(env).close_episode()
            record = recorder(env).last_episode
        finally:
            await asyncio.to_thread(env.close)
        steps = [] if record is None else record.steps[1:]  # no reply, no record
        trace = exchange.trace
        trace.record_reward("episode_return", 0.0 if record is None else record.episode_return)
        trace.record_metric("won", float(record is not None and record.success))
        trace.record_metric("steps", len(steps))
        accepted = sum(bool(step.info["step"]["valid"]) for step in steps)
        trace.record_metric("valid", accepted / max(1, len(steps)))
        trace.info["step_rewards"] = [step.reward for step in steps]


def _message(text: str) -> str:
    """What the environment wrote, without the marker of prompts of plain text."""
    return text.removesuffix(MARKER).strip()


def _settings(given: dict[str, Any]) -> EnvConfig:
    env: EnvConfig = config_from_dict({"env": dict(given)}).env
    if env.layout != "transcript":
        raise ValueError(
            f"env.layout is {env.layout!r}; the conversation is the transcript, so set it to 'transcript'"
        )
    env_arguments(env)  # refuses what the environment does not have
    return env
