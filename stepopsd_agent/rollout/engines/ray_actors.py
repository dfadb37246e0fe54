"""Play whole groups in Ray actors, on this machine or on a cluster; a `Backend` like `rollout`.

An actor holds a copy of the model and environments of its own, and plays its attempts as `rollout` does.
Since sampling noise is keyed by the attempt, it does not matter which actor plays it. Actors carry whole
groups: single steps sent between processes would be far slower than one process alone.
"""

import io
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import gymnasium as gym
import torch

from stepopsd_agent.models import Policy, check_policy
from stepopsd_agent.rollout.engines.errors import EngineError
from stepopsd_agent.rollout.engines.ray_player import Player, shares, spec_of_stack
from stepopsd_agent.rollout.playing import Attempt, OnEpisode
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_envs.extras import install_command
from stepopsd_wrappers import Episode

DEATHS_LIMIT = 5
"""Actors that may die in one call, and be replaced, before it gives up."""
REACHED_S = 10.0
"""Seconds in which a cluster has to take a connection."""


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
        self._sent: tuple[weakref.ref[Policy], tuple[Any, ...], Any] | None = (
            None  # its model, as it was then
        )

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

        Every actor makes environments like the first of ``envs``, as many as there are where its groups fill
        them; records reach ``on_episode`` when the share they belong to is done.

        Raises:
            ValueError: there is no environment, or one twice; or one cannot be made again from its spec.
            EngineError: actors died `DEATHS_LIMIT` times, or there is no room for so many.
        """
        begun = self.begin(
            policy, envs, attempts, params, seed=seed, run=run, update=update, on_episode=on_episode
        )
        return begun()

    def begin(
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
    ) -> Callable[[], list[Episode]]:
        """Let the actors begin with the policy's present weights; what is returned waits for the records.

        Raises:
            ValueError: there is no environment, or one twice; or one cannot be made again from its spec.
            EngineError: there is no room for so many actors.
        """
        check_policy(policy)
        if not attempts:
            return list
        if (distinct := len({id(env.unwrapped) for env in envs})) < max(len(envs), 1):
            raise ValueError(
                f"envs lists {len(envs)} environments, {distinct} distinct; give some, each once"
            )
        spec, slots = spec_of_stack(envs[0]), len(envs)
        self._start()
        model, weights = self._model(policy), self._ray.put(policy.state())
        same = {"params": params, "seed": seed, "run": run, "update": update}

        def play(player: Any, share: Sequence[int]) -> Any:
            some = [attempts[place] for place in share]
            return player.play.remote([model], weights, spec, slots, some, same)

        work = _Work(shares(attempts, self.actors * self.parts), play)
        for number in range(self.actors):
            work.give(number, self._players[number])

        def collect() -> list[Episode]:
            finished: dict[int, Episode] = {}
            try:
                for share, (episodes, shortened) in self._results(work):
                    policy.play.shortened += shortened
                    for place, episode in zip(share, episodes, strict=True):
                        finished[place] = episode
                        if on_episode is not None:
                            on_episode(episode)
            except BaseException:
                self.close()  # whatever the others are playing is of no use any more
                raise
            return [finished[place] for place in range(len(attempts))]

        return collect

    def _results(self, work: "_Work") -> Iterator[tuple[list[int], tuple[list[Episode], int]]]:
        """Yield each share with its result, as they are done, and give the actors that are free the next."""
        deaths = 0
        while work.running:
            (done,), _ = self._ray.wait(list(work.running))
            number, player, share = work.running.pop(done)
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
                        "(rollout.actors)"
                    ) from None
                self._start()
                if self._players[number] is player:
                    self._players[number] = self._player()
                work.waiting.insert(0, share)
            work.give(number, self._players[number])

    def close(self) -> None:
        """End the actors, and with them what they play; the next call starts others. Ray itself goes on."""
        for player in self._players:
            self._ray.kill(player)
        self._players = []

    def _start(self) -> None:
        """Connect to Ray, or start it on this machine alone, and start the actors that are missing."""
        if not self._ray.is_initialized():
            where = {} if "RAY_ADDRESS" in os.environ else {"address": "local"}
            with _cluster_there(os.environ.get("RAY_ADDRESS", "")), _own_end():
                self._ray.init(include_dashboard=False, log_to_driver=False, **where)
        there = self._ray.cluster_resources()
        for kind, each in self._each().items():
            if each * self.actors > there.get(kind, 0):
                raise EngineError(
                    f"{self.actors} actors with {each:g} {kind} each do not fit: Ray has "
                    f"{there.get(kind, 0):g}; lower rollout.actors or rollout.actor_gpus"
                )
        while len(self._players) < self.actors:
            self._players.append(self._player())

    def _player(self) -> Any:
        """Start an actor."""
        each = self._each()
        made = self._ray.remote(num_cpus=each["CPU"], num_gpus=each["GPU"])(Player)
        return made.remote(self.threads, "cuda" if self.gpus else "cpu")

    def _each(self) -> dict[str, float]:
        """What Ray reserves for an actor: cores on a cluster only; those of one machine may be shared."""
        return {"CPU": self.threads if "RAY_ADDRESS" in os.environ else 0, "GPU": self.gpus}

    def _model(self, policy: Policy) -> Any:
        """The model in the object store, put there once; its weights are sent with every call."""
        network = _network(policy)
        if self._sent is None or self._sent[0]() is not policy or self._sent[1] != network:
            buffer = io.BytesIO()
            torch.save((policy.model, policy.tokenizer, policy.prompt_format), buffer)
            stored = self._ray.put((buffer.getvalue(), policy.adapted))
            self._sent = weakref.ref(policy), network, stored
        return self._sent[2]


@dataclass
class _Work:
    """What is left of one call.

    Attributes:
        waiting: shares that no actor plays yet.
        play: lets an actor play a share.
        running: by its result to come, the number of the actor, the actor and the share.
    """

    waiting: list[list[int]]
    play: Callable[[Any, Sequence[int]], Any]
    running: dict[Any, tuple[int, Any, list[int]]] = field(default_factory=dict)

    def give(self, number: int, player: Any) -> None:
        """Give an actor the next share, if one is left."""
        if self.waiting:
            share = self.waiting.pop(0)
            self.running[self.play(player, share)] = number, player, share


def _network(policy: Policy) -> tuple[Any, ...]:
    """What tells that a policy's network is another one than before, apart from the weights it trains."""
    shapes = tuple((name, p.shape, p.dtype) for name, p in policy.model.named_parameters())
    fixed = [p for p in policy.model.parameters() if policy.adapted and not p.requires_grad]
    values = tuple((id(p), p.data_ptr(), p._version) for p in fixed)  # the version counts changes in place
    return policy.adapted, id(policy.tokenizer), id(policy.prompt_format), shapes, values


@contextmanager
def _own_end() -> Iterator[None]:
    """Let SIGTERM do what it did before, or else what Ctrl-C does; Ray would let it raise SystemExit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Its default would end this process before the actors are told.
        signal.signal(signal.SIGTERM, _interrupt if before in (signal.SIG_DFL, None) else before)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _cluster_there(address: str) -> Iterator[None]:
    """Say in one sentence that no cluster is at an address; Ray itself tries for minutes to connect.

    Raises:
        EngineError: so it is.
    """
    if not address:
        yield
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if host and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_S).close()
        yield
    except OSError as error:
        raise EngineError(
            f"no Ray cluster answers at RAY_ADDRESS, which is {address!r} ({error}): start one there with "
            "ray start, or unset it to play on this machine"
        ) from error


def _imported() -> ModuleType:
    # Ray's processes listen on all interfaces of a machine, so whoever connects has to know its token. Ray
    # reads this when it is imported: whoever did so before has made the choice.
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        return import_module("ray")
    except ImportError as error:
        raise ImportError(f"playing in actors needs Ray: {install_command('ray')}") from error
