"""Vector environments of Gymnasium for the algorithms of stable-baselines3 (extra ``sb3``)."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from stepopsd_envs import unbatch_info
from stepopsd_envs.extras import install_command
from stepopsd_wrappers.sb3.actions import CommandNumbers, with_success
from stepopsd_wrappers.sb3.encode_text import TextFeatures
from stepopsd_wrappers.sb3.encoders import CachedEncoder, Encoder, Vectors, make_encoder
from stepopsd_wrappers.sb3.features import EpisodeFeatures

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise DependencyNotInstalled(f"TextVecEnv needs stable-baselines3: {install_command('sb3')}") from error


class TextVecEnv(VecEnv):
    """A ``VecEnv`` of stable-baselines3 around a vector environment of ``gymnasium.make_vec``.

    It gives the same values as a ``DummyVecEnv`` of ``EncodeText(AdmissibleActions(env))``. The environments
    may run in other processes; one encoder in this process serves all of them.
    """

    def __init__(
        self,
        envs: gym.vector.VectorEnv[Any, Any, Any],
        max_actions: int = 64,
        encoder: str | Encoder = "hashing",
    ) -> None:
        """Wrap `envs`.

        Args:
            envs: ``gymnasium.make_vec("stepopsd/ALFWorld-v0", num_envs, autoreset_mode="SameStep")``.
            max_actions: as for `AdmissibleActions`.
            encoder: as for `EncodeText`.

        Raises:
            ValueError: `envs` resets itself in another mode, or lists no admissible commands.
            DependencyNotInstalled: the encoder's package is not installed.
        """
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode is {mode}, but stable-baselines3 needs a reset within the step: make the "
                'environments with gymnasium.make_vec(..., autoreset_mode="SameStep")'
            )
        made = make_encoder(encoder) if isinstance(encoder, str) else encoder
        cached = made if isinstance(made, CachedEncoder) else CachedEncoder(made)
        count = envs.num_envs
        self.envs, self.max_actions = envs, max_actions
        self._numbers = [CommandNumbers(max_actions) for _ in range(count)]
        self._features = [EpisodeFeatures(cached) for _ in range(count)]
        self._commands: list[str] = []
        super().__init__(count, TextFeatures(made.name, made.size, max_actions), Discrete(max_actions))

    def reset(self) -> Vectors:
        """Begin an episode in each environment, with the seeds and options given before."""
        first, names = self._options[0], {name for options in self._options for name in options}
        options = {name: [given.get(name) for given in self._options] for name in names}
        if all(given == first for given in self._options):  # Gymnasium's own do not accept lists
            options = first
        texts, infos = self.envs.reset(seed=self._seeds, options=options)
        self._reset_seeds()
        self._reset_options()
        return np.stack([self._begin(i, texts[i], unbatch_info(infos, i)) for i in range(self.num_envs)])

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Choose the command of each environment by its number, for the next `step_wait`."""
        self._commands = [numbers.command(a) for numbers, a in zip(self._numbers, actions, strict=True)]

    def step_wait(self) -> tuple[Vectors, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step all environments; one that ends is reset, and ``terminal_observation`` is in its info."""
        texts, rewards, terminated, truncated, batched = self.envs.step(self._commands)
        vectors, infos = [], []
        for i, command in enumerate(self._commands):
            info = unbatch_info(batched, i)
            if terminated[i] or truncated[i]:
                ended = info.pop("final_info")
                ended["terminal_observation"] = self._go_on(i, command, info.pop("final_obs"), ended)
                vectors.append(self._begin(i, texts[i], info))
                info = ended
            else:
                vectors.append(self._go_on(i, command, texts[i], info))
            info["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            infos.append(with_success(info))
        return np.stack(vectors), rewards.astype(np.float32), terminated | truncated, infos

    def action_masks(self, index: int) -> NDArray[np.bool_]:
        """[max_actions], True once for each admissible command of an environment."""
        return self._numbers[index].mask()

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of each environment; `action_masks` is its method."""
        if attr_name == "action_masks":
            return [lambda i=i: self.action_masks(i) for i in self._get_indices(indices)]
        if attr_name == "render_mode":
            return [self.envs.render_mode for _ in self._get_indices(indices)]
        return [env.get_wrapper_attr(attr_name) for env in self._chosen(indices)]

    def get_images(self) -> Sequence[Any]:
        """One image of each environment, with ``render_mode="rgb_array"``."""
        return list(self.envs.render() or [])

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of each environment."""
        for env in self._chosen(indices):
            setattr(env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of each environment."""
        return [method(*args, **kwargs) for method in self.get_attr(method_name, indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """Return False: no single environment is wrapped."""
        return [False for _ in self._get_indices(indices)]

    def _chosen(self, indices: Any) -> Sequence[Any]:
        if not isinstance(self.envs, SyncVectorEnv):
            raise AttributeError("the environments stand in other processes: ask them by envs.call(NAME)")
        return [self.envs.envs[i] for i in self._get_indices(indices)]

    def _begin(self, index: int, text: str, info: dict[str, Any]) -> Vectors:
        self.reset_infos[index] = info
        self._features[index].reset(text, info)
        self._numbers[index].begin(info)
        return self._vector(index)

    def _go_on(self, index: int, command: str, text: str, info: dict[str, Any]) -> Vectors:
        self._features[index].step(command, text)
        self._numbers[index].go_on(info)
        return self._vector(index)

    def _vector(self, index: int) -> Vectors:
        return self._features[index].vector(self._numbers[index].commands, self.max_actions)
