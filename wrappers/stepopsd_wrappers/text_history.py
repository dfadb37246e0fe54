"""Turn the observations of an environment into the prompt that a language model continues."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, cast

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from stepopsd_wrappers.order import require_order
from stepopsd_wrappers.parse_response import ParseResponse, find_wrapper, require_text
from stepopsd_wrappers.record_episode import recorder
from stepopsd_wrappers.running_episode import EpisodeSnapshot

Layout = Literal["transcript", "window"]
LAYOUTS: tuple[Layout, ...] = ("transcript", "window")
MARKER = "\n> "
"""End of every prompt; the model's response follows it."""

_ASK = {
    "tags": "Think it over inside <think> and </think>, then give one command inside <action> and </action>.",
    "plain": "Answer with one command and nothing else.",
    "search": "Think it over inside <think> and </think>, then give one query inside <search> and </search>, "
    "or the final answer inside <answer> and </answer>.",
}


@dataclass(frozen=True)
class PromptSnapshot:
    """A recorded stack at some point of an episode; it can be continued from there any number of times.

    Attributes:
        prompt: the latest prompt.
        observation: the newest observation, which the prompt ends with.
        past: earlier observations, each with the command given to it, as far as the window shows them.
        episode: the environment, and the record until then.
    """

    prompt: str
    observation: str
    past: tuple[tuple[str, str], ...]
    episode: EpisodeSnapshot


class TextHistory(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Makes each observation a prompt, which ends with `MARKER`.

    Layout "transcript" holds the whole episode so far. Each prompt extends the previous one: prompt_k =
    prompt_(k-1) + response_k + turn_k, and turn_k depends on the new observation alone. So the model's
    key-value cache stays usable over the turns.

    Layout "window" is built anew at each step: the task, the last `steps` observations with the commands
    given in them, the new observation and the admissible commands.
    """

    def __init__(self, env: gym.Env[str, str], layout: Layout = "transcript", steps: int = 2) -> None:
        """Wrap `env`.

        Args:
            env: a text environment, or one with `ParseResponse`, whose format the window then asks for.
            layout: "transcript" or "window".
            steps: number of past steps in the window; the transcript always shows all.

        Raises:
            ValueError: `layout` is unknown, `steps` is negative, or `env` has a wrapper that belongs outside.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"layout is {layout!r}; allowed are {', '.join(map(repr, LAYOUTS))}")
        if steps < 0:
            raise ValueError(f"steps is {steps}; give the number of past steps to show, 0 or more")
        require_order(env, "TextHistory")
        RecordConstructorArgs.__init__(self, layout=layout, steps=steps)
        gym.Wrapper.__init__(self, env)
        self.layout: Layout = layout
        parser = find_wrapper(env, ParseResponse)
        self._ask = _ASK["plain" if parser is None else parser.format]
        self._past: deque[tuple[str, str]] = deque(maxlen=steps)
        self._turns: list[tuple[str, str]] = []  # of the transcript: each response, and what came of it
        self._opening = self._observation = self._prompt = ""
        self._info: dict[str, Any] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode and return its first prompt."""
        observation, info = self.env.reset(seed=seed, options=options)
        require_text(observation, self.env, "TextHistory")
        self._past.clear()
        self._turns.clear()
        self._prompt = self._window(observation, info) if self.layout == "window" else observation + MARKER
        self._opening = self._observation = observation
        self._info = info
        return self._prompt, info

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step with a response and return the next prompt."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.layout == "window":
            self._past.append((self._observation, info["step"]["action"]))
            self._prompt = self._window(observation, info)
        else:
            response = action if isinstance(cast("object", action), str) else ""
            self._prompt += response + turn(observation)
            self._turns.append((response, observation))
        self._observation, self._info = observation, info
        return self._prompt, reward, terminated, truncated, info

    def snapshot(self) -> PromptSnapshot:
        """Return what `restore` needs.

        Raises:
            LookupError: there is no `RecordEpisode` inside.
        """
        return PromptSnapshot(self._prompt, self._observation, tuple(self._past), recorder(self).snapshot())

    def restore(self, snapshot: PromptSnapshot) -> str:
        """Continue an episode from a snapshot of this stack or one like it; return the prompt."""
        recorder(self).restore(snapshot.episode)
        self._prompt, self._observation = snapshot.prompt, snapshot.observation
        self._past.clear()
        self._past.extend(snapshot.past)
        first, *further = snapshot.episode.steps
        self._opening = first.observation
        self._turns = [(step.response, step.observation) for step in further]
        self._info = (further or [first])[-1].info
        return self._prompt

    def shortened(self, fits: Callable[[str], bool]) -> str:
        """Return the latest prompt with as much of the history as fits.

        The oldest steps are dropped first. If the prompt is still too long without any, the middle of the
        newest observation is dropped, then the end of the list of commands; of a transcript's first
        observation, the text around the task. The task is never shortened.

        Args:
            fits: returns whether a prompt is short enough.

        Returns:
            The longest such prompt that fits; the shortest one, little more than the task, if none does.
        """
        if fits(self._prompt):
            return self._prompt
        prompt = self._prompt
        for shorter, most in self._windows() if self.layout == "window" else self._transcripts():
            low, high = 1, most  # the least to leave out lies between, if any is enough
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if fits(shorter(middle)) else (middle + 1, high)
            prompt = shorter(most) if low > most else shorter(low)
            if fits(prompt):
                break
        return prompt

    def _windows(self) -> list[tuple[Callable[[int], str], int]]:
        """Return the stages of shortening a window: a function of how much is dropped, and its maximum."""
        past, seen, info = list(self._past), self._observation, self._info
        commands = list(info.get("admissible_commands", ()))
        nothing = _without_middle(seen, len(seen))

        def shorter_observation(count: int) -> str:
            return window(info["goal"], [], _without_middle(seen, count), info, self._ask)

        def fewer_commands(count: int) -> str:
            kept = {**info, "admissible_commands": commands[: len(commands) - count]}
            return window(info["goal"], [], nothing, kept, self._ask)

        ways: list[tuple[Callable[[int], str], int]] = [
            (lambda count: window(info["goal"], past[count:], seen, info, self._ask), len(past)),
            (shorter_observation, len(seen)),
            (fewer_commands, len(commands)),
        ]
        return [way for way in ways if way[1]]

    def _transcripts(self) -> list[tuple[Callable[[int], str], int]]:
        """Return the stages of shortening a transcript; see `_windows`."""
        turns, opening, seen = self._turns, self._opening, self._observation
        goal = str(self._info.get("goal", ""))
        before, task, after = opening.partition(goal) if goal else (opening, "", "")
        if not task and goal:
            before, task, after = "Your task: ", f"{goal}\n", opening

        def late(count: int) -> str:
            kept = "".join(said + turn(came) for said, came in turns[count:])
            return f"{opening}\n[{count} earlier steps are left out]{MARKER}{kept}"

        def last(count: int) -> str:
            return f"{opening}\n[{len(turns)} earlier steps are left out]{turn(_without_middle(seen, count))}"

        def core(count: int) -> str:
            ends = _without_middle(before, min(count, len(before))) + task
            ends += _without_middle(after, min(max(0, count - len(before)), len(after)))
            return ends + (turn("...") if turns else MARKER)

        ways: list[tuple[Callable[[int], str], int]] = [(core, len(before) + len(after))]
        if turns:
            ways = [(late, len(turns) - 1), (last, len(seen)), *ways]
        return [way for way in ways if way[1]]

    def _window(self, observation: str, info: dict[str, Any]) -> str:
        return window(info["goal"], list(self._past), observation, info, self._ask)


def _without_middle(text: str, count: int) -> str:
    """Return a text without `count` characters of its middle, which an ellipsis replaces."""
    if not count:
        return text
    kept = len(text) - count
    return f"{text[: kept - kept // 2]} ... {text[len(text) - kept // 2 :]}" if kept > 0 else "..."


def turn(observation: str) -> str:
    """Return the text that the transcript adds after a response."""
    return "\n" + observation + MARKER


def window(goal: str, past: list[tuple[str, str]], observation: str, info: dict[str, Any], ask: str) -> str:
    """Return the prompt of layout "window".

    Args:
        goal: the task's instruction.
        past: the last observations, oldest first, each with the command given in it.
        observation: the current observation.
        info: the info that the environment returned with it.
        ask: the sentence that asks for the response format.
    """
    taken = info["step"]["index"]
    lines = [f"Your task: {goal}", f"Steps taken so far: {taken}"]
    if past:
        lines.append("The last of them:" if len(past) < taken else "They were:")
    for number, (seen, done) in enumerate(past, start=taken - len(past) + 1):
        lines += [f"[{number}] You saw: {seen}", f"[{number}] You did: {done or '(no command)'}"]
    lines.append(f"Now you see: {observation}")
    # The key is missing in environments whose actions cannot be listed, such as Search-QA.
    commands = [command for command in info.get("admissible_commands", ()) if command != "help"]
    if commands:
        lines += ["Commands you can give now:", *(f"- {command}" for command in commands)]
    return "\n".join([*lines, ask]) + MARKER


def text_history(env: gym.Env[Any, Any]) -> TextHistory:
    """Return the outermost `TextHistory` in the stack `env`.

    Raises:
        LookupError: there is none.
    """
    wrapper = find_wrapper(env, TextHistory)
    if wrapper is None:
        raise LookupError(f"{env} has no TextHistory; wrap it with make_text_env")
    return wrapper
