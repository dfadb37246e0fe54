"""Endurance: memory must not grow in a long run, and killed and resumed runs must equal an uninterrupted one.

    python -m benchmarks.learner.endurance [--json OUT] [--short]

Part one trains a tiny model for 200 updates on generated games and measures the memory of the process after
every update. Part two trains a run to its end, and then the same run with SIGKILL at random times and a
resume after each, repeated until there were 20 kills. Metrics, episodes, weights, checkpoint and summary
(except wall time) must be equal bit for bit. The exit code is 1 if memory grew by more than 32 MiB from the
second to the last quarter, or if anything differs.
"""

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.output import write_result
from benchmarks.runs.demo_episodes import demo_policy
from stepopsd_agent import credit
from stepopsd_agent.cli.main import main as stepopsd
from stepopsd_agent.config import RunConfig, config_from_dict, config_to_dict
from stepopsd_agent.run import Run, Trainer
from stepopsd_agent.run.files import latest_checkpoint, load_checkpoint, read_rows

COMMAND = "python -m benchmarks.learner.endurance"
GROWTH_MIB = 32.0
LONGEST = 0.5
"""Longest time until a kill, as a share of the duration of the run; some kills hit the last updates."""
# Rewards and penalties differ between lost episodes: unless the weights move, comparing them shows nothing.
SETTINGS: dict[str, Any] = {
    "threads": 1,
    "env": {"tier": "tiny", "step_limit": 10, "reward": "goal_conditions"},
    "model": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "head_dim": 16, "vocab_size": 512},
    "rollout": {
        "tasks": 4,
        "group_size": 4,
        "slots": 8,
        "max_tokens": 12,
        "max_row_tokens": 768,
        "invalid_penalty": 0.05,
    },
    "hindsight": {"max_peer_tokens": 48, "refresh": 3},
    "learner": {"lr": 1e-3},
    "eval": {"num_games": 4},
    "warmstart": {"batch_rows": 4, "lr": 1e-2, "hindsight_steps": 1},
}


def settings(**more: Any) -> RunConfig:
    """`SETTINGS` with additional ones."""
    return config_from_dict({**SETTINGS, **more})


def resident_mib() -> float:
    """Resident memory of this process after a garbage collection, in MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(updates: int, demonstrations: int, folder: Path) -> dict[str, Any]:
    """Train, and return figures of the memory over time."""
    config = settings(updates=updates, checkpoint_every=10)
    policy = demo_policy(config, demonstrations)
    run = Run(Trainer(config, credit.make("step_opsd"), policy, run="endurance"), folder)
    seen: list[float] = []

    def note() -> bool:
        seen.append(resident_mib())
        return False

    run.go(note)
    run.close()
    seen.append(resident_mib())
    quarter = max(1, updates // 4)
    second, last = seen[quarter : 2 * quarter], seen[-quarter:]
    return {
        "updates": updates,
        "episodes": updates * config.rollout.tasks * config.rollout.group_size,
        "begin_mib": round(seen[0], 1),
        "second_quarter_mib": round(sum(second) / len(second), 1),
        "last_quarter_mib": round(sum(last) / len(last), 1),
        "growth_mib": round(sum(last) / len(last) - sum(second) / len(second), 1),
    }


def content(out: Path) -> dict[str, str]:
    """Hashes of all parts of a finished run that do not depend on time."""
    files = [
        out / "metrics.jsonl",
        out / "model" / "model.safetensors",
        *sorted((out / "episodes").iterdir()),
    ]
    path = latest_checkpoint(out / "checkpoints")
    assert path is not None  # a finished run has one
    tensors, state = load_checkpoint(path)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    parts = {str(file.relative_to(out)): file.read_bytes() for file in files}
    for group, columns in tensors.items():
        for name, tensor in columns.items():
            parts[f"{group}/{name}"] = tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
    for name, values in (("state", state), ("summary", summary)):
        kept = {key: value for key, value in values.items() if key != "wall_s"}
        parts[name] = json.dumps(kept, sort_keys=True).encode()
    return {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}


def sitting(arguments: Sequence[str], kill_after: float | None = None) -> int:
    """Run a command in a new process, kill it after `kill_after` seconds, and return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stepopsd_agent.cli.main", "stepopsd_agent.run.run"])
    process = context.Process(target=_sit, args=(list(arguments),))
    process.start()
    process.join(kill_after)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode is not None  # it was joined
    return process.exitcode


def _sit(arguments: list[str]) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # until the process ends
    raise SystemExit(stepopsd(arguments))


def kills(count: int, updates: int, demonstrations: int, folder: Path) -> dict[str, Any]:
    """Compare an uninterrupted run with runs that are killed and resumed repeatedly."""
    config = settings(updates=updates, checkpoint_every=2)
    policy = demo_policy(config, demonstrations)
    policy.save(folder / "model")
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config_to_dict(config)), encoding="utf-8")
    begin = ["train", "--config", str(file), "--model.path", str(folder / "model"), "--out"]
    whole, killed = folder / "run-whole" / "run", folder / "run-killed" / "run"
    began = time.perf_counter()
    if sitting([*begin, str(whole)]):
        raise RuntimeError("the uninterrupted run failed")
    duration = time.perf_counter() - began
    rng, moments, differing = random.Random(0), list[int](), set[str]()
    expected, parts = content(whole), 0
    while len(moments) < count:  # a run may end before it was killed often enough: then start another
        killed = folder / f"run-killed-{parts}" / "run"
        delays = [rng.uniform(0, LONGEST * duration) for _ in range(count - len(moments))]
        moments += interrupted([*begin, str(killed)], killed, delays)
        found, parts = content(killed), parts + 1
        differing |= {
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        }
    return {
        "updates": updates,
        "kills": len(moments),
        "runs": parts,
        "rows_at_kills": moments,
        "differing": sorted(differing),
        "moved": _moved(whole),
    }


def interrupted(begin: Sequence[str], out: Path, delays: Sequence[float]) -> list[int]:
    """Kill and resume a run after each delay, then finish it; return the number of rows at each kill."""
    moments = list[int]()
    for delay in delays:
        if sitting(_go_on(begin, out), delay) == 0:
            return moments
        moments.append(_updates_done(out))
    if (code := sitting(_go_on(begin, out))) != 0:
        raise RuntimeError(f"the killed run could not be resumed: exit code {code}")
    return moments


def _go_on(begin: Sequence[str], out: Path) -> list[str]:
    """The command that starts a run, or resumes it if it exists."""
    return ["train", "--resume", str(out)] if (out / "config.yaml").exists() else list(begin)


def _moved(out: Path) -> float:
    """The largest change of a weight; if it is 0, equal weights show nothing."""
    path = latest_checkpoint(out / "checkpoints")
    assert path is not None  # a finished run has one
    tensors, _ = load_checkpoint(path)
    return max(float((w - tensors["initial"][name]).abs().max()) for name, w in tensors["model"].items())


def _updates_done(out: Path) -> int:
    """The number of rows that a killed run has written."""
    path = out / "metrics.jsonl"
    return len(read_rows(path)) if path.exists() else 0


def measure(short: bool) -> dict[str, Any]:
    """Both parts."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        return {
            "memory": memory(12 if short else 200, 40 if short else 300, folder / "memory"),
            "killed": kills(4 if short else 20, 6 if short else 40, 40 if short else 300, folder),
        }


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Memory over many updates; kill -9 and resume."
    )
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--short", action="store_true", help="few updates and kills, less than a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(arguments.short)
    if arguments.json:
        write_result(arguments.json, figures, COMMAND + " --short" * arguments.short)
    grown, killed = figures["memory"], figures["killed"]
    print(
        f"{grown['updates']} updates, {grown['episodes']} episodes: {grown['growth_mib']} MiB more in the "
        f"last quarter than in the second ({grown['last_quarter_mib']} MiB); killed {killed['kills']} "
        f"times after {killed['rows_at_kills']} rows: {len(killed['differing'])} differences "
        f"{killed['differing'][:5]}, weights moved by {killed['moved']:.1e}"
    )
    sound = killed["kills"] > 0 and killed["moved"] > 0 and not killed["differing"]
    return 0 if grown["growth_mib"] <= GROWTH_MIB and sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
