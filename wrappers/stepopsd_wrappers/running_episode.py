"""A running episode: which steps continue it, a snapshot to go on from, and the step in which one fails."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stepopsd_envs.step_info import KINDS, text_hash
from stepopsd_wrappers.episode import Step, StepTokens
from stepopsd_wrappers.plain_json import EpisodeFormatError, plain_copy


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


def checked_step(step: Step, before: Sequence[Step]) -> Step:
    """Return `step` with a copy of its info, since the caller may change the original.

    Args:
        step: what the environment answered.
        before: the steps of the episode so far; none before the reset.

    Raises:
        KeyError: the info has no StepInfo.
        TypeError: the observation is not the one that the info describes.
        RuntimeError: the environment is at another step, or in another episode.
        EpisodeFormatError: the kind is none of `KINDS`, or reward or info are not what JSON can hold.
    """
    info = step_info_of(step.info)
    index, kind = info.get("index"), info.get("kind")
    if kind not in KINDS:  # evaluation would not notice what training cannot learn from
        allowed = f"must be one of {', '.join(KINDS)}; 'act' is an action that the environment accepts"
        raise EpisodeFormatError(f"a step is of kind {kind!r}, but info['step']['kind'] {allowed}")
    began = step_info_of(before[0].info) if before else info
    if index != len(before) or info.get("episode_id") != began.get("episode_id"):
        where = "in another episode" if index == len(before) else f"at step {index}"
        raise RuntimeError(
            f"RecordEpisode: the environment is {where}, but {len(before)} steps were recorded: it was "
            "reset, stepped or restored without the recorder; call reset(), and use another environment for "
            "experiments"
        )
    observation: object = step.observation
    if not isinstance(observation, str) or info.get("anchor", own := text_hash(observation)) != own:
        raise TypeError(
            f"RecordEpisode got {observation!r:.80}, which is not the observation that the environment made: "
            "put wrappers that change observations, such as TextHistory, around RecordEpisode, not inside"
        )
    return replace(step, reward=plain_copy(step.reward, "reward"), info=plain_copy(step.info, "info"))


def step_info_of(info: dict[str, Any]) -> dict[str, Any]:
    """Return the StepInfo.

    Raises:
        KeyError: there is none.
    """
    if "step" not in info:
        raise KeyError("info has no 'step'; RecordEpisode needs an environment such as stepopsd/ALFWorld-v0")
    return dict(info["step"])
