"""The backend of a run: the built-in decoder, here or in Ray actors, or vLLM, colocated or as a server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import gymnasium as gym

from stepopsd_agent.config import RolloutConfig
from stepopsd_agent.models import Policy, check_policy
from stepopsd_agent.rollout.backends import Backend
from stepopsd_agent.rollout.engines.base import Engine
from stepopsd_agent.rollout.engines.colocated import Colocated
from stepopsd_agent.rollout.engines.errors import EngineError
from stepopsd_agent.rollout.engines.ray_actors import RayActors
from stepopsd_agent.rollout.engines.requests import Requests
from stepopsd_agent.rollout.engines.server import Server
from stepopsd_agent.rollout.language_model import LanguageModel, rollout
from stepopsd_agent.rollout.playing import Attempt, OnEpisode, play
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_wrappers import Episode


class EngineBackend:
    """Plays attempts with an engine that has the policy's weights; a `Backend`.

    The engine is made when the first attempts are played, and gets the weights at the beginning of every
    call, so it never plays with others than the policy's.
    """

    def __init__(self, config: RolloutConfig) -> None:
        """Take the settings of the engine; nothing is started yet."""
        self._config = config
        self._engine: Engine | None = None

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
        """Play every attempt once; see `rollout`.

        Raises:
            EngineError: the engine cannot do what was asked, or is gone.
        """
        check_policy(policy)
        params = params or SamplingParams()
        if params.max_row_tokens > self._config.max_row_tokens:
            raise EngineError(
                f"rows of {params.max_row_tokens} tokens were asked for, but the engine was made for "
                f"{self._config.max_row_tokens}: raise rollout.max_row_tokens"
            )
        if self._engine is None:
            self._engine = self._made(policy)
        self._engine.load(policy)
        agent = LanguageModel(policy, params, seed, partial(Requests, self._engine))
        try:
            return play(agent, envs, attempts, run=run, update=update, on_episode=on_episode)
        finally:
            self._engine.rest()

    def _made(self, policy: Policy) -> Engine:
        config = self._config
        longest = min(config.max_row_tokens, policy.max_positions)
        if config.url is not None:
            return Server(config.url, slots=config.slots, max_row_tokens=longest)
        return Colocated(
            policy, slots=config.slots, max_row_tokens=longest, memory_share=config.engine_memory
        )

    def close(self) -> None:
        """Free the engine's memory; a server stays as it is."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


@contextmanager
def opened_backend(config: RolloutConfig) -> Iterator[Backend]:
    """The backend that the settings name, for as long as it is needed."""
    if config.backend == "builtin":
        yield rollout
        return
    backend: EngineBackend | RayActors = EngineBackend(config)
    if config.backend == "ray":
        backend = RayActors(config.actors, gpus=config.actor_gpus)
    try:
        yield backend
    finally:
        backend.close()
