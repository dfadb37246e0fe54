"""The training run: roll out, score in hindsight, assign credit, update, write down.

Everything random is keyed by (seed, update, ...) rather than drawn from a running generator, so a run
continued from a checkpoint goes exactly where an uninterrupted one would have gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.distributed import ProcessGroup

from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.batch.audit import audit, audit_credit
from stepopsd_agent.batch.penalties import penalise_invalid
from stepopsd_agent.config.run import RunConfig
from stepopsd_agent.credit.base import Credit, CreditMethod, scaled
from stepopsd_agent.hindsight.teacher import TAUGHT, taught
from stepopsd_agent.hindsight.teacher_logprobs import plain_logprobs
from stepopsd_agent.learner.columns import Columns
from stepopsd_agent.learner.learner import Learner
from stepopsd_agent.models.packed.token_budget import TokenBudget
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat
from stepopsd_agent.ops import schedules
from stepopsd_agent.rollout.failures import Failures
from stepopsd_agent.rollout.groups import (
    episode_metrics,
    group_ids,
    mixed_groups,
    sampled_tokens,
    whole_groups,
    without_errors,
)
from stepopsd_agent.rollout.rollout import Backend, Sampling, rollout
from stepopsd_agent.run.alarms import Watch, watched
from stepopsd_agent.run.counters import Clock, Counters
from stepopsd_agent.run.diagnostics import repetition, teacher_gaps
from stepopsd_agent.run.files.checkpoint import load_optimizer, optimizer_tensors
from stepopsd_agent.tasks.make import data_facts, make_stack, task_ids, training_tasks
from stepopsd_agent.tasks.registry import environment, response_format
from stepopsd_wrappers import Episode

_ROUND = 1_000_000
"""So many updates lie between the games of an update's rounds; no run has as many."""


@dataclass
class Trainer:
    """State of a run between two updates.

    Attributes:
        config: the run's settings.
        method: credit method.
        policy: the weights being trained.
        form: prompt format.
        backend: who plays.
        group: processes that share every update; None for this process alone.
        update: number of the next update.
        failures: of the environments, in a row.
        initial: weights at the start: KL anchor and ``teacher=initial``.
        teacher: the weights of a teacher that is stale or a moving average.
        columns: fills what the credit method needs beside log-probabilities.
        watch: what the alarms have seen.
    """

    config: RunConfig
    method: CreditMethod
    policy: Policy
    form: PromptFormat
    run: str = ""
    backend: Backend = rollout
    group: ProcessGroup | None = None
    update: int = 0
    counters: Counters = field(default_factory=Counters)
    failures: Failures = field(default_factory=Failures)
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        """Take the initial weights as reference and first teacher, and open the environments."""
        learner = self.config.learner
        if learner.lora.rank:
            self.policy.add_adapter(learner.lora, self.config.seed)
        self.initial = self.policy.origin()
        self.teacher = self.policy.state()
        self.learner = Learner(self.policy, learner, self.group)
        self.scoring = TokenBudget(learner.tokens_per_micro_batch, self.policy.device)
        self.columns = Columns(self.config, self.policy, self.form, self.method.needs, self.backend)
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
        self._move_teacher()
        episodes = self.collect()
        clock.lap("rollout_s")
        measures = environment(self.config.env.id).measures
        metrics = {**episode_metrics(episodes, measures), **repetition(episodes)}
        sound = self.chosen(episodes)
        if sound:
            batch = self.score(sound)
            clock.lap("score_s")
            credit = self.assign(batch)
            metrics.update({f"credit/{k}": v for k, v in credit.metrics.items()})
            metrics["credit/schedule"] = self.schedule
            metrics.update(teacher_gaps(batch))
            learned = self.learner.update(
                batch, credit, temperature=self.config.rollout.temperature, rate=self.rate
            )
            learned.update(self.columns.learn(batch, credit.value_targets))
            metrics.update({f"update/{k}": v for k, v in learned.items()})
            self.counters.trained += self.learner.budget.take()
            self.counters.scored += self.scoring.take()
            clock.lap("update_s")
        self._count_episodes(episodes, sound)
        self.update += 1
        self.watch = watched(self.watch, metrics, self.update, self.config.alarms)
        return episodes, metrics, clock.laps

    def collect(self) -> list[Episode]:
        """Play this update's groups; with ``rollout.max_rounds`` above 1 until enough of them are mixed."""
        wanted = self.config.rollout.tasks
        episodes = self._play(0, wanted)
        for number in range(1, self.config.rollout.max_rounds):
            missing = wanted - len(group_ids(mixed_groups(whole_groups(episodes))))
            if missing <= 0:
                break
            episodes += self._play(number, missing)
        return episodes

    def _play(self, number: int, groups: int) -> list[Episode]:
        """One round of so many groups; each round has games, seeds and group numbers of its own."""
        c = self.config
        key = self.update + number * _ROUND
        drawn = training_tasks(self.tasks, c.seed, key, c.rollout.tasks, c.rollout.group_size)
        drawn = drawn[: groups * c.rollout.group_size]
        tasks = [replace(task, group=task.group + number * c.rollout.tasks) for task in drawn]
        return self.backend(
            self.policy,
            self.form,
            self.envs,
            tasks,
            self.sampling,
            run=self.run,
            update=self.update,
            on_episode=self.failures.note,
        )

    @property
    def sampling(self) -> Sampling:
        """How responses are drawn at this update."""
        c = self.config
        return Sampling(
            seed=f"{c.seed}/{self.update}",
            temperature=c.rollout.temperature,
            max_tokens=c.rollout.max_tokens,
            max_row_tokens=min(c.rollout.max_row_tokens, self.policy.max_positions),
            response=response_format(c.env),
            top_k=c.rollout.top_k,
            top_p=c.rollout.top_p,
            stop=tuple(c.rollout.stop),
        )

    def chosen(self, episodes: Sequence[Episode]) -> list[Episode]:
        """The episodes to learn from: whole groups; where some are replaced, those whose returns differ."""
        sound = whole_groups(episodes)
        return sound if self.config.rollout.max_rounds == 1 else mixed_groups(sound)

    def score(self, episodes: Sequence[Episode]) -> Batch:
        """Records to an audited batch with the columns this update needs."""
        c = self.config
        batch = collate(
            episodes, pad_id=self.policy.pad_id, anchor_similarity=c.rollout.anchor_similarity
        ).to(self.policy.device)
        audit(batch)
        batch = penalise_invalid(batch, c.rollout.invalid_penalty)

        def plain() -> Tensor:
            return plain_logprobs(
                self.policy,
                batch,
                tokens_per_pass=self.scoring,
                temperature=c.rollout.temperature,
                attention=c.learner.attention,
            )

        if c.learner.rescore_old or self.sampling.drawing.cuts:  # the update compares uncut distributions
            batch = batch.with_tokens(old_logprobs=plain())
        if "student_logprobs" in self.needs:  # before the update the student is the policy that sampled
            batch = batch.with_tokens(student_logprobs=batch.tokens.old_logprobs)
        if self.needs & TAUGHT:
            with self.policy.weights(self.teacher_weights()):
                batch = taught(self.policy, batch, episodes, c, self.needs, self.scoring)
        if c.learner.kl_coef:
            with self.policy.weights(self.initial):
                batch = batch.with_tokens(ref_logprobs=plain())
        batch, cost = self.columns.fill(batch, episodes, self.needs, self.envs, self.sampling, self.scoring)
        self.counters.generated += cost.generated
        self.counters.env_steps += cost.env_steps
        return batch

    def _move_teacher(self) -> None:
        """Bring the kept teacher's weights to this update: a snapshot, or a moving average."""
        c = self.config.hindsight
        if c.teacher == "ema":
            now = self.policy.state()
            self.teacher = {name: w.lerp(now[name], c.ema_rate) for name, w in self.teacher.items()}
        elif self.update % c.refresh == 0:
            self.teacher = self.policy.state()

    def teacher_weights(self) -> dict[str, Tensor]:
        """The weights the hindsight teacher scores with."""
        if self.config.hindsight.teacher == "live":
            return self.policy.state()
        return self.initial if self.config.hindsight.teacher == "initial" else self.teacher

    @property
    def rate(self) -> float:
        """Factor of the learning rates at this update."""
        c = self.config
        return schedules.learning_rate(self.update, c.updates, c.learner.lr_schedule, c.learner.lr_warmup)

    @property
    def schedule(self) -> float:
        """Factor of the scheduled fields at this update, after what alarms took off."""
        if self.config.schedule.kind == "linear":
            return self.watch.factor * schedules.linear(self.update, self.config.schedule.decay_updates)
        return self.watch.factor * schedules.constant(self.update)

    @property
    def needs(self) -> frozenset[str]:
        """Columns the credit method reads at this update: none once its schedule has ended."""
        return frozenset() if self.method.scheduled and self.schedule == 0 else self.method.needs

    def assign(self, batch: Batch) -> Credit:
        """Run the credit method with its scheduled fields as of this update."""
        credit = scaled(self.method, self.schedule)(batch)
        report = audit_credit(batch, credit)
        return replace(credit, metrics={**credit.metrics, **report.metrics})

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
        masters = self.learner.masters.tensors()
        moments = {f"optimizer_{k}": optimizer_tensors(o)[0] for k, o in enumerate(self.learner.optimizers)}
        return {
            "model": self.policy.state(),
            "teacher": self.teacher,
            "initial": self.initial,
            **({"masters": masters} if masters else {}),
            **moments,
            **self.columns.tensors(),
        }

    def state(self) -> dict[str, Any]:
        """Everything else a checkpoint must hold, JSON-able."""
        return {
            "update": self.update,
            "counters": vars(self.counters),
            "watch": self.watch.to_json(),
            "optimizers": [optimizer_tensors(o)[1] for o in self.learner.optimizers],
            "columns": self.columns.state(),
            "budgets": {"update": self.learner.budget.tokens, "scoring": self.scoring.tokens},
        }

    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.policy.load_state(tensors["model"])
        self.learner.masters.restore(tensors.get("masters", {}))  # early checkpoints have none
        self.teacher, self.initial = tensors["teacher"], tensors["initial"]
        for k, (optimizer, rest) in enumerate(zip(self.learner.optimizers, state["optimizers"], strict=True)):
            load_optimizer(optimizer, tensors[f"optimizer_{k}"], rest)
        self.columns.restore(tensors, state.get("columns", {}))  # early checkpoints have none
        budgets: dict[str, int] = state.get("budgets", {})  # early checkpoints have none
        self.learner.budget.tokens = budgets.get("update", self.learner.budget.tokens)
        self.scoring.tokens = budgets.get("scoring", self.scoring.tokens)
        self.watch = Watch.from_json(state.get("watch", {}))  # early checkpoints have none
        self.update, self.counters = state["update"], Counters(**state["counters"])
