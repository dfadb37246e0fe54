"""G2PO (arXiv 2606.22995): a step's gain in value; the value of a node is a mean over all visits to it.

The attempts of a group are merged into one graph: states with equal keys are one node, and steps are edges.
With R = 1 for a successful episode, else 0, T its number of steps, and `s -> s'` its step j, from 1 to T:

    v_j  = gamma^(T - j + 1) R
    V(s) = mean of v over the steps of the group that act on s, whichever episode they belong to
    V(s') of an episode's last step = R
    A_NC = (V(s') - c - mean) / (std + eps)   over the steps of the group that leave s; node-centric
    A_EC = (delta - mean) / (std + eps)       over all steps of the group; edge-centric; delta = V(s') - V(s)
    A    = A_GRPO + node_weight A_NC + edge_weight A_EC

`c` is `invalid_penalty` where the environment refused the step, else 0.

Degenerate cases:

- A node left once, or only by steps to nodes of equal value, has `A_NC = 0`. Equal gains all over a group
  give `A_EC = 0`. Without a success in the group both are zero, except for refused steps.
- `c` is small, but where all else is equal the deviation makes it large: of n steps that leave one node for
  nodes of equal value, the only refused one has `A_NC = -(n - 1) / sqrt(n)`, whatever the penalty.
- In a group of one, the episode's steps are still compared with each other.

Departures:

- R is success. The authors' code takes the environment's reward, 10 or 0 on ALFWorld; where an episode earns
  part of it, the nodes on its path get their share of that, but its end counts as 0.
- The paper has one weight, w, for A_NC and A_EC: give both weights the same value for that.
- `invalid_penalty` is in the authors' code alone, 0.1 where a success pays 10. `eps` is 1e-7 here for the
  same reason: their 1e-6 is added to deviations ten times as large.
- The default key is the observation. For ALFWorld the authors' code adds to it the admissible commands, and
  the previous observation where something had just been heated, cooled, cleaned or turned on; a command that
  did nothing leads back to its node. `key="text"` comes nearest to that.
- A group of one has `A_GRPO = 0`, as for all methods.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.state_graph import (
    KEYS,
    Key,
    StateGraph,
    graph_metrics,
    key_columns,
    merged_graph,
)


@dataclass(frozen=True)
class G2PO:
    """GRPO over episodes, plus a step's gain in value, against steps from the same node and all of the group.

    Attributes:
        gamma: discount per step to the end of the episode.
        node_weight: weight of the comparison with the steps that left the same node; the paper's w.
        edge_weight: weight of the comparison with all steps of the group; the paper's w, too.
        invalid_penalty: c, taken off the value that a refused step led to, in A_NC; a success has value 1.
        key: what makes two states one node: "observation" as published, the simulator's "state", or the
            facts in the "text" so far.
        baseline: of the episode-level advantage, as in `grpo`; the authors' code counts steps.
        std: divide by the standard deviations, the authors' `mean_std_norm`; without it their `mean_norm`.
        eps: added to the standard deviations.
    """

    gamma: float = 0.95
    node_weight: float = 1.0
    edge_weight: float = 1.0
    invalid_penalty: float = 0.01
    key: Key = "observation"
    baseline: Literal["episode", "step"] = "step"
    std: bool = True
    eps: float = 1e-7

    paper: ClassVar[str] = "Wang et al. 2026, arXiv 2606.22995"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("node_weight", self.node_weight, 0.0)
        check_range("edge_weight", self.edge_weight, 0.0)
        check_range("invalid_penalty", self.invalid_penalty, 0.0)
        check_choice("key", self.key, KEYS)
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the key."""
        return key_columns(self.key)

    def __call__(self, batch: Batch) -> Credit:
        """A_GRPO + node_weight A_NC + edge_weight A_EC."""
        base = GRPO(baseline=self.baseline, std=self.std, eps=self.eps)(batch)
        graph = merged_graph(batch, self.key)
        before, after = _values(batch, graph, self.gamma)
        led_to = after - self.invalid_penalty * ~batch.steps.valid
        node = ops.standardised(led_to, graph.before, graph.num_nodes, std=self.std, eps=self.eps)
        edge = ops.standardised(
            after - before, batch.group_of_step, batch.num_steps, std=self.std, eps=self.eps
        )
        per_step = (self.node_weight * node + self.edge_weight * edge).to(base.advantages.dtype)
        metrics = graph_metrics(batch, graph, per_step) | {
            "node_value": float(before.mean()),
            "steps_gaining": float((after > before).double().mean()),
        }
        advantages = base.advantages + ops.spread_steps(per_step, batch.tokens.step_of_token)
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)


def _values(batch: Batch, graph: StateGraph, gamma: float) -> tuple[Tensor, Tensor]:
    """[S] float64, V(s) of the node that each step acted on, and V(s') of the one it led to; R at the end."""
    # In double precision, so that rounding errors between equal values stay far below eps.
    episode, success = batch.steps.episode_of_step, batch.episodes.success.double()
    paid = gamma * success[episode] * batch.last_step
    visit = ops.discounted_to_go(paid, episode, batch.num_episodes, gamma)
    before = ops.group_mean(visit, graph.before, graph.num_nodes)[graph.before]
    return before, ops.following(before, episode, success)
