"""Replay a recorded episode and find the first difference."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym

import stepopsd_envs  # noqa: F401  (registers the ids that episodes name)
from stepopsd_wrappers.episode import Episode, Step
from stepopsd_wrappers.running_episode import error_words


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Result of a replay: whether it equals the recorded episode, and if not, the first difference."""

    equal: bool
    step: int = -1
    """Step of the first difference; -1 when equal. The fields below then keep their defaults, too."""
    field: str = ""
    """Field that differs, such as "observation" or "info.step.state"."""
    expected: Any = None
    """The recorded value; None if the record lacks the field."""
    got: Any = None
    """The value of the replay; None if the replay lacks the field."""

    def __str__(self) -> str:
        """Return the report as one line."""
        if self.equal:
            return "identical"
        return f"step {self.step} differs in {self.field}: recorded {self.expected!r}, replayed {self.got!r}"


class ReplayError(ValueError):
    """The episode cannot be replayed here; the message says why and what to do."""


def replay(
    episode: Episode,
    env: gym.Env[str, str] | None = None,
    *,
    any_engine: bool = False,
) -> ReplayReport:
    """Replay the recorded task, seed and commands in an environment and compare every answer.

    Args:
        episode: a recorded episode.
        env: an environment without `ParseResponse` and `TextHistory`; it is left open. None makes one from
            the episode's `env_spec`.
        any_engine: accept any engine, to compare engines or their versions.

    Raises:
        ReplayError: the environment's data or engine differ from the recorded ones; or `env` is None and the
            episode does not say how to make one.
    """
    if env is not None:
        return _compare(episode, env, any_engine)
    if not episode.env_spec["id"]:
        raise ReplayError(
            "the record does not say how to make its environment: it was imported, or recorded from one "
            "made without gymnasium.make; in Python pass an equal one as env"
        )
    made: gym.Env[str, str] = gym.make(episode.env_spec["id"], **episode.env_spec["kwargs"])
    try:
        return _compare(episode, made, any_engine)
    finally:
        made.close()


def _check_same_data(episode: Episode, env: gym.Env[str, str], any_engine: bool) -> None:
    fingerprint, engine = env.get_wrapper_attr("fingerprint"), env.get_wrapper_attr("engine_version")
    if fingerprint != episode.fingerprint:
        raise ReplayError(
            f"the episode was recorded on data with fingerprint {episode.fingerprint!r}, but here it is "
            f"{fingerprint!r}; replay it with the recorded data and version, or pass an env that has them"
        )
    if episode.engine_version not in ("", engine) and not any_engine:
        raise ReplayError(
            f"the episode was recorded on engine {episode.engine_version!r}, but here it is {engine!r}; "
            "replay it with the recorded version, or compare the two engines with any_engine=True"
        )


def _compare(episode: Episode, env: gym.Env[str, str], any_engine: bool) -> ReplayReport:
    _check_same_data(episode, env, any_engine)
    task = {env.get_wrapper_attr("task_option"): episode.task_id}
    try:
        observation, info = env.reset(seed=episode.seed, options=task)
    except Exception as error:
        if not episode.failed or "step" in episode.steps[0].info:
            raise
        difference = _difference(episode.steps[-1].error, error_words(error), "error")
        return ReplayReport(True) if difference is None else ReplayReport(False, 1, *difference)
    answer = Step(observation, "", "", 0.0, False, False, info)
    last = len(episode.steps) - 1
    for index, recorded in enumerate(episode.steps):
        if recorded.agent_error:
            break  # the last; the environment was not asked
        if index:
            answer = _answer(env, recorded)
        expected_truncated = recorded.truncated and not (index == last and episode.closed_early)
        difference = _step_difference(recorded, answer, expected_truncated)
        if difference is not None:
            return ReplayReport(False, index, *difference)
    return ReplayReport(True)


def _answer(env: gym.Env[str, str], recorded: Step) -> Step:
    """Return the answer to the recorded command; an exception is an answer too and is compared."""
    try:
        observation, reward, terminated, truncated, info = env.step(recorded.action)
    except Exception as error:
        return Step("", "", "", 0.0, False, True, {}, error=error_words(error))
    return Step(observation, "", "", float(reward), bool(terminated), bool(truncated), info)


def _step_difference(recorded: Step, answer: Step, truncated: bool) -> tuple[str, Any, Any] | None:
    expected = {
        "error": recorded.error,
        "observation": recorded.observation,
        "reward": recorded.reward,
        "terminated": recorded.terminated,
        "truncated": truncated,
        "info": recorded.info,
    }
    got = {
        "error": answer.error,
        "observation": answer.observation,
        "reward": answer.reward,
        "terminated": answer.terminated,
        "truncated": answer.truncated,
        "info": answer.info,
    }
    return _difference(expected, got, "")


def _difference(expected: Any, got: Any, field: str) -> tuple[str, Any, Any] | None:
    """Return the first innermost field that differs, in the order of `expected`; a missing value is None."""
    if expected == got:
        return None
    if not isinstance(expected, dict) or not isinstance(got, dict):
        return field, expected, got
    for key in [*expected, *(key for key in got if key not in expected)]:
        name = f"{field}.{key}" if field else str(key)
        if key not in expected or key not in got:
            return name, expected.get(key), got.get(key)
        difference = _difference(expected[key], got[key], name)
        if difference is not None:
            return difference
    return None
