"""Columns of a batch that records and log-probabilities do not give: who fills them, by the column's name.

A credit method says which columns it needs; nobody here knows which method that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.batch.tables import columns
from stepopsd_agent.config.run import RunConfig
from stepopsd_agent.credit.base import MissingColumnError
from stepopsd_agent.learner.critic import Critic
from stepopsd_agent.learner.gold_answers import gold_answer_logprobs
from stepopsd_agent.learner.monte_carlo import Branching, monte_carlo_values
from stepopsd_agent.models.packed.token_budget import TokenBudget
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat
from stepopsd_agent.rollout.rollout import Backend, Sampling, rollout
from stepopsd_wrappers import Episode

RECORDED = {
    "optimal_distance": "set env.oracle to true (stepopsd/ALFWorld-v0)",
    "last_distance": "set env.oracle to true (stepopsd/ALFWorld-v0)",
    "gold_seen": "choose an environment that knows gold passages (stepopsd/SearchQA-v0)",
    "first_gold_seen": "choose an environment that knows gold passages (stepopsd/SearchQA-v0)",
}
"""Columns that only the environment can tell, and what to do where it did not."""


@dataclass(frozen=True)
class Cost:
    """What filling columns took."""

    generated: int = 0
    """Tokens sampled."""
    env_steps: int = 0
    """Environment interactions."""


def check_recorded(batch: Batch, needs: frozenset[str]) -> None:
    """Raise MissingColumnError where the records lack a column that is needed and cannot be computed."""
    for name in sorted(needs & set(RECORDED)):
        table = batch.episodes if name.startswith(("last_", "first_")) else batch.steps
        if name not in {column for column, _ in columns(table)}:
            raise MissingColumnError(
                f"the credit method needs {name}, which the records do not tell: {RECORDED[name]}"
            )


class Columns:
    """Fills columns, and holds the critic where one is needed.

    Attributes:
        critic: made when values are needed, else None.
        budget: tokens per pass of the critic's update.
    """

    def __init__(
        self,
        config: RunConfig,
        policy: Policy,
        form: PromptFormat,
        needs: frozenset[str],
        backend: Backend = rollout,
    ) -> None:
        """Make what the needed columns ask for; ``backend`` plays fresh attempts."""
        self.config, self.policy, self.form, self.backend = config, policy, form, backend
        self.budget = TokenBudget(config.learner.tokens_per_micro_batch, policy.device)
        self.critic = Critic(policy, config.critic, config.learner.attention) if "value" in needs else None

    def fill(
        self,
        batch: Batch,
        episodes: Sequence[Episode],
        needs: frozenset[str],
        envs: Sequence[gym.Env[str, str]],
        sampling: Sampling,
        budget: TokenBudget,
    ) -> tuple[Batch, Cost]:
        """The batch with the needed columns, and what they cost.

        Args:
            batch: of `episodes`, in their order.
            episodes: the records.
            needs: names of columns; those that others fill are passed over.
            envs: stacks to play fresh attempts in.
            sampling: how the policy acted.
            budget: tokens per forward pass.

        Raises:
            MissingColumnError: an environment does not know what a column needs.
        """
        check_recorded(batch, needs)
        played, repeated = list[Episode](), 0
        if "value" in needs and self.critic is not None:
            batch = batch.with_steps(value=self.critic.values(batch, tokens_per_pass=budget))
        if "gold_answer_logprob" in needs:
            found = gold_answer_logprobs(
                self.policy,
                batch,
                gold_answers(envs[0], episodes),
                tokens_per_pass=budget,
                temperature=sampling.temperature,
                attention=self.config.learner.attention,
            )
            batch = batch.with_steps(gold_answer_logprob=found)
        if "mc_value" in needs:
            how = Branching(self.config.rollout.mc_rollouts, self.config.rollout.invalid_penalty)
            values, played, repeated = monte_carlo_values(
                self.policy, self.form, envs, episodes, batch, sampling, how, self.backend
            )
            batch = batch.with_steps(mc_value=values)
        sampled = [step.tokens for e in played for step in e.steps if step.tokens is not None]
        return batch, Cost(
            generated=sum(len(tokens.sampled_ids) for tokens in sampled),
            env_steps=repeated + len(sampled),
        )

    def learn(self, batch: Batch, value_targets: Tensor | None) -> dict[str, float]:
        """Train the critic where there is one; returns its metrics."""
        if self.critic is None or value_targets is None:
            return {}
        return self.critic.learn(batch, value_targets, tokens_per_pass=self.budget)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint must hold as tensors."""
        return {} if self.critic is None else self.critic.tensors()

    def state(self) -> dict[str, Any]:
        """What else a checkpoint must hold, JSON-able."""
        return {} if self.critic is None else self.critic.state()

    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        if self.critic is not None:
            self.critic.restore(tensors, state)


def gold_answers(env: gym.Env[str, str], episodes: Sequence[Episode]) -> list[tuple[str, ...]]:
    """The right answers to each episode's task.

    Raises:
        MissingColumnError: the environment's tasks have none.
    """
    try:
        answers = env.get_wrapper_attr("golden_answers")
    except AttributeError as error:
        raise MissingColumnError(
            f"the credit method needs gold answers, which {env.unwrapped} does not have: train it on "
            "stepopsd/SearchQA-v0"
        ) from error
    return [tuple(answers(episode.task_id)) for episode in episodes]
