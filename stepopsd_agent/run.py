"""A training run on disk: evaluations, checkpoints, metrics, episodes, summary, and the way back in after a kill."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from stepopsd_agent.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from stepopsd_agent.config import RunConfig
from stepopsd_agent.credit.base import CreditMethod
from stepopsd_agent.curve import plot_curve
from stepopsd_agent.evaluate import evaluate_policy, success_table
from stepopsd_agent.facts import environment_facts
from stepopsd_agent.files import write_json_atomic
from stepopsd_agent.metrics import MetricsLog
from stepopsd_agent.policy import Policy
from stepopsd_agent.progress import Progress, progress
from stepopsd_agent.prompts import make_format
from stepopsd_agent.train import Trainer
from stepopsd_wrappers import EpisodeWriter


class Interrupted(Exception):
    """Ctrl-C came; the run stands in its last checkpoint."""


@dataclass
class Run:
    """A trainer with its folder.

    Attributes:
        trainer: what trains.
        out: the run folder.
        evaluations: tables by the number of updates done (as text, since they go through JSON).
        spent_s: wall time of earlier sittings.
    """

    trainer: Trainer
    out: Path
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    spent_s: float = 0.0

    def __post_init__(self) -> None:
        """Continue from the newest checkpoint in the folder, if there is one, and cut off what was written after it."""
        self.began = time.perf_counter()
        path = latest_checkpoint(self.out / "checkpoints")
        position = {"shard": 0, "offset": 0}
        if path is not None:
            tensors, state = load_checkpoint(path)
            self.trainer.restore(tensors, state["trainer"])
            self.evaluations, self.spent_s, position = (
                state["evaluations"],
                state["wall_s"],
                state["episodes"],
            )
        self.writer = EpisodeWriter(self.out / "episodes", position=position)
        self.log = MetricsLog(self.out, resume_at=None if path is None else self.trainer.update)

    @property
    def wall_s(self) -> float:
        """Seconds this run has taken so far, earlier sittings included."""
        return self.spent_s + time.perf_counter() - self.began

    def evaluate(self, bar: Progress) -> dict[str, Any]:
        """Measure success on the evaluation games."""
        trainer = self.trainer
        table = success_table(
            evaluate_policy(trainer.policy, trainer.form, trainer.config, run=self.out.name)
        )
        self.evaluations[str(trainer.update)] = table
        bar.say(f"update {trainer.update}: success {table['success']:.1%} of {table['n']} held-out games")
        return {k: table[k] for k in ("success", "n", "ci95")}

    def checkpoint(self) -> None:
        """Write everything the run needs to go on from here."""
        self.writer.sync()
        state = {
            "update": self.trainer.update,
            "trainer": self.trainer.state(),
            "evaluations": self.evaluations,
            "wall_s": self.wall_s,
            "episodes": self.writer.position(),
        }
        save_checkpoint(self.out / "checkpoints", tensors=self.trainer.tensors(), state=state)

    def go(self, stopped: Callable[[], bool]) -> None:
        """Train to the end.

        Raises:
            Interrupted: ``stopped()`` said so; the running update was finished and a checkpoint written.
        """
        trainer, config = self.trainer, self.trainer.config
        with progress(config.updates, "training", unit="update") as bar:
            bar.advance(trainer.update)
            if not self.evaluations:
                self.log.write(0, {"eval": self.evaluate(bar)})
                self.checkpoint()
            while trainer.update < config.updates:
                episodes, metrics, seconds = trainer.step()
                for episode in episodes:
                    self.writer.append(episode)
                last = trainer.update == config.updates
                if last or (config.eval.every and trainer.update % config.eval.every == 0):
                    metrics["eval"] = self.evaluate(bar)
                self.log.write(trainer.update, metrics, seconds)
                bar.advance(note=f"success {metrics['train/success']:.0%}")
                if last or stopped() or trainer.update % config.checkpoint_every == 0:
                    self.checkpoint()
                if stopped() and not last:
                    raise Interrupted(
                        f"stopped after update {trainer.update} of {config.updates}; everything is kept. "
                        f"Continue with: stepopsd train --resume {self.out}"
                    )


def run_training(
    config: RunConfig, method_name: str, method: CreditMethod, policy: Policy, out: Path
) -> dict[str, Any]:
    """Train to ``config.updates``, continuing from the newest checkpoint in ``out`` if there is one.

    Returns:
        The summary, which is also written to ``out/summary.json``, beside ``curve.png`` and the trained ``model/``.

    Raises:
        Interrupted: after Ctrl-C, once the running update is finished and a checkpoint is written.
    """
    form = make_format(policy, config.model.chat, config.model.system, config.model.enable_thinking)
    run = Run(Trainer(config, method, policy, form, run=out.name), out)
    with interruptible() as stopped:
        run.go(stopped)
    run.log.close()
    run.writer.close()
    policy.save(out / "model")
    summary = summarise(run, method_name)
    write_json_atomic(out / "summary.json", summary)
    plot_curve({method_name: out / "metrics.jsonl"}, out / "curve.png")
    return summary


def summarise(run: Run, method_name: str) -> dict[str, Any]:
    """What the run was and what came of it."""
    order = sorted(run.evaluations, key=int)
    first, last = run.evaluations[order[0]], run.evaluations[order[-1]]
    counters = vars(run.trainer.counters)
    return {
        "schema": "stepopsd.summary/1",
        "method": method_name,
        "seed": run.trainer.config.seed,
        "updates": run.trainer.update,
        "start": {k: first[k] for k in ("success", "n", "ci95")},
        "final": {k: last[k] for k in ("success", "n", "ci95")},
        "by_task_type": {"start": first["by_task_type"], "final": last["by_task_type"]},
        "env_steps": counters["env_steps"],
        "errors": counters["errors"],
        "tokens": {k: counters[k] for k in ("generated", "scored", "trained", "wasted")},
        "wall_s": round(run.wall_s, 1),
        "fingerprint": run.trainer.fingerprint,
        **environment_facts(),
    }


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let the running update finish on the first Ctrl-C; the second one stops at once."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
