"""Observations as vectors, for algorithms whose observations are numbers."""

from typing import Any, SupportsFloat, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from stepopsd_wrappers.parse_response import find_wrapper
from stepopsd_wrappers.sb3.actions import AdmissibleActions
from stepopsd_wrappers.sb3.encoders import CachedEncoder, Encoder, Vectors, make_encoder
from stepopsd_wrappers.sb3.features import EpisodeFeatures, length


class TextFeatures(Box):
    """The vectors of `EpisodeFeatures`; it knows their parts, for the policies that score candidates.

    Attributes:
        encoder: name of the encoder.
        size: length of one text's vector.
        candidates: number of candidate commands.
    """

    def __init__(self, encoder: str, size: int, candidates: int) -> None:
        self.encoder, self.size, self.candidates = encoder, size, candidates
        super().__init__(-np.inf, np.inf, (length(size, candidates),), np.float32)


class EncodeText(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Returns the episode so far and every candidate command as one vector, see `EpisodeFeatures`.

    It wraps `AdmissibleActions`: ``EncodeText(AdmissibleActions(env))``.
    """

    def __init__(self, env: gym.Env[Any, Any], encoder: str | Encoder = "hashing") -> None:
        """Wrap `env`.

        Args:
            env: an environment with `AdmissibleActions`.
            encoder: "hashing", "hashing:SIZE", the name of a sentence-transformers model, or an object that
                is an `Encoder`. Vectors are cached by text; several environments can share a `CachedEncoder`.

        Raises:
            ValueError: there is no `AdmissibleActions` inside.
            DependencyNotInstalled: the encoder's package is not installed.
        """
        actions = find_wrapper(env, AdmissibleActions)
        if actions is None:
            raise ValueError(f"EncodeText is around {env}; the order is EncodeText(AdmissibleActions(env))")
        made = make_encoder(encoder) if isinstance(encoder, str) else encoder
        RecordConstructorArgs.__init__(self, encoder=made.name)
        gym.Wrapper.__init__(self, env)
        self._actions = actions
        self._features = EpisodeFeatures(made if isinstance(made, CachedEncoder) else CachedEncoder(made))
        self._candidates = actions.max_actions
        self.observation_space = TextFeatures(made.name, made.size, self._candidates)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vectors, dict[str, Any]]:
        """Begin an episode and return its first vector."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._features.reset(observation, info)
        return self._vector(), info

    def step(self, action: SupportsInt) -> tuple[Vectors, SupportsFloat, bool, bool, dict[str, Any]]:
        """Give the command with this number and return the next vector."""
        command = self._actions.command(action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._features.step(command, observation)
        return self._vector(), reward, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """[max_actions], True once for each admissible command."""
        return self._actions.action_masks()

    def _vector(self) -> Vectors:
        return self._features.vector(self._actions.commands, self._candidates)
