"""Speed of whole updates, compared with TRL's `GRPOTrainer` on the same tasks with the same tiny model.

    python -m benchmarks.learner.update_speed --trl-python PATH [--json OUT] [--short]

``PATH`` is a Python that has TRL and this project's packages. The three rows run one after the other, each
with one thread, measured in CPU seconds: this project (slot refill, one cache per episode, packed update),
TRL's `environment_factory` (the command is a tool call), and TRL with a hand-written `rollout_func`. Each row
warm-starts a model of the same shape in its own format on the same number of demonstrations, plays groups of
the same size on the same games with the same step limit, and makes one AdamW step on all of them. The first
update is not counted. Targets: at least 3 times the episodes per second of `environment_factory`, with
episodes that are not shorter, and without discarding sampled tokens.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import torch

from benchmarks.output import write_result
from benchmarks.runs.demo_episodes import demo_config, demo_policy
from stepopsd_agent import credit
from stepopsd_agent.config import RunConfig, config_to_dict
from stepopsd_agent.rollout import Decoder, Sampled, groups
from stepopsd_agent.run import Trainer
from stepopsd_agent.tasks import make_stack

FASTER, ALIKE = 3.0, 0.95
COMMAND = "python -m benchmarks.learner.update_speed --trl-python PATH"
ROOT = Path(__file__).resolve().parents[2]
WAYS = ("environment_factory", "rollout_func")


def settings(short: bool) -> dict[str, Any]:
    """Size of the benchmark."""
    if short:
        return {"steps": 12, "tasks": 2, "group_size": 4, "demonstrations": 500, "updates": 2}
    return {"steps": 20, "tasks": 8, "group_size": 8, "demonstrations": 1500, "updates": 4}


def run_config(sizes: dict[str, Any]) -> RunConfig:
    """The demonstration's settings, adapted to TRL: AdamW alone, one optimizer step per batch, no KL."""
    config = demo_config(sizes["steps"])
    if sizes["group_size"] < 8:  # the short run: a model that learns faster
        config = replace(config, model=replace(config.model, hidden_size=64, num_layers=2))
    count = sizes["tasks"] * sizes["group_size"]
    return replace(
        config,
        rollout=replace(
            config.rollout,
            tasks=sizes["tasks"],
            group_size=sizes["group_size"],
            slots=count,
            invalid_penalty=0.0,
        ),
        learner=replace(config.learner, lr=1e-5, muon_lr=0.0, mini_batches=1, kl_coef=0.0),
    )


@contextmanager
def counted() -> Iterator[list[int]]:
    """Collect the number of tokens in every response that any decoder gives meanwhile, kept or not."""
    respond, sizes = Decoder.respond, list[int]()

    def counting(self: Decoder, prompts: Sequence[Sequence[int]], noise: np.ndarray) -> list[Sampled | None]:
        answers = respond(self, prompts, noise)
        sizes.extend(len(answer.ids) for answer in answers if answer is not None)
        return answers

    with patch.object(Decoder, "respond", counting):
        yield sizes


def ours(config: RunConfig, sizes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure this project's updates; leaves the warm-started model in ``folder/model``."""
    policy = demo_policy(config, sizes["demonstrations"])
    policy.save(folder / "model")
    trainer = Trainer(config, credit.make("grpo"), policy)
    seconds, steps = list[float](), 0
    with counted() as sampled:
        for _ in range(sizes["updates"]):
            began = time.process_time()
            episodes, _, _ = trainer.step()
            seconds.append(time.process_time() - began)
            steps += sum(episode.num_steps for episode in episodes)
    kept = trainer.counters.generated - trainer.counters.wasted
    count = sizes["updates"] * sizes["tasks"] * sizes["group_size"]
    return {
        "seconds": seconds[1:],
        "sampled": sum(sampled),
        "played": kept,
        "steps": steps,
        "episodes": count,
    }


def trl_tasks(config: RunConfig, sizes: dict[str, Any], env: gym.Env[str, str]) -> list[dict[str, Any]]:
    """The same games and seeds for TRL, one row per group."""
    rows = []
    for update in range(sizes["updates"]):
        drawn = groups(env, count=sizes["tasks"], size=1, seed=config.seed, update=update)
        rows += [{"prompt": f"{update}/{t.group}", "task_id": t.task_id, "seed": t.seed} for t in drawn]
    return rows


def theirs(
    way: str, python: Path, config: RunConfig, sizes: dict[str, Any], rows: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """Measure one of TRL's rows in a new process."""
    row_settings = {
        "way": way,
        "config": config_to_dict(config),
        "demonstrations": sizes["demonstrations"],
        "updates": sizes["updates"],
        "micro_batch_rows": min(8, sizes["tasks"] * sizes["group_size"]),
        "tasks": rows,
        "folder": str(folder),
        "out": str(folder / f"{way}.json"),
    }
    file = folder / f"{way}-settings.json"
    file.write_text(json.dumps(row_settings), encoding="utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "wrappers")])
    environment = {
        **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TRL_EXPERIMENTAL_SILENCE": "1",
        "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [str(python), "-m", "benchmarks.learner.update_speed_trl", str(file)]
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(
            f"update_speed: {python} could not run TRL's part (exit code {done.returncode}, see above); it "
            "needs TRL (pip install trl datasets jmespath) in addition to this project's packages"
        )
    figures: dict[str, Any] = json.loads((folder / f"{way}.json").read_text(encoding="utf-8"))
    return figures


def figures_of(row: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    """Rates of a row, from the median of the updates, since single ones may be disturbed."""
    seconds = float(np.median(row["seconds"]))
    per_update = sizes["tasks"] * sizes["group_size"]
    return {
        "seconds_per_update": round(seconds, 3),
        "episodes_per_second": round(per_update / seconds, 3),
        "steps_per_episode": round(row["steps"] / row["episodes"], 2),
        "steps_per_second": round(row["steps"] / row["episodes"] * per_update / seconds, 2),
        "sampled_tokens_per_step": round(row["sampled"] / max(1, row["steps"]), 2),
        "thrown_away": round(1 - row["played"] / max(1, row["sampled"]), 4),
    }


def measure(python: Path, short: bool) -> dict[str, Any]:
    """All rows."""
    sizes = settings(short)
    config = run_config(sizes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = {"ours": ours(config, sizes, folder)}
        tasks = trl_tasks(config, sizes, make_stack(config.env))
        for way in WAYS:
            rows[f"trl {way}"] = theirs(way, python, config, sizes, tasks, folder)
    found = {name: figures_of(row, sizes) for name, row in rows.items()}
    rate = found["ours"]["episodes_per_second"]
    return {
        **sizes,
        "trl": trl_version(python),
        "rows": found,
        "times_environment_factory": round(rate / found["trl environment_factory"]["episodes_per_second"], 2),
        "times_rollout_func": round(rate / found["trl rollout_func"]["episodes_per_second"], 2),
    }


def trl_version(python: Path) -> str:
    """The version of TRL."""
    code = "import importlib.metadata as m; print(m.version('trl'))"
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def reached(figures: dict[str, Any]) -> bool:
    """Whether the targets are met; with shorter episodes than TRL's, the rate would prove nothing."""
    own, other = figures["rows"]["ours"], figures["rows"]["trl environment_factory"]
    return bool(
        figures["times_environment_factory"] >= FASTER
        and own["thrown_away"] == 0
        and own["steps_per_episode"] >= ALIKE * other["steps_per_episode"]
    )


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Updates per second beside TRL.")
    parser.add_argument("--trl-python", type=Path, required=True, help="a Python that has TRL")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--short", action="store_true", help="few short episodes, less than a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(arguments.trl_python, arguments.short)
    if arguments.json:
        write_result(arguments.json, figures, COMMAND + " --short" * arguments.short)
    for name, row in figures["rows"].items():
        print(f"{name}: {row}", file=sys.stderr)
    own = figures["rows"]["ours"]
    print(
        f"{own['episodes_per_second']} episodes of {own['steps_per_episode']} steps per second, "
        f"{figures['times_environment_factory']}x TRL {figures['trl']} with environment_factory and "
        f"{figures['times_rollout_func']}x with rollout_func; {own['thrown_away']:.1%} of the sampled tokens "
        "thrown away"
    )
    return 0 if reached(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
