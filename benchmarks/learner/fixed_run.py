"""Hashes of short runs, to check that a change leaves runs equal bit for bit.

    python -m benchmarks.learner.fixed_run [--json OUT] [--check FILE] [--root CHECKOUT] [--module NAME]
    [--short]

The benchmark clones two tiny models (ALFWorld and Search-QA) and trains with each credit method in
``METHODS`` for three updates, through the command line. Then it hashes ``metrics.jsonl``, the episodes (every
record as canonical JSON) and the final weights. ``--check`` compares with an earlier result from an equal
processor. ``--root`` and ``--module`` name another checkout and its command line, so that this file makes
the hashes before and after a change. The exit code is 1 if a hash differs.
"""

import argparse
import hashlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from safetensors.numpy import load_file

import stepopsd_envs  # noqa: F401  # registers the environments
from benchmarks.output import write_result
from stepopsd_agent.run.files import read_rows
from stepopsd_wrappers import Episode, read_episodes

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m benchmarks.learner.fixed_run"
MODEL = "--model.hidden_size=32 --model.num_layers=2 --model.num_heads=2 --model.max_positions=1024"
GAMES = "--env.tier=tiny --env.step_limit=8 --env.num_games=1 --eval.num_games=2 --rollout.max_row_tokens=512"
QUESTIONS = (
    "--env.id=stepopsd/SearchQA-v0 --env.tier=tiny --env.topk=1 --env.num_questions=2 --eval.num_questions=2 "
    "--env.response=search --rollout.max_row_tokens=1000"
)
SHARED = "--threads=1 --rollout.slots=6"
TRAINING = "--updates=3 --rollout.tasks=2 --rollout.group_size=4 --learner.lr=0.003 --checkpoint_every=2"
WARMSTARTS: Mapping[str, str] = {
    "games": f"{GAMES} {MODEL} --model.vocab_size=400 --rollout.max_tokens=12 --warmstart.demonstrations=400 "
    "--warmstart.batch_rows=4 --warmstart.lr=0.01 --warmstart.hindsight_steps=1",
    "questions": f"{QUESTIONS} {MODEL} --model.vocab_size=600 --rollout.max_tokens=40 "
    "--warmstart.demonstrations=60 --warmstart.batch_rows=4 --warmstart.lr=0.01",
}
METHODS: Mapping[str, tuple[str, str]] = {
    "step_opsd": ("games", "--hindsight.refresh=2 --hindsight.max_peer_tokens=48"),
    "gigpo": ("games", "--rollout.invalid_penalty=0.02 --rollout.max_rounds=2 --learner.mini_batches=2"),
    "sdpo": ("games", "--hindsight.position=prefix --hindsight.teacher=ema --hindsight.peer_for=all"),
    "turn_gae": ("games", "--rollout.top_p=0.95 --learner.attention=padded"),
    "vine": ("games", "--rollout.mc_rollouts=2 --learner.kl_coef=0"),
    "igpo": ("questions", "--learner.muon_lr=0.008 --learner.lr_schedule=linear"),
}
"""For each method its start model and its settings; together they exercise all parts of an update."""


def stepopsd(root: Path, module: str, arguments: str, *more: str) -> None:
    """Run one command of the checkout in ``root``."""
    path = os.pathsep.join([str(root), str(root / "wrappers")])
    command = [sys.executable, "-m", module, *arguments.split(), *more]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stderr[-2000:]}")


def hashes(run: Path) -> dict[str, str]:
    """Hashes of a run's metrics, episodes and weights."""
    records = [_canonical(episode) for episode in read_episodes(run / "episodes")]
    weights = load_file(run / "model" / "model.safetensors")
    return {
        "metrics": _sha256([(run / "metrics.jsonl").read_bytes()]),
        "episodes": _sha256([record.encode() for record in records]),
        "weights": _sha256(
            [part for name in sorted(weights) for part in (name.encode(), weights[name].tobytes())]
        ),
    }


def _canonical(episode: Episode) -> str:
    """The record as JSON with sorted keys, and with the defaults of the environment's arguments."""
    record = json.loads(episode.to_json())
    constructor = load_env_creator(str(gym.spec(record["env_spec"]["id"]).entry_point))
    defaults = {name: one.default for name, one in inspect.signature(constructor).parameters.items()}
    record["env_spec"]["kwargs"] = {**defaults, **record["env_spec"]["kwargs"]}
    return json.dumps(record, sort_keys=True)


def _sha256(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def measure(root: Path, module: str, methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """Hashes by method."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        for start in sorted({METHODS[name][0] for name in methods}):
            stepopsd(root, module, f"warmstart {SHARED} {WARMSTARTS[start]}", f"--out={made / start}")
        for name in methods:
            start, own = METHODS[name]
            section = GAMES if start == "games" else QUESTIONS
            length = "--rollout.max_tokens=12" if start == "games" else "--rollout.max_tokens=40"
            settings = f"train {SHARED} {TRAINING} {section} {length} --credit.method={name} {own}"
            # Records name their run, so the folder has the method's name.
            stepopsd(root, module, settings, f"--model.path={made / start}", f"--out={made / name}")
            rows = read_rows(made / name / "metrics.jsonl")
            if not any(row.get("update/grad_norm") for row in rows):
                raise SystemExit(f"{name}: no update had a gradient, so its hashes would show nothing")
            found[name] = hashes(made / name)
            print(
                f"{name}: " + ", ".join(f"{what} {one[:12]}" for what, one in found[name].items()), flush=True
            )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write or compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.learner.fixed_run", description="Hashes of short runs.")
    parser.add_argument("--json", type=Path, help="write the hashes here")
    parser.add_argument("--check", type=Path, help="compare with the hashes in this file")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to run (default: this one)")
    parser.add_argument("--module", default="stepopsd_agent", help="its command line, as python -m takes it")
    parser.add_argument("--short", action="store_true", help="the first method alone")
    arguments = parser.parse_args(argv)
    methods = list(METHODS)[:1] if arguments.short else list(METHODS)
    found = measure(arguments.root.resolve(), arguments.module, methods)
    if arguments.json is not None:
        commit = ["git", "-C", str(arguments.root), "rev-parse", "HEAD"]
        checkout = subprocess.run(commit, capture_output=True, text=True).stdout.strip()
        write_result(
            arguments.json, {"hashes": found, "checkout": checkout}, COMMAND + " --short" * arguments.short
        )
    if arguments.check is None:
        return 0
    before = json.loads(arguments.check.read_text(encoding="utf-8"))["hashes"]
    differing = [
        f"{name} {what}" for name in found for what in found[name] if found[name][what] != before[name][what]
    ]
    total = sum(map(len, found.values()))
    print(f"{total - len(differing)} of {total} hashes equal; differing: {differing or 'none'}")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
