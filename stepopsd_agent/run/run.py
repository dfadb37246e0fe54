"""A training run on disk: evaluations, checkpoints, rows, episodes, summary, and the way back after a kill.

Whatever is written after a checkpoint is cut off and made again when the run is continued from it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepopsd_agent.config import RunConfig, chosen_trackers, config_to_dict
from stepopsd_agent.credit import CreditMethod
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import EnvironmentDownError, describe, evaluate_policy, headline, success_table
from stepopsd_agent.rollout.engines import EngineError, opened_backend
from stepopsd_agent.run.ahead import AheadTrainer
from stepopsd_agent.run.alarms import AlarmState, stopping, update_alarms
from stepopsd_agent.run.display import Progress, progress
from stepopsd_agent.run.files.atomic import write_json_atomic
from stepopsd_agent.run.files.checkpoint import Tensors, load_checkpoint, save_checkpoint
from stepopsd_agent.run.files.curve import plot_curve
from stepopsd_agent.run.files.errors import CheckpointError
from stepopsd_agent.run.files.metrics_log import MetricsLog
from stepopsd_agent.run.files.model_folder import save_model
from stepopsd_agent.run.files.resume_point import resume_point
from stepopsd_agent.run.interruption import interruptible
from stepopsd_agent.run.planning.first_update import first_update, in_words
from stepopsd_agent.run.repetition import repetition_metrics
from stepopsd_agent.run.summary import evaluated_data, summarise
from stepopsd_agent.run.trainer import Trainer
from stepopsd_agent.run.trainer_state import restore_trainer, trainer_state, trainer_tensors
from stepopsd_agent.tasks import evaluation_sets, evaluation_total, get, side_by_side
from stepopsd_envs.user_path import typed
from stepopsd_wrappers import Episode, EpisodeWriter

ProgressShown = AbstractContextManager[Progress]
BEGINNING = {"shard": 0, "offset": 0, "episodes": 0}
"""Position of a writer that has written nothing."""
BEFORE_ANY_UPDATE = -1
"""Rows of the log are numbered from 0, the evaluation before the first update."""


class Interrupted(Exception):
    """The run was stopped before its end; the message says how to continue it."""


class Alarmed(Interrupted):
    """An alarm stopped the run."""


@dataclass
class Run:
    """A trainer with its folder.

    Attributes:
        trainer: what trains.
        out: the run folder.
        data: the games it trains on, those it is evaluated on, and the engine that plays them.
        alarms: what the alarms remember.
        evaluations: tables by the number of updates done (as text, since they go through JSON).
        spent_s: wall time of earlier sittings.
        written: the update whose row was written last.
        resumed: the checkpoint that it continues from, if any.
    """

    trainer: Trainer
    out: Path
    alarms: AlarmState = field(default_factory=AlarmState)
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    spent_s: float = 0.0
    written: int = BEFORE_ANY_UPDATE
    resumed: Path | None = None

    def __post_init__(self) -> None:
        """Continue from the newest checkpoint in the folder, or begin where no update was made yet."""
        self.began = time.perf_counter()
        self.data = {**self.trainer.data, "eval_fingerprint": evaluated_data(self.trainer.config)}
        position, rows = BEGINNING, BEFORE_ANY_UPDATE
        self.resumed = path = resume_point(self.out)
        if path is not None:
            tensors, state = load_checkpoint(path)
            self._check_same_data(state["data"])
            try:
                self.restore(tensors, state["trainer"])
            except ValueError as error:
                raise CheckpointError(f"checkpoint {path} does not fit this run: {error}") from error
            self.alarms = AlarmState.from_json(state["alarms"])
            self.evaluations, self.spent_s = state["evaluations"], state["wall_s"]
            position, rows = state["episodes"], self.trainer.update
        self.written, self._saved = rows, (rows, len(self.evaluations))
        with ExitStack() as opened:
            opened.callback(self.trainer.close)
            self.open(opened, position, rows)
            self._opened = opened.pop_all()

    def open(self, opened: ExitStack, position: dict[str, int], rows: int) -> None:
        """Open the files that updates are written to; what follows these places is cut off."""
        self.writer = EpisodeWriter(self.out / "episodes", position=position)
        opened.callback(self.writer.close)
        config = self.trainer.config
        self.log = MetricsLog(self.out, rows, chosen_trackers(config.tracking), config_to_dict(config))
        opened.callback(self.log.close)

    def restore(self, tensors: Tensors, state: dict[str, Any]) -> None:
        """Bring the trainer to a checkpoint."""
        restore_trainer(self.trainer, tensors, state)

    def progress(self, total: int | None, what: str, unit: str, done: int, at_once: int = 1) -> ProgressShown:
        """Show how far the work inside the `with` is, of which so many units run side by side."""
        return progress(total, what, unit=unit, completed=done, at_once=at_once)

    def _check_same_data(self, before: dict[str, str]) -> None:
        """Refuse to go on with other games: one curve would show two tasks."""
        for name, value in self.data.items():
            if before[name] != value:
                raise CheckpointError(
                    f"the run in {self.out} was begun with {name} {before[name]!r}, but here {value!r}: "
                    "continue it with what it was begun with, or begin a new run: stepopsd train --out FOLDER"
                )

    def close(self) -> None:
        """Close the environments and the files; whatever these hold is on disk."""
        self._opened.close()

    @property
    def wall_s(self) -> float:
        """Seconds this run has taken so far, earlier sittings included."""
        return self.spent_s + time.perf_counter() - self.began

    def evaluate(self) -> dict[str, Any]:
        """Measure success on the evaluation games."""
        trainer, config = self.trainer, self.trainer.config
        spec, slots = get(config.env.id), side_by_side(evaluation_sets(config), config.rollout.slots)
        with self.progress(evaluation_total(config), "evaluating", spec.unit, 0, slots) as inner:

            def count(episode: Episode) -> None:
                trainer.failures.note(episode)
                inner.advance()

            episodes = evaluate_policy(trainer.policy, config, on_episode=count, backend=trainer.backend)
            table = success_table(episodes, spec.measures)
            inner.say(f"update {trainer.update}: {describe(table, spec.evaluated)}")
        self.evaluations[str(trainer.update)] = table
        return headline(table)

    def checkpoint(self) -> None:
        """Write everything the run needs to go on from here, unless the newest checkpoint has it."""
        if (now := (self.trainer.update, len(self.evaluations))) == self._saved:
            return  # one for each try to go on would push out those before it
        self.writer.sync()
        state = {
            "update": self.trainer.update,
            "trainer": trainer_state(self.trainer),
            "data": self.data,
            "alarms": self.alarms.to_json(),
            "evaluations": self.evaluations,
            "wall_s": self.wall_s,
            "episodes": self.writer.position(),
        }
        self.save(state, trainer_tensors(self.trainer))
        self._saved = now

    def save(self, state: dict[str, Any], tensors: Tensors) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.out / "checkpoints", update=state["update"], tensors=tensors, state=state)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run folder."""
        write_json_atomic(self.out / name, content)

    def finish(self, method_name: str, policy: Policy) -> dict[str, Any]:
        """Write model, summary and curve; return the summary."""
        save_model(policy, self.out / "model")
        self.write("summary.json", summary := summarise(self, method_name))
        plot_curve({method_name: self.out / "metrics.jsonl"}, self.out / "curve.png")
        return summary

    def go(self, stopped: Callable[[], bool]) -> None:
        """Train to the end.

        Raises:
            Interrupted: ``stopped()`` said so, and the running update was finished; or the environment failed
                again and again. A checkpoint is there to go on from.
            Alarmed: likewise, since an alarm said so.
        """
        try:
            self._train(stopped)
        except EnvironmentDownError as error:
            self._keep_failed(error.episodes)
            raise Interrupted(f"{error} with: stepopsd train --resume {typed(self.out)}") from error

    def _keep_failed(self, episodes: Sequence[Episode]) -> None:
        """Leave a checkpoint to go on from, and behind it the failed attempts, until the run is continued."""
        if self.written == self.trainer.update:  # else an evaluation failed, and the update is made again
            self.checkpoint()
        for episode in episodes:
            # The others were written with an earlier update, or are an evaluation's.
            if episode.run and episode.update == self.trainer.update:
                self.writer.append(episode)

    def _train(self, stopped: Callable[[], bool]) -> None:
        trainer, updates = self.trainer, self.trainer.config.updates
        if not self.evaluations:  # before the bar begins, whose rate is that of updates
            self.log.write(0, {"eval": self.evaluate()})
            self.written = 0
            self.checkpoint()
        with self.progress(updates, "training", "update", trainer.update) as bar:
            self._heed_alarms()
            while trainer.update < updates and not stopped():
                note = self._update(bar)
                if trainer.update % trainer.config.checkpoint_every == 0 or trainer.update == updates:
                    self.checkpoint()
                bar.advance(note=note)
                self._heed_alarms()
            if trainer.update >= updates and str(trainer.update) not in self.evaluations:
                self.log.write(trainer.update, {"eval": self.evaluate()})  # updates was lowered meanwhile
            self.checkpoint()
            if trainer.update < updates:
                raise Interrupted(
                    f"stopped after update {trainer.update} of {updates}; nothing is lost. Continue with: "
                    f"stepopsd train --resume {typed(self.out)}"
                )

    def _heed_alarms(self) -> None:
        """Stop where an alarm asks for it, with a checkpoint."""
        alarm = stopping(self.alarms, self.trainer.config.alarms)
        if alarm is None:
            return
        self.checkpoint()
        raise Alarmed(
            f"stopped after update {alarm.update} by an alarm, {alarm}. To go on all the same, change "
            f"alarms.{alarm.name} in {self.out}/config.yaml, then: stepopsd train --resume {typed(self.out)}"
        )

    def _update(self, bar: Progress) -> str:
        """One update with its records and its row; returns how it went in a few words."""
        trainer, config = self.trainer, self.trainer.config
        episodes, metrics, seconds = trainer.step()
        row: dict[str, Any] = {**metrics, **repetition_metrics(episodes)}
        if trainer.update == 1:
            self.write("plan.json", compared := first_update(trainer, episodes, seconds))
            bar.say(in_words(compared))
        for episode in episodes:
            self.writer.append(episode)
        self.alarms = update_alarms(self.alarms, row, trainer.update, config.alarms)
        trainer.factor = self.alarms.factor
        raised = [alarm for alarm in self.alarms.raised if alarm.update == trainer.update]
        for alarm in raised:
            bar.say(f"update {trainer.update}: alarm, {alarm}")
        if raised:
            row["alarms"] = [str(alarm) for alarm in raised]
        due = config.eval.every and trainer.update % config.eval.every == 0
        last = trainer.update == config.updates or any(alarm.do == "stop" for alarm in raised)
        if due or last:
            row["eval"] = self.evaluate()
        self.log.write(trainer.update, row, seconds)
        self.written = trainer.update
        return f"success {metrics['train/success']:.0%}"


def run_training(
    config: RunConfig, method_name: str, method: CreditMethod, policy: Policy, out: Path,
    trainer: Callable[..., Trainer] = Trainer, kind: type[Run] = Run,
) -> dict[str, Any]:  # fmt: skip
    """Train to ``config.updates``, continuing from the newest checkpoint in ``out`` if there is one.

    Other kinds of trainer and run share the work with further processes, see `run.parallel`.

    Returns:
        The summary, which is also written to ``out/summary.json``, beside ``curve.png`` and the trained
        ``model/``.

    Raises:
        Interrupted: after Ctrl-C, once the running update is finished and a checkpoint is written.
        Alarmed: an alarm stopped the run; the summary and the model of then are written.
        EngineError: what plays is gone or cannot do what was asked; the newest checkpoint is there.
    """
    try:
        with interruptible() as stopped, ExitStack() as opened, opened_backend(config.rollout) as backend:
            made = AheadTrainer if config.rollout.ahead else trainer
            run = kind(made(config, method, policy, run=out.name, backend=backend), out)
            opened.callback(run.close)
            alarm = None
            try:
                run.go(stopped)
            except Alarmed as error:
                alarm = error
        summary = run.finish(method_name, policy)
        if alarm is not None:
            raise alarm
    except EngineError as error:
        raise EngineError(f"{error}; then continue with: stepopsd train --resume {typed(out)}") from error
    except KeyboardInterrupt as error:  # the second Ctrl-C, or one after the last update
        raise Interrupted(
            f"stopped at once; what came after the last checkpoint is made again by: "
            f"stepopsd train --resume {typed(out)}"
        ) from error
    return summary
