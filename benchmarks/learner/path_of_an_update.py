"""Which files of the project one update of the trainer runs through, measured by tracing.

    python -m benchmarks.learner.path_of_an_update [--method NAME] [--json OUT] [--most 35]

clones a tiny policy on one generated game and trains it until an update has a gradient, from a group with
successes and failures: that update is the one reported. Counted are the files of `stepopsd_agent` and
`stepopsd_wrappers`; the environment's own engine stays out. Exit code 1: more files than ``--most``, or no
such update.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from benchmarks.output import write_result
from stepopsd_agent import credit
from stepopsd_agent.config import ModelConfig, WarmstartConfig, config_from_dict
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.learner import clone, examples
from stepopsd_agent.models import tiny_policy
from stepopsd_agent.rollout import demonstrate, pieces
from stepopsd_agent.run import Trainer
from stepopsd_agent.tasks import make_stack, task_ids

UPDATES = 30
"""Tried at most."""
ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m benchmarks.learner.path_of_an_update"
COUNTED = (ROOT / "stepopsd_agent", ROOT / "wrappers" / "stepopsd_wrappers")
SETTINGS: dict[str, Any] = {
    "threads": 1,
    "env": {"tier": "tiny", "step_limit": 8, "num_games": 1},
    "rollout": {"tasks": 2, "group_size": 4, "slots": 8, "max_tokens": 12, "max_row_tokens": 512},
    "hindsight": {"max_peer_tokens": 48},
}
"""The published settings otherwise: a stale teacher, the outcome and a peer inline, a KL term."""


def make_trainer(method: str) -> Trainer:
    """A trainer of a tiny policy that wins its game now and then."""
    config = config_from_dict(SETTINGS)
    env = make_stack(config.env)
    demonstrations = demonstrate(env, list(task_ids(env))[:1] * 400, 0.1, 0)
    model = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, vocab_size=400, max_positions=1024)
    policy = tiny_policy(pieces(demonstrations) + hindsight_words() * 10, model, "cpu", seed=0)
    cloning, rng = WarmstartConfig(batch_rows=4, lr=1e-2, hindsight_steps=1), np.random.default_rng(0)
    data = [e for d in demonstrations for e in examples(d, policy, cloning, config.hindsight, rng)]
    clone(policy, data, cloning, seed=0)
    return Trainer(config, credit.make(method), policy)


def traced(trainer: Trainer) -> tuple[dict[Path, set[str]], float]:
    """The functions of each counted file that one `Trainer.step` calls, and the norm of its gradient."""
    called: dict[Path, set[str]] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and any(root in path.parents for root in COUNTED):
            called.setdefault(path, set()).add(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        metrics = trainer.step()[1]
    finally:
        sys.setprofile(None)
    return called, metrics.get("update/grad_norm", 0.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Trace, print, write; the exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.learner.path_of_an_update", description="Files of an update."
    )
    parser.add_argument("--method", default="step_opsd", choices=credit.names(), help="credit method")
    parser.add_argument("--most", type=int, default=35, help="files allowed")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args(argv)
    trainer = make_trainer(arguments.method)
    for _ in range(UPDATES):
        called, grad_norm = traced(trainer)
        if grad_norm > 1e-3:
            break
    else:
        print(f"none of {UPDATES} updates had a gradient: their path would show nothing", file=sys.stderr)
        return 1
    files = {str(path.relative_to(ROOT)): len(names) for path, names in sorted(called.items())}
    for name, count in files.items():
        print(f"{count:4d} functions  {name}")
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in called)
    figures = {
        "method": arguments.method,
        "files": len(files),
        "functions": sum(files.values()),
        "lines": lines,
        "grad_norm": grad_norm,
    }
    counts = f"{len(files)} files (at most {arguments.most}), {figures['functions']} functions, {lines} lines"
    print(f"{counts}; norm of the gradient {grad_norm:.3g}")
    if arguments.json is not None:
        write_result(arguments.json, {**figures, "by_file": files}, COMMAND)
    return int(len(files) > arguments.most)


if __name__ == "__main__":
    raise SystemExit(main())
