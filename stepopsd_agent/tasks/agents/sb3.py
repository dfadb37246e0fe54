"""Models trained with stable-baselines3 as agents; reading them needs neither it nor any unpickling."""

import os
from typing import Any

import numpy as np
import torch

from stepopsd_wrappers.sb3 import CachedEncoder, EpisodeFeatures, SavedModelError, load_scorer, make_encoder


class SB3Agent:
    """Plays a saved model whose policy scores candidate commands, see `stepopsd_wrappers.sb3`."""

    def __init__(self, path: str | os.PathLike[str], temperature: float = 0.0) -> None:
        """Read the model.

        Args:
            path: of the file that ``model.save`` wrote.
            temperature: of drawing commands; 0 takes the best. Action values (DQN) are never drawn from.

        Raises:
            FileNotFoundError: there is no such file.
            SavedModelError: it cannot be read.
        """
        saved = load_scorer(path)
        encoder = make_encoder(saved.encoder)
        if encoder.size != saved.scorer.size:
            raise SavedModelError(
                f"{path} was trained on vectors of {saved.scorer.size} numbers, but its encoder "
                f"{saved.encoder!r} gives {encoder.size}"
            )
        self._scorer = saved.scorer
        self._temperature = temperature if saved.logits else 0.0
        self._features = EpisodeFeatures(CachedEncoder(encoder))
        self._last: str | None = None

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin an episode."""
        self._rng = np.random.default_rng(seed)
        self._features.reset(observation, info)
        self._last = None

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """One of the admissible commands.

        Raises:
            ValueError: there are none.
        """
        if self._last is not None:
            self._features.step(self._last, observation)
        commands = info.get("admissible_commands", [])
        if not commands:
            raise ValueError(
                "the environment lists no admissible commands, and this agent chooses among them"
            )
        features = torch.from_numpy(self._features.vector(commands, len(commands)))
        with torch.inference_mode():
            scores = self._scorer(features[None])[0][0]  # (commands,)
        if self._temperature:
            shares = torch.softmax(scores.double() / self._temperature, dim=0).numpy()
            choice = int(self._rng.choice(len(commands), p=shares / shares.sum()))
        else:
            choice = int(scores.argmax())
        self._last = str(commands[choice])
        return self._last
