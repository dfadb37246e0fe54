"""IGPO (arXiv 2510.14967): every step is rewarded for how much likelier it made the right answer.

With `p_t` the probability of the gold answer before step t, as a geometric mean over its tokens, and T the
last step of an episode:

    p_t = exp(mean log-probability per token of the gold answer, given in place of step t)
    r_t = p_(t+1) - p_t      for t < T
    r_T = the environment's reward
    z_t = (r_t - mean r) / (std r + eps)    over all steps of the group; std is that of the population
    A_t = z_t + gamma A_(t+1)

Of several gold answers the likeliest counts. The paper's reward is F1 (`env.reward=f1`).

Degenerate cases: a group of one episode gives zero, and so does a group in which no step changes `p_t` and
no reward is paid.

Departures:

- A group of one gives zero, as for all methods.
- A step that does not change `p_t` counts with `r_t = 0`, where the authors' code skips it. An earlier
  version of that code subtracted the group's mean at the same token index from rewards summed to the end, and
  did not divide by a deviation.
- There is no penalty of 2 for a malformed answer. `rollout.invalid_penalty` is subtracted from the reward of
  a refused step, so it counts only at the last step: the reward of the others is their gain alone.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range, computed
from stepopsd_agent.credit.whole_episodes import check_whole


@dataclass(frozen=True)
class IGPO:
    """Gain of every step in the gold answer's probability, normalised in the group, summed to the end.

    Attributes:
        gamma: discount per step.
        std: divide by the standard deviation.
        norm: "joint" takes one mean and deviation over all steps of the group, "separate" one over its last
            steps and another over the rest.
        eps: added to the standard deviation.
    """

    gamma: float = 1.0
    std: bool = True
    norm: Literal["joint", "separate"] = "joint"
    eps: float = 1e-6

    paper: ClassVar[str] = "arXiv 2510.14967"
    needs: ClassVar[frozenset[str]] = frozenset({"gold_answer_logprob"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"alone_zero"})

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_choice("norm", self.norm, ("joint", "separate"))
        check_range("eps", self.eps, 0.0)

    def __call__(self, batch: Batch) -> Credit:
        """The discounted sum of normalised gains from every step on."""
        check_whole(batch)
        episode, episodes = batch.steps.episode_of_step, batch.num_episodes
        gold = computed(batch.steps.gold_answer_logprob, "steps.gold_answer_logprob")
        chance = gold.detach().exp()
        after = ops.following(chance, episode, chance.new_full((episodes,), -1.0))
        last = after < 0
        reward = torch.where(last, batch.steps.reward.detach(), after - chance)
        group = batch.group_of_step
        kind = ops.joined_ids(group, last.long()) if self.norm == "separate" else group
        score = ops.standardised(reward, kind, batch.num_steps, std=self.std, eps=self.eps, correction=0)
        alone = ops.group_count(batch.episodes.group_of_episode, batch.num_steps)[group] == 1
        per_step = ops.discounted_to_go(torch.where(alone, 0, score), episode, episodes, self.gamma)
        advantages = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = {
            "advantage_abs": float(ops.masked_mean(advantages.abs(), batch.action_mask)),
            "gain": float(ops.masked_mean(reward, ~last)),
            "gold_chance": float(chance.mean()),
        }
        return Credit(advantages, metrics=metrics, may_zero_steps=True)
