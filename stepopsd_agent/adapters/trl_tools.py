"""Environments in the form of TRL's `environment_factory`, where public methods are the tools of the model.

TRL plays the episodes itself, in the tool calls of the model's chat template. What a method's docstring
says is what the model reads about the tool.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import get, make_plain_env, task_ids


class _Played:
    """One environment that TRL resets and asks for its reward."""

    def __init__(self, env: EnvConfig) -> None:
        self._env = make_plain_env(env)
        self._return: float | None = 0.0
        self._over = True

    def reset(self, task_id: str, seed: int, **columns: Any) -> str:
        """Begin an attempt; TRL adds the opening text to the prompt.

        Args:
            task_id: column of the data set.
            seed: column of the data set.
            columns: the others.
        """
        option = self._env.get_wrapper_attr("task_option")
        text, _ = self._env.reset(seed=seed, options={option: task_id})
        self._return, self._over = 0.0, False
        return self._opening(str(text))

    def get_reward(self) -> float | None:
        """The return of the attempt; None where the environment failed, so that TRL leaves it out."""
        return self._return

    def _opening(self, text: str) -> str:
        return text

    def _step(self, action: str) -> str:
        if self._over:
            raise ValueError("The episode is over: say that you are done, without another call.")
        try:
            text, reward, terminated, truncated, _ = self._env.step(action)
        except Exception:
            self._return, self._over = None, True
            raise
        assert self._return is not None  # it is while an episode runs
        self._return += float(reward)
        self._over = bool(terminated or truncated)
        return str(text)


class CommandTools(_Played):
    """A text environment whose actions are commands: one tool, `act`."""

    def act(self, command: str) -> str:
        """Give one command to the environment.

        Args:
            command: The command, such as: go to cabinet 1

        Returns:
            What happens.
        """
        return self._step(command)


class QuestionTools(_Played):
    """Search-QA: the tools `search` and `answer`."""

    def search(self, query: str) -> str:
        """Search for passages.

        Args:
            query: What to search for.

        Returns:
            The passages that were found.
        """
        return self._step(f"<search>{query}</search>")

    def answer(self, text: str) -> str:
        """Give the final answer, which ends the episode.

        Args:
            text: The answer, short and without explanation.

        Returns:
            A confirmation.
        """
        return self._step(f"<answer>{text}</answer>")

    def _opening(self, text: str) -> str:
        """Without the first line, whose rules are of tags: the tools tell what they are for."""
        return text.partition("\n")[2]


def environment_factory(env: EnvConfig) -> Callable[[], CommandTools | QuestionTools]:
    """TRL's `environment_factory`: makes the environment of each attempt.

    Args:
        env: the environment, by its Gymnasium id; layout and format of responses play no part.

    Raises:
        ValueError: there is no such environment.
    """
    return partial(QuestionTools if _asks(env) else CommandTools, env)


def tool_rows(env: EnvConfig, prompt: str | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The rows of a `train_dataset` for `environment_factory`: one per task.

    Args:
        env: as for `environment_factory`.
        prompt: what stands before the opening text; None: a sentence that asks for tool calls.
        seed: of the attempts' own seeds; the attempts at one row share theirs, as a group must.

    Returns:
        Rows with `prompt`, a chat, `task_id` and `seed`.
    """
    if prompt is None:
        prompt = (
            "Answer the question with your tools.\n" if _asks(env) else "Reach the goal with your tool.\n"
        )
    with closing(make_plain_env(env)) as opened:
        names = task_ids(opened)
    seeds = np.random.default_rng(seed).integers(2**31, size=len(names)).tolist()
    chat = [{"role": "user", "content": prompt}]
    return [{"prompt": chat, "task_id": name, "seed": k} for name, k in zip(names, seeds, strict=True)]


def _asks(env: EnvConfig) -> bool:
    """Whether the actions of this environment are searches and answers."""
    return get(env.id).plain == "search"
