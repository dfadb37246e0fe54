"""VinePPO (Kazemnejad et al., arXiv 2410.01679): values from fresh attempts instead of a critic.

With V_t the mean return of fresh attempts that begin where step t was chosen:

    A_t = r_t + V_(t+1) - V_t              (V behind an episode's last step is 0)

on every token of step t, without discount. The sum over an episode is its return minus V_1.

Departures: a step is one environment interaction, where the paper cuts a text into reasoning steps; an
episode that was cut at its step limit counts as ended there.
"""

from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, computed


@dataclass(frozen=True)
class Vine:
    """Differences of Monte-Carlo values."""

    paper: ClassVar[str] = "Kazemnejad et al. 2024, arXiv 2410.01679"
    needs: ClassVar[frozenset[str]] = frozenset({"mc_value"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of every step on the tokens it sampled."""
        value = computed(batch.steps.mc_value, "steps.mc_value").detach()
        nothing = value.new_zeros(batch.num_episodes)
        after = ops.following(value, batch.steps.episode_of_step, nothing)
        per_step = batch.steps.reward.detach() + after - value
        advantages = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = {
            "advantage_abs": float(ops.masked_mean(advantages.abs(), batch.action_mask)),
            "steps_without_credit": float((per_step == 0).double().mean()),
        }
        return Credit(advantages, metrics=metrics, may_zero_steps=True)
