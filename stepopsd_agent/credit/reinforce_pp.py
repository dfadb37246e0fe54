"""REINFORCE++ (arXiv 2501.03262): returns, shifted and scaled over the whole batch.

    baseline="group":    A = whiten(R_i - mean R)
    baseline="none":     A = whiten(G_t),    G_t = r_t + gamma G_(t+1)

`whiten` shifts and scales all sampled tokens of the batch to mean 0 and variance 1. `"group"` is the paper's
variant for several attempts per task, `"none"` its plain form.

With a penalty on refused steps (`rollout.invalid_penalty_on=step`) what such a step is charged counts at
itself alone; with `"group"` what it is charged above the mean of its group's steps, as in `rloo`.

Degenerate cases:

- Tokens are counted, so a long episode weighs more in the mean and the variance.
- A group without variance, or of one episode, has a centred return of 0, and may still get a small advantage
  from the shift over the batch.
- A batch in which all values are equal gives zero.

Departures:

- The discount counts steps, not tokens.
- The KL penalty is a loss term of the learner and no part of the reward.
- The centred return of a group of one is 0, as for all methods.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.gigpo import returns_to_go
from stepopsd_agent.credit.rloo import centred_returns, less_penalties


@dataclass(frozen=True)
class ReinforcePP:
    """Returns, shifted and scaled to mean 0 and variance 1 over the whole batch.

    Attributes:
        baseline: "group" first subtracts the group's mean return from an episode's return; "none" uses the
            discounted return from every step on.
        gamma: discount per step; used with "none" only.
    """

    baseline: Literal["group", "none"] = "group"
    gamma: float = 1.0

    paper: ClassVar[str] = "Hu et al. 2025, arXiv 2501.03262"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_choice("baseline", self.baseline, ("group", "none"))
        check_range("gamma", self.gamma, 0.0, 1.0)

    def __call__(self, batch: Batch) -> Credit:
        """The whitened advantage of every step."""
        spread = ops.spread_steps(self._per_step(batch), batch.tokens.step_of_token)
        advantages = ops.whiten(spread, batch.action_mask)
        size = float(ops.masked_mean(advantages.abs(), batch.action_mask))
        return Credit(advantages, metrics={"advantage_abs": size}, may_zero_steps=True)

    def _per_step(self, batch: Batch) -> Tensor:
        """[S] before whitening."""
        if self.baseline == "group":
            return less_penalties(batch, centred_returns(batch))
        return returns_to_go(batch, self.gamma)
