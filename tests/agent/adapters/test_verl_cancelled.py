"""What verl's loop does with the environment of an attempt that is cancelled."""

import asyncio
import json
from pathlib import Path
from threading import Event
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.adapters import verl_tasks
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.models import load_policy
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import recorder
from tests.agent.adapters.test_verl_loop import GAMES, Server, data_of, env_config, for_verl, worker

pytest.importorskip("verl", reason="the extra verl is not installed")
pytestmark = [pytest.mark.samples, pytest.mark.filterwarnings("ignore")]


class Held(gym.Wrapper[str, str, str, str]):
    """Its first step waits until it may go on."""

    def __init__(self, env: gym.Env[str, str]) -> None:
        super().__init__(env)
        self.began, self.go_on, self.ended = Event(), Event(), Event()

    def step(self, action: str) -> Any:
        """Wait, then step."""
        self.began.set()
        assert self.go_on.wait(60)
        try:
            return super().step(action)
        finally:
            self.ended.set()


def test_verl_loop_keeps_the_environment_of_a_cancelled_attempt_until_its_step_has_ended(
    taught_model: Path, tmp_path: Path
) -> None:
    """A thread cannot be stopped: meanwhile another attempt gets another environment."""
    from stepopsd_agent.adapters import verl_loop

    player, config = for_verl(load_policy(taught_model), tmp_path / "model"), env_config(GAMES)
    server, held = Server(load_policy(player)), Held(make_stack(config))
    pool = verl_loop._IDLE.setdefault(json.dumps(GAMES, sort_keys=True), [])
    before = list(pool)
    pool.append(held)
    rows = verl_tasks(config, "stepopsd")[:1]

    async def cancelled(made: Any) -> None:
        attempt = asyncio.ensure_future(made.generate_sequences(data_of(rows, size=1)))
        assert await asyncio.to_thread(held.began.wait, 60)
        attempt.cancel()
        await asyncio.wait([attempt])
        assert attempt.cancelled() and pool == before
        held.go_on.set()
        assert await asyncio.to_thread(held.ended.wait, 60)

    asyncio.run(cancelled(worker(player, GAMES, server, tmp_path, max_tokens=12)))  # waits for its threads
    assert pool == [*before, held]
    pool.remove(held)
    recorder(held).close_episode()
    assert recorder(held).last_episode is None  # dropped


def test_verl_loop_keeps_an_environment_that_is_made_while_its_attempt_is_cancelled(
    taught_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody could close it, nor the retriever that it opened; the next attempt plays in it."""
    from stepopsd_agent.adapters import verl_loop

    began, go_on, made = Event(), Event(), list[gym.Env[str, str]]()

    def slowly(config: EnvConfig) -> gym.Env[str, str]:
        began.set()
        assert go_on.wait(60)
        made.append(make_stack(config))
        return made[0]

    monkeypatch.setattr(verl_loop, "make_stack", slowly)
    player, env = for_verl(load_policy(taught_model), tmp_path / "model"), {**GAMES, "step_limit": 7}
    rows = verl_tasks(env_config(env), "stepopsd")[:1]
    pool = verl_loop._IDLE.setdefault(json.dumps(env, sort_keys=True), [])

    async def cancelled(worker: Any) -> None:
        attempt = asyncio.ensure_future(worker.generate_sequences(data_of(rows, size=1)))
        assert await asyncio.to_thread(began.wait, 60)
        attempt.cancel()
        await asyncio.wait([attempt])
        assert attempt.cancelled() and not pool
        go_on.set()
        while not made:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the loop hears of it
        assert pool == made

    asyncio.run(cancelled(worker(player, env, Server(load_policy(player)), tmp_path, max_tokens=12)))
    pool.clear()
    made[0].close()
