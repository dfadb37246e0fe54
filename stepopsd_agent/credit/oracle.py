"""An upper bound, not a method to compare on equal terms: credit from what only the simulator knows.

With `d_t` the fewest commands to the goal before step t and `g_t` the share of gold passages seen by then:

    source="distance":    p_t = d_t - d_(t+1)
    source="gold":        p_t = g_(t+1) - g_t, plus the environment's reward at the step that ends the episode
    A_t = (p_t - mean p) / (std p + eps)    over all steps of the group

It bounds what credit assignment alone can bring: it reads what other methods estimate. There is no paper.

Degenerate cases:

- A step that makes the goal unreachable counts as losing the distance that its episode began with and one
  more; steps after it count 0.
- Equal progress at all steps of a group gives zero. In a group of one, the episode's steps are still compared
  with each other.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range, computed
from stepopsd_agent.credit.state_graph import nearer
from stepopsd_agent.credit.whole_episodes import check_whole


@dataclass(frozen=True)
class Oracle:
    """Progress of every step towards the goal, as the simulator knows it; an upper bound.

    Attributes:
        source: "distance" to the goal (ALFWorld with `env.oracle=true`), or "gold" passages seen (Search-QA).
        std: divide by the standard deviation.
        eps: added to the standard deviation.
    """

    source: Literal["distance", "gold"] = "distance"
    std: bool = True
    eps: float = 1e-6

    paper: ClassVar[str] = "none; an upper bound from the simulator's own knowledge"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_choice("source", self.source, ("distance", "gold"))
        check_range("eps", self.eps, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the source."""
        distance = frozenset({"optimal_distance", "last_distance"})
        return distance if self.source == "distance" else frozenset({"gold_seen", "first_gold_seen"})

    def __call__(self, batch: Batch) -> Credit:
        """The normalised progress of every step."""
        check_whole(batch)
        progress = _nearer(batch) if self.source == "distance" else _revealed(batch)
        per_step = ops.standardised(
            progress, batch.group_of_step, batch.num_steps, std=self.std, eps=self.eps
        )
        advantages = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = {
            "progress": float(progress.mean()),
            "steps_forward": float((progress > 0).double().mean()),
        }
        return Credit(advantages, metrics=metrics, may_zero_steps=True)


def _nearer(batch: Batch) -> Tensor:
    """[S] p_t from distances."""
    episode = batch.steps.episode_of_step
    before = computed(batch.steps.optimal_distance, "steps.optimal_distance")
    end = computed(batch.episodes.last_distance, "episodes.last_distance")
    shorter = nearer(before, ops.following(before, episode, end), episode)
    return shorter.to(batch.steps.reward.dtype)


def _revealed(batch: Batch) -> Tensor:
    """[S] p_t from gold passages: the share that a step added, plus the reward at the end."""
    episode, reward = batch.steps.episode_of_step, batch.steps.reward.detach()
    seen = computed(batch.steps.gold_seen, "steps.gold_seen")
    start = computed(batch.episodes.first_gold_seen, "episodes.first_gold_seen")
    revealed = seen - ops.preceding(seen, episode, start)
    progress = revealed + torch.where(batch.last_step, reward, 0)
    return ops.levelled(progress, batch.group_of_step, batch.num_steps)  # a third is not always a third
