"""Small runs for tests: a model that wins a game every other time, settings for it, the command line."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from stepopsd_agent import credit
from stepopsd_agent.cli.main import main
from stepopsd_agent.config import HindsightConfig, ModelConfig, RunConfig, WarmstartConfig, config_from_dict
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.learner import clone, examples
from stepopsd_agent.models import Policy, tiny_policy
from stepopsd_agent.rollout import (
    Attempt,
    Demonstration,
    SamplingParams,
    demonstrate,
    mixed_groups,
    pieces,
    rollout,
)
from stepopsd_agent.run import Trainer
from stepopsd_agent.tasks import make_stack, task_ids

ROOT = Path(__file__).parents[2]
Dtype = Literal["float32", "float64", "bfloat16"]
T = TypeVar("T")
SETTINGS: dict[str, Any] = {
    "updates": 6,
    "threads": 1,
    "checkpoint_every": 2,
    "env": {"tier": "tiny", "step_limit": 8, "num_games": 1},
    "rollout": {"tasks": 2, "group_size": 4, "slots": 8, "max_tokens": 12, "max_row_tokens": 512},
    "hindsight": {"max_peer_tokens": 48, "refresh": 3},
    "learner": {"lr": 3e-3},
    "eval": {"num_games": 2},
}
"""Both groups of an update play the one game, and some attempts win it: there is something to learn.

Checkpoints and the teacher's refreshes fall on different updates, so that both have to be kept.
"""


PARAMS = SamplingParams(max_tokens=12, max_row_tokens=512)
"""Sampling as in `SETTINGS`, at temperature 1."""


def run_config(**sections: Any) -> RunConfig:
    """`SETTINGS`, with some changed; those of a section as a dictionary."""
    merged = {
        name: {**SETTINGS.get(name, {}), **value} if isinstance(value, dict) else value
        for name, value in {**SETTINGS, **sections}.items()
    }
    return config_from_dict(merged)


def demonstrations(count: int, mistake_rate: float = 0.1, seed: int = 0) -> list[Demonstration]:
    """Expert episodes of the one game."""
    env = make_stack(run_config(env={"step_limit": 30}).env)
    return demonstrate(env, [task_ids(env)[0]] * count, mistake_rate, seed)


def fresh(demos: Sequence[Demonstration], dtype: Dtype = "float32") -> Policy:
    """A model of width 32 with random weights and a tokenizer that knows the game's words."""
    texts = pieces(demos) + hindsight_words() * 10
    config = ModelConfig(
        hidden_size=32, num_layers=2, num_heads=2, vocab_size=400, max_positions=1024, dtype=dtype
    )
    return tiny_policy(texts, config, "cpu", seed=0)


def cloned(demos: Sequence[Demonstration], on_step: Callable[[Policy, int], None] | None = None) -> Policy:
    """`fresh` after cloning the demonstrations once, in a few seconds."""
    policy = fresh(demos)

    def note(step: int, loss: float) -> None:
        if on_step is not None:
            on_step(policy, step)

    config = WarmstartConfig(batch_rows=4, lr=1e-2, hindsight_steps=1)
    rng = np.random.default_rng(0)
    data = [e for d in demos for e in examples(d, policy, config, HindsightConfig(max_peer_tokens=48), rng)]
    clone(policy, data, config, seed=0, on_step=note)
    return policy


class _EnoughError(Exception):
    """The model wins often enough; it carries the weights."""


def _wavers(policy: Policy) -> bool:
    """Whether it wins 6 to 12 of 16 attempts, and each group of the first update now and then."""
    config = run_config()
    env = [make_stack(config.env) for _ in range(16)]
    attempts = [Attempt(task_ids(env[0])[0], seed=0, member=member) for member in range(16)]
    played = rollout(policy, env, attempts, PARAMS, seed="taught")
    if not 6 <= sum(episode.success for episode in played) <= 12:
        return False
    first = Trainer(config, credit.make("grpo"), policy).collect()
    return mixed_groups(first) == first


@cache
def _taught() -> tuple[list[Demonstration], dict[str, torch.Tensor]]:
    demos = demonstrations(800)

    def stop(policy: Policy, step: int) -> None:
        if step >= 60 and step % 5 == 0 and _wavers(policy):
            raise _EnoughError(policy.state())

    try:
        cloned(demos, stop)
    except _EnoughError as enough:
        return demos, enough.args[0]
    raise AssertionError("800 demonstrations do not teach the tiny model its game any more")


def taught(dtype: Dtype = "float32") -> Policy:
    """A model that at temperature 1 wins its one game in about half of its attempts.

    In the first update of a run with `SETTINGS` both groups have successes and failures, whatever the
    processor: cloning ends where that is so.
    """
    demos, state = _taught()
    policy = fresh(demos, dtype)
    policy.load_state(state)
    return policy


def draw_until(draw: Callable[[int], T], happened: Callable[[T], bool], most: int = 60) -> T:
    """The first of several draws, by their number, in which something happened.

    What a seed leads to depends on the processor, so a test that needs a situation looks for it.
    """
    for number in range(most):
        if happened(drawn := draw(number)):
            return drawn
    raise AssertionError(f"in {most} draws it never happened")


def train_arguments(model: Path, out: Path, *more: str) -> list[str]:
    """The command line that trains `model` with `SETTINGS`."""
    flags = []
    for name, value in SETTINGS.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flags += [f"--{name}{'.' if key else ''}{key}={setting}" for key, setting in inner]
    return ["train", *flags, f"--model.path={model}", f"--out={out}", *more]


def environment() -> dict[str, str]:
    """What a command in a process of its own needs to find this checkout."""
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(ROOT), str(ROOT / "wrappers"), *([given] if given else [])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def stepopsd(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command in a process of its own, as a user would."""
    command = [sys.executable, "-m", "stepopsd_agent", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment(), cwd=ROOT, **options
    )


TOUCHES = frozenset({"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir"})
"""Audit events of Python that tell of a change to files, or of one to come."""


def sitting(arguments: Sequence[str], folder: Path, kill_at: int | None = None) -> int:
    """Run a command in a process that is killed when it touches files in `folder` for the `kill_at`-th time.

    The process comes from a server that has imported everything already: a tenth of a second each.

    Returns:
        Its exit code, -9 when it was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.runs"])
    process = context.Process(target=_sit, args=(list(arguments), str(folder), kill_at))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the command did not end"
    return process.exitcode


def _sit(arguments: list[str], folder: str, kill_at: int | None) -> None:
    torch.set_num_threads(1)
    touched = 0

    def watch(event: str, values: tuple[object, ...]) -> None:
        nonlocal touched
        if event in TOUCHES and isinstance(values[0], str | os.PathLike) and folder in os.fspath(values[0]):
            touched += 1
            if touched == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    raise SystemExit(main(arguments))
