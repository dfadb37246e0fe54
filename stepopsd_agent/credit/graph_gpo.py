"""GraphGPO (arXiv 2605.26684): a step against those that left the same node, by its distance to success.

The attempts of a group are merged into one graph: states with equal keys are one node, and steps are edges.
The last steps of all successful episodes lead to one further node, SUCCESS; a failed episode ends at the node
it reached. With `d(s)` the fewest steps from s to SUCCESS along edges of the graph, and `s -> s'` the step:

    q   = omega^d(s')                    exponent="next", the authors' code
    q   = omega^(d(s') + 1)              exponent="cost_and_next", the paper's Eq. 4; every step costs 1
    q   = omega^(d(s') - d(s) + 1)       exponent="progress", an option of their code (`normalize_distance`)
    A_G = (q - mean q) / (std q + eps)   over the steps of the group that leave s
    A   = episode_weight A_GRPO + graph_weight A_G

A node from which SUCCESS cannot be reached gets the largest distance in its group's graph plus 1.

So a step of a failed attempt gets positive credit where it comes nearer to success than the alternatives, and
a detour of a successful one gets negative credit.

Degenerate cases:

- A node left once, or only by steps that lead equally near, has `A_G = 0`; so has a group without success.
- At one node the three exponents differ by a constant factor, which the deviation cancels: they differ by the
  effect of `eps` alone. It matters. With "next" and omega 0.1, q falls below `eps` seven steps from SUCCESS,
  so steps further away get next to nothing; with "progress" they get as much as the others.
- A group of one still has `A_G`, at nodes that its episode left twice.

Departures:

- `eps` is 1e-7: a success pays 1 here. The authors' code has 1e-6 where a success pays 10.
- The default key is the observation. For their ALFWorld runs the authors' code adds to it where the agent
  stands, what it holds, what it has moved and the admissible commands, all of which stand in their prompt,
  too; `key="text"` comes nearest to that.
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

EXPONENTS = ("next", "cost_and_next", "progress")


@dataclass(frozen=True)
class GraphGPO:
    """GRPO over episodes, plus a step against those that left the same node, by their distance to success.

    Attributes:
        omega: discount per step of distance, in [0, 1]; the authors' 0.1 on ALFWorld.
        episode_weight: weight of A_GRPO, the paper's beta_E.
        graph_weight: weight of A_G, the paper's beta_G.
        exponent: d(s') with "next", d(s') + 1 with "cost_and_next", d(s') - d(s) + 1 with "progress".
        key: what makes two states one node: "observation" as published, the simulator's "state", or the
            facts in the "text" so far.
        baseline: of the episode-level advantage, as in `grpo`; the authors' code counts steps.
        std: divide by the standard deviations, the authors' `mean_std_norm`; without it their `mean_norm`.
        eps: added to the standard deviations.
    """

    omega: float = 0.1
    episode_weight: float = 1.0
    graph_weight: float = 1.0
    exponent: Literal["next", "cost_and_next", "progress"] = "next"
    key: Key = "observation"
    baseline: Literal["episode", "step"] = "step"
    std: bool = True
    eps: float = 1e-7

    paper: ClassVar[str] = "Cheng et al. 2026, arXiv 2605.26684"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_range("omega", self.omega, 0.0, 1.0)
        check_range("episode_weight", self.episode_weight, 0.0)
        check_range("graph_weight", self.graph_weight, 0.0)
        check_choice("exponent", self.exponent, EXPONENTS)
        check_choice("key", self.key, KEYS)
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the key."""
        return key_columns(self.key)

    def __call__(self, batch: Batch) -> Credit:
        """episode_weight A_GRPO + graph_weight A_G."""
        base = GRPO(baseline=self.baseline, std=self.std, eps=self.eps)(batch)
        graph = merged_graph(batch, self.key, one_goal=True)
        near = graph.distance()
        quality = self.omega ** self._exponent(graph, graph.with_unreachable(near))
        per_step = ops.standardised(quality, graph.before, graph.num_nodes, std=self.std, eps=self.eps)
        per_step = per_step.to(base.advantages.dtype)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token)
        metrics = graph_metrics(batch, graph, per_step) | {
            "steps_towards_success": float(near[graph.after].isfinite().double().mean()),
            "steps_nearer": float((near[graph.after] < near[graph.before]).double().mean()),
        }
        advantages = self.episode_weight * base.advantages + self.graph_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)

    def _exponent(self, graph: StateGraph, distance: Tensor) -> Tensor:
        """[S] power of omega, from distances [V] without inf."""
        after = distance[graph.after]
        if self.exponent == "next":
            return after
        return after + 1 if self.exponent == "cost_and_next" else after - distance[graph.before] + 1
