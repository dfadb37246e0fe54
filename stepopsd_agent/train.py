"""The training run: roll out, score in hindsight, assign credit, update, write down.

Everything random is keyed by (seed, update, ...) rather than drawn from a running generator, so a run
continued from a checkpoint goes exactly where an uninterrupted one would have gone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stepopsd_agent import schedules
from stepopsd_agent.audit import audit, audit_credit
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.checkpoint import load_optimizer, optimizer_tensors
from stepopsd_agent.config import RunConfig
from stepopsd_agent.credit.base import Credit, CreditMethod, scaled
from stepopsd_agent.environments import environment, response_format
from stepopsd_agent.failures import Failures
from stepopsd_agent.hindsight import hindsight_blocks
from stepopsd_agent.learner import Learner
from stepopsd_agent.policy import Policy
from stepopsd_agent.prompts import PromptFormat
from stepopsd_agent.rescore import plain_logprobs, teacher_logprobs
from stepopsd_agent.rollout import Sampling, rollout
from stepopsd_agent.shaping import penalise_invalid
from stepopsd_agent.stacks import data_facts, make_stack, task_ids, training_tasks
from stepopsd_wrappers import Episode


@dataclass
class Counters:
    """What a run has consumed; goes into the summary.

    Attributes:
        env_steps: environment interactions.
        generated: tokens sampled.
        scored: tokens processed by teacher, reference and old-policy passes.
        trained: tokens processed by the update.
        wasted: tokens sampled in groups that were left out because of an error.
        errors: episodes that ended in an error.
    """

    env_steps: int = 0
    generated: int = 0
    scored: int = 0
    trained: int = 0
    wasted: int = 0
    errors: int = 0


@dataclass
class Trainer:
    """State of a run between two updates.

    Attributes:
        config: the run's settings.
        method: credit method.
        policy: the weights being trained.
        form: prompt format.
        update: number of the next update.
        failures: of the environments, in a row.
        initial: weights at the start: KL anchor and ``teacher=initial``.
        teacher: the stale teacher's weights.
    """

    config: RunConfig
    method: CreditMethod
    policy: Policy
    form: PromptFormat
    run: str = ""
    update: int = 0
    counters: Counters = field(default_factory=Counters)
    failures: Failures = field(default_factory=Failures)

    def __post_init__(self) -> None:
        """Take the initial weights as reference and first teacher, and open the environments."""
        self.initial = self.policy.state()
        self.teacher = self.initial
        self.learner = Learner(self.policy, self.config.learner)
        self.envs = [make_stack(self.config.env) for _ in range(self.config.rollout.slots)]
        self.tasks = task_ids(self.envs[0])

    @property
    def data(self) -> dict[str, str]:
        """Fingerprint of the training games, and the engine that plays them."""
        return data_facts(self.envs[0])

    def step(self) -> tuple[list[Episode], dict[str, float], dict[str, float]]:
        """One update: returns the episodes, the metrics (no clock) and the seconds each part took.

        Raises:
            EnvironmentDownError: the environments failed again and again; the update was not made.
        """
        clock = Clock()
        if self.update % self.config.hindsight.refresh == 0:
            self.teacher = self.policy.state()
        episodes = self.collect()
        clock.lap("rollout_s")
        metrics = episode_metrics(episodes, environment(self.config.env.id).measures)
        sound = whole_groups(episodes)
        if sound:
            batch, scored = self.score(sound)
            clock.lap("score_s")
            credit = self.assign(batch)
            metrics.update({f"credit/{k}": v for k, v in credit.metrics.items()})
            metrics["credit/schedule"] = self.schedule
            learned = self.learner.update(batch, credit, temperature=self.config.rollout.temperature)
            metrics.update({f"update/{k}": v for k, v in learned.items()})
            self._count_batch(batch, scored)
            clock.lap("update_s")
        self._count_episodes(episodes, sound)
        self.update += 1
        return episodes, metrics, clock.laps

    def collect(self) -> list[Episode]:
        """Play this update's groups."""
        c = self.config
        tasks = training_tasks(self.tasks, c.seed, self.update, c.rollout.tasks, c.rollout.group_size)
        sampling = Sampling(
            seed=f"{c.seed}/{self.update}",
            temperature=c.rollout.temperature,
            max_tokens=c.rollout.max_tokens,
            max_row_tokens=min(c.rollout.max_row_tokens, self.policy.max_positions),
            response=response_format(c.env),
        )
        return rollout(
            self.policy,
            self.form,
            self.envs,
            tasks,
            sampling,
            run=self.run,
            update=self.update,
            on_episode=self.failures.note,
        )

    def score(self, episodes: Sequence[Episode]) -> tuple[Batch, int]:
        """Records to an audited batch with the log-prob columns this update needs, and the passes made."""
        c = self.config
        batch = collate(episodes, pad_id=self.policy.pad_id).to(self.policy.device)
        audit(batch)
        batch = penalise_invalid(batch, c.rollout.invalid_penalty)
        budget, temperature, passes = c.learner.tokens_per_micro_batch, c.rollout.temperature, 0

        def plain() -> Tensor:
            return plain_logprobs(self.policy, batch, tokens_per_pass=budget, temperature=temperature)

        if c.learner.rescore_old:
            batch = batch.with_tokens(old_logprobs=plain())
            passes += 1
        if "student_logprobs" in self.needs:  # before the update the student is the policy that sampled
            batch = batch.with_tokens(student_logprobs=batch.tokens.old_logprobs)
        if "teacher_logprobs" in self.needs:
            blocks = hindsight_blocks(self.policy, c.hindsight, episodes)
            with self.policy.weights(self.teacher_weights()):
                teacher = teacher_logprobs(
                    self.policy,
                    batch,
                    blocks,
                    c.hindsight.position,
                    tokens_per_pass=budget,
                    temperature=temperature,
                )
            batch = batch.with_tokens(teacher_logprobs=teacher)
            passes += 1
        if c.learner.kl_coef:
            with self.policy.weights(self.initial):
                batch = batch.with_tokens(ref_logprobs=plain())
            passes += 1
        return batch, passes

    def teacher_weights(self) -> dict[str, Tensor]:
        """The weights the hindsight teacher scores with."""
        if self.config.hindsight.teacher == "live":
            return self.policy.state()
        return self.teacher if self.config.hindsight.teacher == "stale" else self.initial

    @property
    def schedule(self) -> float:
        """Factor of the scheduled fields at this update."""
        if self.config.schedule.kind == "linear":
            return schedules.linear(self.update, self.config.schedule.decay_updates)
        return schedules.constant(self.update)

    @property
    def needs(self) -> frozenset[str]:
        """Columns the credit method reads at this update: none once its schedule has ended."""
        return frozenset() if self.method.scheduled and self.schedule == 0 else self.method.needs

    def assign(self, batch: Batch) -> Credit:
        """Run the credit method with its scheduled fields as of this update."""
        credit = scaled(self.method, self.schedule)(batch)
        audit_credit(batch, credit)
        return credit

    def _count_batch(self, batch: Batch, passes: int) -> None:
        real = int(batch.tokens.attention_mask.sum())
        self.counters.scored += passes * real
        self.counters.trained += real

    def _count_episodes(self, episodes: Sequence[Episode], sound: Sequence[Episode]) -> None:
        self.counters.generated += sampled_tokens(episodes)
        self.counters.wasted += sampled_tokens(episodes) - sampled_tokens(sound)
        self.counters.env_steps += sum(e.num_steps for e in episodes)
        self.counters.errors += len(episodes) - len(without_errors(episodes))

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint must hold as tensors."""
        moments = {f"optimizer_{k}": optimizer_tensors(o)[0] for k, o in enumerate(self.learner.optimizers)}
        return {
            "model": self.policy.state(),
            "teacher": self.teacher,
            "initial": self.initial,
            **moments,
        }

    def state(self) -> dict[str, Any]:
        """Everything else a checkpoint must hold, JSON-able."""
        return {
            "update": self.update,
            "counters": vars(self.counters),
            "optimizers": [optimizer_tensors(o)[1] for o in self.learner.optimizers],
        }

    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.policy.load_state(tensors["model"])
        self.teacher, self.initial = tensors["teacher"], tensors["initial"]
        for k, (optimizer, rest) in enumerate(zip(self.learner.optimizers, state["optimizers"], strict=True)):
            load_optimizer(optimizer, tensors[f"optimizer_{k}"], rest)
        self.update, self.counters = state["update"], Counters(**state["counters"])


class Clock:
    """Seconds between laps; kept out of the metrics so that equal runs write equal files."""

    def __init__(self) -> None:
        """Start."""
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Book the time since the last lap under ``name``."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


def whole_groups(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes of the groups without errors: an error is not a failure, and a group needs all members."""
    broken = {e.group for e in episodes if e.steps[-1].error is not None}
    return [e for e in episodes if e.group not in broken]


def without_errors(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes that the environment played to their end."""
    return [e for e in episodes if e.steps[-1].error is None]


def sampled_tokens(episodes: Sequence[Episode]) -> int:
    """Tokens the policy sampled."""
    return sum(len(s.tokens.sampled_ids) for e in episodes for s in e.steps if s.tokens is not None)


def episode_metrics(episodes: Sequence[Episode], measures: Sequence[str] = ()) -> dict[str, float]:
    """Means over the episodes of one update that met no error; 0 where there is none.

    ``measures`` are keys of ``info`` whose values at the end are averaged, too.
    """
    sound = without_errors(episodes)
    groups: dict[int, set[float]] = {}
    for episode in sound:
        groups.setdefault(episode.group, set()).add(episode.episode_return)
    steps = [step for e in sound for step in e.steps[1:]]
    count = max(1, len(sound))
    return {
        "train/success": sum(e.success for e in sound) / count,
        "train/return": sum(e.episode_return for e in sound) / count,
        "train/steps": len(steps) / count,
        "train/valid": sum(bool(s.info["step"]["valid"]) for s in steps) / max(1, len(steps)),
        "train/tokens_per_step": sampled_tokens(sound) / max(1, len(steps)),
        "train/mixed_groups": sum(len(returns) > 1 for returns in groups.values()) / max(1, len(groups)),
        **{f"train/{name}": sum(e.steps[-1].info[name] for e in sound) / count for name in measures},
    }
