"""The part of a Ray actor: a model and environments in a process of its own; and the work it is given."""

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import gymnasium as gym
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit
from torch import Tensor

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.language_model import rollout
from stepopsd_agent.rollout.playing import Attempt
from stepopsd_wrappers import Episode


class Player:
    """The actor: a model and environments in a process of their own."""

    def __init__(self, threads: int, device: str) -> None:
        """Begin with neither."""
        torch.set_num_threads(threads)
        self.device = device
        self._policy: Policy | None = None
        self._model: Any = None
        self._envs: tuple[EnvSpec, list[gym.Env[str, str]]] | None = None

    def play(
        self,
        model: Sequence[Any],
        weights: dict[str, Tensor],
        spec: EnvSpec,
        slots: int,
        attempts: Sequence[Attempt],
        same: dict[str, Any],
    ) -> tuple[list[Episode], int]:
        """Play the attempts; return the records and how many prompts were shortened."""
        policy = self._loaded(model[0])
        policy.load_state(weights)
        before = policy.play.shortened
        episodes = rollout(policy, self._stacks(spec, min(slots, len(attempts))), attempts, **same)
        return episodes, policy.play.shortened - before

    def _loaded(self, model: Any) -> Policy:
        """The model, fetched where it is another one than before."""
        if self._policy is None or self._model != model:
            import ray

            stored, adapted = ray.get(model)
            # It comes from the process that started this actor, in the same cluster.
            loaded, tokenizer, prompt_format = torch.load(
                io.BytesIO(stored), map_location=self.device, weights_only=False
            )
            self._policy, self._model = Policy(loaded, tokenizer, self.device, prompt_format), model
            self._policy.adapted = adapted
        return self._policy

    def _stacks(self, spec: EnvSpec, count: int) -> list[gym.Env[str, str]]:
        """So many environments; those of an earlier call are used again where they are of the same kind."""
        if self._envs is None or self._envs[0] != spec:
            for env in self._envs[1] if self._envs else ():
                env.close()
            self._envs = spec, []
        made = self._envs[1]
        made += [gym.make(spec) for _ in range(count - len(made))]
        return made[:count]


def shares(attempts: Sequence[Attempt], count: int) -> list[list[int]]:
    """Cut the places of attempts into at most ``count`` shares of whole groups, nearly equally long."""
    whole = [
        [place for place, _ in members]
        for _, members in groupby(enumerate(attempts), key=lambda one: (one[1].group, one[1].task_id))
    ]
    cut = list[list[int]]()
    for number, places in enumerate(whole):
        if number * count // len(whole) >= len(cut):
            cut.append([])
        cut[-1] += places
    return cut


def spec_of_stack(env: gym.Env[str, str]) -> EnvSpec:
    """The spec from which `gymnasium.make` makes the same stack of environment and wrappers.

    Raises:
        ValueError: there is none, as a wrapper does not record its arguments.
    """
    spec = env.spec
    if spec is None or any(wrapper.kwargs is None for wrapper in spec.additional_wrappers):
        raise ValueError(
            f"actors cannot make another {env!r:.200}: its spec does not tell all of its wrappers; make it "
            "with gymnasium.make, and let each wrapper derive from gymnasium.utils.RecordConstructorArgs"
        )
    inner, limited = env, False
    while isinstance(inner, gym.Wrapper):
        limited = limited or isinstance(inner, TimeLimit)
        inner = inner.env
    # An environment that keeps its own step limit names it in its spec; Gymnasium would add a second one.
    return spec if limited else replace(spec, max_episode_steps=None)
