"""VinePPO (arXiv 2410.01679): the value after a step minus the value before it, from fresh attempts.

With `V_t` the mean return of `rollout.mc_rollouts` (9) fresh attempts that begin where step t was chosen, and
0 after an episode's last step:

    A_t = r_t + V_(t+1) - V_t

without discount. To start attempts in the middle of an episode, its commands are replayed, and a snapshot of
the environment is taken before every step, where the hash of its state has to equal the recorded one. An
attempt continues from the exact token ids that the policy had read there. Steps with the same ids before them
share their attempts.

Degenerate cases: the advantages of an episode's steps sum to its return minus `V_1`; a step that pays nothing
and does not change the value gets zero. No group is compared.

Departures:

- A step is one environment interaction, where the paper splits a text into reasoning steps.
- An episode that was cut at its step limit counts as ended there.
"""

from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, computed
from stepopsd_agent.credit.whole_episodes import check_whole


@dataclass(frozen=True)
class Vine:
    """The value after a step minus that before it, both from the returns of fresh attempts."""

    paper: ClassVar[str] = "Kazemnejad et al. 2024, arXiv 2410.01679"
    needs: ClassVar[frozenset[str]] = frozenset({"mc_value"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of every step on the tokens it sampled."""
        check_whole(batch)
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
