"""Vector environments of text environments in one process, the default of ``gym.make_vec``.

They return the same as Gymnasium's ``SyncVectorEnv`` of these environments, infos included, and are faster:
the environments share one list of tasks, the infos of all environments are batched at once, and what their
steps have in common, such as searches, is done at once.
"""

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from stepopsd_envs.text_env import TextEnv
from stepopsd_envs.vector_info import batch_infos

Flags = NDArray[np.bool_]
Texts = tuple[str, ...]
Infos = list[dict[str, Any] | None]


if TYPE_CHECKING:
    SyncTexts = SyncVectorEnv[Texts, Sequence[str]]
else:
    SyncTexts = SyncVectorEnv  # not generic in older versions of Gymnasium


class TextVectorEnv(SyncTexts):
    """``num_envs`` episodes in parallel; actions are one string per environment.

    ``reset(options=...)`` accepts the options of the environment's ``reset``: one value for all environments,
    or a list with one per environment, such as ``{"game": [id, None, path]}``, where None draws a game.
    ``"reset_mask"``, an array of bools, resets only the environments where it is True. Environment i gets
    seed ``seed + i``, or entry i of a list of seeds.

    Args:
        num_envs: number of environments.
        autoreset_mode: ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``, as in Gymnasium.
        max_episode_steps: truncate episodes after so many steps, if the environment has not done so before;
            as in ``gym.make``. None leaves it to the environment.
        settings: the arguments of the environment.

    Raises:
        ValueError: ``num_envs`` or ``max_episode_steps`` is not a positive number.
    """

    env_type: ClassVar[type[TextEnv]]

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **settings: Any,
    ) -> None:
        if type(num_envs) is not int or num_envs < 1:
            raise ValueError(f"num_envs={num_envs!r}: give a positive number of environments")
        limit = max_episode_steps
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"max_episode_steps={limit!r}: give None or a positive number of steps")
        first = self.env_type(**settings)
        envs = [first, *(copy(first) for _ in range(num_envs - 1))]  # until a reset they share only constants
        super().__init__([lambda env=env: env for env in envs], autoreset_mode=autoreset_mode)  # type: ignore[misc]
        self._limit = limit
        self._texts = [""] * num_envs
        self._played = np.zeros(num_envs, dtype=np.int64)  # steps since the last reset
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._broken = False  # off by an error, after some of the environments had played

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Texts, dict[str, Any]]:
        """Begin an episode in each environment, or in those where ``options["reset_mask"]`` is True.

        Raises:
            ValueError: a list has another length than ``num_envs``, or the mask another shape or type.
        """
        seeds = self._per_env("seed", seed)
        if isinstance(seed, (int, np.integer)):
            seeds = [int(seed) + i for i in range(self.num_envs)]
        chosen, given = self._mask(options), dict(options or {})
        given.pop("reset_mask", None)
        columns = {name: self._per_env(f"options[{name!r}]", value) for name, value in given.items()}
        infos: Infos = [None] * self.num_envs
        for i in np.flatnonzero(chosen).tolist():
            env_options = {name: column[i] for name, column in columns.items() if column[i] is not None}
            self._texts[i], infos[i] = self._begin(i, seed=seeds[i], options=env_options)
            self._over[i] = False
        self._broken &= not chosen.all()
        return tuple(self._texts), batch_infos(infos)

    def step(self, actions: Sequence[str]) -> tuple[Texts, NDArray[np.float64], Flags, Flags, dict[str, Any]]:
        """Play one action in each environment; one whose episode has ended is reset instead (mode NextStep).

        Raises:
            ValueError: there is not one action per environment.
            ResetNeeded: an episode has ended and the mode is ``"Disabled"``, or an error, as of a retriever,
                broke off the step before.
        """
        self._check_actions(actions)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = (np.zeros(self.num_envs, dtype=np.bool_) for _ in range(2))
        infos: Infos = [None] * self.num_envs
        ends: Infos = [None] * self.num_envs
        self._prepare(actions)
        self._broken = True
        for i, (env, action, over) in enumerate(zip(self.envs, actions, self._over.tolist(), strict=True)):
            if over:
                self._texts[i], infos[i] = self._begin(i)
                continue
            self._texts[i], rewards[i], terminated[i], truncated[i], infos[i] = env.step(action)
            self._played[i] += 1
            truncated[i] |= self._played[i] == self._limit
            if self.autoreset_mode is AutoresetMode.SAME_STEP and (terminated[i] or truncated[i]):
                ends[i] = {"final_obs": self._texts[i], "final_info": infos[i]}
                self._texts[i], infos[i] = self._begin(i)
        self._broken = False
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._over = terminated | truncated
        return tuple(self._texts), rewards, terminated, truncated, {**batch_infos(ends), **batch_infos(infos)}

    def _begin(self, index: int, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        self._played[index] = 0
        text, info = self.envs[index].reset(**kwargs)
        return str(text), info

    def _prepare(self, actions: Sequence[object]) -> None:
        """Let the environments that will play one of these do together what they can."""
        steps: list[tuple[Any, str]] = [
            (env, action)
            for env, action, over in zip(self.envs, actions, self._over.tolist(), strict=True)
            if isinstance(action, str) and not over
        ]
        self.env_type.prepare(steps)

    def _per_env(self, name: str, value: Any) -> list[Any]:
        """One value for each environment."""
        if not isinstance(value, (list, tuple, np.ndarray)):
            return [value] * self.num_envs
        if len(value) != self.num_envs:
            raise ValueError(f"{name} has {len(value)} entries: give {self.num_envs}, one per environment")
        return value.tolist() if isinstance(value, np.ndarray) else list(value)

    def _mask(self, options: dict[str, Any] | None) -> Flags:
        """The environments to reset."""
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=np.bool_))
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask']={mask!r:.80}: give an array of {self.num_envs} bools")
        return mask

    def _check_actions(self, actions: Sequence[str]) -> None:
        if not isinstance(actions, (list, tuple, np.ndarray)) or len(actions) != self.num_envs:
            raise ValueError(
                f"actions={actions!r:.80}: give {self.num_envs} strings, one for each environment"
            )
        if self._broken:
            raise ResetNeeded(
                "an error broke off the step before, when some environments had played: call reset()"
            )
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            ended = np.flatnonzero(self._over).tolist()
            raise ResetNeeded(
                f"the episodes of environments {ended} are over: call reset(), or reset(options="
                '{"reset_mask": mask}) to reset only these'
            )
