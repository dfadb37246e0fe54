"""GraphHCA (arXiv 2609.35084): a step by how much likelier it made success, as far as its group can tell.

The attempts of a group are merged into one graph: a node is a place, by its key, and an edge is a step. With
`s -> s'` a step, and n(s) steps that leave s, n(s, a) of them by doing a:

    q(a|s) = n(s, a) / n(s)
    Phi(s) = gamma E_q Phi(s')                          solved for all places of the group at once
    Phi    = 1 where an episode succeeded, 0 where one failed
    l      = log max(Phi(s'), floor) - log max(Phi(s), floor)
    A_S    = (l - mean l) / (std l + eps)               over the steps of the group that leave s
    A      = A_GRPO + graph_weight A_S

Where the next place follows from what is done, and gamma were 1, `Phi(s') / Phi(s)` is how much oftener it is
done on the way to a success than at all: hindsight credit without a model of hindsight. Phi is a mean over
what the attempts did, where a shortest path is the best that any of them did.

What counts as one action does not matter: `E_q Phi(s')` is the mean of Phi(s') over the steps that leave s,
whether actions are told apart by their words or by the places they led to.

`ends` says what an end is. "shared", as the equations read: the place where it happened, so that all steps
that lead there are worth the same. A place that some attempt was in when its steps ran out is then worth 0 to
everybody who passes it. "apart": a place of its own, which only the last step of the episode leads to.

Degenerate cases:

- A place left once, or by steps that lead to places of one Phi, has `A_S = 0`. Values of l that are less than
  1e-6 apart count as one: a deviation that is nothing but rounding is no measure.
- A group without success has `Phi = 0` everywhere, so `A_S = 0`.
- A place where one attempt succeeded and another failed counts as success.
- Places of a Phi below `floor` are all alike. gamma 0.95 alone comes there 90 steps from success.
- A group of one still has `A_S`, in places that its episode left twice.

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

_SAME = 1e-6
"""Differences of l below this are rounding."""


@dataclass(frozen=True)
class GraphHCA:
    """GRPO over episodes, plus a step against those that left the same place, by the chance of success after.

    Attributes:
        gamma: discount per step along the graph, below 1.
        floor: the least chance of success that is told from none, the paper's epsilon.
        graph_weight: weight of the steps' part, the paper's w_s.
        ends: where episodes end: in the place that they reached ("shared"), or each "apart" from all places.
        key: what makes two places one: "observation" as published, the simulator's "state", or what the
            "text" so far tells.
        baseline: of the episodes' part, as in `grpo`.
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
        """Both advantages, the steps' one weighted."""
        base = GRPO(baseline=self.baseline, eps=self.eps)(batch)
        graph = merged_graph(batch, self.key)
        before, after = self._chances(batch, graph)
        ratio = after.clamp(min=self.floor).log() - before.clamp(min=self.floor).log()
        per_step = _compared(ratio, graph, self.eps).to(base.advantages.dtype)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = graph_metrics(batch, graph, per_step) | {
            "steps_from_failed_ends": float(_where_failed(batch, graph)[graph.before].double().mean()),
            "chance_of_success": float(before.mean()),
            "steps_below_floor": float((before < self.floor).double().mean()),
        }
        advantages = base.advantages + self.graph_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)

    def _chances(self, batch: Batch, graph: StateGraph) -> tuple[Tensor, Tensor]:
        """[S] float64: Phi of the place that every step acted on, and of what it led to."""
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
        phi: [V] values of the places where these are known.
        known: [V] bool, True there.
        paid: [S] what a step led to if not to a place; else nan.
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


def _compared(values: Tensor, graph: StateGraph, eps: float) -> Tensor:
    """[S] values against those of the steps that leave the same place, exactly 0 where these are the same."""
    empty = values.new_zeros(graph.num_nodes)
    low = empty.scatter_reduce(0, graph.before, values, "amin", include_self=False)
    high = empty.scatter_reduce(0, graph.before, values, "amax", include_self=False)
    standardised = ops.standardised(values, graph.before, graph.num_nodes, eps=eps)
    return torch.where((high - low < _SAME)[graph.before], 0.0, standardised)
