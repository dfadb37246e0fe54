"""TIGPO (arXiv 2609.03383): GraphGPO on a graph of the task that is kept across updates.

The attempts at a task, of this update and of those before it that played the task, are merged into one graph:
states with equal keys are one node, and steps are edges. The last steps of all successful episodes lead to
one further node, SUCCESS; a failed episode ends at the node it reached. With `d(s)` the fewest steps from s
to SUCCESS along edges of the graph, earlier ones included, and `s -> s'` a step of this update:

    q   = gamma^d(s')
    A_G = (q - mean q) / (std q + eps)         over the steps of this update that leave s
    A_E = (R_i - mean R) / (std R + eps)       over the returns of the group and of the earlier group
    A   = episode_weight A_E + graph_weight A_G

The past changes only distances and the mean and deviation of the returns: it has no tokens, so no earlier
token is ever trained on.

The paper has half of the groups of an update revisit tasks that were played 10 updates before:
`rollout.revisit_share` 0.5, `rollout.revisit_after` 10, for every method. Without revisits (share 0, the
default) a task has a past once a new pass over the tasks has begun.

Degenerate cases:

- A new task has no past: the credit is that of `graph_gpo` with `exponent="next"` and omega = gamma.
- A group without success has graph credit where an earlier one succeeded and the attempts reach nodes that
  were visited then. Where no attempt ever succeeded it has none.
- A node left once in this update has `A_G = 0`, however often it was left before.
- A group whose returns are equal has an advantage where the earlier group's returns differ from them; so has
  a group of one. Without a past both have `A_E = 0`.
- A node from which SUCCESS cannot be reached gets the largest distance in the graph of its task plus 1.

The equations, the revisits and gamma (on ALFWorld) are known from summaries of the paper alone.

Departures, and choices where the summaries say nothing:

- R is 1 for a success and `eps` 1e-7, as in `graph_gpo`; the paper's R, in `q = R gamma^d(s')`, is a factor
  that the deviation cancels. The distance of nodes without a path to SUCCESS, `key` and `baseline` are as
  there, too: with "step" an earlier episode counts as often as it had steps.
- The earlier group is every group of the latest earlier update that played the task, revisit or not.
  Returns of updates before that are dropped; steps are kept, as long as `learner.TaskHistory` has room.
- Revisits prefer tasks that were new in the revisited update, and repeat their seeds.
- A group of one without a past has `A_E = 0`, as for all methods.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range, computed
from stepopsd_agent.credit.grpo import GRPO, step_credit, step_scores
from stepopsd_agent.credit.state_graph import KEYS, Key, graph_metrics, key_columns, merged_graph


@dataclass(frozen=True)
class TIGPO:
    """GRPO over episodes, plus a step against those that left the same node, on a graph kept across updates.

    Attributes:
        gamma: discount per step of distance, in [0, 1]; the paper's 0.1 on ALFWorld.
        episode_weight: weight of A_E.
        graph_weight: weight of A_G.
        history: add the steps of earlier updates at the same task to the graph.
        earlier_returns: count the earlier group's returns in mean and deviation.
        key: what makes two states one node: the "observation", the simulator's "state", or the facts in the
            "text" so far.
        baseline: of the episode-level advantage, as in `grpo`.
        std: divide by the standard deviations.
        eps: added to the standard deviations.
    """

    gamma: float = 0.1
    episode_weight: float = 1.0
    graph_weight: float = 1.0
    history: bool = True
    earlier_returns: bool = True
    key: Key = "observation"
    baseline: Literal["episode", "step"] = "step"
    std: bool = True
    eps: float = 1e-7

    paper: ClassVar[str] = "TIGPO 2026, arXiv 2609.03383"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("episode_weight", self.episode_weight, 0.0)
        check_range("graph_weight", self.graph_weight, 0.0)
        check_choice("key", self.key, KEYS)
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the key and, unless neither part looks back, the past."""
        looks_back = self.history or self.earlier_returns
        return key_columns(self.key) | ({"past"} if looks_back else frozenset())

    def __call__(self, batch: Batch) -> Credit:
        """episode_weight A_E + graph_weight A_G."""
        base = self._episodes(batch)
        graph = merged_graph(batch, self.key, one_goal=True, past=self.history)
        near = graph.distance()
        quality = self.gamma ** graph.with_unreachable(near)[graph.after]
        per_step = ops.standardised(quality, graph.before, graph.num_nodes, std=self.std, eps=self.eps)
        per_step = per_step.to(base.advantages.dtype)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = graph_metrics(batch, graph, per_step) | {
            "steps_towards_success": float(near[graph.after].isfinite().double().mean()),
            "steps_nearer": float((near[graph.after] < near[graph.before]).double().mean()),
        }
        if self.history or self.earlier_returns:
            before = len(torch.unique(computed(batch.past, "past").group_of_step))
            metrics["groups_played_before"] = before / (int(batch.episodes.group_of_episode.max()) + 1)
        advantages = self.episode_weight * base.advantages + self.graph_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)

    def _episodes(self, batch: Batch) -> Credit:
        """A_E, with earlier returns counted in mean and deviation."""
        if not self.earlier_returns:
            return GRPO(baseline=self.baseline, std=self.std, eps=self.eps)(batch)
        group, returns = batch.episodes.group_of_episode, batch.episodes.episode_return.detach()
        past, groups = computed(batch.past, "past"), int(group.max()) + 1
        earlier, of_earlier = past.episode_return.to(returns.dtype), past.group_of_episode
        by_step = self.baseline == "step" or batch.steps.penalty is not None
        if by_step:
            group, returns = batch.group_of_step, step_scores(batch, returns)
            earlier = earlier.repeat_interleave(past.num_steps)
            of_earlier = of_earlier.repeat_interleave(past.num_steps)
        values, of_all = torch.cat([returns, earlier]), torch.cat([group, of_earlier])
        values = ops.levelled(values, of_all, groups)
        advantage = ops.standardised(values, of_all, groups, std=self.std, eps=self.eps)[: len(returns)]
        return step_credit(batch, advantage if by_step else advantage[batch.steps.episode_of_step])
