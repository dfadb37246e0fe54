"""Credit accuracy on recorded episodes of any agent: which methods rank the right steps, and at what cost.

The truth is in the records (the optimal distance, or the gold passages seen), or is found by playing their
commands again. Episodes without tokens are given some as in `scored_records`.
"""

import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from stepopsd_agent.accuracy import Entry, Judged, about, controls, judged, progress, row, split, step_credit
from stepopsd_agent.batch import AuditError, Batch, collate, column_fields
from stepopsd_agent.config import RunConfig
from stepopsd_agent.credit import CreditMethod, MissingColumnError
from stepopsd_agent.learner import TaskHistory, check_recorded, fill, recorded_columns
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.run.scored_records import (
    IN_TRAINING,
    Grouping,
    envs_to_ask,
    grouped,
    played_task,
    with_some_tokens,
)
from stepopsd_wrappers import Episode


@dataclass
class _Records:
    """Batches of records with the columns filled so far, and what each took in tokens and seconds."""

    config: RunConfig
    policy: Policy | None
    parts: list[list[Episode]]
    batches: list[Batch]
    costs: dict[str, tuple[int, float]] = field(default_factory=dict)

    def prepare(self, needs: Collection[str]) -> None:
        """Fill the columns that are needed and not there."""
        for batch in self.batches:
            check_recorded(batch, needs)
        filled = {name for name, spec in column_fields().items() if "filled" in spec.metadata}
        for name in sorted(filled.intersection(needs) - set(self.costs)):
            if name == "teacher_logprobs":
                self._fill_gap()
            else:
                self.fill({name}, name)

    def _fill_gap(self) -> None:
        """Fill teacher and student in the same passes: elsewhere their gap would be rounding, too.

        The student has been paid for already.
        """
        tokens, seconds = self.costs.get("student_logprobs", (0, 0.0))
        self.fill({"student_logprobs", "teacher_logprobs"}, "teacher_logprobs", rescore_old=True)
        both, took = self.costs["teacher_logprobs"]
        self.costs["teacher_logprobs"] = both - tokens, max(0.0, took - seconds)

    def fill(self, columns: Collection[str], name: str, rescore_old: bool = False) -> None:
        """Fill columns and note the cost under a name."""
        began, tokens = time.process_time(), 0
        if self.policy is None or recorded_columns().issuperset(columns):
            self._fill_recorded(columns)
        else:
            scorer = Scorer(
                self.policy,
                tokens_per_pass=self.config.learner.tokens_per_micro_batch,
                temperature=self.config.rollout.temperature,
                attention=self.config.learner.attention,
            )
            envs = envs_to_ask(self.parts[0], self.config, columns)
            self.batches = [
                fill(
                    batch.to(self.policy.device),
                    part,
                    columns,
                    self.policy,
                    scorer=scorer,
                    hindsight=self.config.hindsight,
                    envs=envs,
                    rescore_old=rescore_old,
                ).to("cpu")
                for batch, part in zip(self.batches, self.parts, strict=True)
            ]
            tokens = scorer.budget.take()
        self.costs[name] = tokens, time.process_time() - began

    def _fill_recorded(self, columns: Collection[str]) -> None:
        """Fill columns without a model; the batches before are the history, as in training."""
        history = TaskHistory(columns) if "lifted_distance" in columns else None
        for place, part in enumerate(self.parts):
            self.batches[place] = fill(self.batches[place], part, columns, None, history=history)
            if history is not None:
                history.add(self.batches[place], part)


def compare_records(
    episodes: Sequence[Episode],
    config: RunConfig,
    methods: Sequence[Entry],
    policy: Policy | None,
    by: Grouping = "recorded",
    judging: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """The rows of methods and controls on recorded episodes, as JSON.

    Credit is computed in batches of `rollout.tasks` groups, as in training. Intervals are from a bootstrap
    over tasks: attempts at one task in several updates belong together.

    Args:
        episodes: without errors, whose steps tell how far the goal is.
        config: its sections env, rollout, hindsight and learner.
        methods: to judge.
        policy: the student and, reading hindsight, the teacher; None leaves out the methods that need them.
        by: which attempts are compared, see `grouped`.
        judging: told the name of every method when its turn comes.

    Returns:
        Counts, the rows of `controls` and `methods`, and under `left_out` the reason by method: what it needs
        and cannot have here, or the error that it met.

    Raises:
        ValueError: some episodes have tokens and others have none, or the records do not tell the distance.
    """
    records = _records(with_some_tokens(episodes, config, policy), config, policy, by)
    together = [episode for part in records.parts for episode in part]
    truth = judged(together, [])
    groups, numbers = truth.tasks, dict[tuple[str, str, str], int]()
    tasks = [numbers.setdefault(played_task(episode), len(numbers)) for episode in together]
    truth = replace(truth, tasks=tasks)
    rows, left_out = dict[str, Any](), dict[str, str]()
    for entry in methods:
        judging(entry.name)
        try:
            rows[entry.name] = _row(records, entry.make(), truth)
        except (MissingColumnError, _MethodError) as error:
            left_out[entry.name] = str(error)
    alone = sum(int((batch.episodes.group_of_episode.bincount() == 1).sum()) for batch in records.batches)
    return {
        **about(truth, groups),
        "tasks": len(numbers),
        "alone": alone,
        "controls": controls(records.batches, truth, together),
        "methods": rows,
        "left_out": left_out,
    }


def _records(episodes: Sequence[Episode], config: RunConfig, policy: Policy | None, by: Grouping) -> _Records:
    """The episodes in batches, every group with a number of its own."""
    parts, count = list[list[Episode]](), 0
    for update in grouped(episodes, by):
        numbers = dict[int, int]()
        batches = dict[int, list[Episode]]()
        for episode in update:
            place = numbers.setdefault(episode.group, len(numbers))
            renumbered = replace(episode, group=count + place)
            batches.setdefault(place // config.rollout.tasks, []).append(renumbered)
        count += len(numbers)
        parts += batches.values()
    batches_of = [
        collate(
            part,
            **config.rollout.of_batch(),
        )
        for part in parts
    ]
    records = _Records(config, policy, parts, batches_of)
    if policy is not None:
        records.fill({"student_logprobs"}, "student_logprobs", rescore_old=True)
    return records


def _row(records: _Records, method: CreditMethod, truth: Judged) -> dict[str, Any]:
    """The figures of one method.

    Raises:
        MissingColumnError: it needs what neither the records nor the model tell.
        _MethodError: it met an error, or its credit does not fit the batch.
    """
    needs = method.needs
    if of_a_run := sorted(needs & IN_TRAINING):
        raise MissingColumnError(f"needs {', '.join(of_a_run)}, which only a run can compute")
    if records.policy is None and (of_a_model := sorted(needs - recorded_columns())):
        raise MissingColumnError(f"needs {', '.join(of_a_model)} of a model: give --model.path")
    records.prepare(needs)
    began = time.process_time()
    try:
        per_step = [step_credit(batch, method(batch)) for batch in records.batches]
    except Exception as error:  # somebody's file: the other methods are judged all the same
        raise _MethodError(_told(error)) from error
    seconds = time.process_time() - began
    costs = [records.costs[name] for name in needs if name in records.costs]
    return row(
        split(records.batches, per_step),
        truth,
        sum(tokens for tokens, _ in costs),
        seconds + sum(spent for _, spent in costs),
    )


class _MethodError(Exception):
    """A method met an error."""


def _told(error: Exception) -> str:
    """An error with the line that it comes from; faults of the credit say all by themselves."""
    if isinstance(error, AuditError):
        return "; ".join(error.problems)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"


def with_distances(episodes: Sequence[Episode], replayed: Callable[[], None]) -> list[Episode]:
    """The episodes, with the optimal distance of every step where the records lack it.

    It comes from playing their commands again, in environments made with `oracle=True`.

    Args:
        episodes: those that lack it were played in environments that take `oracle`.
        replayed: called after each episode that was played again (progress bars).

    Raises:
        ValueError: an environment answers otherwise than in the record.
    """
    envs, measured = dict[str, gym.Env[str, str]](), list[Episode]()
    with ExitStack() as opened:
        for episode in episodes:
            if tells_progress(episode):
                measured.append(episode)
                continue
            spec = episode.env_spec
            if str(spec) not in envs:
                arguments = {**spec["kwargs"], "oracle": True}
                made = gym.make(spec["id"], disable_env_checker=True, **arguments)
                envs[str(spec)] = opened.enter_context(closing(made))
            measured.append(_replayed(episode, envs[str(spec)]))
            replayed()
    return measured


def _replayed(episode: Episode, env: gym.Env[str, str]) -> Episode:
    """The record with the optimal distance of every step; `env` is like the one that played it."""
    task = {env.get_wrapper_attr("task_option"): episode.task_id}
    same = env.get_wrapper_attr("fingerprint") == episode.fingerprint
    steps = []
    for index, step in enumerate(episode.steps):
        if index == 0:
            observation, info = env.reset(seed=episode.seed, options=task)
        else:
            observation, _, _, _, info = env.step(step.action)
        if not same or observation != step.observation:
            raise ValueError(
                f"{episode.task_id} does not replay as it was recorded, so its distances are unknown; "
                "stepopsd replay FOLDER tells where it differs"
            )
        steps.append(replace(step, info={**step.info, "optimal_distance": info["optimal_distance"]}))
    return replace(episode, steps=tuple(steps))


def tells_progress(episode: Episode) -> bool:
    """Whether the record says how far the goal is."""
    return progress(episode) is not None
