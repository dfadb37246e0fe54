"""Who plays the attempts of a run, a backend; and what draws tokens for a language model in it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import gymnasium as gym
import numpy as np

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.decoder import Sampled
from stepopsd_agent.rollout.playing import Attempt, OnEpisode
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_wrappers import Episode


class Backend(Protocol):
    """Plays attempts with a policy: `rollout`, or a function like it that plays on other machines."""

    def __call__(
        self,
        policy: Policy,
        envs: Sequence[gym.Env[str, str]],
        attempts: Sequence[Attempt],
        params: SamplingParams | None = None,
        *,
        seed: int | str = 0,
        run: str = "",
        update: int = 0,
        on_episode: OnEpisode | None = None,
    ) -> list[Episode]:
        """Play every attempt once; see `rollout`."""
        ...


class Rows(Protocol):
    """Sequences of token ids that grow turn by turn, one in each place: `Decoder`, or its like."""

    def lengths(self) -> list[int]:
        """Tokens of each row so far."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, renumbered in this order."""

    def restart(self, row: int) -> None:
        """Forget what a row holds."""

    def respond(self, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> Sequence[Sampled | None]:
        """Add a prompt to each row and sample a response to each; None for one that takes longer.

        Args:
            prompts: new ids per row; those of a row whose response takes longer are the same as before.
            uniforms: [B, max_tokens] sampling noise.
        """
        ...


MakeRows = Callable[[Policy, int, SamplingParams], Rows]
"""Begins so many empty rows."""
