"""RTMC (arXiv 2604.11037): an action's mean return in the group against that of its node.

The attempts of a group are merged into one graph of nodes s and of the actions a taken there. With `G` the
discounted return of an episode from the first time it does a in s:

    G       = r_t + gamma r_(t+1) + gamma^2 r_(t+2) + ...
    Q(s, a) = mean G                               over the N(s, a) episodes of the group that do a in s
    N(s)    = sum over a of N(s, a)
    V(s)    = sum over a of N(s, a) Q(s, a) / N(s)
    V'(s)   = (N(s) V(s) + prior_count mean R) / (N(s) + prior_count)
    A       = Q(s, a) - V'(s)

Every step that does a in s gets the same A, in whichever episode and however often. There is no
episode-level advantage. Nodes are states with equal keys, and an action is identified by the node it led to:
two commands that lead from one node to the same other node are one action, whatever their words.

`prior_count` is the number of pseudo-episodes with the group's mean return that a node's value starts from.
In terms of it,

    A = Q(s, a) - V(s) + prior_count / (N(s) + prior_count) (V(s) - mean R)

so it moves A from a comparison at the node (0) to one with the group (many), and matters where N(s) is small:
at a node visited once, A is 1/2, 2/3 and 4/5 of `G - mean R` at a `prior_count` of 1, 2 and 4.

With a penalty on refused steps (`rollout.invalid_penalty_on=step`) the G of such a step is less by it, those
of the steps before it are not.

Degenerate cases:

- A node visited once has `Q = V`; its step gets a part of `G - mean R`.
- `mean R` is not discounted, but G is. So in a group whose episodes all succeed, steps far from the end get
  negative credit, and the more so the smaller gamma is; with gamma = 1 they get exactly zero.
- A group without any reward gets exactly zero.

Departures:

- A group of one gets zero, as in all methods that compare episodes.
- The paper's states are signatures of what a coding agent has read, changed and run, and its actions are
  signatures of commands. Here both are nodes.
- `prior_count` 2 is a choice, that of a third-party port (`alexngai/prime-rl-fork`, GitHub). The port calls
  V' the paper's Eq. 11, and 0.99 its gamma.
- The paper's optional division by the deviation of A over the group is left out. It does not centre A, so it
  makes A large where all steps of a group have nearly the same A.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.gigpo import paid_and_charged
from stepopsd_agent.credit.state_graph import KEYS, Key, StateGraph, key_columns, merged_graph


@dataclass(frozen=True)
class RTMC:
    """The group's mean return after a step's action, minus that of the node it was taken at.

    Attributes:
        gamma: discount per step.
        prior_count: pseudo-episodes with the group's mean return that a node's value starts from.
        key: what makes two states one node: the "observation", the simulator's "state", or the facts in the
            "text" so far.
    """

    gamma: float = 0.99
    prior_count: float = 2.0
    key: Key = "observation"

    paper: ClassVar[str] = "Wang et al. 2026, arXiv 2604.11037"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"alone_zero"})

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("prior_count", self.prior_count, 0.0)
        check_choice("key", self.key, KEYS)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the key."""
        return key_columns(self.key)

    def __call__(self, batch: Batch) -> Credit:
        """The advantage of every step."""
        graph = merged_graph(batch, self.key)
        returned = batch.episodes.episode_return.detach().double()
        group, of_step = batch.episodes.group_of_episode, batch.group_of_step
        groups = int(group.max()) + 1
        mean = ops.group_mean(returned, group, groups)[of_step]
        action, place, visits = self._means(batch, graph)
        share = self.prior_count / (visits + self.prior_count)
        per_step = action - place + share * (place - mean)
        per_step = torch.where(ops.group_count(group, groups)[of_step] > 1, per_step, 0)
        per_step = per_step.to(batch.tokens.old_logprobs.dtype)
        advantages = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = {
            "advantage_abs": float(ops.masked_mean(advantages.abs(), batch.action_mask)),
            "node_value": float(place.mean()),
            "visits_per_node": float(visits.mean()),
            "prior_share": float(share.mean()),
        }
        return Credit(advantages, metrics=metrics, may_zero_steps=True)

    def _means(self, batch: Batch, graph: StateGraph) -> tuple[Tensor, Tensor, Tensor]:
        """[S] each, float64: Q of the step's action, V of its node, and N of that node."""
        episode, steps = batch.steps.episode_of_step, batch.num_steps
        paid, charged = paid_and_charged(batch)
        to_go = ops.discounted_to_go(paid.double(), episode, batch.num_episodes, self.gamma) - charged
        edge = ops.joined_ids(graph.before, graph.after)
        first = _is_first(ops.joined_ids(episode, edge))
        action = ops.group_mean(to_go[first], edge[first], steps)[edge]
        place = ops.group_mean(to_go[first], graph.before[first], graph.num_nodes)[graph.before]
        visits = ops.group_count(graph.before[first], graph.num_nodes)[graph.before]
        return action, place, visits.double()


def _is_first(ids: Tensor) -> Tensor:
    """[S] bool, True where an id [S] occurs for the first time."""
    count = torch.arange(len(ids), device=ids.device)
    first = torch.full_like(ids, len(ids)).scatter_reduce(0, ids, count, "amin")
    return first[ids] == count
