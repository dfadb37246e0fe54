"""GraphHCA (arXiv 2609.35084): a step by how much likelier it made success, estimated from its group.

The attempts of a group are merged into one graph: states with equal keys are one node, and steps are edges.
With `s -> s'` a step, and n(s) steps that leave s, n(s, a) of them by doing a:

    q(a|s) = n(s, a) / n(s)
    Phi(s) = gamma E_q Phi(s')                          solved for all nodes of the group at once
    Phi    = 1 where an episode succeeded, 0 where one failed
    l      = log max(Phi(s'), floor) - log max(Phi(s), floor)
    A_S    = (l - mean l) / (std l + eps)               over the steps of the group that leave s
    A      = A_GRPO + graph_weight A_S

With deterministic transitions and gamma = 1, `Phi(s') / Phi(s)` is the hindsight ratio: how much more
probable the action is given success than without that condition, with no model of hindsight. Phi is a mean
over what the attempts did, where a shortest path is the best that any of them did.

What counts as one action does not matter: `E_q Phi(s')` is the mean of Phi(s') over the steps that leave s,
whether actions are distinguished by their words or by the nodes they led to.

`ends` says where episodes end. "shared", as the equations read: at the node they reached, so all steps that
lead there get the same value. A node where some attempt ran out of steps then has value 0 for every attempt
that passes it. "apart": each at a terminal node of its own, which only the last step of the episode leads to.

Degenerate cases:

- A node left once, or by steps that lead to nodes of equal Phi, has `A_S = 0`. Values of l about
  1e-6 apart count as equal (`ops.differ`): the division by the deviation would magnify rounding errors.
- A group without success has `Phi = 0` everywhere, so `A_S = 0`.
- A node where one attempt succeeded and another failed counts as success.
- Nodes with Phi below `floor` are all alike. gamma 0.95 alone falls below it 90 steps from success.
- A group of one still has `A_S`, at nodes that its episode left twice.

Departures:

- `eps`, as in the other methods. The paper divides by the deviation alone, and says zero where it is zero.
- The deviation is the sample's; the paper does not say.
- A group of one has `A_GRPO = 0`, as for all methods.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
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
class GraphHCA:
    """GRPO over episodes, plus a step against those that left the same node, by the probability of success.

    Attributes:
        gamma: discount per step along the graph, below 1.
        floor: lower bound of Phi before the logarithm, the paper's epsilon.
        graph_weight: weight of A_S, the paper's w_s.
        ends: where episodes end: at the node that they reached ("shared"), or each at its own ("apart").
        key: what makes two states one node: "observation" as published, the simulator's "state", or the
            facts in the "text" so far.
        baseline: of the episode-level advantage, as in `grpo`.
        eps: added to the standard deviations.
    """

    gamma: float = 0.95
    floor: float = 0.01
    graph_weight: float = 1.0
    ends: Literal["shared", "apart"] = "shared"
    key: Key = "observation"
    baseline: Literal["episode", "step"] = "episode"
    eps: float = 1e-6

    paper: ClassVar[str] = "Zhu et al. 2026, arXiv 2609.35084"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 0.999)
        check_range("floor", self.floor, 1e-6, 1.0)
        check_range("graph_weight", self.graph_weight, 0.0)
        check_choice("ends", self.ends, ("shared", "apart"))
        check_choice("key", self.key, KEYS)
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the key."""
        return key_columns(self.key)

    def __call__(self, batch: Batch) -> Credit:
        """A_GRPO + graph_weight A_S."""
        base = GRPO(baseline=self.baseline, eps=self.eps)(batch)
        graph = merged_graph(batch, self.key)
        before, after = self._chances(batch, graph)
        ratio = after.clamp(min=self.floor).log() - before.clamp(min=self.floor).log()
        ratio = ops.levelled(ratio, graph.before, graph.num_nodes)
        per_step = ops.standardised(ratio, graph.before, graph.num_nodes, eps=self.eps)
        per_step = per_step.to(base.advantages.dtype)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = graph_metrics(batch, graph, per_step) | {
            "steps_from_failed_ends": float(_where_failed(batch, graph)[graph.before].double().mean()),
            "chance_of_success": float(before.mean()),
            "steps_below_floor": float((before < self.floor).double().mean()),
        }
        advantages = base.advantages + self.graph_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)

    def _chances(self, batch: Batch, graph: StateGraph) -> tuple[Tensor, Tensor]:
        """[S] float64: Phi of the node that every step acted on, and of the one it led to."""
        success = batch.episodes.success[batch.steps.episode_of_step].double()
        if self.ends == "shared":
            ending = torch.zeros_like(batch.last_step)
            known = graph.goal | _where_failed(batch, graph)
            phi = graph.goal.double()
        else:
            ending = batch.last_step
            known = torch.zeros_like(graph.goal)
            phi = known.double()
        phi = _solved(graph, phi, known, torch.where(ending, success, torch.nan), self.gamma)
        return phi[graph.before], torch.where(ending, success, phi[graph.after])


def _solved(graph: StateGraph, phi: Tensor, known: Tensor, paid: Tensor, gamma: float) -> Tensor:
    """[V] with phi(s) = gamma times the mean of phi(s') over the steps that leave s.

    Args:
        graph: the graphs of all groups.
        phi: [V] values of the nodes whose value is known.
        known: [V] bool, True there.
        paid: [S] Phi that a step led to if it led to no node of the graph; else nan.
        gamma: discount per step, below 1, so that there is one solution.
    """
    weight = gamma / ops.group_count(graph.before, graph.num_nodes)[graph.before].double()
    led_to = torch.where(paid.isnan(), torch.where(known[graph.after], phi[graph.after], 0), paid)
    constant = torch.zeros_like(phi).index_add(0, graph.before, weight * led_to)
    open_ended = ~known[graph.before] & ~known[graph.after] & paid.isnan()
    row, phi = torch.zeros_like(graph.group), phi.clone()
    for group in torch.unique(graph.group[constant > 0]).tolist():  # the others have no success
        places = torch.nonzero((graph.group == group) & ~known)[:, 0]
        steps = torch.nonzero((graph.group[graph.before] == group) & open_ended)[:, 0]
        row[places] = torch.arange(len(places), device=row.device)
        matrix = torch.eye(len(places), dtype=phi.dtype, device=phi.device)
        cells = (row[graph.before[steps]], row[graph.after[steps]])
        matrix.index_put_(cells, -weight[steps], accumulate=True)
        phi[places] = torch.linalg.solve(matrix, constant[places])
    return phi


def _where_failed(batch: Batch, graph: StateGraph) -> Tensor:
    """[V] bool, True where a failed episode ended and no successful one did."""
    failed = torch.zeros_like(graph.goal)
    failed[graph.after[batch.last_step & ~batch.episodes.success[batch.steps.episode_of_step]]] = True
    return failed & ~graph.goal
