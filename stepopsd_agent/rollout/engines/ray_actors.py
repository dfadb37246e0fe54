"""Play whole groups in Ray actors, on this machine or on a cluster; a `Backend` like `rollout`.

An actor holds a copy of the model and environments of its own, and plays its attempts as `rollout` does.
Since sampling noise is keyed by the attempt, it does not matter which actor plays it. Actors carry whole
groups: single steps sent between processes would be far slower than one process alone.
"""

import io
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import groupby
from types import ModuleType
from typing import Any

import gymnasium as gym
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit
from torch import Tensor

from stepopsd_agent.models import Policy, check_policy
from stepopsd_agent.rollout.engines.base import EngineError
from stepopsd_agent.rollout.language_model import rollout
from stepopsd_agent.rollout.playing import Attempt, OnEpisode
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_envs.extras import install_command
from stepopsd_wrappers import Episode

DEATHS_LIMIT = 5
"""Actors that may die in one call, and be replaced, before it gives up."""


class RayActors:
    """A `Backend` whose attempts are played by Ray actors; they start with the first call.

    The same attempts, weights and seed give the same episodes whatever the number of actors. Weights go
    through Ray's object store, once per call. An actor that dies is replaced and its groups are played again.

    Attributes:
        actors: number of actors.
        threads: of each actor's tensor operations.
        gpus: for each actor, fractions sharing one; 0: they play on the CPU.
        parts: shares that a call's groups are cut into, for each actor; more shares wait less for the slowest
            episode of another actor, but leave slots empty at the end of each share.
    """

    def __init__(self, actors: int = 2, *, threads: int = 1, gpus: float = 0, parts: int = 1) -> None:
        """Describe the actors.

        Raises:
            ValueError: a number is below 1.
            ImportError: Ray is not installed; the message has the command.
        """
        for name, number in {"actors": actors, "threads": threads, "parts": parts}.items():
            if number < 1:
                raise ValueError(f"{name} is {number}; it must be at least 1")
        self.actors, self.threads, self.gpus, self.parts = actors, threads, gpus, parts
        self._ray = _imported()
        self._players: list[Any] = []
        self._sent: tuple[weakref.ref[Policy], bool, Any] | None = None  # policy, adapted, its model

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
        """Play every attempt once; arguments and result are those of `rollout`.

        The actors make environments like the first of ``envs``, together as many as there are; records reach
        ``on_episode`` when the share they belong to is done.

        Raises:
            ValueError: an environment cannot be made again from its spec.
            EngineError: actors died `DEATHS_LIMIT` times, or there is no room for so many.
        """
        check_policy(policy)
        if not attempts:
            return []
        spec, slots = spec_of_stack(envs[0]), -(-len(envs) // self.actors)
        model, weights = self._model(policy), self._ray.put(policy.state())
        same = {"params": params, "seed": seed, "run": run, "update": update}

        def begin(player: Any, share: Sequence[int]) -> Any:
            some = [attempts[place] for place in share]
            return player.play.remote([model], weights, spec, slots, some, same)

        finished: dict[int, Episode] = {}
        try:
            self._start()
            cut = shares(attempts, self.actors * self.parts)
            for share, (episodes, shortened) in self._results(cut, begin):
                policy.play.shortened += shortened
                for place, episode in zip(share, episodes, strict=True):
                    finished[place] = episode
                    if on_episode is not None:
                        on_episode(episode)
        except BaseException:
            self.close()  # whatever the others are playing is of no use any more
            raise
        return [finished[place] for place in range(len(attempts))]

    def _results(
        self, waiting: list[list[int]], begin: Callable[[Any, Sequence[int]], Any]
    ) -> Iterator[tuple[list[int], tuple[list[Episode], int]]]:
        """Let idle actors take the waiting shares; yield each share with its result, as they are done."""
        running: dict[Any, tuple[int, list[int]]] = {}
        idle, deaths = list(range(self.actors)), 0
        while waiting or running:
            while waiting and idle:
                number, share = idle.pop(0), waiting.pop(0)
                running[begin(self._players[number], share)] = number, share
            (done,), _ = self._ray.wait(list(running))
            number, share = running.pop(done)
            try:
                yield share, self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayActorError as error:
                deaths += 1
                if deaths >= DEATHS_LIMIT:
                    raise EngineError(
                        f"{deaths} actors died while they played, the last one with: "
                        f"{' '.join(str(error).split()):.300}. Free memory or ask for fewer actors "
                        "(rollout.actors), then go on"
                    ) from None
                self._players[number] = self._player()
                waiting.insert(0, share)
            idle.append(number)

    def close(self) -> None:
        """End the actors; the next call starts others. Ray itself goes on running."""
        for player in self._players:
            self._ray.kill(player)
        self._players = []

    def _start(self) -> None:
        """Connect to Ray, or start it on this machine alone, and start the actors that are missing."""
        if not self._ray.is_initialized():
            alone = {"num_cpus": self.actors * self.threads}
            where = {} if "RAY_ADDRESS" in os.environ else alone
            self._ray.init(include_dashboard=False, log_to_driver=False, **where)
        there = self._ray.cluster_resources()
        for kind, each in {"CPU": self.threads, "GPU": self.gpus}.items():
            if each * self.actors > there.get(kind, 0):
                raise EngineError(
                    f"{self.actors} actors with {each:g} {kind} each do not fit: Ray has "
                    f"{there.get(kind, 0):g}; lower rollout.actors or rollout.actor_gpus"
                )
        while len(self._players) < self.actors:
            self._players.append(self._player())

    def _player(self) -> Any:
        """Start an actor."""
        made = self._ray.remote(num_cpus=self.threads, num_gpus=self.gpus)(Player)
        return made.remote(self.threads, "cuda" if self.gpus else "cpu")

    def _model(self, policy: Policy) -> Any:
        """The model in the object store, put there once; its weights are sent with every call."""
        if self._sent is None or self._sent[0]() is not policy or self._sent[1] != policy.adapted:
            buffer = io.BytesIO()
            torch.save((policy.model, policy.tokenizer, policy.prompt_format), buffer)
            stored = self._ray.put((buffer.getvalue(), policy.adapted))
            self._sent = weakref.ref(policy), policy.adapted, stored
        return self._sent[2]


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


def _imported() -> ModuleType:
    # Ray's processes listen on all interfaces of a machine, so whoever connects has to know its token.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        return import_module("ray")
    except ImportError as error:
        raise ImportError(f"playing in actors needs Ray: {install_command('ray')}") from error
