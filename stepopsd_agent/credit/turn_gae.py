"""Turn-level PPO (arXiv 2512.17008): a critic, and generalised advantages with a step as one action.

With `V_t` the critic's value before step t, and 0 after an episode's last step:

    d_t = r_t + gamma V_(t+1) - V_t
    A_t = d_t + gamma lam A_(t+1)

`whiten` then shifts and scales all sampled tokens to mean 0 and variance 1. The critic is a copy of the
policy's network with a scalar output per token, read at the last token before the step. It starts with output
0 everywhere and is trained on the targets `A_t + V_t`, A_t before whitening, at its own learning rate
(`critic.lr`, 1e-5).

With a penalty on refused steps (`rollout.invalid_penalty_on=step`) such a step's advantage is less by it; the
critic does not learn of it.

Degenerate cases: lam = 1 and V = 0 everywhere give discounted returns; lam = 0 gives the one-step error
`d_t`. No group is compared.

Departures:

- The ratio is clipped per token, as for every method here, not per step.
- An episode that was cut at its step limit counts as ended there.
- Whitening is a choice, taken from common PPO code: the reports of the paper do not mention any.
"""

from dataclasses import dataclass
from typing import ClassVar

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_range, computed
from stepopsd_agent.credit.gigpo import paid_and_charged


@dataclass(frozen=True)
class TurnGAE:
    """Generalised advantage estimation with a step as one action, and a critic.

    Attributes:
        gamma: discount per step.
        lam: trace decay, from one-step errors (0) to discounted returns (1).
        whiten: bring the sampled tokens of the batch to mean 0 and variance 1.
    """

    gamma: float = 0.99
    lam: float = 0.9
    whiten: bool = True

    paper: ClassVar[str] = "Li et al. 2025, arXiv 2512.17008"
    needs: ClassVar[frozenset[str]] = frozenset({"value"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("lam", self.lam, 0.0, 1.0)

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of every step, and the targets of the critic."""
        episode, (paid, charged) = batch.steps.episode_of_step, paid_and_charged(batch)
        value = computed(batch.steps.value, "steps.value").detach()
        after = ops.following(value, episode, value.new_zeros(batch.num_episodes))
        errors = paid + self.gamma * after - value
        per_step = ops.discounted_to_go(errors, episode, batch.num_episodes, self.gamma * self.lam)
        advantages = ops.spread_steps(per_step - charged, batch.tokens.step_of_token)
        metrics = {"value": float(value.mean()), "value_error_abs": float(errors.abs().mean())}
        if self.whiten:
            advantages = ops.whiten(advantages, batch.action_mask)
        return Credit(advantages, metrics=metrics, may_zero_steps=True, value_targets=per_step + value)
