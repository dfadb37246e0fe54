"""A running episode that can be continued from where it was, and the step in which one fails."""

from dataclasses import dataclass
from typing import Any

from stepopsd_wrappers.episode import Step, StepTokens


@dataclass(frozen=True)
class EpisodeSnapshot:
    """A running episode at some point; it can be continued from there any number of times.

    Attributes:
        env_snapshot: snapshot of the environment.
        seed: of the episode's reset.
        steps: recorded until then, with the reset.
    """

    env_snapshot: Any
    seed: int
    steps: tuple[Step, ...]


def error_words(error: BaseException) -> str:
    """Type and text of an exception; some cannot be made into text, and must be recorded all the same."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as unreadable:
        return f"{type(error).__name__}: (its text cannot be made: {type(unreadable).__name__})"


def failed_step(
    error: Exception, response: str = "", command: str = "", tokens: StepTokens | None = None
) -> Step:
    """Return the step in which the environment raised instead of answering."""
    return Step("", response, command, 0.0, False, True, {}, tokens, error_words(error))
