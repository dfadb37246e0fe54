"""Playing vector environments of ALFWorld games, and the same by environments on their own."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

ENV_ID = "stepopsd/ALFWorld-v0"
SIZE = 3
SETTINGS: dict[str, Any] = {"tier": "tiny", "step_limit": 4}


def make_vec(
    kind: str = "vector_entry_point", mode: AutoresetMode = AutoresetMode.NEXT_STEP, **kwargs: Any
) -> Any:
    """A vector environment as users make it."""
    settings = {**SETTINGS, **kwargs}
    if kind == "vector_entry_point":
        return gym.make_vec(ENV_ID, num_envs=SIZE, autoreset_mode=mode, **settings)
    vector: dict[str, Any] = {"autoreset_mode": mode, **({"shared_memory": False} if kind == "async" else {})}
    return gym.make_vec(ENV_ID, SIZE, vectorization_mode=kind, vector_kwargs=vector, **settings)


def actions_for(offered: list[list[str]], number: int) -> tuple[str, ...]:
    """One action per environment, each seventh of them impossible."""
    turns = [5 * number + slot for slot in range(SIZE)]
    return tuple(
        "open \ud800" if turn % 7 == 6 else commands[turn % len(commands)]
        for turn, commands in zip(turns, offered, strict=True)
    )


def play(envs: Any, mode: AutoresetMode, steps: int = 11) -> Iterator[tuple[Any, ...]]:
    """What the calls return; in DISABLED mode, what has ended is reset with a mask between the steps."""
    texts, infos = envs.reset(seed=5)
    shown = commands_in(infos)
    yield texts, infos
    for number in range(steps):
        call = envs.step(actions_for(shown, number))
        shown, over = commands_in(call[-1]), call[2] | call[3]
        yield call
        if mode is AutoresetMode.DISABLED and over.any():
            texts, infos = envs.reset(options={"reset_mask": over})
            for slot in np.flatnonzero(over):
                shown[slot] = infos["admissible_commands"][slot].copy()
            yield texts, infos


def commands_in(infos: dict[str, Any]) -> list[list[str]]:
    """Copies of the lists of commands."""
    return [commands.copy() for commands in infos["admissible_commands"]]


def alone(mode: AutoresetMode, steps: int = 11) -> Iterator[tuple[Any, ...]]:
    """The same by environments on their own: per call, a list of texts, one of infos and the other values."""
    envs: list[Any] = [gym.make(ENV_ID, **SETTINGS) for _ in range(SIZE)]
    begun = [env.reset(seed=5 + slot) for slot, env in enumerate(envs)]
    texts, infos, shown = [list(column) for column in (*zip(*begun, strict=True), [None] * SIZE)]
    yield texts, infos
    shown, over = [info["admissible_commands"] for info in infos], [False] * SIZE
    for number in range(steps):
        rows: list[Any] = []
        actions = actions_for(shown, number)
        for slot, env in enumerate(envs):
            if mode is AutoresetMode.NEXT_STEP and over[slot]:
                text, info = env.reset()
                rows.append((text, 0.0, False, False, info))
                continue
            text, reward, terminated, truncated, info = env.step(actions[slot])
            if mode is AutoresetMode.SAME_STEP and (terminated or truncated):
                final = {"final_obs": text, "final_info": info}
                text, info = env.reset()
                info = {**info, **final}
            rows.append((text, reward, terminated, truncated, info))
        texts, rewards, ended, cut, infos = [list(column) for column in zip(*rows, strict=True)]
        yield texts, rewards, ended, cut, infos
        over, shown = list(map(max, ended, cut)), [info["admissible_commands"] for info in infos]
        if mode is AutoresetMode.DISABLED and any(over):
            texts, infos = texts.copy(), [{}] * SIZE
            for slot in np.flatnonzero(over).tolist():
                texts[slot], infos[slot] = envs[slot].reset()
                shown[slot] = infos[slot]["admissible_commands"]
            yield texts, infos
