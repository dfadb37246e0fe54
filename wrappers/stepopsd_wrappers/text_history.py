"""From an environment's observations to the prompt that a language model continues."""

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, cast

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from stepopsd_wrappers.find import find_wrapper
from stepopsd_wrappers.parse_response import ParseResponse
from stepopsd_wrappers.record_episode import HeldEpisode, RecordEpisode

Layout = Literal["transcript", "window"]
LAYOUTS: tuple[Layout, ...] = ("transcript", "window")
MARKER = "\n> "
"""Ends every prompt: what follows is the model's response."""

_ASK = {
    "tags": "Think it over inside <think> and </think>, then give one command inside <action> and </action>.",
    "plain": "Answer with one command and nothing else.",
    "search": "Think it over inside <think> and </think>, then give one query inside <search> and </search>, "
    "or the final answer inside <answer> and </answer>.",
}


@dataclass(frozen=True)
class HeldPrompt:
    """A recorded stack at some point of an episode, to go on from there again and again.

    Attributes:
        prompt: the last one.
        observation: in it, the newest.
        past: observations before it, each with the command given to it, as far as the window shows them.
        episode: the environment, and the record until then.
    """

    prompt: str
    observation: str
    past: tuple[tuple[str, str], ...]
    episode: HeldEpisode


class TextHistory(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Makes the observation a prompt.

    Layout "transcript" is the whole episode so far. Each prompt extends the one before: prompt_k is
    prompt_(k-1) + response_k + turn_k, where turn_k is made from the new observation alone; so a model's
    cache can be kept over the turns.

    Layout "window" is made anew at each step from the task, the last `steps` observations with the commands
    that were given to them, the new observation and the admissible commands.

    Both end with `MARKER`.
    """

    def __init__(self, env: gym.Env[str, str], layout: Layout = "transcript", steps: int = 2) -> None:
        """Wrap `env`.

        Args:
            env: a text environment, or one with `ParseResponse`, whose format the window then asks for.
            layout: "transcript" or "window".
            steps: how many past steps the window shows; the transcript always shows all.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"layout is {layout!r}; allowed are {', '.join(map(repr, LAYOUTS))}")
        if steps < 0:
            raise ValueError(f"steps is {steps}; give 0 or the number of past steps to show")
        RecordConstructorArgs.__init__(self, layout=layout, steps=steps)
        gym.Wrapper.__init__(self, env)
        self.layout: Layout = layout
        parser = find_wrapper(env, ParseResponse)
        self._ask = _ASK["plain" if parser is None else parser.format]
        self._past: deque[tuple[str, str]] = deque(maxlen=steps)
        self._observation = ""
        self._prompt = ""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode and return its first prompt."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._past.clear()
        self._prompt = self._window(observation, info) if self.layout == "window" else observation + MARKER
        self._observation = observation
        return self._prompt, info

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step with a response and return the next prompt."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.layout == "window":
            self._past.append((self._observation, info["step"]["action"]))
            self._prompt = self._window(observation, info)
        else:
            said = action if isinstance(cast("object", action), str) else ""
            self._prompt += said + turn(observation)
        self._observation = observation
        return self._prompt, reward, terminated, truncated, info

    def hold(self) -> HeldPrompt:
        """Everything that `go_on` needs; there has to be a `RecordEpisode` inside."""
        return HeldPrompt(self._prompt, self._observation, tuple(self._past), self._recorder().hold())

    def go_on(self, held: HeldPrompt) -> str:
        """Continue an episode from where it was held, in this stack or one like it; returns the prompt."""
        self._recorder().go_on(held.episode)
        self._prompt, self._observation = held.prompt, held.observation
        self._past.clear()
        self._past.extend(held.past)
        return self._prompt

    def _recorder(self) -> RecordEpisode:
        found = find_wrapper(self.env, RecordEpisode)
        if found is None:
            raise LookupError(f"{self} has no RecordEpisode; make the stack with make_text_env")
        return found

    def _window(self, observation: str, info: dict[str, Any]) -> str:
        return window(info["goal"], list(self._past), observation, info, self._ask)


def turn(observation: str) -> str:
    """Return what a transcript adds after a response."""
    return "\n" + observation + MARKER


def window(goal: str, past: list[tuple[str, str]], observation: str, info: dict[str, Any], ask: str) -> str:
    """Return the prompt of layout "window".

    Args:
        goal: the instruction.
        past: the last observations, oldest first, each with the command given to it.
        observation: the present one.
        info: the environment's info that came with it.
        ask: the sentence that tells the form of the answer.
    """
    taken = info["step"]["index"]
    lines = [f"Your task: {goal}", f"Steps taken so far: {taken}"]
    if past:
        lines.append("The last of them:" if len(past) < taken else "They were:")
    for number, (seen, done) in enumerate(past, start=taken - len(past) + 1):
        lines += [f"[{number}] You saw: {seen}", f"[{number}] You did: {done or '(no command)'}"]
    lines.append(f"Now you see: {observation}")
    # An environment whose actions cannot be listed has no such key.
    commands = [command for command in info.get("admissible_commands", ()) if command != "help"]
    if commands:
        lines += ["Commands you can give now:", *(f"- {command}" for command in commands)]
    return "\n".join([*lines, ask]) + MARKER
