"""Record episodes of vector environments.

The class has the same name as the wrapper of single environments, as in Gymnasium's `wrappers.vector`.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import DictInfoToList
from numpy.typing import NDArray

from stepopsd_envs import unbatch_info
from stepopsd_wrappers.episode import Episode, Step, StepTokens
from stepopsd_wrappers.episode_store import EpisodeWriter
from stepopsd_wrappers.order import require_text_actions
from stepopsd_wrappers.record_episode import checked_step
from stepopsd_wrappers.spec_record import spec_record

Flags = NDArray[np.bool_]
Texts = tuple[str, ...]
Identity = tuple[str, int, int, int]
_OF_MAKE_VEC = ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers", "autoreset_mode")
"""Arguments in the spec of a vector environment that its single environments do not take."""

if TYPE_CHECKING:
    VectorTexts = VectorWrapper[Texts, Sequence[str], Texts, Sequence[str], Any]
else:
    VectorTexts = VectorWrapper  # not generic in older versions of Gymnasium


class RecordEpisode(VectorTexts):
    """Records the episodes of a vector environment in one folder; an episode is written when it ends.

    The records equal those of `stepopsd_wrappers.RecordEpisode` around each single environment. Every
    autoreset mode works, since the infos tell whether an environment was stepped or reset. An episode that
    is reset without a seed is recorded with the seed that the environment drew, its `episode_seed`.

    Put wrappers such as `ParseResponse` around the single environments; none may change observations. If a
    step raises, the state of the other environments is unknown, so all running episodes are closed early.
    """

    def __init__(
        self,
        env: VectorEnv[Texts, Sequence[str], Any],
        folder: str | os.PathLike[str] | None = None,
        *,
        writer: EpisodeWriter | None = None,
        on_episode: Callable[[Episode], object] | None = None,
    ) -> None:
        """Wrap `env`.

        Args:
            env: of text environments with `info["step"]`, `fingerprint`, `engine_version`, `episode_seed`.
            folder: folder to write to; if None, only `last_episodes` are kept.
            writer: used instead of `folder`; recorders can share it and do not close it.
            on_episode: called with every finished episode after it was written.

        Raises:
            TypeError: `env` is neither a `SyncVectorEnv` nor an `AsyncVectorEnv`, takes no texts, or has
                Gymnasium's `DictInfoToList` inside.
            ValueError: both `folder` and `writer` are given.
            AttributeError: the environments lack `episode_seed`, `fingerprint` or `engine_version`.
            RecordingError: `folder` cannot be written, or another writer has it open.
        """
        if folder is not None and writer is not None:
            raise ValueError("RecordEpisode got both folder and writer; give only one of the two")
        self._asked = _asked(env)
        require_text_actions(env.single_action_space, "RecordEpisode")
        super().__init__(env)
        self._specs = _specs(self._asked)
        self._fingerprints, self._engines = map(self._asked.get_attr, ("fingerprint", "engine_version"))
        self._own_writer = None if folder is None else EpisodeWriter(folder)
        self._writer = writer or self._own_writer
        self._on_episode = on_episode
        count = self._asked.num_envs
        self.last_episodes: list[Episode | None] = [None] * count
        run = "" if self._writer is None else self._writer.new_run()
        self._identity: Identity = (run, 0, -1, 0)  # of the episode that began last
        self._identities: list[Identity] = [self._identity] * count
        self._next: list[Identity | None] = [None] * count
        self._seeds = [0] * count
        self._steps: list[list[Step]] = [[] for _ in range(count)]  # of running episodes; empty: none runs
        self._over = [False] * count  # episodes that the environment ended itself
        self._tokens: Sequence[StepTokens | None] = [None] * count

    def identify(self, slot: int, run: str = "", update: int = 0, group: int = 0, member: int = 0) -> None:
        """Set the identity of the next episode of environment `slot`; by default each gets a new group."""
        self._next[slot] = (run, update, group, member)

    def annotate(self, tokens: Sequence[StepTokens | None]) -> None:
        """Attach the tokens of the next `step`'s responses: one entry per environment, None for no tokens."""
        if len(tokens) != self.num_envs:
            raise ValueError(f"annotate got {len(tokens)} entries; give {self.num_envs}, one per environment")
        self._tokens = list(tokens)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Texts, dict[str, Any]]:
        """Begin an episode in each environment, or in those where `options["reset_mask"]` is True."""
        if options and "snapshot" in options:
            raise ValueError(
                "RecordEpisode records episodes from their beginning, but options has a snapshot; "
                "continue snapshots in an environment without a recorder"
            )
        mask = (options or {}).get("reset_mask")
        slots = range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist()
        self.close_episodes(slots)
        # Gymnasium takes the mask out of the dict that it is given.
        texts, infos = self.env.reset(seed=cast(Any, seed), options=copy(options))
        self._begin({slot: (texts[slot], unbatch_info(infos, slot)) for slot in slots})
        return texts, infos

    def step(self, actions: Sequence[str]) -> tuple[Texts, Any, Any, Any, dict[str, Any]]:
        """Step and record; an exception closes all running episodes early and is raised again."""
        if not all(steps or over for steps, over in zip(self._steps, self._over, strict=True)):
            raise gym.error.ResetNeeded("RecordEpisode: no episode is running; call reset() first")
        tokens, self._tokens = self._tokens, [None] * self.num_envs
        try:
            texts, rewards, terminated, truncated, infos = self.env.step(actions)
        except Exception:
            self.close_episodes()
            self._over = [False] * self.num_envs
            raise
        ended: list[tuple[int, Episode]] = []
        begun: dict[int, tuple[str, dict[str, Any]]] = {}
        try:
            for slot in range(self.num_envs):
                info, text = unbatch_info(infos, slot), texts[slot]
                final, final_text = info.pop("final_info", None), info.pop("final_obs", None)
                if final is not None:  # the environment was stepped, and then reset
                    begun[slot] = text, info
                    text, info = final_text, final
                elif _index(info) == 0:
                    begun[slot] = text, info
                    continue
                response = str(actions[slot]) if isinstance(cast("object", actions[slot]), str) else ""
                ends = bool(terminated[slot]), bool(truncated[slot])
                command, reward = info["step"]["action"], float(rewards[slot])
                self._add(slot, Step(text, response, command, reward, *ends, info, tokens[slot]))
                if any(ends):
                    ended.append((slot, self._end(slot)))
                    self._over[slot] = True
            self._begin(begun)
        except Exception:  # what is no record: the episodes before it are kept
            self._write(ended)
            self.close_episodes()
            self._over = [False] * self.num_envs
            raise
        self._write(ended)
        return texts, rewards, terminated, truncated, infos

    def close(self, **kwargs: Any) -> None:
        """Record the running episodes as truncated; close the environments and the files opened here."""
        with ExitStack() as stack:  # everything is closed even if the disk is full
            stack.callback(self.env.close, **kwargs)
            if self._own_writer is not None:
                stack.callback(self._own_writer.close)
            self.close_episodes()

    def close_episodes(self, slots: Sequence[int] | None = None) -> None:
        """End the running episodes of these environments, or of all, and record them as truncated."""
        ended = []
        for slot in range(self.num_envs) if slots is None else slots:
            steps = self._steps[slot]
            if len(steps) > 1:
                steps[-1] = replace(steps[-1], truncated=True)
                ended.append((slot, self._end(slot, closed_early=True)))
            self._steps[slot] = []
        self._write(ended)

    def _begin(self, answers: dict[int, tuple[str, dict[str, Any]]]) -> None:
        """Begin an episode in each of these environments, with the observation and info of its reset."""
        seeds = self._asked.get_attr("episode_seed") if answers else ()
        for slot, (text, info) in answers.items():
            run, update, group, _ = self._identity
            self._identity = self._next[slot] or (run, update, group + 1, 0)
            self._identities[slot], self._next[slot] = self._identity, None
            self._seeds[slot], self._steps[slot], self._over[slot] = int(seeds[slot]), [], False
            self._add(slot, Step(text, "", "", 0.0, False, False, info))

    def _add(self, slot: int, step: Step) -> None:
        """Append a step."""
        self._steps[slot].append(checked_step(step, self._steps[slot]))

    def _end(self, slot: int, closed_early: bool = False) -> Episode:
        """Return the running episode of an environment, and end it."""
        steps, self._steps[slot] = tuple(self._steps[slot]), []
        run, update, group, member = self._identities[slot]
        return Episode(
            run=run,
            update=update,
            group=group,
            member=member,
            task_id=steps[0].info["task_id"],
            seed=self._seeds[slot],
            env_spec=self._specs[slot],
            fingerprint=self._fingerprints[slot],
            engine_version=self._engines[slot],
            steps=steps,
            closed_early=closed_early,
        )

    def _write(self, ended: Sequence[tuple[int, Episode]]) -> None:
        """Write finished episodes and call `on_episode`; an error in one does not stop the others."""
        with ExitStack() as stack:
            for slot, episode in reversed(ended):
                stack.callback(self._write_one, slot, episode)

    def _write_one(self, slot: int, episode: Episode) -> None:
        self.last_episodes[slot] = episode
        if self._writer is not None:
            self._writer.append(episode)
        if self._on_episode is not None:
            self._on_episode(episode)


def _index(info: dict[str, Any]) -> int:
    """Return the index of the step, or -1 without a StepInfo, which `checked_step` refuses."""
    return int(info["step"]["index"]) if "step" in info else -1


def _asked(env: VectorEnv[Any, Any, Any]) -> "SyncVectorEnv[Any, Any] | AsyncVectorEnv[Any, Any]":
    """Return the unwrapped vector environment; check its type and the attributes of its environments."""
    wrapper: object = env
    while isinstance(wrapper, VectorWrapper):
        if isinstance(wrapper, DictInfoToList):
            raise TypeError("RecordEpisode is around DictInfoToList, which belongs outside of all others")
        wrapper = wrapper.env
    inner = env.unwrapped if isinstance(cast("object", env), VectorEnv) else env
    if not isinstance(inner, SyncVectorEnv | AsyncVectorEnv):
        raise TypeError(
            f"RecordEpisode of stepopsd_wrappers.vector takes a SyncVectorEnv or an AsyncVectorEnv, as "
            f"gymnasium.make_vec makes them, but got {type(inner).__name__}; stepopsd_wrappers.RecordEpisode "
            "records one environment"
        )
    # Asked for first: a missing attribute ends the processes of an AsyncVectorEnv.
    for name in ("episode_seed", "fingerprint", "engine_version"):
        if not all(inner.call("has_wrapper_attr", name)):
            raise AttributeError(
                f"the environments have no {name!r}, which makes their episodes replayable; derive them from "
                "stepopsd_envs.text_env.TextEnv, or put stepopsd_wrappers.RecordEpisode around each of them"
            )
    return inner


def _specs(env: "SyncVectorEnv[Any, Any] | AsyncVectorEnv[Any, Any]") -> list[dict[str, Any]]:
    """Return the spec of each single environment."""
    limited = env.call("has_wrapper_attr", "_max_episode_steps")
    common = copy(env.spec)
    if common is not None:
        common.kwargs = {name: value for name, value in common.kwargs.items() if name not in _OF_MAKE_VEC}
    return [
        spec_record(common if spec is None else spec, has_limit)
        for spec, has_limit in zip(env.get_attr("spec"), limited, strict=True)
    ]
