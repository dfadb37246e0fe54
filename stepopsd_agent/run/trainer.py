"""One update of a training run after the other: roll out, fill columns, assign credit, update.

Everything random is keyed by (seed, update, ...) rather than drawn from a running generator, so a run
continued from a checkpoint goes exactly where an uninterrupted one would have gone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor
from torch.distributed import ProcessGroup

from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import RunConfig
from stepopsd_agent.credit import Credit, CreditMethod, audit_credit, linear_decay, scaled
from stepopsd_agent.hindsight import gap_metrics
from stepopsd_agent.learner import (
    Cost,
    Critic,
    FreshAttempts,
    Learner,
    TaskHistory,
    averaged,
    corrected,
    fill,
    learning_rate_factor,
    mismatch_metrics,
    teacher_rows,
)
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.rollout import (
    Backend,
    Failures,
    SamplingParams,
    episode_metrics,
    group_ids,
    groups,
    mixed_groups,
    rollout,
    sampled_tokens,
    valid_episodes,
    whole_groups,
)
from stepopsd_agent.run.counters import Counters
from stepopsd_agent.run.kept_weights import kept_weights
from stepopsd_agent.tasks import data_identity, get, make_stack
from stepopsd_wrappers import Episode

_ROUND = 1_000_000
"""So many updates lie between the tasks of an update's rounds; no run has as many."""


@dataclass
class Trainer:
    """State of a run between two updates.

    Attributes:
        config: the run's settings.
        method: credit method.
        policy: the weights being trained.
        run: name of the run, for the records.
        backend: plays the attempts.
        group: processes that share every update; None for this process alone.
        update: number of the next update.
        counters: consumption so far.
        failures: of the environments, in a row.
        factor: of the credit method's scheduled fields, lowered by a run's alarms.
        initial: weights at the start, for the KL term and ``teacher=initial``; None where not needed.
        teacher: weights of a teacher that is stale or a moving average; None where the run has none.
        critic: where the credit method needs values, else None.
        history: of the tasks, where the credit method needs their past, else None.
        scorer: settings of the passes without gradient.
        kind: of the learner.
    """

    config: RunConfig
    method: CreditMethod
    policy: Policy
    run: str = ""
    backend: Backend = rollout
    group: ProcessGroup | None = None
    update: int = 0
    counters: Counters = field(default_factory=Counters)
    failures: Failures = field(default_factory=Failures)
    factor: float = 1.0
    kind: ClassVar[type[Learner]] = Learner

    def __post_init__(self) -> None:
        """Take the initial weights as reference and first teacher, and open the environments."""
        c, settings = self.config, self.config.learner
        passes: Any = {"tokens_per_pass": settings.tokens_per_micro_batch, "attention": settings.attention}
        if settings.lora.rank:
            self.policy.add_adapter(settings.lora, c.seed)
        kept = kept_weights(c, self.method.needs)
        self.initial = self.policy.origin() if "initial" in kept else None
        self.teacher = self.policy.state() if "teacher" in kept else None
        self._refreshed: int | None = None  # the update before which the stale teacher was taken
        self.scorer = Scorer(self.policy, temperature=c.rollout.temperature, **passes)
        group: dict[str, Any] = {"group": self.group}
        self.learner = self.kind(self.policy, reference=self.initial, **group, **settings.of_update())
        how = {"gradient_checkpointing": settings.gradient_checkpointing, **group, **passes}
        self.critic = Critic(self.policy, c.critic, **how) if "value" in self.method.needs else None
        self.history = TaskHistory(self.method.needs) if TaskHistory.serves(self.method.needs) else None
        self.envs = [make_stack(c.env) for _ in range(c.rollout.slots)]
        self.measures, self.shaping = get(c.env.id).measures, c.rollout.of_batch()
        self.foreign, self.rescored = c.rollout.foreign, c.rollout.rescored

    @property
    def data(self) -> dict[str, str]:
        """Fingerprint of the training tasks, and the engine that plays them."""
        return data_identity(self.envs[0])

    def step(self) -> tuple[list[Episode], dict[str, float], dict[str, float]]:
        """One update: return the episodes, the metrics (no clock) and the seconds each part took.

        Raises:
            EnvironmentDownError: the environments failed again and again; the update was not made.
        """
        times = [time.perf_counter()]
        shortened = self.policy.play.shortened
        episodes = self.collect()
        self._move_teacher()  # not before play may have failed: the update is then made again
        shortened = self.policy.play.shortened - shortened
        times.append(time.perf_counter())
        metrics = episode_metrics(episodes, self.measures, self.config.rollout)
        metrics["train/shortened_prompts"] = shortened
        chosen = self.chosen(episodes)
        if chosen:
            batch = self.score(chosen)
            times.append(time.perf_counter())
            credit = self.assign(batch)
            metrics.update({f"credit/{name}": value for name, value in credit.metrics.items()})
            metrics["credit/schedule"] = self.schedule
            share = len(group_ids(chosen)) / len(group_ids(whole_groups(episodes)))
            metrics["train/learned_groups"] = share * metrics["credit/groups_learned"]
            metrics.update(gap_metrics(batch, teacher_rows(self.method, batch)))
            if self.foreign:
                metrics.update(mismatch_metrics(batch, self.config.learner))
            how: dict[str, Any] = {"temperature": self.config.rollout.temperature, "rate": self.rate}
            learned = self.learner.update(batch, credit, **how, seed=self._noise)
            if self.critic is not None and credit.value_targets is not None:
                learned.update(self.critic.learn(batch, credit.value_targets))
            if self.history is not None and TaskHistory.serves(self.needs):
                self.history.add(batch, chosen)
            metrics.update({f"update/{name}": value for name, value in learned.items()})
            self.counters.trained += self.learner.budget.take()
            self.counters.scored += self.scorer.budget.take()
            times.append(time.perf_counter())
        self._count_episodes(episodes, chosen)
        self.update += 1
        seconds = [end - start for start, end in pairwise(times)]
        return episodes, metrics, dict(zip(("rollout_s", "score_s", "update_s"), seconds, strict=False))

    def collect(self) -> list[Episode]:
        """Play this update's groups; with ``rollout.max_rounds`` above 1 until enough of them are mixed."""
        shaping = self.config.rollout
        episodes = self._play(0, shaping.tasks)
        for number in range(1, shaping.max_rounds):
            missing = shaping.tasks - len(group_ids(mixed_groups(whole_groups(episodes), shaping)))
            if missing <= 0:
                break
            episodes += self._play(number, missing)
        return episodes

    def _play(self, number: int, count: int) -> list[Episode]:
        """One round of ``count`` groups with tasks, seeds and numbers of its own; the first one revisits."""
        c = self.config.rollout
        key = self.update + number * _ROUND
        share = 0.0 if number else c.revisit_share
        again: dict[str, Any] = {"revisit_share": share, "revisit_after": c.revisit_after}
        drawn = groups(
            self.envs[0], count=c.tasks, size=c.group_size, seed=self.config.seed, update=key, **again
        )
        taken = drawn[: count * c.group_size]
        attempts = [replace(attempt, group=attempt.group + number * c.tasks) for attempt in taken]
        return self.backend(
            self.policy,
            self.envs,
            attempts,
            self.params,
            seed=self._noise,
            run=self.run,
            update=self.update,
            on_episode=self._watch,
        )

    def _watch(self, episode: Episode) -> None:  # while nothing fails there is nothing to count
        if self.failures.row or episode.failed:
            self.failures.note(episode)

    @property
    def params(self) -> SamplingParams:
        """How responses are sampled in training."""
        c = self.config.rollout
        return SamplingParams(
            temperature=c.temperature,
            top_k=c.top_k,
            top_p=c.top_p,
            max_tokens=c.max_tokens,
            max_row_tokens=c.max_row_tokens,
            stop=tuple(c.stop),
        )

    @property
    def _noise(self) -> str:
        """The name of this update's sampling noise."""
        return f"{self.config.seed}/{self.update}"

    def chosen(self, episodes: Sequence[Episode]) -> list[Episode]:
        """The episodes to learn from: whole groups; where some are replaced, those whose returns differ."""
        whole, shaping = whole_groups(episodes), self.config.rollout
        return whole if shaping.max_rounds == 1 else mixed_groups(whole, shaping)

    def score(self, episodes: Sequence[Episode]) -> Batch:
        """Records to an audited batch with the columns this update needs."""
        c, cost = self.config, Cost()
        further = ("ref_logprobs",) * (c.learner.kl_coef > 0) + ("engine_logprobs",) * self.foreign
        batch = collate(episodes, self.policy.pad_id, **self.shaping)
        batch = fill(
            batch.to(self.policy.device),
            episodes,
            self.needs.union(further),
            self.policy,
            scorer=self.scorer,
            hindsight=c.hindsight,
            teacher=self.teacher_weights(),
            teacher_rows=teacher_rows(self.method, batch),
            reference=self.initial,
            critic=self.critic,
            history=self.history,
            envs=self.envs,
            fresh=FreshAttempts(
                c.rollout.mc_rollouts,
                c.rollout.invalid_penalty if c.rollout.invalid_penalty_on == "episode" else 0.0,
                self.params,
                f"{self._noise}/branches",
                self.backend,
            ),
            # The update compares uncut distributions.
            rescore_old=c.learner.rescore_old or self.rescored,
            cost=cost,
        )
        self.counters.generated += cost.generated
        self.counters.env_steps += cost.env_steps
        return batch

    def _move_teacher(self) -> None:
        """Bring the kept teacher's weights to this update: a snapshot, or a moving average."""
        c = self.config.hindsight
        if self.teacher is not None and c.teacher == "ema":
            self.teacher = averaged(self.teacher, self.policy.state(), c.ema_rate)
        elif self.teacher is not None and self.update % c.refresh == 0:
            self.teacher, self._refreshed = self.policy.state(), self.update

    def teacher_weights(self) -> dict[str, Tensor] | None:
        """The weights the hindsight teacher scores with; None for the policy's own."""
        if self.config.hindsight.teacher == "initial":
            return self.initial
        return None if self._refreshed == self.update else self.teacher

    @property
    def rate(self) -> float:
        """Factor of the learning rates at this update."""
        c = self.config
        return learning_rate_factor(self.update, c.updates, c.learner.lr_schedule, c.learner.lr_warmup)

    @property
    def schedule(self) -> float:
        """Factor of the scheduled fields at this update, after what alarms took off."""
        c = self.config.schedule
        return self.factor * (linear_decay(self.update, c.decay_updates) if c.kind == "linear" else 1.0)

    @property
    def needs(self) -> frozenset[str]:
        """Columns the credit method reads at this update: none once its schedule has ended."""
        return frozenset() if self.method.scheduled and self.schedule == 0 else self.method.needs

    def assign(self, batch: Batch) -> Credit:
        """Run the credit method with its scheduled fields as of this update."""
        credit = scaled(self.method, self.schedule)(batch)
        report = audit_credit(batch, credit)
        credit = replace(credit, metrics={**credit.metrics, **report.metrics})
        return corrected(credit, batch, self.config.learner) if self.foreign else credit

    def _count_episodes(self, episodes: Sequence[Episode], chosen: Sequence[Episode]) -> None:
        self.counters.generated += sampled_tokens(episodes)
        self.counters.wasted += sampled_tokens(episodes) - sampled_tokens(chosen)
        self.counters.env_steps += sum(episode.num_steps for episode in episodes)
        self.counters.errors += len(episodes) - len(valid_episodes(episodes))

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()
