"""Evaluation on held-out tasks while an algorithm of stable-baselines3 trains (extra ``sb3``)."""

import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.error import DependencyNotInstalled

from stepopsd_envs.extras import install_command

try:
    from stable_baselines3.common.callbacks import BaseCallback
except ImportError as error:
    raise DependencyNotInstalled(f"HeldOutTasks needs stable-baselines3: {install_command('sb3')}") from error


class HeldOutTasks(BaseCallback):
    """Every ``every`` steps saves the model, plays each task of an environment with it, and writes the curve.

    ``OUT/model.zip`` is the newest model, ``OUT/curve.json`` a list of ``{steps, seconds, success, tasks}``:
    steps and CPU time (s) of training so far, without evaluation, and the share of tasks that end with
    ``info["won"]``. The first evaluation is before training, the last one after it.
    """

    def __init__(self, env: gym.Env[Any, Any], out: Path, every: int) -> None:
        """Create the callback.

        Args:
            env: environment with the wrappers of training; each of its ``task_ids`` is played.
            out: folder to write to; created if it does not exist.
            every: steps between tests.

        Raises:
            ValueError: `every` is not positive.
        """
        if every < 1:
            raise ValueError(f"every is {every}; give the steps between two tests, 1 or more")
        super().__init__()
        self.env, self.out, self.every = env, out, every
        self.tasks: tuple[str, ...] = tuple(env.get_wrapper_attr("task_ids"))
        self.option: str = env.get_wrapper_attr("task_option")
        self.rows: list[dict[str, float]] = []

    def _on_training_start(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self.began, self.next = time.process_time(), self.num_timesteps
        self._on_step()

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next:
            self.next += self.every
            self._test()
        return True

    def _on_training_end(self) -> None:
        if self.rows[-1]["steps"] < self.num_timesteps:
            self._test()

    def _test(self) -> None:
        paused = time.process_time()
        self.model.save(self.out / "model.zip")
        won = [self._wins(place, task) for place, task in enumerate(self.tasks)]
        row = {
            "steps": self.num_timesteps,
            "seconds": round(paused - self.began, 1),
            "success": sum(won) / len(won),
            "tasks": len(won),
        }
        self.rows.append(row)
        (self.out / "curve.json").write_text(json.dumps(self.rows, indent=1), encoding="utf-8")
        won_share = f"won {row['success']:.1%} of {len(won)} held-out tasks"
        print(f"{row['steps']:>8} steps, {row['seconds']:>6.1f} s: {won_share}", flush=True)
        self.began += time.process_time() - paused

    def _wins(self, seed: int, task: str) -> bool:
        """Return whether the model wins; every number is a command, so no mask is needed."""
        vector, info = self.env.reset(seed=seed, options={self.option: task})
        over = False
        while not over:
            action, _ = self.model.predict(vector, deterministic=True)
            vector, _, terminated, truncated, info = self.env.step(action)
            over = terminated or truncated
        return bool(info["won"])
