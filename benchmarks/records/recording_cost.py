"""Time and disk space that recording takes, compared with Minari's collector, and its share of a rollout.

``python -m benchmarks.records.recording_cost [--json OUT] [--steps N]`` plays the same random commands in the
same generated games, once without a recorder and once with each of these: `RecordEpisode`, `RecordEpisode`
with compressed shards, and Minari's `DataCollector` (arrow format) without infos (its default) and with them.
Minari stores infos as arrays of one shape, but these environments report lists of any length, so it gets each
step's info as one JSON string. Then a tiny language model, briefly cloned, plays groups of attempts as in
training, and the time spent in the recorder alone is measured. Minari's collector needs minari's extra
``create`` and, for the arrow format, pyarrow.

Target: recording takes under 10 % of that rollout. Times are CPU seconds, because other work may share the
machine.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import stepopsd_envs  # noqa: F401  (registers the ids)
from benchmarks.output import write_result
from benchmarks.runs.demo_episodes import demo_config, demo_policy
from stepopsd_agent.rollout import SamplingParams, groups, rollout
from stepopsd_wrappers import EpisodeWriter, ParseResponse, RecordEpisode, TextHistory

COMMAND = "python -m benchmarks.records.recording_cost"
STEPS, SHARE = 100_000, 0.10
GAMES: dict[str, Any] = {"tier": "tiny", "step_limit": 50}
Env = gym.Env[str, str]
Recorder = Callable[[Env, Path], AbstractContextManager[Env]]


def play(env: Env, steps: int) -> int:
    """Play this many steps of random commands, the same in every call; return the number of episodes."""
    rng, played, episodes = np.random.default_rng(0), 0, 0
    while played < steps:
        _, info = env.reset(seed=episodes)
        episodes, over = episodes + 1, False
        while not over and played < steps:
            offered = info["admissible_commands"]
            _, _, terminated, truncated, info = env.step(offered[int(rng.integers(len(offered)))])
            played, over = played + 1, terminated or truncated
    return episodes


@contextmanager
def bare(env: Env, folder: Path) -> Iterator[Env]:
    """No recorder."""
    yield env


@contextmanager
def ours(env: Env, folder: Path, compress: bool = False) -> Iterator[Env]:
    """`RecordEpisode`."""
    with EpisodeWriter(folder, compress=compress) as writer:
        recorded = RecordEpisode(env, writer=writer)
        yield recorded
        recorded.close_episode()


@contextmanager
def packed(env: Env, folder: Path) -> Iterator[Env]:
    """`RecordEpisode` with compressed shards."""
    with ours(env, folder, compress=True) as recorded:
        yield recorded


@contextmanager
def minari_collector(env: Env, folder: Path, infos: bool = False) -> Iterator[Env]:
    """Minari's collector, until its data set is on disk."""
    from minari import DataCollector, StepDataCallback

    class InfoAsText(StepDataCallback):  # type: ignore[misc]
        def __call__(self, env: Env, **given: Any) -> Any:
            data = super().__call__(env, **given)
            return {**data, "info": {"json": json.dumps(data["info"])}}

    text = gym.spaces.Text(1_000_000, min_length=0, charset="".join(map(chr, range(9, 127))))
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    try:
        collector = DataCollector(
            env,
            step_data_callback=InfoAsText if infos else StepDataCallback,
            record_infos=infos,
            observation_space=text,
            action_space=text,
            data_format="arrow",
        )
        yield collector
        collector.create_dataset("recorded-v0")
    finally:
        os.environ.pop("MINARI_DATASETS_PATH")
        if before is not None:
            os.environ["MINARI_DATASETS_PATH"] = before


@contextmanager
def minari_infos(env: Env, folder: Path) -> Iterator[Env]:
    """Minari's collector with infos."""
    with minari_collector(env, folder, infos=True) as collector:
        yield collector


RECORDERS: dict[str, Recorder] = {
    "no recorder": bare,
    "RecordEpisode": ours,
    "RecordEpisode, packed": packed,
    "Minari DataCollector": minari_collector,
    "Minari DataCollector, infos": minari_infos,
}


def measured(recorder: Recorder, steps: int) -> dict[str, Any]:
    """CPU seconds and bytes on disk for this many steps."""
    env: Env = gym.make("stepopsd/ALFWorld-v0", disable_env_checker=True, **GAMES)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of Minari: no author, no address, ...
        with recorder(env, Path(name) / "first") as recorded:
            play(recorded, 100)  # packages are imported and games read before the clock starts
        began = time.process_time()
        with recorder(env, Path(name) / "measured") as recorded:
            episodes = play(recorded, steps)
        seconds = time.process_time() - began
        size = sum(path.stat().st_size for path in Path(name, "measured").rglob("*") if path.is_file())
    env.close()
    return {"episodes": episodes, "seconds": round(seconds, 2), "bytes": size}


@dataclass
class Clock:
    """CPU seconds spent in the environment with the recorder around it, and in the one without."""

    around: float = 0.0
    within: float = 0.0


class Timed(gym.Wrapper[str, str, str, str]):
    """Adds the time that resets and steps take to a field of a clock."""

    def __init__(self, env: Env, clock: Clock, field: str) -> None:
        super().__init__(env)
        self._clock, self._field = clock, field

    def _since(self, began: float) -> None:
        setattr(self._clock, self._field, getattr(self._clock, self._field) + time.process_time() - began)

    def reset(self, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """Reset, timed."""
        began = time.process_time()
        answer = self.env.reset(**arguments)
        self._since(began)
        return answer

    def step(self, action: str) -> Any:
        """Step, timed."""
        began = time.process_time()
        answer = self.env.step(action)
        self._since(began)
        return answer


def share_of_rollout(tasks: int, demonstrations: int) -> dict[str, Any]:
    """Seconds of a rollout of the demonstration's model, and of recording within it."""
    config = demo_config(GAMES["step_limit"])
    policy = demo_policy(config, demonstrations)
    params = SamplingParams(temperature=1.0, max_tokens=config.rollout.max_tokens)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, EpisodeWriter(folder) as writer:

        def stack() -> Env:
            env: Env = gym.make("stepopsd/ALFWorld-v0", disable_env_checker=True, **GAMES)
            inner = Timed(ParseResponse(env, "plain"), clock, "within")
            return TextHistory(Timed(RecordEpisode(inner, writer=writer), clock, "around"))

        envs = [stack() for _ in range(config.rollout.slots)]
        attempts = groups(envs[0], count=tasks, size=config.rollout.group_size, seed=0)
        began = time.process_time()
        episodes = rollout(policy, envs, attempts, params, seed=0)
        seconds = time.process_time() - began
        written = writer.position()["episodes"]
    recording = clock.around - clock.within
    return {
        "episodes": len(episodes),
        "written": written,
        "steps": sum(episode.num_steps for episode in episodes),
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "seconds": round(seconds, 2),
        "recording_seconds": round(recording, 3),
        "share": round(recording / seconds, 4),
    }


def measure(steps: int, tasks: int, demonstrations: int) -> dict[str, Any]:
    """Every recorder on the bare environment, then the rollout."""
    rows = {name: measured(recorder, steps) for name, recorder in RECORDERS.items()}
    alone = rows["no recorder"]["seconds"]
    for row in rows.values():
        row["steps_per_second"] = round(steps / row["seconds"])
        row["microseconds_per_step"] = round(1e6 * (row["seconds"] - alone) / steps, 1)
        row["bytes_per_step"] = round(row["bytes"] / steps, 1)
    return {"steps": steps, "rows": rows, "rollout": share_of_rollout(tasks, demonstrations)}


def reached(figures: dict[str, Any]) -> bool:
    """Whether recording is a small part of a rollout."""
    return bool(figures["rollout"]["share"] < SHARE)


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="What recording costs.")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--tasks", type=int, default=8, help="groups of attempts in the rollout")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(given.steps, given.tasks, demonstrations=60)
    if given.json:
        import minari
        import pyarrow

        figures |= {"minari": minari.__version__, "pyarrow": pyarrow.__version__}
        write_result(given.json, figures, f"{COMMAND} --steps {given.steps} --tasks {given.tasks}")
    for name, row in figures["rows"].items():
        print(
            f"{name}: {row['steps_per_second']:,} steps/s, {row['microseconds_per_step']} us and "
            f"{row['bytes_per_step']} bytes per step"
        )
    one = figures["rollout"]
    print(
        f"rollout of {one['steps']} steps by a model of {one['parameters']:,} parameters: recording takes "
        f"{one['share']:.1%} of {one['seconds']} s"
    )
    return 0 if reached(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
