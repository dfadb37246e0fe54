"""A running episode: a snapshot to go on from, the step in which one fails, and steps that are refused."""

from dataclasses import dataclass
from typing import Any

from stepopsd_envs.step_info import KINDS
from stepopsd_wrappers.episode import Step, StepTokens
from stepopsd_wrappers.plain_json import EpisodeFormatError


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


def no_kind(kind: object) -> EpisodeFormatError:
    """Say which kinds there are: evaluation would not notice what training cannot learn from."""
    allowed = f"must be one of {', '.join(KINDS)}; 'act' is an action that the environment accepts"
    return EpisodeFormatError(f"a step is of kind {kind!r}, but info['step']['kind'] {allowed}")


def elsewhere(index: object, recorded: int) -> RuntimeError:
    """Say where the environment is, after so many recorded steps."""
    where = "in another episode" if index == recorded else f"at step {index}"
    return RuntimeError(
        f"RecordEpisode: the environment is {where}, but {recorded} steps were recorded: it was reset, "
        "stepped or restored without the recorder; call reset(), and use another environment for experiments"
    )


def changed_text(observation: object) -> TypeError:
    """Say where wrappers that change observations belong."""
    return TypeError(
        f"RecordEpisode got {observation!r:.80}, which is not the observation that the environment made: "
        "put wrappers that change observations, such as TextHistory, around RecordEpisode, not inside"
    )
