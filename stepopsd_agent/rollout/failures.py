"""Errors that end an episode: how they read in a record, and when there are too many of them."""

import traceback
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym

from stepopsd_agent.tasks import task_ids
from stepopsd_wrappers import Episode, recorder
from stepopsd_wrappers.running_episode import error_words

FAILURE_LIMIT = 20
"""Failed episodes in a row after which a run gives up: a server that is gone stays gone."""


def error_text(error: BaseException) -> str:
    """Type and text of an agent's exception, with the line that raised it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{error_words(error).rstrip()} ({Path(place.filename).name}, line {place.lineno})"


def misfit(texts: Sequence[object], places: int) -> Exception:
    """The error to raise for responses of a `BatchAgent`: a wrong number of them, or a text that is none."""
    if len(texts) != places:
        return ValueError(f"act returned {len(texts)} responses for {places} places")
    (first, *_) = [text for text in texts if not isinstance(text, str)]
    return TypeError(f"act returned a Response with {first!r:.80} as its text; give it a str")


def reset_failed(env: gym.Env[str, str], task_id: str, error: Exception) -> bool:
    """Record that an attempt did not begin, if the environment's reset is to blame for an error.

    It is where the environment names the task among its own, as what it was asked for is then right. Any
    other task is a mistake of the caller, and so is what Gymnasium refuses, such as a negative seed, and an
    environment that was closed.

    Args:
        env: a stack with `RecordEpisode`, which raised.
        task_id: the task that was to begin.
        error: what it raised.

    Returns:
        Whether the record has the error; else it should be raised again.
    """
    if isinstance(error, gym.error.Error | gym.error.ClosedEnvironmentError) or task_id not in task_ids(env):
        return False
    return recorder(env).fail_reset(error, task_id)


class EnvironmentDownError(RuntimeError):
    """Environment or agent failed `FAILURE_LIMIT` times in a row; the message quotes the last error.

    Attributes:
        episodes: records of the attempts that failed.
    """

    def __init__(self, episodes: tuple[Episode, ...]) -> None:
        last = episodes[-1].steps[-1]
        who, error = ("agent", last.agent_error) if last.agent_error else ("environment", last.error)
        super().__init__(
            f"the {who} failed {len(episodes)} times in a row, the last time with {error}. Restore the "
            "service or data it needs, then go on"
        )
        self.episodes = episodes


class Failures:
    """Counts the episodes in a row that an error of the environment, or of the agent, ended.

    A step that did something ends the row; an answer or an invalid action does not, as it asks nothing of
    what may have failed.

    Attributes:
        row: the episodes.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.row: list[Episode] = []

    def note(self, episode: Episode) -> None:
        """Count a finished episode.

        Raises:
            EnvironmentDownError: it was the last one to put up with.
        """
        *before, last = episode.steps[1:]
        done = before if last.error else [*before, last]
        if any(step.info["step"]["kind"] in ("act", "search") for step in done):
            self.row.clear()
        if last.error:
            self.row.append(episode)
        if len(self.row) >= FAILURE_LIMIT:
            raise EnvironmentDownError(tuple(self.row))
