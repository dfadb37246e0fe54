"""The recorder: a wrapper that records every episode of an environment, whichever agent plays it."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, SupportsFloat, cast

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs
from gymnasium.utils.seeding import np_random

from stepopsd_envs.step_info import KINDS, facts_problem, text_hash
from stepopsd_wrappers.episode import AGENT_ERROR, Episode, Step, StepTokens
from stepopsd_wrappers.episode_store import EpisodeWriter
from stepopsd_wrappers.order import require_order
from stepopsd_wrappers.parse_response import command_in, find_wrapper, require_text
from stepopsd_wrappers.plain_json import EpisodeFormatError, plain_copy
from stepopsd_wrappers.running_episode import EpisodeSnapshot, changed_text, elsewhere, failed_step, no_kind
from stepopsd_wrappers.spec_record import env_spec


class RecordEpisode(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Records whole episodes: observations, responses, parsed actions, rewards, infos and annotated tokens.

    Put it around `ParseResponse` and inside `TextHistory`: there it sees the responses as given and the
    observations as the environment made them. A reset without a seed draws one, so every episode can be
    replayed. An episode cut short by reset or close is recorded as truncated. An episode in which the
    environment raises is recorded with the error, and so is one whose agent raised if `fail` is called. An
    episode without any action is not recorded.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        folder: str | os.PathLike[str] | None = None,
        *,
        writer: EpisodeWriter | None = None,
        on_episode: Callable[[Episode], object] | None = None,
        seed: int | None = None,
    ) -> None:
        """Wrap `env`.

        Args:
            env: a text environment with `info["step"]`, `fingerprint` and `engine_version`.
            folder: folder to write to; None keeps only `last_episode`.
            writer: used instead of `folder`; several recorders may share it, and none of them closes it.
            on_episode: called with every finished episode after it was written.
            seed: seed of the generator that draws the seeds of resets without one; a reset with a seed seeds
                the generator anew. None takes entropy from the system.

        Raises:
            TypeError: `env` is a vector environment, or takes no texts.
            ValueError: both `folder` and `writer` are given, or `env` has a wrapper that belongs outside.
            RecordingError: `folder` cannot be written, or another writer has it, in this process or another.
            EpisodeFormatError: an argument of the environment is not of a JSON type.
        """
        if folder is not None and writer is not None:
            raise ValueError("RecordEpisode got both folder and writer; give only one of the two")
        if isinstance(cast("object", env), gym.vector.VectorEnv):
            raise TypeError("got a vector environment: wrap it with stepopsd_wrappers.vector.RecordEpisode")
        require_order(env, "RecordEpisode")
        # Gymnasium rebuilds the wrapper from its spec, which can hold a path but no open file or callback.
        target = folder if writer is None else writer.folder
        RecordConstructorArgs.__init__(self, folder=None if target is None else os.fspath(target), seed=seed)
        gym.Wrapper.__init__(self, env)
        self._env_spec = env_spec(env)
        self.last_episode: Episode | None = None
        self._rng = np_random(seed)[0]  # before the folder is opened: a seed that is refused leaves none
        self._own_writer = None if folder is None else EpisodeWriter(folder)
        self._writer = writer or self._own_writer
        self._on_episode = on_episode
        run = "" if self._writer is None else self._writer.new_run()
        self._identity = (run, 0, -1, 0)  # of the running episode: run, update, group, member
        self._next_identity: tuple[str, int, int, int] | None = None
        self._seed = 0
        self._steps: list[Step] = []  # of the running episode; empty when none runs
        self._tokens: StepTokens | None = None
        self._refused: tuple[Exception, int, tuple[Step, ...]] | None = None  # see `fail_reset`

    def identify(self, run: str = "", update: int = 0, group: int = 0, member: int = 0) -> None:
        """Set the identity of the next episode; by default it is the next group of the last one's run."""
        self._next_identity = (run, update, group, member)

    @property
    def running(self) -> tuple[tuple[str, int, int, int], int]:
        """Identity of the episode that began last, and its steps so far with the reset; 0: it is over."""
        return self._identity, len(self._steps)

    def annotate(self, tokens: StepTokens) -> None:
        """Attach the tokens of the response that the next `step` will take."""
        self._tokens = tokens

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode, with a drawn seed unless one is given."""
        if options and "snapshot" in options:
            raise ValueError(
                "RecordEpisode records episodes from their beginning, but options has a snapshot; "
                "continue snapshots in an environment without a recorder, or call snapshot() and restore()"
            )
        # Gymnasium's rule: a reset with a seed also makes the resets after it reproducible.
        rng = self._rng if seed is None else np_random(seed)[0]
        self.close_episode()
        self._rng, seed = rng, int(rng.integers(2**31)) if seed is None else seed
        observation, info = self._try_reset((), seed, options, seed)
        require_text(observation, self.env, "RecordEpisode")
        self._name(seed)
        self._add(Step(observation, "", "", 0.0, False, False, info))
        return observation, info

    def snapshot(self) -> EpisodeSnapshot:
        """Return the running episode as it is now, with a snapshot of the environment.

        Raises:
            ResetNeeded: no episode is running.
        """
        if not self._steps:
            raise gym.error.ResetNeeded(
                "RecordEpisode: no episode is running; call reset() before snapshot()"
            )
        return EpisodeSnapshot(self.env.get_wrapper_attr("snapshot")(), self._seed, tuple(self._steps))

    def restore(self, snapshot: EpisodeSnapshot) -> None:
        """Continue an episode from a snapshot of this recorder or another one of the same environment.

        The record that results is whole: it begins with the steps that were taken before the snapshot.
        """
        self.close_episode()
        self._try_reset(snapshot.steps, None, {"snapshot": snapshot.env_snapshot}, snapshot.seed)
        self._name(snapshot.seed)
        self._steps = list(snapshot.steps)

    def _try_reset(
        self, steps: tuple[Step, ...], seed: int | None, options: dict[str, Any] | None, recorded: int
    ) -> tuple[str, dict[str, Any]]:
        """Reset the environment; if it raises, note for `fail_reset` the steps and the seed of the record."""
        self._refused = None
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception as error:
            self._refused = error, recorded, steps
            raise

    def fail_reset(self, error: Exception, task_id: str) -> bool:
        """Record an episode that did not begin, as the environment's reset raised this error.

        `reset` and `restore` record nothing then, as only the caller knows whose mistake it was. The record
        has a reset without text, or the steps before the snapshot, and the error after it.

        Args:
            error: what `reset` or `restore` raised.
            task_id: of the task that was to begin.

        Returns:
            False, with nothing recorded, if the error is not that of the environment in the latest reset.
        """
        if self._refused is None or self._refused[0] is not error:
            return False
        (_, seed, steps), self._refused = self._refused, None
        self._name(seed)
        self._steps = [*steps] or [Step("", "", "", 0.0, False, False, {"task_id": task_id})]
        self._steps.append(failed_step(error))
        self._finish()
        return True

    def _name(self, seed: int) -> None:
        """Give the episode that begins its identity and seed."""
        run, update, group, _ = self._identity
        self._identity = self._next_identity or (run, update, group + 1, 0)
        self._next_identity, self._tokens, self._seed = None, None, seed

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step and record; an exception of the environment ends the episode and is raised again."""
        if not self._steps:
            raise gym.error.ResetNeeded("RecordEpisode: no episode is running; call reset() first")
        tokens, self._tokens = self._tokens, None
        response = action if isinstance(cast("object", action), str) else ""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            self._steps.append(failed_step(error, response, command_in(self.env, response), tokens))
            self._finish()
            raise
        command = _step_info(info)["action"]
        ends = bool(terminated), bool(truncated)
        self._add(Step(observation, response, command, float(reward), *ends, info, tokens))
        if terminated or truncated:
            self._finish()
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Record the running episode as truncated; close the environment and the files opened here."""
        with ExitStack() as stack:  # a full disk must not keep the rest open
            stack.callback(self.env.close)
            if self._own_writer is not None:
                stack.callback(self._own_writer.close)
            self.close_episode()

    def _add(self, step: Step) -> None:
        """Append a step."""
        self._steps.append(checked_step(step, self._steps))

    def close_episode(self) -> None:
        """End the running episode, if there is one, and record it as truncated."""
        if len(self._steps) > 1:
            self._steps[-1] = replace(self._steps[-1], truncated=True)
            self._finish(closed_early=True)
        self._steps = []

    def drop_episode(self) -> None:
        """End the running episode, if there is one, without a record: it will be played again."""
        self._steps = []

    def fail(self, error: str) -> None:
        """End the running episode with type and text of what the agent raised, instead of a step."""
        if not self._steps:
            raise gym.error.ResetNeeded("RecordEpisode: no episode is running; call reset() before fail()")
        self._steps.append(Step("", "", "", 0.0, False, True, {}, error=f"{AGENT_ERROR}{error}"))
        self._finish()

    def _finish(self, closed_early: bool = False) -> None:
        """Write the finished episode and call back; afterwards none is running, even if writing fails."""
        steps, self._steps = tuple(self._steps), []
        run, update, group, member = self._identity
        episode = Episode(
            run=run,
            update=update,
            group=group,
            member=member,
            task_id=steps[0].info["task_id"],
            seed=self._seed,
            env_spec=plain_copy(self._env_spec, "env_spec"),
            fingerprint=self.env.get_wrapper_attr("fingerprint"),
            engine_version=self.env.get_wrapper_attr("engine_version"),
            steps=steps,
            closed_early=closed_early,
        )
        self.last_episode = episode
        if self._writer is not None:
            self._writer.append(episode)
        if self._on_episode is not None:
            self._on_episode(episode)


def checked_step(step: Step, before: Sequence[Step]) -> Step:
    """Return a step that continues those before, with a copy of its info: the caller may change the original.

    Raises:
        KeyError: the info has no StepInfo.
        TypeError: the observation is not the one that the info describes.
        RuntimeError: the environment is at another step, or in another episode.
        EpisodeFormatError: the kind is none of `KINDS`, reward or info are not what JSON can hold, or the
            info lacks what readers of records need.
    """
    info, observation = _step_info(step.info), cast("object", step.observation)
    if info.get("kind") not in KINDS:
        raise no_kind(info.get("kind"))
    began = _step_info(before[0].info) if before else info
    if info.get("index") != len(before) or info.get("episode_id") != began.get("episode_id"):
        raise elsewhere(info.get("index"), len(before))
    if not isinstance(observation, str) or info.get("anchor", own := text_hash(observation)) != own:
        raise changed_text(observation)
    if problem := facts_problem(step.info, reset=not before):
        raise EpisodeFormatError(problem)
    return replace(step, reward=plain_copy(step.reward, "reward"), info=plain_copy(step.info, "info"))


def _step_info(info: dict[str, Any]) -> dict[str, Any]:
    if "step" not in info:
        raise KeyError("info has no 'step'; RecordEpisode needs an environment such as stepopsd/ALFWorld-v0")
    return dict(info["step"])


def recorder(env: gym.Env[Any, Any]) -> RecordEpisode:
    """Return the outermost `RecordEpisode` in the stack `env`.

    Raises:
        LookupError: there is none.
    """
    wrapper = find_wrapper(env, RecordEpisode)
    if wrapper is None:
        raise LookupError(f"{env} has no RecordEpisode; wrap it with RecordEpisode or make_text_env")
    return wrapper


def step_recorded(
    env: gym.Env[str, str], action: str
) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]] | None:
    """Step a recorded environment; None when it raised: the record has the error, other episodes go on."""
    before = recorder(env).last_episode
    try:
        return env.step(action)
    except Exception:
        record = recorder(env).last_episode
        if record is None or record is before or not record.failed:
            raise  # not the environment's error: the recorder would have it
        return None
